//! What the cache says of itself: metrics under the names that docs/observing.md gives.

use std::collections::BTreeSet;

use test_support::client::Client;
use test_support::gate::Gate;
use test_support::metrics::Metrics;
use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{Edge, x_cache};
use crate::tls::serving::site;

async fn metrics(edge: &Edge) -> Metrics {
    Metrics::fetch(edge.admin()).await.unwrap()
}

async fn becomes(edge: &Edge, name: &str, labels: &[(&str, &str)], value: f64) {
    wait_until(&format!("{name}{labels:?} to be {value}"), DEADLINE, async || {
        (metrics(edge).await.value(name, labels) - value).abs() < 0.5
    })
    .await;
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    // With TLS: a certificate and a handshake have their own.
    let (_origin, authority, edge) = site(&[]).await;
    authority.client(&["h2"]).connect(edge.tls(), "site.example").await.unwrap();
    edge.metric_becomes("edge_cache_tls_handshakes_total", 1.0).await;
    let none = BTreeSet::new();
    let (documented, described) =
        (Metrics::documented("edge_cache_").unwrap(), metrics(&edge).await.described(""));
    assert_eq!(described.difference(&documented).collect::<BTreeSet<_>>(), none.iter().collect());
    assert_eq!(documented.difference(&described).collect::<BTreeSet<_>>(), none.iter().collect());
    assert!(documented.len() > 20);
}

#[tokio::test]
async fn requests_times_and_bytes_by_decision() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| Reply::ok("hello").header("Cache-Control", "max-age=60"));
    origin.route("/old", |_| {
        Reply::ok("older")
            .header("Cache-Control", "max-age=60, stale-while-revalidate=60")
            .header("Age", "61")
            .header("ETag", "\"a\"")
    });
    origin.route("/cut", |_| Reply::new(200).header("Cache-Control", "no-store").cut(10, "half"));
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.get("/old").await;
    edge.stored(2).await;
    for _ in 0..3 {
        assert_eq!(x_cache(&edge.get("/").await), "HIT");
    }
    assert_eq!(x_cache(&edge.get("/old").await), "STALE");
    assert_eq!(x_cache(&edge.request("POST", "/", &[], b"x").await), "PASS");
    edge.get("/cut").await;
    let requests = [
        ("HIT", "fresh", 3.0),
        ("MISS", "uri-miss", 3.0),
        ("STALE", "while-revalidate", 1.0),
        ("PASS", "method", 1.0),
    ];
    let metrics_now = metrics(&edge).await;
    for (decision, reason, count) in requests {
        let labels = [("decision", decision), ("reason", reason)];
        let counted = metrics_now.value("edge_cache_requests_total", &labels);
        assert!((counted - count).abs() < 0.1, "{decision} {reason}: {counted}");
        let timed = metrics_now.value("edge_cache_request_seconds_count", &labels[..1]);
        assert!((timed - count).abs() < 0.1, "{decision}: {timed}");
        assert!(metrics_now.value("edge_cache_request_seconds_sum", &labels[..1]) > 0.0);
    }
    for (decision, bytes) in [("HIT", 15.0), ("MISS", 14.0), ("STALE", 5.0), ("PASS", 5.0)] {
        becomes(&edge, "edge_cache_sent_bytes_total", &[("decision", decision)], bytes).await;
    }
    becomes(&edge, "edge_cache_broken_total", &[("decision", "MISS")], 1.0).await;
    becomes(&edge, "edge_cache_origin_responses_total", &[("status", "2xx")], 5.0).await;
    let origin_times = metrics(&edge).await.value("edge_cache_origin_seconds_count", &[]);
    assert!((origin_times - 5.0).abs() < 0.1, "{origin_times}");
    let accepted = metrics(&edge).await.value("edge_cache_accepted_connections_total", &[]);
    assert!((accepted - 8.0).abs() < 0.1, "{accepted}");
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_counted() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| Reply::ok("late").held_by(&held));
    let edge = Edge::start(&origin, &[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    gate.arrived(1).await;
    drop(client);
    let labels = [("decision", "ABORTED"), ("reason", "client-gone")];
    becomes(&edge, "edge_cache_requests_total", &labels, 1.0).await;
}

#[tokio::test]
async fn what_leaves_the_store_and_why() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let reply = Reply::ok(vec![b'x'; 10_000]).header("Cache-Control", "max-age=60");
        if request.path() == "/vary" { reply.header("Vary", "X-Kind") } else { reply }
    });
    let edge = Edge::start(&origin, &["--memory=1MiB"]).await;
    let evicted = "edge_cache_evictions_total";

    edge.get("/a").await;
    edge.stored(1).await;
    edge.get_with("/a", &[("Cache-Control", "no-cache")]).await;
    becomes(&edge, evicted, &[("cause", "replaced")], 1.0).await;
    let bytes = metrics(&edge).await.value("edge_cache_evicted_bytes_total", &[("cause", "replaced")]);
    assert!((10_000.0..12_000.0).contains(&bytes), "{bytes}");
    becomes(&edge, "edge_cache_variants", &[], 1.0).await;

    // One URL gets a quarter of the memory: room for two dozen of these.
    for kind in 0..30 {
        edge.get_with("/vary", &[("X-Kind", &kind.to_string())]).await;
    }
    edge.stored(32).await;
    wait_until("the oldest variants to have gone", DEADLINE, async || {
        let now = metrics(&edge).await;
        let (left, held) =
            (now.value(evicted, &[("cause", "variants")]), now.value("edge_cache_variants", &[]));
        left > 3.0 && (left + held - 31.0).abs() < 0.5
    })
    .await;

    // More than fits: there is room for a hundred.
    for page in 0..200 {
        edge.get(&format!("/{page}")).await;
    }
    edge.stored(232).await;
    wait_until("evictions for want of room", DEADLINE, async || {
        let now = metrics(&edge).await;
        let (left, held) = (now.value(evicted, &[("cause", "size")]), now.value("edge_cache_variants", &[]));
        // Every response that was stored is held or has left, for one reason or another.
        left > 50.0 && (232.0 - now.value(evicted, &[]) - held).abs() < 0.5
    })
    .await;
    let bytes = metrics(&edge).await.value("edge_cache_evicted_bytes_total", &[("cause", "size")]);
    assert!(bytes > 500_000.0, "{bytes}");
    assert!((metrics(&edge).await.value("edge_cache_memory_limit_bytes", &[]) - 1_048_576.0).abs() < 0.5);
}

