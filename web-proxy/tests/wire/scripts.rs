//! What the application is asked, and what becomes of its answers.

use std::time::Duration;

use common::fastcgi::{EndRequest, ProtocolStatus};
use test_support::client::{Client, End};
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_for, wait_until};

use crate::support::{NOBODY, Proxy};

#[tokio::test]
async fn the_access_log_knows_the_script_and_its_time() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| match exchange.param("REQUEST_URI").as_str() {
        "/sized" => exchange.respond("Content-Length: 5\r\n\r\nhello").await,
        "/cut" => {
            exchange.stdout("Content-Length: 50\r\n\r\nhello").await?;
            exchange.hang_up();
            Ok(())
        }
        _ => exchange.respond(page("hello")).await,
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = format!("--access-log={}", path.display());
    let proxy = Proxy::start(&app.address(), &[&log, "--access-log-format=json"]).await;
    proxy.file("a.txt", "abc");
    for path in ["/index.php/x?a=b", "/sized", "/cut", "/a.txt"] {
        proxy.get(path).await;
    }
    let lines = wait_for("four lines", DEADLINE, async || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<serde_json::Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() == 4).then_some(lines)
    })
    .await;
    let expected = [
        ("/index.php/x?a=b", "php", Some("/index.php"), true),
        ("/sized", "php", Some("/index.php"), true),
        ("/cut", "php", Some("/index.php"), false),
        ("/a.txt", "static", None, true),
    ];
    for (line, (target, decision, script, complete)) in lines.iter().zip(expected) {
        assert_eq!((line["target"].as_str(), line["decision"].as_str()), (Some(target), Some(decision)));
        assert_eq!((line["script"].as_str(), line["complete"].as_bool()), (script, Some(complete)), "{line}");
        assert_eq!(line["upstream_us"].is_u64(), script.is_some(), "{line}");
        assert!(line["total_us"].as_u64() >= line["first_byte_us"].as_u64(), "{line}");
        assert_eq!(line["request_id"].as_str().map(str::len), Some(32));
    }
}

#[tokio::test]
async fn parameters() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| exchange.respond(page("hello")).await).await.unwrap();
    let proxy = Proxy::start(&app.address(), &["--trusted-proxies=127.0.0.0/8"]).await;
    let root = proxy.docroot().canonicalize().unwrap().display().to_string();
    let fields = [
        ("Host", "site.example"),
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Request-Id", "id-1"),
        ("Proxy", "http://evil"),
        ("X_Under", "1"),
        ("Authorization", "Basic dTpw"),
    ];
    let response = proxy.get_with("/node/1?a=b", &fields).await;
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    let request = &app.requests()[0];
    assert!(!request.keep_conn);
    for (name, value) in [
        ("SCRIPT_FILENAME", format!("{root}/index.php").as_str()),
        ("SCRIPT_NAME", "/index.php"),
        ("DOCUMENT_ROOT", &root),
        ("REQUEST_URI", "/node/1?a=b"),
        ("QUERY_STRING", "a=b"),
        ("REQUEST_METHOD", "GET"),
        ("REMOTE_ADDR", "198.51.100.7"),
        ("HTTPS", "on"),
        ("SERVER_PORT", "443"),
        ("SERVER_NAME", "site.example"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("HTTP_HOST", "site.example"),
        ("HTTP_X_REQUEST_ID", "id-1"),
        ("HTTP_AUTHORIZATION", "Basic dTpw"),
        ("HTTP_PROXY", ""),
        ("HTTP_X_UNDER", ""),
        ("PATH_INFO", ""),
    ] {
        assert_eq!(request.param(name), value, "{name}");
    }
    proxy.get("/index.php/a%20b?x").await;
    let request = &app.requests()[1];
    assert_eq!(
        (request.param("PATH_INFO"), request.param("SCRIPT_NAME")),
        ("/a b".into(), "/index.php".into())
    );
    assert_eq!(request.param("PATH_TRANSLATED"), format!("{root}/a b"));
    let routes = proxy.metric("web_proxy_requests_total", &[("route", "php"), ("status", "2xx")]).await;
    assert!((routes - 2.0).abs() < 0.1, "{routes}");
}

#[tokio::test]
async fn the_docroot_as_the_application_sees_it() {
    let app = FakeFastCgiApp::unix(async |mut exchange| exchange.respond(page("")).await).await.unwrap();
    let proxy = Proxy::start(&app.address(), &["--script-root=/srv/web", "--server-name=www.example"]).await;
    proxy.get_with("/x", &[("Host", "evil.example:81")]).await;
    let request = &app.requests()[0];
    assert_eq!(request.param("SCRIPT_FILENAME"), "/srv/web/index.php");
    assert_eq!(request.param("DOCUMENT_ROOT"), "/srv/web");
    assert_eq!(request.param("SERVER_NAME"), "www.example");
    assert_eq!(request.param("HTTP_HOST"), "evil.example:81");
}

