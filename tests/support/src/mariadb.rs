//! A private MariaDB: its own data, socket and port in a temporary folder.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::process::{Group, free_port, is_root, program};

/// It may do whatever it likes, as long as it comes from this machine.
pub const USER: &str = "enjambre";
pub const PASSWORD: &str = "enjambre";

/// Initialising and starting, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server; stopped, and its data removed, on drop.
#[derive(Debug)]
pub struct MariaDb {
    /// `None` only while it is being started again.
    group: Option<Group>,
    folder: TempDir,
    address: SocketAddr,
    options: Vec<String>,
}

impl MariaDb {
    /// With these databases, empty.
    pub async fn start(databases: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(databases, &[]).await
    }

    /// With these databases, and these further command-line options of `mariadbd`.
    pub async fn start_with(databases: &[&str], options: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-mariadb-").tempdir()?;
        install(folder.path())?;
        fs::write(folder.path().join("init.sql"), init_sql(databases))?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { group: None, folder, address, options };
        server.launch().await?;
        Ok(server)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("mariadb.sock")
    }

    /// `mysql://user:password@host:port/database`
    pub fn url(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@{}/{database}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.group.as_ref().map_or(0, Group::pid)
    }

    pub fn log(&self) -> String {
        self.group.as_ref().map(Group::log).unwrap_or_default()
    }

    /// A crash.
    pub fn kill9(&mut self) {
        if let Some(group) = &mut self.group {
            group.kill();
        }
    }

    /// An orderly stop.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let group = self.group.as_mut().context("not running")?;
        group.signal(Signal::TERM)?;
        group.ended(PATIENCE).await?;
        Ok(())
    }

    /// Starts it again on the same port, with the same data.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.group = None;
        self.launch().await
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let mut command = Command::new(program(&["mariadbd", "mysqld"])?);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .arg(format!("--init-file={}", folder.join("init.sql").display()))
            .arg(format!("--tmpdir={}", folder.display()))
            .arg(format!("--bind-address={}", self.address.ip()))
            .arg(format!("--port={}", self.address.port()))
            .args(["--skip-name-resolve", "--performance-schema=off", "--character-set-server=utf8mb4"])
            // Small, and as fast as data that nobody will miss may be.
            .args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--sync-binlog=0"])
            .args(&self.options);
        if is_root() {
            command.arg("--user=root");
        }
        let mut group = Group::spawn(command, &folder.join("log"))?;
        let end = Instant::now() + PATIENCE;
        while !greets(self.address).await {
            if let Some(status) = group.exited() {
                anyhow::bail!("mariadbd ended with {status}:\n{}", group.log());
            }
            ensure!(Instant::now() < end, "mariadbd does not answer:\n{}", group.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.group = Some(group);
        Ok(())
    }
}

fn install(folder: &std::path::Path) -> anyhow::Result<()> {
    let mut command = Command::new(program(&["mariadb-install-db", "mysql_install_db"])?);
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", folder.join("data").display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg("--innodb-log-file-size=8M")
        .stdin(Stdio::null());
    if is_root() {
        command.arg("--user=root");
    }
    let output = command.output().context("running mariadb-install-db")?;
    ensure!(
        output.status.success(),
        "mariadb-install-db: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// One statement a line, as `--init-file` wants it. It is run at every start.
fn init_sql(databases: &[&str]) -> String {
    let mut sql = String::new();
    for name in databases {
        sql.push_str("CREATE DATABASE IF NOT EXISTS `");
        sql.push_str(name);
        sql.push_str("`;\n");
    }
    for host in ["127.0.0.1", "localhost"] {
        let user = format!("'{USER}'@'{host}'");
        sql.push_str(
            &[
                "CREATE USER IF NOT EXISTS ",
                &user,
                " IDENTIFIED BY '",
                PASSWORD,
                "';\n",
                "GRANT ALL ON *.* TO ",
                &user,
                " WITH GRANT OPTION;\n",
            ]
            .concat(),
        );
    }
    sql
}

/// The server speaks first, once its init file has been run; before, connections wait in the backlog.
async fn greets(address: SocketAddr) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut header = [0; 5];
        stream.read_exact(&mut header).await.ok()?;
        // The protocol's version; 0xff would be an error packet.
        (header[4] == 10).then_some(())
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), greeting).await, Ok(Some(())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::process::is_alive;

    #[tokio::test]
    async fn starts_restarts_and_leaves_nothing() {
        let mut server = MariaDb::start(&["one", "two"]).await.unwrap();
        assert!(
            server.folder.path().join("data/one").is_dir() && server.folder.path().join("data/two").is_dir()
        );
        server.kill9();
        assert!(!greets(server.address()).await);
        server.restart().await.unwrap();
        server.stop().await.unwrap();
        server.restart().await.unwrap();
        let (pid, folder) = (server.pid(), server.folder.path().to_owned());
        drop(server);
        assert!(!is_alive(pid) && !folder.exists());
    }
}
