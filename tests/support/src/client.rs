//! A raw HTTP/1.1 client: sends bytes as they are, shows what came back as it came.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

pub use crate::http1::{End, Framing};
use crate::http1::{Head, Reader, announced, header};

/// No answer may take longer, so that a hanging service fails its test instead of stopping the run.
const PATIENCE: Duration = Duration::from_mins(1);

/// One connection, for as many requests as the test likes.
#[derive(Debug)]
pub struct Client {
    reader: Reader<TcpStream>,
    /// The service's address, sent as Host.
    peer: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Response {
    /// `HTTP/1.1`
    pub version: String,
    pub status: u16,
    pub reason: String,
    /// In the order and spelling they came in.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    pub end: End,
    /// The 1xx responses that came before.
    pub informational: Vec<Response>,
}

/// A GET on its own connection.
pub async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Response> {
    request(address, "GET", path, headers, b"").await
}

/// A request on its own connection, with Host, and Content-Length where there is a body.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<Response> {
    let mut client = Client::connect(address).await?;
    let mut all = headers.to_vec();
    if header_missing(headers, "connection") {
        all.push(("Connection", "close"));
    }
    client.request(method, path, &all, body).await
}

impl Client {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::on(TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?)
    }

    /// On a connection that was made elsewhere.
    pub fn on(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        Ok(Self { reader: Reader::new(stream), peer })
    }

    /// From another address of this machine: all of 127.0.0.0/8 is.
    pub async fn connect_from(local: Ipv4Addr, address: SocketAddr) -> anyhow::Result<Self> {
        Self::connect_narrow_from(local, address, 64 << 10).await
    }

    pub async fn connect_narrow_from(
        local: Ipv4Addr,
        address: SocketAddr,
        receive_buffer: u32,
    ) -> anyhow::Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(receive_buffer)?;
        socket.bind(SocketAddr::from((local, 0)))?;
        Ok(Self { reader: Reader::new(socket.connect(address).await?), peer: address })
    }

    /// A small receive buffer, for a client that is slow to read.
    pub async fn connect_narrow(address: SocketAddr, receive_buffer: u32) -> anyhow::Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(receive_buffer)?;
        Ok(Self { reader: Reader::new(socket.connect(address).await?), peer: address })
    }

    /// The address that the service sees.
    pub fn local_addr(&mut self) -> std::io::Result<SocketAddr> {
        self.reader.stream().local_addr()
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
        self.reader.stream().write_all(bytes.as_ref()).await.context("sending")
    }

    /// Sends a whole request and reads its response.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        // Writing to a String cannot fail.
        let mut message = format!("{method} {path} HTTP/1.1\r\n");
        if header_missing(headers, "host") {
            let _ = write!(message, "Host: {}\r\n", self.peer);
        }
        if !body.is_empty() && header_missing(headers, "content-length") {
            let _ = write!(message, "Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            let _ = write!(message, "{name}: {value}\r\n");
        }
        message.push_str("\r\n");
        let mut message = message.into_bytes();
        message.extend_from_slice(body);
        self.send(message).await?;
        self.response(method).await
    }

    /// Reads one response to a request with this method.
    pub async fn response(&mut self, method: &str) -> anyhow::Result<Response> {
        let mut response = self.response_head(method).await?;
        let mut body = Vec::new();
        response.end = self.drain(response.framing, |chunk| body.extend_from_slice(chunk)).await?;
        response.body = body;
        Ok(response)
    }

    /// Reads the head only; its `end` is [`End::Truncated`] until [`drain`](Self::drain) says otherwise.
    pub async fn response_head(&mut self, method: &str) -> anyhow::Result<Response> {
        let mut informational = Vec::new();
        loop {
            let head = tokio::time::timeout(PATIENCE, self.reader.head())
                .await
                .with_context(|| format!("no response to {method} within {PATIENCE:?}"))??
                .context("the connection closed without an answer")?;
            let mut response = Response::from_head(head, method)?;
            // 101 is final: what follows is another protocol.
            if (100..200).contains(&response.status) && response.status != 101 {
                informational.push(response);
                continue;
            }
            response.informational = informational;
            return Ok(response);
        }
    }

    /// Hands a body's bytes to `sink` as they come, so that it need not fit into memory.
    pub async fn drain(&mut self, framing: Framing, sink: impl FnMut(&[u8])) -> anyhow::Result<End> {
        self.reader.body(framing, sink).await
    }

    /// Reads some bytes of whatever comes next; empty at the end of the connection.
    pub async fn some_bytes(&mut self) -> anyhow::Result<Vec<u8>> {
        tokio::time::timeout(PATIENCE, self.reader.some()).await.context("nothing came")?
    }

    /// True when the service has closed the connection and nothing is left unread; waits for it.
    pub async fn is_closed(&mut self) -> bool {
        tokio::time::timeout(PATIENCE, self.reader.at_end()).await.unwrap_or(false)
    }

    /// Says that nothing more will be sent.
    pub async fn finish_sending(&mut self) -> anyhow::Result<()> {
        Ok(self.reader.stream().shutdown().await?)
    }
}

impl Response {
    fn from_head(head: Head, method: &str) -> anyhow::Result<Self> {
        let mut parts = head.start.splitn(3, ' ');
        let (Some(version), Some(status)) = (parts.next(), parts.next()) else {
            bail!("status line {:?}", head.start);
        };
        let status: u16 = status.parse().with_context(|| format!("status line {:?}", head.start))?;
        // RFC 9112 section 6.3
        let framing = if method == "HEAD" || (100..200).contains(&status) || status == 204 || status == 304 {
            Framing::None
        } else {
            announced(&head.headers)?.unwrap_or(Framing::Close)
        };
        Ok(Self {
            version: version.to_owned(),
            status,
            reason: parts.next().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: Vec::new(),
            framing,
            end: End::Truncated,
            informational: Vec::new(),
        })
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// All values of a header field, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn is_complete(&self) -> bool {
        self.end == End::Complete
    }

    /// `name=value` of every cookie that the response sets, fit for a Cookie header.
    pub fn cookies(&self) -> String {
        self.all("set-cookie").filter_map(|line| line.split(';').next()).collect::<Vec<_>>().join("; ")
    }
}

fn header_missing(headers: &[(&str, &str)], name: &str) -> bool {
    !headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
}
