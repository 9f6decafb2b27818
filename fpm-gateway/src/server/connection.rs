//! One connection from a web server.
//!
//! It may carry one request after another, or several at a time. All of them run in the connection's task,
//! so that they end with it: a web server that goes away takes its requests with it, wherever they are.
//!
//! 1. Requests that run are moved on first, then what they answered is written.
//! 2. Then more is read: body goes to its request, and new requests begin. Nothing is read while too much
//!    body waits for its requests, or too many answers for the web server.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use common::fastcgi::message::{MAX_CONNS, MAX_REQS, MPXS_CONNS};
use common::fastcgi::{
    BeginRequest, EndRequest, Limits, Params, ProtocolStatus, ReadError, RequestDecoder, RequestEvent,
    ResponseEncoder, Role, io as fcgi, values,
};
use common::listener::Accepted;
use common::net::{Stream, WriteDeadline};
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::Gateway;
use super::replies::Outbox;
use crate::handler::handle;
use crate::request::{Backlog, Body, BodySender, Inbound};

/// How a request came to its end on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// END_REQUEST was said.
    Whole,
    /// It must not be said: only the end of the connection tells every web server that the response is not complete.
    Truncated,
}

/// How a connection is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Quietly,
    /// By a reset. To nginx an end of file is as good as END_REQUEST on a connection that is not to be kept
    /// (`ngx_http_fastcgi_input_filter_init`): half a page would be passed on as a whole one.
    Reset,
}

/// How long a web server may take no byte.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a web server may go on sending after its last answer.
const LINGER: Duration = Duration::from_secs(2);

struct Connection {
    gateway: Arc<Gateway>,
    decoder: RequestDecoder,
    outbox: Arc<Outbox>,
    running: FuturesUnordered<BoxFuture<'static, (u16, Option<Ended>)>>,
    /// Few at a time: mostly one.
    open: Vec<(u16, Open)>,
    /// Body that its requests have not taken yet.
    backlog: Arc<Backlog>,
    /// No further request: the web server asked for that, or an answer was truncated.
    last: bool,
    /// A request ended before all of its body had come: the rest is still on its way.
    unread: bool,
    /// A whole answer is on its way to the web server, which a reset may not overtake.
    answered: bool,
    leaving: Leaving,
}

/// A request that has begun and not ended.
#[derive(Default)]
struct Open {
    keep_conn: bool,
    body: Option<BodySender>,
    abort: Option<AbortHandle>,
}

pub(super) async fn serve(gateway: Arc<Gateway>, accepted: Accepted) {
    let (mut stream, _, permit) = match accepted.identify().await {
        Ok(identified) => identified,
        Err(error) => return tracing::debug!(%error, "connection refused"),
    };
    let _counted = gateway.metrics.connection();
    let outbox = Arc::new(Outbox::new(gateway.config.response_buffer));
    let connection = Connection {
        gateway,
        decoder: RequestDecoder::new(Limits::default()),
        outbox,
        running: FuturesUnordered::new(),
        open: Vec::new(),
        backlog: Arc::default(),
        last: false,
        unread: false,
        answered: false,
        leaving: Leaving::Quietly,
    };
    let (mut reader, writer) = stream.split();
    match connection.run(&mut reader, &mut WriteDeadline::new(writer, SEND_TIMEOUT)).await {
        Ok(Leaving::Quietly) => {}
        Ok(Leaving::Reset) => reset(stream),
        Err(error) => tracing::debug!(%error, "connection"),
    }
    drop(permit);
}

impl Connection {
    async fn run<R, W>(mut self, reader: &mut R, writer: &mut W) -> Result<Leaving, ReadError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let gateway = Arc::clone(&self.gateway);
        let idle_timeout = gateway.config.idle_timeout;
        let mut draining = std::pin::pin!(gateway.shutdown.draining());
        let mut drain = false;
        let mut active = Instant::now();
        let mut idle = std::pin::pin!(tokio::time::sleep(idle_timeout));

