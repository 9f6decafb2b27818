//! With a real PHP-FPM.

use std::path::Path;
use std::time::Duration;

use common::fastcgi::Params;
use fpm_gateway::config::Probe;
use fpm_gateway::health::{Answer as Sign, ask};
use test_support::php_fpm::PhpFpm;
use test_support::wait::{DEADLINE, wait_until};
use tokio::time::Instant;

use crate::support::{Answer, Gateway, WebServer};

const SCRIPT: &str = r#"<?php
header('X-Method: ' . $_SERVER['REQUEST_METHOD']);
switch ($_SERVER['QUERY_STRING']) {
    case 'echo':
        header('X-Settings: ' . ini_get('memory_limit'));
        echo file_get_contents('php://input');
        break;
    case 'long':
        for ($n = 0; $n < 800; $n++) { echo str_repeat('0123456789abcdef', 4096); }
        break;
    case 'length':
        $length = 0;
        $input = fopen('php://input', 'rb');
        while (!feof($input)) { $length += strlen(fread($input, 65536)); }
        echo $length;
        break;
    case 'slow':
        usleep(300000);
        echo 'slow';
        break;
    case 'log':
        error_log('something happened');
        echo 'logged';
        break;
    case 'steering':
        foreach (['GALERA_WRITER', 'GALERA_READERS', 'MEMCACHED_SERVERS'] as $name) {
            if (isset($_SERVER[$name]) || getenv($name) !== false) { echo $name, ' '; }
        }
        break;
    case 'headers':
        for ($n = 0; $n < 40; $n++) { header("X-Long-$n: " . str_repeat('h', 1000)); }
        echo 'headers';
        break;
}
"#;

struct Site {
    fpm: PhpFpm,
}

impl Site {
    async fn start(fpm: test_support::php_fpm::PhpFpmBuilder) -> Self {
        let fpm = fpm.start().await.unwrap();
        std::fs::write(fpm.folder().join("index.php"), SCRIPT).unwrap();
        Self { fpm }
    }

    fn params(&self, method: &str, query: &str, body: usize) -> Params {
        let script = self.fpm.folder().join("index.php");
        cgi(&script, method, query, body)
    }

    async fn ask(&self, gateway: &Gateway, query: &str, body: &[u8]) -> Answer {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let params = self.params(method, query, body.len());
        gateway.connect().await.ask(&params, body).await.unwrap()
    }
}

fn cgi(script: &Path, method: &str, query: &str, body: usize) -> Params {
    let mut params: Params = [
        ("SCRIPT_FILENAME", script.display().to_string()),
        ("SCRIPT_NAME", "/index.php".into()),
        ("REQUEST_METHOD", method.to_owned()),
        ("REQUEST_URI", format!("/index.php?{query}")),
        ("QUERY_STRING", query.to_owned()),
        ("SERVER_PROTOCOL", "HTTP/1.1".into()),
    ]
    .into_iter()
    .collect();
    if body > 0 {
        params.push("CONTENT_LENGTH", body.to_string());
        params.push("CONTENT_TYPE", "application/octet-stream");
    }
    params
}

#[tokio::test]
async fn pages_bodies_headers_and_logs() {
    let site = Site::start(PhpFpm::builder()).await;
    let gateway = Gateway::start(&[&site.fpm.address()], &["--workers-per-upstream=4"]).await;
    let body = vec![b'b'; 200_000];
    let answer = site.ask(&gateway, "echo", &body).await;
    assert_eq!((answer.status(), answer.header("X-Method").as_deref()), (200, Some("POST")));
    assert_eq!(answer.body(), body);

    assert_eq!(site.ask(&gateway, "headers", b"").await.header("X-Long-39").unwrap().len(), 1000);

    // More parameters than fit into one record.
    let mut params = site.params("GET", "echo", 0);
    for n in 0..30 {
        params.push(format!("HTTP_X_{n}"), "p".repeat(5000));
    }
    params.push("PHP_VALUE", "memory_limit=1G");
    let answer = gateway.connect().await.ask(&params, b"").await.unwrap();
    assert_eq!((answer.status(), answer.header("X-Settings").as_deref()), (200, Some("256M")));

    let missing = cgi(&site.fpm.folder().join("missing.php"), "GET", "", 0);
    let answer = gateway.connect().await.ask(&missing, b"").await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(String::from_utf8_lossy(&answer.stderr).contains("Primary script unknown"));
}

