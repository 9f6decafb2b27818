use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use common::fastcgi::{EndRequest, Outbound, Params, RequestEvent, ResponseEncoder, io as fcgi};
use common::net::Stream;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use super::{Connection, Shared, lock};

/// Bodies are kept up to here; beyond, only their length is.
const KEPT: usize = 1 << 20;

/// One request in the hands of a handler. Dropping it without [`end`](Self::end) closes the connection.
pub struct Exchange {
    pub params: Params,
    id: u16,
    ended: bool,
    stdin_ended: bool,
    /// `None` once the connection was dropped on purpose.
    handed: Option<Handed>,
}

/// What an exchange holds of its worker.
pub(super) struct Handed {
    pub(super) connection: Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) back: oneshot::Sender<Option<Connection>>,
}

impl Exchange {
    pub(super) const fn new(handed: Handed, id: u16, params: Params) -> Self {
        Self { params, id, ended: false, stdin_ended: false, handed: Some(handed) }
    }

    /// A parameter as text, empty where there is none.
    pub fn param(&self, name: &str) -> String {
        self.params.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }

    /// The next piece of the body; `None` at its end.
    pub async fn stdin(&mut self) -> anyhow::Result<Option<Bytes>> {
        while !self.stdin_ended {
            match self.event().await? {
                Some(RequestEvent::Stdin { chunk, .. }) => return Ok(Some(chunk)),
                Some(RequestEvent::Abort { .. }) => anyhow::bail!("aborted"),
                Some(_) => {}
                None => anyhow::bail!("the peer closed"),
            }
        }
        Ok(None)
    }

    /// The whole body.
    pub async fn body(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = self.stdin().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Completes when the peer aborts the request or closes the connection.
    pub async fn abandoned(&mut self) {
        loop {
            match self.event().await {
                Ok(Some(RequestEvent::Abort { .. }) | None) | Err(_) => return,
                Ok(Some(_)) => {}
            }
        }
    }

    pub async fn stdout(&mut self, chunk: impl Into<Bytes>) -> anyhow::Result<()> {
        let encoder = ResponseEncoder::new(self.id);
        self.send(|out| encoder.stdout(out, chunk.into())).await
    }

    pub async fn stderr(&mut self, chunk: impl Into<Bytes>) -> anyhow::Result<()> {
        let encoder = ResponseEncoder::new(self.id);
        self.send(|out| encoder.stderr(out, chunk.into())).await
    }

    /// Ends the request as PHP-FPM does, without an empty STDOUT record before. The worker is busy until the handler returns.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        self.end_with(EndRequest::COMPLETE).await
    }

    pub async fn end_with(&mut self, end: EndRequest) -> anyhow::Result<()> {
        let encoder = ResponseEncoder::new(self.id);
        self.send(|out| encoder.end(out, end)).await?;
        self.ended = true;
        Ok(())
    }

    /// One piece of output and the end.
    pub async fn respond(&mut self, output: impl Into<Bytes>) -> anyhow::Result<()> {
        let encoder = ResponseEncoder::new(self.id);
        self.send(|out| {
            encoder.stdout(out, output.into());
            encoder.end(out, EndRequest::COMPLETE);
        })
        .await?;
        self.ended = true;
        Ok(())
    }

    /// Bytes that need not be FastCGI.
    pub async fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.connection()?.stream.write_all(bytes).await?)
    }

    /// Closes the connection (FIN).
    pub fn hang_up(&mut self) {
        self.handed = None;
    }

    /// Resets the connection (RST on TCP).
    pub fn reset(&mut self) -> anyhow::Result<()> {
        if let Stream::Tcp(stream) = &self.connection()?.stream {
            SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        }
        self.hang_up();
        Ok(())
    }

    fn connection(&mut self) -> anyhow::Result<&mut Connection> {
        Ok(&mut self.handed.as_mut().context("the connection was dropped")?.connection)
    }

    async fn send(&mut self, fill: impl FnOnce(&mut Outbound)) -> anyhow::Result<()> {
        let mut out = Outbound::default();
        fill(&mut out);
        Ok(self.connection()?.stream.write_all_buf(&mut out).await?)
    }

    async fn event(&mut self) -> anyhow::Result<Option<RequestEvent>> {
        let handed = self.handed.as_mut().context("the connection was dropped")?;
        let Connection { stream, decoder, asked, .. } = &mut handed.connection;
        let event = fcgi::request(stream, decoder).await?;
        let mut record = lock(&handed.shared.record);
        let seen = &mut record.requests[handed.index];
        match &event {
            Some(RequestEvent::Stdin { chunk, .. }) => {
                seen.body_length += chunk.len() as u64;
                let room = KEPT.saturating_sub(seen.body.len()).min(chunk.len());
                seen.body.extend_from_slice(&chunk[..room]);
            }
            Some(RequestEvent::StdinEnd { .. }) => {
                seen.body_complete = true;
                self.stdin_ended = true;
            }
            Some(RequestEvent::Abort { .. }) => seen.aborted = true,
            Some(RequestEvent::GetValues(names)) => asked.push(names.clone()),
            _ => {}
        }
        Ok(event)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(Handed { connection, back, .. }) = self.handed.take() {
            // The worker may be gone already, and the connection with it.
            let _ = back.send(self.ended.then_some(connection));
        }
    }
}
