//! Who gets a worker, and who does not.

use std::time::Duration;

use common::fastcgi::{Outbound, ReadError, RequestEncoder};
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_until};
use tokio::time::Instant;

use crate::support::{Answer, Gateway, WebServer, params};

/// An application that answers when the gate is open, or sees that nobody waits any more.
async fn held(gate: &Gate) -> FakeFastCgiApp {
    let gate = gate.clone();
    FakeFastCgiApp::tcp(move |mut exchange| {
        let gate = gate.clone();
        async move {
            while exchange.stdin().await?.is_some() {}
            tokio::select! {
                () = gate.pass() => exchange.respond(page("done")).await,
                () = exchange.abandoned() => Ok(()),
            }
        }
    })
    .await
    .unwrap()
}

/// Sends a request and leaves it waiting.
async fn asks(gateway: &Gateway, uri: &str) -> WebServer {
    let mut web = gateway.connect().await;
    web.send(&params(uri), b"").await;
    web
}

#[tokio::test]
async fn in_flight_is_bounded_and_the_rest_waits_in_order() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let gateway = Gateway::start(&[&app.address()], &["--workers-per-upstream=1"]).await;
    let mut waiting = Vec::new();
    for n in 0..10_u32 {
        waiting.push(asks(&gateway, &format!("/{n}")).await);
        gateway.holds(1, n).await;
    }
    assert_eq!((app.busy(), app.count()), (1, 1), "the kernel's queue holds nothing");
    let status = gateway.status().await;
    assert!(status.contains("\"in_flight\": 1") && status.contains("\"length\": 9"), "{status}");
    gate.open();
    for web in &mut waiting {
        assert_eq!(web.answer().await.unwrap().body(), b"done");
    }
    let order: Vec<String> = app.requests().iter().map(|request| request.param("REQUEST_URI")).collect();
    assert_eq!(order, (0..10).map(|n| format!("/{n}")).collect::<Vec<_>>());
    gateway.holds(0, 0).await;
    assert!((gateway.metric("fpm_gateway_queue_seconds_count", &[]).await - 10.0).abs() < 0.1);
}

#[tokio::test]
async fn replicas_share_the_load() {
    let gate = Gate::new();
    let (one, two) = (held(&gate).await, held(&gate).await);
    let gateway = Gateway::start(&[&one.address(), &two.address()], &["--workers-per-upstream=3"]).await;
    let mut waiting = Vec::new();
    for n in 0..6_u32 {
        waiting.push(asks(&gateway, "/").await);
        gateway.holds(n + 1, 0).await;
    }
    gate.arrived(6).await;
    assert_eq!((one.busy(), two.busy()), (3, 3));
    gate.open();
    for web in &mut waiting {
        web.answer().await.unwrap();
    }
}

#[tokio::test]
async fn waiting_too_long_is_a_503() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let flags = ["--workers-per-upstream=1", "--queue-timeout=300ms"];
    let gateway = Gateway::start(&[&app.address()], &flags).await;
    let mut first = asks(&gateway, "/first").await;
    gateway.holds(1, 0).await;
    let before = Instant::now();
    let answer = gateway.get("/second").await;
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_unavailable(&answer);
    assert!((gateway.outcomes("queue_timeout").await - 1.0).abs() < 0.1);
    gate.open();
    assert_eq!(first.answer().await.unwrap().body(), b"done");
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn a_full_queue_is_a_503_at_once() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let flags = ["--workers-per-upstream=1", "--queue-length=2", "--queue-timeout=1h"];
    let gateway = Gateway::start(&[&app.address()], &flags).await;
    let mut waiting = Vec::new();
    for n in 0..3_u32 {
        waiting.push(asks(&gateway, "/").await);
        gateway.holds(1, n).await;
    }
    assert_unavailable(&gateway.get("/").await);
    assert!((gateway.outcomes("queue_full").await - 1.0).abs() < 0.1);
    gate.open();
    for web in &mut waiting {
        web.answer().await.unwrap();
    }
}

