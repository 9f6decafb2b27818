//! Twice the load that a pool can do: what is left of it as answers that come in time, through web-proxy and the gateway,
//! and through nginx alone.
//!
//! Work is counted, not answers: the time that a worker needs for one, which is known since scripts sleep. The gateway
//! prefers some requests, so that the mixture which it serves is not the one that was measured; work is comparable.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use suites::service::Service;
use test_support::client::{self, Response};
use test_support::php_fpm::PhpFpm;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::pair::{Files, replica, web_proxy};
use crate::web_server::{Connections, WebServer};

const WORKERS: u32 = 6;
/// How long capacity is measured, and how long the overload lasts.
const MEASURED: Duration = Duration::from_secs(5);
const OVERLOAD: Duration = Duration::from_secs(12);
/// What is not counted: nothing waits yet.
const RAMP: Duration = Duration::from_secs(2);

/// A part of the load. Its deadline is when its client leaves.
#[derive(Debug)]
struct Kind {
    lane: Lane,
    /// In twenty requests.
    share: usize,
    method: &'static str,
    path: &'static str,
    /// What a worker needs for one, in milliseconds: with what it does behind its response.
    work: u64,
    deadline: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Interactive,
    Anonymous,
    Background,
}

const KINDS: [Kind; 4] = [
    Kind {
        lane: Lane::Anonymous,
        share: 13,
        method: "GET",
        path: "/app.php?do=page&ms=60",
        work: 60,
        deadline: Duration::from_secs(2),
    },
    Kind {
        lane: Lane::Interactive,
        share: 4,
        method: "GET",
        path: "/app.php?do=page&ms=80",
        work: 80,
        deadline: Duration::from_secs(2),
    },
    Kind {
        lane: Lane::Interactive,
        share: 1,
        method: "POST",
        path: "/app.php?do=page&ms=60&behind=100",
        work: 160,
        deadline: Duration::from_secs(2),
    },
    Kind {
        lane: Lane::Background,
        share: 2,
        method: "GET",
        path: "/update.php?do=page&ms=200",
        work: 200,
        deadline: Duration::from_secs(6),
    },
];

#[derive(Debug)]
struct Seen {
    kind: &'static Kind,
    /// Since the load began.
    ended: Duration,
    began: Duration,
    came: Came,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    InTime,
    /// Its client has left.
    Late,
    Status(u16),
    Broken,
}

struct Outcome {
    /// Worker seconds a second.
    work: f64,
    /// Answers in time a second.
    answers: f64,
    p50: Duration,
    p99: Duration,
    failures: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn at_twice_the_capacity() {
    let files = Files::new();
    std::fs::copy(files.script(), files.docroot().join("update.php")).unwrap();

    let fpm = pool().await;
    let nginx = WebServer::nginx(files.docroot(), &fpm.address(), Connections::Each).await;
    let (capacity, rate) = measure(nginx.address()).await;
    note!(
        "goodput: {WORKERS} workers can do {capacity:.2} worker seconds a second, {rate:.0} answers; \
         asked for {:.0} a second",
        2.0 * rate
    );
    let plain = overload(nginx.address(), 2.0 * rate).await;
    show("nginx -> PHP-FPM", &plain, capacity, rate);
    drop((nginx, fpm));

    let fpm = pool().await;
    let (upstream, workers) = (fpm.address(), WORKERS.to_string());
    // A request that has waited for half of its deadline is told so.
    let flags = ["--upstream", &upstream, "--workers-per-upstream", &workers, "--preset", "drupal"];
    let waits = ["--queue-timeout", "1s", "--background-queue-timeout", "5s", "--slow-start", "0s"];
    let gateway = Service::start("fpm-gateway", &[&flags[..], &waits].concat()).await.unwrap();
    let web = web_proxy(&files, &gateway).await;
    let ours = overload(web.address(), 2.0 * rate).await;
    show("web-proxy -> fpm-gateway -> PHP-FPM", &ours, capacity, rate);

    assert!(ours.work >= 0.9 * capacity, "{:.2} of {capacity:.2} worker seconds", ours.work);
    assert!(ours.work > plain.work, "{:.2}, plain nginx {:.2}", ours.work, plain.work);
    assert!(ours.p99 < KINDS[1].deadline, "p99 of the interactive lane: {:?}", ours.p99);
}

async fn pool() -> PhpFpm {
    replica(PhpFpm::builder().tcp().max_children(WORKERS), "a").await
}

fn show(name: &str, outcome: &Outcome, capacity: f64, rate: f64) {
    let Outcome { work, answers, p50, p99, failures } = outcome;
    note!(
        "goodput: {name}: {:.0} % of the work, {:.0} % of the answers ({answers:.0} a second); interactive p50 \
         {} ms, p99 {} ms; {failures}",
        100.0 * work / capacity,
        100.0 * answers / rate,
        p50.as_millis(),
        p99.as_millis()
    );
}

/// The kinds in an order that mixes them.
fn kind(n: usize) -> &'static Kind {
    // 7 and 20 have no common divisor: each twenty requests have every place once.
    let mut place = n * 7 % 20;
    for kind in &KINDS {
        match place.checked_sub(kind.share) {
            Some(rest) => place = rest,
            None => return kind,
        }
    }
    unreachable!("the shares are twenty")
}

