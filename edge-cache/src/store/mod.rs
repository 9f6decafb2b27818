//! Where responses are kept: in memory, weighed by what they really hold.
//!
//! 1. [`entry`]: one stored response; its headers packed into one allocation, its body stored once.
//! 2. [`memory`]: key → the variants of a URL, in a bounded moka cache.

mod entry;
mod memory;

pub use entry::{Head, Stored};
pub use memory::{Lookup, Store};
