//! A private PHP-FPM: its own configuration, sockets and log in a temporary folder.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use common::net::Endpoint;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{self, Group, free_port, is_root, program};
use crate::wait::DEADLINE;

/// The names under which distributions install it.
const PROGRAMS: &[&str] = &["php-fpm8.2", "php-fpm8.4", "php-fpm8.3", "php-fpm"];

/// How the pool is set up; [`start`](Self::start) runs it.
#[derive(Debug, Clone)]
pub struct PhpFpmBuilder {
    listen: Listen,
    max_children: u32,
    pool: Vec<(String, String)>,
    ini: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listen {
    Unix,
    /// On a free port of 127.0.0.1.
    Tcp,
    On(SocketAddr),
}

/// A running PHP-FPM; stopped, with its workers and its folder, on drop.
#[derive(Debug)]
pub struct PhpFpm {
    /// `None` only while it is being started again.
    group: Option<Group>,
    folder: TempDir,
    endpoint: Endpoint,
}

impl PhpFpm {
    /// On a Unix socket, with four workers.
    pub async fn start() -> anyhow::Result<Self> {
        Self::builder().start().await
    }

    pub fn builder() -> PhpFpmBuilder {
        PhpFpmBuilder { listen: Listen::Unix, max_children: 4, pool: Vec::new(), ini: Vec::new() }
    }

    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// As a flag takes it: `127.0.0.1:9000` or `unix:/path`.
    pub fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// The folder that goes with it, for docroots and the like.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The master process.
    pub fn pid(&self) -> u32 {
        self.group.as_ref().map_or(0, Group::pid)
    }

    /// The worker processes.
    pub fn workers(&self) -> Vec<u32> {
        process::children(self.pid())
    }

    /// FPM's own log and its workers' output.
    pub fn log(&self) -> String {
        self.group.as_ref().map(Group::log).unwrap_or_default()
    }

    /// `kill -9` for master and workers.
    pub fn kill9(&mut self) {
        if let Some(group) = &mut self.group {
            group.kill();
        }
    }

    /// To master and workers: SIGSTOP and SIGCONT.
    pub fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        self.group.as_ref().context("not running")?.signal_all(signal)
    }

    /// Asks for a graceful reload (SIGUSR2): workers finish their requests, and the master starts anew under the same
    /// number, on the same socket.
    pub fn reload(&self) -> anyhow::Result<()> {
        self.group.as_ref().context("not running")?.signal(Signal::USR2)
    }

    /// A graceful stop (SIGQUIT): workers finish their requests.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let group = self.group.as_mut().context("not running")?;
        group.signal(Signal::QUIT)?;
        group.ended(DEADLINE).await?;
        Ok(())
    }

    /// Stops what is left and starts it again on the same socket.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.group = None;
        if let Endpoint::Unix(path) = &self.endpoint {
            // Left over if it was killed.
            let _ = fs::remove_file(path);
        }
        self.launch().await
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(program(PROGRAMS)?);
        command.arg("--nodaemonize").arg("--fpm-config").arg(self.folder.path().join("fpm.conf"));
        command.arg("-c").arg(self.folder.path().join("php.ini"));
        if is_root() {
            command.arg("--allow-to-run-as-root");
        }
        let mut group = Group::spawn(command, &self.folder.path().join("log"))?;
        let end = tokio::time::Instant::now() + DEADLINE;
        while self.endpoint.connect(DEADLINE).await.is_err() {
            if let Some(status) = group.exited() {
                anyhow::bail!("php-fpm ended with {status}:\n{}", group.log());
            }
            anyhow::ensure!(tokio::time::Instant::now() < end, "php-fpm does not accept:\n{}", group.log());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        self.group = Some(group);
        Ok(())
    }
}

