//! Bodies of requests.

use std::time::Duration;

use bytes::Bytes;
use test_support::client::Client;
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::process::rss;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{NOBODY, Proxy};

/// Answers with the length of the body and that of CONTENT_LENGTH.
async fn counting() -> FakeFastCgiApp {
    FakeFastCgiApp::tcp(async |mut exchange| {
        let mut length = 0;
        while let Some(piece) = exchange.stdin().await? {
            length += piece.len();
        }
        let answer = format!("{length} of {}", exchange.param("CONTENT_LENGTH"));
        exchange.respond(page(&answer)).await
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn of_a_known_length() {
    let app = counting().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    let body: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let response = proxy.request("POST", "/upload", &[("Content-Type", "a/b")], &body).await;
    assert_eq!(response.text(), "200000 of 200000");
    assert_eq!(app.requests()[0].body, body);
    assert_eq!(app.requests()[0].param("CONTENT_TYPE"), "a/b");
    assert_eq!(proxy.request("POST", "/", &[("Content-Length", "0")], b"").await.text(), "0 of 0");
    assert_eq!(proxy.request("POST", "/", &[], b"").await.text(), "0 of ");
    assert_eq!(proxy.request("GET", "/", &[], b"body").await.text(), "4 of 4");
}

#[tokio::test]
async fn of_an_unknown_length() {
    let app = counting().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = format!("--spool={}", folder.path().display());
    let proxy = Proxy::start(&app.address(), &[&spool, "--max-body=1MiB"]).await;
    for length in [0, 5, 65_536, 65_537, 300_000, 1 << 20] {
        let body: Vec<u8> = (0..length).map(|number: u32| (number % 251) as u8).collect();
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        for chunk in body.chunks(10_000) {
            client.send(format!("{:x}\r\n", chunk.len())).await.unwrap();
            client.send(chunk).await.unwrap();
            client.send("\r\n").await.unwrap();
        }
        client.send("0\r\n\r\n").await.unwrap();
        assert_eq!(client.response("POST").await.unwrap().text(), format!("{length} of {length}"));
        let seen = app.requests().pop().unwrap();
        assert!(seen.body == body && seen.body_complete, "{length}");
    }
    // The file has no name.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn too_large_ones_are_refused() {
    let app = counting().await;
    let proxy = Proxy::start(&app.address(), &["--max-body=1KiB"]).await;
    let response = proxy.request("POST", "/", &[], &[b'x'; 1025]).await;
    assert_eq!(response.status, 413);
    assert!(response.text().contains("413"));
    // More than the kernel's buffers hold is on its way when the answer comes; it is read all the same.
    assert_eq!(proxy.request("POST", "/", &[], &vec![b'x'; 9 << 20]).await.status, 413);

    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    client.send(format!("401\r\n{}\r\n", "x".repeat(1025))).await.unwrap();
    assert_eq!(client.response("POST").await.unwrap().status, 413);
    assert_eq!(app.count(), 0);
    assert_eq!(proxy.request("POST", "/", &[], &[b'x'; 1024]).await.status, 200);
}

#[tokio::test]
async fn the_client_is_told_to_continue_when_its_body_is_wanted() {
    let app = counting().await;
    let proxy = Proxy::start(&app.address(), &["--max-body=1KiB", "--request-buffer=0"]).await;
    let expecting = "HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length:";
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send(format!("POST / {expecting} 5\r\n\r\n")).await.unwrap();
    wait_until("the application to be asked", DEADLINE, async || app.count() == 1).await;
    client.send("hello").await.unwrap();
    let response = client.response("POST").await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "5 of 5"));
    assert_eq!(response.informational.iter().map(|response| response.status).collect::<Vec<_>>(), [100]);
    for (target, status) in [("POST / ", 413), ("POST /.env ", 403)] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("{target}{expecting} 5000\r\n\r\n")).await.unwrap();
        let response = client.response("POST").await.unwrap();
        assert_eq!((response.status, response.informational.len()), (status, 0));
    }
    // Before the application is asked, where its beginning is taken in.
    let proxy = Proxy::start(&app.address(), &[]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send(format!("POST / {expecting} 5\r\n\r\n")).await.unwrap();
    assert_eq!(client.some_bytes().await.unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(app.count(), 1);
    client.send("hello").await.unwrap();
    assert_eq!(client.response("POST").await.unwrap().text(), "5 of 5");
}

#[tokio::test]
async fn the_application_may_answer_before_it_has_read_everything() {
    let read_on = Gate::new();
    let gate = read_on.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let gate = gate.clone();
        async move {
            exchange.stdout(page("early ")).await?;
            gate.pass().await;
            let body = exchange.body().await?;
            exchange.stdout(body.len().to_string()).await?;
            exchange.end().await
        }
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &["--request-buffer=0"]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345").await.unwrap();
    let head = client.response_head("POST").await.unwrap();
    assert_eq!(head.status, 200);
    client.send("67890").await.unwrap();
    read_on.open();
    let mut body = Vec::new();
    client.drain(head.framing, |chunk| body.extend_from_slice(chunk)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&body), "early 10");

    // And one that reads nothing at all is answered too, while the client still sends.
    let app = FakeFastCgiApp::tcp(async |mut exchange| exchange.respond(page("unread")).await).await.unwrap();
    let proxy = Proxy::start(&app.address(), &["--request-buffer=0"]).await;
    assert_eq!(proxy.request("POST", "/", &[], &vec![b'x'; 4 << 20]).await.text(), "unread");
    proxy.is_idle().await;
}

