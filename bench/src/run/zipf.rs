//! Many objects with the popularity that Zipf found: the n-th is asked for 1/n as often as the first.
//!
//! One kind after the other, since a million objects of each at once may be more than the machine has memory for; its
//! few objects and its many are measured in turn.

use std::fmt::Write as _;
use std::fs;

use anyhow::ensure;

use super::{Bench, Entry, Meter, Running, Sample, in_turn, put, start_all, take_out, verify, with_wrk};
use crate::client::Client;
use crate::content::canned;
use crate::contestant::Setup;
use crate::load::fill;
use crate::place::folder;
use crate::report::grouped;
use crate::scenario::Scenario;
use crate::wrk::{self, Load};

const SIZE: usize = 300;
const FEW: u32 = 1000;
const SAMPLES: usize = 1_000_000;
/// The share of requests that may miss: a cache may have thrown out what was asked for once.
const MISSES: f64 = 0.001;

pub(super) async fn run(bench: &Bench, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
    let folder = folder("samples")?;
    let counts = [FEW.min(bench.objects), bench.objects];
    for count in counts {
        fs::write(folder.path().join(count.to_string()), samples(count))?;
    }
    let mut entries = Vec::new();
    for &kind in scenario.kinds {
        let mut pair =
            counts.map(|count| Entry::new(kind, format!("{} objects", grouped(f64::from(count), 0))));
        let mut running = start_all(bench, &mut pair, |_| Setup { memory_mb: 2048, ..bench.setup() }).await;
        for ((entry, slot), count) in pair.iter_mut().zip(&mut running).zip(counts) {
            let Some(contestant) = slot else { continue };
            if let Err(error) = fill(contestant.address, target, count).await {
                take_out(entry, Some(contestant), &error);
                *slot = None;
            }
        }
        in_turn(bench, &mut pair, &mut running, async |round, place, contestant| {
            let count = counts[place];
            let samples = folder.path().join(count.to_string()).display().to_string();
            measure(bench, contestant, count, samples, bench.duration(round)).await
        })
        .await;
        entries.extend(pair);
    }
    Ok(entries)
}

async fn measure(
    bench: &Bench,
    contestant: &Running,
    count: u32,
    samples: String,
    duration: std::time::Duration,
) -> anyhow::Result<Sample> {
    let mut client = Client::connect(contestant.address).await?;
    verify(&client.get(&target(count - 1), &[]).await?, 200, &canned(SIZE))?;
    let origin = bench.origin_count().await?;
    let load = Load {
        url: contestant.url("/"),
        connections: 64,
        script: Some("sampled.lua"),
        environment: vec![("SAMPLES", samples)],
        ..Load::default()
    };
    let meter = Meter::start(contestant);
    let measured = wrk::run(&bench.place, &load, duration).await?;
    let mut sample = meter.stop(measured.requests);
    with_wrk(&mut sample, &measured);
    let missed = bench.origin_count().await? - origin;
    put(&mut sample, "missed", missed as f64);
    let share = missed as f64 / measured.requests.max(1) as f64;
    ensure!(share <= MISSES, "{:.2} % of the requests were no hits", share * 100.0);
    Ok(sample)
}

fn target(number: u32) -> String {
    format!("/b/{SIZE}/{number}")
}

/// Targets, one a line; the same at each run.
fn samples(count: u32) -> String {
    let mut random = fastrand::Rng::with_seed(20_261_125);
    let weights = cumulated(count);
    let all = weights.last().copied().unwrap_or(1.0);
    let mut text = String::new();
    for _ in 0..SAMPLES {
        let wanted = random.f64() * all;
        let number = weights.partition_point(|&weight| weight < wanted);
        let _ = writeln!(text, "{}", target(number as u32));
    }
    text
}

/// The sums of 1, 1/2, 1/3 and so on.
fn cumulated(count: u32) -> Vec<f64> {
    (1..=count)
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / f64::from(rank);
            Some(*sum)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_asked_for_most() {
        let weights = cumulated(4);
        assert!((weights[3] - 25.0 / 12.0).abs() < 1e-12);
        let text = samples(10);
        let of = |number| text.lines().filter(|line| *line == target(number)).count() as f64;
        // A tenth as often as the first, give or take what chance does with a million samples.
        assert!((of(0) / of(9) - 10.0).abs() < 0.5);
        assert_eq!(text.lines().count(), SAMPLES);
    }
}
