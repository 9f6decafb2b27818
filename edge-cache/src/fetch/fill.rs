//! A body that is read from the origin once and by any number of clients at the same time.
//!
//! While it may still be stored, every byte is kept and nobody waits for anybody. When it grows beyond
//! what may be stored it turns into a stream: the bytes that every reader has had are let go, and the
//! origin is read no faster than the slowest reader takes them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::policy::storable::NotStored;
use crate::store::StoredBody;

/// Bytes ahead of the slowest reader that a stream may hold.
const WINDOW: u64 = 256 * 1024;

/// How long readers who are through wait for one who is not.
const PATIENCE: Duration = Duration::from_secs(2);

/// The bytes of all fills that may be held at once, beside the store itself.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    left: AtomicU64,
}

/// The writing end's and the readers' common state.
#[derive(Debug)]
pub struct Fill {
    state: Mutex<State>,
    /// Told when a reader has moved on or left.
    moved: Notify,
    budget: Arc<Budget>,
    limit: u64,
}

#[derive(Debug)]
struct State {
    chunks: VecDeque<Bytes>,
    /// Index of `chunks[0]` in the whole body.
    first: usize,
    received: u64,
    /// Bytes taken from the budget.
    reserved: u64,
    mode: Mode,
    end: Option<Result<(), Truncated>>,
    readers: Vec<Option<ReaderState>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Retained,
    /// Not to be stored any more, for this reason.
    Streamed(NotStored),
}

#[derive(Debug)]
struct ReaderState {
    /// Index of the next chunk.
    next: usize,
    /// Bytes of it that were taken already.
    offset: usize,
    /// Bytes taken.
    taken: u64,
    waker: Option<Waker>,
}

/// The origin's body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the origin's response ended early")]
pub struct Truncated;

/// Nobody reads the stream any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

/// One client's place in the body; leaves when it is dropped.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    slot: usize,
}

