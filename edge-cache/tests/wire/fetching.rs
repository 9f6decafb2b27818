//! Coalescing, failure and pressure: what happens between the cache and its origin.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Edge, x_cache};
use futures_util::future::join_all;
use test_support::client::Client;
use test_support::dns::FakeDns;
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_until};

#[tokio::test]
async fn a_hundred_clients_share_one_fetch() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| Reply::ok("slow").header("Cache-Control", "max-age=60").held_by(&held));
    let edge = Edge::start(&origin, &[]).await;
    let clients = join_all((0..100).map(|_| edge.get("/")));
    let open = async {
        edge.metric_becomes("edge_cache_connections", 100.0).await;
        gate.open();
    };
    let (responses, ()) = tokio::join!(clients, open);
    assert!(responses.iter().all(|response| response.text() == "slow"));
    assert_eq!(origin.count("/"), 1);
    let collapsed =
        responses.iter().filter(|r| r.header("cache-status").unwrap().contains("collapsed")).count();
    assert!(collapsed > 0, "{:?}", responses[0].header("cache-status"));
}

#[tokio::test]
async fn followers_read_the_body_while_it_arrives() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| {
        Reply::new(200)
            .header("Cache-Control", "max-age=60")
            .chunked(["first ", "second"])
            .body_held_by(&held)
    });
    let edge = Edge::start(&origin, &[]).await;
    let mut leader = Client::connect(edge.address).await.unwrap();
    leader.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let begun = leader.response_head("GET").await.unwrap();
    assert_eq!(begun.header("x-cache"), Some("MISS"), "the head comes before the body");
    let mut follower = Client::connect(edge.address).await.unwrap();
    follower.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let following = follower.response_head("GET").await.unwrap();
    assert!(following.header("cache-status").unwrap().contains("collapsed"));
    // The leader leaves; its fetch goes on for the follower.
    drop(leader);
    gate.open();
    let mut body = Vec::new();
    follower.drain(following.framing, |bytes| body.extend_from_slice(bytes)).await.unwrap();
    assert_eq!(body, b"first second");
    edge.stored(1).await;
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn uncacheable_pages_wait_for_nobody() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    let first = AtomicUsize::new(0);
    origin.route("/", move |_| {
        let reply = Reply::ok("mine").header("Cache-Control", "private");
        if first.fetch_add(1, Ordering::Relaxed) == 0 { reply } else { reply.held_by(&held) }
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    let clients = join_all((0..10).map(|_| edge.get("/")));
    let open = async {
        // All ten are at the origin at the same time: none follows another.
        gate.arrived(10).await;
        gate.open();
    };
    let (responses, ()) = tokio::join!(clients, open);
    assert!(responses.iter().all(|response| response.text() == "mine" && x_cache(response) == "MISS"));
}

#[tokio::test]
async fn a_page_that_has_become_cacheable_is_stored() {
    let origin = FakeOrigin::start().await.unwrap();
    let asked = AtomicUsize::new(0);
    origin.route("/", move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Reply::new(302).header("Location", "/install.php"),
        _ => Reply::ok("installed").header("Cache-Control", "s-maxage=60"),
    });
    let edge = Edge::start(&origin, &[]).await;
    for expected in [(302, "MISS"), (302, "MISS"), (200, "MISS"), (200, "HIT")] {
        let response = edge.get("/").await;
        assert_eq!((response.status, x_cache(&response)), expected);
        if response.status == 200 {
            edge.stored(1).await;
        }
    }
}

#[tokio::test]
async fn a_truncated_response_is_seen_as_such_and_not_stored() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/sized", |_| Reply::new(200).header("Cache-Control", "max-age=60").cut(10, "half"));
    origin.route("/chunked", |_| Reply::new(200).header("Cache-Control", "max-age=60").cut_chunked(["half"]));
    origin.route("/pass", |_| Reply::new(200).header("Cache-Control", "no-store").cut(10, "half"));
    let edge = Edge::start(&origin, &[]).await;
    for path in ["/sized", "/chunked", "/pass"] {
        for round in 1..=2 {
            let response = edge.get(path).await;
            assert!(!response.is_complete(), "{path} looks complete");
            assert_eq!(x_cache(&response), "MISS");
            wait_until("the fetch to be over", DEADLINE, async || {
                edge.metric("edge_cache_fills").await.abs() < 0.5
            })
            .await;
            assert_eq!(origin.count(path), round);
        }
    }
    assert!(edge.metric("edge_cache_objects").await.abs() < 0.5);
}

