use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::FastCgiError;
use super::head::Head;
use super::pipe::{Piece, Receiver};

/// The body of the application's response, as it comes. Dropping it gives the exchange up.
#[derive(Debug)]
pub struct RelayBody {
    pieces: Receiver,
    ended: bool,
}

/// Why was logged by the exchange.
#[derive(Debug, thiserror::Error)]
#[error("the application's response is not complete")]
pub struct Truncated;

impl RelayBody {
    pub(super) const fn new(pieces: Receiver) -> Self {
        Self { pieces, ended: false }
    }

    /// The head once it is there, or why there is none.
    pub(super) fn take_head(&self) -> Option<Result<Head, FastCgiError>> {
        self.pieces.take_head()
    }

    /// How much is still to come, if all of it is here.
    pub fn left(&self) -> Option<u64> {
        self.pieces.left()
    }

    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Truncated>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll(cx));
        self.ended = !matches!(piece, Piece::Data(_));
        Poll::Ready(match piece {
            Piece::Data(bytes) => Some(Ok(bytes)),
            Piece::End => None,
            Piece::Truncated => Some(Err(Truncated)),
        })
    }
}