#[tokio::test]
async fn heads() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let output = match exchange.param("REQUEST_URI").as_str() {
            "/status" => "Status: 404 Not Found\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nno".into(),
            "/redirect" => "Location: https://else.example/\r\n\r\n".into(),
            "/hop" => "Connection: X-Hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\nX-Stays: 1\r\n\r\nbody".into(),
            "/not-modified" => "Status: 304 Not Modified\r\nContent-Length: 4\r\nETag: \"x\"\r\n\r\nbody".into(),
            "/large" => format!("X-Tags: {}\r\nX-More: {}\r\n\r\nbody", "t".repeat(40_000), "u".repeat(40_000)),
            "/too-large" => format!("X: {}\r\n", "t".repeat(1000)).repeat(400),
            "/garbage" => "Fatal error\n\nbody".into(),
            "/bad-status" => "Status: none\r\n\r\n".into(),
            "/unfinished" => "Content-Type: text/html\r\n".into(),
            "/stderr" => {
                exchange.stderr("PHP Warning:  something\n").await?;
                "Content-Type: text/html\r\n\r\nfine".into()
            }
            _ => String::from_utf8_lossy(&page("")).into_owned(),
        };
        exchange.respond(output).await
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;

    let response = proxy.get("/status").await;
    assert_eq!((response.status, response.text().as_str()), (404, "no"));
    assert_eq!(response.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(response.header("status"), None);
    let response = proxy.get("/redirect").await;
    assert_eq!((response.status, response.header("location")), (302, Some("https://else.example/")));
    let response = proxy.get("/hop").await;
    assert_eq!((response.header("x-hop"), response.header("x-stays")), (None, Some("1")));
    assert_eq!((response.status, response.text().as_str()), (200, "body"));
    let response = proxy.get("/not-modified").await;
    assert_eq!((response.status, response.body.len(), response.header("etag")), (304, 0, Some("\"x\"")));
    let response = proxy.get("/large").await;
    assert_eq!((response.status, response.header("x-tags").unwrap().len()), (200, 40_000));
    assert_eq!(proxy.get("/stderr").await.text(), "fine");
    for path in ["/too-large", "/garbage", "/bad-status", "/unfinished"] {
        let response = proxy.get(path).await;
        assert_eq!(response.status, 502, "{path}");
        assert!(response.text().contains("502 Bad Gateway"), "{path}");
    }
    let bad = proxy.metric("web_proxy_fastcgi_errors_total", &[("reason", "bad-head")]).await;
    assert!((bad - 4.0).abs() < 0.1, "{bad}");
    proxy.is_idle().await;
}

#[tokio::test]
async fn head_runs_the_script_to_its_end() {
    let done = Gate::new();
    let gate = done.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let gate = gate.clone();
        async move {
            exchange.stdout("Content-Type: text/html\r\nContent-Length: 11\r\n\r\n").await?;
            gate.pass().await;
            exchange.stdout("hello ").await?;
            exchange.stdout("world").await?;
            exchange.end().await
        }
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    let head = client.request("HEAD", "/", &[], b"").await.unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("11")));
    // The answer is complete for the client; the script goes on undisturbed.
    done.arrived(1).await;
    assert_eq!(app.busy(), 1);
    done.open();
    wait_until("the worker to be free", DEADLINE, async || app.busy() == 0).await;
    let errors = proxy.metric("web_proxy_fastcgi_errors_total", &[]).await;
    assert!(errors < 0.5, "{errors}");
    // The connection is good for another request.
    assert_eq!(client.request("GET", "/", &[], b"").await.unwrap().text(), "hello world");
}

