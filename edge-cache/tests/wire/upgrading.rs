//! WebSocket and other upgrades: another protocol through the cache.

use std::net::SocketAddr;

use test_support::client::Client;
use test_support::origin::{FakeOrigin, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{Edge, x_cache};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: site.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An origin that reads a head, answers with what it is given, and hands the connection to the test.
struct RawOrigin {
    address: SocketAddr,
    connections: mpsc::UnboundedReceiver<(String, TcpStream)>,
}

impl RawOrigin {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (give, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                // A test that has ended does not want it any more.
                let _ = give.send((String::from_utf8(head).unwrap(), stream));
            }
        });
        Self { address, connections }
    }

    async fn edge(&self, flags: &[&str]) -> Edge {
        Edge::in_front_of(&[&format!("http://{}", self.address)], flags).await
    }

    async fn connection(&mut self) -> (String, TcpStream) {
        self.connections.recv().await.unwrap()
    }
}

/// Both ends of a tunnel.
async fn tunnel(edge: &Edge, origin: &mut RawOrigin) -> (Client, TcpStream) {
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send(ASK).await.unwrap();
    let response = client.response_head("GET").await.unwrap();
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(response.header("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!((response.header("content-length"), response.header("transfer-encoding")), (None, None));
    edge.metric_becomes("edge_cache_tunnels", 1.0).await;
    let (_, stream) = origin.connection().await;
    (client, stream)
}

async fn ended(edge: &Edge) {
    edge.metric_becomes("edge_cache_tunnels", 0.0).await;
    edge.metric_becomes("edge_cache_connections", 0.0).await;
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    let mut origin = RawOrigin::start(SWITCH).await;
    let edge = origin.edge(&[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send(ASK).await.unwrap();
    assert_eq!(client.response_head("GET").await.unwrap().status, 101);
    let (head, mut server) = origin.connection().await;
    let head = head.to_lowercase();
    for field in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-key: dghlihn",
        "via: 1.1 edge-cache",
    ] {
        assert!(head.contains(field), "{field} is not in {head}");
    }
    // Nothing of it is HTTP.
    let frame = b"\x81\x05hello\r\n\r\n\0\n";
    client.send(frame).await.unwrap();
    let mut received = vec![0; frame.len()];
    server.read_exact(&mut received).await.unwrap();
    assert_eq!(received, frame);
    // More than any buffer, both ways at once.
    let (up, down) = (vec![1_u8; 3 << 20], vec![2_u8; 3 << 20]);
    let (reads, mut writes) = server.split();
    let mut reads = tokio::io::BufReader::new(reads);
    let mut came = vec![0; up.len()];
    let sending = async {
        client.send(&up).await.unwrap();
        let mut total = Vec::new();
        while total.len() < down.len() {
            total.extend(client.some_bytes().await.unwrap());
        }
        total
    };
    let (total, read, written) = tokio::join!(sending, reads.read_exact(&mut came), writes.write_all(&down));
    read.unwrap();
    written.unwrap();
    assert!(total == down && came == up);
    // One end, then the other.
    client.finish_sending().await.unwrap();
    assert_eq!(reads.read(&mut [0; 1]).await.unwrap(), 0);
    writes.write_all(b"bye").await.unwrap();
    assert_eq!(client.some_bytes().await.unwrap(), b"bye");
    edge.metric_becomes("edge_cache_tunnels", 1.0).await;
    drop(server);
    assert!(client.is_closed().await);
    ended(&edge).await;
    let counted = edge.sample("edge_cache_requests_total{decision=\"PASS\",reason=\"upgrade\"}").await;
    assert!((counted - 1.0).abs() < 0.1, "{counted}");
}

#[tokio::test]
async fn what_a_side_says_at_once_arrives_behind_the_heads() {
    let answer: &str = Box::leak(format!("{SWITCH}first words").into_boxed_str());
    let mut origin = RawOrigin::start(answer).await;
    let edge = origin.edge(&[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    // No client may, and some do.
    client.send(format!("{ASK}GET /early\nbytes")).await.unwrap();
    assert_eq!(client.response_head("GET").await.unwrap().status, 101);
    assert_eq!(client.some_bytes().await.unwrap(), b"first words");
    let (head, mut server) = origin.connection().await;
    assert!(!head.contains("early"));
    let mut early = [0; 16];
    server.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"GET /early\nbytes");
}

#[tokio::test]
async fn whoever_leaves_takes_the_other_along() {
    let mut origin = RawOrigin::start(SWITCH).await;
    let edge = origin.edge(&[]).await;
    let (client, mut server) = tunnel(&edge, &mut origin).await;
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0, "the client has left");
    drop(server);
    ended(&edge).await;

    let (mut client, server) = tunnel(&edge, &mut origin).await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert!(client.is_closed().await, "the origin was reset");
    drop(client);
    ended(&edge).await;

    let (mut client, mut server) = tunnel(&edge, &mut origin).await;
    server.shutdown().await.unwrap();
    assert!(client.is_closed().await, "the origin has ended");
    client.send("last words").await.unwrap();
    let mut last = [0; 10];
    server.read_exact(&mut last).await.unwrap();
    assert_eq!(&last, b"last words");
    drop(client);
    assert_eq!(server.read(&mut last).await.unwrap(), 0);
    ended(&edge).await;
}

#[tokio::test]
async fn an_idle_tunnel_ends_and_a_busy_one_does_not() {
    let mut origin = RawOrigin::start(SWITCH).await;
    let edge = origin.edge(&["--upgrade-timeout=400ms"]).await;
    let (mut client, mut server) = tunnel(&edge, &mut origin).await;
    let began = std::time::Instant::now();
    let mut byte = [0];
    // The time itself is what is tested: twice the limit passes with bytes in one direction only.
    while began.elapsed() < std::time::Duration::from_millis(800) {
        server.write_all(b".").await.unwrap();
        assert_eq!(client.some_bytes().await.unwrap(), b".");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(client.is_closed().await);
    assert_eq!(server.read(&mut byte).await.unwrap(), 0);
    drop(client);
    ended(&edge).await;
}

#[tokio::test]
async fn the_drain_leaves_tunnels_until_the_grace_period_ends() {
    let mut origin = RawOrigin::start(SWITCH).await;
    let edge = origin.edge(&[]).await;
    let (mut client, mut server) = tunnel(&edge, &mut origin).await;
    edge.shutdown().drain();
    assert!(edge.shutdown().is_draining());
    server.write_all(b"still here").await.unwrap();
    assert_eq!(client.some_bytes().await.unwrap(), b"still here");
    let finishing = tokio::spawn({
        let shutdown = edge.shutdown().clone();
        async move { shutdown.finish().await }
    });
    server.write_all(b"and here").await.unwrap();
    assert_eq!(client.some_bytes().await.unwrap(), b"and here");
    assert!(!finishing.is_finished(), "the drain waits for it");
    // What the end of the grace period does.
    edge.shutdown().terminate();
    assert!(client.is_closed().await);
    assert_eq!(server.read(&mut [0; 1]).await.unwrap_or(0), 0);
    finishing.await.unwrap();
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_an_ordinary_answer() {
    let origin = FakeOrigin::start().await.unwrap();
    for (path, status) in [("/ok", 200), ("/needed", 426), ("/forbidden", 403)] {
        origin.route(path, move |_| {
            Reply::new(status).body("no").header("Cache-Control", "max-age=60").header("Upgrade", "websocket")
        });
    }
    let edge = Edge::start(&origin, &[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    for _ in 0..2 {
        for (path, status) in [("/ok", 200), ("/needed", 426), ("/forbidden", 403)] {
            client.send(ASK.replace("/chat", path)).await.unwrap();
            let response = client.response("GET").await.unwrap();
            assert_eq!((response.status, response.text().as_str()), (status, "no"), "on one connection");
            assert_eq!(x_cache(&response), "PASS", "neither stored nor from the store");
        }
    }
    edge.metric_becomes("edge_cache_stored_total", 0.0).await;
    // What follows an upgrade that did not take place is HTTP again, and checked as such.
    client.send("GET / HTTP/1.1\nHost: a\n\n").await.unwrap();
    assert_eq!(client.response("GET").await.unwrap().status, 400);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn what_is_no_upgrade_goes_on_without_its_fields() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("page").header("Cache-Control", "max-age=60"));
    let edge = Edge::start(&origin, &[]).await;
    let ask = |method: &str, path: &str, fields: &str, body: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
    };
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket";
    let cases = [
        ask(
            "GET",
            "/1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
            "",
        ),
        ask("GET", "/2", "Connection: Upgrade\r\nUpgrade: H2C", ""),
        ask("GET", "/3", "Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0", ""),
        ask("GET", "/4", "Upgrade: websocket", ""),
        ask("GET", "/5", "Connection: Upgrade", ""),
        ask("POST", "/6", &format!("{upgrade}\r\nContent-Length: 2"), "ab"),
        ask("POST", "/7", &format!("{upgrade}\r\nTransfer-Encoding: chunked"), "0\r\n\r\n"),
        ask("GET", "/8", upgrade, "").replace("HTTP/1.1", "HTTP/1.0"),
    ];
    let count = cases.len();
    for case in cases {
        let mut client = Client::connect(edge.address).await.unwrap();
        client.send(&case).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().text(), "page", "{case}");
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), count);
    for request in requests {
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(request.header(name), None, "{}: {name}", request.target);
        }
    }
    // Of several the one is left that may be asked for.
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send(ask("GET", "/9", "Connection: Upgrade\r\nUpgrade: h2c, websocket", "")).await.unwrap();
    assert_eq!(client.response("GET").await.unwrap().text(), "page");
    assert_eq!(origin.requests().last().unwrap().header("upgrade"), Some("websocket"));
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_broken_answer() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: x\r\n\r\n",
    ] {
        let origin = RawOrigin::start(answer).await;
        let edge = origin.edge(&[]).await;
        let mut client = Client::connect(edge.address).await.unwrap();
        client.send(ASK).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, 502, "{answer}");
        drop(client);
        ended(&edge).await;
    }
}
