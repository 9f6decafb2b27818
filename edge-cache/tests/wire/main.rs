//! edge-cache over the wire, against an origin that does as it is told.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod banning;
mod caching;
mod coding;
mod direct;
mod explaining;
mod fetching;
mod hostile;
mod interim;
mod invalidating;
mod isolating;
mod logging;
mod observing;
mod overtaking;
mod parts;
mod ranges;
mod rules;
mod semantics;
mod staleness;
mod support;
mod tls;
mod upgrading;
