//! Galera nodes as the image runs them: `galera-node` processes, each on a loopback address of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use test_support::client;
use test_support::process::{Group, free_port, is_root, program};

use crate::service::binary;

pub const ROOT_PASSWORD: &str = "root's secret";
pub const PASSWORD: &str = "site\\secret";
pub const GATEWAY_PASSWORD: &str = "gateway secret";
/// Where each agent listens.
pub const AGENT: u16 = 4570;

/// For what Galera does, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A member that is silent is given up after a second, where loopback is the network.
const QUICK: &str = "evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.2S;evs.suspect_timeout=PT1S;\
                     evs.inactive_timeout=PT3S;evs.install_timeout=PT3S";

/// The nodes of one cluster by slot, with their volumes and the folder that they share; gone on drop.
#[derive(Debug)]
pub struct Nodes {
    running: BTreeMap<u32, Group>,
    /// The first three bytes of all addresses.
    network: [u8; 3],
    sst_ports: BTreeMap<u32, u16>,
    method: &'static str,
    folder: TempDir,
}

impl Nodes {
    pub fn new(method: &'static str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-galera-node-").tempdir()?;
        // Whoever mariadbd runs as gets through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(folder.path().join("cluster"))?;
        let network = [127, fastrand::u8(1..255), fastrand::u8(..)];
        Ok(Self { running: BTreeMap::new(), network, sst_ports: BTreeMap::new(), method, folder })
    }

    pub fn address(&self, slot: u32) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, u8::try_from(slot).unwrap_or(u8::MAX))
    }

    pub fn volume(&self, slot: u32) -> PathBuf {
        self.folder.path().join(format!("volume{slot}"))
    }

    /// The random id of the volume in a slot.
    pub fn volume_id(&self, slot: u32) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.volume(slot).join("node/volume"))?)
    }

    pub fn start(&mut self, slot: u32) -> anyhow::Result<()> {
        self.start_with(slot, &[])
    }

    pub fn start_with(&mut self, slot: u32, flags: &[&str]) -> anyhow::Result<()> {
        // Two may receive a state at once, and what receives it listens on all addresses.
        let sst_port = match self.sst_ports.get(&slot) {
            Some(port) => *port,
            None => *self.sst_ports.entry(slot).or_insert(free_port()?),
        };
        let (address, peers) = (self.address(slot).to_string(), self.peers());
        let mut command = Command::new(binary("galera-node")?);
        command
            .args(["--slot", &slot.to_string(), "--address", &address, "--bind", &address, "--peers", &peers])
            .arg(format!("--data-dir={}", self.volume(slot).display()))
            .arg(format!("--records={}", self.folder.path().join("cluster").display()))
            .arg(format!("--sst-port={sst_port}"))
            .args(["--sst-method", self.method, "--provider-options", QUICK])
            .args([
                "--buffer-pool=32MiB",
                "--gcache=32MiB",
                "--settle=1s",
                "--majority-patience=3s",
                "--user=site",
                "--database=site",
            ])
            .args(["--set=innodb_log_file_size=8M", "--set=performance_schema=OFF", "--run-as=nobody"])
            .args(flags)
            .env("GALERA_ROOT_PASSWORD", ROOT_PASSWORD)
            .env("GALERA_PASSWORD", PASSWORD)
            .env("GALERA_GATEWAY_PASSWORD", GATEWAY_PASSWORD)
            .env("GALERA_SST_PASSWORD", "transfer-secret");
        fs::create_dir_all(self.volume(slot))?;
        self.running.insert(slot, Group::spawn(command, &self.folder.path().join(format!("log{slot}")))?);
        Ok(())
    }

    fn peers(&self) -> String {
        (1..=3).map(|slot| self.address(slot).to_string()).collect::<Vec<_>>().join(",")
    }

    /// A crash of the container.
    pub fn kill9(&mut self, slot: u32) {
        self.running.remove(&slot);
    }

    /// SIGTERM for all of these at once; each must end well.
    pub async fn stop(&mut self, slots: &[u32]) -> anyhow::Result<()> {
        for slot in slots {
            self.running.get(slot).context("not running")?.signal(Signal::TERM)?;
        }
        for slot in slots {
            let mut group = self.running.remove(slot).context("not running")?;
            let status = group.ended(PATIENCE).await?;
            ensure!(status.success(), "slot {slot} ended with {status}:\n{}", self.log(*slot));
        }
        Ok(())
    }

    /// The volume is lost.
    pub fn lose(&mut self, slot: u32) -> anyhow::Result<()> {
        self.kill9(slot);
        Ok(fs::remove_dir_all(self.volume(slot))?)
    }

    /// A process in the container, by a part of its command line.
    pub fn server(&self, slot: u32) -> anyhow::Result<u32> {
        let text = fs::read_to_string(self.volume(slot).join("run/mysqld.pid"))?;
        Ok(text.trim().parse()?)
    }

    pub fn group(&mut self, slot: u32) -> Option<&mut Group> {
        self.running.get_mut(&slot)
    }

    pub fn log(&self, slot: u32) -> String {
        let log = fs::read(self.folder.path().join(format!("log{slot}"))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub fn logs(&self) -> String {
        let all = (1..=3).map(|slot| format!("slot {slot}:\n{}\n", self.log(slot)));
        all.collect()
    }

    /// What the agent says; null when it does not answer.
    pub async fn report(&self, slot: u32) -> serde_json::Value {
        let address = SocketAddr::from((self.address(slot), AGENT));
        let answer = client::get(address, "/status", &[]).await.map(|answer| answer.text());
        answer.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    pub async fn is_synced(&self, slot: u32) -> bool {
        let report = self.report(slot).await;
        report["phase"]["running"] == serde_json::json!({"primary": true, "synced": true})
    }

    /// What the node waits for, in words.
    pub async fn waiting(&self, slot: u32) -> String {
        self.report(slot).await["waiting"].as_str().unwrap_or_default().to_owned()
    }

    /// Another verb of the program, for the node in this slot.
    pub fn verb(&self, slot: u32, verb: &str) -> anyhow::Result<Output> {
        let address = self.address(slot).to_string();
        Ok(Command::new(binary("galera-node")?).args([verb, "--bind", &address]).output()?)
    }

    /// Runs statements as the application does, over TCP, and gives back what they print.
    pub fn sql(&self, slot: u32, statements: &str) -> anyhow::Result<String> {
        self.sql_as(slot, "site", PASSWORD, statements)
    }

    pub fn sql_as(&self, slot: u32, user: &str, password: &str, statements: &str) -> anyhow::Result<String> {
        let output = self.client(slot, user, password)?.args(["-e", statements]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A client that reads statements from its standard input, as root over the socket.
    pub fn session(&self, slot: u32) -> anyhow::Result<Command> {
        let mut command = Command::new(program(&["mariadb", "mysql"])?);
        let socket = self.volume(slot).join("run/mysqld.sock");
        command
            .args(["--no-defaults", "-N", "--unbuffered", "-uroot"])
            .arg(format!("--socket={}", socket.display()));
        if !is_root() {
            command.env("MYSQL_PWD", ROOT_PASSWORD);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Ok(command)
    }

    fn client(&self, slot: u32, user: &str, password: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(program(&["mariadb", "mysql"])?);
        command
            .args(["--no-defaults", "-N", "--connect-timeout=2", "--protocol=tcp", "-u", user])
            .arg(format!("--host={}", self.address(slot)))
            .env("MYSQL_PWD", password)
            .stdin(Stdio::null());
        Ok(command)
    }
}
