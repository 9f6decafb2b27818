//! What goes back to a web server, from any number of requests on one connection.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use common::fastcgi::{EndRequest, Outbound, ResponseEncoder};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// The bytes that wait to be written on a connection. The connection's task writes; handlers, which run
/// in the same task, append whole records, so one that is dropped leaves nothing half said.
#[derive(Debug)]
pub(super) struct Outbox {
    out: Mutex<Outbound>,
    room: Notify,
    /// Bytes that wait to be written, beyond which no more are taken in. What fits frees its worker, however slow the
    /// web server reads.
    buffer: usize,
}

/// One request's way to answer.
#[derive(Debug)]
pub struct Replies {
    outbox: Arc<Outbox>,
    encoder: ResponseEncoder,
    started: bool,
    error: bool,
}

/// Bytes that wait to be written beyond the buffer, beyond which nothing more is asked: answers that are ours, such as
/// error pages, do not wait for room.
const CEILING: usize = 1 << 20;
/// Pieces in one `writev`.
const MAX_SLICES: usize = 32;

impl Outbox {
    pub(super) fn new(buffer: usize) -> Self {
        Self { out: Mutex::default(), room: Notify::new(), buffer }
    }

    pub(super) fn replies(self: &Arc<Self>, id: u16) -> Replies {
        Replies { outbox: Arc::clone(self), encoder: ResponseEncoder::new(id), started: false, error: false }
    }

    /// Appends what is not a request's own answer.
    pub(super) fn append(&self, fill: impl FnOnce(&mut Outbound)) {
        fill(&mut self.lock());
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.lock().has_remaining()
    }

    /// The web server does not read what it asked for.
    pub(super) fn is_over_full(&self) -> bool {
        self.lock().remaining() >= self.buffer + CEILING
    }

    /// Writes once; waits while there is nothing to write. Nobody wakes it when there is: it is polled
    /// again after every handler, by the task that runs both.
    pub(super) async fn flush<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(Pin::new(&mut *writer), cx)).await
    }

    fn poll_flush<W: AsyncWrite>(&self, writer: Pin<&mut W>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.lock();
        if !out.has_remaining() {
            return Poll::Pending;
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = out.chunks_vectored(&mut slices);
        let written = std::task::ready!(writer.poll_write_vectored(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        out.advance(written);
        if out.remaining() < self.buffer {
            self.room.notify_waiters();
        }
        Poll::Ready(Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, Outbound> {
        // Appending and writing do not panic; a lock that was poisoned all the same holds whole records.
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replies {
    /// Some of the response is on its way.
    pub const fn started(&self) -> bool {
        self.started
    }

    /// The response says that the application failed. PHP names the status first, if it is not 200.
    pub const fn is_error(&self) -> bool {
        self.error
    }

    /// This would be the beginning of a response that says so.
    pub fn would_fail(&self, chunk: &[u8]) -> bool {
        !self.started && chunk.starts_with(b"Status: 5")
    }

    pub fn stdout(&mut self, chunk: Bytes) {
        self.error |= self.would_fail(&chunk);
        self.started = true;
        self.outbox.append(|out| self.encoder.stdout(out, chunk));
    }

    pub fn stderr(&mut self, chunk: Bytes) {
        self.outbox.append(|out| self.encoder.stderr(out, chunk));
    }

    /// The request is over and its response complete.
    pub fn end(self, end: EndRequest) {
        self.outbox.append(|out| self.encoder.end(out, end));
    }

    /// More may be taken in.
    pub fn has_room(&self) -> bool {
        self.outbox.lock().remaining() < self.outbox.buffer
    }

    /// Completes when more may be taken in.
    pub async fn room(&self) {
        loop {
            let room = self.outbox.room.notified();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }
}
