use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{Kind, Scanner};
use super::{Limits, Violation};
use crate::net::Stream;

/// An origin's connection of which a client reads only response heads that are in order: any other is an error of the
/// stream. There is one request at a time, so a head comes after each that was written; a body's framing is the
/// client's own affair, which also notices what comes unasked.
#[derive(Debug)]
pub struct StrictResponses<S> {
    stream: S,
    limits: Limits,
    /// What is known of the head that is awaited.
    head: Option<Scanner>,
    held: Vec<u8>,
    approved: Vec<u8>,
    given: usize,
    violation: Option<Violation>,
    begun: u64,
    exchanges: Arc<AtomicU64>,
}

/// Counts the requests on a connection, for its stream.
#[derive(Debug, Clone)]
pub struct Exchanges(Arc<AtomicU64>);

impl Exchanges {
    /// To be called in front of each request.
    pub fn begin(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl<S> StrictResponses<S> {
    pub fn new(stream: S, limits: Limits) -> (Self, Exchanges) {
        let exchanges = Exchanges(Arc::default());
        let responses = Self {
            stream,
            limits,
            head: None,
            held: Vec::new(),
            approved: Vec::new(),
            given: 0,
            violation: None,
            begun: 0,
            exchanges: Arc::clone(&exchanges.0),
        };
        (responses, exchanges)
    }

    fn scanner(&self) -> Scanner {
        Scanner::new(Kind::Response, self.limits)
    }

    /// A response begins when its request does, and not before: until then, what comes is unasked, and the client
    /// must see it at once.
    fn expect(&mut self) {
        let exchanges = self.exchanges.load(Ordering::Acquire);
        if self.begun != exchanges {
            self.begun = exchanges;
            self.head = Some(self.scanner());
        }
    }

    /// Checks what is held; what is in order and complete goes to `approved`.
    fn check(&mut self) {
        let mut at = 0;
        while let Some(scanner) = &mut self.head {
            match scanner.advance(self.held.get(at..).unwrap_or_default()) {
                Ok(Some((length, framing))) => {
                    at += length;
                    let is_interim = (100..200).contains(&framing.status) && framing.status != 101;
                    self.head = is_interim.then(|| self.scanner());
                }
                Ok(None) => break,
                Err(violation) => {
                    self.violation = Some(violation);
                    break;
                }
            }
        }
        // What follows a head is its body.
        let good = if self.head.is_some() { at } else { self.held.len() };
        let rest = self.held.split_off(good);
        self.approved = std::mem::replace(&mut self.held, rest);
        self.given = 0;
    }
}

/// A stream that can be asked what has come, whatever its reader knows of it.
pub trait Unread {
    /// True at its end as well, and when it is broken.
    fn has_unread(&self) -> bool;
}

impl Unread for Stream {
    fn has_unread(&self) -> bool {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        // It does not block: the socket is the runtime's.
        let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
        !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl<S: AsyncRead + Unread + Unpin> AsyncRead for StrictResponses<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.approved.is_empty() {
                let rest = this.approved.get(this.given..).unwrap_or_default();
                let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
                buf.put_slice(now);
                this.given += now.len();
                if later.is_empty() {
                    this.approved = Vec::new();
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(violation) = this.violation {
                return Poll::Ready(Err(violation.into()));
            }
            // Right before a request is written, the client looks whether its connection is still empty. The runtime
            // may not have heard of what came a moment ago, and that would be taken for the response.
            if this.head.is_none()
                && this.begun != this.exchanges.load(Ordering::Acquire)
                && this.stream.has_unread()
            {
                return Poll::Ready(Err(Violation::Unasked.into()));
            }
            let from = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let came = buf.filled().get(from..).unwrap_or_default();
            if this.head.is_none() || came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(came);
            buf.set_filled(from);
            this.check();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StrictResponses<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.expect();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.expect();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
