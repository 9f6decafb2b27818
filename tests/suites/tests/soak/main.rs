//! edge-cache between an origin that misbehaves and clients that check every byte, while pages are purged.
//!
//! 1. [`pages`]: what every page must look like, byte for byte, in each of its versions.
//! 2. [`origin`]: serves them, and breaks off, lies, drips, resets and fails on the way.
//! 3. [`clients`]: ask in every way there is, and purge; [`checks`]: no wrong byte, and after a purge has been answered
//!    nothing older than it.
//! 4. Afterwards nothing is left over: no connection, fill, tunnel or permit, and no memory.
//!
//! `SOAK_SECONDS` says how long (20), `SOAK_SEED` repeats a run's choices as far as the scheduler lets it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod checks;
mod clients;
mod origin;
mod pages;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use suites::service::Service;
use test_support::client::{self, Client};
use test_support::wait::{DEADLINE, wait_until};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clients::Tally;
use crate::origin::Origin;
use crate::pages::Pages;

const CLIENTS: usize = 24;
const MAX_CONNECTIONS: usize = 256;
/// What the memory of a process may grow by, from the second third of the run to the last.
const GROWTH: u64 = 12 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wrong_byte_and_nothing_left_over() {
    let seconds = std::env::var("SOAK_SECONDS").ok().map_or(20, |seconds| seconds.parse().unwrap());
    let seed =
        std::env::var("SOAK_SEED").ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("note: soak: {seconds} s with SOAK_SEED={seed}");

    let pages = Arc::new(Pages::new());
    let origin = Origin::start(Arc::clone(&pages), seed).await;
    let connections = MAX_CONNECTIONS.to_string();
    let url = origin.url();
    let flags = [
        "--origin",
        &url,
        "--memory",
        "16MiB",
        "--max-object",
        "1MiB",
        "--purge-from",
        "127.0.0.0/8",
        "--first-byte-timeout",
        "1s",
        "--between-bytes-timeout",
        "1s",
        "--keep",
        "5s",
        "--access-log",
        "none",
        "--log-level",
        "error",
        "--max-connections",
        &connections,
    ];
    let edge = Service::start("edge-cache", &flags).await.unwrap();
    // Whatever is made once, is made: the first connections, the workers' stacks.
    client::get(edge.address(), "/g0/p0", &[]).await.unwrap();

    let end = Instant::now() + Duration::from_secs(seconds);
    let tally = Arc::new(Tally::default());
    let mut running = JoinSet::new();
    for number in 0..CLIENTS {
        let rng = fastrand::Rng::with_seed(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        running.spawn(clients::visit(Arc::clone(&pages), Arc::clone(&tally), edge.address(), rng, end));
    }
    for number in 0..2 {
        let rng = fastrand::Rng::with_seed(!seed ^ number);
        let addresses = (edge.address(), edge.admin());
        running.spawn(clients::purge(Arc::clone(&pages), Arc::clone(&tally), addresses, rng, end));
    }
    let sizes = watch_memory(&edge, &mut running, seconds, seed).await;

    println!("note: soak: {}", tally.summary(&origin));
    tally.assert_that_everything_happened(&origin);
    assert_flat(&sizes, seed);
    nothing_is_left_over(&edge, origin, &pages).await;
}

/// Resident memory now and then, until everybody has finished; a wrong byte ends it at once.
async fn watch_memory(edge: &Service, running: &mut JoinSet<()>, seconds: u64, seed: u64) -> Vec<u64> {
    let began = Instant::now();
    let mut sizes = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis((seconds * 1000 / 60).max(50)));
    loop {
        tokio::select! {
            joined = running.join_next() => match joined {
                Some(Ok(())) => {}
                Some(Err(error)) => panic!("SOAK_SEED={seed} after {:?}: {error}\n{}", began.elapsed(), edge.log()),
                None => return sizes,
            },
            _ = ticks.tick() => sizes.push(edge.rss().unwrap()),
        }
        assert!(began.elapsed() < Duration::from_secs(seconds + 60), "clients hang; SOAK_SEED={seed}");
    }
}

fn assert_flat(sizes: &[u64], seed: u64) {
    let third = sizes.len() / 3;
    assert!(third >= 5, "too few samples: {sizes:?}");
    let most = |part: &[u64]| part.iter().copied().max().unwrap();
    let (before, after) = (most(&sizes[third..2 * third]), most(&sizes[2 * third..]));
    println!("note: soak: resident memory {} MiB, then {} MiB", before >> 20, after >> 20);
    assert!(after <= before + before / 10 + GROWTH, "memory grows, SOAK_SEED={seed}: {sizes:?}");
}

async fn nothing_is_left_over(edge: &Service, mut origin: Origin, pages: &Pages) {
    for gauge in ["edge_cache_connections", "edge_cache_fills", "edge_cache_tunnels"] {
        wait_until(gauge, DEADLINE, async || {
            edge.metrics().await.unwrap().get(gauge, &[]).expect("the gauge exists").abs() < 0.5
        })
        .await;
    }
    let status = async || client::get(edge.admin(), "/status", &[]).await.unwrap().text();
    wait_until("fetches to end", DEADLINE, async || status().await.contains("\"fetches\":0,")).await;
    // The origin goes: what is open afterwards, nobody uses.
    origin.stop().await;
    let few = 40;
    wait_until("descriptors to be closed", DEADLINE, async || edge.open_files().unwrap() < few).await;

    // Every permit is there: as many connections as may be are served at once.
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut client = Client::connect(edge.address()).await.unwrap();
        let answer = client.request("BREW", "/nothing", &[], b"").await.unwrap();
        assert!(answer.status >= 500, "there is no origin: {}", answer.status);
        clients.push(client);
    }
    drop(clients);
    wait_until("the last connections to end", DEADLINE, async || {
        edge.metrics().await.unwrap().value("edge_cache_connections", &[]).abs() < 0.5
    })
    .await;

    // The budget of fills is whole: four large pages at once are stored, which takes nearly all of it.
    origin.restart().await;
    pages.calm.store(true, Ordering::Relaxed);
    let large: Vec<String> = (0..4).map(|number| format!("/large/{number}")).collect();
    wait_until("large pages to be stored", DEADLINE, async || {
        let mut all = JoinSet::new();
        for path in large.clone() {
            let address = edge.address();
            all.spawn(async move { client::get(address, &path, &[]).await.unwrap() });
        }
        let answers = all.join_all().await;
        answers.iter().all(|answer| answer.header("x-cache") == Some("HIT") && answer.is_complete())
    })
    .await;
}
