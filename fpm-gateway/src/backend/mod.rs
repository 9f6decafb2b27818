//! The replicas of PHP-FPM, as far as the gateway knows them.
//!
//! - [`Breaker`]: whether one may be used. Pure.
//! - [`Fleet`]: all of them, with what is busy for us on each.
//! - [`connect`]: a [`Worker`], a connection together with the permit that counts it.

mod breaker;
mod fleet;
mod worker;

pub use breaker::{Breaker, Sign};
pub use fleet::{Fleet, ReplicaId, Snapshot, Standing, Watched};
pub use worker::{Backoff, ConnectError, Worker, connect};
