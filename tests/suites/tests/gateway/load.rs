//! Clients that ask again and again until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use test_support::wait::{DEADLINE, wait_until};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::asking::{Ask, Asker, Seen, Way};

pub(crate) struct Load {
    clients: JoinSet<Vec<Seen>>,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

/// All requests of a load.
pub(crate) struct Tally(pub(crate) Vec<Seen>);

/// No load goes on for longer, whatever its test does.
const LONGEST: Duration = Duration::from_mins(1);

impl Load {
    /// So many clients on each way. Every request gets a number of its own.
    pub(crate) fn start(
        ways: &[Way],
        clients: usize,
        ask: impl Fn(usize) -> Ask + Copy + Send + 'static,
    ) -> Self {
        let mut load = Self { clients: JoinSet::new(), answered: Arc::default(), stop: Arc::default() };
        let step = ways.len() * clients;
        let ways = ways.iter().flat_map(|way| std::iter::repeat_n(way, clients));
        for (first, way) in ways.enumerate() {
            let (answered, stop) = (Arc::clone(&load.answered), Arc::clone(&load.stop));
            let mut asker = Asker::new(way.clone());
            let end = Instant::now() + LONGEST;
            load.clients.spawn(async move {
                let (mut seen, mut n) = (Vec::new(), first);
                while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                    let one = asker.ask(ask(n)).await;
                    if !one.is_good() {
                        // Who is refused comes back, but not at once.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    seen.push(one);
                    answered.fetch_add(1, Ordering::Relaxed);
                    n += step;
                }
                seen
            });
        }
        load
    }

    /// Waits for so many answers more than there are now.
    pub(crate) async fn more(&self, count: usize) {
        let end = self.answered.load(Ordering::Relaxed) + count;
        wait_until("more answers", DEADLINE, async || self.answered.load(Ordering::Relaxed) >= end).await;
    }

    pub(crate) async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        Tally(self.clients.join_all().await.into_iter().flatten().collect())
    }
}

impl Tally {
    pub(crate) fn failed(&self) -> Vec<&Seen> {
        self.0.iter().filter(|seen| !seen.is_good()).collect()
    }

    /// A line for whoever reads the suite's output.
    pub(crate) fn note(&self, fault: &str) {
        note!("gateway: {fault}: {} of {} requests failed", self.failed().len(), self.0.len());
    }

    #[track_caller]
    pub(crate) fn assert_none_failed(&self, fault: &str) {
        self.note(fault);
        let failed = self.failed();
        assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    }

    /// Good answers of a replica to requests that began and ended in this span.
    pub(crate) fn served_by(&self, replica: &str, from: Instant, to: Instant) -> usize {
        let fits = |seen: &&Seen| {
            seen.is_good()
                && seen.replica.as_deref() == Some(replica)
                && seen.began >= from
                && seen.ended <= to
        };
        self.0.iter().filter(fits).count()
    }
}
