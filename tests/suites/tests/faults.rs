//! What goes wrong: killed masters and workers, clients that leave, services that restart, more work than workers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use suites::service::{Service, binary};
use suites::site::{Files, Site};
use test_support::client::{self, Client};
use test_support::process::{Group, children, free_port, is_alive};
use test_support::wait::{DEADLINE, wait_until};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What a client saw of one request.
#[derive(Debug)]
struct Seen {
    began: Instant,
    status: Option<u16>,
    retry_after: bool,
    complete: bool,
}

/// `kill -9` of the master under load, in one process as `./up` runs it: its supervisor starts another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_master_is_replaced_under_load() {
    let solo = Solo::start().await;
    let first = client::get(solo.site, "/articles", &[]).await.unwrap();
    assert_eq!(first.header("x-cache"), Some("MISS"));
    let master = solo.master().await.unwrap();

    let cached = Load::start(4, solo.site, |_| "/articles".into());
    let made = Load::start(8, solo.site, |n| format!("/slow?ms=20&n={n}"));
    wait_until("the load", DEADLINE, async || made.answered() > 100).await;

    let workers = children(master);
    kill(master);
    let killed = Instant::now();
    wait_until("another master", DEADLINE, async || solo.master().await.is_some_and(|now| now != master))
        .await;
    wait_until("the killed master's workers to be gone", DEADLINE, async || {
        !workers.iter().any(|worker| is_alive(*worker))
    })
    .await;
    let replaced = Instant::now();
    // On for a while: what breaks late, breaks here.
    let so_far = made.answered();
    wait_until("more of the load", DEADLINE, async || made.answered() > so_far + 200).await;

    for seen in cached.stop().await {
        assert_eq!((seen.status, seen.complete), (Some(200), true), "a cached page: {seen:?}");
    }
    let seen = made.stop().await;
    assert!(seen.iter().filter(|seen| seen.status == Some(200)).count() > 200);
    for broken in seen.iter().filter(|seen| seen.status != Some(200) || !seen.complete) {
        // Whoever had a worker of the killed master has lost it: they are killed in their turn, when the next master
        // is there. Everybody else is told when to return.
        let lost = broken.began <= replaced && broken.status == Some(502);
        let told = broken.status == Some(503) && broken.retry_after;
        assert!(lost || told, "{broken:?}");
        let after = broken.began.saturating_duration_since(killed);
        assert!(after < Duration::from_secs(2), "still refused after {after:?}: {broken:?}");
    }
}

/// The same with processes of their own, where nobody but the test starts PHP-FPM again.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_php_is_503_until_it_is_back() {
    let mut site = Site::start().await.unwrap();
    let address = site.chain.address();
    assert_eq!(client::get(address, "/articles", &[]).await.unwrap().status, 200);
    site.chain.fpm.kill9();
    for n in 0..3 {
        let page = client::get(address, "/articles", &[]).await.unwrap();
        assert_eq!((page.status, page.header("x-cache")), (200, Some("HIT")));
        let file = client::get(address, "/assets/site.js", &[]).await.unwrap();
        assert_eq!(file.status, 200, "files need no PHP");
        let refused = client::get(address, &format!("/whoami?{n}"), &[]).await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
    }
    site.chain.fpm.restart().await.unwrap();
    wait_until("PHP to be used again", Duration::from_secs(5), async || {
        client::get(address, "/whoami", &[]).await.unwrap().status == 200
    })
    .await;
}

/// A body that ends too early is never passed on as whole, and never stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_in_the_middle_is_seen() {
    let site = plain_site().await;
    site.write(
        "half.php",
        "<?php header('Cache-Control: public, max-age=300'); echo str_repeat('x', 100000); flush();\
         usleep(100000); posix_kill(getmypid(), 9);",
    )
    .unwrap();
    site.write(
        "half-length.php",
        "<?php header('Cache-Control: public, max-age=300'); header('Content-Length: 200000');\
         echo str_repeat('x', 100000); flush(); usleep(100000); posix_kill(getmypid(), 9);",
    )
    .unwrap();
    for path in ["/half.php", "/half-length.php"] {
        for _ in 0..2 {
            let response = client::get(site.chain.address(), path, &[]).await.unwrap();
            assert_eq!(response.status, 200, "{path}: {}", response.text());
            assert!(
                !response.is_complete(),
                "{path}: {:?} of {} bytes",
                response.framing,
                response.body.len()
            );
            assert_ne!(response.header("x-cache"), Some("HIT"), "{path}");
        }
    }
    wait_until("the permits to be free", DEADLINE, async || in_flight(&site).await == 0.0).await;
}

