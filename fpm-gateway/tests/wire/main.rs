//! fpm-gateway over the wire, in front of applications that do as they are told and of a real PHP-FPM.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounting;
mod binary;
mod dependencies;
mod failing;
mod patience;
mod php_fpm;
mod queueing;
mod relaying;
mod support;
