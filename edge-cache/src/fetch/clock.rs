use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long the origin has taken over one request, where somebody wants to know. Clones share it: the fetch is
/// a task of its own.
#[derive(Debug, Clone, Default)]
pub struct OriginTime(Option<Arc<AtomicU64>>);

impl OriginTime {
    pub fn wanted() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds the time of one exchange, up to the head of its response.
    pub fn add(&self, time: Duration) {
        if let Some(micros) = &self.0 {
            // No exchange is so short that it did not happen.
            micros.fetch_add((time.as_micros() as u64).max(1), Ordering::Relaxed);
        }
    }

    /// `None` where the origin was not asked, or nobody wanted to know.
    pub fn get(&self) -> Option<Duration> {
        let micros = self.0.as_ref()?.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}
