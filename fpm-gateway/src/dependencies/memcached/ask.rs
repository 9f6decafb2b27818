//! One question to one server, by the `memcache` crate, whose calls block.
//!
//! The crate has no time-out for connecting, so a connection is tried first, and then let go: what hangs would
//! hold a thread. A call that hangs all the same is waited for before the next begins, so that a server can hold
//! one thread and no more.

use std::collections::HashMap;
use std::time::Duration;

use common::net::Endpoint;
use memcache::{Client, MemcacheError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::server::{Answer, Stats};

type Asked = Result<(Kept, Stats), MemcacheError>;

/// Asks one server, again and again.
#[derive(Debug)]
pub(super) struct Asker {
    endpoint: Endpoint,
    timeout: Duration,
    client: Option<Kept>,
    /// A call that did not end in time.
    hanging: Option<JoinHandle<Asked>>,
}

/// A client with its connection.
struct Kept(Client);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Asker {
    pub(super) fn new(endpoint: Endpoint, timeout: Duration) -> Self {
        Self { endpoint, timeout, client: None, hanging: None }
    }

    pub(super) async fn ask(&mut self) -> Answer {
        let mut call = match self.hanging.take() {
            Some(call) => call,
            None => match self.begin().await {
                Ok(call) => call,
                Err(answer) => return answer,
            },
        };
        match timeout(self.timeout, &mut call).await {
            Ok(Ok(Ok((client, stats)))) => {
                self.client = Some(client);
                Answer::Said(stats)
            }
            // It may only be the connection that was kept: whether there is a server is seen by trying.
            Ok(Ok(Err(error))) => match self.reach().await {
                Err(answer) => answer,
                Ok(()) => Answer::Broken(error.to_string()),
            },
            Ok(Err(panicked)) => Answer::Broken(panicked.to_string()),
            Err(_) => {
                self.hanging = Some(call);
                Answer::Silent
            }
        }
    }

    async fn begin(&mut self) -> Result<JoinHandle<Asked>, Answer> {
        let kept = self.client.take();
        if kept.is_none() {
            self.reach().await?;
        }
        // The crate's pool tries for so long to replace a connection that broke: its error is to come before our patience
        // ends, since it says more than silence.
        let (url, timeout) = (format!("memcache://{}", self.endpoint), self.timeout / 2);
        Ok(tokio::task::spawn_blocking(move || {
            let client = match kept {
                Some(client) => client,
                None => Kept(connect(&url, timeout)?),
            };
            let stats = client.0.stats()?.into_iter().next().map(|(_, stats)| stats).unwrap_or_default();
            Ok((client, Stats::from_map(&stats)))
        }))
    }

    async fn reach(&self) -> Result<(), Answer> {
        match self.endpoint.connect(self.timeout).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(Answer::Silent),
            Err(error) => Err(Answer::Unreachable(error.to_string())),
        }
    }
}

fn connect(url: &str, timeout: Duration) -> Result<Client, MemcacheError> {
    Client::builder()
        .add_server(url)?
        .with_max_pool_size(1)
        .with_connection_timeout(timeout)
        .with_read_timeout(timeout)
        .with_write_timeout(timeout)
        .build()
}

impl Stats {
    fn from_map(stats: &HashMap<String, String>) -> Self {
        let number = |name: &str| stats.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            version: stats.get("version").cloned().unwrap_or_default(),
            uptime: number("uptime"),
            curr_connections: number("curr_connections"),
            max_connections: number("max_connections"),
            get_hits: number("get_hits"),
            get_misses: number("get_misses"),
            evictions: number("evictions"),
            bytes: number("bytes"),
            limit_bytes: number("limit_maxbytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use test_support::memcached::Memcached;
    use test_support::process::free_port;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn a_real_server_says_what_it_is() {
        let mut server = Memcached::start().await.unwrap();
        let mut asker = Asker::new(Endpoint::Tcp(server.address()), TIMEOUT);
        for _ in 0..2 {
            let Answer::Said(stats) = asker.ask().await else { panic!("no answer") };
            assert!(stats.version.starts_with("1."), "{stats:?}");
            assert_eq!(stats.limit_bytes, 16 << 20);
            assert!(stats.curr_connections > 0 && stats.max_connections > 0);
        }
        server.kill9();
        assert!(matches!(asker.ask().await, Answer::Unreachable(_)), "on the connection that was kept");
        assert!(matches!(asker.ask().await, Answer::Unreachable(_)));
        server.restart().await.unwrap();
        assert!(matches!(asker.ask().await, Answer::Said(_)));
    }

    #[tokio::test]
    async fn what_is_no_server() {
        let nobody = Endpoint::Tcp(([127, 0, 0, 1], free_port().unwrap()).into());
        assert!(matches!(Asker::new(nobody, TIMEOUT).ask().await, Answer::Unreachable(_)));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
        let mut asker = Asker::new(endpoint.clone(), Duration::from_millis(100));
        // Accepted by the kernel, and never answered.
        assert_eq!(asker.ask().await, Answer::Silent);
        drop(listener);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            }
        });
        let answer = Asker::new(endpoint, Duration::from_millis(300)).ask().await;
        assert!(matches!(answer, Answer::Broken(_) | Answer::Silent), "{answer:?}");
    }
}
