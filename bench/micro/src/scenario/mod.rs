//! The scenarios: services in this process on loopback TCP, and the requests that are replayed.
//!
//! 1. The services and what is behind them are started on free ports, with the configuration that they have by
//!    default but for addresses and the access log's destination.
//! 2. Each request is asked until its answer is what it shall be from then on: stored, compressed.
//! 3. Then the requests are asked in turn, over one further connection, and every answer is the same as the one before.
//!
//! All is on one thread, so that the order in which tasks run does not depend on the machine.

mod edge;
mod fastcgi_app;
mod origin;
mod web;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use common::listener::Bound;

use crate::client::{Client, Exchange};

/// What is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// edge-cache: stored responses of several kinds.
    EdgeHit,
    /// web-proxy: a small file.
    StaticFile,
    /// web-proxy and fpm-gateway in front of an application that answers at once.
    Php,
}

/// Services that run, and what to ask of them.
struct Stage {
    address: SocketAddr,
    exchanges: Vec<Exchange>,
    /// How many requests have come to what is behind the services.
    behind: Option<Box<dyn Fn() -> usize>>,
    /// Each request comes to what is behind; otherwise none does.
    passes: bool,
    /// The docroot.
    _folder: Option<tempfile::TempDir>,
}

/// How long a service may take to be as it is from then on; valgrind makes fifty seconds of one.
const DEADLINE: Duration = Duration::from_mins(2);
/// Rounds before those that are counted: buffers and pools have their size then.
const WARM_ROUNDS: usize = 20;

impl Scenario {
    pub const ALL: [Self; 3] = [Self::EdgeHit, Self::StaticFile, Self::Php];

    pub const fn name(self) -> &'static str {
        match self {
            Self::EdgeHit => "edge-hit",
            Self::StaticFile => "static-file",
            Self::Php => "php",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// Asks `requests` requests, and fails if an answer is not what it should be.
    pub async fn replay(self, requests: usize) -> anyhow::Result<()> {
        let stage = match self {
            Self::EdgeHit => edge::hits().await?,
            Self::StaticFile => web::static_file().await?,
            Self::Php => web::php().await?,
        };
        stage.replay(requests).await
    }
}

impl Stage {
    async fn replay(self, requests: usize) -> anyhow::Result<()> {
        let Self { address, exchanges, behind, passes, _folder } = self;
        let mut client = Client::connect(address).await?;
        let mut bodies = Vec::new();
        for exchange in &exchanges {
            let begun = Instant::now();
            loop {
                let answer = client.ask(exchange).await?;
                if answer.is(exchange) {
                    bodies.push(answer.body.to_vec());
                    break;
                }
                if begun.elapsed() > DEADLINE {
                    bail!(
                        "{} is answered with {}",
                        String::from_utf8_lossy(&exchange.request),
                        String::from_utf8_lossy(answer.head)
                    );
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        // From its first request on that takes more, a connection is hyper's: the replay's has no such request behind it.
        client = Client::connect(address).await?;
        let warm = WARM_ROUNDS * exchanges.len();
        let before = behind.as_ref().map(|count| count());
        for (exchange, body) in exchanges.iter().zip(&bodies).cycle().take(warm + requests) {
            let answer = client.ask(exchange).await?;
            ensure!(
                answer.is(exchange) && answer.body == body,
                "another answer than before to {}: {}",
                String::from_utf8_lossy(&exchange.request),
                String::from_utf8_lossy(answer.head)
            );
        }
        if let (Some(before), Some(count)) = (before, behind) {
            let expected = if passes { warm + requests } else { 0 };
            ensure!(
                count() - before == expected,
                "{} requests came through instead of {expected}",
                count() - before
            );
        }
        Ok(())
    }
}

/// Where a service was bound.
fn tcp(bound: &[Bound]) -> anyhow::Result<SocketAddr> {
    match bound.first() {
        Some(Bound::Tcp(address)) => Ok(*address),
        _ => bail!("the service is not bound to a TCP port"),
    }
}

/// The fields of a browser after its request line and Host.
const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\n";

fn request(line: &str, fields: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: site.example\r\n{BROWSER}{fields}\r\n").into_bytes()
}
