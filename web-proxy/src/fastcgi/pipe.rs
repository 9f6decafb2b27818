//! Between an exchange and whoever wants its response: the head, then pieces, as many as the buffer holds.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::FastCgiError;
use super::head::Head;

/// What a piece costs at least: an application that flushes byte by byte must not fill memory with their places.
const MIN_CHARGE: usize = 256;

/// The exchange's side. Dropping it without [`end`](Self::end) truncates the body.
#[derive(Debug)]
pub(super) struct Sender(Arc<Pipe>);

/// The response's side. Dropping it says that nobody wants the rest.
#[derive(Debug)]
pub(super) struct Receiver(Arc<Pipe>);

/// Knows when that happens.
#[derive(Debug)]
pub(super) struct Watch(Arc<Pipe>);

#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    /// As many bytes may wait for the client. One piece may always.
    buffer: usize,
}

#[derive(Debug, Default)]
struct State {
    head: Option<Result<Head, FastCgiError>>,
    pieces: VecDeque<Bytes>,
    /// What they cost.
    held: usize,
    /// `Some` once nothing more comes: whether the body is complete.
    ended: Option<bool>,
    unwanted: bool,
    /// All that is wanted is here: nobody misses what still comes.
    satisfied: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    /// The application has ended the request: the body is complete.
    End,
    Truncated,
}

pub(super) fn pipe(buffer: usize) -> (Sender, Receiver) {
    let pipe = Arc::new(Pipe { state: Mutex::default(), buffer });
    (Sender(Arc::clone(&pipe)), Receiver(pipe))
}

impl Sender {
    /// The head, or why there is none. Nobody is woken: it is waited for in the task that sends it.
    pub(super) fn head(&self, head: Result<Head, FastCgiError>) {
        self.0.lock().head = Some(head);
    }

    pub(super) fn satisfied(&self) {
        self.0.lock().satisfied = true;
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.0))
    }

    /// Passes a piece on once there is room. To nobody at once: [`Watch`] knows.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, piece: &mut Bytes) -> Poll<()> {
        let mut state = self.0.lock();
        if state.unwanted {
            return Poll::Ready(());
        }
        let cost = cost(piece);
        if !state.pieces.is_empty() && state.held + cost > self.0.buffer {
            state.sender = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.held += cost;
        state.pieces.push_back(std::mem::take(piece));
        wake(state.receiver.take(), state);
        Poll::Ready(())
    }

    /// The body is complete.
    pub(super) fn end(self) {
        self.close(true);
    }

    fn close(&self, complete: bool) {
        let mut state = self.0.lock();
        state.ended.get_or_insert(complete);
        wake(state.receiver.take(), state);
    }
}

impl Watch {
    /// Completes when nobody wants the response any more, unless all that is wanted is here.
    pub(super) async fn unwanted(self) {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.unwanted && !state.satisfied {
                return Poll::Ready(());
            }
            // It waits in the sender's task.
            state.sender = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.close(false);
    }
}

impl Receiver {
    pub(super) fn take_head(&self) -> Option<Result<Head, FastCgiError>> {
        self.0.lock().head.take()
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Piece> {
        let mut state = self.0.lock();
        let piece = match (state.pieces.pop_front(), state.ended) {
            (Some(piece), _) => piece,
            (None, Some(true)) => return Poll::Ready(Piece::End),
            (None, Some(false)) => return Poll::Ready(Piece::Truncated),
            (None, None) => {
                state.receiver = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        state.held = state.held.saturating_sub(cost(&piece));
        wake(state.sender.take(), state);
        Poll::Ready(Piece::Data(piece))
    }

    /// How much is still to come, if all of it is here.
    pub(super) fn left(&self) -> Option<u64> {
        let state = self.0.lock();
        (state.ended == Some(true)).then(|| state.pieces.iter().map(|piece| piece.len() as u64).sum())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.unwanted = true;
        let unwanted = std::mem::take(&mut state.pieces);
        wake(state.sender.take(), state);
        drop(unwanted);
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waker may run other code: not under the lock.
fn wake(waker: Option<Waker>, state: MutexGuard<'_, State>) {
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn cost(piece: &Bytes) -> usize {
    piece.len().max(MIN_CHARGE)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn send(sender: &Sender, length: usize) -> bool {
        let mut piece = Bytes::from(vec![b'x'; length]);
        poll_fn(|cx| sender.poll_send(cx, &mut piece)).now_or_never().is_some()
    }

    fn next(receiver: &Receiver) -> Option<Piece> {
        poll_fn(|cx| receiver.poll(cx)).now_or_never()
    }

    #[test]
    fn what_waits_is_bounded() {
        let (sender, receiver) = pipe(1000);
        assert!(send(&sender, 5000), "one piece, whatever its size");
        assert!(!send(&sender, 1));
        assert!(matches!(next(&receiver), Some(Piece::Data(piece)) if piece.len() == 5000));
        assert_eq!(next(&receiver), None);
        let tiny = (0..9).take_while(|_| send(&sender, 1)).count();
        assert_eq!(tiny, 1000 / MIN_CHARGE, "a tiny piece costs its place");
        assert_eq!(receiver.left(), None);
        sender.end();
        assert_eq!(receiver.left(), Some(3));
        assert_eq!((0..3).filter(|_| matches!(next(&receiver), Some(Piece::Data(_)))).count(), 3);
        assert_eq!(next(&receiver), Some(Piece::End));
    }

    #[test]
    fn both_sides_may_leave() {
        let (sender, receiver) = pipe(1000);
        assert!(send(&sender, 1));
        drop(sender);
        assert_eq!(receiver.left(), None, "not all of it");
        assert!(matches!(next(&receiver), Some(Piece::Data(_))));
        assert_eq!(next(&receiver), Some(Piece::Truncated));

        let (sender, receiver) = pipe(1000);
        assert!(send(&sender, 900) && !send(&sender, 900));
        assert!(sender.watch().unwanted().now_or_never().is_none());
        drop(receiver);
        assert!(sender.watch().unwanted().now_or_never().is_some());
        assert!(send(&sender, 900), "to nobody");
        sender.satisfied();
        assert!(sender.watch().unwanted().now_or_never().is_none());
    }
}
