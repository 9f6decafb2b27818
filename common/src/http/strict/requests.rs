use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::attended::Attended;
use super::messages::Messages;
use super::patience::{Clock, Patience, Waiting};
use super::{Limits, Violation};

/// A client's connection of which a server reads only requests that are in order.
///
/// A head is handed over when it is complete; most come in one piece, and then nothing is copied. In the place of one
/// that violates the framing a stand-in is handed over, so that the answer is given in its turn and by the server
/// itself: [`Arrivals::next`] tells which request it is. Nothing is read behind it. Within a body a violation is an
/// error of the stream.
///
/// A head that does not come to its end in time is answered in the same way (408: RFC 9110, section 15.5.9). Where none
/// has begun, the stream ends instead, since nobody waits for an answer.
#[derive(Debug)]
pub struct StrictRequests<S> {
    stream: S,
    messages: Messages,
    /// What was read of a head that is not complete, or while a decision is awaited.
    held: Vec<u8>,
    /// In order, but the reader had no room for it.
    approved: Vec<u8>,
    given: usize,
    violation: Option<Violation>,
    is_refusing: bool,
    shared: Arc<Shared>,
    clock: Clock,
    lingering: Option<Lingering>,
}

/// What the server's side knows of the requests that arrive. It counts them: the stream is ahead of it.
#[derive(Debug)]
pub struct Arrivals(Arc<Shared>);

/// One request, by its place on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    number: u64,
    /// It is a stand-in: what came in its place is not in order, and the connection ends with its answer.
    pub violation: Option<Violation>,
}

#[derive(Debug)]
pub(super) struct Shared {
    seen: AtomicU64,
    answered: AtomicU64,
    /// Answers whose body has come to its end.
    over: AtomicU64,
    /// When the last of them did, in milliseconds since the connection was made.
    over_at: AtomicU64,
    accepted: Instant,
    switched: AtomicBool,
    refused: OnceLock<(u64, Violation)>,
}

/// The end of a connection on which more comes than was read.
#[derive(Debug)]
struct Lingering {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

/// hyper reads it as it reads every request; nobody else sees it. Without a host, it would be refused anyway.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
/// What may wait for a decision about an upgrade: a client should send nothing before it is told.
const MAX_AHEAD: usize = 64 << 10;
/// A connection closed with bytes unread is reset, which can take the answer away from the client before it has read
/// it (RFC 9112, section 9.6): the rest is read for a while.
const LINGER: Duration = Duration::from_secs(2);
const MAX_LINGER: usize = 1 << 20;

impl<S> StrictRequests<S> {
    pub fn new(stream: S, limits: Limits, patience: Patience) -> (Self, Arrivals) {
        let shared = Arc::new(Shared {
            seen: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            over: AtomicU64::new(0),
            over_at: AtomicU64::new(0),
            accepted: Instant::now(),
            switched: AtomicBool::new(false),
            refused: OnceLock::new(),
        });
        let arrivals = Arrivals(Arc::clone(&shared));
        let requests = Self {
            stream,
            messages: Messages::new(limits),
            held: Vec::new(),
            approved: Vec::new(),
            given: 0,
            violation: None,
            is_refusing: false,
            shared,
            clock: Clock::new(patience),
            lingering: None,
        };
        (requests, arrivals)
    }

    /// Begins with what somebody else has read.
    #[must_use]
    pub fn having_read(mut self, read: Vec<u8>) -> Self {
        self.held = read;
        self.check_held();
        self
    }

    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Hands over what is approved, as far as there is room.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = self.approved.get(self.given..).unwrap_or_default();
        let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
        buf.put_slice(now);
        self.given += now.len();
        if later.is_empty() {
            self.approved = Vec::new();
            self.given = 0;
        }
    }

    /// What is wrong is answered in the place of the request, or ends the body that it is in.
    fn refuse(&mut self, violation: Violation) {
        if self.messages.is_within_body() {
            self.violation = Some(violation);
            return;
        }
        // It is refused once: nothing is read any more.
        let _ = self.shared.refused.set((self.messages.heads(), violation));
        self.is_refusing = true;
        self.approved.extend_from_slice(STAND_IN);
    }

    /// Nothing has come.
    fn waiting(&self) -> Waiting {
        let heads = self.messages.heads();
        if !self.messages.is_at_head() {
            Waiting::Elsewhere
        } else if !self.held.is_empty() {
            Waiting::RestOf(heads)
        } else if heads == 0 {
            Waiting::First
        } else {
            Waiting::Next { over: self.shared.over(heads) }
        }
    }

