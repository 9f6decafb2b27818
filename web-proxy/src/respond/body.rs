use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use common::http::direct::{Counted, WriteTo};
use common::net::{Stream, WriteDeadline};
use http_body::{Frame, SizeHint};

use super::Record;
use super::coded_body::CodedBody;
use crate::docroot::Wait;
use crate::fastcgi::{RelayBody, Truncated};
use crate::static_files::{Coding, FileBody, FileBodyError, FileParts, SendError};

/// The body of a response. An error breaks the connection, so that the client sees the failure.
#[derive(Debug)]
pub struct Body {
    source: Source,
    ended: bool,
    failed: bool,
    /// Not all of it went out.
    cut_off: bool,
    /// Written when this body is over or given up.
    record: Option<Box<Record>>,
}

/// Where a body's bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    Empty,
    Page(Bytes),
    File(Box<FileBody>),
    Parts(Box<FileParts>),
    Relay(RelayBody),
    Coded(Box<CodedBody>),
    /// An error that is told at the next poll.
    Broken(BodyError),
}

#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    File(#[from] FileBodyError),
    #[error(transparent)]
    Truncated(#[from] Truncated),
    #[error("cannot compress: {0}")]
    Coding(#[from] io::Error),
}

impl Body {
    pub const fn empty() -> Self {
        Self::from_source(Source::Empty)
    }

    pub const fn page(page: Bytes) -> Self {
        Self::from_source(Source::Page(page))
    }

    pub fn file(body: FileBody) -> Self {
        Self::from_source(Source::File(Box::new(body)))
    }

    pub fn parts(body: FileParts) -> Self {
        Self::from_source(Source::Parts(Box::new(body)))
    }

    pub const fn relay(body: RelayBody) -> Self {
        Self::from_source(Source::Relay(body))
    }

    const fn from_source(source: Source) -> Self {
        Self { source, ended: false, failed: false, cut_off: false, record: None }
    }

    /// Reads the first piece of a file ahead: what fails until then can still be answered properly.
    pub async fn prime(&mut self, wait: Wait) -> Result<(), FileBodyError> {
        match &mut self.source {
            Source::File(body) => body.prime(wait).await,
            Source::Parts(body) => body.prime(wait).await,
            _ => Ok(()),
        }
    }

    /// Compresses what is not yet sent.
    #[must_use]
    pub fn coded(mut self, coding: Coding) -> Self {
        let source = std::mem::replace(&mut self.source, Source::Empty);
        self.source = Source::Coded(Box::new(CodedBody::new(source, coding)));
        self
    }

    /// Whether it is compressed on its way, so that nobody knows its length.
    pub const fn is_coded(&self) -> bool {
        matches!(self.source, Source::Coded(_))
    }

    /// Whether its bytes may end before it does.
    pub const fn may_break(&self) -> bool {
        !matches!(self.source, Source::Empty | Source::Page(_))
    }

    /// Notes the request when this body is over.
    #[must_use]
    pub fn recorded(mut self, record: Record) -> Self {
        self.record = Some(Box::new(record));
        self
    }
}

impl Source {
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let piece = match self {
            Self::Empty | Self::Broken(_) => None,
            Self::Page(page) => {
                let page = std::mem::take(page);
                *self = Self::Empty;
                (!page.is_empty()).then_some(Ok(page))
            }
            Self::File(body) => ready!(body.poll_piece(cx)).map(|piece| piece.map_err(BodyError::from)),
            Self::Parts(body) => ready!(body.poll_piece(cx)).map(|piece| piece.map_err(BodyError::from)),
            Self::Relay(body) => ready!(body.poll_piece(cx)).map(|piece| piece.map_err(BodyError::from)),
            Self::Coded(body) => ready!(body.poll_piece(cx)),
        };
        Poll::Ready(piece)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if matches!(self.source, Source::Broken(_))
            && let Source::Broken(error) = std::mem::replace(&mut self.source, Source::Empty)
        {
            return Poll::Ready(Some(Err(error)));
        }
        let piece = ready!(self.source.poll_piece(cx));
        let piece = match piece {
            Some(Err(error)) => {
                self.failed = true;
                if let Some(record) = &self.record {
                    record.broken(&error);
                }
                // hyper drops what it has not written when a body fails, even the head. It writes while a
                // body is pending: so the client sees how far the response came.
                self.source = Source::Broken(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Ok(piece)) => piece,
            None => {
                self.ended = true;
                return Poll::Ready(None);
            }
        };
        if let Some(record) = &mut self.record {
            record.sent(piece.len());
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Page(page) => page.is_empty(),
            Source::File(body) => body.left() == 0,
            Source::Parts(body) => body.left() == 0,
            Source::Coded(body) => body.is_over(),
            Source::Relay(body) => body.left() == Some(0),
            Source::Broken(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Page(page) => SizeHint::with_exact(page.len() as u64),
            Source::File(body) => SizeHint::with_exact(body.left()),
            Source::Parts(body) => SizeHint::with_exact(body.left()),
            // One that is here to its end need not be sent in chunks.
            Source::Relay(body) => body.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Coded(_) | Source::Broken(_) => SizeHint::default(),
        }
    }
}

impl Counted for Body {
    fn unsent(&mut self, bytes: u64) {
        self.cut_off = true;
        if let Some(record) = &mut self.record {
            record.unsent(bytes);
        }
    }
}

/// Large files, which the kernel sends.
impl WriteTo<WriteDeadline<Stream>> for Body {
    fn writes_itself(&self) -> bool {
        matches!(&self.source, Source::File(body) if body.is_for_the_kernel())
    }

    fn poll_write_to(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        stream: &mut WriteDeadline<Stream>,
    ) -> Poll<Option<io::Result<usize>>> {
        let Source::File(body) = &mut self.source else { return Poll::Ready(None) };
        let Some(sent) = ready!(body.poll_send(cx, stream)) else { return Poll::Ready(None) };
        Poll::Ready(Some(match sent {
            Ok(bytes) => {
                if let Some(record) = &mut self.record {
                    record.sent(bytes);
                }
                Ok(bytes)
            }
            Err(SendError::Client(error)) => Err(error),
            Err(SendError::File(error)) => {
                let error = BodyError::from(error);
                self.failed = true;
                if let Some(record) = &self.record {
                    record.broken(&error);
                }
                Err(io::Error::other(error))
            }
        }))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // hyper asks a body whose length it knows no further than to its last byte.
        let ended = !self.cut_off && (self.ended || http_body::Body::is_end_stream(self));
        if let Some(record) = &mut self.record {
            record.over(ended && !self.failed);
        }
    }
}
