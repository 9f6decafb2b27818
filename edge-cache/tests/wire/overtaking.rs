//! Invalidations of what is on its way, and of what is stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use test_support::client::Client;
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply, Request};

use crate::support::{Edge, x_cache};

const OPEN: &[&str] = &["--purge-from=127.0.0.0/8"];

/// Answers with `reply` of how often it was asked before.
fn counted(
    reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    let count = AtomicUsize::new(0);
    move |request| reply(count.fetch_add(1, Ordering::Relaxed), request)
}

fn page(body: &str, tags: &str) -> Reply {
    Reply::ok(body.to_owned())
        .header("Cache-Control", "max-age=600")
        .header("ETag", format!("\"{body}\""))
        .header("Cache-Tags", tags)
}

async fn ban(edge: &Edge, headers: &[(&str, &str)]) -> String {
    edge.request("BAN", "/", headers, b"").await.text()
}

/// A method, a path and header fields.
type Way = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The ways to invalidate `/page`, tagged `t`, of the type text/plain.
const WAYS: [Way; 7] = [
    ("PURGE", "/page", &[]),
    ("PURGE", "/pa*", &[]),
    ("BAN", "/", &[("Cache-Tags", "t")]),
    ("BAN", "/", &[("Cache-Tags", "t"), ("X-Ban-Host", "site.example")]),
    ("BAN", "/", &[("X-Ban-Header", "Content-Type: text/plain")]),
    ("BAN", "/site", &[]),
    ("PURGE", "/page", &[("X-Purge-Mode", "soft")]),
];

#[tokio::test]
async fn a_page_invalidated_while_its_body_comes_is_fetched_anew() {
    for (method, path, headers) in WAYS {
        let origin = FakeOrigin::start().await.unwrap();
        let gate = Gate::new();
        let held = gate.clone();
        origin.route(
            "/page",
            counted(move |count, _| {
                let reply = if count == 0 {
                    page("", "t").chunked(["old ", "page"]).body_held_by(&held)
                } else {
                    page("new page", "t")
                };
                reply.header("Content-Type", "text/plain")
            }),
        );
        let edge = Edge::start(&origin, OPEN).await;
        let mut first = Client::connect(edge.address).await.unwrap();
        first.send("GET /page HTTP/1.1\r\nHost: site.example\r\n\r\n").await.unwrap();
        let begun = first.response_head("GET").await.unwrap();
        let answer = edge.request(method, path, headers, b"").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "invalidated 0\n"));
        let later = join_all((0..10).map(|_| edge.get("/page"))).await;
        assert!(later.iter().all(|response| response.text() == "new page"), "{method} {path} {headers:?}");
        assert_eq!(origin.count("/page"), 2, "all of them share one fetch: {method} {path} {headers:?}");
        edge.stored(1).await;
        gate.open();
        let mut body = Vec::new();
        first.drain(begun.framing, |bytes| body.extend_from_slice(bytes)).await.unwrap();
        assert_eq!(body, b"old page", "who came before gets all of it");
        edge.metric_becomes("edge_cache_not_stored_total", 1.0).await;
        let stored = edge.get("/page").await;
        assert_eq!((x_cache(&stored), stored.text().as_str()), ("HIT", "new page"));
    }
}

#[tokio::test]
async fn a_page_invalidated_by_its_url_before_its_head_comes_is_not_waited_for() {
    for (method, path, headers) in [WAYS[0], WAYS[1], WAYS[5]] {
        let origin = FakeOrigin::start().await.unwrap();
        let gate = Gate::new();
        let held = gate.clone();
        origin.route(
            "/page",
            counted(
                move |count, _| {
                    if count == 0 { page("old", "t").held_by(&held) } else { page("new", "t") }
                },
            ),
        );
        let edge = Edge::start(&origin, OPEN).await;
        let purge = async {
            gate.arrived(1).await;
            edge.request(method, path, headers, b"").await;
            assert_eq!(edge.get("/page").await.text(), "new", "{method} {path}");
            gate.open();
        };
        let (first, ()) = tokio::join!(edge.get("/page"), purge);
        assert_eq!(first.text(), "old");
        edge.metric_becomes("edge_cache_not_stored_total", 1.0).await;
        assert_eq!(edge.get("/page").await.text(), "new");
    }
}

