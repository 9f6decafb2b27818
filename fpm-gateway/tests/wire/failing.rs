//! What a broken replica costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::fastcgi::{EndRequest, Outbound, ProtocolError, ProtocolStatus, ReadError, RequestEncoder, Role};
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::metrics::Metrics;
use test_support::process::free_port;
use test_support::wait::{DEADLINE, wait_until};
use tokio::time::Instant;

use crate::queueing::assert_unavailable;
use crate::support::{Gateway, params};

async fn well() -> FakeFastCgiApp {
    FakeFastCgiApp::tcp(|mut exchange| async move {
        exchange.body().await?;
        exchange.respond(page("well")).await
    })
    .await
    .unwrap()
}

/// An application that does this with every request.
macro_rules! app {
    ($exchange:ident => $($does:tt)*) => {
        FakeFastCgiApp::tcp(|mut $exchange| async move { $($does)* }).await.unwrap()
    };
}

#[tokio::test]
async fn a_replica_that_refuses_connections_costs_nobody_a_request() {
    let app = well().await;
    let dead = format!("127.0.0.1:{}", free_port().unwrap());
    let gateway = Gateway::start(&[&dead, &app.address()], &[]).await;
    for _ in 0..10 {
        // Not safe to repeat, and yet repeated: nothing was sent.
        let mut post = params("/");
        post.push("REQUEST_METHOD", "POST");
        let answer = gateway.connect().await.ask(&post, b"order=1").await.unwrap();
        assert_eq!(answer.body(), b"well");
    }
    assert!(app.requests().iter().all(|request| request.body == b"order=1"));
    // After the first it was not chosen again; a probe may have tried it.
    assert!((gateway.metric("fpm_gateway_retries_total", &[]).await - 1.0).abs() < 0.1);
    let usable = gateway.metric("fpm_gateway_upstream_usable", &[("upstream", &dead)]).await;
    assert!(usable < 0.5);
}

#[tokio::test]
async fn an_outage_is_waited_out_then_answered_then_over() {
    let mut app = well().await;
    let flags = ["--retry-timeout=600ms", "--queue-timeout=30s"];
    let gateway = Gateway::start(&[&app.address()], &flags).await;
    assert_eq!(gateway.get("/").await.body(), b"well");
    app.stop().await;
    let before = Instant::now();
    assert_unavailable(&gateway.get("/").await);
    assert!(before.elapsed() >= Duration::from_millis(500), "it was waited for");
    let before = Instant::now();
    assert_unavailable(&gateway.get("/").await);
    assert!(before.elapsed() < Duration::from_millis(500), "but not for ever");
    assert!((gateway.outcomes("unavailable").await - 2.0).abs() < 0.1);
    let ready = test_support::client::get(gateway.admin, "/readyz", &[]).await.unwrap();
    assert_eq!(ready.status, 503, "{}", ready.text());

    app.restart().await.unwrap();
    wait_until("the replica to be back", Duration::from_secs(2), async || {
        gateway.metric("fpm_gateway_upstream_usable", &[]).await > 0.5
    })
    .await;
    assert_eq!(gateway.get("/").await.body(), b"well");
}

#[tokio::test]
async fn a_short_outage_is_not_seen_at_all() {
    let mut app = well().await;
    let gateway = Gateway::start(&[&app.address()], &["--retry-timeout=20s", "--queue-timeout=20s"]).await;
    app.stop().await;
    let mut web = gateway.connect().await;
    web.send(&params("/"), b"").await;
    gateway.holds(0, 1).await;
    app.restart().await.unwrap();
    assert_eq!(web.answer().await.unwrap().body(), b"well");
}

