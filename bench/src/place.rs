//! Where everything runs: which CPUs, which binaries, which folders.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;

#[derive(Debug)]
pub(crate) struct Place {
    /// The folder `bench/` with the peers' configurations and wrk's scripts.
    pub(crate) bench: PathBuf,
    /// Where the services and the floor were built.
    pub(crate) binaries: PathBuf,
    /// The CPUs that this process may use, servers first.
    cpus: Vec<usize>,
    /// The CPUs of load and origin, as `taskset -c` takes them.
    pub(crate) load_cpus: String,
    /// Files that a process may open.
    pub(crate) nofile: u64,
    /// Options for our services beside addresses and memory: none unless the user asks.
    pub(crate) extra: Vec<(String, String)>,
}

impl Place {
    /// Puts this process on the CPUs of the load.
    pub(crate) fn new(
        bench: PathBuf,
        binaries: PathBuf,
        extra: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        ensure!(bench.join("lua/report.lua").is_file(), "{} is not the folder bench/", bench.display());
        let allowed = sched_getaffinity(None)?;
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
        ensure!(cpus.len() >= 2, "two CPUs are needed: one for the servers and one for the load");
        // With two CPUs one is the load's; with more, all that no scenario gives to a server.
        let load = &cpus[if cpus.len() < 4 { 1 } else { 2 }..];
        let mut set = CpuSet::new();
        for &cpu in load {
            set.set(cpu);
        }
        let load_cpus = list(load);
        sched_setaffinity(None, &set)?;
        // 10,000 connections, at both ends of each.
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.unwrap_or(u64::from(u32::MAX));
        let nofile = most.max(limit.current.unwrap_or(most)).min(1 << 20);
        let raised = Rlimit { current: Some(nofile), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised)?;
        Ok(Self { bench, binaries, cpus, load_cpus, nofile, extra })
    }

    /// The first CPUs, for a server that is given so many, as `taskset -c` takes them.
    pub(crate) fn server_cpus(&self, count: usize) -> String {
        list(&self.cpus[..count.min(self.cpus.len())])
    }

    pub(crate) fn binary(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.binaries.join(name);
        ensure!(path.is_file(), "{} is not built", path.display());
        Ok(path)
    }
}

/// A folder in memory where the system has one, so that no contestant waits for a disk; users that servers change to
/// may look into it.
pub(crate) fn folder(name: &str) -> anyhow::Result<TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new()
        .prefix(&format!("bench-{name}-"))
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir_in(base)?;
    Ok(folder)
}

fn list(cpus: &[usize]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
