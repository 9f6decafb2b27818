//! Interim responses: a 103 (Early Hints) or 102 that the origin sends before its answer goes to the client at once
//! (RFC 9110, section 15.2; RFC 8297), and never into the store.
//!
//! hyper's client reports them, its server cannot write them. So a thin wrapper around the client's connection writes
//! their bytes between hyper's, where a message ends:
//!
//! 1. [`Channel`] is what one connection's wrapper and its requests share. A request that goes to the origin opens it
//!    ([`Channel::open`]) and takes it back with its answer.
//! 2. The origin's connection hands over what it reads ([`encode`] brings it to bytes), and wakes the client's.
//! 3. [`stream`]: hyper flushes whenever it is woken. It flushes the stream below only when its own buffer is empty:
//!    then nothing is half written, and the answer that is waited for has not begun.
//!
//! A request that is answered from the store opens nothing; its connection looks at one flag a write.

mod encode;
mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use http::{Extensions, Request};

pub use stream::InterimStream;

/// Interim responses of one request, and their bytes; what is beyond is dropped.
const MAX_RESPONSES: usize = 16;
const MAX_BYTES: usize = 32 * 1024;

/// One client connection's way to interim responses.
#[derive(Debug, Default)]
pub struct Channel {
    /// Whether there is something in the queue: looked at with every write.
    is_pending: AtomicBool,
    /// Whether hyper has nothing half written: it has flushed, and written nothing since.
    is_flushed: AtomicBool,
    queue: Mutex<Queue>,
    /// The connection's task, while a request waits for the origin.
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The request whose interim responses are taken; none between two.
    open: Option<u64>,
    /// Requests so far.
    opened: u64,
    /// Responses taken for the open request, and their bytes.
    responses: usize,
    taken: usize,
}

/// A request's right to have interim responses written; ends when it is dropped.
#[derive(Debug)]
pub struct Open<'a>(&'a Channel);

impl Channel {
    /// Lets the origin's interim responses through to this connection's client until the guard is dropped, which
    /// has to be before the answer is given to hyper. `extensions` are those of the request that will be sent.
    pub fn open<'a>(self: &'a Arc<Self>, extensions: &mut Extensions) -> Open<'a> {
        let number = {
            let mut queue = self.lock();
            queue.opened += 1;
            queue.open = Some(queue.opened);
            (queue.responses, queue.taken) = (0, 0);
            queue.opened
        };
        // hyper keeps its callback among the extensions, which outlive a request that is made again.
        let mut carrier = Request::new(());
        let channel = Arc::clone(self);
        hyper::ext::on_informational(&mut carrier, move |response| {
            if let Some(bytes) = encode::interim(response.status(), response.headers()) {
                channel.push(number, &bytes);
            }
        });
        extensions.extend(carrier.into_parts().0.extensions);
        Open(self)
    }

    /// Runs a request's handler in the connection's task, which is woken when there is something to write.
    pub async fn attended<T>(channel: Option<&Self>, handler: impl Future<Output = T>) -> T {
        let mut handler = std::pin::pin!(handler);
        std::future::poll_fn(|cx| {
            let polled = handler.as_mut().poll(cx);
            // hyper flushes after it has polled the handler: what came before this is seen then. An answer that is
            // ready at once pays nothing.
            if polled.is_pending()
                && let Some(channel) = channel
            {
                channel.waker.register(cx.waker());
            }
            polled
        })
        .await
    }

    fn push(&self, number: u64, bytes: &[u8]) {
        let mut queue = self.lock();
        let fits = queue.responses < MAX_RESPONSES && queue.taken + bytes.len() <= MAX_BYTES;
        if queue.open != Some(number) || !fits {
            return;
        }
        queue.responses += 1;
        queue.taken += bytes.len();
        queue.bytes.extend_from_slice(bytes);
        self.is_pending.store(true, Ordering::Release);
        drop(queue);
        self.waker.wake();
    }

    /// What is to be written now. Only called where a message ends.
    fn take(&self) -> Vec<u8> {
        let mut queue = self.lock();
        self.is_pending.store(false, Ordering::Relaxed);
        std::mem::take(&mut queue.bytes)
    }

    fn close(&self) {
        let mut queue = self.lock();
        queue.open = None;
        // The answer's head is the next that hyper writes. Is something else still in front of it in hyper's
        // buffer, there will be no place between the two: the interim responses are lost then.
        if !self.is_flushed.load(Ordering::Relaxed) {
            queue.bytes.clear();
            self.is_pending.store(false, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
