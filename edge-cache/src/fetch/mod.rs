//! Asking the origin.
//!
//! 1. [`flights`]: one fetch a key; who comes later follows it.
//! 2. [`origin`]: pooled connections over the endpoints there are, with deadlines and safe retries.
//! 3. [`lead`]: the fetch that a leader makes: validate or fill, then store.
//! 4. [`fill`]: a body on its way into the store, read by all who wait for it.
//! 5. [`miss`]: which of these a request that the store does not answer takes.
//! 6. [`pass`]: a request that goes to the origin and back without the store; [`tunnel`]: what it becomes when both
//!    ends change to another protocol.

mod clock;
pub mod fill;
pub mod flights;
pub mod lead;
pub mod miss;
pub mod origin;
pub mod pass;
pub mod tunnel;
pub mod upload;

pub use clock::OriginTime;
pub use flights::{Flights, Outcome, Seat};
pub use origin::{FetchError, Origin};
