//! Requests that two hops could read in two ways.

use test_support::client::{Client, Response};
use test_support::hostile::{SMUGGLED, ambiguous_heads, broken_chunks};
use test_support::origin::{FakeOrigin, Reply};

use crate::support::{Edge, x_cache};

async fn origin() -> FakeOrigin {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| Reply::ok(request.body.clone()).header("Cache-Control", "max-age=60"));
    origin
}

fn arrived(origin: &FakeOrigin) -> String {
    String::from_utf8_lossy(&origin.bytes().concat()).into_owned()
}

/// Sends bytes and reads the one answer that comes before the connection ends.
async fn refused(edge: &Edge, bytes: &[u8]) -> Response {
    let shown = String::from_utf8_lossy(bytes).escape_debug().to_string();
    let shown = shown.chars().take(200).collect::<String>();
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send(bytes).await.unwrap();
    let response = client.response("GET").await.unwrap_or_else(|error| panic!("{shown}: {error:#}"));
    assert!(client.is_closed().await, "{shown}: the connection goes on after {}", response.status);
    assert_eq!(response.header("connection"), Some("close"), "{shown}");
    assert!(response.is_complete(), "{shown}");
    response
}

#[tokio::test]
async fn ambiguous_heads_are_refused_before_the_origin_hears_of_them() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    let cases = ambiguous_heads();
    for (number, (head, status, reason)) in cases.iter().enumerate() {
        let metric = format!("edge_cache_refused_total{{reason=\"{reason}\"}}");
        let before = edge.sample(&metric).await;
        let response = refused(&edge, format!("{head}hello{SMUGGLED}").as_bytes()).await;
        let shown = head.escape_debug().to_string();
        let shown = shown.get(..200).unwrap_or(&shown);
        assert_eq!(response.status, *status, "{number}: {shown}: {}", response.text());
        assert!(
            response.text().contains("The request is not valid HTTP/1.1: "),
            "{shown}: {}",
            response.text()
        );
        assert_eq!(response.header("cache-control"), Some("no-store"), "{shown}");
        let counted = edge.sample(&metric).await - before;
        assert!((counted - 1.0).abs() < 0.1, "{number}: {shown} is not counted as {reason}");
    }
    assert_eq!(arrived(&origin), "", "nothing of it goes on");
    edge.metric_becomes("edge_cache_connections", 0.0).await;
}

#[tokio::test]
async fn the_same_heads_are_refused_behind_a_good_request_and_in_pieces() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    for (head, status, reason) in ambiguous_heads().iter().filter(|(head, ..)| head.len() < 1000) {
        let shown = head.escape_debug().to_string();
        let mut client = Client::connect(edge.address).await.unwrap();
        let bytes = format!("GET /first HTTP/1.1\r\nHost: a\r\n\r\n{head}hello{SMUGGLED}");
        let (start, end) = bytes.as_bytes().split_at(head.len() / 2 + 30);
        client.send(start).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, 200, "{shown}");
        // It may be refused already, and not be read any more.
        let _ = client.send(end).await;
        let response = client.response("GET").await.unwrap();
        assert_eq!(response.status, *status, "{reason}: {shown}");
        assert!(client.is_closed().await, "{shown}");
    }
    assert!(!arrived(&origin).contains("smuggled"));
    assert!(origin.requests().iter().all(|request| request.target == "/first"));
}

#[tokio::test]
async fn a_head_that_is_not_finished_in_time_is_answered() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &["--client-timeout=200ms"]).await;
    assert_eq!(refused(&edge, b"GET / HTTP/1.1\r\nHo").await.status, 408);
    assert!((edge.sample("edge_cache_refused_total{reason=\"slow-head\"}").await - 1.0).abs() < 0.1);
    // Who asks for nothing is told nothing.
    assert!(Client::connect(edge.address).await.unwrap().is_closed().await);
    assert_eq!(arrived(&origin), "");
}

#[tokio::test]
async fn another_protocol_is_told_so() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    let response = refused(&edge, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert_eq!(response.status, 400, "a TLS handshake");
}

