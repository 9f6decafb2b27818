//! What the suites share: the built binaries as processes, the chain made of them, and what it serves.
//!
//! The suites see the services as an operator does: flags in; HTTP, signals and metrics out.

pub mod service;

pub mod chain;

pub mod visitor;

pub mod docker;

pub mod drupal;
pub mod galera_node;
pub mod site;
pub mod wordpress;
