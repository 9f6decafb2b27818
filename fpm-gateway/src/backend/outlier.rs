//! Ejection of a replica that answers probes and fails requests. Pure.
//!
//! What counts is what a gateway sees: a connection that breaks off, a replica that does not move. What PHP itself says,
//! a 500 too, is an answer.

use std::time::Duration;

/// How one replica has done lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outlier {
    /// Failures in a row.
    failures: u32,
    /// Ejections in a row, without a request served between them.
    ejections: u32,
    ejected: bool,
}

/// So many failures in a row eject it; after an ejection one is enough.
const FAILURES: u32 = 5;
const FIRST_EJECTION: Duration = Duration::from_secs(5);
const LONGEST_EJECTION: Duration = Duration::from_mins(1);
/// Percent of the replicas that must be left in use: when most fail, ejecting them would only leave the rest to drown
/// (Envoy calls it the panic threshold).
const PANIC: usize = 50;

impl Outlier {
    pub const fn is_ejected(self) -> bool {
        self.ejected
    }

    pub const fn served(&mut self) {
        self.failures = 0;
        self.ejections = 0;
    }

    /// A request has failed; gives back for how long the replica is ejected, if it is now. `others` of `all` replicas
    /// would be left in use.
    pub fn failed(&mut self, others: usize, all: usize) -> Option<Duration> {
        self.failures += 1;
        let enough = self.failures >= FAILURES || self.ejections > 0;
        if self.ejected || !enough || others * 100 < all * PANIC {
            return None;
        }
        let pause = FIRST_EJECTION.saturating_mul(1 << self.ejections.min(8)).min(LONGEST_EJECTION);
        *self = Self { failures: 0, ejections: self.ejections + 1, ejected: true };
        Some(pause)
    }

    pub const fn readmitted(&mut self) {
        self.ejected = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(outlier: &mut Outlier, times: u32) -> Option<u64> {
        (0..times).filter_map(|_| outlier.failed(1, 2)).last().map(|pause| pause.as_secs())
    }

    #[test]
    fn ejections_grow_until_it_serves_again() {
        let mut outlier = Outlier::default();
        assert_eq!(fails(&mut outlier, 4), None);
        outlier.served();
        assert_eq!(fails(&mut outlier, 4), None, "in a row");
        assert_eq!((fails(&mut outlier, 1), outlier.is_ejected()), (Some(5), true));
        assert_eq!(fails(&mut outlier, 9), None, "those that were under way");
        for expected in [10, 20, 40, 60, 60] {
            outlier.readmitted();
            assert!(!outlier.is_ejected());
            assert_eq!(fails(&mut outlier, 1), Some(expected), "one is enough after an ejection");
        }
        outlier.readmitted();
        outlier.served();
        assert_eq!(fails(&mut outlier, 4), None);
        assert_eq!(fails(&mut outlier, 1), Some(5));
    }

    #[test]
    fn when_most_fail_nobody_is_ejected() {
        // Others in use, of all replicas.
        for (others, all, ejected) in
            [(0, 1, false), (1, 2, true), (0, 2, false), (1, 3, false), (2, 3, true), (2, 4, true)]
        {
            let mut outlier = Outlier { failures: 10, ..Outlier::default() };
            assert_eq!(outlier.failed(others, all).is_some(), ejected, "{others} of {all}");
        }
    }
}