#[tokio::test]
async fn broken_chunks_end_the_request_and_the_connection() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    for (body, reason) in broken_chunks() {
        let metric = format!("edge_cache_refused_total{{reason=\"{reason}\"}}");
        let before = edge.sample(&metric).await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let response = refused(&edge, format!("{head}{body}{SMUGGLED}").as_bytes()).await;
        let shown = body.get(..100).unwrap_or(&body).escape_debug().to_string();
        assert_eq!(response.status, 400, "{shown}: {}", response.text());
        assert!(
            (edge.sample(&metric).await - before - 1.0).abs() < 0.1,
            "{shown} is not counted as {reason}"
        );
    }
    assert!(origin.requests().iter().all(|request| !request.complete), "none arrives as if it were whole");
    assert!(!arrived(&origin).contains("smuggled"));
    // Without its last line the body never ends.
    let mut client = Client::connect(edge.address).await.unwrap();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        .await
        .unwrap();
    client.finish_sending().await.unwrap();
    // The client's end may be taken for its leaving: then there is no answer, which is as good.
    if let Ok(response) = client.response("POST").await {
        assert_eq!(response.status, 400);
    }
    assert!(origin.requests().iter().all(|request| !request.complete));
}

#[tokio::test]
async fn what_is_in_order_arrives_in_one_form() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    let chunked = "Transfer-Encoding: chunked";
    let cases = [
        ("Content-Length: 5", "hello", "content-length: 5"),
        ("Content-Length: \t 0005\t", "hello", "content-length: 0005"),
        ("content-LENGTH:5", "hello", "content-length: 5"),
        (chunked, "5\r\nhello\r\n0\r\n\r\n", "transfer-encoding: chunked"),
        ("transfer-encoding:CHUNKED", "5;a=b\r\nhello\r\n000\r\n\r\n", "transfer-encoding: chunked"),
        (
            chunked,
            "2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\nContent-Length: 9\r\n\r\n",
            "transfer-encoding: chunked",
        ),
    ];
    for (fields, body, framing) in cases {
        for method in ["POST", "PUT", "GET", "DELETE", "BREW"] {
            let mut client = Client::connect(edge.address).await.unwrap();
            let first = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
            client.send(format!("{first}GET /next HTTP/1.1\r\nHost: a\r\n\r\n")).await.unwrap();
            assert_eq!(client.response(method).await.unwrap().text(), "hello", "{method} {fields}");
            assert_eq!(client.response("GET").await.unwrap().status, 200, "and the next one is the next one");
            let request = origin.requests().into_iter().rfind(|request| request.method == method).unwrap();
            assert_eq!((request.complete, request.body.as_slice()), (true, b"hello".as_slice()));
            let lengths = request.headers.iter().filter(|(name, _)| {
                name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
            });
            let lengths: Vec<String> =
                lengths.map(|(name, value)| format!("{}: {value}", name.to_lowercase())).collect();
            assert_eq!(lengths, [framing], "{method} {fields}");
        }
    }
    assert!(!arrived(&origin).to_lowercase().contains("x-trailer"), "trailers go no further");
}

#[tokio::test]
async fn a_get_with_a_body_is_neither_stored_nor_answered_from_the_store() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    for expected in ["evil", "worse"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: site.example\r\nContent-Length: {}\r\n\r\n{expected}",
            expected.len()
        );
        client.send(request).await.unwrap();
        let response = client.response("GET").await.unwrap();
        assert_eq!((x_cache(&response), response.text().as_str()), ("PASS", expected));
    }
    let clean = edge.get("/").await;
    assert_eq!((x_cache(&clean), clean.text().as_str()), ("MISS", ""));
    edge.stored(1).await;
    client.send("HEAD / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
    assert_eq!(x_cache(&client.response("HEAD").await.unwrap()), "PASS");
    assert_eq!(x_cache(&edge.get("/").await), "HIT");
}

