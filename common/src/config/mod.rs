//! Typed configuration from one schema: a struct that derives [`clap::Parser`].
//!
//! 1. Every option is a flag `--some-key`, an environment variable `PREFIX_SOME_KEY`
//!    (`PREFIX_SOME_KEY_FILE` names a file that holds the value, for secrets) and a key `some-key`
//!    in the TOML file that `--config` names.
//! 2. Flags win over the environment, the environment over the file, the file over built-in defaults.
//! 3. A value that cannot be used is an error that names where it stands (flag, variable, or
//!    `file:line`), the key, and what is accepted. Nothing is ignored, nothing is guessed.

mod error;
mod file;
mod load;
mod options;
mod secret;
mod units;

pub use error::ConfigError;
pub(crate) use file::line_of;
pub(crate) use load::closest;
pub use load::{ConfigFile, Loaded, load, load_beside};
pub use options::{AccessLogOptions, ListenOptions, LogOptions, ShutdownOptions, Verb};
pub use secret::Secret;
pub use units::{ByteSize, HumanDuration, UnitError};