    /// Checks what is in `buf` from `from` on, and keeps there what is in order.
    fn check_in_place(&mut self, buf: &mut ReadBuf<'_>, from: usize) {
        let (good, result) = self.messages.advance(buf.filled().get(from..).unwrap_or_default());
        match result {
            Ok(()) => self.held.extend_from_slice(buf.filled().get(from + good..).unwrap_or_default()),
            Err(violation) => self.refuse(violation),
        }
        buf.set_filled(from + good);
    }

    fn check_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        let (good, result) = self.messages.advance(&held);
        if result.is_ok() {
            self.held = held.split_off(good);
        }
        held.truncate(good);
        self.approved = held;
        self.given = 0;
        if let Err(violation) = result {
            self.refuse(violation);
        }
    }
}

impl<S: AsyncRead + Unpin> StrictRequests<S> {
    /// While a decision is awaited: true when there is one.
    fn is_decided(&mut self) -> bool {
        if self.shared.answered.load(Ordering::Acquire) < self.messages.heads() {
            return false;
        }
        self.messages.decide(self.shared.switched.load(Ordering::Acquire));
        true
    }

    /// Reads on, so that a client that leaves is noticed; what it sends is kept.
    fn poll_ahead(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < MAX_AHEAD {
            let from = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let came = buf.filled().get(from..).unwrap_or_default();
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(came);
            buf.set_filled(from);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StrictRequests<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.approved.is_empty() {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            if let Some(violation) = this.violation {
                return Poll::Ready(Err(violation.into()));
            }
            if this.is_refusing {
                // The answer ends the connection. An end of the stream would look as if nobody waited for it.
                return Poll::Pending;
            }
            if this.messages.is_undecided() {
                if !this.is_decided() {
                    return this.poll_ahead(cx, buf);
                }
                this.check_held();
                continue;
            }
            if this.messages.is_tunnel() {
                return Pin::new(&mut this.stream).poll_read(cx, buf);
            }
            let from = buf.filled().len();
            if Pin::new(&mut this.stream).poll_read(cx, buf)?.is_pending() {
                let waiting = this.waiting();
                ready!(this.clock.poll_expired(cx, waiting));
                if matches!(waiting, Waiting::RestOf(_)) {
                    this.held = Vec::new();
                    this.refuse(Violation::Slow);
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            let came = buf.filled().get(from..).unwrap_or_default();
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                this.check_in_place(buf, from);
                if buf.filled().len() > from {
                    return Poll::Ready(Ok(()));
                }
            } else {
                this.held.extend_from_slice(came);
                buf.set_filled(from);
                this.check_held();
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictRequests<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.is_refusing && !this.messages.is_within_body() {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering = this.lingering.get_or_insert_with(|| Lingering {
            deadline: Box::pin(tokio::time::sleep(LINGER)),
            left: MAX_LINGER,
        });
        let mut scrap = [0; 4 << 10];
        while lingering.left > 0 && lingering.deadline.as_mut().poll(cx).is_pending() {
            let mut scrap = ReadBuf::new(&mut scrap);
            // An error is as good an end as any.
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut scrap)) {
                Ok(()) if !scrap.filled().is_empty() => {
                    lingering.left = lingering.left.saturating_sub(scrap.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Shared {
    /// The answer with this number, counted from 0, has come to its end.
    pub(super) fn is_over(&self, number: u64) {
        self.over_at.store(self.accepted.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.over.fetch_max(number + 1, Ordering::Release);
    }

    /// When so many answers were over, if they are.
    fn over(&self, answers: u64) -> Option<Instant> {
        (self.over.load(Ordering::Acquire) >= answers)
            .then(|| self.accepted + Duration::from_millis(self.over_at.load(Ordering::Relaxed)))
    }
}

impl Arrivals {
    /// To be called once for each request, in the order in which they arrive.
    pub fn next(&self) -> Arrival {
        let number = self.0.seen.fetch_add(1, Ordering::Relaxed);
        let violation =
            self.0.refused.get().filter(|(refused, _)| *refused == number).map(|(_, violation)| *violation);
        Arrival { number, violation }
    }

    /// The connection is not idle before this body is gone.
    pub fn attend<B>(&self, arrival: Arrival, body: B) -> Attended<B> {
        Attended::new(body, Arc::clone(&self.0), arrival.number)
    }

    /// The answer is known. `switched`: it is a 101, and what follows is another protocol.
    pub fn answered(&self, arrival: Arrival, switched: bool) {
        if switched {
            self.0.switched.store(true, Ordering::Release);
        }
        self.0.answered.store(arrival.number + 1, Ordering::Release);
    }
}
