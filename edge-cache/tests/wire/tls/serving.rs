use std::time::Duration;

use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::support::{Authority, field, get, text};
use crate::support::Edge;

pub(crate) async fn site(flags: &[&str]) -> (FakeOrigin, Authority, Edge) {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| Reply::ok("page").header("Cache-Control", "max-age=60"));
    origin.route("/echo", |request| {
        let of = |name: &str| request.header(name).unwrap_or("none").to_owned();
        let fields =
            ["host", "x-forwarded-proto", "x-forwarded-port", "forwarded", "via", "cookie", "content-length"];
        Reply::ok(
            fields.map(|name| format!("{name}: {}\n", of(name))).concat()
                + &String::from_utf8_lossy(&request.body),
        )
        .header("Cache-Control", "no-store")
    });
    let authority = Authority::of_the_site();
    let tls = authority.flags();
    let mut all: Vec<&str> = tls.iter().map(String::as_str).collect();
    all.extend(flags);
    let edge = Edge::start(&origin, &all).await;
    (origin, authority, edge)
}

#[tokio::test]
async fn http1_over_tls_is_the_same_handler_with_another_scheme() {
    let (_origin, authority, edge) = site(&[]).await;
    let mut client = authority.client(&["http/1.1"]).http1(edge.tls(), "site.example").await;
    let miss = client.send_request(get("/")).await.unwrap();
    assert_eq!((field(&miss, "x-cache"), miss.status().as_u16()), ("MISS", 200));
    assert_eq!(text(miss).await, "page");
    edge.stored(1).await;
    let hit = client.send_request(get("/")).await.unwrap();
    assert_eq!(field(&hit, "x-cache"), "HIT");
    text(hit).await;
    // The scheme is part of the key, as it is behind a proxy that terminates TLS.
    assert_eq!(crate::support::x_cache(&edge.get("/").await), "MISS");
    let echo = text(client.send_request(get("/echo")).await.unwrap()).await;
    assert!(echo.contains("x-forwarded-proto: https\nx-forwarded-port: 443\n"), "{echo}");
    assert!(echo.contains("forwarded: for=127.0.0.1;host=\"site.example\";proto=https\n"), "{echo}");
}

#[tokio::test]
async fn both_versions_and_clients_without_alpn() {
    let (_origin, authority, edge) = site(&[]).await;
    for (version, label) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let mut client = authority.client_with(&[], &[version]).http1(edge.tls(), "site.example").await;
        let response = client.send_request(get("/")).await.unwrap();
        assert_eq!(text(response).await, "page", "TLS {label}");
        let sample = format!(
            "edge_cache_tls_handshakes_total{{version=\"{label}\",protocol=\"http/1.1\",resumed=\"no\"}}"
        );
        assert!((edge.sample(&sample).await - 1.0).abs() < 0.1, "{sample}");
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let (_origin, authority, edge) = site(&[]).await;
    let client = authority.client(&["http/1.1"]);
    for _ in 0..2 {
        // Tickets come behind the handshake: a response is behind them.
        let mut http = client.http1(edge.tls(), "site.example").await;
        text(http.send_request(get("/")).await.unwrap()).await;
    }
    let resumed = "edge_cache_tls_handshakes_total{version=\"1.3\",protocol=\"http/1.1\",resumed=\"yes\"}";
    assert!((edge.sample(resumed).await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn the_framing_is_checked_behind_tls_too() {
    let (origin, authority, edge) = site(&[]).await;
    let mut stream = authority.client(&["http/1.1"]).connect(edge.tls(), "site.example").await.unwrap();
    let smuggled = "POST /a HTTP/1.1\r\nHost: site.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    stream.write_all(smuggled.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(origin.count("/a"), 0);
    assert!(edge.sample("edge_cache_refused_total{reason=\"length-and-coding\"}").await > 0.5);
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let (_origin, authority, edge) = site(&["--proxy-protocol"]).await;
    let mut stream = TcpStream::connect(edge.tls()).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n").await.unwrap();
    let mut stream = authority.client(&[]).over(stream, "site.example").await.unwrap();
    stream.write_all(b"GET /echo HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("forwarded: for=192.0.2.7;"), "{answer}");
}

#[tokio::test]
async fn an_upgrade_is_tunnelled_over_tls() {
    let (origin, authority, edge) = site(&[]).await;
    origin.route("/socket", |_| {
        Reply::raw(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
        )
    });
    let mut stream = authority.client(&["http/1.1"]).connect(edge.tls(), "site.example").await.unwrap();
    let request =
        "GET /socket HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    wait_until("the tunnel's bytes", DEADLINE, async || {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut piece)).await;
        answer.extend_from_slice(&piece[..read.unwrap_or(Ok(0)).unwrap()]);
        answer.ends_with(b"hello")
    })
    .await;
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
}

#[tokio::test]
async fn a_drain_lets_a_response_over_tls_end() {
    let (origin, authority, edge) = site(&[]).await;
    let gate = test_support::gate::Gate::new();
    let held = gate.clone();
    origin.route("/slow", move |_| Reply::ok("at last").held_by(&held));
    let mut client = authority.client(&["http/1.1"]).http1(edge.tls(), "site.example").await;
    let (response, ()) = tokio::join!(client.send_request(get("/slow")), async {
        gate.arrived(1).await;
        edge.shutdown().drain();
        gate.open();
    });
    assert_eq!(text(response.unwrap()).await, "at last");
    edge.metric_becomes("edge_cache_connections", 0.0).await;
}
