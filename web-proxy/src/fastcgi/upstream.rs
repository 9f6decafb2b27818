use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::discovery::{self, Endpoints};
use common::net::{Endpoint, Stream};
use futures_util::FutureExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::FastCgiError;

/// Where the application is. To PHP-FPM each request has a connection of its own: a worker that has sent END_REQUEST may
/// still be busy, and a request on its connection would wait for it. Connections of who multiplexes are kept: see [`Keep`].
#[derive(Debug)]
pub struct Upstream {
    endpoints: watch::Receiver<Endpoints>,
    next: AtomicUsize,
    timeout: Duration,
    idle: Arc<Idle>,
    /// Those that could not be reached, and until when they are tried last.
    down: Mutex<Vec<(Endpoint, Instant)>>,
}

/// Which connections are kept for further requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those of an application that says, while it works on a request, that it takes several on a connection
    /// (FCGI_MPXS_CONNS, FastCGI section 4.1), as fpm-gateway does: with it no request waits behind another one's work.
    Auto,
    /// So many, whatever the application is.
    Most(usize),
}

/// Connections without a request.
#[derive(Debug)]
struct Idle {
    keep: Keep,
    /// The one that was used last comes last.
    connections: Mutex<Vec<(Arc<Endpoint>, Stream, Instant)>>,
    /// Who has been asked whether it multiplexes, what it said, and until when that counts.
    known: Mutex<Vec<(Arc<Endpoint>, bool, Instant)>>,
}

/// A connection for one request.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    pub endpoint: Arc<Endpoint>,
    pub purpose: Purpose,
}

/// What becomes of a connection after its request.
#[derive(Debug)]
pub enum Purpose {
    Close,
    /// It is closed, and the application asked meanwhile whether others may be kept.
    Ask(Question),
    Keep(Home),
}

/// Whether an application multiplexes.
#[derive(Debug)]
pub struct Question {
    idle: Arc<Idle>,
    endpoint: Arc<Endpoint>,
}

/// Where a connection is kept.
#[derive(Debug)]
pub struct Home {
    idle: Arc<Idle>,
    endpoint: Arc<Endpoint>,
}

/// Connections that are kept at most.
const MOST: usize = 64;

/// Kept for so long: less than the gateway keeps it (its `idle-timeout`).
const IDLE: Duration = Duration::from_secs(30);

/// How long it counts what an application said.
const KNOWN: Duration = Duration::from_mins(1);

/// How long nobody else asks an application that has been asked.
const ASKING: Duration = Duration::from_secs(5);

/// How long an endpoint that could not be reached is tried only after the others.
const DOWN: Duration = Duration::from_secs(1);

/// Endpoints asked in vain before the client is told.
const ATTEMPTS: usize = 3;

impl Upstream {
    /// `timeout` is for one attempt to connect.
    pub fn new(endpoints: watch::Receiver<Endpoints>, timeout: Duration, keep: Keep) -> Self {
        let idle = Arc::new(Idle { keep, connections: Mutex::default(), known: Mutex::default() });
        Self { endpoints, next: AtomicUsize::new(0), timeout, idle, down: Mutex::default() }
    }

    pub fn endpoints(&self) -> usize {
        self.endpoints.borrow().len()
    }

    /// A connection that may have carried other requests: for what may be sent again if it turns out to be closed.
    pub async fn connect_or_reuse(&self) -> Result<Connection, FastCgiError> {
        let kept = self.idle.take(&self.endpoints.borrow());
        if let Some((endpoint, stream)) = kept {
            let home = Home { idle: Arc::clone(&self.idle), endpoint: Arc::clone(&endpoint) };
            return Ok(Connection { stream, endpoint, purpose: Purpose::Keep(home) });
        }
        self.connect().await
    }

    /// A connection to the next endpoint, or to one after it: nothing was sent, so nothing can happen twice.
    pub async fn connect(&self) -> Result<Connection, FastCgiError> {
        let endpoints = discovery::known(&self.endpoints, self.timeout).await;
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut failure = FastCgiError::NoEndpoint;
        let (up, down) = self.in_turn(&endpoints, first);
        for endpoint in up.into_iter().chain(down).take(ATTEMPTS) {
            match endpoint.connect(self.timeout).await {
                Ok(stream) => {
                    let endpoint = Arc::new(endpoint.clone());
                    let purpose = self.idle.purpose(&endpoint, Instant::now());
                    return Ok(Connection { stream, endpoint, purpose });
                }
                Err(cause) => {
                    self.gone(endpoint);
                    failure = FastCgiError::Unreachable { endpoint: endpoint.clone(), cause };
                }
            }
        }
        Err(failure)
    }

    /// An endpoint that broke off, or could not be reached: others come first for a while.
    pub fn gone(&self, endpoint: &Endpoint) {
        self.idle.forget(endpoint);
        let mut down = self.lock_down();
        down.retain(|(other, _)| other != endpoint);
        down.push((endpoint.clone(), Instant::now() + DOWN));
    }

