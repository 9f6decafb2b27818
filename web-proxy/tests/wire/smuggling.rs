//! Request smuggling, as bytes on the wire: what an attacker sends, and exactly what the application is asked.

use std::collections::BTreeMap;

use test_support::client::{Client, Response};
use test_support::fastcgi_app::{FakeFastCgiApp, Request, page};
use test_support::hostile::{SMUGGLED, ambiguous_heads, broken_chunks};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::Proxy;

/// Answers with the body that it was sent.
async fn echo() -> FakeFastCgiApp {
    FakeFastCgiApp::tcp(async |mut exchange| {
        let body = exchange.body().await?;
        exchange.respond(page(&String::from_utf8_lossy(&body))).await
    })
    .await
    .unwrap()
}

fn shown(bytes: &str) -> String {
    bytes.escape_debug().take(200).collect()
}

/// Sends bytes and reads the one answer that comes before the connection ends.
async fn refused(proxy: &Proxy, bytes: &str) -> Response {
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send(bytes).await.unwrap();
    let response = client.response("GET").await.unwrap_or_else(|error| panic!("{}: {error:#}", shown(bytes)));
    assert!(client.is_closed().await, "{}: the connection goes on after {}", shown(bytes), response.status);
    assert!(response.is_complete(), "{}", shown(bytes));
    response
}

fn targets(app: &FakeFastCgiApp) -> Vec<String> {
    app.requests().iter().map(|request| request.param("REQUEST_URI")).collect()
}

/// What the application may take for the body's framing, and nothing else may.
fn framing(request: &Request) -> BTreeMap<String, String> {
    let named = request.params.iter().map(|(name, value)| {
        (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned())
    });
    named
        .filter(|(name, _)| {
            let name = name.to_ascii_uppercase().replace('-', "_");
            name.contains("CONTENT_LENGTH") || name.contains("TRANSFER") || name.contains("TRAILER")
        })
        .collect()
}

#[tokio::test]
async fn ambiguous_heads_are_refused_before_the_application_hears_of_them() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    proxy.file("file.txt", "text");
    for (number, (head, status, reason)) in ambiguous_heads().into_iter().enumerate() {
        let before = proxy.metric("web_proxy_refused_total", &[("reason", reason)]).await;
        let response = refused(&proxy, &format!("{head}hello{SMUGGLED}")).await;
        let shown = shown(&head);
        assert_eq!(response.status, status, "{number}: {shown}: {}", response.text());
        assert_eq!(response.header("connection"), Some("close"), "{shown}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{shown}");
        assert!(response.text().contains("The request is not valid HTTP/1.1: "), "{shown}");
        let counted = proxy.metric("web_proxy_refused_total", &[("reason", reason)]).await - before;
        assert!((counted - 1.0).abs() < 0.1, "{number}: {shown} is not counted as {reason}");
    }
    assert_eq!(app.count(), 0, "nothing of it goes on");
    proxy.metric_becomes("web_proxy_connections", 0.0).await;
}

#[tokio::test]
async fn the_same_heads_are_refused_behind_a_good_request_and_in_pieces() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    for (head, status, reason) in ambiguous_heads().iter().filter(|(head, ..)| head.len() < 1000) {
        let shown = shown(head);
        let mut client = Client::connect(proxy.address).await.unwrap();
        let bytes = format!("GET /first HTTP/1.1\r\nHost: a\r\n\r\n{head}hello{SMUGGLED}");
        let (start, end) = bytes.as_bytes().split_at(head.len() / 2 + 30);
        client.send(start).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, 200, "{shown}");
        // It may be refused already, and not be read any more.
        let _ = client.send(end).await;
        assert_eq!(client.response("GET").await.unwrap().status, *status, "{reason}: {shown}");
        assert!(client.is_closed().await, "{shown}");
    }
    assert!(targets(&app).iter().all(|target| target == "/first"), "{:?}", targets(&app));
}

