use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How a stream's client takes what it is sent. A client that reads a connection without letting one of its streams go
/// on (a window of zero) makes progress as far as TCP can see.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    /// When a piece was given that has not been taken yet, in milliseconds since then and one; 0 if there is none.
    given: AtomicU64,
}

/// The client took nothing for too long.
#[derive(Debug, PartialEq, Eq)]
pub struct Stalled;

tokio::task_local! {
    static PACE: Arc<Pace>;
}

impl Pace {
    fn new() -> Self {
        Self { began: Instant::now(), given: AtomicU64::new(0) }
    }

    /// That of the stream whose task this is.
    pub fn current() -> Arc<Self> {
        PACE.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Self::new()))
    }

    /// A piece waits for the client.
    pub fn is_given(&self) {
        self.given.store(self.began.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// The piece was taken: the next one is asked for.
    pub fn has_taken(&self) {
        self.given.store(0, Ordering::Relaxed);
    }

    /// How long a piece has waited by now.
    fn waiting(&self) -> Option<Duration> {
        let given = self.given.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_millis(given)))
    }
}

/// Runs `stream` until a piece of its response has waited for `limit`.
pub async fn attended(stream: impl Future<Output = ()>, limit: Duration) -> Result<(), Stalled> {
    let pace = Arc::new(Pace::new());
    let mut stream = std::pin::pin!(PACE.scope(Arc::clone(&pace), stream));
    let mut look = std::pin::pin!(sleep(limit));
    loop {
        tokio::select! {
            biased;
            () = stream.as_mut() => return Ok(()),
            () = look.as_mut() => match pace.waiting() {
                Some(time) if time >= limit => return Err(Stalled),
                Some(time) => look.set(sleep(limit.saturating_sub(time))),
                None => look.set(sleep(limit)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);
    const NEARLY: Duration = Duration::from_secs(59);

    #[tokio::test(start_paused = true)]
    async fn a_piece_may_wait_for_so_long() {
        let began = Instant::now();
        let stream = async {
            let pace = Pace::current();
            pace.has_taken();
            // The origin is slow: nobody waits for the client.
            sleep(LIMIT * 5).await;
            for _ in 0..3 {
                pace.is_given();
                sleep(NEARLY).await;
                pace.has_taken();
            }
            pace.is_given();
            std::future::pending::<()>().await;
        };
        assert_eq!(attended(stream, LIMIT).await, Err(Stalled));
        let waited = began.elapsed().saturating_sub(LIMIT * 5 + NEARLY * 3);
        assert!(waited >= LIMIT && waited < LIMIT + Duration::from_secs(1), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_ends_is_left_alone() {
        assert_eq!(attended(sleep(LIMIT * 10), LIMIT).await, Ok(()));
    }
}
