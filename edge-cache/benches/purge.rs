//! What invalidations cost with a million small objects in the store, and what hits notice of it.
//!
//! `cargo bench -p edge-cache --bench purge [-- OBJECTS TAGS]`; with 0 tags it shows what the store holds
//! without them. CPU times are those of the thread that purges; latencies are those of look-ups on another.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark talks to a person")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use edge_cache::fetch::flights::Lead;
use edge_cache::fetch::{Flights, Seat};
use edge_cache::invalidate::expression::Expression;
use edge_cache::invalidate::{Command, Epochs, Mode, Scope, TagIndex, View};
use edge_cache::key::CacheKey;
use edge_cache::policy::cache_control::CacheControl;
use edge_cache::policy::coding::Coding;
use edge_cache::policy::freshness::{Freshness, Source};
use edge_cache::policy::vary::Selector;
use edge_cache::store::{Content, Head, Lookup, Store, Stored};
use http::{HeaderMap, HeaderValue, StatusCode};

struct World {
    store: Store,
    flights: Arc<Flights>,
    tags: TagIndex,
    epochs: Epochs,
    keys: Vec<CacheKey>,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let objects: usize = arguments.next().unwrap_or(1_000_000);
    let tags: usize = arguments.next().unwrap_or(10);
    let world = World {
        store: Store::new(8 << 30),
        flights: Arc::default(),
        tags: TagIndex::default(),
        epochs: Epochs::default(),
        keys: (0..objects)
            .map(|number| CacheKey::of_url(&format!("http://a.example/node/{number}")).unwrap())
            .collect(),
    };
    let before = resident();
    let (started, cpu) = (Instant::now(), thread_cpu());
    for number in 0..objects {
        world.fill(number, tags);
    }
    let took = thread_cpu().saturating_sub(cpu);
    let bytes = (resident() - before) as f64 / objects as f64;
    println!(
        "{objects} objects with {tags} tags each stored in {:?}, {:.2} µs of CPU each; {} tags known; {bytes:.0} bytes resident each",
        started.elapsed(),
        took.as_secs_f64() * 1e6 / objects as f64,
        world.tags.len(),
    );
    world.during("nothing else", || std::thread::sleep(Duration::from_secs(2)));
    world.during("10,000 purges of absent tags, one each", || {
        measured("10,000 purges of absent tags", || {
            for number in 0..10_000 {
                world.purge(tag_scope(&[&format!("absent:{number}")]), Mode::Hard);
            }
            0
        });
    });
    world.during("10,000 purges of absent URLs", || {
        measured("10,000 purges of absent URLs", || {
            for number in 0..10_000 {
                let key = CacheKey::of_url(&format!("http://a.example/absent/{number}")).unwrap();
                world.purge(Scope::Url(vec![key]), Mode::Hard);
            }
            0
        });
    });
    if tags > 0 {
        world.during("a soft purge of a tag on every tenth object", || {
            world.purge_measured("soft purge of a tag", tag_scope(&["tenth:3"]), Mode::Soft);
        });
        world.during("a hard purge of a tag on every tenth object, and its memory given back", || {
            world.purge_measured("hard purge of a tag", tag_scope(&["tenth:3"]), Mode::Hard);
        });
    }
    world.during("a ban of a path and a header that takes every hundredth object", || {
        let ban = Expression::parse("path ~ 42$ && header.content-type == text/*").unwrap();
        world.purge_measured("ban by an expression", Scope::Matching(ban), Mode::Hard);
    });
    world.during("a soft purge of everything", || {
        world.purge_measured("soft purge of everything", Scope::Everything, Mode::Soft);
    });
}

