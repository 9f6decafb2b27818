//! Binding, accepting, and HTTP/1.1 on each connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::discovery::discover;
use common::http::access_log::AccessLog;
use common::http::direct::{self, Rest};
use common::http::forwarded::Scheme;
use common::http::strict::{Limits, Patience, StrictRequests};
use common::listener::{Accepted, Bound, Listener, Peer};
use common::net::{Stream, WriteDeadline};
use common::shutdown::Shutdown;
use common::telemetry::Registry;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::admin::ProxyPages;
use crate::config::Config;
use crate::crowd::{Crowd, Entry};
use crate::docroot::{Followed, follow};
use crate::error::Error;
use crate::fastcgi::{BodyLimits, Place, SpoolSpace, Upstream};
use crate::handler::{at_once, handle};
use crate::handover::{Internal, Location};
use crate::htaccess::{Mode, report_in_background};
use crate::metrics::Metrics;
use crate::on_demand::Flights;
use crate::request::MAX_TARGET;
use crate::respond::FIELDS;
use crate::route::Router;
use crate::site::Site;
use crate::static_files::FileCache;

/// A proxy that is bound to its addresses and not yet serving.
#[derive(Debug)]
pub struct Service {
    site: Arc<Site>,
    listeners: Vec<Listener>,
}

/// Header fields of one request; hyper's own limit is 100.
const MAX_HEADERS: usize = 256;
/// What hyper's buffer holds beside a head.
const BUFFER_ROOM: usize = 8 << 10;
/// How long a client may take no byte of a response.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);

/// Opens the docroot and the access log, binds the listeners, and begins to follow the application's addresses.
pub async fn bind(config: Config, registry: &mut Registry, shutdown: &Shutdown) -> Result<Service, Error> {
    let docroot = Followed::open(&config.docroot, config.follow_symlinks)
        .map(Arc::new)
        .map_err(|cause| Error::Docroot { path: config.docroot.display().to_string(), cause })?;
    let open = |internal: &Internal| {
        Location::open(internal, config.follow_symlinks)
            .map_err(|cause| Error::Internal { folder: internal.folder.display().to_string(), cause })
    };
    let internal: Vec<Location> = config.internal.iter().map(open).collect::<Result<_, _>>()?;
    let mut listeners = Vec::with_capacity(config.listen.len());
    for address in &config.listen {
        listeners.push(Listener::bind(address, &config.listening).await?);
    }
    let access_log = AccessLog::open(&config.access_log, &config.access_log_format, FIELDS)
        .map_err(|cause| Error::AccessLog { destination: config.access_log.to_string(), cause })?;
    access_log.reopen_on_signal(shutdown).map_err(Error::Signal)?;
    let endpoints = discover(config.fastcgi.clone(), &config.discovery, shutdown)?;
    let followed = internal.iter().map(|location| &location.files).chain([&docroot]);
    follow(followed.cloned().collect(), shutdown);
    config.error_pages.follow(shutdown);
    let files = Arc::new(config.files.file_cache());
    close_old_files(Arc::clone(&files), shutdown);
    let metrics = Arc::new(Metrics::register(registry, &access_log, &files));
    let site = Site {
        crowd: Crowd::new(config.max_connections_per_client, config.trusted_proxies.clone()),
        place: Place { root: config.script_root.clone(), server_name: config.server_name.clone() },
        router: Router {
            docroot,
            files,
            rules: Arc::clone(&config.rules),
            index: config.index.clone(),
            front_controller: config.front_controller.clone(),
        },
        body_limits: BodyLimits {
            max: config.max_body,
            buffer: config.request_buffer,
            timeout: config.client_timeout,
            spool: SpoolSpace::new(config.spool.clone(), config.spool_limit, metrics.spool_bytes.clone()),
        },
        upstream: Upstream::new(endpoints, config.connect_timeout, config.fastcgi_keep),
        internal,
        flights: Flights::default(),
        metrics,
        access_log,
        shutdown: shutdown.clone(),
        config,
    };
    Ok(Service { site: Arc::new(site), listeners })
}

/// Each second, until the drain.
fn close_old_files(files: Arc<FileCache>, shutdown: &Shutdown) {
    shutdown.spawn_until_drain(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let files = Arc::clone(&files);
            if let Err(error) = tokio::task::spawn_blocking(move || files.close_old()).await {
                tracing::error!(%error, "cannot close files");
            }
        }
    });
}

