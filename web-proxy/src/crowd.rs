//! No client takes all the connections: each may have so many at once, and more are turned away.
//!
//! What a trusted proxy opens is many clients' and has no limit, nor has what comes over a Unix socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::http::forwarded::TrustedProxies;
use common::listener::{ClientPlace, Clients, Peer};
use common::net::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

#[derive(Debug)]
pub struct Crowd {
    clients: Option<Arc<Clients>>,
    trusted: TrustedProxies,
    /// Connections that are turned away with the time to read why.
    farewells: Semaphore,
    began: Instant,
    /// Seconds since then until nothing is logged.
    quiet_until: AtomicU64,
}

/// What becomes of a connection.
#[derive(Debug)]
pub enum Entry {
    /// It is served; the place is given back with it.
    Counted(ClientPlace),
    /// It is served, and nobody's.
    Uncounted,
    /// Its client has too many.
    Full,
}

/// Of those who are turned away, so many at once are waited for; the others are closed at once.
const FAREWELLS: usize = 64;
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 64 << 10;
/// The log names one client a minute.
const QUIET: u64 = 60;

/// RFC 6585, section 4.
const ANSWER: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Cache-Control: no-store\r\nRetry-After: 5\r\nContent-Length: 43\r\n\r\n\
    Too many connections from the same address\n";

impl Crowd {
    /// `max`: connections at once of each client; 0 for any number.
    pub fn new(max: u32, trusted: TrustedProxies) -> Self {
        Self {
            clients: (max > 0).then(|| Arc::new(Clients::new(max))),
            trusted,
            farewells: Semaphore::new(FAREWELLS),
            began: Instant::now(),
            quiet_until: AtomicU64::new(0),
        }
    }

    pub fn enter(&self, peer: &Peer) -> Entry {
        let Some(clients) = &self.clients else { return Entry::Uncounted };
        if matches!(peer, Peer::Unix) || self.trusted.trusts(peer.ip()) {
            return Entry::Uncounted;
        }
        if let Some(place) = clients.enter(peer.ip()) {
            return Entry::Counted(place);
        }
        let now = self.began.elapsed().as_secs();
        let quiet_until = self.quiet_until.load(Ordering::Relaxed);
        let next = now + QUIET;
        let speak = now >= quiet_until
            && self
                .quiet_until
                .compare_exchange(quiet_until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if speak {
            tracing::warn!(
                client = %peer.ip(),
                "a client has more connections than max-connections-per-client; if it is a proxy, it belongs to \
                 trusted-proxies"
            );
        }
        Entry::Full
    }

    /// Says why, and closes.
    pub async fn turn_away(&self, mut stream: Stream) {
        let farewell = async {
            stream.write_all(ANSWER).await?;
            stream.shutdown().await?;
            // Closing with bytes unread would take the answer away again (RFC 9112, section 9.6).
            let Ok(_waited_for) = self.farewells.try_acquire() else { return Ok(()) };
            let (mut left, mut scrap) = (FAREWELL_BYTES, [0; 4 << 10]);
            while let length @ 1.. = stream.read(&mut scrap).await? {
                left = left.saturating_sub(length);
                if left == 0 {
                    break;
                }
            }
            std::io::Result::Ok(())
        };
        // Whoever does not take it has lost nothing.
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, farewell).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn who_is_counted() {
        let crowd = Crowd::new(1, TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]));
        let peer = |ip: &str| Peer::Tcp {
            client: std::net::SocketAddr::new(ip.parse().unwrap(), 9),
            local: "192.0.2.99:80".parse().unwrap(),
        };
        let first = crowd.enter(&peer("192.0.2.1"));
        assert!(matches!(first, Entry::Counted(_)));
        assert!(matches!(crowd.enter(&peer("192.0.2.1")), Entry::Full));
        assert!(matches!(crowd.enter(&peer("192.0.2.2")), Entry::Counted(_)));
        for _ in 0..2 {
            assert!(matches!(crowd.enter(&peer("10.0.0.1")), Entry::Uncounted));
            assert!(matches!(crowd.enter(&Peer::Unix), Entry::Uncounted));
        }
        let unlimited = Crowd::new(0, TrustedProxies::default());
        assert!(matches!(unlimited.enter(&peer("192.0.2.1")), Entry::Uncounted));
    }

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }
}
