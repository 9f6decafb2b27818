//! Runs one scenario: starts its contestants, verifies that they answer alike, and measures them in turn.

mod coalesced;
mod conditional;
mod connections;
mod cores;
mod fixed;
mod miss;
mod overload;
mod purge;
mod zipf;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::client::{Answer, Client};
use crate::contestant::{Kind, Running, Setup};
use crate::place::Place;
use crate::scenario::{Scenario, Work};
use crate::usage::{Usage, memory};
use crate::wrk::Measured;

/// What one contestant did in one round, by the names in `report::figure`.
pub(crate) type Sample = BTreeMap<String, f64>;

/// What all scenarios share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) place: Place,
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
    pub(crate) origin: Running,
    pub(crate) docroot: PathBuf,
    /// How many objects hit-million has.
    pub(crate) objects: u32,
}

/// One contestant's part of a scenario.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// What tells it from another entry of the same kind; else empty.
    pub(crate) variant: String,
    pub(crate) rounds: Vec<Sample>,
    /// Why it was taken out.
    pub(crate) error: Option<String>,
}

impl Entry {
    pub(crate) fn new(kind: Kind, variant: impl Into<String>) -> Self {
        Self { kind, variant: variant.into(), rounds: Vec::new(), error: None }
    }
}

impl Bench {
    pub(crate) async fn run(&self, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
        match scenario.work {
            Work::Fixed(work) => fixed::run(self, scenario, work).await,
            Work::Conditional => conditional::run(self, scenario).await,
            Work::Zipf => zipf::run(self, scenario).await,
            Work::Connections => connections::run(self, scenario).await,
            Work::Miss => miss::run(self, scenario).await,
            Work::Coalesced => coalesced::run(self, scenario).await,
            Work::Overload => overload::run(self, scenario).await,
            Work::Purge => purge::run(self, scenario).await,
            Work::Cores => cores::run(self, scenario).await,
        }
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup {
            cores: 1,
            memory_mb: 1024,
            origin: self.origin.address.port(),
            docroot: self.docroot.clone(),
            php: false,
        }
    }

    /// How long a round takes; the one that warms up is short.
    pub(crate) fn duration(&self, round: usize) -> Duration {
        if round == 0 { Duration::from_secs(1) } else { self.duration }
    }

    /// Requests that the origin has seen.
    pub(crate) async fn origin_count(&self) -> anyhow::Result<u64> {
        let answer = Client::connect(self.origin.address).await?.get("/_count", &[]).await?;
        Ok(std::str::from_utf8(&answer.body)?.parse()?)
    }
}

/// That an answer is the one that everybody has to give.
pub(crate) fn verify(answer: &Answer, status: u16, body: &[u8]) -> anyhow::Result<()> {
    ensure!(answer.status == status, "answers {} instead of {status}:\n{}", answer.status, answer.head);
    ensure!(
        answer.body == body,
        "answers with another body: {} bytes instead of {}\n{}",
        answer.body.len(),
        body.len(),
        answer.head
    );
    Ok(())
}

/// A measurement under way: CPU time of a contestant since its begin.
#[derive(Debug)]
pub(crate) struct Meter {
    front: Vec<u32>,
    fpm: Vec<u32>,
    before: (Usage, Usage),
}

impl Meter {
    pub(crate) fn start(running: &Running) -> Self {
        let (front, fpm) = (running.front(), running.fpm());
        let before = (Usage::now(&front), Usage::now(&fpm));
        Self { front, fpm, before }
    }