impl World {
    fn view(&self) -> View<'_> {
        View { store: &self.store, flights: &self.flights, tags: &self.tags, epochs: &self.epochs }
    }

    fn lead(&self, key: &CacheKey) -> Lead {
        match self.flights.join(key, Selector::default(), &self.epochs) {
            Seat::Leader(lead) => lead,
            Seat::Follower(_) => unreachable!("only one thread fills"),
        }
    }

    /// A tag that every object has, one of its own, one that every tenth has, and some of twenty thousand.
    fn fill(&self, number: usize, tags: usize) {
        let mut names: Vec<Box<str>> = vec![
            "http_response".into(),
            format!("node:{number}").into(),
            format!("tenth:{}", number % 10).into(),
        ];
        names.extend(
            (3..tags).map(|at| format!("config:block.block.{}", (number * 7 + at * 997) % 20_000).into()),
        );
        names.truncate(tags);
        let key = &self.keys[number];
        let lead = self.lead(key);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/html"));
        let freshness = Freshness {
            lifetime: Duration::from_hours(1),
            source: Source::MaxAge,
            initial_age: Duration::ZERO,
            received: SystemTime::now(),
        };
        let directives = CacheControl::of(&headers);
        let head = Head::new(StatusCode::OK, headers, &directives, freshness, &HeaderMap::new(), false);
        let chunks = vec![Bytes::from(vec![b'x'; 100])];
        let content = Content { chunks, coding: Coding::Identity, identity_length: 100, coded_here: false };
        let stored = Arc::new(Stored::new(key.clone(), &head, self.tags.tags(&names), &content));
        assert!(self.view().put(&lead, lead.began(), &stored, 32));
    }

    fn purge(&self, scope: Scope, mode: Mode) -> usize {
        let taken = self.view().mark(&Command { scope, mode }, SystemTime::now());
        taken.count
    }

    fn purge_measured(&self, what: &str, scope: Scope, mode: Mode) {
        let command = Command { scope, mode };
        let mut taken = None;
        measured(what, || {
            let done = self.view().mark(&command, SystemTime::now());
            println!("  looked at {} links, at most {} under one lock", done.work.links, done.work.locked);
            let count = done.count;
            taken = Some(done);
            count
        });
        let Some(taken) = taken.filter(|taken| !taken.gone.is_empty()) else { return };
        measured("memory given back behind the answer", || {
            taken.gone.iter().for_each(|key| self.store.remove_gone(key));
            taken.gone.len()
        });
        measured("lists tidied", || self.tags.tidy().links);
    }

    /// Looks up at random on another thread while `work` is done.
    fn during(&self, what: &str, work: impl FnOnce()) {
        let over = AtomicBool::new(false);
        let mut times: Vec<u32> = std::thread::scope(|threads| {
            let looker = threads.spawn(|| {
                let mut times = Vec::with_capacity(1 << 20);
                let mut at = 1_usize;
                while !over.load(Ordering::Relaxed) || times.len() < 10_000 {
                    at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let key = &self.keys[(at >> 33) % self.keys.len()];
                    let started = Instant::now();
                    let found = self.store.lookup(key, &HeaderMap::new());
                    let took = started.elapsed();
                    drop::<Lookup>(std::hint::black_box(found));
                    times.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
                }
                times
            });
            work();
            over.store(true, Ordering::Relaxed);
            looker.join().unwrap()
        });
        times.sort_unstable();
        let at = |permille: usize| f64::from(times[(times.len() - 1) * permille / 1000]) / 1e3;
        println!(
            "look-ups during {what}: {} of them, p50 {:.2} µs, p99 {:.2} µs, p99.9 {:.2} µs, longest {:.0} µs",
            times.len(),
            at(500),
            at(990),
            at(999),
            at(1000)
        );
    }
}

fn measured(what: &str, work: impl FnOnce() -> usize) {
    let (started, cpu) = (Instant::now(), thread_cpu());
    let count = work();
    let cpu = thread_cpu().saturating_sub(cpu);
    println!(
        "  {what}: {:.1} ms of CPU, {:?} in all, {count} objects",
        cpu.as_secs_f64() * 1e3,
        started.elapsed()
    );
}

fn tag_scope(tags: &[&str]) -> Scope {
    Scope::Tags(tags.iter().map(|tag| (*tag).into()).collect())
}

/// How long this thread has run.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}