#[tokio::test]
async fn hosts_that_are_none_are_refused() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    let get =
        |target: &str, hosts: &str| format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
    let mut cases: Vec<String> = [
        "",
        "a b",
        "a/b",
        "a@b",
        "a\\b",
        "a?b",
        "a#b",
        "a,b",
        "a:0",
        "a:65536",
        "a:99999",
        "a:+80",
        "a:80:80",
        "a:x",
        "a..b",
        ".a",
        "..",
        "[::1",
        "::1",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[::1]x",
        "[1.2.3.4]",
        "a;b",
        "a'b",
        "a\"b",
        "a<b",
        "\u{fc}.example",
        "%61",
        "a\tb",
        "http://a",
    ]
    .iter()
    .map(|host| get("/", &format!("Host: {host}\r\n")))
    .collect();
    cases.push(get("/", ""));
    cases.push(get("/", "Host: a\r\nHost: a\r\n"));
    cases.push(get("/", "Host: a\r\nHost: b\r\n"));
    cases.push(get("http://a/", "Host: b\r\n"));
    cases.push(get("http://a/", "Host: a:81\r\n"));
    cases.push(get("http://a/", ""));
    cases.push(get("http://user@a/", "Host: a\r\n"));
    cases.push(get("http://user:password@a/", "Host: a\r\n"));
    cases.push(get("http://a:0/", "Host: a:0\r\n"));
    cases.push(get("http://a@b/", "Host: b\r\n"));
    cases.push(get("http://[fe80::1%25eth0]/", "Host: [fe80::1%25eth0]\r\n"));
    cases.push(get("ftp://a/", "Host: a\r\n"));
    cases.push(get("javascript://a/", "Host: a\r\n"));
    cases.push(get("a:80", "Host: a:80\r\n"));
    cases.push(get("a", "Host: a\r\n"));
    cases.push(get("*", "Host: a\r\n"));
    cases.push(get("*/", "Host: a\r\n"));
    cases.push(get("http://", "Host: a\r\n"));
    cases.push(get("http:a", "Host: a\r\n"));
    cases.push(get("?x", "Host: a\r\n"));
    cases.push(get("\\x", "Host: a\r\n"));
    for case in cases {
        let mut client = Client::connect(edge.address).await.unwrap();
        client.send(&case).await.unwrap();
        let response = client.response("GET").await.unwrap_or_else(|error| panic!("{case:?}: {error:#}"));
        assert_eq!(response.status, 400, "{case:?}");
    }
    for method in ["CONNECT", "TRACE"] {
        let target = if method == "CONNECT" { "a:443" } else { "/" };
        let response =
            refused(&edge, format!("{method} {target} HTTP/1.1\r\nHost: a:443\r\n\r\n{SMUGGLED}").as_bytes())
                .await;
        assert_eq!(response.status, 405, "{method}");
    }
    assert_eq!(arrived(&origin), "");
}

#[tokio::test]
async fn every_form_of_a_target_arrives_in_origin_form() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    let cases = [
        ("GET /x HTTP/1.1\r\nHost: A.Example:80\r\n", "GET /x HTTP/1.1", "a.example"),
        ("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n", "GET /x HTTP/1.1", "a.example"),
        ("GET HTTP://A.example:80 HTTP/1.1\r\nHost: a.example.\r\n", "GET / HTTP/1.1", "a.example"),
        ("GET http://a.example?q HTTP/1.1\r\nHost: a.example\r\n", "GET /?q HTTP/1.1", "a.example"),
        ("GET http://[0::1]:81/ HTTP/1.1\r\nHost: [::1]:81\r\n", "GET / HTTP/1.1", "[::1]:81"),
        (
            "GET //evil.example/x HTTP/1.1\r\nHost: a.example\r\n",
            "GET //evil.example/x HTTP/1.1",
            "a.example",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n", "OPTIONS * HTTP/1.1", "a.example"),
        ("GET /y HTTP/1.0\r\n", "GET /y HTTP/1.1", "localhost"),
    ];
    for (number, (head, line, host)) in cases.into_iter().enumerate() {
        let mut client = Client::connect(edge.address).await.unwrap();
        client.send(format!("{head}X-Number: {number}\r\n\r\n")).await.unwrap();
        let response = client.response("GET").await.unwrap();
        assert_eq!(response.status, 200, "{head:?}");
        // The second and third cases name what the first has stored.
        if x_cache(&response) == "HIT" {
            continue;
        }
        let bytes = arrived(&origin);
        let at = bytes.rfind(line).unwrap_or_else(|| panic!("{line} is not in {bytes}"));
        assert!(bytes[at..].to_lowercase().contains(&format!("\r\nhost: {host}\r\n")), "{}", &bytes[at..]);
        assert_eq!(bytes[at..].to_lowercase().matches("\r\nhost:").count(), 1);
    }
}

