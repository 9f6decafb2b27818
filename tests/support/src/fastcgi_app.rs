//! A scriptable FastCGI application that behaves as PHP-FPM does unless told otherwise.
//!
//! 1. A worker accepts a connection; with all workers busy, connections wait in the kernel's backlog.
//! 2. BEGIN_REQUEST and PARAMS are read and recorded, and the handler gets the [`Exchange`].
//! 3. The handler reads the body, answers, ends the request, and may work on: the worker stays busy.
//! 4. With KEEP_CONN the worker then reads on (GET_VALUES is answered only now, also what came earlier); otherwise it closes.
//!    A handler that returns without having ended the request closes the connection as a crash does.

mod exchange;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use common::fastcgi::message::{MAX_CONNS, MAX_REQS, MPXS_CONNS};
use common::fastcgi::{
    Limits, Outbound, Params, RequestDecoder, RequestEvent, ResponseEncoder, io as fcgi, values,
};
use common::net::{Endpoint, Stream};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

pub use self::exchange::Exchange;
use self::exchange::Handed;
use crate::wait::{DEADLINE, wait_until};

/// Listens until it is dropped.
pub struct FakeFastCgiApp {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    handler: Handler,
    up: CancellationToken,
    /// Holds the socket's folder.
    _folder: Option<tempfile::TempDir>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub params: Params,
    pub keep_conn: bool,
    /// What the handler has read of the body, the first MiB.
    pub body: Vec<u8>,
    /// All that the handler has read of the body.
    pub body_length: u64,
    /// The body's end was read.
    pub body_complete: bool,
    /// ABORT_REQUEST was read.
    pub aborted: bool,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

/// What a handler gives back; an error (the peer is gone) only ends it.
pub type Outcome = anyhow::Result<()>;
type Handler = Arc<dyn Fn(Exchange) -> futures_util::future::BoxFuture<'static, Outcome> + Send + Sync>;

struct Shared {
    workers: Semaphore,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    requests: Vec<Request>,
    connections: usize,
    busy: usize,
    get_values: usize,
}

/// A connection between requests.
struct Connection {
    stream: Stream,
    decoder: RequestDecoder,
    number: usize,
    /// GET_VALUES that came while a handler read ahead.
    asked: Vec<Params>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl FakeFastCgiApp {
    /// On a free TCP port, with as many workers as come.
    pub async fn tcp<F, Fut>(handler: F) -> anyhow::Result<Self>
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        Self::start(
            Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            None,
            Semaphore::MAX_PERMITS,
            handler,
        )
        .await
    }

    /// On a Unix socket in a temporary folder, with as many workers as come.
    pub async fn unix<F, Fut>(handler: F) -> anyhow::Result<Self>
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let folder = tempfile::Builder::new().prefix("test-fastcgi-").tempdir()?;
        let endpoint = Endpoint::Unix(folder.path().join("app.sock"));
        Self::start(endpoint, Some(folder), Semaphore::MAX_PERMITS, handler).await
    }

    /// On a free TCP port, with this many workers: that many connections are served at a time.
    pub async fn with_workers<F, Fut>(workers: usize, handler: F) -> anyhow::Result<Self>
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        Self::start(Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), None, workers, handler).await
    }

    async fn start<F, Fut>(
        endpoint: Endpoint,
        folder: Option<tempfile::TempDir>,
        workers: usize,
        handler: F,
    ) -> anyhow::Result<Self>
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let (listener, endpoint) = Listener::bind(&endpoint).await?;
        let shared =
            Arc::new(Shared { workers: Semaphore::new(workers), record: Mutex::new(Record::default()) });
        let handler: Handler = Arc::new(move |exchange| Box::pin(handler(exchange)));
        let up = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), Arc::clone(&handler), up.clone()));
        Ok(Self { endpoint, shared, handler, up, _folder: folder })
    }

    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// As a flag takes it: `127.0.0.1:9000` or `unix:/path`.
    pub fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// The requests whose parameters have come, in that order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.record).requests.clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.shared.record).requests.len()
    }

    /// The connections accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.shared.record).connections
    }

    /// The workers that have a connection now.
    pub fn busy(&self) -> usize {
        lock(&self.shared.record).busy
    }

    /// The GET_VALUES answered so far.
    pub fn get_values(&self) -> usize {
        lock(&self.shared.record).get_values
    }

    /// Closes the listener and every connection, as a crash does: connecting is refused from now on.
    pub async fn stop(&mut self) {
        self.up.cancel();
        wait_until("the application to be down", DEADLINE, async || {
            self.endpoint.connect(DEADLINE).await.is_err() && self.busy() == 0
        })
        .await;
    }

    /// Listens again at the same place.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if let Endpoint::Unix(path) = &self.endpoint {
            remove_socket(path)?;
        }
        let (listener, _) = Listener::bind(&self.endpoint).await?;
        self.up = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&self.shared), Arc::clone(&self.handler), self.up.clone()));
        Ok(())
    }
}

impl Drop for FakeFastCgiApp {
    fn drop(&mut self) {
        self.up.cancel();
    }
}

impl Request {
    /// A parameter as text, empty where there is none.
    pub fn param(&self, name: &str) -> String {
        self.params.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }
}

