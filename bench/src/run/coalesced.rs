//! A thousand clients ask at once for a page that nobody has and that the origin takes a second for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::{Bench, Entry, Meter, Running, Sample, in_turn, put, start_all};
use crate::client::{Client, request};
use crate::load::put_percentiles;
use crate::scenario::Scenario;

const CLIENTS: u32 = 1000;
const ORIGIN: Duration = Duration::from_secs(1);
const SIZE: usize = 16_384;

pub(super) async fn run(bench: &Bench, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = scenario.kinds.iter().map(|&kind| Entry::new(kind, "")).collect();
    let mut running = start_all(bench, &mut entries, |_| bench.setup()).await;
    in_turn(bench, &mut entries, &mut running, async |round, place, contestant| {
        measure(bench, contestant, &format!("/slow/{}/{SIZE}/{round}-{place}", ORIGIN.as_millis())).await
    })
    .await;
    Ok(entries)
}

async fn measure(bench: &Bench, contestant: &Running, target: &str) -> anyhow::Result<Sample> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(contestant.address).await?);
    }
    let origin = bench.origin_count().await?;
    let meter = Meter::start(contestant);
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let request = request("GET", target, &[]);
        tasks.spawn(async move {
            let answer = tokio::time::timeout(Duration::from_mins(1), client.skim(&request)).await;
            (answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer == (200, SIZE))), begin.elapsed())
        });
    }
    let (mut failed, mut waited) = (0_u32, Vec::new());
    while let Some(answer) = tasks.join_next().await {
        let (good, elapsed) = answer.context("a client")?;
        failed += u32::from(!good);
        waited.push(elapsed.saturating_sub(ORIGIN).as_secs_f64() * 1e3);
    }
    let mut sample = meter.stop(u64::from(CLIENTS));
    put(&mut sample, "errors", f64::from(failed));
    put(&mut sample, "origin_requests", (bench.origin_count().await? - origin) as f64);
    put_percentiles(&mut sample, &mut waited);
    ensure!(failed < CLIENTS, "no client had the page");
    Ok(sample)
}
