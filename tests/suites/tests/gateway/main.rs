//! fpm-gateway as a process in front of real PHP-FPM: replicas that fail under load, the web servers that it must serve,
//! and more work than there are workers. Each test of a fault counts the requests that failed, and says why there
//! cannot be fewer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// A line that `./test` shows. The name of the test is left without an end of line.
macro_rules! note {
    ($($text:tt)*) => { println!("\nnote: {}", format_args!($($text)*)) };
}

mod asking;
mod dns;
mod goodput;
mod killed;
mod load;
mod names;
mod pair;
mod replicas;
mod servers;
mod web_server;
