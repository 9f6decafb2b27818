use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use super::requests::Shared;

/// The body of a response, while which lasts its connection is not idle.
#[derive(Debug)]
pub struct Attended<B> {
    body: B,
    _lasting: Lasting,
}

/// An answer that is not over; dropping it says that it is.
#[derive(Debug)]
struct Lasting {
    shared: Arc<Shared>,
    number: u64,
}

impl<B> Attended<B> {
    pub(super) const fn new(body: B, shared: Arc<Shared>, number: u64) -> Self {
        Self { body, _lasting: Lasting { shared, number } }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.shared.is_over(self.number);
    }
}

impl<B: Body + Unpin> Body for Attended<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
