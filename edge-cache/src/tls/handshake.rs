use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common::net::{Stream, WriteDeadline};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio_rustls::server::TlsStream;

use super::Failure;
use super::opening::Opening;
use crate::cache::Cache;

/// A client's connection below TLS.
pub type Below = Opening<WriteDeadline<Stream>>;

/// Why TLS cannot be served at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve TLS: {0}")]
pub struct TlsError(#[from] rustls::Error);

/// Does the handshakes of all TLS listeners.
pub struct Acceptor {
    tls: TlsAcceptor,
    cache: Arc<Cache>,
    places: Semaphore,
}

/// What client and server have agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agreed {
    pub version: &'static str,
    pub protocol: Protocol,
    pub is_resumed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Handshakes at a time; more wait, within the same time limit. A client that says nothing holds a place, so there are
/// many of them.
const HANDSHAKES: usize = 4096;
/// How long a client that is told that it has to speak TLS may take to hear it.
const FAREWELL: Duration = Duration::from_secs(2);
/// What is read of its request meanwhile: a connection closed with bytes unread is reset, which can take the answer
/// away.
const MAX_UNREAD: u64 = 64 << 10;
const SPEAK_TLS: &str = "This port speaks HTTPS: use https:// in the address.\n";

impl Acceptor {
    pub fn new(cache: Arc<Cache>) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let resolver = Arc::new(InForce(Arc::clone(&cache)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![Protocol::Http2.alpn().into(), Protocol::Http1.alpn().into()];
        // Keys of its own, changed every six hours: a session is resumed where it began, or begins anew.
        config.ticketer = ring::Ticketer::new()?;
        Ok(Self { tls: TlsAcceptor::from(Arc::new(config)), cache, places: Semaphore::new(HANDSHAKES) })
    }

    /// `limit` is for all of the handshake.
    pub async fn accept(
        &self,
        stream: WriteDeadline<Stream>,
        limit: Duration,
    ) -> Option<(TlsStream<Below>, Agreed)> {
        let began = Instant::now();
        let handshake = async {
            // It is never closed.
            let _place = self.places.acquire().await;
            self.tls.accept(Opening::new(stream)).into_fallible().await
        };
        let metrics = &self.cache.metrics.tls;
        let failure = match timeout_at(began + limit, handshake).await {
            Ok(Ok(stream)) => {
                let agreed = Agreed::by(stream.get_ref().1);
                metrics.agreed(agreed, began.elapsed());
                return Some((stream, agreed));
            }
            Ok(Err((error, stream))) => {
                let failure = Failure::of(&error);
                tracing::debug!(%error, reason = failure.as_str(), "TLS handshake");
                if failure == Failure::Http {
                    // It is gone, or hears it: nothing depends on which.
                    let _ = timeout(FAREWELL, refuse_http(stream)).await;
                }
                failure
            }
            Err(_) => Failure::Timeout,
        };
        metrics.failed(failure);
        None
    }
}

async fn refuse_http(mut stream: Below) -> std::io::Result<()> {
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{SPEAK_TLS}", SPEAK_TLS.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = (&mut stream).take(MAX_UNREAD);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map(drop)
}

impl Agreed {
    fn by(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        };
        let is_http2 = connection.alpn_protocol() == Some(Protocol::Http2.alpn());
        let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        Self { version, protocol, is_resumed }
    }
}

impl Protocol {
    /// As in ALPN (RFC 7301, section 6).
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    /// A label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("places", &self.places).finish_non_exhaustive()
    }
}

/// The certificates of the configuration that is in force when a client asks.
#[derive(Debug)]
struct InForce(Arc<Cache>);

impl ResolvesServerCert for InForce {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let live = self.0.live.load();
        let certificates = &live.config.tls.as_ref()?.certificates;
        let schemes = hello.signature_schemes();
        let chosen = certificates
            .choose(hello.server_name(), |certificate| certificate.key.key.choose_scheme(schemes).is_some());
        chosen.map(|certificate| Arc::clone(&certificate.key))
    }
}
