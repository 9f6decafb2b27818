//! MariaDB's programs: the configuration they get, and how they are run.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::config::{Config, Durability, SstMethod};
use crate::facts::{Member, Position};
use crate::reap::Children;
use crate::volume::Volume;

/// Runs MariaDB's programs on one volume.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    volume: Volume,
    owner: Option<Owner>,
    children: Children,
}

/// Who MariaDB's files belong to, where this program is root.
#[derive(Debug, Clone)]
struct Owner {
    name: String,
    uid: u32,
    gid: u32,
}

/// How a node becomes part of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// `--wsrep-new-cluster`
    First,
    /// The group addresses of those who are there.
    Join(Vec<SocketAddr>),
}

const PROVIDERS: [&str; 3] =
    ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so", "/usr/lib/libgalera_smm.so"];
/// What of a program's output goes into a message.
const LAST_LINES: usize = 12;

impl Programs {
    pub(crate) fn new(volume: &Volume, run_as: &str, children: Children) -> anyhow::Result<Self> {
        let root = rustix::process::geteuid().is_root();
        let owner = if root { Some(Owner::find(run_as)?) } else { None };
        Ok(Self { volume: volume.clone(), owner, children })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.volume.run().join("mysqld.sock")
    }

    fn configuration(&self) -> PathBuf {
        self.volume.node().join("my.cnf")
    }

    /// Writes the configuration file, and gives MariaDB the folders it writes in.
    pub(crate) fn configure(&self, config: &Config, address: IpAddr, member: &Member) -> anyhow::Result<()> {
        let provider = PROVIDERS.iter().find(|path| Path::new(path).exists());
        let provider = provider.ok_or_else(|| anyhow::anyhow!("galera-4 is not installed"))?;
        let text = self.render(config, address, member, provider);
        let path = self.configuration();
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(self.volume.node())?;
        file.write_all(text.as_bytes())?;
        self.own(file.path())?;
        file.persist(&path)?;
        self.prepare_folders()?;
        Ok(())
    }

