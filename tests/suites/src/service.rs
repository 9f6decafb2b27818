//! One of our binaries as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use test_support::process::{Group, free_port, open_files, peak_rss, rss};
use test_support::{client, metrics::Metrics};
use tokio::time::Instant;

/// Starting includes reading the program from a disk that may be busy with a build.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running service; killed on drop.
#[derive(Debug)]
pub struct Service {
    name: String,
    address: SocketAddr,
    admin: SocketAddr,
    group: Group,
    folder: TempDir,
}

impl Service {
    /// Starts `name` on free ports with these flags and waits until it is ready.
    pub async fn start(name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        Self::launch(name, flags, &[]).await
    }

    pub async fn launch(name: &str, flags: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-service-").tempdir()?;
        let [address, admin] =
            [free_port()?, free_port()?].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut command = Command::new(binary(name)?);
        command
            .args(["--listen", &address.to_string(), "--admin", &admin.to_string()])
            .args(flags)
            .envs(environment.iter().copied())
            // Whatever a program leaves behind is then in a folder that goes.
            .env("TMPDIR", folder.path());
        let group = Group::spawn(command, &folder.path().join("log"))?;
        let mut service = Self { name: name.to_owned(), address, admin, group, folder };
        let end = Instant::now() + PATIENCE;
        while !service.is_ready().await {
            if let Some(status) = service.group.exited() {
                anyhow::bail!("{name} ended with {status}:\n{}", service.log());
            }
            ensure!(Instant::now() < end, "{name} is not ready:\n{}", service.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(service)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.group.pid()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Log and access log.
    pub fn log(&self) -> String {
        self.group.log()
    }

    pub async fn is_ready(&self) -> bool {
        matches!(client::get(self.admin, "/readyz", &[]).await, Ok(response) if response.status == 200)
    }

    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::fetch(self.admin).await.with_context(|| format!("{}'s metrics", self.name))
    }

    /// Resident memory now, in bytes.
    pub fn rss(&self) -> anyhow::Result<u64> {
        rss(self.pid())
    }

    /// The most resident memory so far, in bytes.
    pub fn peak_rss(&self) -> anyhow::Result<u64> {
        peak_rss(self.pid())
    }

    pub fn open_files(&self) -> anyhow::Result<usize> {
        open_files(self.pid())
    }

    /// The processes of it that live.
    pub fn processes(&self) -> Vec<u32> {
        self.group.members()
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.group.signal(signal)
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.group.ended(deadline).await
    }

    pub async fn ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.group.ended(deadline).await
    }
}

/// The built program: beside the folder of the test that asks.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("a test runs from the target folder")?;
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} is missing: run cargo build --workspace --bins, as ./test does",
        path.display()
    );
    Ok(path)
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
}

/// What ./test has fetched beyond Debian's packages.
pub fn cache() -> PathBuf {
    root().join(".cache")
}
