//! The load generator wrk: closed loop, one thread, as many requests as the server takes.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::place::Place;

/// What wrk is to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load {
    pub(crate) url: String,
    pub(crate) connections: u32,
    pub(crate) fields: Vec<String>,
    /// A script of `bench/lua` in the place of report.lua, and its environment.
    pub(crate) script: Option<&'static str>,
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// What wrk measured; `report.lua` prints it. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    pub(crate) duration: u64,
    /// Heads and bodies.
    pub(crate) bytes: u64,
    connect: u64,
    read: u64,
    write: u64,
    /// Answers with a status of 400 or more.
    status: u64,
    timeout: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Measured {
    pub(crate) const fn errors(&self) -> u64 {
        self.connect + self.read + self.write + self.status + self.timeout
    }
}

pub(crate) async fn run(place: &Place, load: &Load, duration: Duration) -> anyhow::Result<Measured> {
    let lua = place.bench.join("lua");
    let mut command = Command::new("taskset");
    command.args(["-c", &place.load_cpus, "wrk", "-t1", "--timeout", "10s", "--latency"]);
    command.arg(format!("-c{}", load.connections)).arg(format!("-d{}s", duration.as_secs().max(1)));
    command.arg("-s").arg(lua.join(load.script.unwrap_or("report.lua")));
    command.env("REPORT", lua.join("report.lua")).envs(load.environment.iter().cloned());
    command.args(["-H", "Host: bench.example"]);
    for field in &load.fields {
        command.args(["-H", field]);
    }
    command.arg(&load.url).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(duration + Duration::from_mins(1), command.output());
    let output = ended.await.context("wrk does not end")?.context("starting wrk")?;
    parse(&output)
}

fn parse(output: &Output) -> anyhow::Result<Measured> {
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    line(&text).with_context(|| format!("wrk says nothing: {text}"))
}

fn line(text: &str) -> Option<Measured> {
    let line = text.lines().find_map(|line| line.strip_prefix("WRK "))?;
    serde_json::from_str(line).ok()
}

/// Whether the installed wrk runs at all.
pub(crate) fn version() -> anyhow::Result<String> {
    let output = std::process::Command::new("wrk").arg("--version").output().context("starting wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn reads_the_line_of_report_lua() {
        let text = "Running 3s test @ http://127.0.0.1:1/\n  Latency   1.00ms\n\
            WRK {\"requests\":1000,\"duration\":3000123,\"bytes\":4096,\"connect\":1,\"read\":2,\"write\":0,\"status\":3,\
            \"timeout\":0,\"p50\":100.0,\"p99\":900.5,\"p999\":1000.0,\"max\":2000.0}\n";
        let measured = line(text).unwrap();
        assert_eq!((measured.requests, measured.duration, measured.errors()), (1000, 3_000_123, 6));
        assert_eq!(line("Running 3s test\n"), None);
    }
}
