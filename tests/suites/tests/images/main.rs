//! The images, as `docker/build` makes them, in a Docker daemon of this suite's own; and the stack of
//! `compose/compose.yaml` made of them, used by a person.
//!
//! Run with `--test-threads=1`: daemons take turns.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod one_host;
mod place_site;
mod services;
mod support;
