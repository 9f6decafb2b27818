use std::time::Duration;

use common::shutdown::Shutdown;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};

/// A request's body. Dropped unread, it is still read for a while: closing while a client sends makes the
/// kernel reset the connection, and the client would lose the answer that it has not read yet
/// (RFC 9112, section 9.6).
#[derive(Debug)]
pub struct ClientBody {
    /// `None` once it is over or was dropped.
    body: Option<Incoming>,
    shutdown: Shutdown,
}

/// What may still come of a body that nobody wants.
const MOST: usize = 16 << 20;
const LONGEST: Duration = Duration::from_secs(5);

impl ClientBody {
    pub fn new(body: Incoming, shutdown: &Shutdown) -> Self {
        Self { body: Some(body), shutdown: shutdown.clone() }
    }

    /// Of a request that is not a client's.
    pub fn none(shutdown: &Shutdown) -> Self {
        Self { body: None, shutdown: shutdown.clone() }
    }

    /// The length that the client has said; `None` for a chunked body.
    pub fn length(&self) -> Option<u64> {
        self.body.as_ref().map_or(Some(0), |body| body.size_hint().exact())
    }

    /// hyper answers `Expect: 100-continue` when this is first called, so that a body which is refused is
    /// never sent.
    pub async fn frame(&mut self) -> Option<Result<Frame<bytes::Bytes>, hyper::Error>> {
        let frame = self.body.as_mut()?.frame().await;
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        frame
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        // Outside of a runtime nobody is served any more.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.shutdown.spawn(async move {
            let reading = async {
                let mut left = MOST;
                while let Some(Ok(frame)) = body.frame().await {
                    let length = frame.data_ref().map_or(0, bytes::Bytes::len);
                    let Some(rest) = left.checked_sub(length) else { return };
                    left = rest;
                }
            };
            // Whichever comes first: there is nothing to report.
            let _ = tokio::time::timeout(LONGEST, reading).await;
        });
    }
}
