//! PHP and its database, for real: PHP-FPM behind the gateway, three Galera nodes, memcached.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod memcached;
mod stand;
