//! The whole chain in one process.

pub mod detect;
pub mod folder;
pub mod options;
pub mod php;
