//! What was invalidated since a fetch began.
//!
//! A response that was asked for before an invalidation that covers it may be made of what was invalidated,
//! however late it arrives (varnish-cache's `ban_lurker` solves the same with ban times). So each
//! invalidation is written down before it is carried out, and a response is compared with those that came
//! after its request: its tags with the tags, itself with the expressions. Both lists are bounded; what
//! began before the oldest of them counts as outdated.
//!
//! Comparing and storing are one step for an invalidation: it is written down before or after both, never in
//! between ([`Epochs::storing`]). So it finds what was stored before it, and what comes later finds it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use super::expression::{Expression, Subject};
use crate::key::CacheKey;

/// A point in the order of invalidations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

#[derive(Debug, Default)]
pub struct Epochs {
    recent: Mutex<Recent>,
    /// Held while a response is stored, and alone while an invalidation is written down. Taken before any
    /// other lock.
    order: RwLock<()>,
}

/// While it is held, no invalidation is written down.
#[derive(Debug)]
pub struct Storing<'a>(#[expect(dead_code, reason = "held")] RwLockReadGuard<'a, ()>);

#[derive(Debug, Default)]
struct Recent {
    now: u64,
    /// When each tag was last invalidated.
    tags: TagTimes,
    /// Those of before, until `tags` is full again.
    older_tags: TagTimes,
    /// The last that may be in `older_tags`.
    turned: u64,
    /// The last in `tags`.
    latest: u64,
    /// The oldest first.
    bans: VecDeque<(u64, Arc<Ban>)>,
    /// Whatever began before this may be outdated: everything was invalidated, or things were forgotten.
    floor: u64,
}

type TagTimes = HashMap<Box<str>, u64, ahash::RandomState>;

/// An invalidation of what matches, and carries one of the tags if there are any.
#[derive(Debug, PartialEq, Eq)]
struct Ban {
    tags: Box<[Box<str>]>,
    expression: Expression,
}

/// Tags remembered in each of two halves.
const MAX_TAGS: usize = 32_768;
/// Expressions remembered; the same one again takes the place of the first.
const MAX_BANS: usize = 256;

impl Epochs {
    /// A fetch begins.
    pub fn begin(&self) -> Epoch {
        Epoch(self.lock().now)
    }

    /// A response is about to be stored, if it is current.
    pub fn storing(&self) -> Storing<'_> {
        Storing(self.order.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes an invalidation down that `write` keeps elsewhere.
    pub fn write<R>(&self, write: impl FnOnce() -> R) -> R {
        let _order = self.order.write().unwrap_or_else(PoisonError::into_inner);
        write()
    }

    pub fn tags<'a>(&self, tags: impl IntoIterator<Item = &'a str>) {
        let _order = self.order.write().unwrap_or_else(PoisonError::into_inner);
        let mut recent = self.lock();
        recent.now += 1;
        let now = recent.now;
        for tag in tags {
            if recent.tags.len() >= MAX_TAGS && !recent.tags.contains_key(tag) {
                // Fetches that began after the last that is forgotten lose nothing.
                recent.floor = recent.floor.max(recent.turned);
                recent.turned = recent.latest;
                recent.older_tags = std::mem::take(&mut recent.tags);
            }
            recent.tags.insert(tag.into(), now);
            recent.latest = now;
        }
    }

    /// What matches; with tags, of the responses that carry one of them.
    pub fn ban(&self, tags: &[Box<str>], expression: &Expression) {
        let ban = Arc::new(Ban { tags: tags.into(), expression: expression.clone() });
        let _order = self.order.write().unwrap_or_else(PoisonError::into_inner);
        let mut recent = self.lock();
        recent.now += 1;
        let now = recent.now;
        recent.bans.retain(|(_, old)| *old != ban);
        if recent.bans.len() >= MAX_BANS
            && let Some((at, _)) = recent.bans.pop_front()
        {
            recent.floor = recent.floor.max(at);
        }
        recent.bans.push_back((now, ban));
    }

    pub fn everything(&self) {
        let _order = self.order.write().unwrap_or_else(PoisonError::into_inner);
        let mut recent = self.lock();
        let now = recent.now + 1;
        *recent = Recent { now, turned: now, latest: now, floor: now, ..Recent::default() };
    }

    /// Whether nothing that covers this response was invalidated since `began`.
    pub fn is_current(&self, began: Epoch, subject: Subject<'_>) -> bool {
        let bans = {
            let recent = self.lock();
            if recent.now == began.0 {
                return true;
            }
            if recent.floor > began.0 || subject.tags.names().any(|tag| recent.tag(tag) > began.0) {
                return false;
            }
            recent.bans_since(began)
        };
        // Regular expressions run behind the lock.
        !bans.iter().any(|ban| ban.matches(subject))
    }

    /// Whether a response under this key that was asked for at `began` is outdated whatever it will be.
    pub fn is_outdated(&self, began: Epoch, key: &CacheKey) -> bool {
        let bans = {
            let recent = self.lock();
            if recent.floor > began.0 {
                return true;
            }
            recent.bans_since(began)
        };
        bans.iter().any(|ban| ban.tags.is_empty() && ban.expression.covers(key))
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// When a tag was last invalidated, as far as is remembered.
    fn tag(&self, tag: &str) -> u64 {
        self.tags.get(tag).or_else(|| self.older_tags.get(tag)).copied().unwrap_or_default()
    }

    fn bans_since(&self, began: Epoch) -> Vec<Arc<Ban>> {
        let newer = self.bans.iter().rev().take_while(|(at, _)| *at > began.0);
        newer.map(|(_, ban)| Arc::clone(ban)).collect()
    }
}

impl Ban {
    fn matches(&self, subject: Subject<'_>) -> bool {
        (self.tags.is_empty() || self.tags.iter().any(|tag| subject.tags.contains(tag)))
            && self.expression.matches(subject)
    }
}
