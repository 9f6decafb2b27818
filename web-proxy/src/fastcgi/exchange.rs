//! One request and its response on a connection of their own: the application may answer before it has read everything,
//! and may end the response before it ends the request.
//!
//! 1. Upload and download run at the same time.
//! 2. The download hands the head and then the pieces to the [`Reply`]; it ends with END_REQUEST.
//! 3. Until the head is there all of it runs in the request's own task. What has not ended by then, as a small page has,
//!    goes on in a task of its own, at the application's pace and not at the client's.
//! 4. Whoever wanted the response may go: unless it has all of it, the connection is dropped.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use common::fastcgi::message::MPXS_CONNS;
use common::fastcgi::{
    EndRequest, Outbound, Params, ProtocolError, ProtocolStatus, ReadError, RequestEncoder, ResponseDecoder,
    ResponseEvent, Role, io as fcgi,
};
use common::net::{End, ReadHalf, Stream, WriteHalf};
use common::shutdown::Shutdown;
use http::HeaderValue;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, Sleep};

use super::conditions::Conditions;
use super::head::Head;
use super::reply::Reply;
use super::upstream::Purpose;
use super::{FastCgiError, RelayBody, RequestBody, RequestBodyError};
use crate::metrics::Metrics;

/// What is asked of the application.
#[derive(Debug)]
pub(super) struct Call {
    /// BEGIN_REQUEST and PARAMS.
    pub(super) begin: Outbound,
    pub(super) body: RequestBody,
    /// A response to HEAD has no body, whatever the application writes.
    pub(super) bodiless: bool,
    /// What of the response may wait for the client, in bytes.
    pub(super) buffer: u32,
    /// What the client has of it.
    pub(super) conditions: Conditions,
    /// How long nothing may happen.
    pub(super) timeout: Duration,
    pub(super) request_id: HeaderValue,
    pub(super) in_flight: InFlight,
}

/// Counts a request that the application has. One that is dropped before it was [`over`](Self::over) was abandoned.
#[derive(Debug)]
pub(super) struct InFlight {
    metrics: Arc<Metrics>,
    is_over: bool,
}

/// What the upload does, for the download's patience: while the client is slow, the application is not.
#[derive(Debug, Default)]
struct Progress {
    pieces: AtomicU64,
    waits_for_client: AtomicBool,
    /// The request was sent to its end.
    whole: AtomicBool,
}

/// The only request on its connection.
const ID: u16 = 1;

/// BEGIN_REQUEST and PARAMS, as they go to the application.
pub(super) fn begin(params: &Params, keep: bool) -> Outbound {
    let mut out = Outbound::new();
    RequestEncoder::new(ID).begin(&mut out, Role::Responder, keep, params);
    out
}

/// Starts the exchange and waits for the head. Dropping what it returns, or the wait, gives the exchange up.
pub(super) async fn start(
    mut call: Call,
    stream: Stream,
    purpose: Purpose,
    shutdown: &Shutdown,
) -> Result<(Head, RelayBody), FastCgiError> {
    let conditions = std::mem::take(&mut call.conditions);
    let (reply, body) = Reply::new(call.bodiless, call.buffer, conditions);
    let mut conversation = Box::pin(converse(call, stream, purpose, reply));
    let (head, is_over) = poll_fn(|cx| {
        let is_over = conversation.as_mut().poll(cx).is_ready();
        match body.take_head() {
            Some(head) => Poll::Ready((head, is_over)),
            // It never ends without a word.
            None if is_over => Poll::Ready((Err(FastCgiError::Ending), is_over)),
            None => Poll::Pending,
        }
    })
    .await;
    let head = head?;
    if !is_over {
        shutdown.spawn(conversation);
    }
    Ok((head, body))
}

