//! How the application's response reaches the client: redirects within the site, and what waits for a slow client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::fastcgi::message::MPXS_CONNS;
use common::fastcgi::{
    EndRequest, Limits, Outbound, RequestDecoder, RequestEvent, ResponseEncoder, io as fcgi, values,
};
use test_support::client::{self, Client};
use test_support::dns::FakeDns;
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::Proxy;

#[tokio::test]
async fn a_local_redirect_is_answered_like_a_request_for_its_target() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| match exchange.param("REQUEST_URI").as_str() {
        "/to-file" => exchange.respond("Location: /a.txt\r\n\r\nnot this").await,
        "/to-script" => exchange.respond("Location: /shown?x=y\r\n\r\n").await,
        "/client" => exchange.respond("Status: 303 See Other\r\nLocation: /a.txt\r\n\r\n").await,
        "/elsewhere" => exchange.respond("Location: //evil.example/\r\n\r\n").await,
        "/round" => exchange.respond("Location: /round\r\n\r\n").await,
        "/outside" => exchange.respond("Location: /../x\r\n\r\n").await,
        _ => {
            let said = ["REQUEST_METHOD", "QUERY_STRING", "CONTENT_LENGTH", "HTTP_COOKIE"];
            let said: Vec<String> = said.iter().map(|name| exchange.param(name)).collect();
            exchange.respond(page(&said.join(" "))).await
        }
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[]).await;
    proxy.file("a.txt", "the file");
    let file = proxy.get("/to-file").await;
    assert_eq!((file.status, file.text().as_str()), (200, "the file"));
    let post = proxy.request("POST", "/to-script", &[("Cookie", "a=b")], b"body").await;
    assert_eq!((post.status, post.text().as_str()), (200, "GET x=y  a=b"));
    for (path, status, location) in
        [("/client", 303, Some("/a.txt")), ("/elsewhere", 302, Some("//evil.example/"))]
    {
        let response = proxy.get(path).await;
        assert_eq!((response.status, response.header("location")), (status, location), "{path}");
    }
    let before = app.requests().len();
    assert_eq!(proxy.get("/round").await.status, 502);
    assert_eq!(app.requests().len() - before, 11);
    assert_eq!(proxy.get("/outside").await.status, 502);
    proxy.is_idle().await;
}

/// Large enough that the kernel's buffers do not hold it.
const LARGE: usize = 16 << 20;
const PIECE: usize = 64 << 10;

/// An application that writes a large page, and what it has written so far.
async fn writer() -> (FakeFastCgiApp, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let written = Arc::clone(&count);
        async move {
            exchange.stdout(format!("Content-Length: {LARGE}\r\n\r\n")).await?;
            for _ in 0..LARGE / PIECE {
                exchange.stdout(vec![b'x'; PIECE]).await?;
                written.fetch_add(PIECE, Ordering::Relaxed);
            }
            exchange.end().await
        }
    })
    .await
    .unwrap();
    (app, written)
}

async fn reads_nothing(proxy: &Proxy) -> Client {
    let mut client = Client::connect_narrow(proxy.address, 4096).await.unwrap();
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(client.response_head("GET").await.unwrap().status, 200);
    client
}

#[tokio::test]
async fn a_buffer_frees_the_application_of_a_slow_client() {
    let (app, written) = writer().await;
    let proxy = Proxy::start(&app.address(), &["--fastcgi-buffer=16MiB"]).await;
    let client = reads_nothing(&proxy).await;
    proxy.metric_becomes("web_proxy_fastcgi_in_flight", 0.0).await;
    assert_eq!(written.load(Ordering::Relaxed), LARGE);
    // The client has not had it yet.
    assert!((proxy.metric("web_proxy_requests_in_flight", &[]).await - 1.0).abs() < 0.1);
    drop(client);
    proxy.is_idle().await;
}

#[tokio::test]
async fn what_the_buffer_does_not_hold_the_application_keeps() {
    let (app, written) = writer().await;
    let proxy = Proxy::start(&app.address(), &[]).await;
    let client = reads_nothing(&proxy).await;
    wait_until("the first pieces", DEADLINE, async || written.load(Ordering::Relaxed) > 0).await;
    drop(client);
    proxy.is_idle().await;
    assert!(written.load(Ordering::Relaxed) < LARGE, "more than buffers hold was taken from the application");
}

