//! The entrypoint of the galera image. docs/galera.md says what it does; `node` is its life from top to bottom.

pub mod config;

/// What volumes know.
pub mod facts;

pub mod volume;

pub mod agent;

pub mod records;

pub mod decide;

pub mod node;

mod durable;
mod grastate;
mod mariadbd;
mod peers;
mod reap;
mod sql;
mod watch;

pub use config::Config;