impl Service {
    /// The addresses that were bound, in the order of the configuration.
    pub fn bound(&self) -> Vec<Bound> {
        self.listeners.iter().map(|listener| listener.local().clone()).collect()
    }

    #[cfg(test)]
    pub(crate) const fn site(&self) -> &Arc<Site> {
        &self.site
    }

    pub fn pages(&self) -> Arc<ProxyPages> {
        Arc::new(ProxyPages(Arc::clone(&self.site)))
    }

    /// Accepts until the drain begins; connections are the shutdown's work in flight.
    pub async fn run(self) {
        let shutdown = self.site.shutdown.clone();
        if self.site.config.htaccess == Mode::Report {
            report_in_background(self.site.config.clone());
        }
        for listener in self.listeners {
            let site = Arc::clone(&self.site);
            shutdown.spawn_until_drain(async move {
                loop {
                    let accepted = listener.accept().await;
                    site.shutdown.spawn(connection(Arc::clone(&site), accepted));
                }
            });
        }
        shutdown.draining().await;
    }
}

async fn connection(site: Arc<Site>, accepted: Accepted) {
    let (stream, peer, permit) = match accepted.identify().await {
        Ok(identified) => identified,
        Err(error) => return tracing::debug!(%error, "connection refused"),
    };
    let place = site.crowd.enter(&peer);
    if matches!(place, Entry::Full) {
        site.metrics.turned_away.inc();
        return site.crowd.turn_away(stream).await;
    }
    site.metrics.connections.inc();
    let open = Open(Arc::clone(&site));
    let limits = Limits { bytes: site.config.max_head, target: MAX_TARGET, fields: MAX_HEADERS };
    let patience = Patience { head: site.config.client_timeout, idle: site.config.keep_alive_timeout };
    let stream = WriteDeadline::new(stream, SEND_TIMEOUT);
    let answer = |head, text: &mut _| at_once(&site, &peer, Scheme::Http, head, text);
    if let Some(rest) = direct::serve(stream, limits, patience, &site.shutdown, answer).await {
        // Boxed: a connection that never needs it is smaller.
        Box::pin(with_hyper(&site, rest, limits, patience, peer)).await;
    }
    drop((open, place, permit));
}

/// Goes on from the first request on that is not simple, or has to wait for something.
async fn with_hyper(
    site: &Arc<Site>,
    rest: Rest<WriteDeadline<Stream>>,
    limits: Limits,
    patience: Patience,
    peer: Peer,
) {
    let ends_by_closing = Arc::new(AtomicBool::new(false));
    let (stream, arrivals) = StrictRequests::new(rest.stream, limits, patience);
    let stream = stream.having_read(rest.read);
    let arrivals = Arc::new(arrivals);
    let service = service_fn({
        let (site, ends_by_closing) = (Arc::clone(site), Arc::clone(&ends_by_closing));
        move |request: Request<Incoming>| {
            ends_by_closing.store(request.version() < Version::HTTP_11, Ordering::Relaxed);
            let (site, arrivals) = (Arc::clone(&site), Arc::clone(&arrivals));
            async move {
                let arrival = arrivals.next();
                let mut response =
                    handle(Arc::clone(&site), peer, Scheme::Http, arrival.violation, request).await;
                if !site.shutdown.is_ready() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                arrivals.answered(arrival, false);
                Ok::<_, std::convert::Infallible>(response.map(|body| arrivals.attend(arrival, body)))
            }
        }
    });
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // The strict stream has the time: it can tell a head that is late from a client that wants nothing.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(limits.bytes + BUFFER_ROOM)
        // Not `pipeline_flush`: with it hyper buffers a body without bound for a client that does not read.
        .serve_connection(TokioIo::new(stream), service);
    let served = tokio::select! {
        served = &mut serving => served,
        () = site.shutdown.draining() => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            (&mut serving).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection");
        if error.is_parse() {
            // hyper has answered by itself: what it refuses beyond what is checked in front of it.
            site.metrics.refused("request");
        }
        if error.is_user() && ends_by_closing.load(Ordering::Relaxed) {
            reset(&serving.into_parts().io.into_inner().into_inner().into_inner());
        }
    }
}

/// A body that HTTP/1.0 ends by closing would look complete where it broke off (RFC 9112, section 8).
fn reset(stream: &Stream) {
    if let Stream::Tcp(stream) = stream
        && let Err(error) = stream.set_zero_linger()
    {
        tracing::debug!(%error, "cannot reset a connection");
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Site>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}
