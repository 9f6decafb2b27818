use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// The body of the application's response, as it comes. Dropping it gives the exchange up.
#[derive(Debug)]
pub struct RelayBody {
    pieces: mpsc::UnboundedReceiver<Piece>,
    ended: bool,
}

#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes, and their place in the buffer, which is free once they are taken.
    Data { bytes: Bytes, _room: OwnedSemaphorePermit },
    /// The application has ended the request: the body is complete.
    End,
}

/// Why was logged by the exchange.
#[derive(Debug, thiserror::Error)]
#[error("the application's response is not complete")]
pub struct Truncated;

impl RelayBody {
    pub(super) const fn new(pieces: mpsc::UnboundedReceiver<Piece>) -> Self {
        Self { pieces, ended: false }
    }

    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Truncated>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(cx));
        self.ended = !matches!(piece, Some(Piece::Data { .. }));
        Poll::Ready(match piece {
            Some(Piece::Data { bytes, .. }) => Some(Ok(bytes)),
            Some(Piece::End) => None,
            None => Some(Err(Truncated)),
        })
    }
}
