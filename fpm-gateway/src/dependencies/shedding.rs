//! What is answered 503 at once while there is no database.
//!
//! 1. While the cluster is lost, requests are refused before they wait for a worker: they would only keep it busy
//!    until PHP gives up, and the cache in front has stale pages to serve.
//! 2. One request a second goes through as a probe, so that a wrong verdict is noticed: PHP may reach what we
//!    cannot.
//! 3. A probe that was answered well lets the next one go at once, one after the other. After [`TRUST`] of them in
//!    a row all requests go, until one fails: then PHP does without what we miss.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::fastcgi::Params;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::galera::Loss;

/// Why a request is refused on behalf of what PHP depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the database has no node that takes statements ({})", .0.as_str())]
    Database(Loss),
}

/// The gate in front of admission.
#[derive(Debug)]
pub struct Shedding {
    /// 0, or the loss's place in [`Loss::ALL`] and 1: requests read nothing else while all is well.
    loss: AtomicU8,
    probing: Mutex<Probing>,
    pub probes: Counter,
}

/// A request that goes on although there is no database. One that is dropped got no good answer.
#[derive(Debug)]
pub struct Probe<'a>(Option<&'a Shedding>);

/// When the next probe may go. Pure.
#[derive(Debug, Clone, Copy)]
struct Probing {
    next: Instant,
    outstanding: u32,
    /// Probes in a row that were answered well.
    successes: u32,
}

const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Probes in a row after which the verdict is taken for wrong.
const TRUST: u32 = 10;

impl Shedding {
    pub fn new() -> Self {
        Self {
            loss: AtomicU8::new(0),
            probing: Mutex::new(Probing::new(Instant::now())),
            probes: Counter::default(),
        }
    }

    /// The database is lost, or there again.
    pub fn set(&self, loss: Option<Loss>) {
        let code = loss.map_or(0, Loss::code);
        if self.loss.swap(code, Ordering::Relaxed) == 0 && code != 0 {
            *self.lock() = Probing::new(Instant::now());
        }
    }

    /// Why requests are refused now.
    pub fn loss(&self) -> Option<Loss> {
        Loss::from_code(self.loss.load(Ordering::Relaxed))
    }

    /// `None` while all is well.
    pub fn admit(&self, params: &Params) -> Result<Option<Probe<'_>>, Refusal> {
        let Some(loss) = self.loss() else { return Ok(None) };
        if self.lock().admit(Instant::now(), is_safe(params)) {
            self.probes.inc();
            Ok(Some(Probe(Some(self))))
        } else {
            Err(Refusal::Database(loss))
        }
    }

    fn lock(&self) -> MutexGuard<'_, Probing> {
        // Nothing panics while it is held.
        self.probing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe<'_> {
    /// It got an answer, good or not.
    pub fn ended(mut self, well: bool) {
        if let Some(shedding) = self.0.take() {
            shedding.lock().ended(well);
        }
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(shedding) = self.0 {
            shedding.lock().ended(false);
        }
    }
}

impl Probing {
    const fn new(now: Instant) -> Self {
        Self { next: now, outstanding: 0, successes: 0 }
    }

    fn admit(&mut self, now: Instant, safe: bool) -> bool {
        // What may have been done in vain is not tried, before there is hope.
        let hope = self.successes >= TRUST;
        let turn = now >= self.next;
        if !hope && !(safe && (turn || (self.successes > 0 && self.outstanding == 0))) {
            return false;
        }
        if turn {
            self.next = now + PROBE_INTERVAL;
        }
        self.outstanding += 1;
        true
    }

    fn ended(&mut self, well: bool) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.successes = if well { self.successes.saturating_add(1) } else { 0 };
    }
}

/// RFC 9110, section 9.2.1.
fn is_safe(params: &Params) -> bool {
    let method = params.get("REQUEST_METHOD").map(Bytes::as_ref);
    matches!(method, Some(b"GET" | b"HEAD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_a_second() {
        let start = Instant::now();
        let mut probing = Probing::new(start);
        // Milliseconds, whether the request is safe, and whether it may go.
        let table = [
            (0, true, true),
            (1, true, false),
            (999, true, false),
            (1000, false, false),
            (1000, true, true),
            (1999, true, false),
            (5000, true, true),
            (5500, true, false),
        ];
        for (ms, safe, goes) in table {
            assert_eq!(probing.admit(start + Duration::from_millis(ms), safe), goes, "{ms} ms");
        }
        // Probes that fail change nothing.
        for _ in 0..3 {
            probing.ended(false);
        }
        assert!(!probing.admit(start + Duration::from_millis(5999), true));
        assert!(probing.admit(start + Duration::from_secs(6), true));
    }

    #[test]
    fn probes_that_succeed_open_the_gate() {
        let now = Instant::now();
        let mut probing = Probing::new(now);
        assert!(probing.admit(now, true));
        for _ in 1..TRUST {
            assert!(!probing.admit(now, true), "one after the other");
            probing.ended(true);
            assert!(!probing.admit(now, false));
            assert!(probing.admit(now, true));
        }
        probing.ended(true);
        for safe in [true, false, true] {
            assert!(probing.admit(now, safe), "PHP does without");
        }
        probing.ended(false);
        assert!(!probing.admit(now, true), "it does not");
        probing.ended(true);
        assert!(!probing.admit(now, true), "others are under way");
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate() {
        let get: Params = [("REQUEST_METHOD", "GET")].into_iter().collect();
        let post: Params = [("REQUEST_METHOD", "POST")].into_iter().collect();
        let shedding = Shedding::new();
        let goes = |params: &Params| shedding.admit(params).is_ok();
        for _ in 0..3 {
            assert!(goes(&get) && goes(&post));
        }
        shedding.set(Some(Loss::NoPrimary));
        assert_eq!(shedding.admit(&post).err(), Some(Refusal::Database(Loss::NoPrimary)));
        assert!(goes(&get));
        for _ in 0..5 {
            assert!(!goes(&get));
        }
        // The reason may change meanwhile.
        shedding.set(Some(Loss::Unreachable));
        assert_eq!(shedding.admit(&get).err(), Some(Refusal::Database(Loss::Unreachable)));
        tokio::time::advance(PROBE_INTERVAL).await;
        assert!(goes(&get) && !goes(&get));
        shedding.set(None);
        assert!(goes(&get) && goes(&post));
        assert_eq!(shedding.probes.get(), 2);
    }
}