    /// Folders that a new volume lacks; files that were made by another user keep MariaDB from starting.
    pub(crate) fn prepare_folders(&self) -> io::Result<()> {
        for folder in [self.volume.data(), self.volume.run()] {
            fs::create_dir_all(&folder)?;
            self.own(&folder)?;
        }
        Ok(())
    }

    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        match &self.owner {
            Some(owner) => chown(path, Some(owner.uid), Some(owner.gid)),
            None => Ok(()),
        }
    }

    fn render(&self, config: &Config, address: IpAddr, member: &Member, provider: &str) -> String {
        let Config { node, server, database, .. } = config;
        let at = |port: u16| SocketAddr::new(address, port);
        let bound = |port: u16| SocketAddr::new(node.bind, port);
        let mut text = String::from("# Written by galera-node at each start.\n[mysqld]\n");
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key}={value}");
        };
        if let Some(owner) = &self.owner {
            line("user", &owner.name);
        }
        line("datadir", &self.volume.data().display());
        line("socket", &self.socket().display());
        line("pid-file", &self.volume.run().join("mysqld.pid").display());
        line("port", &server.sql_port);
        line("bind-address", &node.bind);
        line("skip-name-resolve", &"ON");
        line("character-set-server", &"utf8mb4");
        line("server_id", &member.slot);
        line("max_connections", &server.max_database_connections);
        line("default_storage_engine", &"InnoDB");
        line("binlog_format", &"ROW");
        line("innodb_autoinc_lock_mode", &2);
        line("innodb_buffer_pool_size", &server.buffer_pool.bytes());
        line(
            "innodb_flush_log_at_trx_commit",
            match server.durability {
                Durability::Commit => &1,
                Durability::Second => &2,
            },
        );
        line("wsrep_on", &"ON");
        line("wsrep_provider", &provider);
        line("wsrep_cluster_name", &node.cluster_name);
        line("wsrep_node_name", &node_name(&node.node_name, member));
        line("wsrep_node_address", &at(server.group_port));
        line("wsrep_node_incoming_address", &at(server.sql_port));
        line("wsrep_slave_threads", &server.applier_threads);
        line("wsrep_sst_receive_address", &at(server.sst_port));
        match (server.sst_method, &database.sst_password) {
            (SstMethod::Mariabackup, Some(password)) => {
                line("wsrep_sst_method", &"mariabackup");
                line("wsrep_sst_auth", &format_args!("\"{}:{}\"", database.sst_user, password.expose()));
            }
            _ => line("wsrep_sst_method", &"rsync"),
        }
        line(
            "wsrep_provider_options",
            &format_args!(
                "\"gmcast.listen_addr=tcp://{};ist.recv_addr={};ist.recv_bind={};gcache.size={};{}\"",
                bound(server.group_port),
                at(server.ist_port),
                bound(server.ist_port),
                server.gcache.bytes(),
                server.provider_options,
            ),
        );
        for setting in &server.settings {
            let _ = writeln!(text, "{setting}");
        }
        text
    }

    /// Makes the system tables, the database and its users, on a folder that nobody else has seen.
    pub(crate) async fn install(&self, config: &Config) -> anyhow::Result<()> {
        self.prepare_folders()?;
        let mut command = Command::new(program(&["mariadb-install-db", "mysql_install_db"])?);
        command.arg("--no-defaults").arg(format!("--datadir={}", self.volume.data().display())).args([
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]);
        if let Some(owner) = &self.owner {
            command.arg(format!("--user={}", owner.name));
        }
        self.output(command, "mariadb-install-db", "").await?;

        let mut command = Command::new(program(&["mariadbd", "mysqld"])?);
        command.arg("--no-defaults").arg(format!("--datadir={}", self.volume.data().display())).args([
            "--bootstrap",
            "--skip-networking",
            "--skip-log-bin",
            "--wsrep-on=OFF",
        ]);
        if let Some(owner) = &self.owner {
            command.arg(format!("--user={}", owner.name));
        }
        self.output(command, "mariadbd --bootstrap", &crate::sql::initial(&config.database)).await?;
        Ok(())
    }

    /// Where a database that was not stopped in order has come to. `None` for the nil uuid.
    pub(crate) async fn recover(&self) -> anyhow::Result<Option<Position>> {
        let mut command = Command::new(program(&["mariadbd", "mysqld"])?);
        command
            .arg(format!("--defaults-file={}", self.configuration().display()))
            // Not used, and asked for by the method of the state transfer.
            .args(["--wsrep-recover", "--disable-log-error", "--wsrep-cluster-address=gcomm://"]);
        let output = self.output(command, "mariadbd --wsrep-recover", "").await?;
        match recovered(&output) {
            Recovered::At(position) => Ok(Some(position)),
            Recovered::Nil => Ok(None),
            Recovered::Untold => {
                anyhow::bail!("mariadbd --wsrep-recover told no position:\n{}", tail(&output))
            }
        }
    }

    pub(crate) fn start(&self, start: &Start, position: Option<&Position>) -> anyhow::Result<Running> {
        let mut command = Command::new(program(&["mariadbd", "mysqld"])?);
        command.arg(format!("--defaults-file={}", self.configuration().display()));
        match start {
            Start::First => {
                command.args(["--wsrep-new-cluster", "--wsrep-cluster-address=gcomm://"]);
            }
            Start::Join(addresses) => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                command.arg(format!("--wsrep-cluster-address=gcomm://{}", list.join(",")));
            }
        }
        if let Some(position) = position {
            // Without it a node that crashed would ask for the whole state.
            command.arg(format!("--wsrep-start-position={position}"));
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        let child = self.children.spawn(&mut with_path(command))?;
        Ok(Running { child, children: self.children.clone() })
    }

    /// Runs a program to its end.
    async fn output(&self, mut command: Command, name: &str, input: &str) -> anyhow::Result<String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.children.spawn(&mut with_path(command))?;
        let stdin = child.stdin.take();
        let pid = child.id();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that ends early says why itself.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        self.children.forget(pid);
        let output = output?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        anyhow::ensure!(output.status.success(), "{name} ended with {}:\n{}", output.status, tail(&text));
        Ok(text)
    }
}

