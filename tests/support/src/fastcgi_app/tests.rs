#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use common::fastcgi::{ProtocolError, ReadError, RequestEncoder, ResponseDecoder, ResponseEvent, Role};

use super::*;
use crate::gate::Gate;

#[tokio::test]
async fn answers_and_records() {
    let app = FakeFastCgiApp::unix(|mut exchange| async move {
        let body = exchange.body().await?;
        exchange.stderr("a notice").await?;
        exchange.respond(page(&format!("{} {}", exchange.param("A"), body.len()))).await
    })
    .await
    .unwrap();
    let (output, errors) = ask(&app, false, &b"x".repeat(100_000)).await.unwrap();
    assert_eq!(output, page("1 100000"));
    assert_eq!(errors, "a notice");
    let seen = app.requests().remove(0);
    assert!(seen.body_complete && seen.body_length == 100_000 && !seen.keep_conn);
    assert_eq!(seen.param("A"), "1");
    wait_until("the worker to be free", DEADLINE, async || app.busy() == 0).await;
}

#[tokio::test]
async fn a_crash_is_a_premature_end() {
    let app = FakeFastCgiApp::tcp(|mut exchange| async move { exchange.stdout("Status: 200\r\n").await })
        .await
        .unwrap();
    let error = ask(&app, true, b"").await.unwrap_err();
    let premature = ProtocolError::PrematureEof { stdout: 13, silent: false };
    assert!(matches!(error, ReadError::Protocol(error) if error == premature));
}

#[tokio::test]
async fn workers_are_as_few_as_asked() {
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
    let first = ask(&app, false, b"");
    let second = ask(&app, false, b"");
    let watching = async {
        gate.arrived(1).await;
        assert_eq!((app.count(), app.busy()), (1, 1));
        gate.open();
    };
    let (first, second, ()) = tokio::join!(first, second, watching);
    assert_eq!((first.unwrap().0, second.unwrap().0), (page("done"), page("done")));
    assert_eq!(app.connections(), 2);
}

#[tokio::test]
async fn stops_and_comes_back() {
    let mut app =
        FakeFastCgiApp::unix(|mut exchange| async move { exchange.respond(page("up")).await }).await.unwrap();
    app.stop().await;
    app.restart().await.unwrap();
    assert_eq!(ask(&app, false, b"").await.unwrap().0, page("up"));
}

async fn ask(app: &FakeFastCgiApp, keep_conn: bool, body: &[u8]) -> Result<(Bytes, String), ReadError> {
    let mut stream = app.endpoint().connect(DEADLINE).await?;
    let mut out = Outbound::default();
    let encoder = RequestEncoder::new(1);
    encoder.begin(&mut out, Role::Responder, keep_conn, &[("A", "1")].into_iter().collect());
    encoder.stdin(&mut out, Bytes::copy_from_slice(body));
    encoder.stdin_end(&mut out);
    stream.write_all_buf(&mut out).await?;
    let mut decoder = ResponseDecoder::new(1);
    let (mut output, mut errors) = (Vec::new(), String::new());
    while let Some(event) = fcgi::response(&mut stream, &mut decoder).await? {
        match event {
            ResponseEvent::Stdout(chunk) => output.extend_from_slice(&chunk),
            ResponseEvent::Stderr(chunk) => errors.push_str(&String::from_utf8_lossy(&chunk)),
            ResponseEvent::End(_) => break,
            _ => {}
        }
    }
    Ok((output.into(), errors))
}
