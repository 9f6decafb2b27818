//! Fetches and invalidations at the same time: once an invalidation has returned, nothing older is found.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::fetch::Seat;
use crate::invalidate::expression::Expression;
use crate::invalidate::{Command, Mode};
use crate::policy::vary::Selector;
use crate::store::Lookup;

const URLS: usize = 24;
const TAGS: usize = 4;
const PURGES: usize = 20_000;

struct World {
    parts: Parts,
    keys: Vec<CacheKey>,
    /// What the origin would answer with.
    versions: Vec<AtomicU64>,
    over: AtomicBool,
    stored: AtomicU64,
}

impl World {
    fn fetch(&self, url: usize) {
        let key = &self.keys[url];
        let Seat::Leader(lead) = self.parts.flights.join(key, Selector::default(), &self.parts.epochs) else {
            return;
        };
        let version = self.versions[url].load(Ordering::SeqCst);
        if version.is_multiple_of(3) {
            thread::yield_now();
        }
        let tags = self.parts.tags.tags(&names(&[&format!("tag:{}", url % TAGS), "all"]));
        let stored = response(key.as_str(), &HeaderMap::new(), &[], tags, &version.to_string());
        if self.parts.view().put(&lead, lead.began(), &stored, MAX_VARIANTS) {
            self.stored.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn purge(&self, covered: &[usize], scope: Scope) {
        let least: Vec<u64> =
            covered.iter().map(|url| self.versions[*url].fetch_add(1, Ordering::SeqCst) + 1).collect();
        let taken = self.parts.view().mark(&Command { scope, mode: Mode::Hard }, SystemTime::now());
        for (url, least) in covered.iter().zip(least) {
            if let Lookup::Found(stored) = self.parts.store.lookup(&self.keys[*url], &HeaderMap::new()) {
                let version = body(&stored);
                assert!(version >= least, "{} has version {version} after {least}", self.keys[*url]);
            }
        }
        taken.gone.iter().for_each(|key| self.parts.store.remove_gone(key));
    }

    fn purger(&self, seed: usize) {
        for number in 0..PURGES {
            let pick = number * 7 + seed;
            let url = pick % URLS;
            match pick % 5 {
                0 => self.purge(&[url], Scope::Url(vec![self.keys[url].clone()])),
                1 | 2 => {
                    let tag = pick % TAGS;
                    let covered: Vec<usize> = (0..URLS).filter(|url| url % TAGS == tag).collect();
                    self.purge(&covered, Scope::Tags(names(&[&format!("tag:{tag}")])));
                }
                3 => {
                    let ban = Expression::parse(&format!("path == /{url}")).unwrap();
                    self.purge(&[url], Scope::Matching(ban));
                }
                _ if pick % 10 == 4 => self.purge(&(0..URLS).collect::<Vec<_>>(), Scope::Everything),
                _ => self.purge(&(0..URLS).collect::<Vec<_>>(), Scope::Tags(names(&["all"]))),
            }
        }
    }
}

#[test]
fn an_invalidation_is_never_overtaken() {
    let world = World {
        parts: Parts::new(),
        keys: (0..URLS).map(|url| key(&format!("http://a/{url}"))).collect(),
        versions: (0..URLS).map(|_| AtomicU64::new(0)).collect(),
        over: AtomicBool::new(false),
        stored: AtomicU64::new(0),
    };
    let world = &world;
    thread::scope(|threads| {
        for filler in 0..3 {
            threads.spawn(move || {
                let mut url = filler;
                while !world.over.load(Ordering::Relaxed) {
                    world.fetch(url % URLS);
                    world.parts.tags.tidy();
                    url += 5;
                }
            });
        }
        let purgers = [0, 3].map(|seed| threads.spawn(move || world.purger(seed)));
        let results = purgers.map(thread::ScopedJoinHandle::join);
        world.over.store(true, Ordering::Relaxed);
        results.into_iter().for_each(Result::unwrap);
    });
    assert!(world.stored.load(Ordering::Relaxed) > 0, "nothing was ever stored");
}
