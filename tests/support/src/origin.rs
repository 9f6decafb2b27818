//! A scriptable HTTP/1.1 origin.
//!
//! 1. A connection's requests are read one after the other and recorded.
//! 2. The route of the path, or the fallback, makes a [`Reply`] of each; without either it is 404.
//! 3. The reply's steps are carried out; a peer that goes away meanwhile is counted as abandoned.

mod reply;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use anyhow::Context as _;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub use self::reply::{Reply, Step};
use crate::http1::{End, Framing, Head, Reader, announced, header};
use crate::wait::{DEADLINE, wait_until};

/// Bodies are kept up to here; beyond, only their length is.
const KEPT: usize = 1 << 20;

/// Listens until it is dropped.
pub struct FakeOrigin {
    address: SocketAddr,
    shared: Arc<Shared>,
    up: CancellationToken,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// The request target: path and query as sent.
    pub target: String,
    /// In the order and spelling they came in.
    pub headers: Vec<(String, String)>,
    /// The first MiB.
    pub body: Vec<u8>,
    pub body_length: u64,
    /// False if the connection ended inside the body.
    pub complete: bool,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

type Handler = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

#[derive(Default)]
struct Shared {
    routes: Mutex<Routes>,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Routes {
    paths: HashMap<String, Handler>,
    fallback: Option<Handler>,
}

#[derive(Default)]
struct Record {
    requests: Vec<Request>,
    connections: usize,
    open: usize,
    abandoned: usize,
    /// What each connection brought, as it came: the first MiB.
    bytes: Vec<Vec<u8>>,
}

/// A stream whose bytes are recorded as they come.
struct Recorded<'a> {
    stream: OwnedReadHalf,
    shared: &'a Shared,
    connection: usize,
}

impl AsyncRead for Recorded<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let mut record = lock(&this.shared.record);
        if let Some(bytes) = record.bytes.get_mut(this.connection) {
            let came = &buf.filled()[before..];
            bytes.extend_from_slice(&came[..came.len().min(KEPT.saturating_sub(bytes.len()))]);
        }
        read
    }
}

/// What becomes of the connection after a reply.
enum After {
    KeepAlive,
    Close,
    Reset,
}

impl FakeOrigin {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let up = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), up.clone()));
        Ok(Self { address, shared, up })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests for `path` (whatever their query); replaces an earlier route.
    pub fn route(&self, path: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        lock(&self.shared.routes).paths.insert(path.to_owned(), Arc::new(handler));
    }

    /// Answers what no route does.
    pub fn fallback(&self, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        lock(&self.shared.routes).fallback = Some(Arc::new(handler));
    }

    /// The requests so far, in the order in which they were complete.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.record).requests.clone()
    }

    /// The requests for `path` so far, whatever their query.
    pub fn count(&self, path: &str) -> usize {
        lock(&self.shared.record).requests.iter().filter(|request| request.path() == path).count()
    }

    /// What each connection brought so far, byte for byte.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.record).bytes.clone()
    }

    /// The connections accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.shared.record).connections
    }

    /// The connections that are open now.
    pub fn open_connections(&self) -> usize {
        lock(&self.shared.record).open
    }

    /// The replies during which the peer went away.
    pub fn abandoned(&self) -> usize {
        lock(&self.shared.record).abandoned
    }

    /// Closes the listener and every connection: connecting is refused from now on.
    pub async fn stop(&mut self) {
        self.up.cancel();
        wait_until("the origin to be down", DEADLINE, async || {
            TcpStream::connect(self.address).await.is_err() && self.open_connections() == 0
        })
        .await;
    }

    /// Listens again on the same port.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.address).await.context("binding the origin's port again")?;
        self.up = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&self.shared), self.up.clone()));
        Ok(())
    }
}

impl Drop for FakeOrigin {
    fn drop(&mut self) {
        self.up.cancel();
    }
}

impl Request {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, up: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = up.cancelled() => return,
        };
        // A connection that was reset before it was accepted is not this origin's concern.
        let Ok((stream, _)) = accepted else { continue };
        let open = Open::count(&shared);
        let shared = Arc::clone(&shared);
        let up = up.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = serve(stream, &shared, open.connection) => {}
                () = up.cancelled() => {}
            }
            drop(open);
        });
    }
}

/// One open connection, for as long as this lives.
struct Open {
    shared: Arc<Shared>,
    connection: usize,
}

impl Open {
    fn count(shared: &Arc<Shared>) -> Self {
        let mut record = lock(&shared.record);
        let connection = record.connections;
        record.connections += 1;
        record.open += 1;
        record.bytes.push(Vec::new());
        Self { shared: Arc::clone(shared), connection }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.shared.record).open -= 1;
    }
}

async fn serve(stream: TcpStream, shared: &Shared, connection: usize) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (stream, mut write) = stream.into_split();
    let mut reader = Reader::new(Recorded { stream, shared, connection });
    while let Some(head) = reader.head().await? {
        let request = receive(head, connection, &mut reader, &mut write).await?;
        lock(&shared.record).requests.push(request.clone());
        let reply = shared.handle(&request);
        let sending = send(reply, &request, &mut write);
        let after = tokio::select! {
            after = sending => after?,
            () = gone(&mut reader) => {
                lock(&shared.record).abandoned += 1;
                return Ok(());
            }
        };
        match after {
            After::KeepAlive => {}
            After::Close => return Ok(()),
            After::Reset => {
                SockRef::from(AsRef::<TcpStream>::as_ref(&write))
                    .set_linger(Some(std::time::Duration::ZERO))?;
                // Dropping it would send a FIN first.
                write.forget();
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn receive(
    head: Head,
    connection: usize,
    reader: &mut Reader<Recorded<'_>>,
    write: &mut OwnedWriteHalf,
) -> anyhow::Result<Request> {
    let mut parts = head.start.split(' ');
    let method = parts.next().unwrap_or_default().to_owned();
    let target = parts.next().context("a request line without a target")?.to_owned();
    if header(&head.headers, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        write.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let framing = announced(&head.headers)?.unwrap_or(Framing::None);
    let (mut body, mut body_length) = (Vec::new(), 0);
    let end = reader
        .body(framing, |chunk| {
            body_length += chunk.len() as u64;
            let room = KEPT.saturating_sub(body.len()).min(chunk.len());
            body.extend_from_slice(&chunk[..room]);
        })
        .await?;
    let complete = end == End::Complete;
    Ok(Request { method, target, headers: head.headers, body, body_length, complete, connection })
}

async fn send(reply: Reply, request: &Request, write: &mut OwnedWriteHalf) -> anyhow::Result<After> {
    for step in reply.into_steps(&request.method) {
        match step {
            Step::Bytes(bytes) => write.write_all(&bytes).await?,
            Step::Pass(gate) => gate.pass().await,
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Close => return Ok(After::Close),
            Step::Reset => return Ok(After::Reset),
        }
    }
    let closing = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(if closing { After::Close } else { After::KeepAlive })
}

/// Completes when the peer closes its side; a pipelined request is no such thing.
async fn gone(reader: &mut Reader<Recorded<'_>>) {
    if !reader.at_end().await {
        std::future::pending::<()>().await;
    }
}

impl Shared {
    fn handle(&self, request: &Request) -> Reply {
        let routes = lock(&self.routes);
        let handler = routes.paths.get(request.path()).or(routes.fallback.as_ref()).cloned();
        drop(routes);
        handler.map_or_else(
            || Reply::new(404).body(format!("no route for {}\n", request.target)),
            |handler| handler(request),
        )
    }
}

/// A handler that panicked poisons nothing that matters: its test has failed already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
