use std::convert::Infallible;
use std::sync::Arc;

use common::http::direct::{self, Rest};
use common::http::forwarded::Scheme;
use common::http::strict::{Limits, Patience, StrictRequests};
use common::listener::Peer;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{MAX_HEADERS, MAX_TARGET, OpenConnection};
use crate::cache::Cache;
use crate::handler::{answer_at_once, handle};
use crate::interim::{Channel, InterimStream};

/// What hyper's buffer holds beside a head.
const BUFFER_ROOM: usize = 8 << 10;

/// Serves one connection to its end, which a drain brings about: hits directly, and from the first request on that takes more
/// than the store with hyper.
pub(super) async fn serve<S>(cache: &Arc<Cache>, stream: S, peer: Peer, scheme: Scheme, open: OpenConnection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // A connection keeps the limits that it began with.
    let (idle, head_bytes) = {
        let live = cache.live.load();
        (live.config.client_timeout, live.config.limits.head_bytes)
    };
    let limits = Limits { bytes: head_bytes, target: MAX_TARGET, fields: MAX_HEADERS };
    let patience = Patience { head: idle, idle };
    let answer = |head, text: &mut _| answer_at_once(cache, &peer, scheme, head, text);
    if let Some(rest) = direct::serve(stream, limits, patience, &cache.shutdown, answer).await {
        // Boxed: most connections never need it.
        Box::pin(serve_all(cache, rest, limits, patience, peer, scheme, open.clone())).await;
    }
    drop(open);
}

/// Goes on with hyper.
async fn serve_all<S>(
    cache: &Arc<Cache>,
    rest: Rest<S>,
    limits: Limits,
    patience: Patience,
    peer: Peer,
    scheme: Scheme,
    open: OpenConnection,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let interim = Arc::new(Channel::default());
    let stream = InterimStream::new(rest.stream, Arc::clone(&interim));
    let (stream, arrivals) = StrictRequests::new(stream, limits, patience);
    let stream = stream.having_read(rest.read);
    let arrivals = Arc::new(arrivals);
    let service = service_fn({
        let (cache, open) = (Arc::clone(cache), open.clone());
        move |mut request: Request<Incoming>| {
            if request.headers().contains_key(UPGRADE) {
                request.extensions_mut().insert(open.clone());
            }
            let arrival = arrivals.next();
            let handling = handle(&cache, &peer, scheme, Some(&interim), arrival.violation, request);
            let (cache, arrivals) = (Arc::clone(&cache), Arc::clone(&arrivals));
            handling.map(move |mut response| {
                let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                if !switches && !cache.shutdown.is_ready() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                arrivals.answered(arrival, switches);
                Ok::<_, Infallible>(response.map(|body| arrivals.attend(arrival, body)))
            })
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // The strict stream has the time: it can tell a head that is late from a client that wants nothing.
        .header_read_timeout(None)
        .max_buf_size(limits.bytes + BUFFER_ROOM)
        // Not `pipeline_flush`: with it hyper buffers a body without bound for a client that does not read.
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        () = cache.shutdown.draining() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection");
        if error.is_parse() {
            // hyper has answered by itself: what it refuses beyond what is checked in front of it.
            cache.metrics.refused("request");
        }
    }
}