impl Budget {
    pub const fn new(bytes: u64) -> Self {
        Self { total: bytes, left: AtomicU64::new(bytes) }
    }

    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of bodies on their way into the store.
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.left.load(Ordering::Relaxed))
    }

    fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
    fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Fill {
    /// A body of which at most `limit` bytes may be stored.
    pub fn new(budget: Arc<Budget>, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                first: 0,
                received: 0,
                reserved: 0,
                mode: Mode::Retained,
                end: None,
                readers: Vec::new(),
            }),
            moved: Notify::new(),
            budget,
            limit,
        })
    }

    /// A reader from the first byte; `None` when the first bytes have been let go.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.lock();
        if state.first > 0 {
            return None;
        }
        let fresh = ReaderState { next: 0, offset: 0, taken: 0, waker: None };
        let slot = if let Some(free) = state.readers.iter().position(Option::is_none) {
            state.readers[free] = Some(fresh);
            free
        } else {
            state.readers.push(Some(fresh));
            state.readers.len() - 1
        };
        Some(Reader { fill: Arc::clone(self), slot })
    }

    /// Adds bytes, waiting for the slowest reader once the body is only a stream.
    pub async fn push(&self, chunk: Bytes) -> Result<(), Abandoned> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.append(chunk);
        loop {
            let moved = self.moved.notified();
            if self.has_room()? {
                return Ok(());
            }
            if tokio::time::timeout(PATIENCE, moved).await.is_err() {
                self.leave_behind();
            }
        }
    }

    /// Readers that hold up others who have taken everything lose their place.
    fn leave_behind(&self) {
        let mut state = self.lock();
        let received = state.received;
        if !state.readers.iter().flatten().any(|reader| reader.taken == received) {
            return;
        }
        for slot in &mut state.readers {
            if let Some(reader) = slot.take_if(|reader| received - reader.taken >= WINDOW)
                && let Some(waker) = reader.waker
            {
                waker.wake();
            }
        }
    }

    /// The body is stored in these pieces: readers go on there, and what was held for them is given back.
    pub fn stored(&self, body: &StoredBody) {
        let pieces: Vec<Bytes> = body.pieces().cloned().collect();
        let mut state = self.lock();
        for reader in state.readers.iter_mut().flatten() {
            let (mut next, mut offset) = (0, reader.taken as usize);
            while let Some(piece) = pieces.get(next).filter(|piece| offset >= piece.len()) {
                offset -= piece.len();
                next += 1;
            }
            (reader.next, reader.offset) = (next, offset);
        }
        state.chunks = pieces.into();
        let reserved = std::mem::take(&mut state.reserved);
        self.budget.give_back(reserved);
    }

    fn append(&self, chunk: Bytes) {
        let mut state = self.lock();
        let length = chunk.len() as u64;
        state.received += length;
        state.chunks.push_back(chunk);
        if state.mode == Mode::Retained {
            if state.received > self.limit {
                self.stream(&mut state, NotStored::TooLarge);
            } else if self.budget.take(length) {
                state.reserved += length;
            } else {
                self.stream(&mut state, NotStored::Budget);
            }
        }
        state.wake();
    }

    fn stream(&self, state: &mut State, why: NotStored) {
        state.mode = Mode::Streamed(why);
        self.budget.give_back(std::mem::take(&mut state.reserved));
    }

    fn has_room(&self) -> Result<bool, Abandoned> {
        let mut state = self.lock();
        if state.mode == Mode::Retained {
            return Ok(true);
        }
        let Some(slowest) = state.readers.iter().flatten().map(|reader| (reader.next, reader.taken)).min()
        else {
            return Err(Abandoned);
        };
        while state.first < slowest.0 {
            state.chunks.pop_front();
            state.first += 1;
        }
        Ok(state.received - slowest.1 < WINDOW)
    }

    /// The end of the body. What is to be stored, or why nothing is.
    pub fn finish(&self, end: Result<(), Truncated>) -> Result<Vec<Bytes>, NotStored> {
        let mut state = self.lock();
        state.end = Some(end);
        state.wake();
        match (end, state.mode) {
            (Err(Truncated), _) => Err(NotStored::Truncated),
            (Ok(()), Mode::Streamed(why)) => Err(why),
            (Ok(()), Mode::Retained) => Ok(state.chunks.iter().cloned().collect()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let reserved = self.lock().reserved;
        self.budget.give_back(reserved);
    }
}

impl State {
    fn wake(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Reader {
    /// The next bytes, or `None` at the end of a whole body.
    pub fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Truncated>>> {
        let mut state = self.fill.lock();
        let State { chunks, first, end, readers, mode, .. } = &mut *state;
        // The slot is ours until we are dropped.
        let Some(Some(reader)) = readers.get_mut(self.slot) else { return Poll::Ready(Some(Err(Truncated))) };
        if let Some(chunk) = reader.next.checked_sub(*first).and_then(|at| chunks.get(at)) {
            let chunk = chunk.slice(reader.offset.min(chunk.len())..);
            reader.next += 1;
            reader.offset = 0;
            reader.taken += chunk.len() as u64;
            if *mode != Mode::Retained {
                self.fill.moved.notify_one();
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        match end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(truncated)) => Poll::Ready(Some(Err(*truncated))),
            None => {
                reader.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(slot) = self.fill.lock().readers.get_mut(self.slot) {
            *slot = None;
        }
        self.fill.moved.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::future::poll_fn;

    use super::*;

    async fn next(reader: &mut Reader) -> Option<Result<Bytes, Truncated>> {
        poll_fn(|cx| Pin::new(&mut *reader).poll_next(cx)).await
    }

    fn fill(limit: u64, budget: u64) -> (Arc<Fill>, Arc<Budget>) {
        let budget = Arc::new(Budget::new(budget));
        (Fill::new(Arc::clone(&budget), limit), budget)
    }

    #[tokio::test]
    async fn late_readers_get_every_byte() {
        let (fill, budget) = fill(100, 100);
        let mut early = fill.reader().unwrap();
        fill.push(Bytes::from_static(b"one")).await.unwrap();
        assert_eq!(next(&mut early).await.unwrap().unwrap(), "one");
        let mut late = fill.reader().unwrap();
        fill.push(Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(fill.finish(Ok(())).unwrap().concat(), b"onetwo");
        assert_eq!(next(&mut late).await.unwrap().unwrap(), "one");
        for reader in [&mut early, &mut late] {
            assert_eq!(next(reader).await.unwrap().unwrap(), "two");
            assert!(next(reader).await.is_none());
        }
        drop((early, late, fill));
        assert_eq!(budget.left.load(Ordering::Relaxed), 100, "the budget is given back");
    }

    #[tokio::test]
    async fn a_truncated_body_is_an_error_for_everyone_and_never_stored() {
        let (fill, _) = fill(100, 100);
        let mut reader = fill.reader().unwrap();
        fill.push(Bytes::from_static(b"half")).await.unwrap();
        assert_eq!(fill.finish(Err(Truncated)), Err(NotStored::Truncated));
        assert_eq!(next(&mut reader).await.unwrap().unwrap(), "half");
        assert_eq!(next(&mut reader).await, Some(Err(Truncated)));
    }

    #[tokio::test]
    async fn a_body_too_large_is_streamed_at_the_pace_of_the_slowest_reader() {
        let (fill, budget) = fill(10, 1 << 30);
        let (mut fast, mut slow) = (fill.reader().unwrap(), fill.reader().unwrap());
        let chunk = Bytes::from(vec![7; WINDOW as usize]);
        let writer = tokio::spawn({
            let (fill, chunk) = (Arc::clone(&fill), chunk.clone());
            async move {
                for _ in 0..4 {
                    fill.push(chunk.clone()).await.unwrap();
                }
                fill.finish(Ok(()))
            }
        });
        assert_eq!(next(&mut fast).await.unwrap().unwrap(), chunk);
        tokio::task::yield_now().await;
        assert!(!writer.is_finished());
        assert_eq!(fill.lock().chunks.len(), 1, "held back by the slow reader");
        assert_eq!(budget.left.load(Ordering::Relaxed), 1 << 30);
        for reader in [&mut slow, &mut fast] {
            assert_eq!(next(reader).await.unwrap().unwrap().len(), chunk.len());
        }
        drop(slow);
        let mut rest = 0;
        while let Some(chunk) = next(&mut fast).await {
            rest += chunk.unwrap().len();
        }
        assert_eq!(rest, chunk.len() * 2);
        assert_eq!(writer.await.unwrap(), Err(NotStored::TooLarge));
        assert!(fill.reader().is_none(), "the first bytes are gone");
    }

    #[tokio::test]
    async fn readers_go_on_in_what_was_stored() {
        let (fill, budget) = fill(100, 100);
        let mut readers = [fill.reader().unwrap(), fill.reader().unwrap(), fill.reader().unwrap()];
        for chunk in ["abc", "de", "fgh"] {
            fill.push(Bytes::from_static(chunk.as_bytes())).await.unwrap();
        }
        assert_eq!(next(&mut readers[1]).await.unwrap().unwrap(), "abc");
        for chunk in ["abc", "de", "fgh"] {
            assert_eq!(next(&mut readers[2]).await.unwrap().unwrap(), chunk);
        }
        fill.finish(Ok(())).unwrap();
        let rest = vec![Bytes::from_static(b"efgh")];
        fill.stored(&StoredBody { first: Bytes::from_static(b"abcd"), rest: Some(rest.into()), length: 8 });
        assert_eq!(budget.left.load(Ordering::Relaxed), 100, "given back although readers are still there");
        for (reader, rest) in readers.iter_mut().zip(["abcdefgh", "defgh", ""]) {
            let mut read = Vec::new();
            while let Some(chunk) = next(reader).await {
                read.extend_from_slice(&chunk.unwrap());
            }
            assert_eq!(read, rest.as_bytes());
        }
        let mut late = fill.reader().unwrap();
        assert_eq!(next(&mut late).await.unwrap().unwrap(), "abcd");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_holds_up_another_is_left_behind() {
        let (fill, _) = fill(1, 100);
        let (mut fast, mut stuck) = (fill.reader().unwrap(), fill.reader().unwrap());
        let chunk = Bytes::from(vec![7; WINDOW as usize]);
        let writer = tokio::spawn({
            let (fill, chunk) = (Arc::clone(&fill), chunk.clone());
            async move {
                for _ in 0..3 {
                    fill.push(chunk.clone()).await.unwrap();
                }
                fill.finish(Ok(()))
            }
        });
        let mut read = 0;
        while let Some(chunk) = next(&mut fast).await {
            read += chunk.unwrap().len();
        }
        assert_eq!(read, chunk.len() * 3);
        assert_eq!(writer.await.unwrap(), Err(NotStored::TooLarge));
        assert_eq!(next(&mut stuck).await, Some(Err(Truncated)), "and never takes it for complete");
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_is_given_up() {
        let (fill, _) = fill(1, 100);
        let reader = fill.reader().unwrap();
        drop(reader);
        assert_eq!(fill.push(Bytes::from_static(b"abc")).await, Err(Abandoned));
    }

    #[tokio::test]
    async fn beyond_the_budget_bodies_are_streamed() {
        let (fill, _) = fill(100, 4);
        let _reader = fill.reader().unwrap();
        fill.push(Bytes::from_static(b"abcde")).await.unwrap();
        assert_eq!(fill.finish(Ok(())), Err(NotStored::Budget));
    }
}
