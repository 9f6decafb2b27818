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

/// Where the application is. Each request has a connection of its own: a PHP-FPM worker that has sent
/// END_REQUEST may still be busy, and a request on its connection would wait for it. A gateway's connections may be kept.
#[derive(Debug)]
pub struct Upstream {
    endpoints: watch::Receiver<Endpoints>,
    next: AtomicUsize,
    timeout: Duration,
    idle: Arc<Idle>,
    /// Those that could not be reached, and until when they are tried last.
    down: Mutex<Vec<(Endpoint, Instant)>>,
}

/// Connections without a request.
#[derive(Debug)]
struct Idle {
    connections: Mutex<Vec<(Endpoint, Stream, Instant)>>,
    /// So many are kept; none of an application that is no gateway.
    most: usize,
}

/// A connection for one request.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    pub endpoint: Endpoint,
    /// Where it is kept after it.
    home: Option<Arc<Idle>>,
}

/// Kept for so long: less than the gateway keeps it (its `idle-timeout`).
const IDLE: Duration = Duration::from_secs(30);

/// How long an endpoint that could not be reached is tried only after the others.
const DOWN: Duration = Duration::from_secs(1);

/// Endpoints asked in vain before the client is told.
const ATTEMPTS: usize = 3;

impl Upstream {
    /// `timeout` is for one attempt to connect.
    pub fn new(endpoints: watch::Receiver<Endpoints>, timeout: Duration, keep: usize) -> Self {
        let idle = Arc::new(Idle { connections: Mutex::default(), most: keep });
        Self { endpoints, next: AtomicUsize::new(0), timeout, idle, down: Mutex::default() }
    }

    pub fn endpoints(&self) -> usize {
        self.endpoints.borrow().len()
    }

    /// A connection that may have carried other requests: for what may be sent again if it turns out to be closed.
    pub async fn connect_or_reuse(&self) -> Result<Connection, FastCgiError> {
        if self.idle.most == 0 {
            return self.connect().await;
        }
        let endpoints = Endpoints::clone(&self.endpoints.borrow());
        if let Some((endpoint, stream)) = self.idle.take(&endpoints) {
            return Ok(Connection { stream, endpoint, home: Some(Arc::clone(&self.idle)) });
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
                    let home = (self.idle.most > 0).then(|| Arc::clone(&self.idle));
                    return Ok(Connection { stream, endpoint: endpoint.clone(), home });
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

impl Connection {
    /// Whether it is to be kept: the application is asked to leave it open.
    pub const fn is_kept(&self) -> bool {
        self.home.is_some()
    }

    /// What is left of it once its stream was taken.
    pub fn into_parts(self) -> (Stream, Option<Home>) {
        let Self { stream, endpoint, home } = self;
        (stream, home.map(|idle| Home { idle, endpoint }))
    }
}

/// Where a connection is kept.
#[derive(Debug)]
pub struct Home {
    idle: Arc<Idle>,
    endpoint: Endpoint,
}

impl Home {
    /// The request on it is over, and nothing of it is left in the stream.
    pub fn keep(self, stream: Stream) {
        let mut connections = self.idle.lock();
        if connections.len() < self.idle.most {
            connections.push((self.endpoint, stream, Instant::now()));
        }
    }
}

impl Idle {
    /// The one that was used last, of an endpoint that is still listed, if the other side has not closed it.
    fn take(&self, endpoints: &[Endpoint]) -> Option<(Endpoint, Stream)> {
        let mut connections = self.lock();
        connections.retain(|(endpoint, _, since)| since.elapsed() < IDLE && endpoints.contains(endpoint));
        while let Some((endpoint, mut stream, _)) = connections.pop() {
            // Between requests nothing is said: whatever can be read is the end, or out of turn.
            let mut byte = [0];
            if stream.read(&mut byte).now_or_never().is_none() {
                return Some((endpoint, stream));
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Endpoint, Stream, Instant)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
