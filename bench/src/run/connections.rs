//! 10,000 kept connections of which few do anything: what each costs, and what the others cost those few.

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::{Bench, Entry, Meter, Running, Sample, order, put, take_out, verify, with_wrk};
use crate::client::{Client, request};
use crate::content::canned;
use crate::scenario::Scenario;
use crate::usage::memory;
use crate::wrk::{self, Load};

const TARGET: &str = "/b/1024/page";
const CONNECTIONS: usize = 10_000;

pub(super) async fn run(bench: &Bench, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = scenario.kinds.iter().map(|&kind| Entry::new(kind, "")).collect();
    for round in 1..=bench.rounds {
        for place in order(entries.len(), round) {
            let entry = &mut entries[place];
            if entry.error.is_some() {
                continue;
            }
            // A new one each time: what an allocator has had it may keep.
            let running = Running::start(entry.kind, &bench.place, &bench.setup()).await;
            let measured = match &running {
                Ok(contestant) => measure(bench, contestant).await,
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            match measured {
                Ok(sample) => entry.rounds.push(sample),
                Err(error) => take_out(entry, running.as_ref().ok(), &error),
            }
        }
    }
    Ok(entries)
}

async fn measure(bench: &Bench, contestant: &Running) -> anyhow::Result<Sample> {
    let mut client = Client::connect(contestant.address).await?;
    client.get(TARGET, &[]).await?;
    verify(&client.get(TARGET, &[]).await?, 200, &canned(1024))?;
    let load = Load { url: contestant.url(TARGET), connections: 64, ..Load::default() };
    // Threads and buffers of the first connections are no cost of the others.
    wrk::run(&bench.place, &load, std::time::Duration::from_secs(1)).await?;
    let before = memory(&contestant.front()).1;
    let mut idle = open(contestant).await?;
    let after = memory(&contestant.front()).1;
    let origin = bench.origin_count().await?;
    let meter = Meter::start(contestant);
    let measured = wrk::run(&bench.place, &load, bench.duration).await?;
    let mut sample = meter.stop(measured.requests);
    with_wrk(&mut sample, &measured);
    put(&mut sample, "connection_kib", (after as f64 - before as f64) / 1024.0 / CONNECTIONS as f64);
    ensure!(bench.origin_count().await? == origin, "the origin was asked during hits");
    // They are still there: some of them are asked, evenly chosen.
    for client in idle.iter_mut().step_by(CONNECTIONS / 100) {
        verify(&client.get(TARGET, &[]).await.context("a connection was not kept")?, 200, &canned(1024))?;
    }
    Ok(sample)
}

async fn open(contestant: &Running) -> anyhow::Result<Vec<Client>> {
    let (address, request) = (contestant.address, request("GET", TARGET, &[]));
    let mut idle = Vec::with_capacity(CONNECTIONS);
    while idle.len() < CONNECTIONS {
        let mut tasks = JoinSet::new();
        // So many at a time that the queue of who is to be accepted does not overflow.
        for _ in 0..200 {
            let request = request.clone();
            tasks.spawn(async move {
                let mut client = Client::connect(address).await?;
                let (status, _) = client.skim(&request).await?;
                ensure!(status == 200, "answers {status}");
                anyhow::Ok(client)
            });
        }
        while let Some(client) = tasks.join_next().await {
            idle.push(client?.context("of 10,000 connections")?);
        }
    }
    Ok(idle)
}
