//! Content codings at work; which one a client gets is [`crate::policy::coding`]'s to say.
//!
//! 1. [`prepare`]: before a body is stored, off the async threads: what is worth it is compressed, and what came
//!    compressed is measured (and found out, if it is damaged).
//! 2. [`decoder`]: a body's coding undone on its way to a client, a piece at a time.

pub mod decoder;
pub mod prepare;

pub use decoder::{Decoder, Undecodable};
pub use prepare::{Compression, prepare};
