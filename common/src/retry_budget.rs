//! What may be sent twice.

use std::sync::atomic::{AtomicI64, Ordering};

/// How many requests may be sent a second time: a part of all, so that retries do not multiply the load that made them
/// necessary.
#[derive(Debug)]
pub struct RetryBudget {
    /// In thousandths of a retry.
    left: AtomicI64,
}

const RETRY: i64 = 1000;
/// What a request earns: one retry for five.
const EARNED: i64 = RETRY / 5;
/// What may be saved, and is there at the start.
const MOST: i64 = 20 * RETRY;

impl RetryBudget {
    pub const fn new() -> Self {
        Self { left: AtomicI64::new(MOST) }
    }

    pub fn earn(&self) {
        if self.left.load(Ordering::Relaxed) < MOST {
            self.left.fetch_add(EARNED, Ordering::Relaxed);
        }
    }

    pub fn spend(&self) -> bool {
        let spent = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left >= RETRY).then_some(left - RETRY)
        });
        spent.is_ok()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_retry_for_five_requests() {
        let budget = RetryBudget::new();
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 20);
        (0..5).for_each(|_| budget.earn());
        assert!(budget.spend() && !budget.spend());
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 20);
    }
}