/// What the pool can do: twice as many clients as workers, each with one request after the other, and no deadline.
async fn measure(address: SocketAddr) -> (f64, f64) {
    let (mut clients, next) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    for _ in 0..2 * WORKERS {
        let next = Arc::clone(&next);
        clients.spawn(async move {
            let (mut work, mut count) = (0, 0_u32);
            while began.elapsed() < MEASURED {
                let kind = kind(next.fetch_add(1, Ordering::Relaxed));
                let answer = ask(address, kind).await.unwrap();
                assert_eq!(answer.status, 200);
                if began.elapsed() < MEASURED {
                    (work, count) = (work + kind.work, count + 1);
                }
            }
            (work, count)
        });
    }
    let all = clients.join_all().await;
    let work: u64 = all.iter().map(|(work, _)| work).sum();
    let count: u32 = all.iter().map(|(_, count)| count).sum();
    (seconds(work) / MEASURED.as_secs_f64(), f64::from(count) / MEASURED.as_secs_f64())
}

/// Requests come at this rate, whether those before have been answered or not.
async fn overload(address: SocketAddr, rate: f64) -> Outcome {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut clients, start) = (JoinSet::new(), Instant::now());
    for n in 0.. {
        ticks.tick().await;
        if start.elapsed() >= OVERLOAD {
            break;
        }
        let kind = kind(n);
        clients.spawn(async move {
            let began = start.elapsed();
            let came = match timeout(kind.deadline, ask(address, kind)).await {
                Err(_) => Came::Late,
                Ok(Err(_)) => Came::Broken,
                Ok(Ok(answer)) if answer.status == 200 && answer.is_complete() => Came::InTime,
                Ok(Ok(answer)) => Came::Status(answer.status),
            };
            Seen { kind, began, ended: start.elapsed(), came }
        });
    }
    let seen = clients.join_all().await;
    Outcome::of(&seen)
}

impl Outcome {
    fn of(seen: &[Seen]) -> Self {
        let span = (OVERLOAD - RAMP).as_secs_f64();
        let good = || {
            seen.iter().filter(|one| one.came == Came::InTime && one.ended >= RAMP && one.ended < OVERLOAD)
        };
        let work = good().map(|one| one.kind.work).sum();
        // Who got no answer in time waited for the whole of it.
        let interactive = seen.iter().filter(|one| one.kind.lane == Lane::Interactive && one.began >= RAMP);
        let mut waits: Vec<Duration> = interactive
            .map(|one| if one.came == Came::InTime { one.ended - one.began } else { one.kind.deadline })
            .collect();
        waits.sort_unstable();
        let at = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or_default();
        Self {
            work: seconds(work) / span,
            answers: f64::from(u32::try_from(good().count()).unwrap()) / span,
            p50: at(50),
            p99: at(99),
            failures: failures(seen),
        }
    }
}

/// How many failed and how, by lane.
fn failures(seen: &[Seen]) -> String {
    let of = |lane: Lane| {
        let count = |came: Came| seen.iter().filter(|one| one.kind.lane == lane && one.came == came).count();
        let all = seen.iter().filter(|one| one.kind.lane == lane).count();
        let name = format!("{lane:?}").to_lowercase();
        let (late, broken) = (count(Came::Late), count(Came::Broken));
        let [refused, bad, slow] = [503, 502, 504].map(|status| count(Came::Status(status)));
        format!(
            "of {all} {name} {late} late, {refused} with 503, {bad} with 502, {slow} with 504, {broken} broken"
        )
    };
    [Lane::Interactive, Lane::Anonymous, Lane::Background].map(of).join("; ")
}

async fn ask(address: SocketAddr, kind: &Kind) -> anyhow::Result<Response> {
    let session = [("Cookie", "SESS0123456789abcdef0123456789abcdef=session")];
    let fields = if kind.lane == Lane::Interactive { &session[..] } else { &[] };
    let body: &[u8] = if kind.method == "POST" { b"a=b" } else { b"" };
    client::request(address, kind.method, kind.path, fields, body).await
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}
