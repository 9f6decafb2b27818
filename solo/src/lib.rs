//! A whole site in one process: the three services and a PHP-FPM of their own.
//!
//! [`chain`] is the life of a run; the modules stand in the order it meets them.

pub mod admin;
pub mod banner;
pub mod chain;
pub mod config;
pub mod detect;
pub mod folder;
pub mod options;
pub mod php;

pub use chain::{Chain, Error};
pub use config::{Config, SetupError};
