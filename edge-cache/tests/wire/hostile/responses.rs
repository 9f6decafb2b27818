//! Responses that could be read in two ways, and what comes behind a response.

use std::time::Duration;

use test_support::client::Client;
use test_support::origin::{FakeOrigin, Reply, Step};
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Edge, x_cache};

/// What an origin, or somebody who writes into one of its fields, wants the next client to get.
const POISON: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\npoison";

#[tokio::test]
async fn an_ambiguous_head_is_a_broken_response() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = Edge::start(&origin, &[]).await;
    let ok = |fields: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{fields}\r\n\r\n{body}")
    };
    let cases = [
        ok("Content-Length: 5\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ok("Transfer-Encoding: chunked\r\nContent-Length: 5", "5\r\nhello\r\n0\r\n\r\n"),
        ok("Content-Length: 5\r\nContent-Length: 6", "hello!"),
        ok("Content-Length: 5, 6", "hello!"),
        ok("Content-Length: +5", "hello"),
        ok("Content-Length: 0x5", "hello"),
        ok("Content-Length: 5\r\nX-Split: a\nSet-Cookie: evil=1", "hello"),
        ok("Content-Length: 5\r\nX-Split: a\rSet-Cookie: evil=1", "hello"),
        ok("Content-Length: 5\r\nX-Split: a\n\nhello", "hello"),
        ok("Content-Length: 5\r\nX-Nul: a\0b", "hello"),
        ok("Content-Length: 5\r\nX-Folded: a\r\n Set-Cookie: evil=1", "hello"),
        ok("Content-Length : 5", "hello"),
        ok("Content-Length: 5\r\nNo colon", "hello"),
        ok("Transfer-Encoding: gzip, chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ok("Transfer-Encoding: chunked, identity", "hello"),
        ok("Transfer-Encoding: identity", "hello"),
        ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(),
        "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello".into(),
        "HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\nhello".into(),
        "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello".into(),
        "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello".into(),
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".into(),
        "HTTP/1.1 200 OK\r\nX: a".into(),
        "hello".into(),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 5\r\n\r\nhello", "a".repeat(200_000)),
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 5\r\n\r\nhello", "X: a\r\n".repeat(600)),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello".into(),
    ];
    for (number, raw) in cases.into_iter().enumerate() {
        let path = format!("/{number}");
        let shown = raw.chars().take(120).collect::<String>();
        origin.route(&path, move |_| Reply::raw(raw.clone()));
        for attempt in 1..=2 {
            for method in ["GET", "POST"] {
                let response = edge.request(method, &path, &[], b"").await;
                assert_eq!(response.status, 502, "{method} {shown:?}: {}", response.text());
                assert_eq!(response.header("set-cookie"), None, "{shown:?}");
            }
            assert!(origin.count(&path) >= 2 * attempt, "{shown:?}: nothing of it is stored");
        }
    }
    edge.metric_becomes("edge_cache_stored_total", 0.0).await;
    // A head that says the same thing twice is not ambiguous; it is said once from here on.
    for (path, fields) in
        [("/twice", "Content-Length: 5\r\nContent-Length: 5"), ("/list", "Content-Length: 5, 5")]
    {
        let raw = ok(fields, "hello");
        origin.route(path, move |_| Reply::raw(raw.clone()));
        let response = edge.get(path).await;
        assert_eq!(response.all("content-length").collect::<Vec<_>>(), ["5"]);
        assert_eq!(response.text(), "hello");
    }
}

#[tokio::test]
async fn broken_chunks_are_neither_whole_nor_stored() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = Edge::start(&origin, &[]).await;
    for (number, body) in [
        "5\r\nhello",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r\n-1\r\n",
        "5\r\nhello\r\n0x0\r\n\r\n",
        "5\r\nhello\r\nfffffffffffffffff\r\n",
        "5\r\nhello\r\n0;a\nb\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
        origin.route(&path, move |_| Reply::raw(format!("{head}{body}")));
        for _ in 0..2 {
            let response = edge.get(&path).await;
            assert!(!response.is_complete(), "{body:?} looks whole");
            assert_ne!(x_cache(&response), "HIT", "{body:?}");
        }
    }
    edge.metric_becomes("edge_cache_stored_total", 0.0).await;
}

