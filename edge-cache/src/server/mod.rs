//! Binding and accepting, and what is spoken on each connection.
//!
//! 1. [`Service::run`] accepts: on plain listeners HTTP/1.1, on those with TLS what client and server agree upon.
//! 2. [`http1`]: HTTP/1.1 behind its check to the letter.
//! 3. [`http2`]: HTTP/2 within its bounds.

mod http1;
pub mod http2;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::discovery::discover;
use common::http::access_log::AccessLog;
use common::http::forwarded::Scheme;
use common::listener::{Accepted, Bound, ConnectionPermit, Listener, Peer};
use common::net::{Address, Stream, WriteDeadline};
use common::shutdown::Shutdown;
use common::telemetry::Registry;

use crate::admin::CachePages;
use arc_swap::ArcSwap;

use crate::cache::Cache;
use crate::config::Config;
use crate::error::Error;
use crate::fetch::fill::Budget;
use crate::fetch::{Flights, Origin};
use crate::invalidate::{Epochs, TagIndex};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::reload::Reload;
use crate::respond::record;
use crate::store::Store;
use crate::tls::handshake::Protocol;
use crate::tls::{Acceptor, Tls};

/// A cache that is bound to its addresses and not yet serving.
#[derive(Debug)]
pub struct Service {
    cache: Arc<Cache>,
    listeners: Vec<Listener>,
    tls: Option<TlsListeners>,
    reload: Option<Reload>,
}

#[derive(Debug)]
struct TlsListeners {
    listeners: Vec<Listener>,
    acceptor: Arc<Acceptor>,
}

/// Header fields of one request, as in Apache (`LimitRequestFields`). It is hyper's own limit too: for any other hyper allocates
/// and clears a table with each request, a twelfth of what a hit costs.
const MAX_HEADERS: usize = 100;
/// The longest target: RFC 9112, section 3 recommends 8000 bytes at least; it is also what web-proxy takes.
const MAX_TARGET: usize = 32 << 10;
/// How often long lists of the tag index are rid of what was evicted.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a client may take no byte of a response.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);
/// The part of the memory limit that bodies may take on their way into the store, beside it.
const FILL_SHARE: u64 = 4;

/// Binds the listeners, opens the access log and begins to follow the origin's addresses.
pub async fn bind(config: Config, registry: &mut Registry, shutdown: &Shutdown) -> Result<Service, Error> {
    let listeners = listen(&config.listen, &config).await?;
    let tls = config.tls.clone();
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
    let cache = Arc::new(cache);
    let tls = match tls {
        Some(tls) => Some(TlsListeners::bind(&cache, &tls).await?),
        None => None,
    };
    Ok(Service { cache, listeners, tls, reload: None })
}

async fn listen(addresses: &[Address], config: &Config) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(Listener::bind(address, &config.listening).await?);
    }
    Ok(listeners)
}

impl TlsListeners {
    async fn bind(cache: &Arc<Cache>, tls: &Tls) -> Result<Self, Error> {
        tls.certificates.warn(SystemTime::now());
        cache.metrics.tls.certificates(Arc::clone(&tls.certificates));
        let listeners = listen(&tls.listen, &cache.live.load().config).await?;
        Ok(Self { listeners, acceptor: Arc::new(Acceptor::new(Arc::clone(cache))?) })
    }
}

impl Service {
    /// The addresses that were bound, in the order of the configuration.
    pub fn bound(&self) -> Vec<Bound> {
        bound(&self.listeners)
    }

    /// Those with TLS.
    pub fn bound_tls(&self) -> Vec<Bound> {
        self.tls.as_ref().map(|tls| bound(&tls.listeners)).unwrap_or_default()
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
                    cache.shutdown.spawn(plain(Arc::clone(&cache), accepted));
                }
            });
        }
        let secured = self.tls.into_iter().flat_map(|tls| {
            tls.listeners.into_iter().map(move |listener| (listener, Arc::clone(&tls.acceptor)))
        });
        for (listener, acceptor) in secured {
            let cache = Arc::clone(&self.cache);
            shutdown.spawn_until_drain(async move {
                loop {
                    let accepted = listener.accept().await;
                    cache.shutdown.spawn(secure(Arc::clone(&cache), Arc::clone(&acceptor), accepted));
                }
            });
        }
        shutdown.draining().await;
    }
}

fn bound(listeners: &[Listener]) -> Vec<Bound> {
    listeners.iter().map(|listener| listener.local().clone()).collect()
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

/// A connection to a plain listener.
async fn plain(cache: Arc<Cache>, accepted: Accepted) {
    let Some((stream, peer, open)) = identified(&cache, accepted).await else { return };
    http1::serve(&cache, WriteDeadline::new(stream, SEND_TIMEOUT), peer, Scheme::Http, open).await;
}

/// A connection to a TLS listener. The PROXY protocol comes before TLS.
async fn secure(cache: Arc<Cache>, acceptor: Arc<Acceptor>, accepted: Accepted) {
    let Some((stream, peer, open)) = identified(&cache, accepted).await else { return };
    let limit = cache.live.load().config.tls.as_ref().map_or(SEND_TIMEOUT, |tls| tls.handshake_timeout);
    let stream = WriteDeadline::new(stream, SEND_TIMEOUT);
    // Boxed: a handshake's state is not to be kept for as long as the connection.
    let Some((stream, agreed)) = Box::pin(acceptor.accept(stream, limit)).await else { return };
    match agreed.protocol {
        Protocol::Http1 => http1::serve(&cache, stream, peer, Scheme::Https, open).await,
        Protocol::Http2 => http2::serve(&cache, stream, peer, open).await,
    }
}

async fn identified(cache: &Arc<Cache>, accepted: Accepted) -> Option<(Stream, Peer, OpenConnection)> {
    let (stream, peer, permit) = match accepted.identify().await {
        Ok(identified) => identified,
        Err(error) => {
            tracing::debug!(%error, "connection refused");
            return None;
        }
    };
    cache.metrics.connections.inc();
    cache.metrics.accepted.inc();
    let open = OpenConnection(Arc::new((Open(Arc::clone(cache)), permit)));
    Some((stream, peer, open))
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
