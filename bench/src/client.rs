//! A plain HTTP/1.1 client: verifies what contestants answer, fills caches, and makes the load that wrk cannot.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// For connecting and for each answer; longer than any answer takes that is measured.
const DEADLINE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::over(TcpSocket::new_v4()?, address).await
    }

    /// From an address of our own, for what counts connections per client.
    pub(crate) async fn connect_from(from: Ipv4Addr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Else the port of a closed connection to anywhere is not taken again for a minute.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((from, 0)))?;
        Self::over(socket, address).await
    }

    async fn over(socket: TcpSocket, address: SocketAddr) -> anyhow::Result<Self> {
        let stream = timeout(DEADLINE, socket.connect(address)).await.context("connecting")??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new() })
    }

    pub(crate) async fn get(&mut self, target: &str, fields: &[&str]) -> anyhow::Result<Answer> {
        self.request(&request("GET", target, fields)).await
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn request(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        timeout(DEADLINE, async {
            self.stream.write_all(request).await?;
            self.read_answer().await
        })
        .await
        .context("no answer in time")?
    }

    /// Sends a request and reads past its answer: the status, and how long the body was, of which nothing is kept.
    pub(crate) async fn skim(&mut self, request: &[u8]) -> anyhow::Result<(u16, usize)> {
        self.stream.write_all(request).await?;
        let end = loop {
            if let Some(end) = memmem::find(&self.input, b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = &self.input[..end];
        let status = head.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let status: u16 = status.context("no status line")?;
        let bodyless = status == 304 || status == 204;
        let Some(length) = (if bodyless { Some(0) } else { length(head) }) else {
            // Rare enough: the whole of it.
            return timeout(DEADLINE, self.read_answer())
                .await
                .context("no answer in time")?
                .map(|answer| (answer.status, answer.body.len()));
        };
        let mut left = (end + length).saturating_sub(self.input.len());
        if left == 0 {
            self.input.drain(..end + length);
        } else {
            self.input.clear();
        }
        while left > 0 {
            self.more().await?;
            let part = self.input.len().min(left);
            self.input.drain(..part);
            left -= part;
        }
        Ok((status, length))
    }

    async fn read_answer(&mut self) -> anyhow::Result<Answer> {
        let end = loop {
            if let Some(end) = memmem::find(&self.input, b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
        self.input.drain(..end);
        let status = head.get(9..12).and_then(|code| code.parse().ok()).context("no status line")?;
        let body = if status == 304 || status == 204 {
            Vec::new()
        } else if let Some(length) = field(&head, "content-length") {
            self.take(length.parse()?).await?
        } else if field(&head, "transfer-encoding").is_some() {
            self.chunks().await?
        } else {
            bail!("a body that ends with the connection");
        };
        Ok(Answer { status, head, body })
    }

    async fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = memmem::find(&self.input, b"\r\n") {
                    break end;
                }
                self.more().await?;
            };
            let length = usize::from_str_radix(std::str::from_utf8(&self.input[..end])?.trim(), 16)?;
            self.input.drain(..end + 2);
            body.extend(self.take(length).await?);
            self.take(2).await?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    async fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.input.len() < length {
            self.more().await?;
        }
        let rest = self.input.split_off(length);
        Ok(std::mem::replace(&mut self.input, rest))
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let length = self.stream.read_buf(&mut self.input).await?;
        ensure!(length > 0, "the connection ended");
        Ok(())
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// A request as every scenario sends it.
pub(crate) fn request(method: &str, target: &str, fields: &[&str]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: bench.example\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// The value of Content-Length in a head.
fn length(head: &[u8]) -> Option<usize> {
    let line = head
        .split(|&byte| byte == b'\n')
        .find(|line| line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:")))?;
    std::str::from_utf8(line.get(15..)?).ok()?.trim().parse().ok()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
