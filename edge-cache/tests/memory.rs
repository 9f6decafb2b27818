//! What a million objects of 1 KiB take, measured from outside: the resident memory of this process.
//!
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use common::http::forwarded::Scheme;
use edge_cache::invalidate::index::Tags;
use edge_cache::key::CacheKey;
use edge_cache::policy::cache_control::CacheControl;
use edge_cache::policy::coding::Coding;
use edge_cache::policy::freshness::Freshness;
use edge_cache::store::{Content, Head, Store, Stored};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const OBJECTS: u64 = 1_000_000;
const BODY: usize = 1024;
const MIB: u64 = 1 << 20;

#[test]
fn overhead_of_a_million_objects() {
    alone("overhead_of_a_million_objects", || {
        let before = resident();
        let store = Store::new(1 << 40);
        let held = fill(&store, OBJECTS);
        let taken = resident() - before;
        assert_eq!(store.objects(), OBJECTS);
        let overhead = taken.saturating_sub(held) / OBJECTS;
        println!("note: a million objects of 1 KiB: {overhead} bytes of overhead each, the key's among them");
        assert!(overhead <= 400, "{overhead} bytes of overhead for each object");
        let weighed = store.bytes();
        assert!(
            (taken * 9 / 10..taken * 5 / 4).contains(&weighed),
            "{weighed} bytes by weight, {taken} in truth"
        );
    });
}

#[test]
fn the_limit_is_kept_while_a_million_objects_come_and_go() {
    alone("the_limit_is_kept_while_a_million_objects_come_and_go", || {
        let limit = 256 * MIB;
        let store = Store::new(limit);
        fill(&store, OBJECTS);
        let (weighed, resident) = (store.bytes() / MIB, resident());
        println!("note: a limit of 256 MiB: {weighed} MiB by weight, {} MiB resident", resident / MIB);
        assert!(store.bytes() <= limit);
        assert!(resident <= limit * 5 / 4 + 30 * MIB, "{} MiB resident", resident / MIB);
    });
}

/// Runs `work` in a process of its own, since the memory of this one holds what other tests left.
fn alone(name: &str, work: fn()) {
    const CHILD: &str = "MEMORY_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return work();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter(|line| line.starts_with("note: ")) {
        println!("{line}");
    }
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Stores objects as the fetch does, and gives the bytes of their headers, as they were on the wire, and bodies.
fn fill(store: &Store, count: u64) -> u64 {
    let now = SystemTime::now();
    let mut bytes = 0;
    for number in 0..count {
        let headers = headers(number);
        let wire: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        bytes += (wire + BODY) as u64;
        let directives = CacheControl::of(&headers);
        let freshness = Freshness::of(StatusCode::OK, &headers, &directives, now, now);
        let head = Head::new(StatusCode::OK, headers, &directives, freshness, &HeaderMap::new(), true);
        let chunks = vec![Bytes::from(vec![number as u8; BODY])];
        let content =
            Content { chunks, coding: Coding::Identity, identity_length: BODY as u64, coded_here: false };
        let key = CacheKey::new(Scheme::Http, "site.example", &format!("/node/{number}"));
        let stored = Arc::new(Stored::new(key.clone(), &head, Tags::default(), &content));
        // As it is once it has been sent.
        drop(stored.share());
        store.insert(&key, &stored, 32);
    }
    store.settle();
    bytes
}

/// What Drupal sends with an anonymous page.
fn headers(number: u64) -> HeaderMap {
    let etag = format!("\"{}\"", 1_700_000_000 + number);
    [
        ("date", "Tue, 24 Nov 2026 18:30:00 GMT"),
        ("server", "enjambre"),
        ("cache-control", "max-age=900, public"),
        ("expires", "Sun, 19 Nov 1978 05:00:00 GMT"),
        ("last-modified", "Tue, 24 Nov 2026 18:29:41 GMT"),
        ("etag", &etag),
        ("vary", "Cookie"),
        ("content-language", "en"),
        ("content-type", "text/html; charset=UTF-8"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-generator", "Drupal 10 (https://www.drupal.org)"),
        ("x-drupal-cache", "HIT"),
        ("x-drupal-dynamic-cache", "MISS"),
        ("via", "1.1 edge-cache"),
    ]
    .into_iter()
    .map(|(name, value)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    })
    .collect()
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
