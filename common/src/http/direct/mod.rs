//! HTTP/1.1 for requests whose answer is there at once.
//!
//! An answer from memory costs less than what a general implementation of HTTP does around it: queues, buffers of its
//! own for each connection, a body that is asked for frame by frame. So a client's connection begins here:
//!
//! 1. [`head`]: a GET or HEAD that came in one piece, is in order to the letter ([`super::strict`]), and has neither a body nor
//!    a wish about its connection. Pure.
//! 2. The service is asked for the answer. It has one or it has none; nobody waits.
//! 3. [`send`]: head and body are written, where they fit with one call. [`text`]: the head.
//! 4. [`connection`]: the loop around that, which also ends a connection that is idle for too long, or at a drain.
//!
//! Everything else is hyper's, with the bytes that were read: [`serve`] gives the connection back then, and it is not seen here
//! again. So nothing is refused here, and no request means something else here than there.

mod connection;
pub mod head;
mod send;
mod text;

#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, request};
use tokio::io::{AsyncRead, AsyncWrite};

pub use text::HeadText;

use super::strict::{Limits, Patience};
use crate::shutdown::Shutdown;

/// What the service has for a request.
#[derive(Debug)]
pub enum Reply<B> {
    /// Its status and fields are in the [`HeadText`], `Content-Length` among them; this is its body, empty where there is none to
    /// be sent.
    Written(B),
    Response(Response<B>),
}

/// A body that knows how much of it was sent.
pub trait Counted: http_body::Body<Data = Bytes> {
    /// So many of the bytes that it gave will not be sent: the client has gone. Comes last.
    fn unsent(&mut self, bytes: u64);
}

/// A body that may know a better way onto a stream than frames.
pub trait WriteTo<S>: Counted {
    /// Whether it wants to write what comes next itself.
    fn writes_itself(&self) -> bool {
        false
    }

    /// Writes what comes next; how many bytes that were, at least one. `None`: it comes in frames after all.
    fn poll_write_to(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _stream: &mut S,
    ) -> Poll<Option<io::Result<usize>>> {
        Poll::Ready(None)
    }
}

/// What is to go on with another implementation of HTTP.
#[derive(Debug)]
pub struct Rest<S> {
    pub stream: S,
    /// Was read and not answered.
    pub read: Vec<u8>,
}

/// Answers the requests on `stream` for which `answer` knows a response, one after the other. `None` when the connection is
/// over.
///
/// A body says how long it is ([`http_body::Body::size_hint`]). A response gets `Content-Length` and `Date` where it has none.
/// Whatever ends before that length ends the connection. `answer` must leave no trace of a request that it does not
/// answer: it will come again.
pub async fn serve<S, A, B>(
    stream: S,
    limits: Limits,
    patience: Patience,
    shutdown: &Shutdown,
    answer: A,
) -> Option<Rest<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: FnMut(request::Parts, &mut HeadText) -> Option<Reply<B>> + Unpin,
    B: WriteTo<S> + Unpin,
{
    connection::Connection::new(stream, limits, patience, shutdown, answer).await
}
