//! The origin: connections kept over the endpoints that discovery gives, and safe retries.
//!
//! 1. [`Origin::send`] chooses the endpoint with the fewest requests under way among those that are up.
//! 2. A kept connection is used where there is one, otherwise a new one is made within a deadline.
//! 3. What was never sent is sent again elsewhere. What may have been sent is sent again once, when it is idempotent and has
//!    no body: over a new connection where a kept one has closed without a word, and to another endpoint where the connection
//!    was new, or the endpoint has vanished. So is what another endpoint answers with 502 or 503, within a budget: in
//!    overload, where all of them say so, little is asked twice.
//! 4. [`OriginBody`] gives the connection back when it has been read to its end, and never otherwise.

use std::collections::HashMap;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::discovery::{self, Endpoints};
use common::http::strict::{self, Exchanges, StrictResponses, Violation, violation_in};
use common::net::{End, Endpoint};
use common::retry_budget::RetryBudget;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, request, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::Sleep;

use super::upload::Progress;
pub use super::upload::RequestBody;

/// Deadlines and limits of the origin's side.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connect: Duration,
    /// From the request to the response's head.
    pub first_byte: Duration,
    /// Between two reads of the response's body.
    pub between_bytes: Duration,
    /// The longest response head.
    pub head_bytes: usize,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("the origin has no address yet")]
    NoEndpoint,
    #[error("no connection to the origin: {0}")]
    Unreachable(String),
    #[error("the origin did not answer in time")]
    FirstByteTimeout,
    #[error("the origin's response was broken: {0}")]
    Broken(String),
    /// The request's own body did not come to its end, and what was wrong with it.
    #[error("the client's request did not come to its end{}", .0.map_or(String::new(), |why| format!(": {why}")))]
    Upload(Option<Violation>),
    /// A 5xx in whose place a stored response may be served.
    #[error("the origin answered {0}")]
    ServerError(StatusCode),
}

#[derive(Debug)]
pub struct Origin {
    endpoints: watch::Receiver<Endpoints>,
    /// For answers that another endpoint may have better.
    budget: RetryBudget,
    pools: Mutex<HashMap<Endpoint, Arc<Pool>>>,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Mutex<Vec<(Connection, Instant)>>,
    in_flight: AtomicUsize,
    down_until: Mutex<Option<Instant>>,
}

/// A connection to an endpoint, for one request after another.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    exchanges: Exchanges,
}

/// One request under way at an endpoint.
#[derive(Debug)]
struct Lease {
    pool: Arc<Pool>,
    uploaded: Arc<Progress>,
}

/// The origin's body, with the connection that it comes over.
#[derive(Debug)]
pub struct OriginBody {
    incoming: Incoming,
    connection: Option<Connection>,
    lease: Lease,
    deadline: Pin<Box<Sleep>>,
    between_bytes: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum OriginBodyError {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the origin sent nothing for too long")]
    Stalled,
}

/// A connection is not kept longer than most servers keep it (Apache: 5 s, nginx: 75 s).
const IDLE_FOR: Duration = Duration::from_secs(4);
const MAX_IDLE: usize = 256;
/// A kept connection that is not ready by then is still busy with something.
const READY_WITHIN: Duration = Duration::from_millis(20);
/// After a failed connect an endpoint is only tried when there is no other.
const DOWN_FOR: Duration = Duration::from_secs(1);
/// The same after an answer that it cannot work. Where all say so the one with the least to do is asked.
const SICK_FOR: Duration = Duration::from_secs(5);
const MAX_HEADERS: usize = 512;
/// What hyper's buffer holds beside a head.
const BUFFER_ROOM: usize = 8 << 10;

impl Origin {
    pub fn new(endpoints: watch::Receiver<Endpoints>) -> Self {
        Self { endpoints, budget: RetryBudget::new(), pools: Mutex::default() }
    }

    /// The number of endpoints known now.
    pub fn endpoints(&self) -> usize {
        self.endpoints.borrow().len()
    }

    /// Sends a request and waits for the response's head. The clock of the first byte runs from the end of
    /// the request's body, which has a deadline of its own. Cancel safe: the connection is closed.
    pub async fn send(
        &self,
        head: request::Parts,
        body: RequestBody,
        limits: Limits,
    ) -> Result<(response::Parts, OriginBody), FetchError> {
        let uploaded = body.progress();
        let too_late = async {
            uploaded.end().await;
            tokio::time::sleep(limits.first_byte).await;
        };
        tokio::select! {
            biased;
            answer = self.send_with_retries(head, body, limits) => answer,
            () = too_late => Err(FetchError::FirstByteTimeout),
        }
    }

