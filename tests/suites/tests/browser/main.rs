//! A real browser on the real sites: through web-proxy alone, and through the whole chain.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod page;
mod photo;

mod drupal;
mod site;
mod wordpress;
