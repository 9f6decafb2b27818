//! A certificate authority, and clients that believe it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) folder: TempDir,
}

/// One that keeps sessions between its connections.
#[derive(Clone)]
pub(crate) struct TlsClient(Arc<ClientConfig>);

pub(crate) type H1 = http1::SendRequest<Full<Bytes>>;
pub(crate) type H2 = http2::SendRequest<Full<Bytes>>;

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = TempDir::new().unwrap();
        // Authorities of one name would be taken for one another.
        params.distinguished_name.push(DnType::CommonName, folder.path().display().to_string());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder }
    }

    /// With a certificate for site.example in the folder.
    pub(crate) fn of_the_site() -> Self {
        let authority = Self::new();
        authority.issue("site", &["site.example"]);
        authority
    }

    /// A new chain and key for `names` as NAME.pem.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> PathBuf {
        let path = self.folder.path().join(file).with_extension("pem");
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        replace(&path, &(certificate.pem() + &key.serialize_pem()));
        path
    }

    pub(crate) fn flags(&self) -> [String; 2] {
        ["--tls-listen=127.0.0.1:0".into(), format!("--tls-certificate={}", self.folder.path().display())]
    }

    pub(crate) fn client(&self, protocols: &[&str]) -> TlsClient {
        self.client_with(protocols, &[&tokio_rustls::rustls::version::TLS13])
    }

    pub(crate) fn client_with(
        &self,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsClient(Arc::new(config))
    }
}

/// In one step, as those do it that renew certificates.
pub(crate) fn replace(path: &Path, text: &str) {
    static NUMBER: Mutex<u32> = Mutex::new(0);
    let number = {
        let mut number = NUMBER.lock().unwrap();
        *number += 1;
        *number
    };
    let beside = path.with_extension(format!("new{number}"));
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

impl TlsClient {
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?, name).await
    }

    pub(crate) async fn over(&self, stream: TcpStream, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }

    pub(crate) async fn http1(&self, address: SocketAddr, name: &str) -> H1 {
        let stream = self.connect(address, name).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub(crate) async fn http2(&self, address: SocketAddr, name: &str) -> H2 {
        let stream = self.connect(address, name).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) =
            builder.timer(TokioTimer::new()).handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// The first certificate of the server.
pub(crate) fn leaf(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "site.example").body(Full::default()).unwrap()
}

/// For HTTP/2, where the URI becomes the pseudo fields.
pub(crate) fn get2(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://site.example{path}")).body(Full::default()).unwrap()
}

pub(crate) async fn text(response: Response<hyper::body::Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

pub(crate) fn field<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("none", |value| value.to_str().unwrap())
}
