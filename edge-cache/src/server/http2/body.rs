use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::pace::Pace;
use super::streams::Stream;
use crate::respond::Body;
use crate::respond::body::BodyError;

/// A response's body in pieces. h2 keeps what it was given until the client takes it, also when nobody waits for that
/// any more, so a piece is small and holds nothing else in memory: neither the rest of a stored response, which may
/// have been evicted, nor a read buffer.
#[derive(Debug)]
pub struct Pieces {
    body: Body,
    /// Of the last frame.
    rest: Bytes,
    pace: Arc<Pace>,
    _stream: Stream,
}

/// As long as a frame of HTTP/2 may be without both sides agreeing on more.
const PIECE: usize = 16 << 10;

impl Pieces {
    pub const fn new(body: Body, pace: Arc<Pace>, stream: Stream) -> Self {
        Self { body, rest: Bytes::new(), pace, _stream: stream }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.pace.has_taken();
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // The body has data only.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        let mut piece = self.rest.split_to(length);
        if !piece.is_unique() {
            piece = Bytes::copy_from_slice(&piece);
        }
        self.pace.is_given();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(exact) = hint.exact() {
            return SizeHint::with_exact(exact + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::server::http2::streams::Streams;

    #[tokio::test]
    async fn a_piece_is_small_and_holds_nothing_else() {
        let page = Bytes::from(vec![7; 5 * PIECE + 1]);
        let stream = Streams::begin(&Arc::default());
        let mut pieces = Pieces::new(Body::page(page.clone()), Pace::current(), stream);
        let mut left = page.len() as u64;
        while !pieces.is_end_stream() {
            assert_eq!(pieces.size_hint().exact(), Some(left));
            let piece = pieces.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE && piece.is_unique());
            left -= piece.len() as u64;
        }
        assert_eq!(left, 0);
        drop(pieces);
        assert!(page.is_unique(), "the page can go");
    }
}
