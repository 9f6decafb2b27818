//! The pure steps of a hit in edge-cache: `cargo bench -p bench-micro --bench edge [-- FILTER]`.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::http::forwarded::Scheme;
use common::listener::Peer;
use common::shutdown::Shutdown;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use edge_cache::Config;
use edge_cache::invalidate::TagIndex;
use edge_cache::key::CacheKey;
use edge_cache::live::Live;
use edge_cache::lookup::plan;
use edge_cache::policy::cache_control::CacheControl;
use edge_cache::policy::coding::Coding;
use edge_cache::policy::freshness::{Freshness, Source};
use edge_cache::request::{admit, normalise};
use edge_cache::respond::{Verdict, from_store};
use edge_cache::store::fields::{self, Fields};
use edge_cache::store::{Content, Head, Store, Stored};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, request};

fn key(c: &mut Criterion) {
    let mut group = c.benchmark_group("key");
    group.bench_function("of the request's parts", |b| {
        b.iter(|| CacheKey::new(Scheme::Https, black_box("site.example"), black_box("/node/1?page=2")));
    });
    let key = CacheKey::new(Scheme::Https, "site.example", "/node/1?page=2");
    group.bench_function("its parts", |b| {
        b.iter(|| (black_box(&key).host_name().len(), black_box(&key).host_and_target().1.len()));
    });
    group.bench_function("of a reference", |b| b.iter(|| key.join_same_origin(black_box("../a/b?c"))));
    group.finish();
}

fn request(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    let peer = peer();
    for preset in ["none", "drupal"] {
        let live = live(preset);
        group.bench_function(format!("normalise and admit, preset {preset}"), |b| {
            b.iter_batched(
                browser,
                |head| {
                    let mut request = normalise(head, &peer, Scheme::Http, Arc::clone(&live)).unwrap();
                    let admission = admit(&mut request, false);
                    (request, admission)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide");
    let now = SystemTime::now();
    let request = normalise(browser(), &peer(), Scheme::Http, live("none")).unwrap();
    let store = Store::new(64 << 20);
    for number in 0..1000 {
        let key = request.key.with_target(&format!("/node/{number}"));
        store.insert(&key, &stored(&key, now), 8);
    }
    store.insert(&request.key, &stored(&request.key, now), 8);
    group.bench_function("look up among 1,000", |b| {
        b.iter(|| store.lookup(black_box(&request.key), &request.head.headers));
    });
    let found = store.lookup(&request.key, &request.head.headers);
    group.bench_function("plan a hit", |b| {
        b.iter(|| {
            let wishes = CacheControl::of(&request.head.headers);
            plan(black_box(&found), &request, &wishes, now)
        });
    });
    let stored = stored(&request.key, now);
    group.bench_function("answer from the store", |b| {
        b.iter(|| from_store(black_box(&request.head), &stored, Verdict::Hit, now));
    });
    let headers = drupal();
    group.bench_function("Cache-Control", |b| {
        b.iter(|| CacheControl::of(black_box(&headers)));
    });
    group.finish();
}

fn header_packing(c: &mut Criterion) {
    let mut group = c.benchmark_group("header packing");
    let headers = drupal();
    group.bench_function("pack", |b| {
        b.iter(|| {
            let mut out = Vec::with_capacity(fields::bound(&headers));
            fields::pack(black_box(&headers), |_| false, &mut out);
            out
        });
    });
    let mut packed = Vec::new();
    fields::pack(&headers, |_| false, &mut packed);
    let block = bytes::Bytes::from(packed);
    group.bench_function("to headers", |b| b.iter(|| Fields::new(&block).to_headers(&block, 8)));
    let last = HeaderName::from_static("x-generator");
    group.bench_function("find one", |b| b.iter(|| Fields::new(black_box(&block)).get(&last)));
    group.finish();
}

fn stored(key: &CacheKey, now: SystemTime) -> Arc<Stored> {
    let headers = drupal();
    let directives = CacheControl::of(&headers);
    let freshness = Freshness {
        lifetime: Duration::from_hours(1),
        source: Source::MaxAge,
        initial_age: Duration::ZERO,
        received: now,
    };
    let head = Head::new(StatusCode::OK, headers, &directives, freshness, &HeaderMap::new(), false);
    let chunks = vec![bytes::Bytes::from(vec![b'x'; 1024])];
    let content = Content { chunks, coding: Coding::Identity, identity_length: 1024, coded_here: false };
    let tags = TagIndex::default().tags(&["node:1".into()]);
    Arc::new(Stored::new(key.clone(), &head, tags, &content))
}

fn live(preset: &str) -> Arc<Live> {
    let preset = format!("--preset={preset}");
    let config = Config::from_flags([&*preset]).unwrap();
    Arc::new(Live::new(config, &Shutdown::new(Duration::ZERO), None).unwrap())
}

fn peer() -> Peer {
    Peer::Tcp { client: "192.0.2.1:4711".parse().unwrap(), local: "10.0.0.1:80".parse().unwrap() }
}

fn browser() -> request::Parts {
    let request = Request::get("/node/1?page=2")
        .header("host", "site.example")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br")
        .header("cookie", "_ga=GA1.2.345678901.1234567890")
        .header("connection", "keep-alive");
    request.body(()).unwrap().into_parts().0
}

/// What Drupal sends with a page.
fn drupal() -> HeaderMap {
    let fields = [
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-type", "text/html; charset=UTF-8"),
        ("cache-control", "max-age=3600, public"),
        ("etag", "\"1234567890\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("vary", "Cookie"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
        ("content-language", "en"),
        ("expires", "Sun, 19 Nov 1978 05:00:00 GMT"),
        ("x-drupal-dynamic-cache", "MISS"),
        ("x-own-field", "of the site"),
        ("x-generator", "Drupal 10 (https://www.drupal.org)"),
    ];
    let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    fields.map(pair).into_iter().collect()
}

criterion_group!(benches, key, request, decide, header_packing);
criterion_main!(benches);
