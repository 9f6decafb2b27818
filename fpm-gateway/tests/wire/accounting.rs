//! When a worker counts as free: not before it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::fastcgi::message::MAX_CONNS;
use common::fastcgi::{EndRequest, Params};
use common::fastcgi::{Limits, Outbound, RequestDecoder, RequestEvent, ResponseEncoder, io as fcgi, values};
use common::net::Endpoint;
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::php_fpm::PhpFpm;
use test_support::process::free_port;
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::support::{Gateway, WebServer, params};

#[tokio::test]
async fn work_behind_the_response_keeps_the_worker() {
    let gate = Gate::new();
    let held = gate.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let gate = held.clone();
        async move {
            exchange.body().await?;
            exchange.respond(page("done")).await?;
            gate.pass().await;
            Ok(())
        }
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&[&app.address()], &["--workers-per-upstream=1"]).await;
    // The response is there while the worker is not.
    assert_eq!(gateway.get("/first").await.body(), b"done");
    let second = async { gateway.get("/second").await };
    let checks = async {
        gateway.holds(1, 1).await;
        assert_eq!(app.count(), 1);
        let status = gateway.status().await;
        assert!(status.contains("\"post_response\": 1"), "{status}");
        gate.open();
    };
    let (answer, ()) = tokio::join!(second, checks);
    assert_eq!(answer.body(), b"done");
    gateway.holds(0, 0).await;
    assert!(gateway.status().await.contains("\"accounting\": \"exact\""));
    assert!((gateway.metric("fpm_gateway_post_response_seconds_count", &[]).await - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn a_worker_that_does_not_come_back_is_given_up() {
    let gate = Gate::new();
    let held = gate.clone();
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let gate = held.clone();
        async move {
            exchange.respond(page("done")).await?;
            gate.pass().await;
            Ok(())
        }
    })
    .await
    .unwrap();
    let flags = ["--workers-per-upstream=1", "--post-response-timeout=200ms"];
    let gateway = Gateway::start(&[&app.address()], &flags).await;
    assert_eq!(gateway.get("/first").await.body(), b"done");
    assert_eq!(gateway.get("/second").await.body(), b"done");
    assert!(gateway.metric("fpm_gateway_post_response_timeouts_total", &[]).await > 0.9);
    gate.open();
}

#[tokio::test]
async fn a_stream_whose_client_has_left_is_closed() {
    let noticed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&noticed);
    let app = FakeFastCgiApp::tcp(move |mut exchange| {
        let noticed = Arc::clone(&seen);
        async move {
            exchange.stdout("Content-Type: text/event-stream\r\n\r\n").await?;
            while exchange.stdout("data: x\n\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            noticed.store(true, Ordering::Relaxed);
            Ok(())
        }
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&[&app.address()], &["--workers-per-upstream=1"]).await;
    let mut web = gateway.connect().await;
    web.send(&params("/events"), b"").await;
    web.event().await.unwrap();
    drop(web);
    wait_until("the application to notice", DEADLINE, async || noticed.load(Ordering::Relaxed)).await;
    gateway.holds(0, 0).await;
}

/// An application that knows nothing of GET_VALUES, and closes only when the web server does.
async fn ignorant(served: Arc<AtomicUsize>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let served = Arc::clone(&served);
            tokio::spawn(async move {
                let mut decoder = RequestDecoder::new(Limits::default());
                while let Ok(Some(event)) = fcgi::request(&mut stream, &mut decoder).await {
                    if let RequestEvent::StdinEnd { id } = event {
                        let mut out = Outbound::new();
                        ResponseEncoder::new(id).stdout(&mut out, page("well"));
                        ResponseEncoder::new(id).end(&mut out, EndRequest::COMPLETE);
                        served.fetch_add(1, Ordering::Relaxed);
                        let _ = stream.write_all_buf(&mut out).await;
                    }
                }
            });
        }
    });
    Endpoint::Tcp(address)
}

#[tokio::test]
async fn who_does_not_know_the_question_is_not_asked_for_ever() {
    let served = Arc::new(AtomicUsize::new(0));
    let app = ignorant(Arc::clone(&served)).await;
    let flags = ["--workers-per-upstream=1", "--values-timeout=50ms"];
    let gateway = Gateway::start(&[&app.to_string()], &flags).await;
    for _ in 0..6 {
        assert_eq!(gateway.get("/").await.body(), b"well");
    }
    assert!(gateway.status().await.contains("\"accounting\": \"per-connection\""));
    assert!((gateway.metric("fpm_gateway_post_response_timeouts_total", &[]).await - 3.0).abs() < 0.1);
    gateway.holds(0, 0).await;
}

