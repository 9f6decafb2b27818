use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use http::HeaderMap;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::Stored;
use crate::key::CacheKey;
use crate::policy::vary::Selector;

/// The bounded store. Every operation is synchronous and short.
#[derive(Debug)]
pub struct Store {
    resources: Cache<CacheKey, Arc<Resource>, RandomState>,
    /// Hit-for-miss: URLs whose last response could not be stored, so that requests for them do not
    /// wait for each other (varnish-cache#1799).
    uncacheable: Cache<Box<[u8]>, (), RandomState>,
}

/// What is stored under one key: the variants that `Vary` tells apart, the newest first.
#[derive(Debug)]
struct Resource(Vec<Arc<Stored>>);

/// What a look-up found.
#[derive(Debug)]
pub enum Lookup {
    Found(Arc<Stored>),
    /// Nothing under this key.
    UriMiss,
    /// Only variants for other requests; how the newest of them was selected.
    VaryMiss(Selector),
}

fn uncacheable_name(key: &CacheKey, selection: &[u8]) -> Box<[u8]> {
    [key.as_str().as_bytes(), selection].concat().into()
}

impl Resource {
    fn live(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.0.iter().filter(|stored| !stored.is_gone())
    }
}

impl Lookup {
    /// What `request` has in the fields that the URL is known to vary on: requests that differ there
    /// do not wait for each other.
    pub fn selection(&self, request: &HeaderMap) -> Vec<u8> {
        let selector = match self {
            Self::UriMiss => return Vec::new(),
            Self::Found(stored) => stored.head.selector.same_fields(request),
            Self::VaryMiss(selector) => selector.same_fields(request),
        };
        let mut selection = Vec::new();
        selector.append_to(&mut selection);
        selection
    }
}

/// Variants of one URL beyond which the oldest goes.
const MAX_VARIANTS: usize = 32;
/// URLs remembered as uncacheable, and for how long.
const MAX_UNCACHEABLE: u64 = 100_000;
const UNCACHEABLE_FOR: Duration = Duration::from_mins(2);

impl Store {
    /// A store of at most `memory` bytes.
    pub fn new(memory: u64) -> Self {
        let resources = Cache::builder()
            .max_capacity(memory)
            .weigher(|key: &CacheKey, resource: &Arc<Resource>| {
                let bytes =
                    key.as_str().len() + resource.0.iter().map(|stored| stored.weight()).sum::<usize>();
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .build_with_hasher(RandomState::new());
        let uncacheable = Cache::builder()
            .max_capacity(MAX_UNCACHEABLE)
            .time_to_live(UNCACHEABLE_FOR)
            .build_with_hasher(RandomState::new());
        Self { resources, uncacheable }
    }

    /// The newest variant that `request` selects.
    pub fn lookup(&self, key: &CacheKey, request: &HeaderMap) -> Lookup {
        let Some(resource) = self.resources.get(key.as_str()) else { return Lookup::UriMiss };
        match resource.live().find(|stored| stored.head.selector.matches(request)) {
            Some(stored) => Lookup::Found(Arc::clone(stored)),
            None => match resource.live().next() {
                Some(newest) => Lookup::VaryMiss(newest.head.selector.clone()),
                None => Lookup::UriMiss,
            },
        }
    }

    /// Stores a response in the place of the variant with the same selector.
    pub fn insert(&self, key: &CacheKey, stored: &Arc<Stored>) {
        self.resources.entry(key.clone()).and_compute_with(|entry| {
            let mut variants = vec![Arc::clone(stored)];
            if let Some(entry) = entry {
                let others = entry.value().live();
                variants.extend(others.filter(|old| old.head.selector != stored.head.selector).cloned());
                variants.truncate(MAX_VARIANTS);
            }
            Op::Put(Arc::new(Resource(variants)))
        });
    }

    /// Every variant under `key`.
    pub fn variants(&self, key: &CacheKey) -> Vec<Arc<Stored>> {
        self.resources.get(key.as_str()).map(|resource| resource.0.clone()).unwrap_or_default()
    }

    /// Every variant under the keys that `wanted` chooses. Looks at all of them, without a lock that a
    /// look-up would wait for.
    pub fn matching(&self, wanted: impl Fn(&CacheKey) -> bool) -> Vec<Arc<Stored>> {
        self.resources
            .iter()
            .filter(|(key, _)| wanted(key))
            .flat_map(|(_, resource)| resource.0.clone())
            .collect()
    }

    /// Gives the memory of invalidated variants back.
    pub fn remove_gone(&self, key: &CacheKey) {
        self.resources.entry(key.clone()).and_compute_with(|entry| {
            let Some(entry) = entry else { return Op::Nop };
            let live: Vec<Arc<Stored>> = entry.value().live().cloned().collect();
            match live.len() {
                0 => Op::Remove,
                same if same == entry.value().0.len() => Op::Nop,
                _ => Op::Put(Arc::new(Resource(live))),
            }
        });
    }

    /// Forgets every variant of `key`; whether there was one.
    pub fn remove(&self, key: &CacheKey) -> bool {
        self.resources.remove(key.as_str()).is_some()
    }

    /// Notes whether the last answer to requests with this selection could be stored.
    pub fn note_cacheable(&self, key: &CacheKey, selection: &[u8], cacheable: bool) {
        let name = uncacheable_name(key, selection);
        if cacheable {
            self.uncacheable.invalidate(&name);
        } else {
            self.uncacheable.insert(name, ());
        }
    }

    pub fn is_uncacheable(&self, key: &CacheKey, selection: &[u8]) -> bool {
        self.uncacheable.contains_key(&uncacheable_name(key, selection))
    }

    /// Keys stored.
    pub fn objects(&self) -> u64 {
        self.resources.entry_count()
    }

    /// Bytes held, by weight.
    pub fn bytes(&self) -> u64 {
        self.resources.weighted_size()
    }
}