        loop {
            let resting = self.running.is_empty() && self.outbox.is_empty();
            if resting && (self.last || (drain && self.decoder.open() == 0)) {
                if self.leaving == Leaving::Quietly {
                    farewell(reader, writer, self.unread).await?;
                }
                return Ok(self.leaving);
            }
            tokio::select! {
                biased;
                Some((id, ended)) = self.running.next() => self.ended(id, ended),
                written = self.outbox.flush(writer) => {
                    written?;
                    active = Instant::now();
                }
                event = next_event(reader, &mut self.decoder, &self.backlog, &self.outbox) => {
                    active = Instant::now();
                    let Some(event) = event? else { return Ok(Leaving::Quietly) };
                    self.heard(event);
                    // What came with it belongs to it, mostly: a request is whole before it is looked at.
                    while has_room(&self.backlog, &self.outbox)
                        && let Some(event) = self.decoder.next_event()?
                    {
                        self.heard(event);
                    }
                }
                () = draining.as_mut(), if !drain => drain = true,
                () = idle.as_mut(), if resting => {
                    let end = active + idle_timeout;
                    if end <= Instant::now() {
                        return Ok(Leaving::Quietly);
                    }
                    idle.as_mut().reset(end);
                }
            }
        }
    }

    fn heard(&mut self, event: RequestEvent) {
        match event {
            RequestEvent::Begin { id, begin } => self.begin(id, begin),
            RequestEvent::Params { id, params } => self.start(id, params),
            RequestEvent::Stdin { id, chunk } => {
                if let Some(body) = self.open(id).and_then(|open| open.body.as_ref()) {
                    body.send(chunk);
                }
            }
            RequestEvent::StdinEnd { id } => {
                if let Some(open) = self.open(id) {
                    open.body = None;
                }
            }
            RequestEvent::Abort { id } => match self.open(id).and_then(|open| open.abort.as_ref()) {
                Some(abort) => abort.abort(),
                // Its parameters have not come.
                None => self.ended(id, None),
            },
            RequestEvent::Overloaded { id } => self.refuse(id, ProtocolStatus::Overloaded),
            RequestEvent::GetValues(asked) => self.tell(&asked),
            RequestEvent::UnknownType(kind) => {
                self.outbox.append(|out| ResponseEncoder::unknown_type(out, kind));
            }
        }
    }

    fn open(&mut self, id: u16) -> Option<&mut Open> {
        self.open.iter_mut().find(|(other, _)| *other == id).map(|(_, open)| open)
    }

    fn begin(&mut self, id: u16, begin: BeginRequest) {
        if begin.role != Role::Responder {
            self.refuse(id, ProtocolStatus::UnknownRole);
        } else if self.last {
            self.refuse(id, ProtocolStatus::Overloaded);
        } else {
            self.open.push((id, Open { keep_conn: begin.keep_conn, ..Open::default() }));
        }
    }

    fn start(&mut self, id: u16, params: Params) {
        let (sender, body) = Body::channel(&self.backlog);
        let inbound = Inbound { params, body, replies: self.outbox.replies(id) };
        let handling = handle(Arc::clone(&self.gateway), inbound);
        let (abort, registration) = AbortHandle::new_pair();
        let handling = Abortable::new(handling, registration);
        let Some(open) = self.open(id) else { return };
        open.body = Some(sender);
        open.abort = Some(abort);
        self.running.push(Box::pin(async move { (id, handling.await.ok()) }));
    }

    /// `ended` is `None` for a request that was aborted.
    fn ended(&mut self, id: u16, ended: Option<Ended>) {
        if ended.is_none() {
            // "Even if the application has been aborted, it answers with END_REQUEST" (section 5.4).
            self.outbox.append(|out| ResponseEncoder::new(id).end(out, EndRequest::COMPLETE));
        }
        let open = self.open.iter().position(|(other, _)| *other == id);
        let open = open.map(|at| self.open.swap_remove(at).1).unwrap_or_default();
        self.unread |= open.body.is_some();
        self.last |= !open.keep_conn || ended == Some(Ended::Truncated);
        // Before anything is written, since the web server may use the id again as soon as it has read.
        if ended != Some(Ended::Truncated) {
            self.decoder.ended(id);
            self.answered = true;
        } else if !open.keep_conn && !self.answered && self.open.is_empty() {
            self.leaving = Leaving::Reset;
        }
    }

    fn refuse(&mut self, id: u16, protocol_status: ProtocolStatus) {
        let end = EndRequest { app_status: 0, protocol_status };
        self.outbox.append(|out| ResponseEncoder::new(id).end(out, end));
        self.decoder.ended(id);
    }

    fn tell(&self, asked: &Params) {
        let replicas = self.gateway.admission.overview().replicas;
        let workers: u64 = replicas.iter().map(|replica| u64::from(replica.workers)).sum();
        let known = [
            (MAX_CONNS, self.gateway.config.listening.max_connections.to_string()),
            (MAX_REQS, workers.to_string()),
            (MPXS_CONNS, "1".to_owned()),
        ];
        self.outbox.append(|out| values(out, asked, &known));
    }
}

/// What comes next, when there is room for it. Nobody wakes it when there is: it is polled again after every
/// handler and every write, by the task that runs all three.
async fn next_event<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut RequestDecoder,
    backlog: &Backlog,
    outbox: &Outbox,
) -> Result<Option<RequestEvent>, ReadError> {
    poll_fn(|_| if has_room(backlog, outbox) { Poll::Ready(()) } else { Poll::Pending }).await;
    fcgi::request(reader, decoder).await
}

fn has_room(backlog: &Backlog, outbox: &Outbox) -> bool {
    backlog.has_room() && !outbox.is_over_full()
}

/// Closes so that the web server cannot take what it got for a whole answer. A Unix socket has no reset.
fn reset(stream: Stream) {
    if let Stream::Tcp(stream) = stream {
        // Where it fails the close is an ordinary one.
        let _ = stream.set_zero_linger();
    }
}

/// Closes without destroying what was written: a close with unread bytes is a reset, which may overtake
/// the answer. So what the web server still sends is read, for a while.
async fn farewell<R, W>(reader: &mut R, writer: &mut W, unread: bool) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    writer.shutdown().await?;
    if !unread {
        return Ok(());
    }
    let mut rest = bytes::BytesMut::with_capacity(16 << 10);
    let until_closed = async {
        while reader.read_buf(&mut rest).await? > 0 {
            rest.clear();
        }
        Ok(())
    };
    tokio::time::timeout(LINGER, until_closed).await.unwrap_or(Ok(()))
}
