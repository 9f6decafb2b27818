use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::discovery::Endpoints;
use common::net::Stream;
use tokio::sync::watch;

use super::FastCgiError;

/// Where the application is. Each request has a connection of its own: a PHP-FPM worker that has sent
/// END_REQUEST may still be busy, and a request on its connection would wait for it. Keeping connections to
/// a gateway would begin here.
#[derive(Debug)]
pub struct Upstream {
    endpoints: watch::Receiver<Endpoints>,
    next: AtomicUsize,
    timeout: Duration,
}

/// Endpoints asked in vain before the client is told.
const ATTEMPTS: usize = 3;

impl Upstream {
    /// `timeout` is for one attempt to connect.
    pub const fn new(endpoints: watch::Receiver<Endpoints>, timeout: Duration) -> Self {
        Self { endpoints, next: AtomicUsize::new(0), timeout }
    }

    pub fn endpoints(&self) -> usize {
        self.endpoints.borrow().len()
    }

    /// A connection to the next endpoint, or to one after it: nothing was sent, so nothing can happen twice.
    pub async fn connect(&self) -> Result<Stream, FastCgiError> {
        let endpoints = Endpoints::clone(&self.endpoints.borrow());
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut failure = FastCgiError::NoEndpoint;
        for attempt in 0..endpoints.len().min(ATTEMPTS) {
            let Some(endpoint) = endpoints.get(first.wrapping_add(attempt) % endpoints.len()) else { break };
            match endpoint.connect(self.timeout).await {
                Ok(stream) => return Ok(stream),
                Err(cause) => failure = FastCgiError::Unreachable { endpoint: endpoint.clone(), cause },
            }
        }
        Err(failure)
    }
}
