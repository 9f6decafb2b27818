//! HTTPS: certificates, handshakes, and what the same handler says over it.

mod handshakes;
mod reloading;
mod serving;
pub(crate) mod support;
