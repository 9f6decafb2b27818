//! What the instruction counts are made of.
//!
//! 1. [`scenario`]: services in this process, and the requests that are replayed against them.
//! 2. [`client`]: one connection that asks and checks what comes, in few instructions.
//! 3. [`callgrind`]: a replay is run under valgrind, which counts the instructions.
//! 4. [`figures`]: what was counted beside what is committed.

pub mod callgrind;
pub mod client;
pub mod figures;
pub mod scenario;
