//! TLS on the client's side, by rustls: TLS 1.2 and 1.3 with its defaults.
//!
//! 1. [`options`]: what an operator writes, checked before a port is bound.
//! 2. [`files`]: PEM files into certificates with their keys, or an error that names the file.
//! 3. [`certificates`]: which of them answers a client. Pure.
//! 4. [`opening`]: the first byte of a connection, which tells TLS from plain HTTP.
//! 5. [`handshake`]: the handshake, bounded in time and number, and [`failure`], why one came to nothing.
//!
//! Certificates belong to the configuration in force, so a reload swaps them; connections keep what they began with.

pub mod certificates;
pub mod failure;
pub mod files;
pub mod handshake;
pub mod metrics;
pub mod opening;
pub mod options;

pub use certificates::{Certificate, Certificates};
pub use failure::Failure;
pub use files::CertificateError;
pub use handshake::{Acceptor, TlsError};
pub use metrics::TlsMetrics;
pub use options::{Sources, Tls, TlsOptions};

#[cfg(test)]
mod tests;
