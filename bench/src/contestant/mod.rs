//! The contestants: what they are, and how each is started.
//!
//! `ours.rs` has the command lines of our services, `peers.rs` those of the others, whose configurations are in
//! `bench/peers`. All of them listen on a free port of 127.0.0.1 and live in a folder of their own.

mod ours;
mod peers;

pub(crate) use peers::php_program;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use test_support::process::{Group, free_port};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep};

use crate::place::{Place, folder};

/// How long a contestant may take until it accepts connections.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    EdgeCache,
    Varnish,
    NginxCache,
    Haproxy,
    TrafficServer,
    /// The minimal server of `bin/floor.rs`.
    Floor,
    WebProxy,
    NginxWeb,
    Apache,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::EdgeCache => "edge-cache",
            Self::Varnish => "Varnish",
            Self::NginxCache | Self::NginxWeb => "nginx",
            Self::Haproxy => "HAProxy",
            Self::TrafficServer => "Traffic Server",
            Self::Floor => "floor",
            Self::WebProxy => "web-proxy",
            Self::Apache => "Apache",
        }
    }

    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::EdgeCache | Self::WebProxy)
    }

    /// As its own program says it.
    pub(crate) fn version(self, place: &Place) -> String {
        let (program, argument): (PathBuf, &str) = match self {
            Self::EdgeCache => (place.binaries.join("edge-cache"), "--version"),
            Self::WebProxy => (place.binaries.join("web-proxy"), "--version"),
            Self::Floor => return env!("CARGO_PKG_VERSION").to_owned(),
            Self::Varnish => ("varnishd".into(), "-V"),
            Self::NginxCache | Self::NginxWeb => ("nginx".into(), "-v"),
            Self::Haproxy => ("haproxy".into(), "-v"),
            Self::TrafficServer => ("traffic_server".into(), "-V"),
            Self::Apache => ("apache2".into(), "-v"),
        };
        first_version(&said(&program, argument))
    }
}

/// What a contestant gets.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// CPUs, and threads or workers.
    pub(crate) cores: usize,
    /// For what is cached.
    pub(crate) memory_mb: u64,
    /// Where the origin is, for caches.
    pub(crate) origin: u16,
    /// The files, for web servers.
    pub(crate) docroot: PathBuf,
    /// Whether a web server has a PHP-FPM behind it.
    pub(crate) php: bool,
}

/// A contestant that runs; stopped on drop.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// What is measured.
    front: Vec<Group>,
    /// Its PHP-FPM, measured on its own.
    fpm: Option<Group>,
    _folder: TempDir,
}

impl Running {
    pub(crate) async fn start(kind: Kind, place: &Place, setup: &Setup) -> anyhow::Result<Self> {
        let folder = folder(kind.name().split(' ').next().unwrap_or_default())?;
        let start = Start { place, setup, folder: folder.path(), port: free_port()? };
        let fpm = if setup.php { Some(peers::php_fpm(&start).await?) } else { None };
        let front = match kind {
            Kind::EdgeCache => ours::edge_cache(&start)?,
            Kind::WebProxy => ours::web_proxy(&start).await?,
            Kind::Floor => ours::floor(&start)?,
            Kind::Varnish => peers::varnish(&start)?,
            Kind::NginxCache => peers::nginx(&start, "nginx-cache.conf")?,
            Kind::NginxWeb => peers::nginx(&start, "nginx-web.conf")?,
            Kind::Haproxy => peers::haproxy(&start)?,
            Kind::TrafficServer => peers::traffic_server(&start)?,
            Kind::Apache => peers::apache(&start)?,
        };
        let address = start.address();
        let mut running = Self { address, front, fpm, _folder: folder };
        running.accepts().await.with_context(|| format!("starting {}", kind.name()))?;
        Ok(running)
    }

    async fn accepts(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + DEADLINE;
        while TcpStream::connect(self.address).await.is_err() {
            for group in &mut self.front {
                if let Some(status) = group.exited() {
                    bail!("ended with {status}:\n{}", group.log());
                }
            }
            let logs: String = self.front.iter().map(Group::log).collect();
            ensure!(Instant::now() < end, "does not accept connections:\n{logs}");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// The processes at whose CPU time and memory to look.
    pub(crate) fn front(&self) -> Vec<u32> {
        self.front.iter().map(Group::pid).collect()
    }

    pub(crate) fn fpm(&self) -> Vec<u32> {
        self.fpm.iter().map(Group::pid).collect()
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    pub(crate) fn log(&self) -> String {
        self.front.iter().chain(&self.fpm).map(Group::log).collect()
    }
}

/// What starting one needs to know.
#[derive(Clone, Copy)]
struct Start<'a> {
    place: &'a Place,
    setup: &'a Setup,
    folder: &'a Path,
    port: u16,
}

impl Start<'_> {
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts a program on the CPUs of the servers. What it writes to standard output, which is where our services have
    /// their access log, goes nowhere.
    fn spawn(&self, program: &Path, arguments: &[String]) -> anyhow::Result<Group> {
        spawn(&self.place.server_cpus(self.setup.cores), self.folder, program, arguments)
    }

    fn fpm_socket(&self) -> PathBuf {
        self.folder.join("fpm.sock")
    }
}

/// An origin on the CPUs of the load.
pub(crate) async fn origin(place: &Place) -> anyhow::Result<Running> {
    let folder = folder("origin")?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let program = place.binary("floor")?;
    let group = spawn(&place.load_cpus, folder.path(), &program, &[address.to_string()])?;
    let mut running = Running { address, front: vec![group], fpm: None, _folder: folder };
    running.accepts().await.context("starting the origin")?;
    Ok(running)
}

fn spawn(cpus: &str, folder: &Path, program: &Path, arguments: &[String]) -> anyhow::Result<Group> {
    let mut command = Command::new("taskset");
    command.args(["-c", cpus, "sh", "-c", "exec \"$@\" >/dev/null", "sh"]).arg(program).args(arguments);
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Group::spawn(command, &folder.join(format!("{name}.log")))
}

async fn socket_accepts(path: &Path, group: &mut Group) -> anyhow::Result<()> {
    let end = Instant::now() + DEADLINE;
    while UnixStream::connect(path).await.is_err() {
        if let Some(status) = group.exited() {
            bail!("ended with {status}:\n{}", group.log());
        }
        ensure!(Instant::now() < end, "{} does not accept connections:\n{}", path.display(), group.log());
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// What a program says of itself, on either of its outputs.
pub(crate) fn said(program: &Path, argument: &str) -> String {
    let program =
        test_support::process::program(&[&program.to_string_lossy()]).unwrap_or_else(|_| program.to_owned());
    let Ok(output) = Command::new(program).arg(argument).output() else { return String::new() };
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The first thing in a text that looks like a version: digits with dots.
pub(crate) fn first_version(text: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_digit() || letter == '.';
    text.split(|letter: char| !is_part(letter))
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'))
        .unwrap_or("?")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, version) in [
            ("varnishd (varnish-7.1.1 revision 7cee1c58)", "7.1.1"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12"),
            (
                "traffic_server: using root directory '/usr'\nApache Traffic Server - traffic_server - 9.2.9 - (",
                "9.2.9",
            ),
            ("Server version: Apache/2.4.71 (Debian)\nServer built:   2026", "2.4.71"),
            ("PHP 8.2.29 (fpm-fcgi)", "8.2.29"),
            ("nothing", "?"),
        ] {
            assert_eq!(first_version(text), version);
        }
    }
}