#[tokio::test]
async fn output_goes_out_as_it_comes() {
    let more = Gate::new();
    let gate = more.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let gate = gate.clone();
        async move {
            exchange.stdout("Content-Type: text/plain\r\n\r\nfirst").await?;
            gate.pass().await;
            exchange.stdout("second").await?;
            exchange.end().await
        }
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let head = client.response_head("GET").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"first\r\n") {
        seen.extend(client.some_bytes().await.unwrap());
    }
    more.open();
    let end = client.drain(head.framing, |chunk| seen.extend_from_slice(chunk)).await.unwrap();
    assert!(end == End::Complete && seen.ends_with(b"second"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_complete() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let path = exchange.param("REQUEST_URI");
        match path.as_str() {
            "/nothing" => {}
            "/half-head" => exchange.stdout("Content-Type: text/html\r\n").await?,
            "/half-body" => exchange.stdout("Content-Type: text/html\r\n\r\nhalf").await?,
            "/reset" => {
                exchange.stdout("Content-Type: text/html\r\n\r\nhalf").await?;
                exchange.reset()?;
            }
            "/shorter" => exchange.respond("Content-Length: 10\r\n\r\nfour").await?,
            "/longer" => exchange.respond("Content-Length: 2\r\n\r\nfour").await?,
            "/not-fastcgi" => exchange.raw(b"HTTP/1.1 200 OK\r\n\r\n").await?,
            other => panic!("{other}"),
        }
        exchange.hang_up();
        Ok(())
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    for path in ["/nothing", "/half-head", "/not-fastcgi"] {
        assert_eq!(proxy.get(path).await.status, 502, "{path}");
    }
    for path in ["/half-body", "/shorter", "/longer", "/reset"] {
        let response = proxy.get(path).await;
        assert_eq!((response.status, response.is_complete()), (200, false), "{path}: {:?}", response.text());
        // In HTTP/1.0 a body may end with its connection: this one is reset instead.
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")).await.unwrap();
        let complete = client.response("GET").await.is_ok_and(|response| response.is_complete());
        assert!(!complete, "{path} in HTTP/1.0");
    }
    proxy.is_idle().await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_silence_is_tried_once_more() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        if exchange.param("HTTP_X_BREAK").is_empty() {
            return exchange.respond(page("second")).await;
        }
        exchange.hang_up();
        Ok(())
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    assert_eq!(proxy.get_with("/", &[("X-Break", "1")]).await.status, 502);
    assert_eq!(app.count(), 2);
    // What may do something twice is not repeated.
    assert_eq!(proxy.request("POST", "/", &[("X-Break", "1")], b"x").await.status, 502);
    assert_eq!(app.count(), 3);
}

#[tokio::test]
async fn an_application_that_is_not_there_or_full() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("2")));
    assert!(response.text().contains("503 Service Unavailable"));

    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let overloaded = EndRequest { app_status: 0, protocol_status: ProtocolStatus::Overloaded };
        exchange.end_with(overloaded).await
    })
    .await
    .unwrap();
    let full = Proxy::start(&app.address(), &[]).await;
    let response = full.get("/").await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("2")));

    // Another endpoint takes what one does not.
    let app = FakeFastCgiApp::tcp(async |mut exchange| exchange.respond(page("up")).await).await.unwrap();
    let both = Proxy::start(&format!("{NOBODY},{}", app.address()), &[]).await;
    for _ in 0..4 {
        assert_eq!(both.get("/").await.text(), "up");
    }
}

#[tokio::test]
async fn an_application_that_is_too_slow() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        if exchange.param("REQUEST_URI") == "/later" {
            exchange.stdout("Content-Type: text/html\r\n\r\nhalf").await?;
        }
        exchange.abandoned().await;
        Ok(())
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &["--fastcgi-timeout=200ms"]).await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 504);
    assert!(response.text().contains("504 Gateway Timeout"));
    let response = proxy.get("/later").await;
    assert_eq!((response.status, response.is_complete()), (200, false));
    wait_until("the workers to be free", DEADLINE, async || app.busy() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_worker() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        if exchange.param("REQUEST_URI") == "/streaming" {
            exchange.stdout("Content-Type: text/html\r\n\r\nsome").await?;
        }
        exchange.abandoned().await;
        Ok(())
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    for (path, count) in [("/waiting", 1), ("/streaming", 2)] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await.unwrap();
        if path == "/streaming" {
            client.response_head("GET").await.unwrap();
        }
        wait_until("the request to arrive", DEADLINE, async || app.count() == count).await;
        proxy.metric_becomes("web_proxy_fastcgi_in_flight", 1.0).await;
        drop(client);
        wait_until("the worker to be free", DEADLINE, async || app.busy() == 0).await;
        proxy.is_idle().await;
    }
    let aborted = proxy.metric("web_proxy_requests_total", &[("status", "aborted")]).await;
    assert!((aborted - 1.0).abs() < 0.1, "{aborted}");
}

#[tokio::test]
async fn work_after_the_output_is_left_in_peace() {
    let more = Gate::new();
    let gate = more.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let gate = gate.clone();
        async move {
            exchange.stdout("Content-Length: 4\r\n\r\ndone").await?;
            // No END_REQUEST yet: as a script that works on without fastcgi_finish_request().
            tokio::select! {
                () = gate.pass() => exchange.end().await,
                () = exchange.abandoned() => anyhow::bail!("disturbed"),
            }
        }
    })
    .await;
    let app = app.unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    assert_eq!(proxy.get("/").await.text(), "done");
    assert_eq!(app.busy(), 1);
    more.open();
    wait_until("the worker to be free", DEADLINE, async || app.busy() == 0).await;
    proxy.metric_becomes("web_proxy_fastcgi_in_flight", 0.0).await;
    assert!(proxy.metric("web_proxy_fastcgi_errors_total", &[]).await < 0.5);
}

#[tokio::test]
async fn a_drain_lets_the_request_finish() {
    let go = Gate::new();
    let gate = go.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            exchange.respond(page("finished")).await
        }
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    go.arrived(1).await;
    proxy.shutdown().drain();
    wait_until("the listener to close", DEADLINE, async || Client::connect(proxy.address).await.is_err())
        .await;
    go.open();
    assert_eq!(client.response("GET").await.unwrap().text(), "finished");
    assert!(client.is_closed().await);
    let drained = tokio::time::timeout(Duration::from_secs(5), proxy.shutdown().finish()).await.unwrap();
    assert_eq!(drained, common::shutdown::Drained::Clean);
}
