//! HTTP/1.1 messages read from a stream, byte for byte: deliberately not hyper, which mends what tests want to see.

use std::io;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const MAX_HEAD: usize = 4 << 20;

/// A start line and header fields in the order and spelling they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// How a body's end is marked (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nothing can follow the head.
    None,
    Length(u64),
    Chunked,
    /// Until the connection closes.
    Close,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Complete,
    /// The connection closed (or was reset) before the framing said so.
    Truncated,
}

/// A stream with what was read of it too early.
#[derive(Debug)]
pub(crate) struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The framing that the header fields announce; `None` if they announce none.
pub(crate) fn announced(headers: &[(String, String)]) -> anyhow::Result<Option<Framing>> {
    if let Some(coding) = header(headers, "transfer-encoding") {
        if coding.eq_ignore_ascii_case("chunked") {
            return Ok(Some(Framing::Chunked));
        }
        bail!("transfer coding {coding}");
    }
    header(headers, "content-length")
        .map(|length| {
            length.parse().map(Framing::Length).with_context(|| format!("Content-Length: {length}"))
        })
        .transpose()
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// `None` at a clean end of the connection, before the first byte of a head.
    pub(crate) async fn head(&mut self) -> anyhow::Result<Option<Head>> {
        let mut seen = 0;
        let end = loop {
            // The blank line may straddle two reads.
            let from = seen_start(seen);
            if let Some(at) = find(&self.buffer[from..], b"\r\n\r\n") {
                break from + at;
            }
            seen = self.buffer.len();
            if seen > MAX_HEAD {
                bail!("a head of more than {MAX_HEAD} bytes");
            }
            if self.fill().await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                bail!("the connection closed inside a head: {:?}", String::from_utf8_lossy(&self.buffer));
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').with_context(|| format!("header line {line:?}"))?;
                Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Some(Head { start, headers }))
    }

    /// Hands the body's bytes, without its framing, to `sink` as they come.
    pub(crate) async fn body(
        &mut self,
        framing: Framing,
        mut sink: impl FnMut(&[u8]),
    ) -> anyhow::Result<End> {
        match framing {
            Framing::None => Ok(End::Complete),
            Framing::Length(length) => self.exactly(length, &mut sink).await,
            Framing::Chunked => self.chunks(&mut sink).await,
            Framing::Close => loop {
                sink(&self.buffer);
                self.buffer.clear();
                match self.fill().await {
                    Ok(0) => return Ok(End::Complete),
                    Ok(_) => {}
                    Err(error) if is_reset(&error) => return Ok(End::Truncated),
                    Err(error) => return Err(error.into()),
                }
            },
        }
    }

    async fn exactly(&mut self, length: u64, sink: &mut impl FnMut(&[u8])) -> anyhow::Result<End> {
        let mut left = length;
        loop {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            sink(&self.buffer[..take]);
            self.buffer.drain(..take);
            left -= take as u64;
            if left == 0 {
                return Ok(End::Complete);
            }
            match self.fill().await {
                Ok(0) => return Ok(End::Truncated),
                Ok(_) => {}
                Err(error) if is_reset(&error) => return Ok(End::Truncated),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn chunks(&mut self, sink: &mut impl FnMut(&[u8])) -> anyhow::Result<End> {
        loop {
            let Some(line) = self.line().await? else { return Ok(End::Truncated) };
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).with_context(|| format!("chunk size {line:?}"))?;
            if size == 0 {
                break;
            }
            if self.exactly(size, sink).await? == End::Truncated {
                return Ok(End::Truncated);
            }
            match self.line().await?.as_deref() {
                Some("") => {}
                Some(other) => bail!("{other:?} after a chunk"),
                None => return Ok(End::Truncated),
            }
        }
        // The trailer section, up to its empty line.
        loop {
            match self.line().await? {
                Some(line) if line.is_empty() => return Ok(End::Complete),
                Some(_) => {}
                None => return Ok(End::Truncated),
            }
        }
    }

    /// `None` if the connection ends before the line does.
    async fn line(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Ok(Some(line));
            }
            match self.fill().await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if is_reset(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(64 << 10);
        self.stream.read_buf(&mut self.buffer).await
    }

    /// What was read already, or else what one read brings.
    pub(crate) async fn some(&mut self) -> anyhow::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// True if the peer closed and nothing is left to read.
    pub(crate) async fn at_end(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.fill().await, Ok(0) | Err(_))
    }
}

const fn seen_start(seen: usize) -> usize {
    seen.saturating_sub(3)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    async fn read(bytes: &[u8], framing: Framing) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        let end = Reader::new(bytes).body(framing, |chunk| body.extend_from_slice(chunk)).await.unwrap();
        (body, end)
    }

    #[tokio::test]
    async fn bodies() {
        assert_eq!(read(b"abcde", Framing::Length(5)).await, (b"abcde".to_vec(), End::Complete));
        assert_eq!(read(b"abc", Framing::Length(5)).await, (b"abc".to_vec(), End::Truncated));
        assert_eq!(read(b"abc", Framing::Close).await, (b"abc".to_vec(), End::Complete));
        let whole = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n";
        assert_eq!(read(whole, Framing::Chunked).await, (b"abcde".to_vec(), End::Complete));
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut], Framing::Chunked).await.1, End::Truncated, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn heads() {
        let mut reader = Reader::new(&b"HTTP/1.1 200 OK\r\nA: 1\r\na:2 \r\n\r\nrest"[..]);
        let head = reader.head().await.unwrap().unwrap();
        assert_eq!(head.start, "HTTP/1.1 200 OK");
        assert_eq!(head.headers, [("A".into(), "1".into()), ("a".into(), "2".into())]);
        assert_eq!(reader.buffer, b"rest");
        assert!(Reader::new(&b""[..]).head().await.unwrap().is_none());
        assert!(Reader::new(&b"HTTP/1.1 20"[..]).head().await.is_err());
    }
}