/// mariadbd, running. Killed if it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    children: Children,
}

impl Running {
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let pid = self.child.id();
        let status = self.child.wait().await;
        self.children.forget(pid);
        status
    }

    /// SIGTERM, and SIGKILL when its time is over.
    pub(crate) async fn stop(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        if let Ok(status) = tokio::time::timeout(patience, self.ended()).await {
            return status;
        }
        tracing::error!(?patience, "mariadbd does not stop: killing it");
        self.child.start_kill()?;
        self.ended().await
    }
}

/// `galera-2-3fa92c01d4e5`: by its name a member of a view is known as a volume.
pub(crate) fn node_name(name: &str, member: &Member) -> String {
    format!("{name}-{}-{}", member.slot, member.volume)
}

/// The reverse; a name of another form is taken as it is.
pub(crate) fn member_of(name: &str) -> Member {
    let parsed = name.rsplit_once('-').and_then(|(rest, volume)| {
        let (_, slot) = rest.rsplit_once('-')?;
        Some(Member { volume: crate::facts::VolumeId(volume.to_owned()), slot: slot.parse().ok()? })
    });
    parsed.unwrap_or_else(|| Member { volume: crate::facts::VolumeId(name.to_owned()), slot: 0 })
}

/// What `--wsrep-recover` has told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Recovered {
    At(Position),
    /// The nil uuid: the data was never part of a cluster.
    Nil,
    Untold,
}

/// `WSREP: Recovered position: UUID:SEQNO`
fn recovered(log: &str) -> Recovered {
    let rest = log.rsplit_once("WSREP: Recovered position:").map(|(_, rest)| rest);
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    match word.and_then(|word| word.parse::<Position>().ok()) {
        None => Recovered::Untold,
        Some(position) if position.seqno < 0 => Recovered::Nil,
        Some(position) if position.cluster.0.chars().all(|c| c == '0' || c == '-') => Recovered::Nil,
        Some(position) => Recovered::At(position),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

/// The scripts of the state transfer find their tools by it, and each other.
fn with_path(mut command: Command) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"));
    command
}

fn program(names: &[&str]) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin"].map(PathBuf::from)).collect();
    let all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow::anyhow!("{} is not installed", names.join(" or ")))
}

impl Owner {
    /// From the passwd file: a static program has no other user database.
    fn find(name: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string("/etc/passwd")?;
        let found = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let own = fields.next()? == name;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            own.then(|| Self { name: name.to_owned(), uid, gid })
        });
        found.ok_or_else(|| anyhow::anyhow!("run-as = {name:?}: there is no such user"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::facts::VolumeId;

    #[test]
    fn names_tell_volumes() {
        let member = Member { volume: VolumeId("3fa92c01d4e5".to_owned()), slot: 2 };
        assert_eq!(node_name("my-galera", &member), "my-galera-2-3fa92c01d4e5");
        assert_eq!(member_of("my-galera-2-3fa92c01d4e5"), member);
        assert_eq!(member_of("node1").volume, VolumeId("node1".to_owned()));
    }

    #[test]
    fn what_was_recovered() {
        let at = "6f7c7b10-23c4-11f1-8a3c-5b1d4e4c2a77:42";
        let log = |position: &str| format!("[Note] x\n[Note] WSREP: Recovered position: {position}\nend\n");
        assert_eq!(recovered(&log(at)), Recovered::At(at.parse().unwrap()));
        assert_eq!(recovered(&log(&format!("{at},0-1-7"))), Recovered::At(at.parse().unwrap()));
        assert_eq!(recovered(&log("00000000-0000-0000-0000-000000000000:-1")), Recovered::Nil);
        assert_eq!(recovered("InnoDB: No space left on device"), Recovered::Untold);
    }
}