#[tokio::test]
async fn purges_by_kind() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let tag = request.path().trim_start_matches('/').to_owned();
        Reply::ok("x").header("Cache-Control", "max-age=60").header("Cache-Tags", tag)
    });
    let edge = Edge::start(&origin, &["--purge-from=127.0.0.0/8"]).await;
    let stranger = Edge::start(&origin, &[]).await;
    for (count, path) in ["/a", "/b", "/c/d", "/e"].into_iter().enumerate() {
        edge.get(path).await;
        edge.stored(count + 1).await;
    }
    edge.request("PURGE", "/a", &[], b"").await;
    edge.request("PURGE", "/c/*", &[], b"").await;
    edge.request("POST", "/e", &[], b"x").await;
    edge.request("BAN", "/", &[("Cache-Tags", "b")], b"").await;
    assert_eq!(edge.request("BAN", "/", &[], b"").await.status, 400);
    assert_eq!(stranger.request("PURGE", "/a", &[], b"").await.status, 403);
    let now = metrics(&edge).await;
    for kind in ["url", "pattern", "tags"] {
        let labels = [("kind", kind), ("mode", "hard")];
        for name in ["edge_cache_purges_total", "edge_cache_purged_objects_total"] {
            let value = now.value(name, &labels);
            assert!((value - 1.0).abs() < 0.1, "{name} {kind} {value}");
        }
    }
    assert!((now.value("edge_cache_invalidated_total", &[]) - 1.0).abs() < 0.1, "by the POST");
    becomes(&edge, "edge_cache_purges_refused_total", &[("reason", "malformed")], 1.0).await;
    becomes(&stranger, "edge_cache_purges_refused_total", &[("reason", "not-allowed")], 1.0).await;
    becomes(&edge, "edge_cache_variants", &[], 0.0).await;
}
