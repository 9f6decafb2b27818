//! web-proxy over the wire: files from a docroot of its own, scripts from an application that does as it is
//! told, and from PHP-FPM.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod bodies;
mod compressing;
mod conditions;
mod deploying;
mod direct;
mod error_pages;
mod escaping;
mod file_cache;
mod files;
mod forms;
mod handover;
mod htaccess;
mod kept_open;
mod limits;
mod on_demand;
mod php_fpm;
mod relaying;
mod replacing;
mod scripts;
mod smuggling;
mod support;