#[tokio::test]
async fn a_replica_that_breaks_off_is_a_502_and_is_not_asked_twice() {
    let apps = [
        app!(exchange => { exchange.body().await?; exchange.hang_up(); Ok(()) }),
        app!(exchange => { exchange.body().await?; exchange.reset() }),
        app!(exchange => exchange.raw(b"HTTP/1.1 200 OK\r\n\r\n").await),
        app!(exchange => { exchange.stderr("PHP Fatal error").await?; exchange.hang_up(); Ok(()) }),
    ];
    for app in apps {
        let gateway = Gateway::start(&[&app.address()], &[]).await;
        let mut web = gateway.connect().await;
        let mut post = params("/");
        post.push("REQUEST_METHOD", "POST");
        let answer = web.ask(&post, b"body").await.unwrap();
        assert_eq!((answer.status(), answer.end), (502, EndRequest::COMPLETE));
        assert_eq!(answer.header("Retry-After"), None);
        assert_eq!(app.count(), 1);
        assert!((gateway.outcomes("upstream_broken").await - 1.0).abs() < 0.1);
        gateway.holds(0, 0).await;
        // The connection to the web server is as good as before.
        assert_eq!(web.ask(&post, b"body").await.unwrap().status(), 502);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_never_looks_complete() {
    let app = app!(exchange => {
        exchange.stdout(page("the beginning")).await?;
        exchange.hang_up();
        Ok(())
    });
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    let error = web.ask(&params("/"), b"").await.unwrap_err();
    let ReadError::Protocol(ProtocolError::PrematureEof { stdout, .. }) = error else { panic!("{error}") };
    assert_eq!(stdout, page("the beginning").len() as u64, "what there was arrived");
    assert!((gateway.outcomes("truncated").await - 1.0).abs() < 0.1);
    gateway.holds(0, 0).await;
}

/// nginx takes an end of file for the end of the response where it has not asked to keep the connection.
#[tokio::test]
async fn a_response_that_breaks_off_on_a_connection_that_is_not_kept_is_a_reset() {
    let app = app!(exchange => {
        exchange.stdout(page("the beginning")).await?;
        exchange.hang_up();
        Ok(())
    });
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, false, &params("/"));
    RequestEncoder::new(1).stdin_end(&mut out);
    web.write(out).await;
    let mut bytes = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut web.stream, &mut bytes);
    let end = tokio::time::timeout(DEADLINE, end).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_truncated_response_spares_the_others_on_its_connection() {
    let gate = Gate::new();
    let held = gate.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let held = held.clone();
        async move {
            exchange.stdout(page("the beginning")).await?;
            if exchange.param("REQUEST_URI") == "/breaks" {
                exchange.hang_up();
                return Ok(());
            }
            held.pass().await;
            exchange.stdout(" and the end").await?;
            exchange.end().await
        }
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, true, &params("/holds"));
    RequestEncoder::new(1).stdin_end(&mut out);
    web.write(out).await;
    web.event().await.unwrap();
    let mut out = Outbound::new();
    RequestEncoder::new(2).begin(&mut out, Role::Responder, true, &params("/breaks"));
    RequestEncoder::new(2).stdin_end(&mut out);
    web.write(out).await;
    wait_until("the other to break", DEADLINE, async || gateway.outcomes("truncated").await > 0.5).await;
    gate.open();
    let bytes = read_all(&mut web.stream).await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(" and the end"), "{text}");
    // END_REQUEST came for the first and not for the second.
    let ends: Vec<u8> = ends(&bytes);
    assert_eq!(ends, [1]);
}

/// Everything up to the end of file.
async fn read_all(stream: &mut common::net::Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(stream, &mut bytes);
    tokio::time::timeout(DEADLINE, reading).await.unwrap().unwrap();
    bytes
}

/// The ids of the END_REQUEST records.
fn ends(bytes: &[u8]) -> Vec<u8> {
    let mut buffer = bytes::BytesMut::from(bytes);
    let mut ids = Vec::new();
    while let Some(record) = common::fastcgi::Record::decode(&mut buffer).unwrap() {
        if record.kind == common::fastcgi::RecordType::EndRequest {
            ids.push(record.request_id as u8);
        }
    }
    ids
}

