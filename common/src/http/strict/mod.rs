//! HTTP/1.1 framing taken to the letter, in front of hyper.
//!
//! hyper follows RFC 9112 where a recipient MAY be lenient: it takes a bare LF for the end of a line, drops a
//! Content-Length beside a Transfer-Encoding, and looks at the last transfer coding only. Each of these lets two
//! hops see two different messages in the same bytes (request smuggling, RFC 9112, section 11.2), and most of it
//! cannot be seen any more when hyper has parsed a head. So the bytes are checked on their way to it:
//!
//! 1. [`head`]: one head, line by line, into a [`Framing`] or a [`Violation`]. Pure.
//! 2. [`chunks`]: the framing of a chunked body. Pure.
//! 3. [`messages`]: where heads and bodies begin and end on a client's connection. Pure.
//! 4. [`requests`]: a stream that gives a server only what is in order, and what is not as a request that can be
//!    answered with an error in its turn.
//! 5. [`patience`]: how long a client may take to send a head, and to begin one. [`attended`] knows how long the answer
//!    before it lasts.
//! 6. [`responses`]: a stream that gives a client of an origin only response heads that are in order.

pub mod attended;
pub mod chunks;
pub mod head;
pub mod messages;
pub mod patience;
pub mod requests;
pub mod responses;
mod violation;

pub use attended::Attended;
pub use head::{Framing, Limits, is_target};
pub use patience::Patience;
pub use requests::{Arrivals, StrictRequests};
pub use responses::{Exchanges, StrictResponses};
pub use violation::{Violation, violation_in};

#[cfg(test)]
mod tests;
