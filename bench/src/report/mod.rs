//! Results: what is written, and the figures that are shown of them.

pub(crate) mod html;
pub(crate) mod readme;
mod svg;
mod targets;
pub(crate) mod terminal;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub(crate) use svg::grouped;

use crate::machine::{self, Machine};
use crate::run::{Bench, Entry, Sample};
use crate::scenario::{SCENARIOS, Scenario};
use crate::statistics::Spread;

/// `results/SCENARIO.json`: a scenario's results with every raw figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) scenario: String,
    pub(crate) title: String,
    pub(crate) what: String,
    /// The figure that decides who is ahead.
    pub(crate) primary: String,
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
    /// What tells it from another line of the same name; else empty.
    pub(crate) variant: String,
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
            name: entry.kind.name().to_owned(),
            variant: entry.variant,
            version: entry.kind.version(place),
            ours: entry.kind.is_ours(),
            rounds: entry.rounds,
            error: entry.error,
        });
        Self {
            scenario: scenario.name.to_owned(),
            title: scenario.title.to_owned(),
            what: scenario.what.to_owned(),
            primary: scenario.work.primary().to_owned(),
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

    /// What was written before, in the order in which scenarios are run; what is not there was not run yet.
    pub(crate) fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::new();
        for scenario in SCENARIOS {
            let path = folder.join(format!("{}.json", scenario.name));
            match fs::read(&path) {
                Ok(text) => {
                    all.push(serde_json::from_slice(&text).with_context(|| path.display().to_string())?);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        Ok(all)
    }

    /// Our own line of the same variant.
    pub(crate) fn ours(&self, variant: &str) -> Option<&Line> {
        self.entries.iter().find(|line| line.ours && line.variant == variant)
    }

    pub(crate) fn line(&self, name: &str, variant: &str) -> Option<&Line> {
        self.entries.iter().find(|line| line.name == name && line.variant == variant)
    }

    pub(crate) fn primary(&self) -> &'static Figure {
        FIGURES.iter().find(|figure| figure.name == self.primary).unwrap_or(&FIGURES[0])
    }

    /// Who is better than ours in the figure that decides; the floor is a limit, not a rival. `None` if ours has no figure.
    pub(crate) fn lost_to(&self) -> Option<Vec<String>> {
        let figure = self.primary();
        let mut better: Vec<String> = Vec::new();
        for line in self.entries.iter().filter(|line| !line.ours && line.name != FLOOR) {
            let ours = self.ours(&line.variant)?.spread(figure.name)?.median;
            if line.spread(figure.name).is_some_and(|spread| figure.better(spread.median, ours)) {
                better.push(line.label());
            }
        }
        self.entries.iter().any(|line| line.ours && !line.rounds.is_empty()).then_some(better)
    }
}

impl Line {
    pub(crate) fn label(&self) -> String {
        if self.variant.is_empty() { self.name.clone() } else { format!("{}, {}", self.name, self.variant) }
    }

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
    pub(crate) higher_is_better: bool,
}

impl Figure {
    fn better(&self, one: f64, other: f64) -> bool {
        if self.higher_is_better { one > other } else { one < other }
    }
}

/// The minimal server's name.
pub(crate) const FLOOR: &str = "floor";

const fn figure(name: &'static str, title: &'static str, digits: usize) -> Figure {
    Figure { name, title, digits, higher_is_better: false }
}

const fn higher(name: &'static str, title: &'static str, digits: usize) -> Figure {
    Figure { name, title, digits, higher_is_better: true }
}

/// Every figure, in the order in which columns stand.
pub(crate) const FIGURES: &[Figure] = &[
    higher("rps", "requests/s", 0),
    figure("cpu_us", "CPU µs/request", 2),
    figure("fpm_cpu_us", "PHP-FPM CPU µs/request", 1),
    higher("mib_per_cpu_s", "MiB per CPU second", 0),
    higher("capacity_rps", "requests/s of these cores alone", 0),
    higher("goodput", "served/s", 0),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// Results with one round of CPU time for each line: name, whether it is ours, µs.
    pub(super) fn results(scenario: &str, lines: &[(&str, bool, f64)]) -> Results {
        let machine = Machine {
            cpu: "a CPU".to_owned(),
            cores: 2,
            memory_gib: 4.0,
            kernel: "6.1".to_owned(),
            system: "Debian".to_owned(),
            wrk: "wrk 4".to_owned(),
            php: "8.2".to_owned(),
            commit: "abc".to_owned(),
        };
        let line = |&(name, ours, cpu): &(&str, bool, f64)| Line {
            name: name.to_owned(),
            variant: String::new(),
            version: "1".to_owned(),
            ours,
            rounds: vec![Sample::from([("cpu_us".to_owned(), cpu)])],
            error: None,
        };
        Results {
            scenario: scenario.to_owned(),
            title: "Title".to_owned(),
            what: "What <happens>.".to_owned(),
            primary: "cpu_us".to_owned(),
            date: "2026-01-01 00:00 UTC".to_owned(),
            rounds: 1,
            seconds: 1,
            machine,
            extra: Vec::new(),
            entries: lines.iter().map(line).collect(),
        }
    }

    #[test]
    fn who_is_ahead() {
        let lost = |lines| results("hit-1k", lines).lost_to();
        assert_eq!(lost(&[("edge-cache", true, 10.0), ("nginx", false, 11.0)]), Some(vec![]));
        assert_eq!(
            lost(&[
                ("edge-cache", true, 10.0),
                ("nginx", false, 9.0),
                ("HAProxy", false, 12.0),
                ("floor", false, 5.0)
            ]),
            Some(vec!["nginx".to_owned()])
        );
        assert_eq!(lost(&[("nginx", false, 9.0)]), None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        results("hit-1k", &[("edge-cache", true, 10.5)]).write(folder.path()).unwrap();
        let all = Results::read_all(folder.path()).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].ours("").unwrap().by_round("cpu_us"), [Some(10.5)]);
    }
}