#[tokio::test]
async fn stale_is_served_while_the_origin_is_down_and_errors_otherwise() {
    let mut origin = FakeOrigin::start().await.unwrap();
    origin.route("/stale", |_| Reply::ok("old").header("Cache-Control", "max-age=60").header("Age", "61"));
    origin.route("/strict", |_| {
        Reply::ok("old")
            .header("Cache-Control", "max-age=60, must-revalidate")
            .header("Age", "61")
            .header("ETag", "\"a\"")
    });
    let edge = Edge::start(&origin, &[]).await;
    // Without a validator a response that is stale on arrival is of no use.
    assert!(edge.get("/stale").await.header("cache-status").unwrap().ends_with("detail=no-freshness"));
    origin.route("/stale", |_| {
        Reply::ok("old").header("Cache-Control", "max-age=60").header("Age", "61").header("ETag", "\"a\"")
    });
    origin.route("/other", |_| {
        Reply::ok("old").header("Cache-Control", "max-age=60").header("Age", "61").header("ETag", "\"a\"")
    });
    edge.get("/other").await;
    edge.get("/strict").await;
    edge.stored(2).await;
    origin.stop().await;
    let stale = edge.get("/other").await;
    assert_eq!((stale.status, x_cache(&stale), stale.text().as_str()), (200, "STALE", "old"));
    assert!(stale.header("age").unwrap().parse::<u64>().unwrap() >= 61, "an honest age");
    for path in ["/strict", "/unknown"] {
        let error = edge.get(path).await;
        assert_eq!((error.status, x_cache(&error)), (503, "ERROR"), "{path}");
        assert!(error.header("retry-after").is_some());
    }
    origin.restart().await.unwrap();
    assert_eq!(edge.get("/unknown").await.status, 404);
}

#[tokio::test]
async fn stale_if_error_covers_server_errors() {
    let origin = FakeOrigin::start().await.unwrap();
    let broken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&broken);
    origin.fallback(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::ok("old")
            .header("Cache-Control", "max-age=1, stale-if-error=600")
            .header("Age", "2")
            .header("ETag", "\"a\""),
        _ => Reply::new(500),
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    let stale = edge.get("/").await;
    assert_eq!((stale.status, x_cache(&stale)), (200, "STALE"));
    assert_eq!(edge.get("/other").await.status, 500, "with nothing stored the error itself");
}

#[tokio::test]
async fn stale_while_revalidate_refreshes_behind() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    let count = AtomicUsize::new(0);
    origin.route("/", move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::ok("old")
            .header("Cache-Control", "max-age=1, stale-while-revalidate=600")
            .header("Age", "2")
            .header("ETag", "\"a\""),
        _ => Reply::ok("new").header("Cache-Control", "max-age=60").held_by(&held),
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    for _ in 0..5 {
        let stale = edge.get("/").await;
        assert_eq!((x_cache(&stale), stale.text().as_str()), ("STALE", "old"), "nobody waits");
    }
    gate.open();
    edge.stored(2).await;
    let fresh = edge.get("/").await;
    assert_eq!((x_cache(&fresh), fresh.text().as_str()), ("HIT", "new"));
    assert_eq!(origin.count("/"), 2, "one refresh for all");
}

#[tokio::test]
async fn a_fill_that_began_before_an_invalidation_is_not_stored() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    let first = AtomicUsize::new(0);
    origin.route("/", move |request| {
        let reply = Reply::ok("page").header("Cache-Control", "max-age=60");
        if request.method == "GET" && first.fetch_add(1, Ordering::Relaxed) == 0 {
            reply.held_by(&held)
        } else {
            reply
        }
    });
    let edge = Edge::start(&origin, &[]).await;
    let invalidate = async {
        gate.arrived(1).await;
        edge.request("POST", "/", &[], b"x").await;
        gate.open();
    };
    let (old, ()) = tokio::join!(edge.get("/"), invalidate);
    assert_eq!(old.text(), "page");
    edge.metric_becomes("edge_cache_not_stored_total", 1.0).await;
    assert_eq!(x_cache(&edge.get("/").await), "MISS");
}

