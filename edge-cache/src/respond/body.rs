use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use common::http::direct::{Counted, WriteTo};
use http_body::{Body as _, Frame, SizeHint};

use super::Record;
use crate::coding::{Decoder, Undecodable};
use crate::fetch::fill::{Reader, Truncated};
use crate::fetch::origin::{OriginBody, OriginBodyError};
use crate::metrics::Sent;
use crate::store::StoredBody;

/// The body of a response. An error breaks the connection, so that the client sees the failure.
#[derive(Debug)]
pub struct Body {
    source: Source,
    sent: u64,
    ended: bool,
    /// Not all of it went out.
    cut_off: bool,
    counters: Option<Arc<Sent>>,
    record: Option<Record>,
}

#[derive(Debug)]
enum Source {
    Empty,
    One(Bytes),
    Stored { body: StoredBody, next: usize, start: u64, left: u64 },
    Frames { frames: std::vec::IntoIter<Bytes>, left: u64 },
    Filling { reader: Reader, skip: u64, left: Option<u64>, ended: bool },
    Passed(OriginBody),
    Decoding(Box<Decoding>),
}

/// A coded body on its way to a client that does not accept the coding.
#[derive(Debug)]
struct Decoding {
    coded: Source,
    decoder: Decoder,
    /// Bytes not yet decoded.
    input: Bytes,
    skip: u64,
    left: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    #[error(transparent)]
    Truncated(#[from] Truncated),
    #[error(transparent)]
    Origin(#[from] OriginBodyError),
}

impl Body {
    pub const fn empty() -> Self {
        Self::from_source(Source::Empty)
    }

    pub const fn page(page: Bytes) -> Self {
        Self::from_source(Source::One(page))
    }

    /// `left` bytes of a stored body from `start` on.
    pub fn stored(body: StoredBody, start: u64, left: u64) -> Self {
        Self::from_source(match &body.rest {
            _ if left == 0 => Source::Empty,
            // By far the most bodies are one piece, sent whole.
            None => Source::One(body.first.slice(start as usize..(start + left) as usize)),
            Some(_) => Source::Stored { body, next: 0, start, left },
        })
    }

    /// `left` bytes from `start` on of what `coded` is without its coding; all where `left` is not known.
    #[must_use]
    pub fn decoded(coded: Self, decoder: Decoder, start: u64, left: Option<u64>) -> Self {
        let input = Bytes::new();
        Self::from_source(Source::Decoding(Box::new(Decoding {
            coded: coded.into_source(),
            decoder,
            input,
            skip: start,
            left,
        })))
    }

    /// These bytes one after the other, `left` in all.
    pub fn frames(frames: Vec<Bytes>, left: u64) -> Self {
        Self::from_source(Source::Frames { frames: frames.into_iter(), left })
    }

    /// A body on its way into the store, of `length` bytes where the origin has said it.
    pub const fn filling(reader: Reader, length: Option<u64>) -> Self {
        Self::from_source(Source::Filling { reader, skip: 0, left: length, ended: false })
    }

    /// `left` bytes of it from `start` on.
    pub const fn filling_part(reader: Reader, start: u64, left: u64) -> Self {
        Self::from_source(Source::Filling { reader, skip: start, left: Some(left), ended: false })
    }

    pub const fn passed(body: OriginBody) -> Self {
        Self::from_source(Source::Passed(body))
    }

    const fn from_source(source: Source) -> Self {
        Self { source, sent: 0, ended: false, cut_off: false, counters: None, record: None }
    }

    fn into_source(mut self) -> Source {
        std::mem::replace(&mut self.source, Source::Empty)
    }

    /// Adds its bytes to `counters` and writes `record` when it is over.
    pub fn account(&mut self, counters: Option<Arc<Sent>>, record: Option<Record>) {
        (self.counters, self.record) = (counters, record);
    }
}

/// From memory, or as it comes.
impl Counted for Body {
    fn unsent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_sub(bytes);
        self.cut_off = true;
    }
}

impl<S> WriteTo<S> for Body {}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.source.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.sent += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) => self.counters.iter().for_each(|counters| counters.broken()),
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Stored { left, .. } | Source::Frames { left, .. } => *left == 0,
            Source::Filling { left, ended, .. } => *ended || *left == Some(0),
            Source::Passed(body) => body.is_end_stream(),
            Source::One(bytes) => bytes.is_empty(),
            Source::Decoding(decoding) => decoding.left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::One(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stored { left, .. } | Source::Frames { left, .. } => SizeHint::with_exact(*left),
            Source::Filling { left, .. } => left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Passed(body) => body.size_hint(),
            Source::Decoding(decoding) => decoding.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::One(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stored { body, next, start, left } => loop {
                if *left == 0 {
                    return Poll::Ready(None);
                }
                let Some(piece) = body.piece(*next) else { return Poll::Ready(Some(Err(Truncated.into()))) };
                *next += 1;
                let length = piece.len() as u64;
                if *start >= length {
                    *start -= length;
                    continue;
                }
                let end = length.min(*start + *left);
                let part = piece.slice(*start as usize..end as usize);
                *left -= part.len() as u64;
                *start = 0;
                return Poll::Ready(Some(Ok(Frame::data(part))));
            },
            Self::Frames { frames, left } => {
                if *left == 0 {
                    return Poll::Ready(None);
                }
                let Some(frame) = frames.next() else { return Poll::Ready(Some(Err(Truncated.into()))) };
                *left = left.saturating_sub(frame.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            Self::Filling { reader, skip, left, ended } => loop {
                if *left == Some(0) {
                    return Poll::Ready(None);
                }
                let mut chunk = match ready!(Pin::new(&mut *reader).poll_next(cx)) {
                    Some(Ok(chunk)) => chunk,
                    Some(Err(truncated)) => return Poll::Ready(Some(Err(truncated.into()))),
                    None => {
                        *ended = true;
                        return Poll::Ready(None);
                    }
                };
                let passed_over = (*skip).min(chunk.len() as u64);
                *skip -= passed_over;
                let _ = chunk.split_to(passed_over as usize);
                if let Some(left) = left {
                    chunk.truncate((*left).min(chunk.len() as u64) as usize);
                    *left -= chunk.len() as u64;
                }
                if !chunk.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
            },
            // Trailers would need the client's consent (RFC 9110, section 6.5.1): data only.
            Self::Passed(body) => loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    None => return Poll::Ready(None),
                }
            },
            Self::Decoding(decoding) => decoding.poll_frame(cx),
        }
    }
}

