use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// How long a client may take, so that nobody holds a connection by sending little or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a head, from its first byte to its last: a byte now and then gains nothing. Also for the first one to begin.
    pub head: Duration,
    /// From the end of a response to the first byte of the next request.
    pub idle: Duration,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Something else than a head, which others have a limit for.
    Elsewhere,
    /// The very first byte.
    First,
    /// The rest of the head with this number.
    RestOf(u64),
    /// The next request; `over` is when the last answer was, and none while it lasts.
    Next { over: Option<Instant> },
}

/// The one timer of a connection. It is not set anew for each request: when it goes off too early, it is set again.
/// Nobody wakes the connection when an answer is over, for that would be one time too many for each request.
#[derive(Debug)]
pub(super) struct Clock {
    patience: Patience,
    /// The head whose first byte has come, and when.
    begun: Option<(u64, Instant)>,
    accepted: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, begun: None, accepted: Instant::now(), timer: None }
    }

    /// Ready when this has been waited for too long. To be asked again whenever the wait is another one.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<()> {
        let now = Instant::now();
        let deadline = match waiting {
            Waiting::Elsewhere => return Poll::Pending,
            Waiting::First => self.accepted + self.patience.head,
            Waiting::RestOf(number) => {
                let begun = self.begun.filter(|(begun, _)| *begun == number).unwrap_or((number, now));
                self.begun = Some(begun);
                begun.1 + self.patience.head
            }
            Waiting::Next { over } => over.unwrap_or(now) + self.patience.idle,
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if now >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::http::strict::{Arrivals, Limits, StrictRequests, Violation};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(30) };

    fn connection() -> (DuplexStream, StrictRequests<DuplexStream>, Arrivals) {
        let limits = Limits { bytes: 2000, target: 1000, fields: 20 };
        let (theirs, ours) = tokio::io::duplex(1 << 16);
        let (requests, arrivals) = StrictRequests::new(ours, limits, PATIENCE);
        (theirs, requests, arrivals)
    }

    /// What comes next, and after how many seconds.
    async fn next(requests: &mut StrictRequests<DuplexStream>) -> (Vec<u8>, u64) {
        let (mut buffer, began) = (vec![0; 1000], Instant::now());
        let length = requests.read(&mut buffer).await.unwrap();
        buffer.truncate(length);
        (buffer, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_takes_too_long_is_answered() {
        let (mut theirs, mut requests, arrivals) = connection();
        let slow = tokio::spawn(async move {
            for byte in REQUEST.chunks(1) {
                theirs.write_all(byte).await.unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            theirs
        });
        let (stand_in, waited) = next(&mut requests).await;
        assert_eq!((stand_in.starts_with(b"GET / HTTP/1.1\r\nConnection: close"), waited), (true, 10));
        assert_eq!(arrivals.next().violation, Some(Violation::Slow));
        drop(slow.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time() {
        let (mut theirs, mut requests, arrivals) = connection();
        let (begin, end) = REQUEST.split_at(20);
        theirs.write_all(begin).await.unwrap();
        let writing = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(8)).await;
            theirs.write_all(&[end, begin].concat()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(8)).await;
            theirs.write_all(end).await.unwrap();
            theirs
        });
        for _ in 0..2 {
            assert_eq!(next(&mut requests).await, (REQUEST.to_vec(), 8));
            assert_eq!(arrivals.next().violation, None);
        }
        drop(writing.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_told_nothing() {
        let (mut theirs, mut requests, arrivals) = connection();
        assert_eq!(next(&mut requests).await, (Vec::new(), 10), "for the first request");
        theirs.write_all(REQUEST).await.unwrap();
        assert_eq!(next(&mut requests).await.0, REQUEST);
        // While the answer lasts, whoever sends it has the limits.
        let body = arrivals.attend(arrivals.next(), ());
        let day = Duration::from_hours(24);
        assert!(tokio::time::timeout(day, requests.read(&mut [0])).await.is_err());
        drop(body);
        assert_eq!(next(&mut requests).await, (Vec::new(), 30), "between two requests");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_its_business() {
        let (mut theirs, mut requests, _arrivals) = connection();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
        theirs.write_all(head).await.unwrap();
        assert_eq!(next(&mut requests).await.0, head);
        let day = Duration::from_hours(24);
        assert!(tokio::time::timeout(day, requests.read(&mut [0])).await.is_err());
    }
}
