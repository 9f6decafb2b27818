//! How much a client may send, how long it may take, and how often it may come.

use std::net::Ipv4Addr;
use std::time::Duration;

use test_support::client::{Client, End};
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{NOBODY, Proxy};

const GET: &str = "GET /file.txt HTTP/1.1\r\nHost: a\r\n\r\n";

async fn with_a_file(flags: &[&str]) -> Proxy {
    let proxy = Proxy::start(NOBODY, flags).await;
    proxy.file("file.txt", "text");
    proxy
}

async fn refused(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric("web_proxy_refused_total", &[("reason", reason)]).await
}

#[tokio::test]
async fn a_head_that_is_not_finished_in_time_is_answered() {
    let proxy = with_a_file(&["--client-timeout=300ms", "--keep-alive-timeout=30s"]).await;
    // At once, and behind a request that was answered.
    for before in [0, 1] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        for _ in 0..before {
            client.send(GET).await.unwrap();
            assert_eq!(client.response("GET").await.unwrap().status, 200);
        }
        client.send("GET /file.txt HTTP/1.1\r\nHo").await.unwrap();
        let response = client.response("GET").await.unwrap();
        assert_eq!((response.status, response.header("connection")), (408, Some("close")));
        assert!(client.is_closed().await);
    }
    assert!(refused(&proxy, "slow-head").await > 1.5);
    // A byte now and then gains nothing.
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("GET /file.txt HTTP/1.1\r\nX: ").await.unwrap();
    wait_until("the client to be refused", DEADLINE, async || {
        let _ = client.send("x").await;
        refused(&proxy, "slow-head").await > 2.5
    })
    .await;
    assert_eq!(client.response("GET").await.unwrap().status, 408);
    proxy.is_idle().await;
}

#[tokio::test]
async fn a_head_that_comes_slowly_is_served() {
    let proxy = with_a_file(&["--client-timeout=5s", "--keep-alive-timeout=100ms"]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    for piece in GET.as_bytes().chunks(8) {
        client.send(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(client.response("GET").await.unwrap().text(), "text");
}

#[tokio::test]
async fn who_wants_nothing_is_told_nothing() {
    let cases = [
        ("--keep-alive-timeout=200ms", "--client-timeout=60s", 1),
        ("--client-timeout=200ms", "--index=x", 0),
    ];
    for (short, other, requests) in cases {
        let proxy = with_a_file(&[short, other]).await;
        let mut client = Client::connect(proxy.address).await.unwrap();
        for _ in 0..requests {
            client.send(GET).await.unwrap();
            assert_eq!(client.response("GET").await.unwrap().text(), "text");
        }
        assert!(client.is_closed().await, "{short}");
        proxy.is_idle().await;
        assert!(proxy.metric("web_proxy_requests_total", &[("status", "4xx")]).await < 0.5);
    }
}

#[tokio::test]
async fn an_answer_that_takes_its_time_is_no_idle_connection() {
    let app_gate = Gate::new();
    let hold = app_gate.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let hold = hold.clone();
        async move {
            exchange.stdout(page("begin ")).await?;
            hold.pass().await;
            exchange.stdout("end").await?;
            exchange.end().await
        }
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &["--keep-alive-timeout=100ms", "--client-timeout=100ms"]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = client.response_head("GET").await.unwrap();
    // Several times the limits pass.
    tokio::time::sleep(Duration::from_millis(500)).await;
    app_gate.open();
    let mut body = Vec::new();
    let end = client.drain(head.framing, |chunk| body.extend_from_slice(chunk)).await.unwrap();
    assert_eq!((end, body.as_slice()), (End::Complete, b"begin end".as_slice()));
    assert!(client.is_closed().await, "now it is idle");
}

/// 2 KiB a second, for longer than the pauses alone would be allowed.
#[tokio::test]
async fn a_slow_but_honest_upload_is_taken() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let length = exchange.body().await?.len();
        exchange.respond(page(&length.to_string())).await
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &["--client-timeout=600ms"]).await;
    let upload = async |head: &str, coded: bool| {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")).await.unwrap();
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let piece = "x".repeat(512);
            let piece = if coded { format!("200\r\n{piece}\r\n") } else { piece };
            client.send(piece).await.unwrap();
        }
        if coded {
            client.send("0\r\n\r\n").await.unwrap();
        }
        client.response("POST").await.unwrap().text()
    };
    let (length, chunked) =
        tokio::join!(upload("Content-Length: 6144", false), upload("Transfer-Encoding: chunked", true));
    assert_eq!((length.as_str(), chunked.as_str()), ("6144", "6144"));
}

