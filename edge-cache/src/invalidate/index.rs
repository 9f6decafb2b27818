//! Tag → the stored responses that carry it.
//!
//! A tag's text is held once, however many responses carry it: a response holds a pointer to the tag, the
//! tag's list a weak link to the response, 16 bytes for both. Links keep nothing alive but an empty shell,
//! and a response that is dropped tidies up behind itself: at most a quarter as many links are dead as are
//! alive. No lock is held for more than [`SLICE`] links, and none of them is one that a hit takes.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::store::Stored;

#[derive(Debug, Default)]
pub struct TagIndex(Arc<Table>);

/// The tags of one response: sorted, each once.
#[derive(Default)]
pub struct Tags(Box<[Arc<Tag>]>);

struct Tag {
    name: Box<str>,
    table: Weak<Table>,
    /// How many [`Tags`] have it.
    carriers: AtomicU32,
    /// The length of `list`, to be read without its lock.
    links: AtomicU32,
    /// Whether it waits for [`TagIndex::tidy`].
    queued: AtomicBool,
    /// In no order.
    list: Mutex<Vec<Weak<Stored>>>,
}

#[derive(Debug)]
struct Table {
    shards: Box<[Mutex<HashSet<Named, ahash::RandomState>>]>,
    hasher: ahash::RandomState,
    /// Tags whose lists are too long to be tidied where a response is dropped.
    untidy: Mutex<Vec<Arc<Tag>>>,
}

/// A tag found by its name.
#[derive(Debug)]
struct Named(Arc<Tag>);

/// What an operation had to look at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Links in all.
    pub links: usize,
    /// The most of them under one lock.
    pub locked: usize,
}

const SHARDS: usize = 64;
/// Links looked at under one lock.
pub const SLICE: usize = 256;
/// What a tag costs beside its name: the tag, its place in the table, its list.
const TAG_COST: usize = 168;
/// What one more carrier costs: a pointer, a link, and the room that lists have to grow.
const LINK_COST: usize = 18;

impl TagIndex {
    /// `names` as one response has them. Not in the index before [`add`](Self::add).
    pub fn tags(&self, names: &[Box<str>]) -> Tags {
        let mut all: Vec<Arc<Tag>> = names.iter().map(|name| self.0.take(name)).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Tags(all.into())
    }

    /// Links a response to its tags.
    pub fn add(&self, stored: &Arc<Stored>) {
        for tag in &stored.tags.0 {
            let mut list = lock(&tag.list);
            if list.len() == list.capacity() {
                // Less than double: most of what is stored is lists like this.
                let room = list.len() / 4 + 1;
                list.reserve_exact(room);
            }
            list.push(Arc::downgrade(stored));
            tag.links.store(list.len() as u32, Ordering::Relaxed);
        }
    }

    /// Shows `each` every response that carries exactly this tag. One that is added meanwhile may be left
    /// out, one that is there already is not.
    pub fn visit(&self, tag: &str, mut each: impl FnMut(Arc<Stored>)) -> Work {
        let mut work = Work::default();
        let Some(tag) = self.0.get(tag) else { return work };
        let mut slice = Vec::with_capacity(SLICE.min(tag.links.load(Ordering::Relaxed) as usize));
        // From the end: tidying puts the last link in the place of a dead one, so what moves is what was
        // seen, or stays in front.
        let mut at = usize::MAX;
        while at > 0 {
            let list = lock(&tag.list);
            at = at.min(list.len());
            let from = at.saturating_sub(SLICE);
            let links = list.get(from..at).unwrap_or_default();
            work.count(links.len());
            slice.extend(links.iter().filter_map(Weak::upgrade));
            drop(list);
            at = from;
            // Behind the lock: whoever drops a response last takes it.
            slice.drain(..).for_each(&mut each);
        }
        work
    }

    /// Links under a tag, dead ones included: what a visit will cost.
    pub fn links(&self, tag: &str) -> usize {
        self.0.get(tag).map_or(0, |tag| tag.links.load(Ordering::Relaxed) as usize)
    }

    /// Removes dead links from the long lists that have many.
    pub fn tidy(&self) -> Work {
        let mut work = Work::default();
        let untidy = std::mem::take(&mut *lock(&self.0.untidy));
        for tag in untidy {
            tag.queued.store(false, Ordering::Release);
            tag.tidy(&mut work);
        }
        work
    }

