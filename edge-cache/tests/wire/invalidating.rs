//! PURGE, BAN and tags: what is taken back, and what must not come back.

use std::sync::atomic::{AtomicUsize, Ordering};

use test_support::client;
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply};

use crate::support::{Edge, x_cache};

const OPEN: &[&str] = &["--purge-from=127.0.0.0/8"];

fn tagged(tags: &str) -> Reply {
    Reply::ok("page")
        .header("Cache-Control", "max-age=600")
        .header("ETag", "\"1\"")
        .header("Cache-Tags", tags)
}

/// An edge that has stored a page for each path.
async fn filled(origin: &FakeOrigin, pages: &[(&'static str, &'static str)]) -> Edge {
    for (path, tags) in pages {
        origin.route(path, |_| tagged(tags));
    }
    let edge = Edge::start(origin, OPEN).await;
    for (count, (path, _)) in pages.iter().enumerate() {
        edge.get(path).await;
        edge.stored(count + 1).await;
    }
    edge
}

async fn states(edge: &Edge, paths: &[&str]) -> String {
    let mut states = Vec::new();
    for path in paths {
        states.push(x_cache(&edge.get(path).await).to_owned());
    }
    states.join(" ")
}

#[tokio::test]
async fn a_purge_takes_one_url() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = filled(&origin, &[("/a", "a"), ("/ab", "a")]).await;
    let answer = edge.request("PURGE", "/a", &[], b"").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "invalidated 1\n"));
    assert_eq!(states(&edge, &["/a", "/ab"]).await, "MISS HIT");
    assert_eq!(edge.request("PURGE", "/none", &[], b"").await.text(), "invalidated 0\n");
    let other = edge.request("PURGE", "/ab", &[("Host", "other.example")], b"").await;
    assert_eq!(other.text(), "invalidated 0\n", "another host's page");
}

#[tokio::test]
async fn a_tag_takes_exactly_what_carries_it() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = filled(&origin, &[("/1", "node:1 list"), ("/10", "node:10|list"), ("/u", "user:1")]).await;
    let answer = edge.request("BAN", "/", &[("Cache-Tags", "node:1")], b"").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "invalidated 1\n"));
    assert_eq!(states(&edge, &["/1", "/10", "/u"]).await, "MISS HIT HIT");
    edge.stored(4).await;
    for field in ["Surrogate-Key", "xkey", "Purge-Cache-Tags", "X-Drupal-Cache-Tags", "Cache-Tag"] {
        let answer = edge.request("BAN", "/tags", &[(field, "absent, nor-this")], b"").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "invalidated 0\n"), "{field}");
    }
    let list = edge.request("PURGE", "/", &[("Cache-Tags", "list, absent")], b"").await;
    assert_eq!(list.text(), "invalidated 2\n");
    assert_eq!(states(&edge, &["/1", "/10", "/u"]).await, "MISS MISS HIT");
}

#[tokio::test]
async fn a_soft_purge_leaves_a_stale_page_to_validate_and_to_fall_back_on() {
    let mut origin = FakeOrigin::start().await.unwrap();
    let edge = filled(&origin, &[("/a", "a"), ("/b", "a")]).await;
    let answer = edge.request("BAN", "/", &[("Cache-Tags", "a"), ("X-Purge-Mode", "soft")], b"").await;
    assert_eq!(answer.text(), "invalidated 2\n");
    origin.route("/a", |request| {
        assert_eq!(request.header("if-none-match"), Some("\"1\""));
        Reply::new(304).header("Cache-Control", "max-age=600")
    });
    let validated = edge.get("/a").await;
    assert!(validated.header("cache-status").unwrap().contains("fwd=stale; fwd-status=304"), "{validated:?}");
    assert_eq!(states(&edge, &["/a"]).await, "HIT");
    let tagged = edge.request("BAN", "/", &[("Cache-Tags", "a"), ("X-Purge-Mode", "soft")], b"").await;
    assert_eq!(
        tagged.text(),
        "invalidated 1\n",
        "the validated one kept its tags; the other is stale already"
    );
    origin.stop().await;
    assert_eq!(states(&edge, &["/b"]).await, "STALE");
    assert_eq!(edge.request("PURGE", "/b", &[("X-Purge-Mode", "maybe")], b"").await.status, 400);
}

