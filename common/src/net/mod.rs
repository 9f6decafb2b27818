//! Addresses as written, endpoints as resolved, and the byte streams between them.

mod address;
mod stream;

pub use address::{Address, AddressError, Endpoint};
pub use stream::Stream;
