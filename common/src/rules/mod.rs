//! Matching requests: what the services' rules are written in.
//!
//! 1. [`pattern`]: globs of paths and names.

mod pattern;

pub use pattern::{Pattern, PatternError};
