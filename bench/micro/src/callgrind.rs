//! Counts instructions with valgrind, which executes a program one instruction after the other: the figure does not
//! depend on what else the machine does. What the kernel does is not in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, ensure};

use crate::scenario::Scenario;

/// The two lengths of a replay. What start-up and warming up take is in both, and falls out of their difference.
const SHORT: usize = 200;
const LONG: usize = 1_200;

/// Runs replays and keeps what callgrind has written of them.
#[derive(Debug)]
pub struct Counter {
    /// The program `replay`: this one.
    pub program: PathBuf,
    /// Where the profiles go.
    pub folder: PathBuf,
}

impl Counter {
    /// Instructions per request.
    pub fn count(&self, scenario: Scenario) -> anyhow::Result<u64> {
        let (long, short) = std::thread::scope(|threads| {
            let short = threads.spawn(|| self.total(scenario, SHORT));
            (self.total(scenario, LONG), short.join())
        });
        let (long, short) = (long?, short.map_err(|_| anyhow!("a thread has panicked"))??);
        let difference = long.checked_sub(short).context("the longer run took fewer instructions")?;
        Ok(difference / (LONG - SHORT) as u64)
    }

    /// The profile of the longer run, for `callgrind_annotate`.
    pub fn profile(&self, scenario: Scenario) -> PathBuf {
        self.output(scenario, LONG)
    }

    fn output(&self, scenario: Scenario, requests: usize) -> PathBuf {
        self.folder.join(format!("{}-{requests}.out", scenario.name()))
    }

    /// Instructions of a whole run.
    fn total(&self, scenario: Scenario, requests: usize) -> anyhow::Result<u64> {
        let output = self.output(scenario, requests);
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--callgrind-out-file={}", output.display()))
            .arg(&self.program)
            .args([scenario.name(), &requests.to_string()])
            .output()
            .context("valgrind")?;
        ensure!(
            run.status.success(),
            "{} requests of {} under valgrind: {}\n{}",
            requests,
            scenario.name(),
            run.status,
            String::from_utf8_lossy(&run.stderr)
        );
        total_of(&output)
    }
}

/// The line `totals: N` of a profile.
fn total_of(output: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read(output).with_context(|| output.display().to_string())?;
    let text = String::from_utf8_lossy(&text);
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.trim().parse().ok()).context("a profile without a total")
}
