//! Addresses as written, endpoints as resolved, and the byte streams between them.

mod address;
mod stream;
mod write_deadline;

pub use address::{Address, AddressError, End, Endpoint, push_ip};
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use write_deadline::WriteDeadline;