#[tokio::test]
async fn a_replica_that_does_not_move_is_a_504() {
    let app = app!(exchange => { exchange.abandoned().await; Ok(()) });
    let gateway = Gateway::start(&[&app.address()], &["--read-timeout=300ms"]).await;
    assert_eq!(gateway.get("/").await.status(), 504);
    wait_until("its connection to be closed", DEADLINE, async || app.busy() == 0).await;
    assert!((gateway.outcomes("upstream_timeout").await - 1.0).abs() < 0.1);

    // In the middle of a response there is nothing left to say.
    let app = app!(exchange => {
        exchange.stdout(page("the beginning")).await?;
        exchange.abandoned().await;
        Ok(())
    });
    let gateway = Gateway::start(&[&app.address()], &["--read-timeout=300ms"]).await;
    gateway.connect().await.ask(&params("/"), b"").await.unwrap_err();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_the_client_s_fault() {
    let app = well().await;
    let gateway = Gateway::start(&[&app.address()], &["--read-timeout=300ms"]).await;
    let mut web = gateway.connect().await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, true, &params("/"));
    RequestEncoder::new(1).stdin(&mut out, Bytes::from_static(b"half of"));
    web.write(out).await;
    assert_eq!(web.answer().await.unwrap().status(), 408);
    wait_until("the worker to be free", DEADLINE, async || app.busy() == 0).await;
    assert!((gateway.outcomes("client_stalled").await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_replica_may_refuse() {
    let app = app!(exchange => {
        exchange.end_with(EndRequest { app_status: 0, protocol_status: ProtocolStatus::Overloaded }).await
    });
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    assert_unavailable(&gateway.get("/").await);
}

#[tokio::test]
async fn nonsense_ends_the_connection_alone() {
    let app = well().await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut web.stream, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = web.event().await.unwrap_err();
    assert!(matches!(error, ReadError::Protocol(_) | ReadError::Io(_)), "{error}");
    assert_eq!(gateway.get("/").await.body(), b"well");
}

#[tokio::test]
async fn a_replica_that_is_silent_when_idle_is_taken_out_of_use() {
    let silent = app!(exchange => { exchange.abandoned().await; Ok(()) });
    let app = well().await;
    let flags = ["--probe-interval=50ms", "--probe-timeout=100ms"];
    let gateway = Gateway::start(&[&silent.address(), &app.address()], &flags).await;
    wait_until("three probes without an answer", DEADLINE, async || {
        gateway.metric("fpm_gateway_upstream_usable", &[("upstream", &silent.address())]).await < 0.5
    })
    .await;
    assert!(gateway.metric("fpm_gateway_upstream_usable", &[("upstream", &app.address())]).await > 0.5);
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.body(), b"well");
    }
}

#[tokio::test]
async fn busy_is_not_dead() {
    let gate = Gate::new();
    let held = gate.clone();
    let app = FakeFastCgiApp::with_workers(1, move |mut exchange| {
        let held = held.clone();
        async move {
            held.pass().await;
            exchange.respond(page("done")).await
        }
    })
    .await
    .unwrap();
    // Its one worker works, and we believe that it has two: probes wait in its backlog.
    let flags = ["--workers-per-upstream=2", "--probe-interval=20ms", "--probe-timeout=20ms"];
    let gateway = Gateway::start(&[&app.address()], &flags).await;
    let mut web = gateway.connect().await;
    web.send(&params("/"), b"").await;
    gate.arrived(1).await;
    // Long enough for more probes than a silent replica is forgiven.
    let until = Instant::now() + Duration::from_millis(500);
    wait_until("half a second of probes", DEADLINE, async || {
        assert!(gateway.metric("fpm_gateway_upstream_usable", &[]).await > 0.5);
        Instant::now() > until
    })
    .await;
    gate.open();
    assert_eq!(web.answer().await.unwrap().body(), b"done");
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let dead = format!("127.0.0.1:{}", free_port().unwrap());
    let (galera, memcached) = (format!("--galera={dead}"), format!("--memcached={dead}"));
    let flags = ["--retry-timeout=10ms", "--galera-shedding=off", &galera, &memcached];
    let gateway = Gateway::start(&[&dead], &flags).await;
    assert_unavailable(&gateway.get("/").await);
    let described = Metrics::fetch(gateway.admin).await.unwrap().described("");
    assert_eq!(described, Metrics::documented("fpm_gateway_").unwrap());
}

#[tokio::test]
async fn a_request_that_may_be_repeated_is_when_nothing_was_heard() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    // The first connection ends without a word, as when a worker is killed before its script's first byte.
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                exchange.hang_up();
                return Ok(());
            }
            exchange.body().await?;
            exchange.respond(page("well")).await
        }
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status(), answer.body()), (200, &b"well"[..]));
    assert!((gateway.metric("fpm_gateway_retries_total", &[]).await - 1.0).abs() < 0.1);

    // An order is not placed twice.
    calls.store(0, Ordering::Relaxed);
    let mut post = params("/order");
    post.push("REQUEST_METHOD", "POST");
    assert_eq!(gateway.connect().await.ask(&post, b"").await.unwrap().status(), 502);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    gateway.holds(0, 0).await;
}