#[tokio::test]
async fn a_client_has_so_many_connections() {
    let proxy = with_a_file(&["--max-connections-per-client=2"]).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(GET).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, 200);
        open.push(client);
    }
    for sent in ["", GET] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(sent).await.unwrap();
        let response = client.response("GET").await.unwrap();
        assert_eq!((response.status, response.header("retry-after")), (429, Some("5")));
        assert!(client.is_closed().await && response.is_complete());
    }
    assert!(proxy.metric("web_proxy_connections_turned_away_total", &[]).await > 1.5);
    assert!((proxy.metric("web_proxy_connections", &[]).await - 2.0).abs() < 0.5);
    // Another client is not concerned.
    let mut other = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), proxy.address).await.unwrap();
    other.send(GET).await.unwrap();
    assert_eq!(other.response("GET").await.unwrap().status, 200);
    // Who has left makes room, without having been polite about it.
    drop(open.pop());
    wait_until("the place to be free", DEADLINE, async || proxy.get("/file.txt").await.status == 200).await;
}

#[tokio::test]
async fn a_trusted_proxy_is_not_one_client() {
    let flags = ["--max-connections-per-client=1", "--trusted-proxies=127.0.0.1/32"];
    let proxy = with_a_file(&flags).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(GET).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, 200);
        open.push(client);
    }
}

#[tokio::test]
async fn the_proxy_protocol_tells_who_is_counted() {
    let proxy = with_a_file(&["--max-connections-per-client=1", "--proxy-protocol"]).await;
    let mut open = Vec::new();
    let cases = [
        ("192.0.2.1", 200),
        ("192.0.2.2", 200),
        ("192.0.2.1", 429),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("2001:db8:0:1::2", 200),
    ];
    for (address, status) in cases {
        let family = if address.contains(':') { "TCP6" } else { "TCP4" };
        let local = if address.contains(':') { "::1" } else { "192.0.2.9" };
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("PROXY {family} {address} {local} 1 80\r\n{GET}")).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, status, "{address}");
        open.push(client);
    }
}

#[tokio::test]
async fn sizes_up_to_the_limit_and_beyond() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        exchange.body().await?;
        exchange.respond(page("yes")).await
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &["--max-head=16KiB", "--max-body=1KiB"]).await;
    // A head of exactly so many bytes.
    let head = |length: usize| {
        let begin = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{begin}{}\r\n\r\n", "x".repeat(length - begin.len() - 4))
    };
    // So many fields.
    let fields =
        |number: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(number - 1));
    let body = |length: usize| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
    };
    let chunked = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n",
            "x".repeat(length)
        )
    };
    let expecting = |length: usize| {
        let expect = "Expect: 100-continue\r\n";
        let body = if length > 1024 { String::new() } else { "x".repeat(length) };
        format!("POST / HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: {length}\r\n\r\n{body}")
    };
    let cases = [
        (head(16 << 10), 200),
        (head((16 << 10) + 1), 431),
        (fields(256), 200),
        (fields(257), 431),
        (body(1024), 200),
        (body(1025), 413),
        (chunked(1024), 200),
        (chunked(1025), 413),
        (expecting(1024), 200),
        (expecting(1025), 413),
    ];
    for (number, (bytes, status)) in cases.into_iter().enumerate() {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(bytes).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, status, "case {number}");
    }
    let asked = app.count();

    // The target has a limit of its own, below a head's usual one.
    let proxy = Proxy::start(&app.address(), &[]).await;
    let target = |begin: &str, length: usize| {
        let target = format!("{begin}{}", "x".repeat(length - begin.len()));
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    for (bytes, status) in [
        (target("/?", 32 << 10), 200),
        (target("/?", (32 << 10) + 1), 414),
        (target("/", (32 << 10) + 1), 414),
        (target("/", 70 << 10), 414),
        // No file system has such a name; it is PHP's, as every other that is not there.
        (target("/", 32 << 10), 200),
        (target("/folder/", 5000), 200),
    ] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        let shown: String = bytes.chars().take(20).collect();
        client.send(&bytes).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, status, "{shown} {}", bytes.len());
    }
    assert_eq!(app.count() - asked, 3);
}

