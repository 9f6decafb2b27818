//! HTTPS: certificates, handshakes, and what the same handler says over it.

mod frames;
mod handshakes;
mod http2;
mod reloading;
pub(crate) mod serving;
pub(crate) mod support;