#[tokio::test]
async fn a_replica_that_fails_everything_is_ejected_and_what_php_says_is_no_failure() {
    let bad = FakeFastCgiApp::tcp(|mut exchange| async move {
        exchange.stdout("Status: 200\r\n\r\nhal").await?;
        exchange.hang_up();
        Ok(())
    })
    .await
    .unwrap();
    let angry = FakeFastCgiApp::tcp(|mut exchange| async move {
        exchange.body().await?;
        exchange.respond("Status: 500 Internal Server Error\r\n\r\nPHP's own").await
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&[&bad.address(), &angry.address()], &[]).await;
    for _ in 0..40 {
        // Cut off or PHP's own error.
        let _ = gateway.connect().await.ask(&params("/"), b"").await;
    }
    assert_eq!(bad.count(), 5, "ejected after five in a row");
    assert_eq!(angry.count(), 35);
    let ejected = serde_json::from_str::<serde_json::Value>(&gateway.status().await).unwrap();
    let ejected = ejected["replicas"].as_array().unwrap();
    assert_eq!(ejected.iter().filter(|replica| replica["ejected"] == true).count(), 1);
}

#[tokio::test]
async fn an_ejected_replica_comes_back_when_it_answers() {
    let gate = Gate::new();
    let held = gate.clone();
    let broken = Arc::new(AtomicBool::new(true));
    let breaks = Arc::clone(&broken);
    // It accepts and cuts off; then it stands still; then it is well.
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let (gate, breaks) = (held.clone(), breaks.load(Ordering::Relaxed));
        async move {
            if breaks {
                exchange.stdout("Status: 200\r\n\r\nhal").await?;
                exchange.hang_up();
                return Ok(());
            }
            gate.pass().await;
            exchange.body().await?;
            exchange.respond(page("well")).await
        }
    })
    .await
    .unwrap();
    let other = well().await;
    let flags = ["--probe-interval=200ms", "--probe-timeout=300ms"];
    let gateway = Gateway::start(&[&app.address(), &other.address()], &flags).await;
    let is = async |key: &str, value: bool| {
        let status: serde_json::Value = serde_json::from_str(&gateway.status().await).unwrap();
        status["replicas"].as_array().unwrap().iter().any(|replica| replica[key] == value)
    };
    wait_until("an ejection", DEADLINE, async || {
        let _ = gateway.connect().await.ask(&params("/"), b"").await;
        is("ejected", true).await || is("usable", false).await
    })
    .await;
    broken.store(false, Ordering::Relaxed);
    // Its time passes, and nobody answers: requests go to the other all the while.
    gate.arrived(2).await;
    for _ in 0..5 {
        assert_eq!(gateway.get("/").await.body(), b"well");
    }
    gate.open();
    wait_until("both to be in use", DEADLINE, async || !is("usable", false).await).await;
}
