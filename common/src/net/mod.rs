//! Addresses as written, endpoints as resolved, and the byte streams between them.

mod address;
mod stream;
mod write_deadline;

pub use address::{Address, AddressError, End, Endpoint};
pub use stream::Stream;
pub use write_deadline::WriteDeadline;