    async fn send_with_retries(
        &self,
        head: request::Parts,
        body: RequestBody,
        limits: Limits,
    ) -> Result<(response::Parts, OriginBody), FetchError> {
        let uploaded = body.progress();
        self.budget.earn();
        // Nearly always they are.
        discovery::known(&self.endpoints, limits.connect).await;
        // A request without a body can be made again from its head, once.
        let mut replay = (body.is_empty() && is_idempotent(&head.method)).then(|| head.clone());
        let mut may_reuse = true;
        let mut request = Request::from_parts(head, body);
        let mut tried = Vec::new();
        loop {
            let (endpoint, pool) = self.choose(&tried)?;
            let lease = Lease::new(&pool, &uploaded);
            let kept = if may_reuse { pool.idle().await } else { None };
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => match Self::connect(&endpoint, limits).await {
                    Ok(connection) => connection,
                    Err(error) => {
                        pool.mark_down(DOWN_FOR);
                        tracing::warn!(%endpoint, %error, "cannot connect to the origin");
                        tried.push(endpoint);
                        if tried.len() >= self.endpoints() {
                            return Err(FetchError::Unreachable(error));
                        }
                        continue;
                    }
                },
            };
            connection.exchanges.begin();
            let mut refused = match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    if cannot_work(response.status()) {
                        pool.mark_down(SICK_FOR);
                        // No reason to fail where there is another (HAProxy: `retry-on 502 503`).
                        if tried.len() + 1 < self.endpoints()
                            && let Some(head) = replay.take_if(|_| self.budget.spend())
                        {
                            tracing::info!(%endpoint, status = %response.status(), "the origin cannot work: asking another one");
                            request = Request::from_parts(head, RequestBody::empty());
                            may_reuse = false;
                            tried.push(endpoint);
                            continue;
                        }
                    }
                    return Ok(accept(response, connection, lease, limits));
                }
                Err(refused) => refused,
            };
            let end = end(refused.error());
            let failed = failure(refused.error());
            if end == Some(End::Vanished) {
                pool.forget();
            }
            match refused.take_message() {
                // Never sent: the connection had gone. One that is new and refuses is no use again.
                Some(unsent) if is_kept => request = unsent,
                // A kept connection may close just when it is used. Once more, over a new one.
                None if is_kept && end == Some(End::Closed) => {
                    let head = replay.take().ok_or(failed)?;
                    request = Request::from_parts(head, RequestBody::empty());
                    may_reuse = false;
                }
                // The endpoint has died with the request (nginx: `proxy_next_upstream error`).
                None if end.is_some() && tried.len() + 1 < self.endpoints() => {
                    let Some(head) = replay.take() else { return Err(failed) };
                    tracing::info!(%endpoint, error = %failed, "the origin has gone with a request: asking another one");
                    request = Request::from_parts(head, RequestBody::empty());
                    may_reuse = false;
                    pool.mark_down(DOWN_FOR);
                    tried.push(endpoint);
                }
                _ => return Err(failed),
            }
        }
    }

    /// The endpoint with the least to do; those that failed a moment ago only when there is no other.
    fn choose(&self, tried: &[Endpoint]) -> Result<(Endpoint, Arc<Pool>), FetchError> {
        let endpoints = Arc::clone(&self.endpoints.borrow());
        let mut pools = self.lock_pools();
        if pools.len() > endpoints.len() {
            pools.retain(|endpoint, _| endpoints.contains(endpoint));
        }
        let now = Instant::now();
        let offset = fastrand::usize(..endpoints.len().max(1));
        (0..endpoints.len())
            .filter_map(|at| endpoints.get((at + offset) % endpoints.len()))
            .filter(|endpoint| !tried.contains(endpoint))
            .map(|endpoint| {
                if !pools.contains_key(endpoint) {
                    pools.insert(endpoint.clone(), Arc::default());
                }
                (endpoint.clone(), pools.get(endpoint).map(Arc::clone).unwrap_or_default())
            })
            .min_by_key(|(_, pool)| (pool.is_down(now), pool.in_flight.load(Ordering::Relaxed)))
            .ok_or(FetchError::NoEndpoint)
    }

    async fn connect(endpoint: &Endpoint, limits: Limits) -> Result<Connection, String> {
        let stream = endpoint.connect(limits.connect).await.map_err(|error| error.to_string())?;
        let head_bytes = limits.head_bytes.max(64 << 10);
        let limits = strict::Limits { bytes: head_bytes, target: 0, fields: MAX_HEADERS };
        let (stream, exchanges) = StrictResponses::new(stream, limits);
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(head_bytes + BUFFER_ROOM)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // Ends by itself when the sending half and the body are gone.
        tokio::spawn(async move {
            if let Err(error) = driver.with_upgrades().await {
                tracing::debug!(error = %root_cause(&error), "origin connection");
            }
        });
        Ok(Connection { sender, exchanges })
    }

    fn lock_pools(&self) -> MutexGuard<'_, HashMap<Endpoint, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(
    response: Response<Incoming>,
    connection: Connection,
    lease: Lease,
    limits: Limits,
) -> (response::Parts, OriginBody) {
    let (head, incoming) = response.into_parts();
    let between_bytes = limits.between_bytes;
    let mut body = OriginBody {
        incoming,
        connection: Some(connection),
        lease,
        deadline: Box::pin(tokio::time::sleep(between_bytes)),
        between_bytes,
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS || may_have_content(&head) {
        body.connection = None;
    } else if body.incoming.is_end_stream() {
        body.give_back();
    }
    (head, body)
}

impl Pool {
    /// A kept connection that is still open, the latest used first.
    async fn idle(&self) -> Option<Connection> {
        loop {
            let (mut connection, since) = self.lock_idle().pop()?;
            if since.elapsed() >= IDLE_FOR {
                continue;
            }
            // Its last response is read, but its task may not have come round to saying so.
            if let Ok(Ok(())) = tokio::time::timeout(READY_WITHIN, connection.sender.ready()).await {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.lock_idle();
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.retain(|(kept, since)| !kept.sender.is_closed() && since.elapsed() < IDLE_FOR);
        idle.push((connection, Instant::now()));
    }

    fn is_down(&self, now: Instant) -> bool {
        self.lock_down().is_some_and(|until| now < until)
    }

    fn mark_down(&self, pause: Duration) {
        *self.lock_down() = Some(Instant::now() + pause);
    }

    /// Closes what is kept: the other end is not there any more.
    fn forget(&self) {
        self.mark_down(DOWN_FOR);
        self.lock_idle().clear();
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_down(&self) -> MutexGuard<'_, Option<Instant>> {
        self.down_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn new(pool: &Arc<Pool>, uploaded: &Arc<Progress>) -> Self {
        pool.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { pool: Arc::clone(pool), uploaded: Arc::clone(uploaded) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OriginBody {
    fn give_back(&mut self) {
        // An origin may answer before it has read the whole request: what is still being sent would stand
        // in front of the next one.
        if let Some(connection) = self.connection.take()
            && !connection.sender.is_closed()
            && self.lease.uploaded.has_ended()
        {
            self.lease.pool.keep(connection);
        }
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = OriginBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginBodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(OriginBodyError::Stalled)));
        };
        match &frame {
            Some(Ok(_)) => {
                let next = tokio::time::Instant::now() + self.between_bytes;
                self.deadline.as_mut().reset(next);
                if self.incoming.is_end_stream() {
                    self.give_back();
                }
            }
            Some(Err(_)) => self.connection = None,
            None => self.give_back(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What a proxy says that cannot reach what is behind it, or its files.
const fn cannot_work(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE)
}

/// How a connection ended before there was an answer; `None` if there was one that is none, or the request was wrong.
fn end(error: &hyper::Error) -> Option<End> {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let closed = (error.is_closed() || error.is_incomplete_message()).then_some(End::Closed);
    source.and_then(End::of).or(closed)
}

/// RFC 9110, section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// A response that must have no content and says that it has: whatever comes of it would stand in front of the next
/// response (RFC 9112, section 6.3).
fn may_have_content(head: &response::Parts) -> bool {
    let says_so = || {
        head.headers.contains_key(TRANSFER_ENCODING)
            || head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
    };
    matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && says_so()
}

/// Whose doing it is that a request came to nothing.
fn failure(error: &hyper::Error) -> FetchError {
    if error.is_user() {
        FetchError::Upload(violation_in(error))
    } else {
        FetchError::Broken(root_cause(error))
    }
}

/// hyper says the kind of an error, its source what happened.
fn root_cause(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
