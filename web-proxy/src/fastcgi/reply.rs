//! What an exchange has to say: the head once, then pieces of the body, then that it is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use super::head::{self, Head, HeadError, MAX_HEAD};
use super::relay_body::Piece;
use super::{FastCgiError, RelayBody, has_no_body};

#[derive(Debug)]
pub(super) struct Reply {
    /// `None` once the head is sent.
    head: Option<oneshot::Sender<Result<Head, FastCgiError>>>,
    /// The head as far as it has come.
    partial: BytesMut,
    pieces: mpsc::Sender<Piece>,
    /// What the body still lacks, where the head said a length.
    left: Option<u64>,
    length: u64,
    bodiless: bool,
    /// The client has all it will get: nobody misses what still comes.
    satisfied: Arc<AtomicBool>,
}

impl Reply {
    pub(super) fn new(bodiless: bool) -> (Self, oneshot::Receiver<Result<Head, FastCgiError>>, RelayBody) {
        let (head, receiver) = oneshot::channel();
        // One piece waits while another is on its way to the client: more would only cost memory.
        let (pieces, body) = mpsc::channel(1);
        let reply = Self {
            head: Some(head),
            partial: BytesMut::new(),
            pieces,
            left: None,
            length: 0,
            bodiless,
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
        let head = head::parse(&self.partial[..end])?;
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
        // Nobody there: `abandoned` knows.
        let _ = self.pieces.send(Piece::Data(piece)).await;
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
    pub(super) async fn finish(self, outcome: Result<(), FastCgiError>) {
        match (outcome, self.head) {
            (Err(error), Some(head)) => {
                // Nobody there: nothing to say.
                let _ = head.send(Err(error));
            }
            (Ok(()), _) => {
                let _ = self.pieces.send(Piece::End).await;
            }
            (Err(_), None) => {}
        }
    }
}