/// Before it is whole, the application does not hear of it; what is larger is streamed behind its beginning.
#[tokio::test]
async fn a_slow_body_holds_no_worker() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let length = exchange.body().await?.len();
        exchange.respond(page(&length.to_string())).await
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = format!("--spool={}", folder.path().display());
    let proxy = Proxy::start(&app.address(), &["--request-buffer=200KiB", &spool]).await;
    let spooled = async || proxy.metric("web_proxy_spool_bytes", &[]).await;
    for (length, first) in [(10, 9), (100_000, 99_000), (200 << 10, 200_000)] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.send(format!("{head}{}", "x".repeat(first))).await.unwrap();
        wait_until("it to be in the spool", DEADLINE, async || first < 70_000 || spooled().await > 60_000.0)
            .await;
        assert_eq!((app.count(), std::fs::read_dir(folder.path()).unwrap().count()), (0, 0), "{length}");
        // Nor does it when the client leaves.
        drop(client);
        proxy.is_idle().await;
        proxy.metric_becomes("web_proxy_spool_bytes", 0.0).await;
        assert_eq!(app.count(), 0);
    }
    let mut client = Client::connect(proxy.address).await.unwrap();
    let length = (200 << 10) + 5;
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.send(format!("{head}{}", "x".repeat(length - 1))).await.unwrap();
    wait_until("the application to be asked", DEADLINE, async || app.count() == 1).await;
    client.send("x").await.unwrap();
    assert_eq!(client.response("POST").await.unwrap().text(), length.to_string());
    assert!(app.requests()[0].body.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn the_spool_has_a_limit() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let length = exchange.body().await?.len();
        exchange.respond(page(&length.to_string())).await
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &["--spool-limit=300KiB"]).await;
    let body = "x".repeat(250_000);
    // One client takes most of it, and holds it.
    let mut first = Client::connect(proxy.address).await.unwrap();
    first.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 250001\r\n\r\n{body}")).await.unwrap();
    wait_until("the spool to fill", DEADLINE, async || {
        proxy.metric("web_proxy_spool_bytes", &[]).await > 190_000.0
    })
    .await;
    // Whose length nobody knows cannot be taken now.
    let mut second = Client::connect(proxy.address).await.unwrap();
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole = format!("{chunked}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    second.send(&whole).await.unwrap();
    let response = second.response("POST").await.unwrap();
    assert_eq!((response.status, response.header("retry-after")), (503, Some("2")));
    assert_eq!(app.count(), 0);
    // Others are streamed.
    assert_eq!(proxy.request("POST", "/", &[], body.as_bytes()).await.text(), "250000");
    first.send("x").await.unwrap();
    assert_eq!(first.response("POST").await.unwrap().text(), "250001");
    proxy.metric_becomes("web_proxy_spool_bytes", 0.0).await;
    let mut third = Client::connect(proxy.address).await.unwrap();
    third.send(&whole).await.unwrap();
    assert_eq!(third.response("POST").await.unwrap().text(), "250000");
}

/// So that no request of a cache in front is on its way when its connection is closed.
#[tokio::test]
async fn who_leaves_says_so_on_every_answer() {
    let proxy = with_a_file(&[]).await;
    let mut kept = Client::connect(proxy.address).await.unwrap();
    kept.send(GET).await.unwrap();
    assert_eq!(kept.response("GET").await.unwrap().header("connection"), None);
    proxy.shutdown().leave();
    kept.send(GET).await.unwrap();
    let last = kept.response("GET").await.unwrap();
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(kept.is_closed().await);
    assert_eq!(proxy.get("/file.txt").await.status, 200);
}
