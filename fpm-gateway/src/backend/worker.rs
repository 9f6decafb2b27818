//! A connection to a replica, which is one of its workers.

use std::io;
use std::time::Duration;

use common::fastcgi::{ResponseDecoder, ResponseEvent};
use common::net::{Endpoint, Stream};

use tokio::time::Instant;

use super::{Heard, Sign};
use crate::admission::{Ejection, Permit};

/// A connection and the permit that counts it. One request, then it is closed: on a connection that is
/// used again, a request would wait behind what the script before does after `fastcgi_finish_request()`.
#[derive(Debug)]
pub struct Worker {
    // Dropped in this order: PHP-FPM's worker is free when the connection is closed, and not before.
    pub stream: Stream,
    pub decoder: ResponseDecoder,
    /// The request was sent to its end.
    pub uploaded: bool,
    /// GET_VALUES was sent with it, and its answer has not been read.
    pub asked: bool,
    /// When the first of the response has come.
    pub begun: Option<Instant>,
    permit: Permit,
}

/// Why there is no connection. Nothing was sent in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    /// The backlog of a Unix socket is full: the replica is busy with what others send it.
    #[error("its backlog is full")]
    Full,
    /// We lack files, ports or memory for a connection, which says nothing of the replica.
    #[error("cannot connect to anything: {0}")]
    Exhausted(io::Error),
}

impl ConnectError {
    /// The label of its metric.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(error) if error.kind() == io::ErrorKind::TimedOut => "connect_timeout",
            Self::Unreachable(_) => "connect",
            Self::Full => "backlog_full",
            Self::Exhausted(_) => "exhausted",
        }
    }
}

/// Connects to the replica that was chosen. Without success, the permit is free again.
pub async fn connect(permit: Permit, timeout: Duration) -> Result<Worker, ConnectError> {
    match permit.endpoint().connect(timeout).await {
        Ok(stream) => {
            let decoder = ResponseDecoder::new(1);
            Ok(Worker { stream, decoder, uploaded: false, asked: false, begun: None, permit })
        }
        Err(error) => {
            let error = ConnectError::from(error);
            tracing::debug!(endpoint = %permit.endpoint(), cause = %error, "no connection");
            if matches!(error, ConnectError::Unreachable(_)) {
                permit.note(Sign::Unreachable);
            }
            Err(error)
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // connect(2): EAGAIN for a Unix socket means that its backlog is full.
            io::ErrorKind::WouldBlock => Self::Full,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory => Self::Exhausted(error),
            _ if error.raw_os_error().is_some_and(|code| OURS.contains(&code)) => Self::Exhausted(error),
            _ => Self::Unreachable(error),
        }
    }
}

/// Of the errors of socket(2) and connect(2), those that have no [`io::ErrorKind`] and are about us: ENFILE,
/// EMFILE, ENOBUFS.
const OURS: [i32; 3] = [23, 24, 105];

impl Worker {
    pub fn endpoint(&self) -> &Endpoint {
        self.permit.endpoint()
    }

    /// Whether it is asked, after END_REQUEST, when it is free: the connection is kept for that.
    pub const fn asks(&self) -> bool {
        self.permit.accounting().asks()
    }

    /// Whether it may be asked together with the request.
    pub const fn asks_in_advance(&self) -> bool {
        self.permit.accounting().asks_in_advance()
    }

    pub const fn is_exact(&self) -> bool {
        self.permit.accounting().is_exact()
    }

    /// Its answer has come together with the end of the response: it is free.
    pub(super) fn has_answered(&mut self) -> bool {
        while self.asked {
            match self.decoder.next_event() {
                Ok(Some(ResponseEvent::Values(_))) => return true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
        false
    }

    /// The request has failed; the ejection of the replica that may follow.
    pub(super) fn failed(&self) -> Option<Ejection> {
        self.permit.failed()
    }

    /// The response is complete.
    pub(super) const fn served(&mut self) {
        self.permit.served();
    }

    /// Nobody waits for it any more, and it may not be free.
    pub(super) fn leaves(&mut self) {
        self.permit.leaves();
    }

    pub(super) const fn heard(&mut self, heard: Heard) {
        self.permit.heard(heard);
    }
}

/// Pauses between attempts: exponential, short, with jitter.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(200);

impl Backoff {
    pub const fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    pub fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(LAST_PAUSE);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_lack_is_not_the_replica_s_fault() {
        // EAGAIN; EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL; ECONNREFUSED, ENOENT, EACCES, ETIMEDOUT.
        let kind = |code| ConnectError::from(io::Error::from_raw_os_error(code)).kind();
        assert_eq!(kind(11), "backlog_full");
        assert_eq!([24, 23, 105, 12, 99].map(kind), ["exhausted"; 5]);
        assert_eq!([111, 2, 13].map(kind), ["connect"; 3]);
        assert_eq!(kind(110), "connect_timeout");
    }
}
