//! A real browser on the real sites: through web-proxy alone, and through the whole chain.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod page;
mod photo;

mod site;
mod wordpress;