/// Those who follow a fetch that turns out to be outdated fetch once more, together.
#[tokio::test]
async fn followers_of_an_overtaken_fetch_share_the_next() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route(
        "/",
        counted(move |count, _| if count == 0 { page("old", "t").held_by(&held) } else { page("new", "t") }),
    );
    let edge = Edge::start(&origin, OPEN).await;
    let purge = async {
        gate.arrived(1).await;
        ban(&edge, &[("Cache-Tags", "t")]).await;
        let followers = async {
            // The leader's, the purger's, and theirs.
            edge.metric_becomes("edge_cache_connections", 11.0).await;
            gate.open();
        };
        tokio::join!(join_all((0..10).map(|_| edge.get("/"))), followers).0
    };
    let (first, later) = tokio::join!(edge.get("/"), purge);
    assert_eq!(first.text(), "old");
    assert!(later.iter().all(|response| response.text() == "new"));
    assert_eq!(origin.count("/"), 2);
}

/// A site that bans something else all the time can still cache.
#[tokio::test]
async fn bans_of_other_pages_leave_a_fetch_alone() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/page", move |_| page("page", "t").held_by(&held));
    let edge = Edge::start(&origin, OPEN).await;
    let bans = async {
        gate.arrived(1).await;
        for number in 0..20 {
            ban(&edge, &[("X-Ban-Path", &format!("/other/{number}/*"))]).await;
            ban(&edge, &[("Cache-Tags", "t"), ("X-Ban-Host", "other.example")]).await;
            ban(&edge, &[("X-Ban-Header", "Content-Type: image/*")]).await;
            ban(&edge, &[("Cache-Tags", &format!("t{number}"))]).await;
        }
        gate.open();
    };
    tokio::join!(edge.get("/page"), bans);
    edge.stored(1).await;
    assert_eq!(x_cache(&edge.get("/page").await), "HIT");
}

#[tokio::test]
async fn a_page_purged_while_it_is_validated_is_fetched_whole() {
    for (method, path, headers) in WAYS {
        let origin = FakeOrigin::start().await.unwrap();
        let gate = Gate::new();
        let held = gate.clone();
        let conditions = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&conditions);
        origin.route(
            "/page",
            counted(move |count, request| {
                seen.fetch_add(usize::from(request.header("if-none-match").is_some()), Ordering::Relaxed);
                let reply = match count {
                    0 => Reply::ok("old").header("Cache-Control", "max-age=0").header("ETag", "\"old\""),
                    1 => Reply::new(304).header("Cache-Control", "max-age=600").held_by(&held),
                    _ => page("new", "t"),
                };
                reply.header("Cache-Tags", "t").header("Content-Type", "text/plain")
            }),
        );
        let edge = Edge::start(&origin, OPEN).await;
        edge.get("/page").await;
        edge.stored(1).await;
        let purge = async {
            gate.arrived(1).await;
            let answer = edge.request(method, path, headers, b"").await;
            assert_eq!(answer.text(), "invalidated 1\n", "{method} {path} {headers:?}");
            gate.open();
        };
        let (validated, ()) = tokio::join!(edge.get("/page"), purge);
        assert_eq!(validated.text(), "old");
        edge.metric_becomes("edge_cache_not_stored_total", 1.0).await;
        assert_eq!(edge.get("/page").await.text(), "new");
        // A soft purge leaves the validator.
        let expected = 1 + usize::from(headers.iter().any(|(_, value)| *value == "soft"));
        assert_eq!(conditions.load(Ordering::Relaxed), expected, "{method} {path} {headers:?}");
    }
}

