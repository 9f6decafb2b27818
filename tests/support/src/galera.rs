//! A private Galera cluster: several real nodes on loopback, each with its data, ports and log in a temporary folder.
//!
//! A node that joins gets its state by rsync: the scripts for that are in Debian's package mariadb-server. As root the
//! nodes run as `nobody`, since rsync refuses to write as root what it is sent.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::process::{Group, free_port, is_root, program};

/// It may do whatever it likes, as long as it comes from this machine.
pub const USER: &str = "enjambre";
pub const PASSWORD: &str = "enjambre";

/// Who runs the nodes where root may not.
const UNPRIVILEGED: &str = "nobody";
/// Initialising, starting and receiving the state, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running cluster; stopped, and its data removed, on drop.
#[derive(Debug)]
pub struct Galera {
    nodes: Vec<Node>,
    /// `gcomm://` and the group addresses of all nodes.
    members: String,
    timing: Timing,
    folder: TempDir,
}

/// How soon a member that is silent is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// A second, where a test waits for that.
    Quick,
    /// As Galera has it: five. Where nobody dies, a machine that is busy with a state transfer must not look like it.
    Usual,
}

#[derive(Debug)]
struct Node {
    /// `None` until it was started.
    group: Option<Group>,
    folder: PathBuf,
    sql: SocketAddr,
    /// Group communication, incremental and whole state transfer.
    ports: [u16; 3],
}

impl Galera {
    /// Whether this machine has what a cluster needs.
    pub fn provider() -> anyhow::Result<PathBuf> {
        let places = ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so"];
        let provider = places.into_iter().map(PathBuf::from).find(|path| path.is_file());
        provider.context("galera-4 is not installed")
    }

