//! The machine and what runs on it, for who reads the results elsewhere.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::contestant::{first_version, said};
use crate::wrk;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) system: String,
    pub(crate) wrk: String,
    pub(crate) php: String,
    /// The commit that was measured.
    pub(crate) commit: String,
}

impl Machine {
    pub(crate) fn this(bench: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let value = |text: &str, key: &str, separator: char| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(separator)?.1.trim().trim_matches('"').to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal", ':')
            .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
            .unwrap_or(0.0);
        let php = crate::contestant::php_program().map(|program| first_version(&said(&program, "-v")));
        Self {
            cpu: value(&cpuinfo, "model name", ':').unwrap_or_else(|| "?".to_owned()),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: (memory / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: value(&read("/etc/os-release"), "PRETTY_NAME", '=').unwrap_or_else(|| "?".to_owned()),
            wrk: wrk::version().unwrap_or_else(|_| "?".to_owned()),
            php: php.unwrap_or_else(|_| "?".to_owned()),
            commit: commit(bench),
        }
    }
}

fn commit(bench: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").arg("-C").arg(bench).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(name) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "?".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{name} with changes") } else { name }
}

/// `2026-11-25 06:10 UTC`.
pub(crate) fn now() -> String {
    // `Wed, 25 Nov 2026 06:10:00 GMT` has the parts; only their order differs.
    let text = httpdate::fmt_http_date(SystemTime::now());
    let words: Vec<&str> = text.split(' ').collect();
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    match words[..] {
        [_, day, month, year, time, _] => {
            let month = months.find(month).map_or(0, |place| place / 3 + 1);
            format!("{year}-{month:02}-{day} {} UTC", time.get(..5).unwrap_or(time))
        }
        _ => text,
    }
}