#[tokio::test]
async fn a_bad_request_in_a_pipeline_is_answered_in_its_turn() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    let good =
        |number: usize| format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{number}");
    let bad = "GET /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send([good(1), good(2), good(3), bad.into(), SMUGGLED.into(), good(4)].concat()).await.unwrap();
    for number in 1..=3 {
        assert_eq!(client.response("POST").await.unwrap().text(), number.to_string());
    }
    assert_eq!(client.response("GET").await.unwrap().status, 400);
    assert!(client.is_closed().await);
    let targets: Vec<String> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/1", "/2", "/3"]);
}

#[tokio::test]
async fn expectations() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    for expectation in ["x", "100-continue, x", "y 100-continue", "200-ok", "100-continue\r\nExpect: x", ""] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: {expectation}\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(refused(&edge, (head + "hello" + SMUGGLED).as_bytes()).await.status, 417, "{expectation}");
    }
    assert_eq!(arrived(&origin), "");
    // Without a body there is nothing to wait for, and nothing that follows may be taken for one.
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n").await.unwrap();
    let response = client.response("GET").await.unwrap();
    assert_eq!((response.status, response.informational.len()), (200, 0));
    // With one, it is asked for once, and the origin is not asked.
    client
        .send("POST /b HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(client.some_bytes().await.unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").await.unwrap();
    assert_eq!(client.response("POST").await.unwrap().text(), "hello");
    assert!(!arrived(&origin).to_lowercase().contains("expect"));
    // A client that does not wait and pipelines: an answer without the body being read ends the connection.
    let mut client = Client::connect(edge.address).await.unwrap();
    let purge = "PURGE / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n";
    client.send(format!("{purge}{SMUGGLED}")).await.unwrap();
    assert_eq!(client.response("PURGE").await.unwrap().status, 403);
    assert!(client.is_closed().await);
    assert!(!arrived(&origin).contains("smuggled"));
}

#[tokio::test]
async fn a_connection_field_hides_nothing_that_the_origin_relies_on() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &["--trusted-proxies=127.0.0.0/8"]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    let listed = "close, Host, Content-Length, Content-Type, Cookie, Authorization, Cache-Control, X-Forwarded-For, \
                  X-Forwarded-Proto, X-Forwarded-Host, X-Request-Id, Via, Forwarded, X-Own";
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: {listed}\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\
             Cookie: c=1\r\nAuthorization: b\r\nCache-Control: no-cache\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Own: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\nProxy-Connection: x\r\n\r\nhello"
        ))
        .await
        .unwrap();
    assert_eq!(client.response("POST").await.unwrap().text(), "hello");
    let request = origin.requests().remove(0);
    for (name, value) in [
        ("host", "a"),
        ("content-length", "5"),
        ("content-type", "text/plain"),
        ("cookie", "c=1"),
        ("authorization", "b"),
        ("cache-control", "no-cache"),
        ("x-forwarded-for", "192.0.2.1, 127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    for name in [
        "connection",
        "x-own",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "proxy-connection",
        "transfer-encoding",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
}

/// As many as Apache takes (`LimitRequestFields`).
#[tokio::test]
async fn a_hundred_fields_are_taken_and_no_more() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &[]).await;
    for (count, status) in [(100, 200), (101, 431)] {
        let fields = "X: y\r\n".repeat(count - 1);
        let mut client = Client::connect(edge.address).await.unwrap();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, status, "{count}");
    }
}
