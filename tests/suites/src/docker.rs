//! A Docker daemon of the test's own, never the machine's: its processes live in namespaces that end with it.
//!
//! What it has built stays in `.cache/docker` for the next run. One daemon at a time has that folder.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::process::{Group, children, is_root, program};
use tokio::time::{Instant, sleep};

use crate::service::cache;

/// Starting includes what a killed daemon has left to be put in order.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long containers may take to end with their daemon.
const ENDING: Duration = Duration::from_secs(30);

/// What its processes can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This machine's network, for what is built: no bridge, and no rule of the firewall.
    Host,
    /// A network of its own, with bridges and published ports, that this machine reaches over one cable.
    Own,
}

/// A running daemon; ended on drop, with all its containers.
#[derive(Debug)]
pub struct Daemon {
    group: Group,
    folder: TempDir,
    /// Below which its containers are counted, in every hierarchy.
    cgroup: String,
    address: Ipv4Addr,
    _alone: File,
}

impl Daemon {
    pub async fn start(reach: Reach) -> anyhow::Result<Self> {
        ensure!(is_root(), "a Docker daemon of the test's own needs root");
        let data = cache().join("docker");
        fs::create_dir_all(data.join("data"))?;
        let alone = File::create(data.join("lock"))?;
        flock(&alone, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("another daemon is at work on {}", data.display()))?;

        let folder = tempfile::Builder::new().prefix("test-docker-").tempdir_in("/tmp")?;
        let cgroup = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Of the network for benchmarks (RFC 2544), which no machine is in.
        let block = fastrand::u32(0..1 << 15) << 2;
        let [here, there] = [1, 2].map(|last| Ipv4Addr::from(0xC612_0000 + block + last));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--uts", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
        command.args((reach == Reach::Own).then_some("--net"));
        command.args(["bash", "-euc", INSIDE, "dockerd", if reach == Reach::Own { "own" } else { "host" }]);
        command.arg(folder.path()).arg(data.join("data")).args([format!("/{cgroup}"), there.to_string()]);
        command.env("PATH", path()).env_remove("DOCKER_HOST");
        let group = Group::spawn(command, &folder.path().join("log"))?;
        let mut daemon = Self { group, folder, cgroup, address: there, _alone: alone };
        if reach == Reach::Own {
            daemon.plug_in(here).await?;
        }
        daemon.wait().await?;
        daemon.tidy()?;
        Ok(daemon)
    }

