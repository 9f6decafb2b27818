//! Where responses are kept: in memory, weighed by what they really hold.
//!
//! 1. [`entry`]: one stored response, a block of bytes and a few numbers.
//! 2. [`fields`]: header fields packed into bytes.
//! 3. [`memory`]: key → the variants of a URL, in a bounded moka cache.
//! 4. [`turnover`]: what leaves it, and why.

mod entry;
pub mod fields;
mod memory;
mod turnover;

pub use entry::{Content, Head, OF_THE_CODING, OwnLimits, Stored, StoredBody};
pub use memory::{Exploded, Lookup, Store};
pub use turnover::{Cause, Turnover};
