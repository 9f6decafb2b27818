//! What PHP is told of its database and cache, and what happens without them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::fastcgi::Params;
use test_support::client;
use test_support::fastcgi_app::FakeFastCgiApp;
use test_support::memcached::Memcached;
use test_support::process::free_port;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{Answer, Gateway, params};

/// An application that says how many requests it got, and fails when it is told to.
struct App {
    fake: FakeFastCgiApp,
    served: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
}

impl App {
    async fn start() -> Self {
        let (served, failing) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, fails) = (Arc::clone(&served), Arc::clone(&failing));
        let app = FakeFastCgiApp::tcp(move |mut exchange| {
            count.fetch_add(1, Ordering::Relaxed);
            let status =
                if fails.load(Ordering::Relaxed) { "Status: 500 Internal Server Error\r\n" } else { "" };
            async move { exchange.respond([status, "Content-Type: text/plain\r\n\r\nx"].concat()).await }
        })
        .await
        .unwrap();
        Self { fake: app, served, failing }
    }
}

fn dead(option: &str) -> String {
    format!("--{option}=127.0.0.1:{}", free_port().unwrap())
}

fn post() -> Params {
    let mut params = params("/");
    params.remove("REQUEST_METHOD");
    params.push("REQUEST_METHOD", "POST");
    params
}

async fn lost(gateway: &Gateway) {
    wait_until("the database to be lost", DEADLINE, async || {
        gateway.metric("fpm_gateway_shedding", &[]).await > 0.5
    })
    .await;
}

fn assert_shed(answer: &Answer) {
    assert_eq!(
        (answer.status(), answer.header("Retry-After").as_deref()),
        (503, Some("5")),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("database"), "{}", answer.text());
}

#[tokio::test]
async fn without_a_database_requests_are_refused_but_for_probes() {
    let app = App::start().await;
    app.failing.store(true, Ordering::Relaxed);
    let gateway = Gateway::start(&[&app.fake.address()], &[&dead("galera")]).await;
    lost(&gateway).await;
    let mut web = gateway.connect().await;
    let mut refused = 0;
    // The first may be a probe, and within a second there is no other.
    for _ in 0..3 {
        let answer = web.ask(&params("/"), b"").await.unwrap();
        if answer.status() != 500 {
            assert_shed(&answer);
            refused += 1;
        }
    }
    assert!(refused >= 1);
    let served = app.served.load(Ordering::Relaxed);
    for _ in 0..20 {
        assert_shed(&web.ask(&post(), b"").await.unwrap());
    }
    assert_eq!(app.served.load(Ordering::Relaxed), served, "nothing is done in vain");
    assert!(gateway.outcomes("no_database").await >= 20.0);
    let ready = client::get(gateway.admin, "/readyz", &[]).await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text());
    let status = gateway.status().await;
    assert!(
        status.contains("\"shedding\": \"unreachable\"") && status.contains("\"state\": \"unreachable\""),
        "{status}"
    );
}

/// The verdict was wrong, or PHP does not need what we miss.
#[tokio::test]
async fn probes_that_succeed_open_the_gate_until_one_fails() {
    let app = App::start().await;
    let gateway = Gateway::start(&[&app.fake.address()], &[&dead("galera")]).await;
    lost(&gateway).await;
    let mut web = gateway.connect().await;
    wait_until("all requests to be served", DEADLINE, async || {
        web.ask(&post(), b"").await.unwrap().status() == 200 || {
            web.ask(&params("/"), b"").await.unwrap();
            false
        }
    })
    .await;
    assert!(app.served.load(Ordering::Relaxed) >= 10);
    app.failing.store(true, Ordering::Relaxed);
    assert_eq!(web.ask(&post(), b"").await.unwrap().status(), 500);
    assert_shed(&web.ask(&post(), b"").await.unwrap());
}

#[tokio::test]
async fn shedding_can_be_switched_off() {
    let app = App::start().await;
    let flags = ["--galera-shedding=off", &dead("galera")];
    let gateway = Gateway::start(&[&app.fake.address()], &flags).await;
    wait_until("the database to be lost", DEADLINE, async || {
        gateway.metric("fpm_gateway_galera_alarm", &[("alarm", "lost")]).await > 0.5
    })
    .await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status(), 200);
    }
    assert!(gateway.metric("fpm_gateway_shedding", &[]).await < 0.5);
}

/// What comes from outside under these names goes; what the gateway knows comes.
#[tokio::test]
async fn php_is_told_what_is_known() {
    let app = FakeFastCgiApp::tcp(|mut exchange| async move {
        let told = ["MEMCACHED_SERVERS", "GALERA_WRITER", "GALERA_READERS"]
            .map(|name| exchange.param(name))
            .join("|");
        exchange.respond(["Content-Type: text/plain\r\n\r\n", &told].concat()).await
    })
    .await
    .unwrap();
    let memcached = Memcached::start().await.unwrap();
    let flag = format!("--memcached={}", memcached.address());
    let gateway = Gateway::start(&[&app.address()], &[&flag]).await;
    let mut forged = params("/");
    for name in ["MEMCACHED_SERVERS", "GALERA_WRITER", "GALERA_READERS"] {
        forged.push(name, "evil:1");
    }
    let told = gateway.connect().await.ask(&forged, b"").await.unwrap();
    assert_eq!(told.body(), format!("{}||", memcached.address()).as_bytes());
}

#[tokio::test]
async fn the_status_is_a_page_in_a_browser() {
    let app = App::start().await;
    let gateway = Gateway::start(&[&app.fake.address()], &[&dead("galera"), &dead("memcached")]).await;
    let page = client::get(gateway.admin, "/status", &[("accept", "text/html,*/*;q=0.8")]).await.unwrap();
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    for part in ["<h2>galera</h2>", "<h2>memcached</h2>", "<h2>replicas</h2>", "<th>writer</th>"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
}