    /// Tags known.
    pub fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Tags {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tag| &*tag.name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|tag| (*tag.name).cmp(name)).is_ok()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes held. Whoever brings a tag pays for it.
    pub fn weight(&self) -> usize {
        let of_tag = |tag: &Arc<Tag>| {
            let is_new = tag.links.load(Ordering::Relaxed) <= 1;
            LINK_COST + if is_new { tag.name.len() + TAG_COST } else { 0 }
        };
        self.0.iter().map(of_tag).sum()
    }
}

impl Clone for Tags {
    fn clone(&self) -> Self {
        for tag in &self.0 {
            tag.carriers.fetch_add(1, Ordering::Relaxed);
        }
        Self(self.0.clone())
    }
}

impl Drop for Tags {
    fn drop(&mut self) {
        for tag in &self.0 {
            if let Some(table) = tag.table.upgrade() {
                table.give_back(tag);
            }
        }
    }
}

impl Table {
    /// The tag with one carrier more.
    fn take(self: &Arc<Self>, name: &str) -> Arc<Tag> {
        let mut shard = self.shard(name);
        let tag = if let Some(Named(tag)) = shard.get(name) {
            Arc::clone(tag)
        } else {
            let tag = Arc::new(Tag::new(name, Arc::downgrade(self)));
            shard.insert(Named(Arc::clone(&tag)));
            tag
        };
        // Under the lock, so that `forget` sees it.
        tag.carriers.fetch_add(1, Ordering::Relaxed);
        tag
    }

    fn get(&self, name: &str) -> Option<Arc<Tag>> {
        self.shard(name).get(name).map(|Named(tag)| Arc::clone(tag))
    }

    /// One carrier less. Every link of a response is dead by the time its tags are dropped.
    fn give_back(&self, tag: &Arc<Tag>) {
        let left = tag.carriers.fetch_sub(1, Ordering::AcqRel) - 1;
        let links = tag.links.load(Ordering::Relaxed);
        if left == 0 {
            self.forget(tag);
        } else if links.saturating_sub(left) <= left / 4 {
            // Tidy enough; so each of the dead pays for five links looked at.
        } else if links as usize <= SLICE {
            tag.tidy(&mut Work::default());
        } else if !tag.queued.swap(true, Ordering::AcqRel) {
            lock(&self.untidy).push(Arc::clone(tag));
        }
    }

    fn forget(&self, tag: &Arc<Tag>) {
        let forgotten = {
            let mut shard = self.shard(&tag.name);
            // Somebody may have taken it, or a new one of its name may stand there.
            let is_it = shard.get(&*tag.name).is_some_and(|Named(known)| Arc::ptr_eq(known, tag));
            if is_it && tag.carriers.load(Ordering::Acquire) == 0 { shard.take(&*tag.name) } else { None }
        };
        drop(forgotten);
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, HashSet<Named, ahash::RandomState>> {
        let hash = self.hasher.hash_one(name);
        // The modulus keeps it inside.
        lock(&self.shards[(hash % SHARDS as u64) as usize])
    }
}

impl Tag {
    fn new(name: &str, table: Weak<Table>) -> Self {
        Self {
            name: name.into(),
            table,
            carriers: AtomicU32::new(0),
            links: AtomicU32::new(0),
            queued: AtomicBool::new(false),
            list: Mutex::default(),
        }
    }

    /// Removes dead links, from the end, a slice at a time.
    fn tidy(&self, work: &mut Work) {
        let mut at = usize::MAX;
        while at > 0 {
            let mut list = lock(&self.list);
            let end = at.min(list.len());
            at = end.saturating_sub(SLICE);
            work.count(end - at);
            for link in (at..end).rev() {
                if list.get(link).is_some_and(|link| link.strong_count() == 0) {
                    list.swap_remove(link);
                }
            }
            if at == 0 {
                let length = list.len();
                if list.capacity() > length * 2 {
                    list.shrink_to(length + length / 4);
                }
            }
            self.links.store(list.len() as u32, Ordering::Relaxed);
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.links += other.links;
        self.locked = self.locked.max(other.locked);
    }
}

impl Work {
    fn count(&mut self, links: usize) {
        self.links += links;
        self.locked = self.locked.max(links);
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: ahash::RandomState::new(),
            untidy: Mutex::default(),
        }
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Named {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
