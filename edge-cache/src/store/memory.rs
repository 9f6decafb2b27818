use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ahash::RandomState;
use http::HeaderMap;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::{Cause, Stored, Turnover};
use crate::invalidate::Mode;
use crate::key::CacheKey;
use crate::policy::storable::NotStored;
use crate::policy::vary::{Selector, SelectorRef};

/// The bounded store. Every operation is synchronous and short.
#[derive(Debug)]
pub struct Store {
    resources: Cache<CacheKey, Resource, RandomState>,
    /// Hit-for-miss: URLs whose last response could not be stored, so that requests for them do not
    /// wait for each other (varnish-cache#1799).
    uncacheable: Cache<Box<[u8]>, NotStored, RandomState>,
    /// Bytes that the variants of one URL may take together.
    resource_limit: usize,
    turnover: Arc<Turnover>,
}

/// What is stored under one key: the variants that `Vary` tells apart, the newest first.
#[derive(Debug, Clone)]
enum Resource {
    /// By far the most.
    One(Arc<Stored>),
    Many(Arc<[Arc<Stored>]>),
}

/// What a look-up found.
#[derive(Debug)]
pub enum Lookup {
    Found(Arc<Stored>),
    /// Nothing under this key.
    UriMiss,
    /// Only variants for other requests; how the newest of them was selected.
    VaryMiss(Selector),
    /// Nothing but these parts of the response.
    Parts(Vec<Arc<Stored>>),
    /// The response is there, in a coding that the client does not accept and that cannot be undone.
    Unacceptable(Selector),
}

/// The variants of a URL are as many as are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exploded {
    /// The field of `Vary` that tells the most of them apart.
    pub header: Box<str>,
}

fn uncacheable_name(key: &CacheKey, selection: &[u8]) -> Box<[u8]> {
    [key.as_str().as_bytes(), selection].concat().into()
}

/// No key begins like this, so it is nobody else's name.
fn range_name(key: &CacheKey, selection: &[u8]) -> Box<[u8]> {
    [b"range ", key.as_str().as_bytes(), selection].concat().into()
}

impl Resource {
    fn of(mut variants: Vec<Arc<Stored>>) -> Option<Self> {
        match variants.len() {
            0 | 1 => variants.pop().map(Self::One),
            _ => Some(Self::Many(variants.into())),
        }
    }

    fn all(&self) -> &[Arc<Stored>] {
        match self {
            Self::One(stored) => std::slice::from_ref(stored),
            Self::Many(all) => all,
        }
    }

    fn live(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.all().iter().filter(|stored| !stored.is_gone())
    }
}

impl Lookup {
    /// What `request` has in the fields that the URL is known to vary on: requests that differ there
    /// do not wait for each other.
    pub fn selection(&self, request: &HeaderMap) -> Selector {
        match self {
            Self::UriMiss => Selector::default(),
            Self::Parts(parts) => {
                parts.first().map_or_else(Selector::default, |part| part.selector().same_fields(request))
            }
            Self::Found(stored) => stored.selector().same_fields(request),
            Self::VaryMiss(selector) | Self::Unacceptable(selector) => selector.as_ref().same_fields(request),
        }
    }
}

/// The part of the memory that the variants of one URL may take.
const RESOURCE_SHARE: u64 = 4;
/// No selector is this.
const EXPLODED: &[u8] = b"\xff";
/// URLs remembered as uncacheable, and for how long.
const MAX_UNCACHEABLE: u64 = 100_000;
const UNCACHEABLE_FOR: Duration = Duration::from_mins(2);

impl Store {
    /// A store of at most `memory` bytes.
    pub fn new(memory: u64) -> Self {
        let turnover = Arc::new(Turnover::default());
        let noted = Arc::clone(&turnover);
        let resources = Cache::builder()
            .max_capacity(memory)
            .eviction_listener(move |_, resource: Resource, cause| {
                noted.removed(resource.all().iter().map(|stored| &**stored), cause);
            })
            .weigher(|key: &CacheKey, resource: &Resource| {
                let variants: usize = resource.all().iter().map(|stored| stored.weight()).sum();
                u32::try_from(key.as_str().len() + variants).unwrap_or(u32::MAX)
            })
            .build_with_hasher(RandomState::new());
        let uncacheable = Cache::builder()
            .max_capacity(MAX_UNCACHEABLE)
            .time_to_live(UNCACHEABLE_FOR)
            .build_with_hasher(RandomState::new());
        Self { resources, uncacheable, resource_limit: (memory / RESOURCE_SHARE) as usize, turnover }
    }