#[tokio::test]
async fn patterns_take_what_they_match() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = filled(&origin, &[("/news/1", "a"), ("/news/2", "a"), ("/blog/1", "a")]).await;
    assert_eq!(edge.request("PURGE", "/news/*", &[], b"").await.text(), "invalidated 2\n");
    assert_eq!(states(&edge, &["/news/1", "/news/2", "/blog/1"]).await, "MISS MISS HIT");
    edge.stored(5).await;
    let ban = edge.request("BAN", "/", &[("X-Ban-Path", "*/1"), ("X-Ban-Host", "*.example")], b"").await;
    assert_eq!(ban.text(), "invalidated 2\n");
    assert_eq!(states(&edge, &["/news/1", "/news/2", "/blog/1"]).await, "MISS HIT MISS");
    let nothing = edge.request("BAN", "/", &[], b"").await;
    assert_eq!(nothing.status, 400);
    assert!(nothing.text().contains("X-Ban-Path"), "says what is accepted");
}

#[tokio::test]
async fn the_admin_listener_takes_json() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = filled(&origin, &[("/a", "a"), ("/b", "b"), ("/c", "c")]).await;
    let post = async |json: &str| {
        let answer = client::request(edge.admin(), "POST", "/purge", &[], json.as_bytes()).await.unwrap();
        (answer.status, answer.text())
    };
    assert_eq!(post(r#"{"url":"http://site.example/a"}"#).await, (200, "{\"invalidated\":1}\n".into()));
    assert_eq!(post(r#"{"tags":["b"]}"#).await, (200, "{\"invalidated\":1}\n".into()));
    assert_eq!(post(r#"{"everything":true}"#).await, (200, "{\"invalidated\":1}\n".into()));
    assert_eq!(post(r#"{"tag":"b"}"#).await.0, 400);
    assert_eq!(states(&edge, &["/a", "/b", "/c"]).await, "MISS MISS MISS");
}

#[tokio::test]
async fn strangers_take_nothing() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| tagged("a"));
    let edge = Edge::start(&origin, &["--purge-from=10.0.0.0/8"]).await;
    edge.get("/").await;
    edge.stored(1).await;
    for method in ["PURGE", "BAN"] {
        let refused =
            edge.request(method, "/", &[("Cache-Tags", "a"), ("X-Forwarded-For", "10.0.0.1")], b"").await;
        assert_eq!(refused.status, 403);
        assert_eq!(refused.text(), "127.0.0.1 may not invalidate; allowed by --purge-from: 10.0.0.0/8\n");
    }
    assert_eq!(states(&edge, &["/"]).await, "HIT");
    assert_eq!(origin.requests().len(), 1, "nor does the origin see any of it");
}

#[tokio::test]
async fn a_page_fetched_before_its_tag_was_purged_is_not_stored_after() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    let first = AtomicUsize::new(0);
    origin.route("/", move |_| {
        let reply = tagged("a b");
        if first.fetch_add(1, Ordering::Relaxed) == 0 { reply.held_by(&held) } else { reply }
    });
    let edge = Edge::start(&origin, OPEN).await;
    let purge = async {
        gate.arrived(1).await;
        let answer = edge.request("BAN", "/", &[("Cache-Tags", "b")], b"").await;
        assert_eq!(answer.text(), "invalidated 0\n");
        gate.open();
    };
    tokio::join!(edge.get("/"), purge);
    edge.metric_becomes("edge_cache_not_stored_total", 1.0).await;
    assert_eq!(states(&edge, &["/"]).await, "MISS");
    edge.stored(1).await;
    assert_eq!(states(&edge, &["/"]).await, "HIT");
}
