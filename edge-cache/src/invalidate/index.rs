//! Tag → the stored responses that carry it.
//!
//! Links are weak: the index keeps nothing alive, and an eviction does not have to tell it. Dead links go
//! when a tag's list would grow, and in a sweep of one shard at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::store::Stored;

#[derive(Debug)]
pub struct TagIndex {
    shards: Box<[Mutex<Shard>]>,
    hasher: ahash::RandomState,
}

type Shard = HashMap<Box<str>, Vec<Weak<Stored>>, ahash::RandomState>;

pub const SHARDS: usize = 64;

impl Default for TagIndex {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: ahash::RandomState::new() }
    }
}

impl TagIndex {
    pub fn add(&self, stored: &Arc<Stored>) {
        for tag in &*stored.tags {
            let mut shard = self.shard(tag);
            let carriers = match shard.get_mut(tag) {
                Some(carriers) => carriers,
                None => shard.entry(tag.clone()).or_default(),
            };
            // Amortised: the list is looked through only when it would be copied anyway.
            if carriers.len() == carriers.capacity() {
                carriers.retain(is_alive);
            }
            carriers.push(Arc::downgrade(stored));
        }
    }

    /// The responses that carry exactly this tag.
    pub fn carriers(&self, tag: &str) -> Vec<Arc<Stored>> {
        self.shard(tag).get(tag).map(|all| all.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default()
    }

    /// Forgets what is gone in one shard, one tag at a time: a tag that every page carries takes a while, and
    /// pages are stored meanwhile.
    pub fn sweep(&self, shard: usize) {
        let Some(shard) = self.shards.get(shard % SHARDS) else { return };
        let tags: Vec<Box<str>> = lock(shard).keys().cloned().collect();
        for tag in tags {
            let mut shard = lock(shard);
            let Some(carriers) = shard.get_mut(&tag) else { continue };
            carriers.retain(is_alive);
            if carriers.is_empty() {
                shard.remove(&tag);
            }
        }
    }

    /// Tags known.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, tag: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(tag);
        // The modulus keeps it inside.
        lock(&self.shards[(hash % SHARDS as u64) as usize])
    }
}

fn is_alive(stored: &Weak<Stored>) -> bool {
    stored.strong_count() > 0
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
