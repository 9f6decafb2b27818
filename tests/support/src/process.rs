//! Child processes that cannot outlive the test, however it ends.
//!
//! A child leads its own process group. A watchdog, a shell that reads from a pipe held by the test, kills the
//! group when the pipe closes: also when the test itself is killed and no destructor runs.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::DEADLINE;

/// A child and everything it starts, killed on drop.
#[derive(Debug)]
pub struct Group {
    child: Child,
    watchdog: Child,
    log: PathBuf,
}

impl Group {
    /// Starts `command` with no input and its output in the file `log`.
    pub fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(log)?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let watchdog = Command::new("sh")
            .args(["-c", "read -r line; kill -s KILL -- \"-$1\"", "watchdog", &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the watchdog")?;
        Ok(Self { child, watchdog, log: log.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the processes wrote so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// How the leader ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal to the leader alone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.group(), signal)?)
    }

    /// Sends a signal to all of the group.
    pub fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process_group(self.group(), signal)?)
    }

    /// Waits for the leader's end.
    pub async fn ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let end = tokio::time::Instant::now() + deadline;
        loop {
            if let Some(status) = self.exited() {
                return Ok(status);
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < end,
                "still running after {deadline:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The processes of the group that live, zombies apart.
    pub fn members(&self) -> Vec<u32> {
        group_members(self.pid())
    }

    /// `kill -9` for the whole group; waits until it is gone.
    pub fn kill(&mut self) {
        // Gone already is as good.
        let _ = kill_process_group(self.group(), Signal::KILL);
        let _ = self.child.wait();
        let end = Instant::now() + DEADLINE;
        while !self.members().is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // First the watchdog: once the group is gone its number may belong to somebody else.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        self.kill();
    }
}

/// The resident memory of a process in bytes (`VmRSS`).
pub fn rss(pid: u32) -> anyhow::Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most resident memory that a process has had, in bytes (`VmHWM`).
pub fn peak_rss(pid: u32) -> anyhow::Result<u64> {
    status_bytes(pid, "VmHWM:")
}

/// The processes of a process group that live, zombies apart.
pub fn group_members(group: u32) -> Vec<u32> {
    processes().filter(|process| process.group == group && process.state != 'Z').map(|p| p.pid).collect()
}

/// The living children of a process, zombies apart.
pub fn children(parent: u32) -> Vec<u32> {
    processes().filter(|process| process.parent == parent && process.state != 'Z').map(|p| p.pid).collect()
}

/// The living children of a process, their children, and so on.
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let all: Vec<Process> = processes().filter(|process| process.state != 'Z').collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.pid));
        next += 1;
    }
    found.split_off(1)
}

/// Whether a process lives; a zombie does not.
pub fn is_alive(pid: u32) -> bool {
    Process::read(pid).is_some_and(|process| process.state != 'Z')
}

/// The open file descriptors of a process.
pub fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// A TCP port of 127.0.0.1 that is free now. It is below the range that the kernel gives to outgoing
/// connections, and this process does not give it out twice.
pub fn free_port() -> anyhow::Result<u16> {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1000 {
        let port = fastrand::u16(12_000..32_000);
        if !given.contains(&port) && TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    anyhow::bail!("no free port in a thousand tries")
}

/// The path of a program, looked up in PATH and the sbin folders, which a plain user's PATH lacks.
pub fn program(names: &[&str]) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{} is not installed", names.join(" or ")))
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

struct Process {
    pid: u32,
    state: char,
    parent: u32,
    group: u32,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may itself contain spaces and parentheses.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Self { pid, state, parent, group })
    }
}

fn processes() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?))
}

fn status_bytes(pid: u32, key: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::wait::wait_until;

    #[tokio::test]
    async fn a_group_dies_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & sleep 1000 & echo started; wait"]);
        let group = Group::spawn(command, &folder.path().join("log")).unwrap();
        wait_until("the children", DEADLINE, async || group.log().contains("started")).await;
        let pid = group.pid();
        assert_eq!(group_members(pid).len(), 3);
        assert_eq!((children(pid).len(), descendants(pid).len()), (2, 2));
        assert!(rss(pid).unwrap() > 0 && peak_rss(pid).unwrap() >= rss(pid).unwrap());
        assert!(is_alive(pid));
        drop(group);
        assert!(group_members(pid).is_empty() && !is_alive(pid));
    }

    #[tokio::test]
    async fn a_group_dies_with_a_killed_test() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        let mut group = Group::spawn(command, &folder.path().join("log")).unwrap();
        // What the kernel does when the test is killed: the pipe's writing end is closed.
        drop(group.watchdog.stdin.take());
        group.ended(DEADLINE).await.unwrap();
    }

    #[test]
    fn ports_are_free_and_different() {
        let (a, b) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(a, b);
        TcpListener::bind(("127.0.0.1", a)).unwrap();
    }
}