    /// What `requests` cost.
    pub(crate) fn stop(self, requests: u64) -> Sample {
        let cpu = self.before.0.until(&Usage::now(&self.front));
        let mut sample = Sample::new();
        let count = requests.max(1) as f64;
        put(&mut sample, "requests", requests as f64);
        put(&mut sample, "cpu_us", cpu.total / count);
        put(&mut sample, "user_share", cpu.user_share);
        put(&mut sample, "cpu_s", cpu.total / 1e6);
        if !self.fpm.is_empty() {
            let fpm = self.before.1.until(&Usage::now(&self.fpm));
            put(&mut sample, "fpm_cpu_us", fpm.total / count);
        }
        let (rss, pss) = memory(&self.front);
        put(&mut sample, "rss_mib", rss as f64 / 1_048_576.0);
        put(&mut sample, "pss_mib", pss as f64 / 1_048_576.0);
        sample
    }
}

/// What wrk measured, beside what the contestant cost.
pub(crate) fn with_wrk(sample: &mut Sample, measured: &Measured) {
    let seconds = measured.duration as f64 / 1e6;
    rate(sample, measured.requests, seconds);
    put(sample, "errors", measured.errors() as f64);
    put(sample, "p50_ms", measured.p50 / 1e3);
    put(sample, "p99_ms", measured.p99 / 1e3);
    put(sample, "p999_ms", measured.p999 / 1e3);
    if let Some(cpu) = sample.get("cpu_us").copied() {
        let bytes = measured.bytes as f64 / measured.requests.max(1) as f64;
        put(sample, "mib_per_cpu_s", bytes / 1_048_576.0 / (cpu / 1e6));
    }
}

/// Throughput, and how many cores the contestant kept busy meanwhile.
pub(crate) fn rate(sample: &mut Sample, requests: u64, seconds: f64) {
    put(sample, "rps", requests as f64 / seconds);
    if let Some(cpu) = sample.get("cpu_s").copied() {
        put(sample, "busy", cpu / seconds);
    }
}

pub(crate) fn put(sample: &mut Sample, name: &str, value: f64) {
    sample.insert(name.to_owned(), value);
}

/// Who is first changes from round to round, so that what changes in time strikes everybody alike.
pub(crate) fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + round) % count.max(1))
}

/// Takes out who cannot go on, with the reason and the last of its log.
pub(crate) fn take_out(entry: &mut Entry, running: Option<&Running>, error: &anyhow::Error) {
    let log = running.map(Running::log).unwrap_or_default();
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    let mut text = format!("{error:#}");
    for line in last.into_iter().rev() {
        text.push('\n');
        text.push_str(line);
    }
    eprintln!("   {} is taken out: {text}", entry.kind.name());
    entry.error = Some(text);
}

/// Measures everybody in turn, `measure(round, place, contestant)`; round 0 warms up and is not counted.
pub(crate) async fn in_turn(
    bench: &Bench,
    entries: &mut [Entry],
    running: &mut [Option<Running>],
    measure: impl AsyncFn(usize, usize, &Running) -> anyhow::Result<Sample>,
) {
    for round in 0..=bench.rounds {
        for place in order(entries.len(), round) {
            let (Some(entry), Some(slot)) = (entries.get_mut(place), running.get_mut(place)) else {
                continue;
            };
            let Some(contestant) = slot else { continue };
            match measure(round, place, contestant).await {
                Ok(sample) if round > 0 => entry.rounds.push(sample),
                Ok(_) => {}
                Err(error) => {
                    take_out(entry, Some(contestant), &error);
                    *slot = None;
                }
            }
        }
    }
}

/// Starts everybody who takes part.
pub(crate) async fn start_all(
    bench: &Bench,
    entries: &mut [Entry],
    setup: impl Fn(&Entry) -> Setup,
) -> Vec<Option<Running>> {
    let mut all = Vec::new();
    for entry in entries {
        let started = Running::start(entry.kind, &bench.place, &setup(entry)).await;
        all.push(match started.with_context(|| entry.kind.name()) {
            Ok(running) => Some(running),
            Err(error) => {
                take_out(entry, None, &error);
                None
            }
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_first_once() {
        assert_eq!(order(3, 0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(order(3, 2).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(order(0, 1).count(), 0);
    }
}
