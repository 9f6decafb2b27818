//! Graceful shutdown: one value that every task holds.
//!
//! 1. `drain` (SIGTERM, SIGINT): readiness fails, and after the drain delay listeners stop accepting.
//! 2. Work in flight goes on until it is finished or the grace period is over.
//! 3. `terminate` (a second signal, or the end of the grace period): everything ends at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// A handle on the service's end; clones share one state.
#[derive(Debug, Clone)]
pub struct Shutdown {
    leaving: Arc<AtomicBool>,
    drain: CancellationToken,
    terminate: CancellationToken,
    tasks: TaskTracker,
    grace: Duration,
}

/// How a service came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All work was finished.
    Clean,
    /// This many tasks were cut off by the end of the grace period or a second signal.
    Forced { tasks: usize },
}

impl Shutdown {
    /// Without signals: for tests, and for a service inside another process.
    pub fn new(grace: Duration) -> Self {
        Self {
            leaving: Arc::default(),
            drain: CancellationToken::new(),
            terminate: CancellationToken::new(),
            tasks: TaskTracker::new(),
            grace,
        }
    }

    /// Drains on the first SIGTERM or SIGINT and terminates on the second.
    /// SIGTERM waits for `drain_delay` before listeners close; SIGINT, a person at a terminal, does not.
    pub fn on_signals(grace: Duration, drain_delay: Duration) -> std::io::Result<Self> {
        let shutdown = Self::new(grace);
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let this = shutdown.clone();
        tokio::spawn(async move {
            let delay = tokio::select! {
                _ = term.recv() => drain_delay,
                _ = int.recv() => Duration::ZERO,
            };
            tracing::info!(grace = ?this.grace, ?delay, "draining");
            this.leave();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = term.recv() => this.terminate(),
                _ = int.recv() => this.terminate(),
            }
            this.drain();
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::warn!("second signal: ending at once");
            this.terminate();
        });
        Ok(shutdown)
    }

    /// Readiness fails from now on; everything else goes on.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Begins the drain.
    pub fn drain(&self) {
        self.leave();
        self.drain.cancel();
    }

    /// Ends everything at once.
    pub fn terminate(&self) {
        self.drain();
        self.terminate.cancel();
    }

    /// False as soon as the first signal has come: `/readyz` says so, and HTTP/1.1 responses say `Connection: close`, so that
    /// clients go elsewhere with their next request and none is on its way when the connection is closed.
    pub fn is_ready(&self) -> bool {
        !self.leaving.load(Ordering::Relaxed)
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Completes when listeners are to stop accepting.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// [`draining`](Self::draining), for what lives as long as it likes.
    pub fn draining_owned(&self) -> WaitForCancellationFutureOwned {
        self.drain.clone().cancelled_owned()
    }

    /// Completes when work in flight is to be cut off.
    pub async fn terminated(&self) {
        self.terminate.cancelled().await;
    }

    /// Runs `task` as work in flight: [`finish`](Self::finish) waits for it, terminating drops it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Not an async block, which would have room for the task twice. The token's lock is everybody's: it is asked only
        // when the task has to wait.
        self.tasks.spawn(task.with_cancellation_token_owned(self.terminate.clone()).map(drop))
    }

    /// Runs `task` until the drain begins: for polls, probes and accept loops. What is ready at that moment is done still,
    /// so that a connection that waits in the kernel's queue is served and not reset.
    pub fn spawn_until_drain<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(task.with_cancellation_token_owned(self.drain.clone()).map(drop))
    }

    /// Waits for the drain to begin, then for the work in flight, at most for the grace period.
    pub async fn finish(&self) -> Drained {
        self.draining().await;
        self.tasks.close();
        let ended = tokio::select! {
            () = self.tasks.wait() => true,
            () = tokio::time::sleep(self.grace) => false,
            () = self.terminated() => false,
        };
        if ended {
            return Drained::Clean;
        }
        let tasks = self.tasks.len();
        self.terminate();
        self.tasks.wait().await;
        Drained::Forced { tasks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finishes_when_the_work_does() {
        let shutdown = Shutdown::new(Duration::from_secs(30));
        shutdown.spawn(tokio::time::sleep(Duration::from_secs(5)));
        shutdown.drain();
        assert!(!shutdown.is_ready());
        let before = tokio::time::Instant::now();
        assert_eq!(shutdown.finish().await, Drained::Clean);
        assert_eq!(before.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn cuts_work_off_after_the_grace_period() {
        let shutdown = Shutdown::new(Duration::from_secs(30));
        shutdown.spawn(std::future::pending());
        shutdown.spawn_until_drain(std::future::pending());
        shutdown.drain();
        assert_eq!(shutdown.finish().await, Drained::Forced { tasks: 1 });
    }

    #[tokio::test]
    async fn a_second_call_ends_at_once() {
        let shutdown = Shutdown::new(Duration::from_hours(1));
        shutdown.spawn(std::future::pending());
        shutdown.terminate();
        assert_eq!(shutdown.finish().await, Drained::Forced { tasks: 1 });
    }
}