#[tokio::test]
async fn a_304_changes_the_tags_if_it_has_any() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route(
        "/",
        counted(|count, _| match count {
            0 => page("page", "first both"),
            1 => Reply::new(304).header("Cache-Tags", "both second"),
            _ => Reply::new(304),
        }),
    );
    let edge = Edge::start(&origin, OPEN).await;
    edge.get("/").await;
    edge.stored(1).await;
    let soft = ("X-Purge-Mode", "soft");
    assert_eq!(ban(&edge, &[("Cache-Tags", "first"), soft]).await, "invalidated 1\n");
    edge.get("/").await;
    edge.stored(2).await;
    assert_eq!(ban(&edge, &[("Cache-Tags", "first"), soft]).await, "invalidated 0\n", "it has no more");
    assert_eq!(ban(&edge, &[("Cache-Tags", "both second"), soft]).await, "invalidated 1\n");
    edge.get("/").await;
    edge.stored(3).await;
    assert_eq!(
        ban(&edge, &[("Cache-Tags", "second"), soft]).await,
        "invalidated 1\n",
        "kept where a 304 has none"
    );
    assert_eq!(ban(&edge, &[("Cache-Tags", "both")]).await, "invalidated 1\n", "soft, then hard");
    assert_eq!(ban(&edge, &[("Cache-Tags", "both"), soft]).await, "invalidated 0\n", "hard, then soft");
    let request = edge.get("/").await;
    assert!(request.header("cache-status").unwrap().contains("fwd=uri-miss"), "{request:?}");
}

#[tokio::test]
async fn what_was_purged_softly_is_as_stale_as_its_cache_control_allows() {
    let cases = [
        // What the page allows, what the origin does next, what the client gets then.
        ("max-age=600, stale-while-revalidate=60", 200, "STALE"),
        ("max-age=600, stale-if-error=60", 500, "STALE"),
        ("max-age=600, must-revalidate", 500, "MISS"),
        ("max-age=600", 200, "MISS"),
    ];
    for (allows, status, expected) in cases {
        let origin = FakeOrigin::start().await.unwrap();
        origin.route(
            "/",
            counted(move |count, _| {
                let reply = Reply::new(if count == 0 { 200 } else { status });
                reply.header("Cache-Control", allows).header("Cache-Tags", "t").body(format!("{count}"))
            }),
        );
        // Without an operator's grace: the page alone says.
        let edge = Edge::start(&origin, &["--purge-from=127.0.0.0/8", "--grace=0s"]).await;
        edge.get("/").await;
        edge.stored(1).await;
        assert_eq!(ban(&edge, &[("Cache-Tags", "t"), ("X-Purge-Mode", "soft")]).await, "invalidated 1\n");
        let response = edge.get("/").await;
        assert_eq!(x_cache(&response), expected, "{allows}: {response:?}");
        assert_eq!(response.text(), if expected == "STALE" { "0" } else { "1" }, "{allows}");
        if expected == "STALE" && status == 200 {
            edge.stored(2).await;
            assert_eq!(edge.get("/").await.text(), "1", "the refresh behind it has come");
        }
        ban(&edge, &[("Cache-Tags", "t")]).await;
        assert_eq!(x_cache(&edge.get("/").await), "MISS", "after a hard purge nothing is left to serve");
    }
}

#[tokio::test]
async fn an_unsafe_request_takes_what_is_stored_and_what_is_on_its_way() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/page", move |request| {
        if request.method == "GET" { page("page", "t").held_by(&held) } else { Reply::new(204) }
    });
    let edge = Edge::start(&origin, OPEN).await;
    let post = async {
        gate.arrived(1).await;
        assert_eq!(edge.request("POST", "/page", &[], b"").await.status, 204);
        gate.open();
    };
    tokio::join!(edge.get("/page"), post);
    edge.metric_becomes("edge_cache_not_stored_total", 1.0).await;
    assert_eq!(x_cache(&edge.get("/page").await), "MISS");
    edge.stored(1).await;
    for method in ["PUT", "FROB"] {
        edge.request(method, "/page", &[], b"").await;
        assert_eq!(x_cache(&edge.get("/page").await), "MISS", "after {method}");
    }
    edge.stored(3).await;
    assert_eq!(
        ban(&edge, &[("Cache-Tags", "t")]).await,
        "invalidated 1\n",
        "what was taken before is not counted"
    );
}