/// An application that answers between requests, and overlooks what comes in the middle of one.
async fn forgetful(overlooked: Arc<AtomicUsize>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut decoder = RequestDecoder::new(Limits::default());
            while let Ok(Some(event)) = fcgi::request(&mut stream, &mut decoder).await {
                let mut out = Outbound::new();
                match event {
                    RequestEvent::StdinEnd { id } => {
                        while let Ok(Some(_)) = decoder.next_event() {
                            overlooked.fetch_add(1, Ordering::Relaxed);
                        }
                        ResponseEncoder::new(id).stdout(&mut out, page("well"));
                        ResponseEncoder::new(id).end(&mut out, EndRequest::COMPLETE);
                        decoder.ended(id);
                    }
                    RequestEvent::GetValues(asked) => values(&mut out, &asked, &[(MAX_CONNS, "1".into())]),
                    _ => {}
                }
                let _ = stream.write_all_buf(&mut out).await;
            }
        }
    });
    Endpoint::Tcp(address)
}

#[tokio::test]
async fn a_question_that_was_overlooked_is_asked_again() {
    let overlooked = Arc::new(AtomicUsize::new(0));
    let app = forgetful(Arc::clone(&overlooked)).await;
    let gateway = Gateway::start(&[&app.to_string()], &["--workers-per-upstream=1"]).await;
    // It is asked together with the request as soon as it has answered once.
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.body(), b"well");
    }
    gateway.holds(0, 0).await;
    assert_eq!(overlooked.load(Ordering::Relaxed), 2);
    assert!(gateway.status().await.contains("\"accounting\": \"exact\""));
    assert!(gateway.metric("fpm_gateway_post_response_timeouts_total", &[]).await < 0.1);
}

const WORKS_ON: &str = "<?php echo 'page'; fastcgi_finish_request(); usleep(300000);";

/// PHP-FPM with a status page that needs no worker.
async fn fpm(workers: u32) -> (PhpFpm, Endpoint) {
    let status = format!("127.0.0.1:{}", free_port().unwrap());
    let fpm = PhpFpm::builder().tcp().max_children(workers).pool("pm.status_listen", status.as_str());
    let fpm = fpm.start().await.unwrap();
    std::fs::write(fpm.folder().join("index.php"), WORKS_ON).unwrap();
    (fpm, Endpoint::Tcp(status.parse().unwrap()))
}

fn page_of(fpm: &PhpFpm) -> Params {
    let script = fpm.folder().join("index.php").display().to_string();
    let mut params = params("/index.php");
    params.push("SCRIPT_FILENAME", script);
    params
}

/// How many connections wait in the kernel for PHP-FPM to accept them.
async fn listen_queue(status: &Endpoint) -> Option<u64> {
    let mut params = params("/fpm-status");
    for (name, value) in
        [("SCRIPT_NAME", "/fpm-status"), ("SCRIPT_FILENAME", "/fpm-status"), ("QUERY_STRING", "json")]
    {
        params.push(name, value);
    }
    let answer = WebServer::connect(status).await.ask(&params, b"").await.unwrap();
    // Its own worker may still be starting.
    let status: serde_json::Value = serde_json::from_slice(answer.body()).ok()?;
    status["listen queue"].as_u64()
}

/// The longest queue that was seen while `work` went on.
async fn longest_queue(status: &Endpoint, work: impl Future<Output = ()>) -> u64 {
    let (mut longest, mut looks) = (0, 0);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => {
                assert!(looks > 20, "the status page was read {looks} times");
                return longest;
            }
            queue = listen_queue(status) => {
                looks += usize::from(queue.is_some());
                longest = longest.max(queue.unwrap_or_default());
            }
        }
    }
}

#[tokio::test]
async fn the_kernel_s_queue_of_php_fpm_stays_empty() {
    const CLIENTS: usize = 40;
    let (fpm, status) = fpm(4).await;
    let gateway = Gateway::start(&[&fpm.address()], &["--workers-per-upstream=4"]).await;
    let waiting = std::cell::Cell::new(0.0_f64);
    let asking = async {
        let clients = (0..CLIENTS).map(|_| async {
            let mut web = gateway.connect().await;
            let answer = web.ask(&page_of(&fpm), b"").await.unwrap();
            assert_eq!(answer.body(), b"page");
            waiting.set(gateway.metric("fpm_gateway_queue_length", &[]).await.max(waiting.get()));
        });
        futures_util::future::join_all(clients).await;
    };
    assert_eq!(longest_queue(&status, asking).await, 0, "connections waited where nobody can order them");
    // While PHP had four, the rest waited here.
    assert!(waiting.get() >= 20.0, "{} waited in the gateway", waiting.get());
    gateway.holds(0, 0).await;
    let timeouts = gateway.metric("fpm_gateway_post_response_timeouts_total", &[]).await;
    assert!(timeouts < 0.5);

    // The same without a gateway: this is what is measured.
    let asking = async {
        let clients = (0..CLIENTS).map(|_| async {
            WebServer::connect(fpm.endpoint()).await.ask(&page_of(&fpm), b"").await.unwrap();
        });
        futures_util::future::join_all(clients).await;
    };
    assert!(longest_queue(&status, asking).await > 10);
}
