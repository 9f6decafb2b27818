//! Binding, accepting, and HTTP/1.1 on each connection.

use std::sync::Arc;
use std::time::Duration;

use common::discovery::discover;
use common::http::access_log::AccessLog;
use common::http::forwarded::Scheme;
use common::http::strict::{Limits, Patience, StrictRequests};
use common::listener::{Accepted, Bound, ConnectionPermit, Listener};
use common::net::WriteDeadline;
use common::shutdown::Shutdown;
use common::telemetry::Registry;
use http::StatusCode;
use http::header::UPGRADE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::admin::CachePages;
use arc_swap::ArcSwap;

use crate::cache::Cache;
use crate::config::Config;
use crate::error::Error;
use crate::fetch::fill::Budget;
use crate::fetch::{Flights, Origin};
use crate::handler::handle;
use crate::interim::{Channel, InterimStream};
use crate::invalidate::{Epochs, TagIndex};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::reload::Reload;
use crate::respond::record;
use crate::store::Store;

/// A cache that is bound to its addresses and not yet serving.
#[derive(Debug)]
pub struct Service {
    cache: Arc<Cache>,
    listeners: Vec<Listener>,
    reload: Option<Reload>,
}

/// Header fields of one request; hyper's own limit is 100.
const MAX_HEADERS: usize = 256;
/// The longest target: RFC 9112, section 3 recommends 8000 bytes at least; it is also what web-proxy takes.
const MAX_TARGET: usize = 32 << 10;
/// What hyper's buffer holds beside a head.
const BUFFER_ROOM: usize = 8 << 10;
/// How often long lists of the tag index are rid of what was evicted.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a client may take no byte of a response.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);
/// The part of the memory limit that bodies may take on their way into the store, beside it.
const FILL_SHARE: u64 = 4;

/// Binds the listeners, opens the access log and begins to follow the origin's addresses.
pub async fn bind(config: Config, registry: &mut Registry, shutdown: &Shutdown) -> Result<Service, Error> {
    let mut listeners = Vec::with_capacity(config.listen.len());
    for address in &config.listen {
        listeners.push(Listener::bind(address, &config.listening).await?);
    }
    let access_log = AccessLog::open(&config.access_log, &config.access_log_format, record::FIELDS)
        .map_err(|cause| Error::AccessLog { destination: config.access_log.to_string(), cause })?;
    access_log.reopen_on_signal(shutdown).map_err(Error::Signal)?;
    let endpoints = discover(config.origin.clone(), &config.discovery, shutdown)?;
    let store = Arc::new(Store::new(config.memory));
    let budget = Arc::new(Budget::new(config.memory / FILL_SHARE));
    let cache = Cache {
        metrics: Metrics::register(registry, &store, &budget, &access_log),
        store,
        flights: Arc::new(Flights::default()),
        tags: TagIndex::default(),
        epochs: Epochs::default(),
        origin: Origin::new(endpoints),
        budget,
        access_log,
        shutdown: shutdown.clone(),
        live: ArcSwap::from_pointee(Live::new(config, shutdown, None)?),
    };
    Ok(Service { cache: Arc::new(cache), listeners, reload: None })
}

impl Service {
    /// The addresses that were bound, in the order of the configuration.
    pub fn bound(&self) -> Vec<Bound> {
        self.listeners.iter().map(|listener| listener.local().clone()).collect()
    }

    /// Reads the configuration anew when it changes.
    #[must_use]
    pub fn reloading(self, reload: Option<Reload>) -> Self {
        Self { reload, ..self }
    }

    pub fn pages(&self) -> Arc<CachePages> {
        Arc::new(CachePages(Arc::clone(&self.cache)))
    }

    /// Accepts until the drain begins; connections are the shutdown's work in flight.
    pub async fn run(self) {
        let shutdown = self.cache.shutdown.clone();
        shutdown.spawn_until_drain(tidy_tags(Arc::clone(&self.cache)));
        if let Some(reload) = self.reload {
            shutdown.spawn_until_drain(reload.watch(Arc::clone(&self.cache)));
        }
        for listener in self.listeners {
            let cache = Arc::clone(&self.cache);
            shutdown.spawn_until_drain(async move {
                loop {
                    let accepted = listener.accept().await;
                    cache.shutdown.spawn(connection(Arc::clone(&cache), accepted));
                }
            });
        }
        shutdown.draining().await;
    }
}

/// Removes links to what was evicted from tags that many pages carry.
async fn tidy_tags(cache: Arc<Cache>) {
    let mut ticks = tokio::time::interval(TIDY_INTERVAL);
    loop {
        ticks.tick().await;
        let cache = Arc::clone(&cache);
        // It only comes to nothing when the runtime ends.
        let _ = tokio::task::spawn_blocking(move || cache.tags.tidy()).await;
    }
}

async fn connection(cache: Arc<Cache>, accepted: Accepted) {
    let (stream, peer, permit) = match accepted.identify().await {
        Ok(identified) => identified,
        Err(error) => return tracing::debug!(%error, "connection refused"),
    };
    cache.metrics.connections.inc();
    cache.metrics.accepted.inc();
    // A connection keeps the limits that it began with.
    let (idle, head_bytes) = {
        let live = cache.live.load();
        (live.config.client_timeout, live.config.limits.head_bytes)
    };
    let open = OpenConnection(Arc::new((Open(Arc::clone(&cache)), permit)));
    let interim = Arc::new(Channel::default());
    let stream = InterimStream::new(WriteDeadline::new(stream, SEND_TIMEOUT), Arc::clone(&interim));
    let limits = Limits { bytes: head_bytes, target: MAX_TARGET, fields: MAX_HEADERS };
    let patience = Patience { head: idle, idle };
    let (stream, arrivals) = StrictRequests::new(stream, limits, patience);
    let arrivals = Arc::new(arrivals);
    let service = service_fn({
        let (cache, open) = (Arc::clone(&cache), open.clone());
        move |mut request: Request<Incoming>| {
            if request.headers().contains_key(UPGRADE) {
                request.extensions_mut().insert(open.clone());
            }
            let (cache, interim, arrivals) =
                (Arc::clone(&cache), Arc::clone(&interim), Arc::clone(&arrivals));
            async move {
                let arrival = arrivals.next();
                let response = handle(cache, peer, Scheme::Http, interim, arrival.violation, request).await;
                arrivals.answered(arrival, response.status() == StatusCode::SWITCHING_PROTOCOLS);
                Ok::<_, std::convert::Infallible>(response.map(|body| arrivals.attend(arrival, body)))
            }
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // The strict stream has the time: it can tell a head that is late from a client that wants nothing.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(head_bytes + BUFFER_ROOM)
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
    drop(open);
}

/// A client's connection: counted, and one of those that may be open. A tunnel holds it on.
#[derive(Debug, Clone)]
pub struct OpenConnection(#[allow(dead_code, reason = "held for its Drop")] Arc<(Open, ConnectionPermit)>);

/// Counts a connection for as long as it is open.
#[derive(Debug)]
struct Open(Arc<Cache>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}