    /// All endpoints from `first` on, apart from those that are down, and these.
    fn in_turn<'a>(&self, endpoints: &'a [Endpoint], first: usize) -> (Vec<&'a Endpoint>, Vec<&'a Endpoint>) {
        let mut down = self.lock_down();
        // Nearly always.
        let now = if down.is_empty() { None } else { Some(Instant::now()) };
        down.retain(|(_, until)| now.is_some_and(|now| now < *until));
        let count = endpoints.len();
        let turn = (0..count).filter_map(|at| endpoints.get(first.wrapping_add(at) % count.max(1)));
        turn.partition(|endpoint| down.iter().all(|(other, _)| other != *endpoint))
    }

    fn lock_down(&self) -> MutexGuard<'_, Vec<(Endpoint, Instant)>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Purpose {
    /// Whether the application is asked to leave the connection open.
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Keep(_))
    }
}

impl Question {
    /// The request is over, and this was said.
    pub fn answered(self, multiplexes: bool) {
        self.idle.learn(&self.endpoint, multiplexes, Instant::now() + KNOWN);
    }
}

impl Home {
    /// The request on it is over, and nothing of it is left in the stream.
    pub fn keep(self, stream: Stream) {
        let most = match self.idle.keep {
            Keep::Auto => MOST,
            Keep::Most(most) => most,
        };
        let mut connections = self.idle.lock();
        if connections.len() < most {
            connections.push((self.endpoint, stream, Instant::now()));
        }
    }
}

impl Idle {
    /// The one that was used last, of an endpoint that is still listed, if the other side has not closed it.
    fn take(&self, endpoints: &[Endpoint]) -> Option<(Arc<Endpoint>, Stream)> {
        let mut connections = self.lock();
        if connections.is_empty() {
            return None;
        }
        let now = Instant::now();
        let expired =
            connections.iter().take_while(|(_, _, since)| now.duration_since(*since) >= IDLE).count();
        connections.drain(..expired);
        while let Some((endpoint, mut stream, _)) = connections.pop() {
            if !endpoints.contains(&endpoint) {
                continue;
            }
            // Between requests nothing is said: whatever can be read is the end, or out of turn.
            let mut byte = [0];
            if stream.read(&mut byte).now_or_never().is_none() {
                return Some((endpoint, stream));
            }
            // It may be another program that listens there now.
            self.forget(&endpoint);
        }
        None
    }

    fn purpose(self: &Arc<Self>, endpoint: &Arc<Endpoint>, now: Instant) -> Purpose {
        let home = || Home { idle: Arc::clone(self), endpoint: Arc::clone(endpoint) };
        match self.keep {
            Keep::Most(0) => return Purpose::Close,
            Keep::Most(_) => return Purpose::Keep(home()),
            Keep::Auto => {}
        }
        let known = self.lock_known().iter().find(|(other, ..)| other == endpoint).cloned();
        match known {
            Some((_, multiplexes, until)) if now < until => {
                if multiplexes {
                    Purpose::Keep(home())
                } else {
                    Purpose::Close
                }
            }
            _ => {
                self.learn(endpoint, false, now + ASKING);
                Purpose::Ask(Question { idle: Arc::clone(self), endpoint: Arc::clone(endpoint) })
            }
        }
    }

    fn learn(&self, endpoint: &Arc<Endpoint>, multiplexes: bool, until: Instant) {
        let mut known = self.lock_known();
        let now = Instant::now();
        known.retain(|(other, _, until)| other != endpoint && now < *until);
        known.push((Arc::clone(endpoint), multiplexes, until));
    }

    fn forget(&self, endpoint: &Endpoint) {
        self.lock_known().retain(|(other, ..)| **other != *endpoint);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<Endpoint>, Stream, Instant)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_known(&self) -> MutexGuard<'_, Vec<(Arc<Endpoint>, bool, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromStr for Keep {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(most @ 0..=4096) => Ok(Self::Most(most)),
            _ => Err("expected auto, or a number up to 4096"),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Most(most) => most.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn as_it_is_written() {
        for (text, keep) in [("auto", Keep::Auto), ("0", Keep::Most(0)), ("4096", Keep::Most(4096))] {
            assert_eq!(text.parse(), Ok(keep));
            assert_eq!(keep.to_string(), text);
        }
        for bad in ["", "4097", "-1", "always"] {
            assert!(bad.parse::<Keep>().is_err(), "{bad}");
        }
    }

    #[test]
    fn who_multiplexes_is_asked_once_in_a_while() {
        let idle =
            Arc::new(Idle { keep: Keep::Auto, connections: Mutex::default(), known: Mutex::default() });
        let endpoint = Arc::new(Endpoint::Unix("/a".into()));
        let other = Arc::new(Endpoint::Unix("/b".into()));
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let asked = |endpoint, after: Duration| match idle.purpose(endpoint, start + after) {
            Purpose::Ask(question) => Some(question),
            _ => None,
        };
        let question = asked(&endpoint, Duration::ZERO).unwrap();
        assert!(asked(&endpoint, second).is_none(), "one asks, and the others do without");
        assert!(asked(&other, second).is_some());
        question.answered(true);
        assert!(idle.purpose(&endpoint, start + second).is_kept());
        assert!(!idle.purpose(&other, start + second).is_kept());
        let question = asked(&endpoint, KNOWN + second).unwrap();
        question.answered(false);
        assert!(matches!(idle.purpose(&endpoint, start + second), Purpose::Close));
        // What cannot be reached may be another program afterwards.
        idle.forget(&endpoint);
        assert!(asked(&endpoint, second).is_some());
    }
}