    /// Starts so many nodes, with these databases.
    pub async fn start(count: usize, databases: &[&str], timing: Timing) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-galera-").tempdir()?;
        // Whoever the nodes run as gets through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut nodes = Vec::new();
        for number in 0..count {
            let ports = [free_port()?, free_port()?, free_port()?];
            let sql = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            nodes.push(Node { group: None, folder: folder.path().join(format!("node{number}")), sql, ports });
        }
        let members: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.ports[0])).collect();
        let mut cluster = Self { nodes, members: format!("gcomm://{}", members.join(",")), timing, folder };
        let template = cluster.install(databases)?;
        for number in 0..count {
            cluster.prepare(number, &template)?;
            // One after the other: a node must be synced before it can help the next one.
            cluster.launch(number, number == 0).await?;
        }
        Ok(cluster)
    }

    /// Where SQL is spoken.
    pub fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].sql
    }

    /// As `--galera` takes them.
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.sql.to_string()).collect();
        addresses.join(",")
    }

    pub fn log(&self, node: usize) -> String {
        self.nodes[node].group.as_ref().map(Group::log).unwrap_or_default()
    }

    /// A crash.
    pub fn kill9(&mut self, node: usize) {
        if let Some(group) = &mut self.nodes[node].group {
            group.kill();
        }
    }

    /// An orderly stop.
    pub async fn stop(&mut self, node: usize) -> anyhow::Result<()> {
        let group = self.nodes[node].group.as_mut().context("not running")?;
        group.signal(Signal::TERM)?;
        group.ended(PATIENCE).await?;
        Ok(())
    }

    /// SIGSTOP: it holds its connections and says nothing more.
    pub fn freeze(&self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].group.as_ref().context("not running")?.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn thaw(&self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].group.as_ref().context("not running")?.signal(Signal::CONT)
    }

    /// Starts a node that was stopped or killed, and waits until it takes statements again.
    pub async fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].group = None;
        self.launch(node, false).await
    }

    /// The same, without waiting.
    pub fn begin(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].group = None;
        self.spawn(node, false)
    }

    /// Forgets a node's data, so that it needs a whole state transfer when it is started again.
    pub fn forget(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].group = None;
        let data = self.nodes[node].folder.join("data");
        for name in ["grastate.dat", "gvwstate.dat"] {
            let path = data.join(name);
            if path.exists() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Runs statements on one node as root, over its socket, and gives back what they print.
    pub fn sql(&self, node: usize, statements: &str) -> anyhow::Result<String> {
        let mut command = Command::new(program(&["mariadb", "mysql"])?);
        command
            .args(["--no-defaults", "-uroot", "-N", "--connect-timeout=2"])
            .arg(format!("--socket={}", self.nodes[node].folder.join("s.sock").display()))
            .args(["-e", statements]);
        let output = command.stdin(Stdio::null()).output().context("running mariadb")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// One of the node's status variables; empty when it does not say.
    pub fn status(&self, node: usize, variable: &str) -> String {
        let row = self.sql(node, &format!("SHOW GLOBAL STATUS LIKE '{variable}'")).unwrap_or_default();
        row.split_whitespace().nth(1).unwrap_or_default().to_owned()
    }

    async fn launch(&mut self, number: usize, first: bool) -> anyhow::Result<()> {
        self.spawn(number, first)?;
        let end = Instant::now() + PATIENCE;
        loop {
            let node = &mut self.nodes[number];
            if let Some(status) = node.group.as_mut().and_then(Group::exited) {
                anyhow::bail!("node {number} ended with {status}:\n{}", self.log(number));
            }
            if self.status(number, "wsrep_local_state_comment") == "Synced"
                && self.status(number, "wsrep_ready") == "ON"
            {
                return Ok(());
            }
            ensure!(Instant::now() < end, "node {number} is not synced:\n{}", self.log(number));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn spawn(&mut self, number: usize, first: bool) -> anyhow::Result<()> {
        let node = &mut self.nodes[number];
        let mut command = Command::new(program(&["mariadbd", "mysqld"])?);
        command.arg(format!("--defaults-file={}", node.folder.join("my.cnf").display()));
        if first {
            command.arg("--wsrep-new-cluster");
        }
        // The scripts of the state transfer find their tools by it, and each other.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"));
        node.group = Some(Group::spawn(command, &node.folder.join("log"))?);
        Ok(())
    }

    /// The data that every node begins with: system tables, users and databases.
    fn install(&self, databases: &[&str]) -> anyhow::Result<PathBuf> {
        let template = self.folder.path().join("template");
        let mut command = Command::new(program(&["mariadb-install-db", "mysql_install_db"])?);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", template.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(["--innodb-log-file-size=8M", "--skip-name-resolve"])
            .stdin(Stdio::null());
        if is_root() {
            command.arg("--user=root");
        }
        let output = command.output().context("running mariadb-install-db")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut sql = String::new();
        for name in databases {
            sql.push_str(&["CREATE DATABASE IF NOT EXISTS `", name, "`;\n"].concat());
        }
        for host in ["127.0.0.1", "localhost"] {
            let user = format!("'{USER}'@'{host}'");
            sql.push_str(
                &["CREATE USER IF NOT EXISTS ", &user, " IDENTIFIED BY '", PASSWORD, "';\n"].concat(),
            );
            sql.push_str(&["GRANT ALL ON *.* TO ", &user, " WITH GRANT OPTION;\n"].concat());
        }
        fs::write(self.folder.path().join("init.sql"), sql)?;
        Ok(template)
    }

    fn prepare(&self, number: usize, template: &Path) -> anyhow::Result<()> {
        let folder = &self.nodes[number].folder;
        fs::create_dir_all(folder.join("tmp"))?;
        let copied = Command::new("cp").arg("-a").arg(template).arg(folder.join("data")).status()?;
        ensure!(copied.success(), "cp: {copied}");
        fs::write(folder.join("my.cnf"), self.configuration(number)?)?;
        fs::write(folder.join("log"), "")?;
        if is_root() {
            let given = Command::new("chown").arg("-R").arg(UNPRIVILEGED).arg(folder).status()?;
            ensure!(given.success(), "chown: {given}");
        }
        Ok(())
    }

    fn configuration(&self, number: usize) -> anyhow::Result<String> {
        let node = &self.nodes[number];
        let (folder, [group, ist, sst]) = (node.folder.display(), node.ports);
        let user = if is_root() { format!("user={UNPRIVILEGED}\n") } else { String::new() };
        // The first one makes users and databases, and the others get them with its state.
        let init = if number == 0 {
            format!("init-file={}\n", self.folder.path().join("init.sql").display())
        } else {
            String::new()
        };
        Ok(format!(
            "[mysqld]\n{user}{init}\
             datadir={folder}/data\n\
             tmpdir={folder}/tmp\n\
             socket={folder}/s.sock\n\
             pid-file={folder}/pid\n\
             bind-address=127.0.0.1\n\
             port={sql_port}\n\
             skip-name-resolve\n\
             performance-schema=off\n\
             character-set-server=utf8mb4\n\
             server_id={server_id}\n\
             binlog_format=ROW\n\
             innodb_autoinc_lock_mode=2\n\
             innodb_buffer_pool_size=32M\n\
             innodb_log_file_size=8M\n\
             innodb_flush_log_at_trx_commit=0\n\
             wsrep_on=ON\n\
             wsrep_provider={provider}\n\
             wsrep_cluster_name=test-{cluster}\n\
             wsrep_cluster_address={members}\n\
             wsrep_node_name=node{number}\n\
             wsrep_node_address=127.0.0.1:{group}\n\
             wsrep_node_incoming_address={sql}\n\
             wsrep_sst_method=rsync\n\
             wsrep_sst_receive_address=127.0.0.1:{sst}\n\
             wsrep_provider_options=\"gmcast.listen_addr=tcp://127.0.0.1:{group};\
             ist.recv_addr=127.0.0.1:{ist};gcache.size=32M;{timing}\"\n",
            sql_port = node.sql.port(),
            sql = node.sql,
            server_id = number + 1,
            provider = Self::provider()?.display(),
            cluster = self.nodes[0].ports[0],
            members = self.members,
            timing = match self.timing {
                Timing::Quick => QUICK,
                Timing::Usual => "",
            },
        ))
    }
}

/// Galera gives a member that is silent 5 s by default. Until it is given up nobody can commit, whatever a gateway
/// does: a second is more than loopback needs.
const QUICK: &str = "evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.2S;evs.suspect_timeout=PT1S;\
                      evs.inactive_timeout=PT3S;evs.install_timeout=PT3S";