async fn converse(call: Call, mut stream: Stream, purpose: Purpose, mut reply: Reply) {
    let Call { begin, mut body, timeout, request_id, mut in_flight, .. } = call;
    let request_id = request_id.to_str().unwrap_or("-");
    let progress = Progress::default();
    let abandoned = reply.abandoned();
    let mut decoder = ResponseDecoder::new(ID);
    let mut multiplexes = false;
    let mut out = begin;
    let asks = matches!(purpose, Purpose::Ask(_)) && body.is_none();
    // What went wrong shows when the answer is read.
    let broken = body.is_none() && {
        RequestEncoder::new(ID).stdin_end(&mut out);
        if asks {
            RequestEncoder::get_values(&mut out, &[MPXS_CONNS]);
        }
        let written = stream.write_now(&mut out);
        progress.whole.store(written.is_ok() && !out.has_remaining(), Ordering::Relaxed);
        written.is_err()
    };
    let (mut reader, mut writer) = stream.split();
    let outcome = {
        let failing_upload = async {
            if broken {
                return std::future::pending().await;
            }
            match upload(&mut writer, out, &mut body, &progress).await {
                // An application that reads no more may still answer.
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        let downloading = Download {
            reader: &mut reader,
            decoder: &mut decoder,
            reply: &mut reply,
            timeout,
            request_id,
            progress: &progress,
            multiplexes: &mut multiplexes,
        };
        tokio::select! {
            biased;
            outcome = downloading.run() => outcome,
            error = failing_upload => Err(FastCgiError::from(error)),
            () = abandoned => Err(FastCgiError::Abandoned),
        }
    };
    in_flight.is_over = true;
    if let Err(error) = &outcome {
        in_flight.failed(error);
        if reply.has_begun() && !matches!(error, FastCgiError::Abandoned) {
            tracing::warn!(request_id, %error, "the response broke off");
        }
    }
    // The connection is closed, or kept, and the application free, however slow the client is.
    let is_over = outcome.is_ok() && progress.whole.load(Ordering::Relaxed) && decoder.is_reusable();
    match purpose {
        Purpose::Keep(home) if is_over => home.keep(stream),
        Purpose::Ask(question) if asks && outcome.is_ok() => {
            question.answered(multiplexes);
            drop(stream);
        }
        _ => drop(stream),
    }
    drop((in_flight, body));
    reply.finish(outcome);
}

/// Sends the request. The stream is not shut down behind it: applications may take that for a client that left.
async fn upload(
    writer: &mut WriteHalf<'_>,
    mut out: Outbound,
    body: &mut RequestBody,
    progress: &Progress,
) -> Result<(), RequestBodyError> {
    let encoder = RequestEncoder::new(ID);
    if out.has_remaining() && writer.write_all_buf(&mut out).await.is_err() {
        return Ok(());
    }
    if body.is_none() {
        // Its end was in there.
        progress.whole.store(true, Ordering::Relaxed);
        return Ok(());
    }
    loop {
        progress.waits_for_client.store(true, Ordering::Relaxed);
        let piece = body.piece().await?;
        progress.waits_for_client.store(false, Ordering::Relaxed);
        let last = piece.is_none();
        match piece {
            Some(piece) => encoder.stdin(&mut out, piece),
            None => encoder.stdin_end(&mut out),
        }
        // What went wrong shows when the answer is read.
        if writer.write_all_buf(&mut out).await.is_err() {
            return Ok(());
        }
        if last {
            progress.whole.store(true, Ordering::Relaxed);
            return Ok(());
        }
        progress.pieces.fetch_add(1, Ordering::Relaxed);
    }
}

/// The application's side of the exchange.
struct Download<'a, 's> {
    reader: &'a mut ReadHalf<'s>,
    decoder: &'a mut ResponseDecoder,
    reply: &'a mut Reply,
    timeout: Duration,
    request_id: &'a str,
    progress: &'a Progress,
    /// It has said so.
    multiplexes: &'a mut bool,
}

impl Download<'_, '_> {
    async fn run(mut self) -> Result<(), FastCgiError> {
        let mut heard = false;
        let mut patience = std::pin::pin!(tokio::time::sleep(self.timeout));
        loop {
            let event = self.next_event(patience.as_mut()).await?;
            let event = event.map_err(|cause| {
                let silent = !heard && self.decoder.buffer().is_empty() && is_end(&cause);
                FastCgiError::Broken { silent, cause }
            })?;
            heard = true;
            match event {
                ResponseEvent::Stdout(piece) => self.reply.stdout(piece).await?,
                ResponseEvent::Stderr(piece) => log(&piece, self.request_id),
                ResponseEvent::End(EndRequest { protocol_status, .. }) => {
                    return match protocol_status {
                        ProtocolStatus::RequestComplete => self.reply.check_complete(),
                        ProtocolStatus::Overloaded => Err(FastCgiError::Overloaded),
                        other => Err(FastCgiError::Refused(other)),
                    };
                }
                ResponseEvent::Values(values) => {
                    *self.multiplexes = values.get(MPXS_CONNS).is_some_and(|value| &**value == b"1");
                }
                ResponseEvent::StdoutEnd | ResponseEvent::UnknownType(_) => {}
            }
        }
    }

    async fn next_event(
        &mut self,
        mut patience: Pin<&mut Sleep>,
    ) -> Result<Result<ResponseEvent, ReadError>, FastCgiError> {
        // What is here already needs no clock.
        match self.decoder.next_event() {
            Ok(Some(event)) => return Ok(Ok(event)),
            Ok(None) => {}
            Err(error) => return Ok(Err(error.into())),
        }
        let mut before = self.progress.pieces.load(Ordering::Relaxed);
        patience.as_mut().reset(Instant::now() + self.timeout);
        loop {
            tokio::select! {
                biased;
                event = fcgi::response(self.reader, self.decoder) => return Ok(match event {
                    Ok(Some(event)) => Ok(event),
                    // After END_REQUEST nothing is read any more, so an end here is none.
                    Ok(None) => Err(ProtocolError::PrematureEof { stdout: 0, silent: false }.into()),
                    Err(error) => Err(error),
                }),
                () = patience.as_mut() => {}
            }
            let pieces = self.progress.pieces.load(Ordering::Relaxed);
            if !self.progress.waits_for_client.load(Ordering::Relaxed) && pieces == before {
                return Err(FastCgiError::TimedOut(self.timeout));
            }
            before = pieces;
            patience.as_mut().reset(Instant::now() + self.timeout);
        }
    }
}

/// A connection that closed, in whichever way.
fn is_end(cause: &ReadError) -> bool {
    match cause {
        ReadError::Protocol(ProtocolError::PrematureEof { silent, .. }) => *silent,
        ReadError::Io(error) => End::of(error).is_some(),
        ReadError::Protocol(_) => false,
    }
}

/// What PHP writes to its error log, line by line. A script's words must not be able to forge one.
fn log(piece: &Bytes, request_id: &str) {
    for line in piece.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end) {
        if !line.is_empty() {
            let line = String::from_utf8_lossy(line).replace(char::is_control, " ");
            tracing::warn!(request_id, "{line}");
        }
    }
}

impl InFlight {
    pub(super) fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.fastcgi_in_flight.inc();
        Self { metrics: Arc::clone(metrics), is_over: false }
    }

    pub(super) fn failed(&self, error: &FastCgiError) {
        self.metrics.fastcgi_error(error.reason());
    }

    /// It never came to an exchange.
    pub(super) fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.is_over {
            self.failed(&FastCgiError::Abandoned);
        }
        self.metrics.fastcgi_in_flight.dec();
    }
}