/// Whatever comes behind a response must never be taken for the next one.
#[tokio::test]
async fn what_comes_behind_a_response_is_nobodys() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = Edge::start(&origin, &[]).await;
    origin.fallback(|request| Reply::ok(request.target.clone()).header("Cache-Control", "no-store"));
    let cases = [
        ("GET", 200, format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{POISON}"), "hello"),
        (
            "GET",
            200,
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{POISON}"),
            "hello",
        ),
        ("GET", 200, format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{POISON}"), ""),
        ("GET", 204, format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"), ""),
        (
            "GET",
            204,
            format!("HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len()),
            "",
        ),
        ("GET", 204, format!("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n{POISON}"), ""),
        ("GET", 304, format!("HTTP/1.1 304 Not Modified\r\n\r\n{POISON}"), ""),
        (
            "GET",
            304,
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len()),
            "",
        ),
        ("HEAD", 200, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len()), ""),
    ];
    for pause in [None, Some(Duration::from_millis(5))] {
        for (method, status, raw, body) in &cases {
            let at = raw.find(POISON).unwrap();
            let (honest, poison) = (raw[..at].to_owned(), raw[at..].to_owned());
            origin.route("/evil", move |_| {
                // In one write with the response, or a little later.
                Reply::script(match pause {
                    None => vec![Step::Bytes((honest.clone() + &poison).into())],
                    Some(pause) => vec![
                        Step::Bytes(honest.clone().into()),
                        Step::Pause(pause),
                        Step::Bytes(poison.clone().into()),
                    ],
                })
            });
            // A session's request: it is passed as it is made.
            let fields = [("If-Match", "\"x\"")];
            let response = edge.request(method, "/evil", &fields, b"").await;
            assert_eq!((response.status, response.text().as_str()), (*status, *body), "{raw:?}");
            if pause.is_some() {
                // The connection is idle while the bytes come: it is closed for them.
                wait_until("the connection to go", DEADLINE, async || origin.open_connections() == 0).await;
            }
            for number in 0..3 {
                let path = format!("/honest-{number}");
                assert_eq!(edge.get(&path).await.text(), path, "after {raw:?}");
            }
        }
    }
    edge.metric_becomes("edge_cache_stored_total", 0.0).await;
}

/// An answer that comes before the request was read: what is still to be sent would stand in front of the next one.
#[tokio::test]
async fn an_early_answer_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let seen = std::sync::Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = std::sync::Arc::clone(&seen);
            tokio::spawn(async move {
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(String::new());
                    seen.len() - 1
                };
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    seen.lock().unwrap()[number].push_str(&text);
                    if text.contains(" HTTP/1.1\r\n") {
                        let answer =
                            "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 5\r\n\r\nearly";
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    let edge = Edge::in_front_of(&[&format!("http://{address}")], &[]).await;
    let mut uploading = Client::connect(edge.address).await.unwrap();
    uploading.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nfirst").await.unwrap();
    assert_eq!(uploading.response("POST").await.unwrap().text(), "early");
    for _ in 0..3 {
        assert_eq!(edge.get("/next").await.text(), "early");
    }
    // The rest of the body looks like a request, and is none.
    let rest = format!("GET /smuggled HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(55));
    assert_eq!(rest.len(), 95);
    uploading.send(rest).await.unwrap();
    uploading.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(uploading.response("GET").await.unwrap().text(), "early");
    for bytes in connections.lock().unwrap().iter() {
        let up = bytes.contains("POST /up");
        let others = bytes.contains("GET /next") || bytes.contains("GET /after");
        assert!(!up || !others, "the upload's connection was used again: {bytes}");
        assert!(up || !bytes.contains("smuggled"), "{bytes}");
    }
}