#[tokio::test]
async fn connections_are_kept_where_that_is_wanted() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        exchange.body().await?;
        match exchange.param("REQUEST_URI").as_str() {
            "/cut" => {
                exchange.stdout("Content-Length: 9\r\n\r\nx").await?;
                exchange.hang_up();
                Ok(())
            }
            _ => exchange.respond(page("well")).await,
        }
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &["--fastcgi-keep=4"]).await;
    for _ in 0..5 {
        assert_eq!(proxy.get("/x").await.text(), "well");
        proxy.is_idle().await;
    }
    assert_eq!((app.count(), app.connections()), (5, 1));
    assert!(app.requests().iter().all(|request| request.keep_conn));
    // What may not be sent twice has a new one, which is kept then.
    assert_eq!(proxy.request("POST", "/x", &[], b"a=b").await.text(), "well");
    proxy.is_idle().await;
    assert_eq!(app.connections(), 2);
    // One that broke is not, and one that was closed meanwhile is not used.
    let _ = client::get(proxy.address, "/cut", &[]).await;
    proxy.is_idle().await;
    assert_eq!(proxy.get("/x").await.text(), "well");
    assert_eq!(app.connections(), 2);

    let without = Proxy::start(&app.address(), &[]).await;
    let before = app.connections();
    for _ in 0..3 {
        without.get("/x").await;
    }
    assert_eq!(app.connections() - before, 3);
    assert!(app.requests().iter().rev().take(3).all(|request| !request.keep_conn));
}

/// An application that takes several requests on a connection and says so while it works on one, as fpm-gateway does.
/// Whatever comes through `stop` ends its connections.
async fn multiplexer(connections: Arc<AtomicUsize>, stop: watch::Receiver<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            let mut stop = stop.clone();
            stop.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    () = multiplex(stream) => {}
                    _ = stop.changed() => {}
                }
            });
        }
    });
    address
}

async fn multiplex(mut stream: TcpStream) {
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut keep = true;
    while (keep || decoder.open() > 0)
        && let Ok(Some(event)) = fcgi::request(&mut stream, &mut decoder).await
    {
        let mut out = Outbound::new();
        match event {
            RequestEvent::Begin { begin, .. } => keep = begin.keep_conn,
            RequestEvent::StdinEnd { id } => {
                while let Ok(Some(RequestEvent::GetValues(asked))) = decoder.next_event() {
                    values(&mut out, &asked, &[(MPXS_CONNS, "1".into())]);
                }
                ResponseEncoder::new(id).stdout(&mut out, page("well"));
                ResponseEncoder::new(id).end(&mut out, EndRequest::COMPLETE);
                stream.write_all_buf(&mut out).await.unwrap();
                decoder.ended(id);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn connections_of_who_multiplexes_are_kept() {
    let connections = Arc::new(AtomicUsize::new(0));
    let (stop, stopping) = watch::channel(());
    let app = multiplexer(Arc::clone(&connections), stopping).await;
    let proxy = Proxy::start(&app, &[]).await;
    let get = async |times: usize| {
        for _ in 0..times {
            assert_eq!(proxy.get("/x").await.text(), "well");
            proxy.is_idle().await;
        }
        connections.swap(0, Ordering::Relaxed)
    };
    assert_eq!(get(5).await, 2, "one to learn that it multiplexes, and one that is kept");
    stop.send_replace(());
    // Whether the proxy finds it closed or sends a request into the void: no request is lost, and it asks anew.
    let again = get(5).await;
    assert!((2..=3).contains(&again), "{again}");
    assert_eq!(get(5).await, 0);
}

#[tokio::test]
async fn a_request_before_the_first_answer_of_dns_waits_for_it() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| exchange.respond(page("served")).await).await.unwrap();
    let gate = Gate::new();
    let dns = FakeDns::start(&gate).await.unwrap();
    let port = app.address().rsplit_once(':').unwrap().1.to_owned();
    let server = format!("--dns-server={}", dns.address());
    let proxy =
        Proxy::start(&format!("dns://tasks.fpm-gateway:{port}"), &[&server, "--fastcgi-connect-timeout=30s"])
            .await;
    let open = async {
        proxy.metric_becomes("web_proxy_connections", 1.0).await;
        gate.open();
    };
    let (comment, ()) = tokio::join!(proxy.request("POST", "/x", &[], b"text"), open);
    assert_eq!((comment.status, comment.text().as_str()), (200, "served"));
}