impl Decoding {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.left == Some(0) {
                return Poll::Ready(None);
            }
            match self.decoder.next(&mut self.input) {
                Err(undecodable) => return Poll::Ready(Some(Err(undecodable.into()))),
                Ok(Some(mut plain)) => {
                    let passed_over = self.skip.min(plain.len() as u64);
                    self.skip -= passed_over;
                    plain.advance(passed_over as usize);
                    if let Some(left) = &mut self.left {
                        plain.truncate((*left).min(plain.len() as u64) as usize);
                        *left -= plain.len() as u64;
                    }
                    if !plain.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(plain))));
                    }
                }
                Ok(None) => match ready!(self.coded.poll_frame(cx)) {
                    Some(Ok(frame)) => self.input = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => {
                        let end = self.decoder.finish().map_err(Into::into);
                        // Where a length was announced there is more to come that never will.
                        let end = if self.left.is_some() { end.and(Err(Truncated.into())) } else { end };
                        return Poll::Ready(end.err().map(Err));
                    }
                },
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(counters) = &self.counters {
            counters.over(self.sent);
        }
        // hyper asks a body whose length it knows no further than to its last byte.
        let complete = !self.cut_off && (self.ended || self.is_end_stream());
        if let Some(record) = &mut self.record {
            record.over(self.sent, complete);
        }
    }
}
