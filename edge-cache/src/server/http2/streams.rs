use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What the streams of one connection do together.
#[derive(Debug)]
pub struct Streams {
    began: Instant,
    open: AtomicU64,
    /// When the last of them ended, in milliseconds since the connection began.
    ended_at: AtomicU64,
    requests: AtomicU64,
    abandoned: AtomicU64,
    flooded: Notify,
}

/// One stream, until its response is over.
#[derive(Debug)]
pub struct Stream {
    streams: Arc<Streams>,
    is_answered: bool,
}

/// So many requests may be given up by their client in any case: who leaves a page gives up what it was loading.
const FREE: u64 = 200;

/// A client that gives up most of what it asks for makes work for nobody's good (CVE-2023-44487). What was reset
/// before anybody looked at it is counted by h2.
const fn is_flood(requests: u64, abandoned: u64) -> bool {
    abandoned > FREE && abandoned > requests / 2
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            open: AtomicU64::new(0),
            ended_at: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            flooded: Notify::new(),
        }
    }
}

impl Streams {
    pub fn begin(streams: &Arc<Self>) -> Stream {
        streams.open.fetch_add(1, Ordering::Relaxed);
        streams.requests.fetch_add(1, Ordering::Relaxed);
        Stream { streams: Arc::clone(streams), is_answered: false }
    }

    /// How long there has been no stream; `None` while there is one.
    pub fn idle_for(&self) -> Option<Duration> {
        if self.open.load(Ordering::Acquire) > 0 {
            return None;
        }
        let ended = Duration::from_millis(self.ended_at.load(Ordering::Relaxed));
        Some(self.began.elapsed().saturating_sub(ended))
    }

    /// Completes when the connection is to be ended because of its resets.
    pub async fn flooded(&self) {
        self.flooded.notified().await;
    }
}

impl Stream {
    /// There is a response: what comes of it is the client's affair.
    pub const fn is_answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let streams = &self.streams;
        if !self.is_answered {
            let abandoned = streams.abandoned.fetch_add(1, Ordering::Relaxed) + 1;
            if is_flood(streams.requests.load(Ordering::Relaxed), abandoned) {
                streams.flooded.notify_one();
            }
        }
        streams.ended_at.store(streams.began.elapsed().as_millis() as u64, Ordering::Relaxed);
        streams.open.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_is_a_flood() {
        for (requests, abandoned, expected) in [
            (1, 1, false),
            (200, 200, false),
            (201, 201, true),
            (402, 201, false),
            (401, 201, true),
            (10_000, 4_000, false),
        ] {
            assert_eq!(is_flood(requests, abandoned), expected, "{abandoned} of {requests}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_between_streams() {
        let streams = Arc::new(Streams::default());
        let wait = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
        wait(3).await;
        assert_eq!(streams.idle_for().unwrap().as_secs(), 3, "from the start");
        let (mut one, two) = (Streams::begin(&streams), Streams::begin(&streams));
        wait(9).await;
        one.is_answered();
        drop(one);
        assert_eq!(streams.idle_for(), None);
        drop(two);
        wait(2).await;
        assert_eq!(streams.idle_for().unwrap().as_secs(), 2);
    }

    #[tokio::test]
    async fn a_flood_is_told_at_once() {
        let streams = Arc::new(Streams::default());
        for _ in 0..=FREE {
            let _ = Streams::begin(&streams);
        }
        tokio::time::timeout(Duration::from_secs(5), streams.flooded()).await.unwrap();
    }
}
