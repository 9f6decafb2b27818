//! What the suites share: the built binaries as processes, and the chain made of them.
//!
//! The suites see the services as an operator does: flags in; HTTP, signals and metrics out.

pub mod service;

pub mod chain;
