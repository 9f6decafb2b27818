//! One connection to a service: what is sent is ready, what comes is compared with what came before. The client's
//! instructions are counted with the service's, so it does as little as tells a wrong answer from a right one.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request as bytes, and how its answer is known.
#[derive(Debug)]
pub struct Exchange {
    pub request: Vec<u8>,
    /// How the status line begins.
    pub status: &'static str,
    /// What the head must hold besides, in lower case: the replay begins once it does.
    pub mark: &'static str,
    /// No body comes, whatever Content-Length says: HEAD, 304.
    pub bodiless: bool,
}

#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer in the client's buffer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'c> {
    pub head: &'c [u8],
    /// With the framing of its chunks, where it has such.
    pub body: &'c [u8],
}

/// The most that an answer takes.
const BUFFER: usize = 64 << 10;
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Client {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER] })
    }

    /// Sends the request and reads its whole answer.
    pub async fn ask(&mut self, exchange: &Exchange) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(&exchange.request).await?;
        let mut filled = 0;
        let mut framing = None;
        loop {
            let space = self.buffer.get_mut(filled..).filter(|space| !space.is_empty());
            let count = self.stream.read(space.context("the answer is too long")?).await?;
            ensure!(count > 0, "the connection was closed in an answer");
            filled += count;
            let got = &self.buffer[..filled];
            if framing.is_none() {
                framing = Framing::of(got, exchange.bodiless)?;
            }
            let is_whole = match framing {
                None => false,
                Some(Framing { head, length: Some(length) }) => {
                    ensure!(filled <= head + length, "more came than the answer's length");
                    filled == head + length
                }
                Some(Framing { head, length: None }) => got[head..].ends_with(LAST_CHUNK),
            };
            if let (true, Some(Framing { head, .. })) = (is_whole, framing) {
                let (head, body) = self.buffer[..filled].split_at(head);
                return Ok(Answer { head, body });
            }
        }
    }
}

/// Where the head ends, and how many bytes follow; `None` where chunks do.
#[derive(Debug, Clone, Copy)]
struct Framing {
    head: usize,
    length: Option<usize>,
}

impl Framing {
    fn of(got: &[u8], bodiless: bool) -> anyhow::Result<Option<Self>> {
        let Some(end) = memmem::find(got, b"\r\n\r\n") else { return Ok(None) };
        let head = end + 4;
        if bodiless {
            return Ok(Some(Self { head, length: Some(0) }));
        }
        let name = b"\r\ncontent-length: ";
        let Some(at) = memmem::find(&got[..head], name) else {
            ensure!(
                memmem::find(&got[..head], b"\r\ntransfer-encoding: chunked").is_some(),
                "an answer without an end"
            );
            return Ok(Some(Self { head, length: None }));
        };
        let digits = got[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |sum: usize, digit| sum * 10 + usize::from(digit - b'0'));
        Ok(Some(Self { head, length: Some(length) }))
    }
}

impl Answer<'_> {
    pub fn is(&self, exchange: &Exchange) -> bool {
        self.head.starts_with(exchange.status.as_bytes())
            && memmem::find(self.head, exchange.mark.as_bytes()).is_some()
    }
}