impl PhpFpmBuilder {
    /// Listens on a TCP port of 127.0.0.1 instead of a Unix socket.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.listen = Listen::Tcp;
        self
    }

    /// Listens on this address.
    #[must_use]
    pub fn on(mut self, address: SocketAddr) -> Self {
        self.listen = Listen::On(address);
        self
    }

    #[must_use]
    pub fn max_children(mut self, count: u32) -> Self {
        self.max_children = count;
        self
    }

    /// A setting of the pool, such as `pm.max_requests`.
    #[must_use]
    pub fn pool(mut self, key: &str, value: impl Into<String>) -> Self {
        self.pool.push((key.to_owned(), value.into()));
        self
    }

    /// A setting of PHP, such as `upload_max_filesize`.
    #[must_use]
    pub fn ini(mut self, key: &str, value: impl Into<String>) -> Self {
        self.ini.push((key.to_owned(), value.into()));
        self
    }

    pub async fn start(self) -> anyhow::Result<PhpFpm> {
        let folder = tempfile::Builder::new().prefix("test-fpm-").tempdir()?;
        let endpoint = match self.listen {
            Listen::Unix => Endpoint::Unix(folder.path().join("fpm.sock")),
            Listen::Tcp => Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], free_port()?))),
            Listen::On(address) => Endpoint::Tcp(address),
        };
        fs::create_dir(folder.path().join("tmp"))?;
        fs::write(folder.path().join("fpm.conf"), self.configuration(folder.path(), &endpoint))?;
        fs::write(folder.path().join("php.ini"), self.php_ini(folder.path()))?;
        let mut fpm = PhpFpm { group: None, folder, endpoint };
        fpm.launch().await?;
        Ok(fpm)
    }

    fn configuration(&self, folder: &Path, endpoint: &Endpoint) -> String {
        let listen = match endpoint {
            Endpoint::Tcp(address) => address.to_string(),
            Endpoint::Unix(path) => path.display().to_string(),
        };
        let mut text = format!(
            "[global]\n\
             error_log = /dev/stderr\n\
             daemonize = no\n\
             process_control_timeout = 5s\n\
             [www]\n\
             listen = {listen}\n\
             pm = static\n\
             pm.max_children = {}\n\
             pm.status_path = /fpm-status\n\
             ping.path = /fpm-ping\n\
             catch_workers_output = yes\n\
             decorate_workers_output = no\n\
             clear_env = no\n\
             env[TMPDIR] = {}\n",
            self.max_children,
            folder.join("tmp").display(),
        );
        if is_root() {
            text.push_str("user = root\ngroup = root\n");
        }
        for (key, value) in &self.pool {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }

    fn php_ini(&self, folder: &Path) -> String {
        let tmp: PathBuf = folder.join("tmp");
        let mut text = format!(
            "display_errors = 0\n\
             log_errors = 1\n\
             error_log = /dev/stderr\n\
             upload_tmp_dir = {tmp}\n\
             sys_temp_dir = {tmp}\n\
             session.save_path = {tmp}\n\
             opcache.enable = 1\n\
             opcache.revalidate_freq = 0\n\
             memory_limit = 256M\n",
            tmp = tmp.display(),
        );
        for (key, value) in &self.ini {
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::wait::wait_until;

    #[tokio::test]
    async fn starts_restarts_and_leaves_nothing() {
        let mut fpm = PhpFpm::builder().tcp().max_children(2).start().await.unwrap();
        let (first, folder) = (fpm.pid(), fpm.folder().to_owned());
        // The master answers before it has started the last of them.
        wait_until("two workers", DEADLINE, async || fpm.workers().len() == 2).await;
        fpm.kill9();
        assert!(fpm.endpoint().connect(DEADLINE).await.is_err());
        fpm.restart().await.unwrap();
        let second = fpm.pid();
        assert_ne!(first, second);
        fpm.stop().await.unwrap();
        drop(fpm);
        assert!(process::group_members(first).is_empty() && process::group_members(second).is_empty());
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn listens_on_a_unix_socket() {
        let fpm = PhpFpm::start().await.unwrap();
        assert!(fpm.address().starts_with("unix:/"), "{}", fpm.address());
        fpm.endpoint().connect(DEADLINE).await.unwrap();
    }
}
