//! Requests and responses pass through as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::fastcgi::message::{MAX_REQS, MPXS_CONNS};
use common::fastcgi::{
    EndRequest, Outbound, Params, ProtocolStatus, RequestEncoder, ResponseDecoder, ResponseEvent, Role, io,
};
use fastcgi_client::{Client, Request};
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::AsyncReadExt as _;

use crate::support::{Gateway, WebServer, params};

async fn echo() -> FakeFastCgiApp {
    FakeFastCgiApp::tcp(|mut exchange| async move {
        let body = exchange.body().await?;
        exchange.stderr("a notice").await?;
        exchange.respond([page(&exchange.param("REQUEST_URI")), body.into()].concat()).await
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn over_tcp_and_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let app = FakeFastCgiApp::unix(|mut exchange| async move { exchange.respond(page("unix")).await })
        .await
        .unwrap();
    let listen = format!("--listen=unix:{}", folder.path().join("gateway.sock").display());
    let gateway = Gateway::start(&[&app.address()], &[&listen]).await;
    assert_eq!(gateway.get("/").await.body(), b"unix");

    let app = echo().await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let body = vec![b'x'; 300_000];
    let answer = gateway.connect().await.ask(&params("/tcp"), &body).await.unwrap();
    assert_eq!(answer.end, EndRequest::COMPLETE);
    assert_eq!(answer.stderr, b"a notice");
    assert_eq!(answer.body(), [b"/tcp", &body[..]].concat());
    assert!((gateway.outcomes("complete").await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn parameters_arrive_without_the_reserved_ones() {
    let app = echo().await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let long = "v".repeat(30_000);
    let mut sent = params("/");
    for n in 0..5 {
        sent.push(format!("HTTP_X_{n}"), long.clone());
    }
    let mut with_reserved = sent.clone();
    for name in ["PHP_VALUE", "PHP_ADMIN_VALUE", "REQUEST_BODY_FILE", "GALERA_WRITER", "MEMCACHED_SERVERS"] {
        with_reserved.push(name, "forged");
    }
    gateway.connect().await.ask(&with_reserved, b"").await.unwrap();
    assert_eq!(app.requests().remove(0).params, sent);
}

#[tokio::test]
async fn a_kept_connection_carries_many_requests_each_with_its_own_upstream_connection() {
    let app = echo().await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    for n in 0..20 {
        let answer = web.ask(&params(&format!("/{n}")), b"").await.unwrap();
        assert_eq!(answer.body(), format!("/{n}").as_bytes());
    }
    assert_eq!(app.connections(), 20);
    // Kept for one question: when the worker is free.
    assert!(app.requests().iter().all(|request| request.keep_conn && request.body_complete));
    assert!((gateway.metric("fpm_gateway_connections", &[]).await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn without_keep_conn_the_connection_is_closed() {
    let app = echo().await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, false, &params("/"));
    RequestEncoder::new(1).stdin_end(&mut out);
    web.write(out).await;
    web.answer().await.unwrap();
    assert_eq!(web.stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn requests_are_multiplexed_on_one_connection() {
    let gates: Vec<Gate> = (0..4).map(|_| Gate::new()).collect();
    let held = gates.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let held = held.clone();
        async move {
            let n: usize = exchange.param("REQUEST_URI")[1..].parse()?;
            let body = exchange.body().await?;
            held[n].pass().await;
            exchange.respond([page(""), body.into()].concat()).await
        }
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut stream = gateway.endpoint.connect(DEADLINE).await.unwrap();
    let mut out = Outbound::new();
    for id in 1..=4_u16 {
        RequestEncoder::new(id).begin(&mut out, Role::Responder, true, &params(&format!("/{}", id - 1)));
    }
    for id in [3, 1, 4, 2] {
        RequestEncoder::new(id).stdin(&mut out, Bytes::from(format!("body {id}")));
        RequestEncoder::new(id).stdin_end(&mut out);
    }
    tokio::io::AsyncWriteExt::write_all_buf(&mut stream, &mut out).await.unwrap();
    // They end in the order in which they are let go.
    for n in [2_u16, 0, 3, 1] {
        let gate = &gates[usize::from(n)];
        gate.arrived(1).await;
        gate.open();
        let mut decoder = ResponseDecoder::new(n + 1);
        let mut output = Vec::new();
        loop {
            match io::response(&mut stream, &mut decoder).await.unwrap().unwrap() {
                ResponseEvent::Stdout(chunk) => output.extend_from_slice(&chunk),
                ResponseEvent::End(end) => break assert_eq!(end, EndRequest::COMPLETE),
                other => panic!("{other:?}"),
            }
        }
        assert!(output.ends_with(format!("body {}", n + 1).as_bytes()), "{n}");
    }
}

#[tokio::test]
async fn the_fastcgi_client_crate_is_served() {
    let app = echo().await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let long = vec![b'y'; 200_000];
    for body in [&b""[..], &long] {
        let stream = gateway.endpoint.connect(DEADLINE).await.unwrap();
        let params = fastcgi_client::Params::default().request_uri("/crate").custom("HTTP_X", "1");
        let request = Request::new_tokio(params, body);
        let response = Client::new_tokio(stream).execute_once(request).await.unwrap();
        assert_eq!(response.stdout.unwrap(), [page("/crate"), Bytes::copy_from_slice(body)].concat());
        assert_eq!(response.stderr.unwrap(), b"a notice");
    }
    assert_eq!(app.requests()[0].param("HTTP_X"), "1");
}

#[tokio::test]
async fn questions_about_the_gateway_are_answered_by_itself() {
    let app = echo().await;
    let gateway = Gateway::start(&[&app.address()], &["--workers-per-upstream=7"]).await;
    let mut web = gateway.connect().await;
    let mut out = Outbound::new();
    RequestEncoder::get_values(&mut out, &[MAX_REQS, MPXS_CONNS, "FCGI_SOMETHING"]);
    web.write(out).await;
    let expected: Params = [(MAX_REQS, "7"), (MPXS_CONNS, "1")].into_iter().collect();
    assert_eq!(web.event().await.unwrap(), Some(ResponseEvent::Values(expected)));
    // The connection is as good as new.
    assert_eq!(web.ask(&params("/after"), b"").await.unwrap().body(), b"/after");
    assert_eq!(app.get_values(), 0);
}

#[tokio::test]
async fn other_roles_are_refused() {
    let app = echo().await;
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Authorizer, true, &params("/"));
    web.write(out).await;
    assert_eq!(web.answer().await.unwrap().end.protocol_status, ProtocolStatus::UnknownRole);
    assert_eq!(web.ask(&params("/after"), b"").await.unwrap().body(), b"/after");
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn a_response_may_come_before_the_body_was_read() {
    let app = FakeFastCgiApp::tcp(|mut exchange| async move { exchange.respond(page("no thanks")).await })
        .await
        .unwrap();
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    let answer = web.ask(&params("/"), &vec![0; 5_000_000]).await.unwrap();
    assert_eq!(answer.body(), b"no thanks");
    assert_eq!(web.ask(&params("/"), b"").await.unwrap().body(), b"no thanks", "the rest was skipped");
}

#[tokio::test]
async fn an_early_response_survives_the_close_of_its_connection() {
    let app = FakeFastCgiApp::tcp(|mut exchange| async move { exchange.respond(page("no thanks")).await })
        .await
        .unwrap();
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web = gateway.connect().await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, false, &params("/"));
    web.write(out).await;
    gateway.holds(0, 0).await;
    wait_until("the response to be complete", DEADLINE, async || gateway.outcomes("complete").await > 0.5)
        .await;
    // The connection would be reset under the response if these bytes were not read.
    let mut out = Outbound::new();
    RequestEncoder::new(1).stdin(&mut out, Bytes::from(vec![0; 1_000_000]));
    RequestEncoder::new(1).stdin_end(&mut out);
    web.write(out).await;
    assert_eq!(web.answer().await.unwrap().body(), b"no thanks");
}

#[tokio::test]
async fn a_body_and_a_response_flow_at_the_same_time() {
    // Every piece of body is sent back at once; neither side could finish first.
    let app = FakeFastCgiApp::tcp(|mut exchange| async move {
        exchange.stdout(page("")).await?;
        while let Some(chunk) = exchange.stdin().await? {
            exchange.stdout(chunk).await?;
        }
        exchange.end().await
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut stream = gateway.endpoint.connect(DEADLINE).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let body: Vec<u8> = (0..8_000_000_u32).map(|n| n as u8).collect();
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, true, &params("/"));
    RequestEncoder::new(1).stdin(&mut out, Bytes::from(body.clone()));
    RequestEncoder::new(1).stdin_end(&mut out);
    let reading = async {
        let mut decoder = ResponseDecoder::new(1);
        let mut output = Vec::new();
        loop {
            match io::response(&mut reader, &mut decoder).await.unwrap().unwrap() {
                ResponseEvent::Stdout(chunk) => output.extend_from_slice(&chunk),
                ResponseEvent::End(_) => break output,
                other => panic!("{other:?}"),
            }
        }
    };
    let (written, output) =
        tokio::join!(tokio::io::AsyncWriteExt::write_all_buf(&mut writer, &mut out), reading);
    written.unwrap();
    assert!(output.ends_with(&body));
}

#[tokio::test]
async fn a_slow_reader_slows_the_application_down() {
    const CHUNK: usize = 1 << 16;
    const CHUNKS: usize = 1000;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let counter = Arc::clone(&counter);
        async move {
            exchange.stdout(page("")).await?;
            for _ in 0..CHUNKS {
                exchange.stdout(vec![b'z'; CHUNK]).await?;
                counter.fetch_add(1, Ordering::Relaxed);
            }
            exchange.end().await
        }
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&[&app.address()], &[]).await;
    let mut web: WebServer = gateway.connect().await;
    web.send(&params("/"), b"").await;
    // It goes on for a while, into the buffers of the kernel, and then stands still.
    let mut before = 0;
    wait_until("the application to stand still", DEADLINE, async || {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = sent.load(Ordering::Relaxed);
        now > 0 && std::mem::replace(&mut before, now) == now
    })
    .await;
    assert!(before < CHUNKS / 2, "{before} of {CHUNKS} pieces without a reader");
    let answer = web.answer().await.unwrap();
    assert_eq!(answer.body().len(), CHUNK * CHUNKS);
}
