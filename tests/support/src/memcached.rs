//! A private memcached on a free port.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::process::{Group, free_port, is_root, program};
use crate::wait::DEADLINE;

/// A running server; stopped on drop.
#[derive(Debug)]
pub struct Memcached {
    /// `None` only while it is being started again.
    group: Option<Group>,
    folder: TempDir,
    address: SocketAddr,
}

impl Memcached {
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-memcached-").tempdir()?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut server = Self { group: None, folder, address };
        server.launch().await?;
        Ok(server)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.group.as_ref().map_or(0, Group::pid)
    }

    pub fn kill9(&mut self) {
        if let Some(group) = &mut self.group {
            group.kill();
        }
    }

    /// Starts it again on the same port, empty.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.group = None;
        self.launch().await
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(program(&["memcached"])?);
        command.args(["-l", "127.0.0.1", "-U", "0", "-m", "16", "-t", "1", "-p"]);
        command.arg(self.address.port().to_string());
        if is_root() {
            command.args(["-u", "root"]);
        }
        let mut group = Group::spawn(command, &self.folder.path().join("log"))?;
        let end = Instant::now() + DEADLINE;
        while !answers(self.address).await {
            if let Some(status) = group.exited() {
                anyhow::bail!("memcached ended with {status}:\n{}", group.log());
            }
            ensure!(Instant::now() < end, "memcached does not answer:\n{}", group.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.group = Some(group);
        Ok(())
    }
}

async fn answers(address: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"version\r\n").await.ok()?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.ok()?;
        (&answer == b"VERSION").then_some(())
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), asking).await, Ok(Some(())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::process::is_alive;

    #[tokio::test]
    async fn starts_restarts_and_leaves_nothing() {
        let mut server = Memcached::start().await.unwrap();
        server.kill9();
        assert!(!answers(server.address()).await);
        server.restart().await.unwrap();
        let pid = server.pid();
        drop(server);
        assert!(!is_alive(pid));
    }
}
