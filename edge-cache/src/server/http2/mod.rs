//! HTTP/2 (RFC 9113) over TLS, by hyper, with the handler of HTTP/1.1.
//!
//! 1. [`request`]: a request as HTTP/1.1 would have brought it, so that keys are the same; what is not valid is refused.
//!    What belongs to a connection is taken out of its response. Pure.
//! 2. [`body`]: a response's body in small pieces, each a copy: what waits for a slow client is no more than that.
//! 3. [`pace`]: a stream whose client takes nothing ends, although its connection is alive.
//! 4. [`streams`]: what the streams of a connection do together: nothing for too long, or more harm than good.
//!
//! Interim responses (103) are dropped: hyper cannot write them here. No connection becomes a tunnel.

pub mod body;
pub mod pace;
pub mod request;
pub mod streams;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::http::forwarded::Scheme;
use common::listener::Peer;
use common::shutdown::Shutdown;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use self::body::Pieces;
use self::pace::Pace;
use self::streams::Streams;
use super::{OpenConnection, SEND_TIMEOUT};
use crate::cache::Cache;
use crate::handler::handle;

/// Requests of one connection at a time: RFC 9113, section 6.5.2 recommends no fewer.
const MAX_STREAMS: u32 = 100;
/// What a client may send of a request's body before it is read, and of all of a connection together.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What waits for one stream's client.
const SEND_BUFFER: usize = 32 << 10;
/// Streams reset before they are looked at (CVE-2023-44487), and reset by ourselves because of what the client did
/// (CVE-2025-8671).
const MAX_PENDING_RESETS: usize = 20;
const MAX_OWN_RESETS: usize = 100;
/// A client that has gone without a word is noticed while it is waited for, too.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take to close a connection without streams that it is told to leave.
const CLOSING: Duration = Duration::from_secs(5);

/// Why a connection was ended in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// Most requests were given up by their client.
    ResetFlood,
    /// The client does not keep to the protocol, or has gone.
    Broken,
    /// A stream alone: its client took nothing for too long.
    Stalled,
}

impl Abort {
    pub const ALL: [Self; 3] = [Self::ResetFlood, Self::Broken, Self::Stalled];

    /// A label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResetFlood => "reset-flood",
            Self::Broken => "broken",
            Self::Stalled => "stalled",
        }
    }
}

/// Serves one connection to its end, which a drain brings about.
pub(super) async fn serve<S>(cache: &Arc<Cache>, stream: S, peer: Peer, open: OpenConnection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (idle, head_bytes) = {
        let live = cache.live.load();
        (live.config.client_timeout, live.config.limits.head_bytes)
    };
    let streams = Arc::new(Streams::default());
    let service = service_fn({
        let (cache, streams) = (Arc::clone(cache), Arc::clone(&streams));
        move |request| respond(Arc::clone(&cache), peer, Arc::clone(&streams), request)
    });
    let executor = Tasks { shutdown: cache.shutdown.clone(), cache: Arc::clone(cache) };
    let serving = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_OWN_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let mut is_closing = false;
    // When to look whether the connection is idle.
    let mut look = std::pin::pin!(sleep(idle));
    loop {
        tokio::select! {
            biased;
            served = serving.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(%error, "connection");
                    cache.metrics.http2_abort(Abort::Broken);
                }
                break;
            }
            () = streams.flooded() => {
                tracing::debug!(client = %peer.ip(), "most requests of a connection were reset");
                cache.metrics.http2_abort(Abort::ResetFlood);
                break;
            }
            () = cache.shutdown.draining(), if !is_closing => {
                is_closing = true;
                serving.as_mut().graceful_shutdown();
                look.set(sleep(CLOSING));
            }
            () = look.as_mut() => {
                let limit = if is_closing { CLOSING } else { idle };
                let left = streams.idle_for().map_or(limit, |time| limit.saturating_sub(time));
                if left > Duration::ZERO {
                    look.set(sleep(left));
                } else if is_closing {
                    break;
                } else {
                    is_closing = true;
                    serving.as_mut().graceful_shutdown();
                    look.set(sleep(CLOSING));
                }
            }
        }
    }
    drop(open);
}

async fn respond(
    cache: Arc<Cache>,
    peer: Peer,
    streams: Arc<Streams>,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Infallible> {
    let mut stream = Streams::begin(&streams);
    let pace = Pace::current();
    let (mut head, body) = request.into_parts();
    let violation = request::adopt(&mut head).err();
    let request = Request::from_parts(head, body);
    let response = handle(&cache, &peer, Scheme::Https, None, violation, request).await;
    stream.is_answered();
    let (mut head, body) = response.into_parts();
    request::strip_connection(&mut head.headers);
    Ok(Response::from_parts(head, Pieces::new(body, pace, stream)))
}

/// Runs each stream as work in flight, for as long as its client takes what it is sent.
#[derive(Clone)]
struct Tasks {
    shutdown: Shutdown,
    cache: Arc<Cache>,
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let cache = Arc::clone(&self.cache);
        self.shutdown.spawn(async move {
            if pace::attended(stream, SEND_TIMEOUT).await.is_err() {
                // Dropped, it is reset.
                cache.metrics.http2_abort(Abort::Stalled);
            }
        });
    }
}