#[tokio::test]
async fn a_client_that_stops_sending() {
    let app = counting().await;
    for buffer in ["--request-buffer=0", "--request-buffer=1MiB"] {
        let flags = ["--client-timeout=300ms", "--fastcgi-timeout=100ms", buffer];
        stops_sending(&app, &Proxy::start(&app.address(), &flags).await).await;
    }
}

async fn stops_sending(app: &FakeFastCgiApp, proxy: &Proxy) {
    // Slow, but not too slow: the application's own patience does not count meanwhile.
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n").await.unwrap();
    for byte in ["a", "b", "c"] {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.send(byte).await.unwrap();
    }
    assert_eq!(client.response("POST").await.unwrap().text(), "3 of 3");
    for framing in ["Content-Length: 3\r\n\r\na", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}")).await.unwrap();
        assert_eq!(client.response("POST").await.unwrap().status, 408, "{framing}");
    }
    wait_until("the workers to be free", DEADLINE, async || app.busy() == 0).await;
}

#[tokio::test]
async fn a_client_that_sends_a_byte_now_and_then() {
    let app = counting().await;
    let length = "Content-Length: 100000";
    for (framing, dribble, buffer) in [
        (length, "a", "--request-buffer=0"),
        (length, "a", "--request-buffer=1MiB"),
        ("Transfer-Encoding: chunked", "1\r\na\r\n", "--request-buffer=0"),
    ] {
        let proxy = Proxy::start(&app.address(), &["--client-timeout=300ms", buffer]).await;
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n")).await.unwrap();
        // No pause is too long, but their sum is.
        wait_until("the client to be refused", DEADLINE, async || {
            client.send(dribble).await.unwrap();
            proxy.metric("web_proxy_requests_total", &[("status", "4xx")]).await > 0.5
        })
        .await;
        assert_eq!(client.response("POST").await.unwrap().status, 408, "{framing}");
        wait_until("the worker to be free", DEADLINE, async || app.busy() == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle() {
    let app = counting().await;
    let proxy = Proxy::start(&app.address(), &["--request-buffer=0"]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345").await.unwrap();
    wait_until("the request to arrive", DEADLINE, async || app.count() == 1).await;
    drop(client);
    wait_until("the worker to be free", DEADLINE, async || app.busy() == 0).await;
    assert!(!app.requests()[0].body_complete);
    proxy.is_idle().await;
}

#[tokio::test]
async fn large_ones_take_little_memory_in_both_directions() {
    const LENGTH: usize = 300 << 20;
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let mut length = 0;
        while let Some(piece) = exchange.stdin().await? {
            length += piece.len();
        }
        exchange.stdout("Content-Type: application/octet-stream\r\n\r\n").await?;
        let piece = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..length >> 20 {
            exchange.stdout(piece.clone()).await?;
        }
        exchange.end().await
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    let before = rss(std::process::id()).unwrap();
    let mut most = 0;
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n")).await.unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..LENGTH >> 20 {
        client.send(&piece).await.unwrap();
        most = most.max(rss(std::process::id()).unwrap());
    }
    let response = client.response_head("POST").await.unwrap();
    let mut seen = 0;
    client
        .drain(response.framing, |chunk| {
            if seen >> 24 != (seen + chunk.len()) >> 24 {
                most = most.max(rss(std::process::id()).unwrap());
            }
            seen += chunk.len();
        })
        .await
        .unwrap();
    assert_eq!(seen, LENGTH);
    // Other tests run in this process too.
    assert!(most.saturating_sub(before) < 120 << 20, "from {before} to {most} bytes");
    drop(client);
    proxy.is_idle().await;
}

#[tokio::test]
async fn nothing_is_asked_of_an_application_that_is_not_there() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    assert_eq!(proxy.request("POST", "/", &[], &vec![b'x'; 4 << 20]).await.status, 503);
    proxy.is_idle().await;
}