/// Before the first byte nothing is lost yet: the answer is 502, not a half one.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_without_a_word_is_502() {
    let site = plain_site().await;
    site.write("die.php", "<?php posix_kill(getmypid(), 9);").unwrap();
    for method in ["GET", "POST"] {
        let response = client::request(site.chain.address(), method, "/die.php", &[], b"").await.unwrap();
        assert!(matches!(response.status, 502 | 503), "{method}: {}", response.status);
        assert!(response.is_complete());
    }
    site.write("live.php", "<?php echo 'alive';").unwrap();
    assert_eq!(client::get(site.chain.address(), "/live.php", &[]).await.unwrap().text(), "alive");
}

/// Clients that leave in the middle give back what they held, in every service.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_free_their_permits() {
    let site = Site::start().await.unwrap();
    let chain = &site.chain;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = Client::connect_narrow(chain.address(), 16 << 10).await.unwrap();
        client.send("GET /download?mb=200 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        assert_eq!(client.response_head("GET").await.unwrap().status, 200);
        clients.push(client);
    }
    assert_eq!(in_flight(&site).await, 6.0);
    drop(clients);
    wait_until("the permits to be free", DEADLINE, async || in_flight(&site).await == 0.0).await;
    for (service, gauge) in [
        (&chain.edge, "edge_cache_connections"),
        (&chain.edge, "edge_cache_fills"),
        (&chain.web, "web_proxy_connections"),
    ] {
        wait_until(gauge, DEADLINE, async || {
            let metrics = service.metrics().await.unwrap();
            let value = metrics.get(gauge, &[]).unwrap_or_else(|| panic!("{gauge}: {:?}", metrics.names()));
            // Connections that wait for another request may stay: there are fewer than there were clients.
            value < 6.0
        })
        .await;
    }
    // All eight workers can be had at once again.
    let mut all = JoinSet::new();
    for n in 0..8 {
        let address = chain.address();
        all.spawn(
            async move { client::get(address, &format!("/slow?ms=300&n={n}"), &[]).await.unwrap().status },
        );
    }
    assert_eq!(all.join_all().await, [200; 8]);
}

/// A worker is busy until its work is done, not until its answer is: who comes next waits in the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_works_on_is_not_given_more() {
    let site = Site::start_with(|mut plan| {
        plan.workers = 1;
        plan
    })
    .await
    .unwrap();
    let address = site.chain.address();
    // The first request makes the database.
    assert_eq!(client::get(address, "/finish/status?token=none", &[]).await.unwrap().status, 200);
    let began = Instant::now();
    let answer = client::get(address, "/finish?ms=700&token=a", &[]).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(began.elapsed() < Duration::from_millis(600), "the answer does not wait for the work");
    let next = client::get(address, "/finish/status?token=a", &[]).await.unwrap();
    assert!(next.text().contains("\"finished\": true"), "it ran after the work was done: {}", next.text());
    assert!(began.elapsed() >= Duration::from_millis(700));
}

/// More requests than workers wait their turn; more than may wait are told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn more_work_than_workers() {
    let site = Site::start_with(|mut plan| {
        plan.workers = 2;
        plan.gateway = &["--queue-length", "10"];
        plan
    })
    .await
    .unwrap();
    let mut all = JoinSet::new();
    for n in 0..40 {
        let address = site.chain.address();
        all.spawn(async move { client::get(address, &format!("/slow?ms=300&n={n}"), &[]).await.unwrap() });
    }
    let answers = all.join_all().await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(served >= 12, "two at work and ten in the queue: {served}");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
    }
    assert!(served < 40, "nobody was refused");
    assert_eq!(client::get(site.chain.address(), "/whoami", &[]).await.unwrap().status, 200);
}

