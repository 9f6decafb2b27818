//! Ten times as many visitors as PHP-FPM can serve, each on a connection of its own, whatever became of the others
//! (an open loop: who is slow gets no fewer).

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Bench, Entry, Meter, Running, Sample, order, put, start_all, take_out, verify};
use crate::client::{Client, request};
use crate::contestant::Setup;
use crate::load::put_percentiles;
use crate::scenario::Scenario;
use crate::statistics::percentile;

/// Four workers that take 20 ms for a page.
pub(crate) const CAPACITY: u32 = 200;
const RATE: u32 = 10 * CAPACITY;
/// How many seconds visitors come; they are served longer.
const COMING: u32 = 6;
/// Who has waited that long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(bench: &Bench, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = scenario.kinds.iter().map(|&kind| Entry::new(kind, "")).collect();
    let mut running = start_all(bench, &mut entries, |_| Setup { php: true, ..bench.setup() }).await;
    for round in 1..=bench.rounds {
        for place in order(entries.len(), round) {
            let Some(contestant) = &running[place] else { continue };
            match measure(contestant).await {
                Ok(sample) => entries[place].rounds.push(sample),
                Err(error) => {
                    take_out(&mut entries[place], Some(contestant), &error);
                    running[place] = None;
                }
            }
        }
    }
    Ok(entries)
}

/// What became of a visitor, and after how many milliseconds.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Served(f64),
    /// 503: come back later.
    Refused(f64),
    /// Any other status, a connection that broke, or nothing within the visitor's patience.
    Failed,
}

async fn measure(contestant: &Running) -> anyhow::Result<Sample> {
    verify(&Client::connect(contestant.address).await?.get("/slow", &[]).await?, 200, b"slow\n")?;
    let meter = Meter::start(contestant);
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    let all = RATE * COMING;
    for number in 0..all {
        let due = begin + Duration::from_secs_f64(f64::from(number) / f64::from(RATE));
        tokio::time::sleep_until(due.into()).await;
        tasks.spawn(visit(contestant.address, number, due));
    }
    let (mut served, mut refused, mut failed) = (Vec::new(), Vec::new(), 0_u32);
    while let Some(fate) = tasks.join_next().await {
        match fate? {
            Fate::Served(took) => served.push(took),
            Fate::Refused(took) => refused.push(took),
            Fate::Failed => failed += 1,
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let mut sample = meter.stop(u64::from(all));
    put(&mut sample, "goodput", served.len() as f64 / seconds);
    put(&mut sample, "served", served.len() as f64);
    put(&mut sample, "refused", refused.len() as f64);
    put(&mut sample, "failed", f64::from(failed));
    put_percentiles(&mut sample, &mut served);
    let refusal = percentile(&mut refused, 0.99);
    if refusal.is_finite() {
        put(&mut sample, "refusal_p99_ms", refusal);
    }
    // Who still waits in a queue is to be through before the next round.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(sample)
}

async fn visit(address: SocketAddr, number: u32, due: Instant) -> Fate {
    // Visitors have addresses of their own: web-proxy bounds the connections of each.
    let from = Ipv4Addr::from(0x7f01_0000 + 1 + number % 60_000);
    let answer = tokio::time::timeout(PATIENCE, async {
        let request = request("GET", "/slow", &["Connection: close"]);
        Client::connect_from(from, address).await?.skim(&request).await
    })
    .await;
    let took = due.elapsed().as_secs_f64() * 1e3;
    match answer {
        Ok(Ok((200, _))) => Fate::Served(took),
        Ok(Ok((503, _))) => Fate::Refused(took),
        _ => Fate::Failed,
    }
}
