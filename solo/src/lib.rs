//! The whole chain in one process.

pub mod detect;
pub mod php;