#[tokio::test]
async fn names_that_php_takes_for_reserved_ones_do_not_pass() {
    let site = Site::start(PhpFpm::builder()).await;
    let gateway = Gateway::start(&[&site.fpm.address()], &[]).await;
    let names = [
        "GALERA_WRITER",
        "GALERA.WRITER",
        "GALERA WRITER",
        "  GALERA_WRITER",
        "GALERA_WRITER[x]",
        "GALERA[WRITER",
        "GALERA_WRITER\0x",
        "MEMCACHED.SERVERS[a][b]",
    ];
    for name in names {
        let mut params = site.params("GET", "steering", 0);
        params.push(name, "forged");
        // PHP-FPM itself believes it.
        let direct = WebServer::connect(site.fpm.endpoint()).await.ask(&params, b"").await.unwrap();
        assert!(!direct.body().is_empty(), "{name:?}: {}", direct.text());
        let answer = gateway.connect().await.ask(&params, b"").await.unwrap();
        assert_eq!((answer.status(), answer.body()), (200, &b""[..]), "{name:?}");
    }
}

#[tokio::test]
async fn fifty_megabytes_each_way() {
    let site = Site::start(PhpFpm::builder().ini("post_max_size", "100M")).await;
    let gateway = Gateway::start(&[&site.fpm.address()], &[]).await;
    let answer = site.ask(&gateway, "length", &vec![b'u'; 50 << 20]).await;
    assert_eq!(answer.body(), (50 << 20).to_string().as_bytes());
    let answer = site.ask(&gateway, "long", b"").await;
    assert_eq!(answer.body().len(), 50 << 20);
}

#[tokio::test]
async fn more_clients_than_workers_wait_in_the_gateway() {
    let site = Site::start(PhpFpm::builder().max_children(2)).await;
    let gateway = Gateway::start(&[&site.fpm.address()], &["--workers-per-upstream=2"]).await;
    let asking = (0..8).map(|_| site.ask(&gateway, "slow", b""));
    let before = Instant::now();
    let answers = futures_util::future::join_all(asking).await;
    assert!(answers.iter().all(|answer| answer.body() == b"slow"));
    assert!(before.elapsed() >= Duration::from_millis(1200), "two at a time");
    gateway.holds(0, 0).await;
}

#[tokio::test]
async fn a_master_that_is_killed_and_comes_back() {
    let mut site = Site::start(PhpFpm::builder()).await;
    let gateway = Gateway::start(&[&site.fpm.address()], &["--workers-per-upstream=4"]).await;
    assert_eq!(site.ask(&gateway, "log", b"").await.body(), b"logged");
    let mut web = gateway.connect().await;
    web.send(&site.params("GET", "slow", 0), b"").await;
    gateway.holds(1, 0).await;
    site.fpm.kill9();
    // Nothing of it was heard, so it was tried again, and nobody was there.
    let answer = web.answer().await.unwrap();
    assert_eq!(answer.status(), 503, "{}", answer.text());

    let down = Instant::now();
    let answer = site.ask(&gateway, "log", b"").await;
    assert_eq!((answer.status(), answer.header("Retry-After").as_deref()), (503, Some("1")));
    assert!(down.elapsed() < Duration::from_secs(3));
    site.fpm.restart().await.unwrap();
    let back = Instant::now();
    wait_until("requests to be served again", DEADLINE, async || {
        site.ask(&gateway, "log", b"").await.status() == 200
    })
    .await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
}

#[tokio::test]
async fn probes_are_answered_with_and_without_a_ping_page() {
    let site = Site::start(PhpFpm::builder().max_children(1)).await;
    for path in ["/fpm-ping", "/no-such-page"] {
        let probe = Probe {
            interval: Duration::from_secs(1),
            timeout: DEADLINE,
            path: path.to_owned(),
            status_path: None,
        };
        let answer = ask(site.fpm.endpoint(), &probe).await;
        assert!(matches!(answer, Sign::Served), "{path}: {answer:?}");
    }
    let log = site.fpm.log();
    assert!(!log.contains("denied") && !log.contains("unknown"), "{log}");
    let probe = Probe { interval: DEADLINE, timeout: DEADLINE, path: "/".into(), status_path: None };
    let nowhere = common::net::Endpoint::Unix(site.fpm.folder().join("nothing.sock"));
    assert!(matches!(ask(&nowhere, &probe).await, Sign::Unreachable(_)));
}

#[tokio::test]
async fn the_size_of_a_pool_is_learned_from_its_status_page() {
    let site = Site::start(PhpFpm::builder().max_children(5)).await;
    let flags = ["--workers-per-upstream=2", "--status-path=/fpm-status"];
    let gateway = Gateway::start(&[&site.fpm.address()], &flags).await;
    wait_until("its size to be known", DEADLINE, async || {
        (gateway.metric("fpm_gateway_workers", &[]).await - 5.0).abs() < 0.1
    })
    .await;
    let two = [&flags[..], &["--gateways=2"]].concat();
    let gateway = Gateway::start(&[&site.fpm.address()], &two).await;
    wait_until("a part of it", DEADLINE, async || {
        (gateway.metric("fpm_gateway_workers", &[]).await - 2.0).abs() < 0.1
    })
    .await;
}