    /// The newest variant that `request` selects.
    pub fn lookup(&self, key: &CacheKey, request: &HeaderMap) -> Lookup {
        self.lookup_as(key, |_| request)
    }

    /// The same, for a request that is completed only if it has to be: `fields` is told whether a variant was selected
    /// by [fields that this proxy sets](crate::request::forwarding).
    pub fn lookup_as<'a>(&self, key: &CacheKey, fields: impl FnOnce(bool) -> &'a HeaderMap) -> Lookup {
        let Some(resource) = self.resources.get(key.as_str()) else { return Lookup::UriMiss };
        let request = fields(resource.all().iter().any(|stored| stored.varies_on_forwarded));
        let mut unacceptable = None;
        let whole = |stored: &&Arc<Stored>| !stored.is_part();
        for stored in resource.live().filter(whole).filter(|stored| stored.selector().matches(request)) {
            if stored.form(request).is_some() {
                return Lookup::Found(Arc::clone(stored));
            }
            unacceptable = Some(stored);
        }
        // Only when there is none that was chosen for the very same fields.
        if let Some(stored) = resource.live().filter(whole).find(|stored| stored.is_first_choice_of(request))
        {
            return Lookup::Found(Arc::clone(stored));
        }
        let is_part = |stored: &&Arc<Stored>| stored.is_part() && stored.selector().matches(request);
        let parts: Vec<Arc<Stored>> = resource.live().filter(is_part).cloned().collect();
        if !parts.is_empty() {
            return Lookup::Parts(parts);
        }
        match (unacceptable, resource.live().next()) {
            (Some(stored), _) => Lookup::Unacceptable(stored.selector().to_owned()),
            (None, Some(newest)) => Lookup::VaryMiss(newest.selector().to_owned()),
            (None, None) => Lookup::UriMiss,
        }
    }

    /// Stores a response in the place of the variant with the same selector. Beyond `max` variants, or beyond what
    /// one URL may take, the oldest go.
    pub fn insert(&self, key: &CacheKey, stored: &Arc<Stored>, max: usize) {
        let mut replaced = Vec::new();
        self.resources.entry(key.clone()).and_compute_with(|entry| {
            let mut variants = vec![Arc::clone(stored)];
            let mut bytes = stored.weight();
            if let Some(entry) = entry {
                for old in entry.value().live() {
                    if stored.replaces(old) {
                        self.turnover.count(old, Cause::Replaced);
                    } else if variants.len() < max && bytes + old.weight() <= self.resource_limit {
                        bytes += old.weight();
                        variants.push(Arc::clone(old));
                        continue;
                    } else {
                        self.turnover.count(old, Cause::Variants);
                    }
                    replaced.push(Arc::clone(old));
                }
            }
            self.turnover.put(variants.len());
            Resource::of(variants).map_or(Op::Nop, Op::Put)
        });
        // Nobody finds it any more; whoever still sends it keeps it in the index of tags for a while.
        for old in replaced {
            old.invalidate(Mode::Hard, SystemTime::now());
        }
    }

    /// Puts `new` in the place of `old`; whether that was still there.
    pub fn recode(&self, key: &CacheKey, old: &Arc<Stored>, new: &Arc<Stored>) -> bool {
        let mut found = false;
        self.resources.entry(key.clone()).and_compute_with(|entry| {
            let Some(entry) = entry else { return Op::Nop };
            let put = |stored: &Arc<Stored>| {
                let is_it = Arc::ptr_eq(stored, old) && !old.is_gone();
                found |= is_it;
                Arc::clone(if is_it { new } else { stored })
            };
            let variants: Vec<Arc<Stored>> = entry.value().all().iter().map(put).collect();
            if !found {
                return Op::Nop;
            }
            self.turnover.put(variants.len());
            Resource::of(variants).map_or(Op::Nop, Op::Put)
        });
        if found {
            // Nobody finds it any more, so no invalidation is to count it.
            old.invalidate(Mode::Hard, SystemTime::now());
        }
        found
    }

    /// Whether one more variant, for `selector`, has a place among at most `max` of this URL that are fresh.
    pub fn admits(&self, key: &CacheKey, selector: &Selector, max: usize) -> Result<(), Exploded> {
        let Some(resource) = self.resources.get(key.as_str()) else { return Ok(()) };
        let now = SystemTime::now();
        let others: Vec<&Arc<Stored>> = resource
            .live()
            .filter(|old| !old.is_part() && old.selector() != selector.as_ref())
            .filter(|old| old.freshness().is_fresh(now))
            .collect();
        if others.len() < max {
            return Ok(());
        }
        let mut values: HashMap<&str, HashSet<Option<&[u8]>>> = HashMap::new();
        let all = others.iter().map(|stored| stored.selector()).chain([selector.as_ref()]);
        for (name, value) in all.flat_map(SelectorRef::iter) {
            values.entry(name).or_default().insert(value);
        }
        let most = values.iter().max_by_key(|(name, values)| (values.len(), std::cmp::Reverse(**name)));
        Err(Exploded { header: most.map_or("none", |(name, _)| name).into() })
    }

    /// Every variant under `key`.
    pub fn variants(&self, key: &CacheKey) -> Vec<Arc<Stored>> {
        self.resources.get(key.as_str()).map(|resource| resource.all().to_vec()).unwrap_or_default()
    }

    /// Every variant that `wanted` chooses. Looks at all of them, without a lock that a look-up would wait
    /// for.
    pub fn matching(&self, wanted: impl Fn(&Stored) -> bool) -> Vec<Arc<Stored>> {
        let mut matching = Vec::new();
        for (_, resource) in &self.resources {
            matching.extend(resource.live().filter(|stored| wanted(stored)).cloned());
        }
        matching
    }

    /// Gives the memory of invalidated variants back.
    pub fn remove_gone(&self, key: &CacheKey) {
        self.resources.entry(key.clone()).and_compute_with(|entry| {
            let Some(entry) = entry else { return Op::Nop };
            let live: Vec<Arc<Stored>> = entry.value().live().cloned().collect();
            if live.len() == entry.value().all().len() {
                return Op::Nop;
            }
            self.turnover.put(live.len());
            Resource::of(live).map_or(Op::Remove, Op::Put)
        });
    }

    /// Forgets every variant of `key`; whether there was one.
    pub fn remove(&self, key: &CacheKey) -> bool {
        let removed = self.resources.remove(key.as_str());
        for stored in removed.iter().flat_map(Resource::all) {
            stored.invalidate(Mode::Hard, SystemTime::now());
        }
        removed.is_some()
    }

    /// Notes whether the last answer to requests with this selection could be stored.
    pub fn note_cacheable(&self, key: &CacheKey, selection: &Selector, verdict: Result<(), NotStored>) {
        let name = uncacheable_name(key, selection.as_bytes());
        match verdict {
            Ok(()) => self.uncacheable.invalidate(&name),
            Err(why) => self.uncacheable.insert(name, why),
        }
    }

    /// Why the last answer to requests with this selection could not be stored.
    pub fn uncacheable_since(&self, key: &CacheKey, selection: &Selector) -> Option<NotStored> {
        self.uncacheable.get(&uncacheable_name(key, selection.as_bytes()))
    }

    pub fn is_uncacheable(&self, key: &CacheKey, selection: &Selector) -> bool {
        self.uncacheable.contains_key(&uncacheable_name(key, selection.as_bytes()))
    }

    /// Notes that ranges of what is under this key are passed on: it is too long to be fetched whole for one.
    pub fn note_range_passes(&self, key: &CacheKey, selection: &Selector) {
        self.uncacheable.insert(range_name(key, selection.as_bytes()), NotStored::RangeLimit);
    }

    pub fn range_passes(&self, key: &CacheKey, selection: &Selector) -> bool {
        self.uncacheable.contains_key(&range_name(key, selection.as_bytes()))
    }

    /// Notes that a URL has too many variants; whether that is news.
    pub fn note_exploded(&self, key: &CacheKey) -> bool {
        let name = uncacheable_name(key, EXPLODED);
        let is_news = !self.uncacheable.contains_key(&name);
        if is_news {
            self.uncacheable.insert(name, NotStored::VariantBudget);
        }
        is_news
    }

    pub fn is_exploded(&self, key: &CacheKey) -> bool {
        self.uncacheable.contains_key(&uncacheable_name(key, EXPLODED))
    }

    /// Brings evictions and the counts below up to date, which otherwise follow within a moment.
    pub fn settle(&self) {
        self.resources.run_pending_tasks();
    }

    /// Keys stored.
    pub fn objects(&self) -> u64 {
        self.resources.entry_count()
    }

    /// Bytes held, by weight.
    pub fn bytes(&self) -> u64 {
        self.resources.weighted_size()
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.resources.policy().max_capacity().unwrap_or(u64::MAX)
    }

    /// URLs remembered as uncacheable.
    pub fn uncacheable(&self) -> u64 {
        self.uncacheable.entry_count()
    }

    pub fn turnover(&self) -> &Turnover {
        &self.turnover
    }
}
