//! FastCGI 1.0, client and server side, without I/O at its core.
//!
//! The life of a request between two peers, and the file that knows each step:
//!
//! 1. [`Outbound`] (`outbound.rs`): bytes on their way out. A [`bytes::Buf`] to hand to `write_all_buf`;
//!    small pieces are gathered, large ones travel without a copy.
//! 2. [`RequestEncoder`] (`client.rs`): BEGIN_REQUEST, PARAMS and STDIN into an [`Outbound`].
//! 3. [`Record`] (`record.rs`): bytes in, records out; content is never copied.
//! 4. [`RequestDecoder`] (`server.rs`): records in, [`RequestEvent`]s out, for every request that the
//!    connection carries at the same time.
//! 5. [`ResponseEncoder`] (`server.rs`): STDOUT, STDERR and END_REQUEST into an [`Outbound`].
//! 6. [`ResponseDecoder`] (`client.rs`): records in, [`ResponseEvent`]s out; an end of file before
//!    END_REQUEST is [`ProtocolError::PrematureEof`], never a complete response.
//!
//! Beside them: [`Params`] (`params.rs`) are the name–value pairs, [`message`] gives fixed-size contents
//! their meaning, and [`io`] joins a decoder to an [`AsyncRead`](tokio::io::AsyncRead).
//!
//! The specification: <https://fastcgi-archives.github.io/FastCGI_Specification.html>; its section
//! numbers are cited where a rule comes from it.

mod client;
mod error;
pub mod io;
pub mod message;
mod outbound;
mod params;
mod record;
mod server;

pub use client::{RequestEncoder, ResponseDecoder, ResponseEvent};
pub use error::ProtocolError;
pub use io::ReadError;
pub use message::{BeginRequest, EndRequest, ProtocolStatus, Role};
pub use outbound::Outbound;
pub use params::{Params, ParamsDecoder};
pub use record::{Header, MAX_CONTENT, MAX_SENT, Record, RecordType};
pub use server::{Limits, RequestDecoder, RequestEvent, ResponseEncoder, values};
