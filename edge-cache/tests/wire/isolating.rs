//! What is one client's never reaches another, and one client's pace or mischief never costs another.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use test_support::client::{self, Client};
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{Edge, x_cache};

/// A page that is stale on arrival, and 304s with `fields` held by `gate`.
fn validated_with(origin: &FakeOrigin, gate: &Gate, fields: &'static [(&'static str, &'static str)]) {
    let gate = gate.clone();
    origin.route("/", move |request| {
        if request.header("if-none-match").is_none() {
            return Reply::ok("page")
                .header("Cache-Control", "max-age=60")
                .header("Age", "61")
                .header("ETag", "\"1\"")
                .header("Cache-Tags", "a");
        }
        fields.iter().fold(Reply::new(304), |reply, (name, value)| reply.header(name, *value)).held_by(&gate)
    });
}

#[tokio::test]
async fn a_304_with_a_cookie_is_the_leaders_alone() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    validated_with(&origin, &gate, &[("Cache-Control", "max-age=60"), ("Set-Cookie", "S=leader")]);
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    let (responses, ()) = tokio::join!(join_all((0..5).map(|_| edge.get("/"))), async {
        edge.metric_becomes("edge_cache_connections", 5.0).await;
        gate.open();
    });
    let cookies = responses.iter().filter(|response| response.header("set-cookie").is_some()).count();
    let asked = origin.count("/") - 1;
    assert!(cookies <= asked, "{cookies} cookies of {asked} answers");
    assert!(responses.iter().all(|response| response.text() == "page"));
    let stored = edge.get("/").await;
    assert_ne!(x_cache(&stored), "HIT", "nor is it stored");
}

#[tokio::test]
async fn withheld_fields_reach_their_own_client_and_nobody_else() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| {
        Reply::ok("page")
            .header("Cache-Control", "max-age=60, private=\"Set-Cookie\"")
            .header("Set-Cookie", "S=1")
    });
    let gate = Gate::new();
    gate.open();
    let edge = Edge::start(&origin, &[]).await;
    assert_eq!(edge.get("/").await.header("set-cookie"), Some("S=1"));
    edge.stored(1).await;
    let hit = edge.get("/").await;
    assert_eq!((x_cache(&hit), hit.header("set-cookie")), ("HIT", None));
}

#[tokio::test]
async fn a_validation_that_began_before_a_purge_answers_nobody_who_came_after_it() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    validated_with(&origin, &gate, &[("Cache-Control", "max-age=60")]);
    let edge = Edge::start(&origin, &["--purge-from=127.0.0.0/8"]).await;
    edge.get("/").await;
    edge.stored(1).await;
    let purge = async {
        gate.arrived(1).await;
        let purged = edge.request("BAN", "/", &[("Cache-Tags", "a")], b"").await;
        assert_eq!(purged.text(), "invalidated 1\n");
        origin.route("/", |_| Reply::ok("new").header("Cache-Control", "max-age=60"));
        let after = tokio::join!(edge.get("/"), async {
            edge.metric_becomes("edge_cache_connections", 2.0).await;
            gate.open();
        });
        assert_eq!(after.0.text(), "new");
    };
    tokio::join!(edge.get("/"), purge);
}

#[tokio::test]
async fn one_refused_reload_does_not_cost_the_page() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| match request.header("cache-control") {
        Some("no-cache") => Reply::new(429),
        _ => Reply::ok("page").header("Cache-Control", "max-age=60"),
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    assert_eq!(edge.get_with("/", &[("Cache-Control", "no-cache")]).await.status, 429);
    assert_eq!(x_cache(&edge.get("/").await), "HIT");
}

#[tokio::test]
async fn a_private_variant_leaves_the_shared_one() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| {
        let control = if request.header("cookie").is_some() { "private" } else { "max-age=60" };
        Reply::ok("page").header("Cache-Control", control).header("Vary", "Cookie")
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    assert_eq!(x_cache(&edge.get_with("/", &[("Cookie", "S=1")]).await), "MISS");
    assert_eq!(x_cache(&edge.get("/").await), "HIT");
}

