//! A tag is purged again and again while its pages are asked for: what that costs, and whether it is obeyed.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{Bench, Entry, Meter, Running, Sample, in_turn, put, start_all, with_wrk};
use crate::client::{Client, request};
use crate::load::fill;
use crate::place::folder;
use crate::scenario::Scenario;
use crate::statistics::percentile;
use crate::wrk::{self, Load};

const PAGES: u32 = 1000;
const TAGS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(bench: &Bench, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
    let folder = folder("samples")?;
    let file = folder.path().join("targets");
    let mut random = fastrand::Rng::with_seed(20_261_125);
    let mut text = String::new();
    for _ in 0..100_000 {
        let _ = writeln!(text, "{}", target(random.u32(..PAGES)));
    }
    fs::write(&file, text)?;
    let mut entries: Vec<Entry> = scenario.kinds.iter().map(|&kind| Entry::new(kind, "")).collect();
    let mut running = start_all(bench, &mut entries, |_| bench.setup()).await;
    in_turn(bench, &mut entries, &mut running, async |round, _, contestant| {
        fill(contestant.address, target, PAGES).await?;
        let load = Load {
            url: contestant.url("/"),
            connections: 64,
            script: Some("sampled.lua"),
            environment: vec![("SAMPLES", file.display().to_string())],
            ..Load::default()
        };
        let sample = measure(bench, contestant, &load, bench.duration(round)).await?;
        obeyed(bench, contestant).await?;
        Ok(sample)
    })
    .await;
    Ok(entries)
}

async fn measure(
    bench: &Bench,
    contestant: &Running,
    load: &Load,
    duration: Duration,
) -> anyhow::Result<Sample> {
    let mut client = Client::connect(contestant.address).await?;
    let meter = Meter::start(contestant);
    let mut measuring = std::pin::pin!(wrk::run(&bench.place, load, duration));
    let mut took = Vec::new();
    let measured = loop {
        let pause = tokio::time::sleep(PAUSE);
        tokio::select! {
            measured = &mut measuring => break measured?,
            () = pause => {}
        }
        let begin = Instant::now();
        purge(&mut client, took.len() as u32 % TAGS).await?;
        took.push(begin.elapsed().as_secs_f64() * 1e3);
    };
    let mut sample = meter.stop(measured.requests);
    with_wrk(&mut sample, &measured);
    put(&mut sample, "purges", took.len() as f64);
    for (name, share) in [("purge_p50_ms", 0.5), ("purge_max_ms", 1.0)] {
        let value = percentile(&mut took, share);
        if value.is_finite() {
            put(&mut sample, name, value);
        }
    }
    Ok(sample)
}

/// After a purge every page with the tag is a new one, and no other page is.
async fn obeyed(bench: &Bench, contestant: &Running) -> anyhow::Result<()> {
    let purged = 3;
    fill(contestant.address, target, PAGES).await?;
    let mut client = Client::connect(contestant.address).await?;
    let mut before = Vec::new();
    for number in 0..PAGES {
        before.push(generation(&mut client, number).await?);
    }
    Client::connect(bench.origin.address).await?.get("/_next", &[]).await?;
    purge(&mut client, purged).await?;
    for (number, before) in (0..PAGES).zip(before) {
        let now = generation(&mut client, number).await?;
        if number % TAGS == purged {
            ensure!(now > before, "{} is served as it was before its purge", target(number));
        } else {
            ensure!(now == before, "{} was not to be purged", target(number));
        }
    }
    Ok(())
}

async fn purge(client: &mut Client, tag: u32) -> anyhow::Result<()> {
    let answer = client.request(&request("BAN", "/", &[&format!("Cache-Tags: tag{tag}")])).await?;
    ensure!(answer.status == 200, "answers BAN with {}", answer.status);
    Ok(())
}

async fn generation(client: &mut Client, number: u32) -> anyhow::Result<u64> {
    let answer = client.get(&target(number), &[]).await?;
    Ok(answer.field("x-generation").context("an answer without X-Generation")?.parse()?)
}

fn target(number: u32) -> String {
    format!("/t/tag{}/1024/{number}", number % TAGS)
}
