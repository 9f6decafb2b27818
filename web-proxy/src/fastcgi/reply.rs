//! What an exchange has to say: the head once, then pieces of the body, then that it is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::conditions::Conditions;
use super::head::{self, Head, HeadError, MAX_HEAD};
use super::relay_body::Piece;
use super::{FastCgiError, RelayBody, has_no_body};

#[derive(Debug)]
pub(super) struct Reply {
    /// `None` once the head is sent.
    head: Option<oneshot::Sender<Result<Head, FastCgiError>>>,
    /// The head as far as it has come.
    partial: BytesMut,
    /// Bounded by `room`.
    pieces: mpsc::UnboundedSender<Piece>,
    /// What the buffer still takes, in bytes.
    room: Arc<Semaphore>,
    buffer: u32,
    /// What the body still lacks, where the head said a length.
    left: Option<u64>,
    length: u64,
    bodiless: bool,
    conditions: Conditions,
    /// The client has all it will get: nobody misses what still comes.
    satisfied: Arc<AtomicBool>,
}

/// What a piece costs at least: an application that flushes byte by byte must not fill memory with their places.
const MIN_CHARGE: u32 = 256;

impl Reply {
    /// `buffer`: as many bytes may wait for the client. One piece may always.
    pub(super) fn new(
        bodiless: bool,
        buffer: u32,
        conditions: Conditions,
    ) -> (Self, oneshot::Receiver<Result<Head, FastCgiError>>, RelayBody) {
        let (head, receiver) = oneshot::channel();
        let (pieces, body) = mpsc::unbounded_channel();
        let buffer = buffer.max(MIN_CHARGE);
        let reply = Self {
            head: Some(head),
            partial: BytesMut::new(),
            pieces,
            room: Arc::new(Semaphore::new(buffer as usize)),
            buffer,
            left: None,
            length: 0,
            bodiless,
            conditions,
            satisfied: Arc::default(),
        };
        (reply, receiver, RelayBody::new(body))
    }

    /// Completes when the response is no longer wanted. A client that has all of it is no reason to stop:
    /// the application is not disturbed in what it does after its output.
    pub(super) fn abandoned(&self) -> impl Future<Output = ()> + use<> {
        let (pieces, satisfied) = (self.pieces.clone(), Arc::clone(&self.satisfied));
        async move {
            pieces.closed().await;
            if satisfied.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.head.is_none()
    }

    /// The next piece of STDOUT.
    pub(super) async fn stdout(&mut self, piece: Bytes) -> Result<(), FastCgiError> {
        if self.head.is_none() {
            return self.body(piece).await;
        }
        let known = self.partial.len();
        self.partial.extend_from_slice(&piece);
        let Some(end) = head::end(&self.partial, known) else {
            return if self.partial.len() > MAX_HEAD { Err(HeadError::TooLarge.into()) } else { Ok(()) };
        };
        let mut head = head::parse(&self.partial[..end])?;
        self.conditions.apply(&mut head);
        self.bodiless |= has_no_body(head.status);
        self.length = head.content_length.unwrap_or_default();
        self.left = head.content_length;
        self.note_satisfaction();
        let mut rest = std::mem::take(&mut self.partial).freeze();
        rest.advance(end);
        if let Some(sender) = self.head.take() {
            // Nobody there: `abandoned` knows.
            let _ = sender.send(Ok(head));
        }
        if rest.is_empty() { Ok(()) } else { self.body(rest).await }
    }

    async fn body(&mut self, piece: Bytes) -> Result<(), FastCgiError> {
        if self.bodiless {
            return Ok(());
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(piece.len() as u64).ok_or(FastCgiError::Length(self.length))?;
        }
        self.note_satisfaction();
        let charge = u32::try_from(piece.len()).unwrap_or(u32::MAX).clamp(MIN_CHARGE, self.buffer);
        // Never closed.
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(charge).await else { return Ok(()) };
        // Nobody there: `abandoned` knows.
        let _ = self.pieces.send(Piece::Data { bytes: piece, _room: room });
        Ok(())
    }

    fn note_satisfaction(&self) {
        if self.bodiless || self.left == Some(0) {
            self.satisfied.store(true, Ordering::Release);
        }
    }

    /// The application says that this was all.
    pub(super) fn check_complete(&self) -> Result<(), FastCgiError> {
        if self.head.is_some() {
            return Err(HeadError::Unfinished.into());
        }
        match self.left {
            Some(left) if left > 0 && !self.bodiless => Err(FastCgiError::Length(self.length)),
            _ => Ok(()),
        }
    }

    /// The last word. Without one, the body ends as a truncated one.
    pub(super) fn finish(self, outcome: Result<(), FastCgiError>) {
        match (outcome, self.head) {
            (Err(error), Some(head)) => {
                // Nobody there: nothing to say.
                let _ = head.send(Err(error));
            }
            (Ok(()), _) => {
                let _ = self.pieces.send(Piece::End);
            }
            (Err(_), None) => {}
        }
    }
}