#[tokio::test]
async fn broken_chunks_end_the_request_and_the_connection() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    proxy.file("file.txt", "text");
    for (body, reason) in broken_chunks() {
        for target in ["/", "/file.txt", "/.htaccess", "/%"] {
            let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            let response = refused(&proxy, &format!("{head}{body}{SMUGGLED}")).await;
            let expected: &[u16] = match target {
                "/file.txt" => &[405],
                "/.htaccess" => &[403, 404],
                _ => &[400],
            };
            assert!(expected.contains(&response.status), "{target} {reason} {}: {response:?}", shown(&body));
        }
    }
    assert_eq!(app.count(), 0, "it is asked only when the body is whole");
    // Without its last line the body never ends.
    let mut client = Client::connect(proxy.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}1\r\nx\r\n0\r\n")).await.unwrap();
    client.finish_sending().await.unwrap();
    // The client's end may be taken for its leaving: then there is no answer, which is as good.
    if let Ok(response) = client.response("POST").await {
        assert_eq!(response.status, 400);
    }
    proxy.metric_becomes("web_proxy_connections", 0.0).await;
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn what_is_in_order_arrives_in_one_form() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    let chunked = "Transfer-Encoding: chunked";
    let cases = [
        ("Content-Length: 5", "hello"),
        ("Content-Length: \t 0005\t", "hello"),
        ("content-LENGTH:5", "hello"),
        ("Content-Length: 5\r\nContent_Length: 9\r\nTransfer_Encoding: chunked", "hello"),
        ("Content-Length: 5\r\nConnection: Content-Length", "hello"),
        ("Content-Length: 5\r\nConnection: upgrade\r\nUpgrade: h2c", "hello"),
        (chunked, "5\r\nhello\r\n0\r\n\r\n"),
        ("transfer-encoding:CHUNKED", "5;a=b;c=\"d\"\r\nhello\r\n000\r\n\r\n"),
        (chunked, "2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\nContent-Length: 9\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\nTransfer_Encoding: x\r\nContent_Length: 1",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
    ];
    for (fields, body) in cases {
        for method in ["POST", "PUT", "GET", "DELETE", "BREW"] {
            let mut client = Client::connect(proxy.address).await.unwrap();
            let first = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
            client.send(format!("{first}GET /next HTTP/1.1\r\nHost: a\r\n\r\n")).await.unwrap();
            assert_eq!(client.response(method).await.unwrap().text(), "hello", "{method} {fields}");
            assert_eq!(client.response("GET").await.unwrap().text(), "", "and the next one is the next one");
            let requests = app.requests();
            let [.., request, next] = requests.as_slice() else { panic!("two requests") };
            assert_eq!((request.body_complete, request.body.as_slice()), (true, b"hello".as_slice()));
            assert_eq!(request.param("REQUEST_METHOD"), method);
            let expected = [("CONTENT_LENGTH".to_owned(), "5".to_owned())];
            assert_eq!(framing(request), BTreeMap::from(expected), "{method} {fields}");
            assert_eq!(next.param("REQUEST_URI"), "/next");
            assert!(next.body.is_empty() && framing(next).get("CONTENT_LENGTH").is_none_or(String::is_empty));
        }
    }
}

