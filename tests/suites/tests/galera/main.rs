//! PHP and its database, for real: PHP-FPM behind the gateway, three Galera nodes, memcached; and the image's nodes
//! by themselves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::float_cmp, reason = "counts and halves are exact")]

mod cluster;
mod memcached;
mod node;
mod settings;
mod stand;
