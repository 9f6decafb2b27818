//! A gateway in this process on free ports, and a web server that talks to it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::admin::Admin;
use common::fastcgi::{
    EndRequest, Outbound, Params, ReadError, RequestEncoder, ResponseDecoder, ResponseEvent, Role, io,
};
use common::listener::Bound;
use common::net::{Endpoint, Stream};
use common::shutdown::Shutdown;
use common::telemetry::Registry;
use fpm_gateway::Config;
use fpm_gateway::lanes::{Lanes, Preset};
use test_support::client;
use test_support::metrics::Metrics;
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::AsyncWriteExt as _;

pub(crate) struct Gateway {
    pub(crate) endpoint: Endpoint,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: Shutdown,
}

impl Gateway {
    /// In front of these addresses, with further flags. Probes are out of the way unless asked for.
    pub(crate) async fn start(upstreams: &[&str], flags: &[&str]) -> Self {
        Self::start_with_rules(upstreams, flags, "").await
    }

    pub(crate) async fn start_with_rules(upstreams: &[&str], flags: &[&str], rules: &str) -> Self {
        let upstreams = upstreams.join(",");
        let mut all = vec!["--admin=127.0.0.1:0", "--upstream", &upstreams];
        if !flags.iter().any(|flag| flag.starts_with("--listen")) {
            all.push("--listen=127.0.0.1:0");
        }
        if !flags.iter().any(|flag| flag.starts_with("--probe-interval")) {
            all.push("--probe-interval=1h");
        }
        all.extend(flags);
        let mut config = Config::from_flags(all).unwrap();
        if !rules.is_empty() {
            let source = common::rules::Source { name: "test", text: rules };
            let preset = if flags.contains(&"--preset=drupal") { Preset::Drupal } else { Preset::None };
            config.lanes = std::sync::Arc::new(Lanes::of(preset, Some((source, "rule"))).unwrap());
        }
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let mut registry = Registry::default();
        let admin = Admin::bind(&config.admin).await.unwrap();
        let admin_address = admin.local_addr().unwrap();
        let service = fpm_gateway::bind(config, &mut registry, &shutdown).await.unwrap();
        let endpoint = match service.bound().remove(0) {
            Bound::Tcp(address) => Endpoint::Tcp(address),
            Bound::Unix(path) => Endpoint::Unix(path),
        };
        admin.serve(registry, vec![service.pages()], &shutdown);
        tokio::spawn(service.run());
        Self { endpoint, admin: admin_address, shutdown }
    }

    pub(crate) async fn connect(&self) -> WebServer {
        WebServer::connect(&self.endpoint).await
    }

    /// A GET on its own connection.
    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.connect().await.ask(&params(uri), b"").await.unwrap()
    }

    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Metrics::fetch(self.admin).await.unwrap().value(name, labels)
    }

    pub(crate) async fn outcomes(&self, outcome: &str) -> f64 {
        self.metric("fpm_gateway_requests_total", &[("outcome", outcome)]).await
    }

    /// Waits until so many requests are in flight, and so many wait.
    pub(crate) async fn holds(&self, in_flight: u32, queued: u32) {
        let what = format!("{in_flight} in flight and {queued} in the queue");
        wait_until(&what, DEADLINE, async || {
            let metrics = Metrics::fetch(self.admin).await.unwrap();
            let is = |name, count: u32| (metrics.value(name, &[]) - f64::from(count)).abs() < 0.5;
            is("fpm_gateway_in_flight", in_flight) && is("fpm_gateway_queue_length", queued)
        })
        .await;
    }

    pub(crate) async fn status(&self) -> String {
        client::get(self.admin, "/status", &[]).await.unwrap().text()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown.terminate();
    }
}

/// One connection of a web server.
pub(crate) struct WebServer {
    pub(crate) stream: Stream,
    decoder: ResponseDecoder,
}

/// A response as a web server gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) end: EndRequest,
}

impl WebServer {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Self {
        let stream = endpoint.connect(DEADLINE).await.unwrap();
        Self { stream, decoder: ResponseDecoder::new(1) }
    }

    /// A whole request; the connection is to be kept.
    pub(crate) async fn send(&mut self, params: &Params, body: &[u8]) {
        let mut out = Outbound::new();
        RequestEncoder::new(1).begin(&mut out, Role::Responder, true, params);
        RequestEncoder::new(1).stdin(&mut out, Bytes::copy_from_slice(body));
        RequestEncoder::new(1).stdin_end(&mut out);
        self.write(out).await;
    }

    pub(crate) async fn write(&mut self, mut out: Outbound) {
        self.stream.write_all_buf(&mut out).await.unwrap();
    }

    pub(crate) async fn event(&mut self) -> Result<Option<ResponseEvent>, ReadError> {
        tokio::time::timeout(DEADLINE, io::response(&mut self.stream, &mut self.decoder)).await.unwrap()
    }

    /// The whole response; an error if it is not whole.
    pub(crate) async fn answer(&mut self) -> Result<Answer, ReadError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.event().await? {
                Some(ResponseEvent::Stdout(chunk)) => stdout.extend_from_slice(&chunk),
                Some(ResponseEvent::Stderr(chunk)) => stderr.extend_from_slice(&chunk),
                Some(ResponseEvent::End(end)) => {
                    self.decoder.next_request(1);
                    return Ok(Answer { stdout, stderr, end });
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn ask(&mut self, params: &Params, body: &[u8]) -> Result<Answer, ReadError> {
        self.send(params, body).await;
        self.answer().await
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn body(&self) -> &[u8] {
        let end = self.stdout.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        &self.stdout[end + 4..]
    }

    /// 200 where there is no `Status` (RFC 3875, section 6.3.3).
    pub(crate) fn status(&self) -> u16 {
        self.header("Status").map_or(200, |status| status[..3].parse().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next()?;
        head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
    }
}

pub(crate) fn params(uri: &str) -> Params {
    [("REQUEST_METHOD", "GET"), ("REQUEST_URI", uri), ("SCRIPT_NAME", "/index.php")]
        .map(|(name, value)| (name, value.to_owned()))
        .into_iter()
        .collect()
}
