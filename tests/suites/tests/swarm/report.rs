//! What each scene did to the visitors, as a table.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::load::{Kind, Seen};

/// What is allowed to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Nothing, and nothing is sent twice either: scaling, updating, draining.
    Nothing,
    /// Requests in flight on what was killed: those that may be sent twice are, and are answered then.
    InFlight,
    /// Everything but what the edge has: there is no database. A write has taken the page that it changed out of the edge that
    /// it went through (RFC 9111, section 4.4), and a page that is not there cannot be served.
    Outage,
}

#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) title: String,
    pub(crate) bound: Bound,
    /// From the fault or order until Swarm had what it wants.
    pub(crate) settled: Duration,
    pub(crate) requests: usize,
    pub(crate) failed: Vec<Seen>,
    pub(crate) repeated: usize,
    /// Why.
    pub(crate) repeated_for: Vec<String>,
    pub(crate) p99: Duration,
    /// From the fault or order until the last request ended that failed or took more than two seconds.
    pub(crate) recovered: Duration,
    pub(crate) lost: usize,
    /// What else went wrong.
    pub(crate) error: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) scenes: Vec<Scene>,
    /// Lines above the table.
    pub(crate) facts: Vec<String>,
}

impl Scene {
    pub(crate) fn of(title: &str, bound: Bound, began: Instant, settled: Duration, seen: Vec<Seen>) -> Self {
        let mut times: Vec<_> = seen.iter().map(|seen| seen.ended - seen.began).collect();
        times.sort_unstable();
        let p99 = times.get(times.len().saturating_sub(1 + times.len() / 100)).copied().unwrap_or_default();
        let slow = |seen: &&Seen| seen.failed.is_some() || seen.ended - seen.began > Duration::from_secs(2);
        let recovered =
            seen.iter().filter(slow).map(|seen| seen.ended.saturating_duration_since(began)).max();
        Self {
            title: title.to_owned(),
            bound,
            settled,
            requests: seen.len(),
            repeated: seen.iter().filter(|seen| seen.repeated.is_some()).count(),
            repeated_for: seen.iter().filter_map(|seen| seen.repeated.clone()).collect(),
            failed: seen.into_iter().filter(|seen| seen.failed.is_some()).collect(),
            p99,
            recovered: recovered.unwrap_or_default(),
            lost: 0,
            error: None,
        }
    }

    /// What was not allowed to happen.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.error.iter().cloned().collect();
        if self.requests == 0 {
            faults.push("there were no visitors".to_owned());
        }
        if self.lost > 0 {
            faults.push(format!("{} acknowledged writes are lost", self.lost));
        }
        for seen in &self.failed {
            let Some(why) = &seen.failed else { continue };
            // A visitor has one request at a time: three of them write.
            let allowed = match self.bound {
                Bound::Nothing => false,
                Bound::InFlight => seen.kind == Kind::Write,
                Bound::Outage => seen.kind != Kind::Anonymous || why.contains("fwd=uri-miss"),
            };
            if !allowed {
                faults.push(format!("{:?}: {why}; first attempt: {:?}", seen.kind, seen.repeated));
            }
        }
        let writes = self.failed_writes();
        if self.bound == Bound::InFlight && writes > 3 {
            faults.push(format!("{writes} writes failed: more than can have been in flight"));
        }
        faults
    }
}

impl Scene {
    fn failed_writes(&self) -> usize {
        self.failed.iter().filter(|seen| seen.kind == Kind::Write).count()
    }

    pub(crate) fn line(&self) -> String {
        let writes = self.failed_writes();
        format!(
            "{}: {} requests, {} failed ({writes} writes), {} repeated, p99 {} ms, recovered {}, settled {}, {} lost",
            self.title,
            self.requests,
            self.failed.len(),
            self.repeated,
            self.p99.as_millis(),
            seconds(self.recovered),
            seconds(self.settled),
            self.lost,
        )
    }
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for fact in &self.facts {
            let _ = writeln!(text, "- {fact}");
        }
        text.push_str("\n| | requests | failed | of them writes | repeated | p99 | recovered after | settled after | lost writes |\n");
        text.push_str("|---|---|---|---|---|---|---|---|---|\n");
        for scene in &self.scenes {
            let writes = scene.failed_writes();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {writes} | {} | {} ms | {} | {} | {} |",
                scene.title,
                scene.requests,
                scene.failed.len(),
                scene.repeated,
                scene.p99.as_millis(),
                seconds(scene.recovered),
                seconds(scene.settled),
                scene.lost,
            );
        }
        text
    }

    /// Writes the page, with its date.
    pub(crate) fn write(&self, page: &Path) -> anyhow::Result<()> {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let text = format!(
            "# What the swarm's tests saw\n\n\
             Made by `SWARM_REPORT=docs/swarm-report.md ./test swarm` on {date}: three nodes on one machine with two cores, \
             under a steady load from outside. [swarm.md](swarm.md#tried) says what the columns mean.\n\n{}",
            self.table()
        );
        Ok(std::fs::write(page, text)?)
    }
}

fn seconds(time: Duration) -> String {
    if time.is_zero() { "at once".to_owned() } else { format!("{:.1} s", time.as_secs_f64()) }
}
