//! Waiting for a condition, with a deadline and a name.

use std::time::Duration;

use tokio::time::Instant;

/// Long enough for a slow machine that compiles beside the test, short enough to be noticed.
pub const DEADLINE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(10);

/// Polls `condition` until it holds.
///
/// # Panics
/// When `deadline` passes first; the message says what was waited for.
pub async fn wait_until(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition().await {
        assert!(Instant::now() < end, "waited {deadline:?} for {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Polls `attempt` until it is `Some`.
///
/// # Panics
/// When `deadline` passes first; the message says what was waited for.
pub async fn wait_for<T>(what: &str, deadline: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < end, "waited {deadline:?} for {what}");
        tokio::time::sleep(POLL).await;
    }
}
