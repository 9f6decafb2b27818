//! A request's body on its way to the origin, watched.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// What a request to the origin carries.
#[derive(Debug)]
pub struct RequestBody {
    source: Option<Source>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Source {
    incoming: Incoming,
    deadline: Pin<Box<Sleep>>,
}

/// Whether the body has been sent.
#[derive(Debug, Default)]
pub struct Progress {
    ended: AtomicBool,
    end: Notify,
}

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    Client(#[from] hyper::Error),
    #[error("the client sent nothing for too long")]
    Stalled,
}

/// How long a client may pause within a body.
const PAUSE: Duration = Duration::from_mins(1);

impl RequestBody {
    pub fn empty() -> Self {
        let progress = Progress::default();
        progress.ended.store(true, Ordering::Release);
        Self { source: None, progress: Arc::new(progress) }
    }

    pub fn of(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let deadline = Box::pin(tokio::time::sleep(PAUSE));
        Self { source: Some(Source { incoming, deadline }), progress: Arc::default() }
    }

    pub const fn is_empty(&self) -> bool {
        self.source.is_none()
    }

    /// It was sent in chunks, and must go on so.
    pub fn is_of_unknown_length(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.incoming.size_hint().exact().is_none())
    }

    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl Progress {
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Completes when the body was handed over whole, or given up.
    pub async fn end(&self) {
        let end = self.end.notified();
        if !self.has_ended() {
            end.await;
        }
    }

    fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(Source { incoming, deadline }) = &mut self.source else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(UploadError::Stalled)));
        };
        deadline.as_mut().reset(Instant::now() + PAUSE);
        if frame.is_none() || incoming.is_end_stream() {
            self.progress.set_ended();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.source.as_ref().map_or_else(|| SizeHint::with_exact(0), |source| source.incoming.size_hint())
    }
}