impl Listener {
    async fn bind(endpoint: &Endpoint) -> io::Result<(Self, Endpoint)> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let endpoint = Endpoint::Tcp(listener.local_addr()?);
                Ok((Self::Tcp(listener), endpoint))
            }
            Endpoint::Unix(path) => Ok((Self::Unix(UnixListener::bind(path)?), endpoint.clone())),
        }
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>, handler: Handler, up: CancellationToken) {
    loop {
        let accepting = async {
            // The permit comes first: a connection that no worker takes stays in the backlog.
            let busy = Busy::take(&shared).await;
            (listener.accept().await, busy)
        };
        let (accepted, busy) = tokio::select! {
            accepted = accepting => accepted,
            () = up.cancelled() => return,
        };
        let Ok(stream) = accepted else { continue };
        let number = busy.count();
        let (handler, up) = (Arc::clone(&handler), up.clone());
        tokio::spawn(async move {
            let decoder = RequestDecoder::new(Limits { requests: 1, params: 16 << 20 });
            tokio::select! {
                _ = serve(Connection { stream, decoder, number, asked: Vec::new() }, &busy.shared, &handler) => {}
                () = up.cancelled() => {}
            }
            drop(busy);
        });
    }
}

/// A worker: a permit, and a mark in the record once it has a connection.
struct Busy {
    shared: Arc<Shared>,
    counted: std::cell::Cell<bool>,
}

impl Busy {
    async fn take(shared: &Arc<Shared>) -> Self {
        // Never closed, so it cannot fail.
        if let Ok(permit) = shared.workers.acquire().await {
            permit.forget();
        }
        Self { shared: Arc::clone(shared), counted: std::cell::Cell::new(false) }
    }

    fn count(&self) -> usize {
        self.counted.set(true);
        let mut record = lock(&self.shared.record);
        record.busy += 1;
        record.connections += 1;
        record.connections - 1
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.counted.get() {
            lock(&self.shared.record).busy -= 1;
        }
        self.shared.workers.add_permits(1);
    }
}

impl Connection {
    async fn tell(&mut self, shared: &Shared, asked: &Params) -> anyhow::Result<()> {
        lock(&shared.record).get_values += 1;
        let mut out = Outbound::default();
        let known = [(MAX_CONNS, "4".into()), (MAX_REQS, "4".into()), (MPXS_CONNS, "0".into())];
        values(&mut out, asked, &known);
        Ok(self.stream.write_all_buf(&mut out).await?)
    }
}

/// The life of a connection.
async fn serve(mut connection: Connection, shared: &Arc<Shared>, handler: &Handler) -> anyhow::Result<()> {
    let mut begun = None;
    while let Some(event) = fcgi::request(&mut connection.stream, &mut connection.decoder).await? {
        match event {
            RequestEvent::Begin { id, begin } => begun = Some((id, begin)),
            RequestEvent::Params { id, params } => {
                let keep_conn = begun.take().is_some_and(|(_, begin)| begin.keep_conn);
                let Some(back) = run(connection, id, params, keep_conn, shared, handler).await else {
                    return Ok(());
                };
                connection = back;
                connection.decoder.ended(id);
                if !keep_conn {
                    connection.stream.shutdown().await?;
                    // As PHP-FPM does: the worker is free when the peer has closed too.
                    while fcgi::request(&mut connection.stream, &mut connection.decoder).await?.is_some() {}
                    return Ok(());
                }
                for asked in std::mem::take(&mut connection.asked) {
                    connection.tell(shared, &asked).await?;
                }
            }
            RequestEvent::GetValues(asked) => connection.tell(shared, &asked).await?,
            RequestEvent::UnknownType(kind) => {
                let mut out = Outbound::default();
                ResponseEncoder::unknown_type(&mut out, kind);
                connection.stream.write_all_buf(&mut out).await?;
            }
            RequestEvent::Overloaded { .. }
            | RequestEvent::Stdin { .. }
            | RequestEvent::StdinEnd { .. }
            | RequestEvent::Abort { .. } => {}
        }
    }
    Ok(())
}

/// Lets the handler answer; gives the connection back if the request was ended.
async fn run(
    connection: Connection,
    id: u16,
    params: Params,
    keep_conn: bool,
    shared: &Arc<Shared>,
    handler: &Handler,
) -> Option<Connection> {
    let index = {
        let mut record = lock(&shared.record);
        record.requests.push(Request {
            params: params.clone(),
            keep_conn,
            body: Vec::new(),
            body_length: 0,
            body_complete: false,
            aborted: false,
            connection: connection.number,
        });
        record.requests.len() - 1
    };
    let (back, returned) = oneshot::channel();
    let handed = Handed { connection, shared: Arc::clone(shared), index, back };
    // What the handler could not do shows in what its peer saw.
    let _ = handler(Exchange::new(handed, id, params)).await;
    returned.await.ok().flatten()
}

/// The answer of a small page: `Status` is 200, `body` is HTML.
pub fn page(body: &str) -> Bytes {
    Bytes::from(format!("Content-Type: text/html\r\n\r\n{body}"))
}

/// A handler that panicked poisons nothing that matters: its test has failed already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