#[tokio::test]
async fn bodies_too_large_to_store_are_streamed() {
    let origin = FakeOrigin::start().await.unwrap();
    let big = vec![7_u8; 3 << 20];
    let body = big.clone();
    origin.route("/sized", move |_| Reply::ok(body.clone()).header("Cache-Control", "max-age=60"));
    let body = big.clone();
    origin.route("/chunked", move |_| {
        Reply::new(200)
            .header("Cache-Control", "max-age=60")
            .chunked(body.chunks(64 << 10).map(<[u8]>::to_vec))
    });
    let edge = Edge::start(&origin, &["--memory=8MiB"]).await;
    for path in ["/sized", "/chunked"] {
        let (one, two) = tokio::join!(edge.get(path), edge.get(path));
        assert!(one.body == big && two.body == big, "{path}");
        assert!(one.is_complete() && two.is_complete());
    }
    assert!(edge.metric("edge_cache_objects").await.abs() < 0.5);
}

#[tokio::test]
async fn a_kept_connection_that_went_away_costs_nothing() {
    let mut origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("x").header("Cache-Control", "no-store"));
    let edge = Edge::start(&origin, &[]).await;
    assert_eq!(edge.get("/1").await.status, 200);
    assert_eq!(edge.get("/2").await.status, 200);
    assert_eq!(origin.connections(), 1, "kept");
    origin.stop().await;
    origin.restart().await.unwrap();
    assert_eq!(edge.get("/3").await.status, 200);
    assert_eq!(edge.request("POST", "/4", &[], b"x").await.status, 200);
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("x").header("Cache-Control", "no-store"));
    let mut dead = FakeOrigin::start().await.unwrap();
    dead.stop().await;
    let edge = Edge::in_front_of(&[&dead.url(), &origin.url()], &[]).await;
    for _ in 0..20 {
        assert_eq!(edge.get("/").await.status, 200);
        assert_eq!(edge.request("POST", "/", &[], b"x").await.status, 200);
    }
}

#[tokio::test]
async fn an_origin_that_is_too_slow_is_a_504() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.fallback(move |_| Reply::ok("x").held_by(&held));
    let edge = Edge::start(&origin, &["--first-byte-timeout=50ms"]).await;
    let response = edge.get("/").await;
    assert_eq!((response.status, x_cache(&response)), (504, "ERROR"));
    wait_until("the connection to be closed", DEADLINE, async || origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_passed_body_frees_everything() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.fallback(move |_| {
        Reply::new(200).header("Cache-Control", "no-store").chunked(["a", "b"]).body_held_by(&held)
    });
    let edge = Edge::start(&origin, &[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    client.response_head("GET").await.unwrap();
    drop(client);
    edge.metric_becomes("edge_cache_connections", 0.0).await;
    wait_until("the origin's connection to be closed", DEADLINE, async || origin.open_connections() == 0)
        .await;
}

#[tokio::test]
async fn the_drain_finishes_requests_and_closes_connections() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| Reply::ok("late").held_by(&held));
    let edge = Edge::start(&origin, &[]).await;
    let drain = async {
        gate.arrived(1).await;
        edge.shutdown().drain();
        wait_until("the listener to be closed", DEADLINE, async || {
            Client::connect(edge.address).await.is_err()
        })
        .await;
        gate.open();
    };
    let (response, ()) = tokio::join!(edge.get("/"), drain);
    assert_eq!(response.text(), "late");
    assert_eq!(edge.shutdown().finish().await, common::shutdown::Drained::Clean);
}

/// So that nobody's next request is on its way when the connection is closed.
#[tokio::test]
async fn who_leaves_says_so_on_every_answer_before_it_closes_anything() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| Reply::ok("x").header("Cache-Control", "max-age=60"));
    let edge = Edge::start(&origin, &[]).await;
    let mut kept = Client::connect(edge.address).await.unwrap();
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    kept.send(get).await.unwrap();
    assert_eq!(kept.response("GET").await.unwrap().header("connection"), None);
    edge.shutdown().leave();
    kept.send(get).await.unwrap();
    let last = kept.response("GET").await.unwrap();
    assert_eq!((last.status, last.header("connection"), last.text().as_str()), (200, Some("close"), "x"));
    assert!(kept.is_closed().await);
    // New connections are still taken.
    assert_eq!(edge.get("/").await.status, 200);
}

