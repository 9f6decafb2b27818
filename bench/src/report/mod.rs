//! Results: what is written, and the figures that are shown of them.

pub(crate) mod terminal;

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::{self, Machine};
use crate::run::{Bench, Entry, Sample};
use crate::scenario::Scenario;
use crate::statistics::Spread;

/// `results/SCENARIO.json`: a scenario's results with every raw figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) scenario: String,
    pub(crate) title: String,
    pub(crate) what: String,
    pub(crate) date: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) machine: Machine,
    /// Options that our services were given beside addresses and memory.
    pub(crate) extra: Vec<String>,
    pub(crate) entries: Vec<Line>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) ours: bool,
    /// One sample a round.
    pub(crate) rounds: Vec<Sample>,
    pub(crate) error: Option<String>,
}

impl Results {
    pub(crate) fn new(scenario: &Scenario, bench: &Bench, machine: &Machine, entries: Vec<Entry>) -> Self {
        let place = &bench.place;
        let entries = entries.into_iter().map(|entry| Line {
            name: match entry.variant {
                "" => entry.kind.name().to_owned(),
                variant => format!("{}, {variant}", entry.kind.name()),
            },
            version: entry.kind.version(place),
            ours: entry.kind.is_ours(),
            rounds: entry.rounds,
            error: entry.error,
        });
        Self {
            scenario: scenario.name.to_owned(),
            title: scenario.title.to_owned(),
            what: scenario.what.to_owned(),
            date: machine::now(),
            rounds: bench.rounds,
            seconds: bench.duration.as_secs(),
            machine: machine.clone(),
            extra: place.extra.iter().map(|(service, option)| format!("{service} {option}")).collect(),
            entries: entries.collect(),
        }
    }

    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(folder.join(format!("{}.json", self.scenario)), text)?;
        Ok(())
    }

    pub(crate) fn ours(&self) -> Option<&Line> {
        self.entries.iter().find(|line| line.ours)
    }
}

impl Line {
    pub(crate) fn spread(&self, figure: &str) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|sample| sample.get(figure).copied()))
    }

    pub(crate) fn by_round(&self, figure: &str) -> Vec<Option<f64>> {
        self.rounds.iter().map(|sample| sample.get(figure).copied()).collect()
    }

    /// This figure of another as a multiple of ours, round by round.
    pub(crate) fn over(&self, ours: &Self, figure: &str) -> Option<Spread> {
        Spread::of_ratios(&self.by_round(figure), &ours.by_round(figure))
    }
}

/// A figure that samples have.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Digits behind the point.
    pub(crate) digits: usize,
}

const fn figure(name: &'static str, title: &'static str, digits: usize) -> Figure {
    Figure { name, title, digits }
}

/// Every figure, in the order in which columns stand.
pub(crate) const FIGURES: &[Figure] = &[
    figure("rps", "requests/s", 0),
    figure("cpu_us", "CPU µs/request", 2),
    figure("fpm_cpu_us", "PHP-FPM CPU µs/request", 1),
    figure("mib_per_cpu_s", "MiB per CPU second", 0),
    figure("capacity_rps", "requests/s of these cores alone", 0),
    figure("goodput", "served/s", 0),
    figure("refused", "503", 0),
    figure("refusal_p99_ms", "p99 of a 503, ms", 1),
    figure("failed", "lost", 0),
    figure("origin_requests", "origin requests", 0),
    figure("connection_kib", "KiB per idle connection", 1),
    figure("purges", "purges", 0),
    figure("purge_p50_ms", "purge p50 ms", 2),
    figure("purge_max_ms", "purge max ms", 2),
    figure("p50_ms", "p50 ms", 2),
    figure("p99_ms", "p99 ms", 2),
    figure("p999_ms", "p99.9 ms", 2),
    figure("rss_mib", "RSS MiB", 1),
    figure("pss_mib", "PSS MiB", 1),
    figure("busy", "cores busy", 2),
    figure("errors", "errors", 0),
];