#[tokio::test]
async fn a_web_server_that_leaves_gives_its_place_up() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let gateway = Gateway::start(&[&app.address()], &["--workers-per-upstream=1"]).await;
    let first = asks(&gateway, "/first").await;
    gateway.holds(1, 0).await;
    let second = asks(&gateway, "/second").await;
    gateway.holds(1, 1).await;
    let mut third = asks(&gateway, "/third").await;
    gateway.holds(1, 2).await;

    drop(second);
    gateway.holds(1, 1).await;
    drop(first);
    // Its script does not know and works on: the worker is not free yet.
    wait_until("the first to be seen as gone", DEADLINE, async || {
        gateway.status().await.contains("\"post_response\": 1")
    })
    .await;
    gateway.holds(1, 1).await;
    assert_eq!(app.count(), 1);
    gate.open();
    assert_eq!(third.answer().await.unwrap().body(), b"done");
    assert_eq!(app.requests()[1].param("REQUEST_URI"), "/third");
    gateway.holds(0, 0).await;
    assert!((gateway.outcomes("client_gone").await - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn an_aborted_request_is_ended_and_its_connection_kept() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = asks(&gateway, "/").await;
    gate.arrived(1).await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).abort(&mut out);
    web.write(out).await;
    assert_eq!(web.answer().await.unwrap().stdout, b"");
    gateway.holds(1, 0).await;
    gate.open();
    gateway.holds(0, 0).await;
    wait_until("the application to be free", DEADLINE, async || app.busy() == 0).await;
    assert_eq!(web.ask(&params("/"), b"").await.unwrap().body(), b"done");
}

#[tokio::test]
async fn forms_overtake_pages_and_reports_do_not_take_all() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let flags = ["--workers-per-upstream=2", "--preset=drupal"];
    let rules = "[[rule]]\nname = \"reports\"\npath = \"/admin/reports/**\"\nworkers = 1\n";
    let gateway = Gateway::start_with_rules(&[&app.address()], &flags, rules).await;
    let mut waiting = Vec::new();
    for (uri, in_flight, queued) in [
        ("/admin/reports/1", 1, 0),
        ("/admin/reports/2", 1, 1),
        ("/page/1", 2, 1),
        ("/page/2", 2, 2),
        ("/admin", 2, 3),
    ] {
        waiting.push(asks(&gateway, uri).await);
        gateway.holds(in_flight, queued).await;
    }
    let status = gateway.status().await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["kinds"][0], serde_json::json!({ "rule": "reports", "busy": 1, "workers": 1 }));
    let lanes = &status["queue"]["lanes"];
    assert_eq!((&lanes[0]["waiting"], &lanes[1]["waiting"]), (&2.into(), &1.into()));
    assert!(lanes[0]["oldest_seconds"].as_f64().is_some_and(|age| age > 0.0));
    gate.open();
    for web in &mut waiting {
        assert_eq!(web.answer().await.unwrap().body(), b"done");
    }
    let order: Vec<String> = app.requests().iter().map(|request| request.param("REQUEST_URI")).collect();
    let place = |uri: &str| order.iter().position(|known| known == uri).unwrap();
    assert!(place("/admin") < place("/page/2"), "{order:?}");
    gateway.holds(0, 0).await;
}

#[tokio::test]
async fn the_drain_finishes_what_has_begun() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let gateway = Gateway::start(&[&app.address()], &["--workers-per-upstream=1"]).await;
    let mut idle = gateway.connect().await;
    idle.send(&params("/"), b"").await;
    gate.arrived(1).await;
    gate.open();
    idle.answer().await.unwrap();
    gate.close();
    let mut running = asks(&gateway, "/running").await;
    gateway.holds(1, 0).await;
    let mut queued = asks(&gateway, "/queued").await;
    gateway.holds(1, 1).await;

    gateway.shutdown.drain();
    assert!(matches!(idle.event().await, Err(ReadError::Protocol(_))), "an idle connection is closed");
    let draining = tokio::spawn({
        let shutdown = gateway.shutdown.clone();
        async move { shutdown.finish().await }
    });
    wait_until("the listener to be closed", DEADLINE, async || {
        gateway.endpoint.connect(DEADLINE).await.is_err()
    })
    .await;
    gate.open();
    assert_eq!(running.answer().await.unwrap().body(), b"done");
    assert_eq!(queued.answer().await.unwrap().body(), b"done");
    drop((running, queued));
    assert_eq!(draining.await.unwrap(), common::shutdown::Drained::Clean);
}

pub(crate) fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status(), 503, "{}", answer.text());
    let retry_after: u64 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=10).contains(&retry_after));
}

#[tokio::test]
async fn gateways_share_a_replica_s_workers() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let workers = async |flags: &[&str]| {
        let gateway = Gateway::start(&[&app.address()], flags).await;
        let mut workers = None;
        wait_until("its part", DEADLINE, async || {
            let status: serde_json::Value = serde_json::from_str(&gateway.status().await).unwrap();
            workers = status["replicas"][0]["workers"].as_u64();
            workers.is_some()
        })
        .await;
        workers.unwrap()
    };
    assert_eq!(workers(&["--workers-per-upstream=8", "--gateways=3"]).await, 2);
    assert_eq!(workers(&["--workers-per-upstream=2", "--gateways=3"]).await, 1);
    // A name that has one address, which is this machine's.
    let flags = ["--workers-per-upstream=8", "--gateways=dns://localhost:9001"];
    assert_eq!(workers(&flags).await, 8);
}
