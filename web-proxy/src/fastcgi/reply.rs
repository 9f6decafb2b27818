//! What an exchange has to say: the head once, then pieces of the body, then that it is complete.

use std::future::poll_fn;

use bytes::{Buf as _, Bytes, BytesMut};

use super::conditions::Conditions;
use super::head::{self, HeadError, MAX_HEAD};
use super::pipe::{Sender, pipe};
use super::{FastCgiError, RelayBody, has_no_body};

#[derive(Debug)]
pub(super) struct Reply {
    pieces: Sender,
    /// The head is there.
    begun: bool,
    /// The head as far as it has come.
    partial: BytesMut,
    /// What the body still lacks, where the head said a length.
    left: Option<u64>,
    length: u64,
    bodiless: bool,
    conditions: Conditions,
}

impl Reply {
    /// `buffer`: as many bytes may wait for the client. One piece may always.
    pub(super) fn new(bodiless: bool, buffer: u32, conditions: Conditions) -> (Self, RelayBody) {
        let (pieces, body) = pipe(buffer as usize);
        let reply = Self {
            pieces,
            begun: false,
            partial: BytesMut::new(),
            left: None,
            length: 0,
            bodiless,
            conditions,
        };
        (reply, RelayBody::new(body))
    }

    /// Completes when the response is no longer wanted. A client that has all of it is no reason to stop:
    /// the application is not disturbed in what it does after its output.
    pub(super) fn abandoned(&self) -> impl Future<Output = ()> + use<> {
        self.pieces.watch().unwanted()
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// The next piece of STDOUT.
    pub(super) async fn stdout(&mut self, piece: Bytes) -> Result<(), FastCgiError> {
        if self.begun {
            return self.body(piece).await;
        }
        // Mostly it comes in one piece.
        let known = self.partial.len();
        let mut rest = if known == 0 {
            piece
        } else {
            self.partial.extend_from_slice(&piece);
            std::mem::take(&mut self.partial).freeze()
        };
        let Some(end) = head::end(&rest, known) else {
            let too_large = rest.len() > MAX_HEAD;
            self.partial = rest.into();
            return if too_large { Err(HeadError::TooLarge.into()) } else { Ok(()) };
        };
        let mut head = head::parse(&rest[..end])?;
        self.conditions.apply(&mut head);
        self.bodiless |= has_no_body(head.status);
        self.length = head.content_length.unwrap_or_default();
        self.left = head.content_length;
        self.note_satisfaction();
        rest.advance(end);
        self.begun = true;
        self.pieces.head(Ok(head));
        if rest.is_empty() { Ok(()) } else { self.body(rest).await }
    }

    async fn body(&mut self, mut piece: Bytes) -> Result<(), FastCgiError> {
        if self.bodiless {
            return Ok(());
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(piece.len() as u64).ok_or(FastCgiError::Length(self.length))?;
        }
        self.note_satisfaction();
        poll_fn(|cx| self.pieces.poll_send(cx, &mut piece)).await;
        Ok(())
    }

    fn note_satisfaction(&self) {
        if self.bodiless || self.left == Some(0) {
            self.pieces.satisfied();
        }
    }

    /// The application says that this was all.
    pub(super) fn check_complete(&self) -> Result<(), FastCgiError> {
        if !self.begun {
            return Err(HeadError::Unfinished.into());
        }
        match self.left {
            Some(left) if left > 0 && !self.bodiless => Err(FastCgiError::Length(self.length)),
            _ => Ok(()),
        }
    }

    /// The last word. Without one, the body ends as a truncated one.
    pub(super) fn finish(self, outcome: Result<(), FastCgiError>) {
        match outcome {
            Ok(()) => self.pieces.end(),
            Err(error) if !self.begun => self.pieces.head(Err(error)),
            Err(_) => {}
        }
    }
}