#[tokio::test]
async fn what_a_body_leaves_behind_is_no_request() {
    // The application answers before it has read anything, and may end the request or not.
    for ends in [true, false] {
        let app = FakeFastCgiApp::tcp(move |mut exchange| async move {
            exchange.stdout(page("early")).await?;
            if !ends {
                exchange.body().await?;
            }
            exchange.end().await
        })
        .await
        .unwrap();
        let proxy = Proxy::start(&app.address(), &["--request-buffer=0"]).await;
        let disguised = SMUGGLED.repeat(20);
        let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", disguised.len());
        let mut client = Client::connect(proxy.address).await.unwrap();
        let (begin, end) = disguised.split_at(50);
        client.send(format!("{head}{begin}")).await.unwrap();
        assert_eq!(client.response_head("POST").await.unwrap().status, 200);
        // The connection may have ended with the answer.
        let _ = client.send(end).await;
        let _ = client.send("GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        while client.some_bytes().await.is_ok_and(|bytes| !bytes.is_empty()) {}
        proxy.is_idle().await;
        let targets = targets(&app);
        let (first, rest) = targets.split_first().unwrap();
        assert!(first == "/up" && rest.iter().all(|target| target == "/after"), "{ends}: {targets:?}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_is_read_as_one() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    proxy.file("file.txt", "text");
    proxy.file("folder/x", "");
    for (line, status) in [
        ("GET /file.txt", 200),
        ("HEAD /file.txt", 200),
        ("POST /file.txt", 405),
        ("GET /folder", 301),
        ("GET /%00", 400),
        ("GET /a%2fb", 404),
        ("OPTIONS *", 204),
        ("TRACE /", 405),
    ] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        let length = SMUGGLED.len();
        let first = format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}");
        client
            .send(format!("{first}GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
            .await
            .unwrap();
        let method = line.split(' ').next().unwrap();
        assert_eq!(client.response(method).await.unwrap().status, status, "{line}");
        while client.some_bytes().await.is_ok_and(|bytes| !bytes.is_empty()) {}
        proxy.is_idle().await;
        assert!(targets(&app).iter().all(|target| target == "/after"), "{line}: {:?}", targets(&app));
    }
}

#[tokio::test]
async fn hosts_and_targets_that_are_none() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    let get =
        |target: &str, hosts: &str| format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
    let hosts = [
        "",
        "a b",
        "a/b",
        "a@b",
        "a\\b",
        "a?b",
        "a#b",
        "a,b",
        "a:65536",
        "a:+80",
        "a:80:80",
        "a:x",
        "[::1",
        "[::1]x",
        "a;b",
        "a'b",
        "a\"b",
        "a<b",
        "\u{fc}.example",
        "%61",
        "a\tb",
        "http://a",
    ];
    let mut cases: Vec<String> = hosts.iter().map(|host| get("/", &format!("Host: {host}\r\n"))).collect();
    cases.push(get("/", ""));
    cases.push(get("/", "Host: a\r\nHost: a\r\n"));
    cases.push(get("/", "Host: a\r\nHost: b\r\n"));
    cases.push(get("http://user@a/", "Host: a\r\n"));
    cases.push(get("http://user:password@a/", "Host: a\r\n"));
    cases.push(get("http://a@b/", "Host: b\r\n"));
    for target in ["a:80", "a", "*", "*/", "http://", "http:a", "?x", "\\x"] {
        cases.push(get(target, "Host: a\r\n"));
    }
    for case in cases {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("{case}{SMUGGLED}")).await.unwrap();
        let response = client.response("GET").await.unwrap_or_else(|error| panic!("{case:?}: {error:#}"));
        assert_eq!(response.status, 400, "{case:?}");
        assert!(client.is_closed().await, "{case:?}");
    }
    for (line, host) in [("CONNECT a:443", "a:443"), ("TRACE /", "a")] {
        let bytes = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n{SMUGGLED}");
        assert_eq!(refused(&proxy, &bytes).await.status, 405, "{line}");
    }
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn an_absolute_target_names_the_host() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    let cases = [
        ("GET /x HTTP/1.1\r\nHost: a.example\r\n", "/x", "a.example"),
        // RFC 9112, section 3.2.2: the Host field is ignored.
        ("GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n", "/x", "a.example"),
        ("GET http://a.example?q HTTP/1.1\r\nHost: a.example\r\n", "/?q", "a.example"),
        ("GET http://a.example HTTP/1.0\r\n", "/", "a.example"),
        ("GET //evil.example/x HTTP/1.1\r\nHost: a.example\r\n", "//evil.example/x", "a.example"),
    ];
    for (head, target, host) in cases {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("{head}X-Forwarded-Host: evil.example\r\n\r\n")).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, 200, "{head:?}");
        let request = app.requests().pop().unwrap();
        assert_eq!(
            (request.param("REQUEST_URI").as_str(), request.param("HTTP_HOST").as_str()),
            (target, host)
        );
        assert_eq!(request.param("SERVER_NAME"), host, "{head:?}");
    }
}

#[tokio::test]
async fn http_1_0_ends_with_its_answer() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    let response = refused(&proxy, &format!("GET /1 HTTP/1.0\r\nHost: a\r\n\r\n{SMUGGLED}")).await;
    assert_eq!(response.status, 200);
    let coded = "POST /2 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(&proxy, &format!("{coded}0\r\n\r\n{SMUGGLED}")).await.status, 400);
    assert_eq!(targets(&app), ["/1"]);
}

#[tokio::test]
async fn a_bad_request_in_a_pipeline_is_answered_in_its_turn() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    let good =
        |number: usize| format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{number}");
    let bad = "GET /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send([good(1), good(2), good(3), bad.into(), SMUGGLED.into(), good(4)].concat()).await.unwrap();
    for number in 1..=3 {
        assert_eq!(client.response("POST").await.unwrap().text(), number.to_string());
    }
    assert_eq!(client.response("GET").await.unwrap().status, 400);
    assert!(client.is_closed().await);
    assert_eq!(targets(&app), ["/1", "/2", "/3"]);
}

#[tokio::test]
async fn an_expectation_hides_nothing() {
    let app = echo().await;
    let proxy = Proxy::start(&app.address(), &["--max-body=1KiB"]).await;
    // A client that does not wait and pipelines: an answer without the body being read ends the connection.
    let large = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n";
    assert_eq!(refused(&proxy, &format!("{large}{SMUGGLED}")).await.status, 413);
    assert_eq!(app.count(), 0);
    // Without a body there is nothing to wait for, and nothing that follows may be taken for one.
    let mut client = Client::connect(proxy.address).await.unwrap();
    let bodiless = "GET /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    client.send(format!("{bodiless}GET /b HTTP/1.1\r\nHost: a\r\n\r\n")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.response("GET").await.unwrap().status, 200);
    }
    wait_until("both to be seen", DEADLINE, async || targets(&app) == ["/a", "/b"]).await;
}
