//! The replicas of PHP-FPM, as far as the gateway knows them.
//!
//! - [`Breaker`]: whether one may be used. Pure.
//! - [`Fleet`]: all of them, with what is busy for us on each.
//! - [`connect`]: a [`Worker`], a connection together with the permit that counts it.
//! - [`Lease`]: a worker in use; what it does after its response is its [`aftermath`].
//! - [`Accounting`]: how a replica says that a worker is free. Pure.
//! - [`Outlier`]: whether one that is alive fails too much. Pure.

mod accounting;
mod aftermath;
mod breaker;
mod fleet;
mod outlier;
mod worker;

pub use accounting::{Accounting, Heard};
pub use aftermath::Lease;
pub use breaker::{Breaker, Sign};
pub use fleet::{Fleet, ReplicaId, Snapshot, Standing, Taken, Watched};
pub use outlier::Outlier;
pub use worker::{Backoff, ConnectError, Worker, connect};