/// SIGTERM: what is in flight ends, what is new is refused, and the exit status is 0.
#[tokio::test(flavor = "multi_thread")]
async fn every_service_drains() {
    let mut site = Site::start().await.unwrap();
    let address = site.chain.address();
    let slow = tokio::spawn(async move { client::get(address, "/slow?ms=1500", &[]).await.unwrap() });
    wait_until("the request to be in flight", DEADLINE, async || in_flight(&site).await == 1.0).await;
    for service in [&site.chain.edge, &site.chain.web, &site.chain.gateway] {
        service.signal(Signal::TERM).unwrap();
    }
    wait_until("new connections to be refused", DEADLINE, async || Client::connect(address).await.is_err())
        .await;
    let answer = slow.await.unwrap();
    assert_eq!((answer.status, answer.is_complete()), (200, true), "{}", site.chain.logs());
    let chain = &mut site.chain;
    for service in [&mut chain.edge, &mut chain.web, &mut chain.gateway] {
        let status = service.ended(DEADLINE).await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", service.log());
    }
}

/// A site whose PHP files are run as they are: no preset forbids any.
async fn plain_site() -> Site {
    Site::start_with(|mut plan| {
        plan.preset = "none";
        plan
    })
    .await
    .unwrap()
}

async fn in_flight(site: &Site) -> f64 {
    site.chain.gateway.metrics().await.unwrap().get("fpm_gateway_in_flight", &[]).unwrap()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// Clients that ask again and again until they are told to stop.
struct Load {
    clients: JoinSet<Vec<Seen>>,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Each of the requests gets a number of its own.
    fn start(
        clients: usize,
        address: SocketAddr,
        path: impl Fn(usize) -> String + Copy + Send + 'static,
    ) -> Self {
        let mut load = Self { clients: JoinSet::new(), answered: Arc::default(), stop: Arc::default() };
        for first in 0..clients {
            let (answered, stop) = (Arc::clone(&load.answered), Arc::clone(&load.stop));
            load.clients.spawn(async move {
                let (mut seen, mut n) = (Vec::new(), first);
                while !stop.load(Ordering::Relaxed) {
                    seen.push(Seen::of(address, &path(n)).await);
                    answered.fetch_add(1, Ordering::Relaxed);
                    n += clients;
                }
                seen
            });
        }
        load
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    async fn stop(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

impl Seen {
    async fn of(address: SocketAddr, path: &str) -> Self {
        let began = Instant::now();
        let answer = client::get(address, path, &[]).await.ok();
        Self {
            began,
            status: answer.as_ref().map(|answer| answer.status),
            retry_after: answer.as_ref().is_some_and(|answer| answer.header("retry-after").is_some()),
            complete: answer.is_some_and(|answer| answer.is_complete()),
        }
    }
}

/// All services in one process, with a PHP-FPM that it looks after.
struct Solo {
    site: SocketAddr,
    admin: SocketAddr,
    _group: Group,
    _files: Files,
    _folder: tempfile::TempDir,
}

impl Solo {
    async fn start() -> Self {
        let files = Files::copy().unwrap();
        let folder = tempfile::Builder::new().prefix("test-solo-").tempdir().unwrap();
        let [site, admin] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port().unwrap())));
        let mut command = Command::new(binary("solo").unwrap());
        command
            .arg(files.docroot())
            .args(["--listen", &site.to_string(), "--admin", &admin.to_string(), "--access-log", "none"])
            .env("TMPDIR", folder.path());
        let group = Group::spawn(command, &folder.path().join("log")).unwrap();
        let solo = Self { site, admin, _group: group, _files: files, _folder: folder };
        wait_until(
            "solo",
            DEADLINE,
            async || matches!(client::get(admin, "/readyz", &[]).await, Ok(answer) if answer.status == 200),
        )
        .await;
        solo
    }

    async fn master(&self) -> Option<u32> {
        let status = client::get(self.admin, "/php/status", &[]).await.unwrap().text();
        let (_, rest) = status.split_once("\"master\":")?;
        rest.split(',').next()?.parse().ok()
    }
}

/// The services' own restarts: who asks them sees 502 or 503, and goes on as soon as they are back.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_is_said_so() {
    let mut site = Site::start().await.unwrap();
    let address = site.chain.address();
    assert_eq!(client::get(address, "/articles", &[]).await.unwrap().status, 200);
    let gone: [fn(&mut Site) -> &mut Service; 2] =
        [|site| &mut site.chain.gateway, |site| &mut site.chain.web];
    for service in gone {
        service(&mut site).stop(DEADLINE).await.unwrap();
        let page = client::get(address, "/articles", &[]).await.unwrap();
        assert_eq!((page.status, page.header("x-cache")), (200, Some("HIT")));
        let made = client::get(address, "/whoami", &[]).await.unwrap();
        assert!(matches!(made.status, 502 | 503), "{}", made.status);
        assert!(made.is_complete());
    }
}
