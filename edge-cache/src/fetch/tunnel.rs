//! Another protocol between client and origin, once both have changed to it (RFC 9110, section 7.8).
//!
//! 1. The 101 goes to the client with the connection fields of this hop.
//! 2. Bytes go both ways, each through a buffer of its own, at the pace of the slower side. An end in one direction is
//!    passed on in that direction alone.
//! 3. It ends with the second end, an error, a time without a byte in either direction, or the drain's grace period.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Response, response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::Instant;

use super::FetchError;
use super::origin::OriginBody;
use super::pass::receive;
use crate::cache::Cache;
use crate::request::Normalised;
use crate::respond::{Answer, Body, CacheStatus, Verdict};

/// For each direction.
const BUFFER: usize = 16 << 10;
/// How long a tunnel that has one end may be idle: a client that has gone looks like one that only listens.
const HALF_CLOSED: Duration = Duration::from_mins(1);

/// Answers with the origin's 101, and begins the tunnel.
pub fn open(
    cache: &Arc<Cache>,
    request: &Normalised,
    mut head: response::Parts,
    body: OriginBody,
    verdict: Verdict,
) -> Result<Answer, FetchError> {
    let broken = |what: &str| FetchError::Broken(what.into());
    let Some(upgrade) = request.upgrade.clone() else {
        return Err(broken("the origin switched protocols unasked"));
    };
    let origin = head.extensions.remove::<OnUpgrade>();
    let (Some(origin), Some(protocol)) = (origin, upgrade.chosen(&head.headers)) else {
        return Err(broken("the origin switched to a protocol that nobody asked for"));
    };
    receive(&mut head);
    upgrade.ask(&mut head.headers);
    head.headers.insert(http::header::UPGRADE, protocol);
    let open = Open::count(cache);
    let timeout = request.live.config.upgrade_timeout;
    cache.shutdown.spawn(async move {
        // The origin's connection is one under way, and the client's is open.
        let _held = (open, body, upgrade.connection);
        match tokio::try_join!(upgrade.client, origin) {
            Ok((client, origin)) => relay(client, origin, timeout).await,
            Err(error) => tracing::debug!(%error, "an upgrade came to nothing"),
        }
    });
    let mut status = CacheStatus::new(verdict);
    status.fwd_status = Some(head.status);
    Ok((Response::from_parts(head, Body::empty()), status))
}

async fn relay(client: Upgraded, origin: Upgraded, timeout: Duration) {
    let activity = Arc::new(Activity {
        began: Instant::now(),
        last: AtomicU64::new(0),
        is_half_closed: AtomicBool::new(false),
    });
    let mut client = Watched { stream: TokioIo::new(client), activity: Arc::clone(&activity) };
    let mut origin = Watched { stream: TokioIo::new(origin), activity: Arc::clone(&activity) };
    let mut copying = std::pin::pin!(copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER));
    let step = timeout.min(HALF_CLOSED);
    loop {
        let wake = (activity.last() + step).max(Instant::now() + step / 8);
        tokio::select! {
            copied = copying.as_mut() => {
                match copied {
                    Ok((sent, received)) => tracing::debug!(sent, received, "a tunnel ended"),
                    Err(error) => tracing::debug!(%error, "a tunnel broke"),
                }
                return;
            }
            () = tokio::time::sleep_until(wake) => {
                let limit = if activity.is_half_closed.load(Ordering::Relaxed) { step } else { timeout };
                if activity.last() + limit <= Instant::now() {
                    return tracing::debug!(?timeout, "a tunnel was idle");
                }
            }
        }
    }
}

/// When a byte was last seen in either direction.
#[derive(Debug)]
struct Activity {
    began: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
    is_half_closed: AtomicBool,
}

impl Activity {
    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    fn note(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

/// A stream whose progress is noted.
struct Watched {
    stream: TokioIo<Upgraded>,
    activity: Arc<Activity>,
}

impl Watched {
    fn noted<T>(&self, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.activity.note();
        }
        progress
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.noted(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.is_half_closed.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Counts a tunnel for as long as it is open.
struct Open(Arc<Cache>);

impl Open {
    fn count(cache: &Arc<Cache>) -> Self {
        cache.metrics.tunnels.inc();
        Self(Arc::clone(cache))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.tunnels.dec();
    }
}
