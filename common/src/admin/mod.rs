//! The admin listener: own port, loopback by default, plain HTTP/1.1.
//!
//! | route | answers |
//! |---|---|
//! | `GET /` | the routes there are |
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200, or 503 with the reason: draining, or a service cannot do its job |
//! | `GET /metrics` | the registry as OpenMetrics text |
//! | anything else | the services' own pages, also under `/<service>/…` |

mod healthcheck;
mod readable;

use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

pub use healthcheck::{HealthcheckError, healthcheck};
pub use readable::status_page;

use crate::listener::{Bound, ListenError, Listener, plain_options};
use crate::net::Address;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Registry};

/// What a service shows on the admin listener.
pub trait Pages: Send + Sync + 'static {
    /// The service's name, the prefix of its pages where several share a listener.
    fn name(&self) -> &'static str;

    /// Why the service cannot do its job now.
    fn ready(&self) -> Result<(), String>;

    /// The routes of [`page`](Self::page), for `GET /`: a path and a sentence each.
    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Answers a request for one of the service's own routes; `None` if it has no such route.
    fn page<'a>(&'a self, _request: &'a Request<Bytes>) -> PageFuture<'a> {
        Box::pin(std::future::ready(None))
    }
}

pub type PageFuture<'a> = Pin<Box<dyn Future<Output = Option<Page>> + Send + 'a>>;
pub type Page = Response<Full<Bytes>>;

/// A bound admin listener.
#[derive(Debug)]
pub struct Admin {
    listener: Listener,
}

struct Site {
    registry: Registry,
    services: Vec<Arc<dyn Pages>>,
    shutdown: Shutdown,
}

const MAX_CONNECTIONS: u32 = 256;
const MAX_BODY: usize = 1 << 20;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

impl Admin {
    pub async fn bind(address: &Address) -> Result<Self, ListenError> {
        Ok(Self { listener: Listener::bind(address, &plain_options(MAX_CONNECTIONS)).await? })
    }

    pub const fn local(&self) -> &Bound {
        self.listener.local()
    }

    /// The TCP address, which is what tests and `healthcheck` want.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self.listener.local() {
            Bound::Tcp(address) => Some(*address),
            Bound::Unix(_) => None,
        }
    }

    /// Answers until the service has come to its end: also while it drains.
    pub fn serve(self, registry: Registry, services: Vec<Arc<dyn Pages>>, shutdown: &Shutdown) {
        let site = Arc::new(Site { registry, services, shutdown: shutdown.clone() });
        let shutdown = shutdown.clone();
        // Not tracked as work in flight: it ends with the runtime, after the last request is served.
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = self.listener.accept() => accepted,
                    () = shutdown.terminated() => return,
                };
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    let Ok((stream, _, permit)) = accepted.identify().await else { return };
                    let service = service_fn(move |request| {
                        let site = Arc::clone(&site);
                        async move { Ok::<_, std::convert::Infallible>(site.answer(request).await) }
                    });
                    let served = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "admin connection");
                    }
                    drop(permit);
                });
            }
        });
    }
}

impl Site {
    async fn answer(&self, request: Request<Incoming>) -> Page {
        let reading = request.method() == Method::GET || request.method() == Method::HEAD;
        match request.uri().path() {
            "/" if reading => text(StatusCode::OK, self.index()),
            "/healthz" if reading => text(StatusCode::OK, "alive\n"),
            "/readyz" if reading => match self.ready() {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
            },
            "/metrics" if reading => {
                with_type(StatusCode::OK, telemetry::CONTENT_TYPE, telemetry::encode(&self.registry))
            }
            _ => self.page(request).await,
        }
    }

    fn ready(&self) -> Result<(), String> {
        if !self.shutdown.is_ready() {
            return Err("draining".into());
        }
        self.services
            .iter()
            .try_for_each(|service| service.ready().map_err(|reason| format!("{}: {reason}", service.name())))
    }

    async fn page(&self, request: Request<Incoming>) -> Page {
        let (mut head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is unreadable or longer than 1 MiB\n");
        };
        let path = head.uri.path().to_owned();
        let named = self.services.iter().find_map(|service| {
            let rest = path.strip_prefix('/')?.strip_prefix(service.name())?;
            rest.starts_with('/').then(|| (Arc::clone(service), rest.to_owned()))
        });
        let candidates = match named {
            Some((service, rest)) => {
                let target = head.uri.query().map_or(rest.clone(), |query| format!("{rest}?{query}"));
                if let Ok(uri) = target.parse() {
                    head.uri = uri;
                }
                vec![service]
            }
            None => self.services.clone(),
        };
        let request = Request::from_parts(head, body.to_bytes());
        for service in candidates {
            if let Some(page) = service.page(&request).await {
                return page;
            }
        }
        text(StatusCode::NOT_FOUND, format!("no such page: {path}\n\n{}", self.index()))
    }

    fn index(&self) -> String {
        let mut index = String::from(
            "/healthz  the process is alive\n/readyz   it can do its job\n/metrics  OpenMetrics text\n",
        );
        for service in &self.services {
            for (path, what) in service.routes() {
                // Writing to a String cannot fail.
                let _ = writeln!(index, "/{}{path}  {what}", service.name());
            }
        }
        index
    }
}

/// A plain-text page.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Page {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// A JSON page.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Page {
    with_type(status, "application/json", body)
}

/// An HTML page.
pub fn html(status: StatusCode, body: impl Into<Bytes>) -> Page {
    with_type(status, "text/html; charset=utf-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    page.headers_mut().insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    page
}

#[cfg(test)]
mod tests;