/// nginx: `proxy_next_upstream error`.
#[tokio::test]
async fn an_origin_that_dies_with_a_request_is_no_loss_where_there_is_another() {
    let dying = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = dying.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = dying.accept().await.unwrap();
            let mut head = [0; 1024];
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.unwrap();
            count.fetch_add(usize::from(read > 0), Ordering::Relaxed);
        }
    });
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("here").header("Cache-Control", "no-store"));
    let edge = Edge::in_front_of(&[&format!("http://{address}"), &origin.url()], &[]).await;
    for n in 0..20 {
        let answer = edge.get(&format!("/{n}")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "here"), "{n}");
    }
    assert!(asked.load(Ordering::Relaxed) > 0);
    // What may have been done is not done again.
    let mut refused = 0;
    for n in 0..40 {
        let path = format!("/post-{n}");
        let answer = edge.request("POST", &path, &[], b"x").await;
        if answer.status == 502 {
            assert_eq!(origin.count(&path), 0);
            refused += 1;
            break;
        }
        // The endpoint that broke is tried last for a moment.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(refused > 0);
}

/// HAProxy: `retry-on 502 503`, and a budget for when all of them say so.
#[tokio::test]
async fn an_origin_that_cannot_work_is_no_loss_where_there_is_another() {
    let (broken, origin) = (FakeOrigin::start().await.unwrap(), FakeOrigin::start().await.unwrap());
    broken.fallback(|_| Reply::new(503).header("Retry-After", "1"));
    origin.fallback(|_| Reply::ok("here").header("Cache-Control", "no-store"));
    let edge = Edge::in_front_of(&[&broken.url(), &origin.url()], &[]).await;
    for n in 0..20 {
        let answer = edge.get(&format!("/{n}")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "here"), "{n}");
    }
    // Once each, whatever the other one says; and not everything twice.
    let both = FakeOrigin::start().await.unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    for origin in [&broken, &both] {
        let count = Arc::clone(&count);
        origin.fallback(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Reply::new(503)
        });
    }
    let edge = Edge::in_front_of(&[&broken.url(), &both.url()], &["--keep=0s"]).await;
    for n in 0..200 {
        assert_eq!(edge.get(&format!("/{n}")).await.status, 503);
    }
    let asked = count.load(Ordering::Relaxed);
    assert!(asked > 200 && asked <= 200 + 20 + 40, "{asked}");
}

#[tokio::test]
async fn a_range_that_is_missed_fetches_the_whole_and_is_served_while_it_arrives() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| {
        assert_eq!(request.header("range"), None, "the whole is asked for");
        Reply::ok("0123456789").header("Cache-Control", "max-age=60")
    });
    let edge = Edge::start(&origin, &[]).await;
    let part = edge.get_with("/", &[("Range", "bytes=3-5")]).await;
    assert_eq!((part.status, part.text().as_str(), x_cache(&part)), (206, "345", "MISS"));
    assert_eq!(part.header("content-range"), Some("bytes 3-5/10"));
    edge.stored(1).await;
    let hit = edge.get_with("/", &[("Range", "bytes=-2")]).await;
    assert_eq!((hit.status, hit.text().as_str(), x_cache(&hit)), (206, "89", "HIT"));
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn a_range_of_what_is_not_stored_is_passed_on() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| match request.header("range") {
        Some("bytes=3-5") => Reply::new(206)
            .header("Content-Range", "bytes 3-5/10")
            .header("Cache-Control", "private")
            .body("345"),
        _ => Reply::ok("0123456789").header("Cache-Control", "private"),
    });
    let edge = Edge::start(&origin, &[]).await;
    for _ in 0..2 {
        let part = edge.get_with("/", &[("Range", "bytes=3-5")]).await;
        assert_eq!((part.status, part.text().as_str()), (206, "345"));
    }
    assert_eq!(origin.count("/"), 3, "the whole is tried once only");
}

#[tokio::test]
async fn a_request_before_the_first_answer_of_dns_waits_for_it() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| Reply::ok(request.method.clone()).header("Cache-Control", "max-age=60"));
    let gate = Gate::new();
    let dns = FakeDns::start(&gate).await.unwrap();
    let port = origin.url().rsplit_once(':').unwrap().1.to_owned();
    let name = format!("dns://tasks.web-proxy:{port}");
    let server = format!("--dns-server={}", dns.address());
    let edge = Edge::in_front_of(&[&name], &[&server, "--connect-timeout=30s"]).await;
    let open = async {
        edge.metric_becomes("edge_cache_connections", 2.0).await;
        gate.open();
    };
    let (get, comment, ()) = tokio::join!(edge.get("/"), edge.request("POST", "/", &[], b"text"), open);
    assert_eq!((get.status, get.text().as_str()), (200, "GET"));
    assert_eq!((comment.status, comment.text().as_str()), (200, "POST"));
}
