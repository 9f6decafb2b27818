//! What a web server may do to its connection, and what it costs.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use common::fastcgi::message::MPXS_CONNS;
use common::fastcgi::{Outbound, RequestEncoder, ResponseEvent, Role};
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::AsyncWriteExt as _;

use crate::support::{Gateway, WebServer, params};

/// Answers when the gate is open, or sees that nobody waits any more.
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

/// A request behind one that holds the only worker, with some of its body.
async fn queued_upload(gateway: &Gateway, pieces: usize) -> (WebServer, WebServer) {
    let mut first = gateway.connect().await;
    first.send(&params("/first"), b"").await;
    gateway.holds(1, 0).await;
    let mut second = gateway.connect().await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, true, &params("/upload"));
    for _ in 0..pieces {
        RequestEncoder::new(1).stdin(&mut out, Bytes::from(vec![b'u'; 8 << 10]));
    }
    second.write(out).await;
    gateway.holds(1, 1).await;
    (first, second)
}

#[tokio::test]
async fn an_upload_that_waits_is_given_up_with_its_web_server() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let flags = ["--workers-per-upstream=1", "--queue-timeout=1h"];
    let gateway = Gateway::start(&[&app.address()], &flags).await;
    let (_first, upload) = queued_upload(&gateway, 12).await;
    drop(upload);
    gateway.holds(1, 0).await;
    assert!((gateway.outcomes("client_gone").await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn an_abort_is_heard_behind_a_body_that_waits() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let flags = ["--workers-per-upstream=1", "--queue-timeout=1h"];
    let gateway = Gateway::start(&[&app.address()], &flags).await;
    let (_first, mut upload) = queued_upload(&gateway, 12).await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).abort(&mut out);
    upload.write(out).await;
    assert_eq!(upload.answer().await.unwrap().stdout, b"");
    gateway.holds(1, 0).await;
}

#[tokio::test]
async fn a_body_that_waits_does_not_hold_up_its_neighbour() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let flags = ["--workers-per-upstream=1", "--queue-timeout=1h"];
    let gateway = Gateway::start(&[&app.address()], &flags).await;
    let mut web = gateway.connect().await;
    let mut out = Outbound::new();
    for (id, uri) in [(1, "/first"), (2, "/second")] {
        RequestEncoder::new(id).begin(&mut out, Role::Responder, true, &params(uri));
    }
    for _ in 0..12 {
        RequestEncoder::new(2).stdin(&mut out, Bytes::from(vec![b'u'; 8 << 10]));
    }
    // The one that has the worker waits for this, behind the body of the one that waits for the worker.
    RequestEncoder::new(1).stdin(&mut out, Bytes::from_static(b"body"));
    RequestEncoder::new(1).stdin_end(&mut out);
    web.write(out).await;
    gate.arrived(1).await;
    gate.open();
    assert_eq!(web.answer().await.unwrap().body(), b"done");
}

#[tokio::test]
async fn a_connection_is_idle_from_its_last_answer_on() {
    let gate = Gate::new();
    let app = held(&gate).await;
    let gateway = Gateway::start(&[&app.address()], &["--idle-timeout=1s"]).await;
    let mut web = gateway.connect().await;
    web.send(&params("/"), b"").await;
    gate.arrived(1).await;
    // A request that takes longer than an idle connection is kept.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    gate.open();
    web.answer().await.unwrap();
    // Time enough to notice that it closes.
    assert!(tokio::time::timeout(Duration::from_millis(300), web.event()).await.is_err(), "it is kept");
    assert_eq!(web.ask(&params("/"), b"").await.unwrap().body(), b"done");
    web.event().await.unwrap_err();
}

#[tokio::test]
async fn whoever_does_not_read_the_answers_may_not_go_on_asking() {
    const MOST: usize = 64 << 20;
    let app = held(&Gate::new()).await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    let mut question = Outbound::new();
    RequestEncoder::get_values(&mut question, &[MPXS_CONNS]);
    let question = question.copy_to_bytes(question.remaining());
    let mut sent = 0;
    let many = question.repeat(1000);
    // The buffers of the kernel take some; then it stands still.
    loop {
        // Where the last write has ended, which may be within a question.
        let rest = &many[sent % many.len()..];
        let write = tokio::time::timeout(Duration::from_millis(500), web.stream.write(rest));
        let Ok(written) = write.await else { break };
        sent += written.unwrap();
        assert!(sent < MOST, "the gateway takes in whatever comes");
    }
    let answers = sent / question.len();
    for _ in 0..answers {
        assert!(matches!(web.event().await.unwrap(), Some(ResponseEvent::Values(_))));
    }
    wait_until("the gateway to serve others", DEADLINE, async || {
        gateway.metric("fpm_gateway_connections", &[]).await > 0.5
    })
    .await;
}

#[tokio::test]
async fn a_response_that_fits_frees_its_worker_however_slow_the_web_server_is() {
    const LARGE: usize = 12 << 20;
    let app = FakeFastCgiApp::tcp(|mut exchange| async move {
        exchange.stdout("Content-Type: text/plain\r\n\r\n").await?;
        exchange.stdout(vec![b'x'; LARGE]).await?;
        exchange.end().await
    })
    .await
    .unwrap();
    // Nothing is read here, and the kernel does not hold all of it.
    let asks = async |flags: &[&str]| {
        let gateway = Gateway::start(&[&app.address()], flags).await;
        let mut web = gateway.connect().await;
        web.send(&params("/"), b"").await;
        (gateway, web)
    };
    let (gateway, mut web) = asks(&["--response-buffer=16MiB"]).await;
    wait_until("the worker to be free", DEADLINE, async || {
        gateway.metric("fpm_gateway_post_response_seconds_count", &[]).await > 0.5
    })
    .await;
    gateway.holds(0, 0).await;
    assert_eq!(web.answer().await.unwrap().body().len(), LARGE);

    let (gateway, mut web) = asks(&[]).await;
    gateway.holds(1, 0).await;
    assert_eq!(web.answer().await.unwrap().body().len(), LARGE);
    gateway.holds(0, 0).await;
}
