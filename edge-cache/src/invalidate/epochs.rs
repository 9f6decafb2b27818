//! What was invalidated since a fetch began.
//!
//! A response that was asked for before an invalidation of its tags may be made of what was invalidated,
//! however late it arrives (varnish-cache's `ban_lurker` solves the same with ban times).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A point in the order of invalidations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

#[derive(Debug, Default)]
pub struct Epochs(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    now: u64,
    /// When each tag was last invalidated.
    tags: HashMap<Box<str>, u64, ahash::RandomState>,
    /// Whatever began before this may be outdated: everything was invalidated, or tags were forgotten.
    floor: u64,
}

/// Tags remembered; beyond, all of them are forgotten and fetches under way count as outdated.
const MAX_TAGS: usize = 65_536;

impl Epochs {
    /// A fetch begins.
    pub fn begin(&self) -> Epoch {
        Epoch(self.lock().now)
    }

    pub fn tag(&self, tag: &str) {
        let mut recent = self.lock();
        recent.now += 1;
        let now = recent.now;
        if recent.tags.len() >= MAX_TAGS {
            recent.tags.clear();
            recent.floor = now;
        }
        recent.tags.insert(tag.into(), now);
    }

    pub fn everything(&self) {
        let mut recent = self.lock();
        recent.now += 1;
        recent.floor = recent.now;
        recent.tags.clear();
    }

    /// Whether nothing that a response with these tags is made of was invalidated since `began`.
    pub fn is_current(&self, began: Epoch, tags: &[Box<str>]) -> bool {
        let recent = self.lock();
        recent.floor <= began.0 && tags.iter().all(|tag| recent.tags.get(tag).is_none_or(|at| *at <= began.0))
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_is_current_until_one_of_its_tags_is_invalidated() {
        let epochs = Epochs::default();
        let tags: [Box<str>; 2] = ["a".into(), "b".into()];
        epochs.tag("a");
        let began = epochs.begin();
        assert!(epochs.is_current(began, &tags), "invalidated before it began");
        epochs.tag("c");
        assert!(epochs.is_current(began, &tags), "not its tag");
        epochs.tag("b");
        assert!(!epochs.is_current(began, &tags));
        assert!(epochs.is_current(epochs.begin(), &tags));
        let began = epochs.begin();
        epochs.everything();
        assert!(!epochs.is_current(began, &[]));
    }

    #[test]
    fn forgetting_is_on_the_safe_side() {
        let epochs = Epochs::default();
        let began = epochs.begin();
        for number in 0..=MAX_TAGS {
            epochs.tag(&number.to_string());
        }
        assert!(!epochs.is_current(began, &["0".into()]));
        assert!(epochs.lock().tags.len() <= MAX_TAGS);
    }
}