    /// Takes away what a run that was killed has left in the kept folder.
    fn tidy(&self) -> anyhow::Result<()> {
        let left = self.docker(&["ps", "--all", "--quiet"])?;
        for container in left.lines() {
            self.docker(&["rm", "--force", "--volumes", container])?;
        }
        for volume in self.docker(&["volume", "ls", "--quiet"])?.lines() {
            self.docker(&["volume", "rm", volume])?;
        }
        self.docker(&["network", "prune", "--force"])?;
        Ok(())
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// A published port, as who is not in a container sees it.
    pub const fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(self.address), port)
    }

    pub fn log(&self) -> String {
        self.group.log()
    }

    /// A program that speaks to this daemon.
    pub fn command(&self, name: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(name);
        command.env("DOCKER_HOST", self.host()).env("PATH", path());
        command
    }

    /// What `docker …` prints; an error if it fails.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        succeed(self.command("docker").args(arguments))
    }

    /// The state of a container's health check, or of the container where it is not running.
    pub fn health(&self, container: &str) -> anyhow::Result<String> {
        let format = "{{if .State.Running}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}";
        self.docker(&["inspect", "--format", format, container])
    }

    fn terminate(&self) -> anyhow::Result<()> {
        let init = self.init().context("dockerd has ended")?;
        Ok(kill_process(init, Signal::TERM)?)
    }

    /// dockerd, the first process of its namespace.
    fn init(&self) -> Option<Pid> {
        children(self.group.pid()).first().and_then(|pid| Pid::from_raw(pid.cast_signed()))
    }

    /// Puts one end of a cable into its network.
    async fn plug_in(&mut self, here: Ipv4Addr) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        // Until it has its own network, the namespace of its process is this machine's.
        let own = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let init = loop {
            let init = children(self.group.pid()).first().copied();
            if let Some(init) =
                init.filter(|init| own(*init).is_some_and(|it| Some(it) != own(std::process::id())))
            {
                break init.to_string();
            }
            ensure!(self.group.exited().is_none() && Instant::now() < end, "no namespace:\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        };
        let cable = format!("ve{}", fastrand::u32(..));
        let ip = |arguments: &[&str]| succeed(Command::new("ip").args(arguments).env("PATH", path()));
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &init])?;
        ip(&["address", "add", &format!("{here}/30"), "dev", &cable])?;
        ip(&["link", "set", &cable, "up"])?;
        Ok(())
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.docker(&["version"]).is_err() {
            ensure!(self.group.exited().is_none() && Instant::now() < end, "dockerd:\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // In order if it can, so that the kept folder needs no repair; with the namespace if it cannot.
        if self.group.exited().is_none() && self.terminate().is_ok() {
            let end = std::time::Instant::now() + ENDING;
            while self.group.exited().is_none() && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.group.kill();
        for hierarchy in hierarchies() {
            remove_cgroups(&hierarchy.join(&self.cgroup));
        }
    }
}

/// Runs a command to its end and gives what it has printed.
pub fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}:\n{}", output.status, printed(&output));
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Both outputs.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `docker-compose` or `docker compose`, whichever there is.
pub fn compose(daemon: &Daemon) -> Command {
    if program(&["docker-compose"]).is_ok() {
        return daemon.command("docker-compose");
    }
    let mut command = daemon.command("docker");
    command.arg("compose");
    command
}

/// Where servers are, which a plain user's PATH lacks.
fn path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// The cgroup tree of version 2, or those of version 1.
fn hierarchies() -> Vec<PathBuf> {
    let tree = Path::new("/sys/fs/cgroup");
    let inside = fs::read_dir(tree).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(tree.to_owned()).chain(inside.filter(|path| path.is_dir())).collect()
}

/// What the daemon has made and left empty; innermost first.
fn remove_cgroups(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroups(&entry.path());
        }
    }
    // None is there, in most hierarchies.
    let _ = fs::remove_dir(folder);
}

/// What runs first in the namespaces. Mounts made here are seen by nobody else and end with the last process.
const INSIDE: &str = r#"
reach=$1 state=$2 data=$3 cgroup=$4 address=$5
mkdir "$state/run" "$state/cgroup"
cp -L /etc/resolv.conf "$state/resolv.conf"
resolv=$(readlink -f /etc/resolv.conf)
if [[ $reach == own ]]; then
    # sysfs shows the network of who mounts it; the cgroups are put back into the new one.
    mount --rbind /sys/fs/cgroup "$state/cgroup"
    mount -t sysfs sysfs /sys
    mount --rbind "$state/cgroup" /sys/fs/cgroup
fi
# The sockets of containerd and of plugins are in /run, where the machine's own daemon has its.
mount --bind "$state/run" /run
if [[ $resolv == /run/* ]]; then
    mkdir -p "${resolv%/*}"
    cp "$state/resolv.conf" "$resolv"
fi
arguments=(--data-root "$data" --exec-root "$state/exec" --pidfile "$state/pid" --host "unix://$state/docker.sock"
    --cgroup-parent "$cgroup" --exec-opt native.cgroupdriver=cgroupfs
    # Registries of tests are private addresses, and have no certificates.
    --insecure-registry 10.0.0.0/8)
if [[ $reach == own ]]; then
    ip link set lo up
    until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
    ip address add "$address/30" dev eth0
    ip link set eth0 up
else
    arguments+=(--bridge none --iptables=false --ip-masq=false)
fi
exec dockerd "${arguments[@]}"
"#;