#[tokio::test]
async fn the_body_of_a_get_in_chunks_reaches_the_origin() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| Reply::ok(request.body.clone()));
    let edge = Edge::start(&origin, &[]).await;
    for method in ["GET", "POST"] {
        let mut client = Client::connect(edge.address).await.unwrap();
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(head + "4\r\nbody\r\n0\r\n\r\n").await.unwrap();
        assert_eq!(client.response(method).await.unwrap().text(), "body", "{method}");
    }
}

#[tokio::test]
async fn a_slow_upload_is_not_a_slow_origin() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| Reply::ok(request.body.clone()));
    let edge = Edge::start(&origin, &["--first-byte-timeout=100ms"]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n1234").await.unwrap();
    // The time itself is what is tested: three times the origin's limit passes within the body.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    client.send("5678").await.unwrap();
    assert_eq!(client.response("POST").await.unwrap().text(), "12345678");
}

#[tokio::test]
async fn a_connection_whose_upload_is_unfinished_is_not_used_again() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("x").header("Cache-Control", "no-store"));
    let edge = Edge::start(&origin, &["--first-byte-timeout=2s"]).await;
    let mut stalled = Client::connect(edge.address).await.unwrap();
    stalled.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx").await.unwrap();
    for _ in 0..5 {
        assert_eq!(edge.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_is_given_up() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.fallback(move |_| Reply::ok("x").held_by(&held));
    let edge = Edge::start(&origin, &[]).await;
    for number in 0..20 {
        let mut client = Client::connect(edge.address).await.unwrap();
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).await.unwrap();
        gate.arrived(number + 1).await;
    }
    wait_until("the origin to be left alone", DEADLINE, async || origin.open_connections() == 0).await;
    edge.metric_becomes("edge_cache_connections", 0.0).await;
}

#[tokio::test]
async fn a_broken_answer_is_asked_for_twice_at_most() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/warm", move |_| Reply::ok("x").header("Cache-Control", "no-store").held_by(&held));
    origin.route("/nonsense", |_| Reply::raw("nonsense\r\n\r\n"));
    origin.route("/nothing", |_| Reply::hang_up());
    let edge = Edge::start(&origin, &["--preset=drupal"]).await;
    let session = ("Cookie", "SESSd41d8cd98f00b204e9800998ecf8427e=x");
    let warm = async || {
        let before = gate.arrivals();
        gate.close();
        let (responses, ()) = tokio::join!(
            join_all((0..10).map(|number| {
                let edge = &edge;
                async move { edge.get_with(&format!("/warm?{number}"), &[session]).await.status }
            })),
            async {
                gate.arrived(before + 10).await;
                gate.open();
            }
        );
        assert_eq!(responses, [200; 10]);
    };
    for path in ["/nonsense", "/nothing"] {
        warm().await;
        let response = edge.get_with(path, &[session]).await;
        assert_eq!(response.status, 502, "{path}");
        assert!((1..=2).contains(&origin.count(path)), "{path}: {}", origin.count(path));
    }
}

#[tokio::test]
async fn a_session_survives_a_kept_connection_that_went_away() {
    let mut origin = FakeOrigin::start().await.unwrap();
    let count = AtomicUsize::new(0);
    origin.fallback(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Reply::ok("mine").header("Cache-Control", "private")
    });
    let edge = Edge::start(&origin, &["--preset=drupal"]).await;
    let session = [("Cookie", "SESSd41d8cd98f00b204e9800998ecf8427e=x")];
    for _ in 0..3 {
        assert_eq!(edge.get_with("/", &session).await.status, 200);
        origin.stop().await;
        origin.restart().await.unwrap();
    }
    assert_eq!(edge.get_with("/", &session).await.status, 200);
}

#[tokio::test]
async fn bytes_are_counted_without_an_access_log() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("12345").header("Cache-Control", "max-age=60"));
    let edge = Edge::start(&origin, &[]).await;
    client::get(edge.address, "/", &[]).await.unwrap();
    edge.metric_becomes("edge_cache_sent_bytes_total", 5.0).await;
}
