//! The PHP-FPM that belongs to this process.
//!
//! 1. [`Installation`]: the program that is installed here, its version and extensions.
//! 2. [`Account`]: the user that the workers run as.
//! 3. [`Pool`]: the configuration, one pool on a Unix socket in our own folder.
//! 4. [`Warden`]: a shell that outlives us by a moment and clears up if we are killed.
//! 5. [`Supervisor`]: starts the master, starts it again when it dies, stops it at the end. A master that is
//!    killed leaves workers: they finish their requests while the next master already answers.

mod account;
mod group;
mod installation;
mod log;
mod master;
mod pool;
mod supervisor;
mod warden;

pub use account::Account;
pub use installation::{Installation, InstallationError};
pub use pool::{PhpSetting, Pool, SettingError};
pub use supervisor::{Plan, StartError, State, Supervisor};
pub use warden::Warden;
