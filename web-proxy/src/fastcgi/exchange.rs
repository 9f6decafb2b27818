//! One request and its response on a connection of their own, in a task of their own: the application may
//! answer before it has read everything, and may end the response before it ends the request.
//!
//! 1. Upload and download run at the same time.
//! 2. The download hands the head and then the pieces to the [`Reply`]; it ends with END_REQUEST.
//! 3. Whoever wanted the response may go: unless it has all of it, the connection is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::fastcgi::{
    EndRequest, Outbound, Params, ProtocolError, ProtocolStatus, ReadError, RequestEncoder, ResponseDecoder,
    ResponseEvent, Role, io as fcgi,
};
use common::net::{End, Stream};
use common::shutdown::Shutdown;
use http::HeaderValue;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, ReadHalf};

use super::conditions::Conditions;
use super::head::Head;
use super::reply::Reply;
use super::upstream::Connection;
use super::{FastCgiError, RelayBody, RequestBody, RequestBodyError};
use crate::metrics::Metrics;

/// What is asked of the application.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) params: Params,
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

/// Counts a request that the application has.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Metrics>);

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

/// Starts the exchange and waits for the head. Dropping what it returns, or the wait, gives the exchange up.
pub(super) async fn start(
    mut call: Call,
    connection: Connection,
    shutdown: &Shutdown,
) -> Result<(Head, RelayBody), FastCgiError> {
    let conditions = std::mem::take(&mut call.conditions);
    let (reply, head, body) = Reply::new(call.bodiless, call.buffer, conditions);
    shutdown.spawn(converse(call, connection, reply));
    // Only a shutdown ends the task without a word.
    let head = head.await.unwrap_or(Err(FastCgiError::Ending))?;
    Ok((head, body))
}

async fn converse(call: Call, connection: Connection, mut reply: Reply) {
    let Call { params, mut body, timeout, request_id, in_flight, .. } = call;
    let request_id = request_id.to_str().unwrap_or("-");
    let progress = Progress::default();
    let abandoned = reply.abandoned();
    let keep = connection.is_kept();
    let (stream, home) = connection.into_parts();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut decoder = ResponseDecoder::new(ID);
    let outcome = {
        let failing_upload = async {
            match upload(&mut writer, &params, keep, &mut body, &progress).await {
                // An application that reads no more may still answer.
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        tokio::select! {
            outcome = download(&mut reader, &mut decoder, &mut reply, timeout, request_id, &progress) => outcome,
            error = failing_upload => Err(FastCgiError::from(error)),
            () = abandoned => Err(FastCgiError::Abandoned),
        }
    };
    if let Err(error) = &outcome {
        in_flight.failed(error);
        if reply.has_begun() && !matches!(error, FastCgiError::Abandoned) {
            tracing::warn!(request_id, %error, "the response broke off");
        }
    }
    // The connection is closed, or kept, and the application free, however slow the client is.
    let is_over = outcome.is_ok() && progress.whole.load(Ordering::Relaxed) && decoder.is_reusable();
    match home {
        Some(home) if is_over => home.keep(reader.unsplit(writer)),
        _ => drop((reader, writer)),
    }
    drop((in_flight, body));
    reply.finish(outcome);
}

/// Sends the request. The stream is not shut down behind it: applications may take that for a client that left.
async fn upload(
    mut writer: impl AsyncWrite + Unpin,
    params: &Params,
    keep: bool,
    body: &mut RequestBody,
    progress: &Progress,
) -> Result<(), RequestBodyError> {
    let encoder = RequestEncoder::new(ID);
    let mut out = Outbound::new();
    encoder.begin(&mut out, Role::Responder, keep, params);
    if !body.is_none() && writer.write_all_buf(&mut out).await.is_err() {
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

async fn download(
    reader: &mut ReadHalf<Stream>,
    decoder: &mut ResponseDecoder,
    reply: &mut Reply,
    timeout: Duration,
    request_id: &str,
    progress: &Progress,
) -> Result<(), FastCgiError> {
    let mut heard = false;
    loop {
        let event = next_event(reader, decoder, timeout, progress).await?;
        let event = event.map_err(|cause| {
            let silent = !heard && decoder.buffer().is_empty() && is_end(&cause);
            FastCgiError::Broken { silent, cause }
        })?;
        heard = true;
        match event {
            ResponseEvent::Stdout(piece) => reply.stdout(piece).await?,
            ResponseEvent::Stderr(piece) => log(&piece, request_id),
            ResponseEvent::End(EndRequest { protocol_status, .. }) => {
                return match protocol_status {
                    ProtocolStatus::RequestComplete => reply.check_complete(),
                    ProtocolStatus::Overloaded => Err(FastCgiError::Overloaded),
                    other => Err(FastCgiError::Refused(other)),
                };
            }
            ResponseEvent::StdoutEnd | ResponseEvent::Values(_) | ResponseEvent::UnknownType(_) => {}
        }
    }
}

async fn next_event(
    reader: &mut ReadHalf<Stream>,
    decoder: &mut ResponseDecoder,
    timeout: Duration,
    progress: &Progress,
) -> Result<Result<ResponseEvent, ReadError>, FastCgiError> {
    loop {
        let before = progress.pieces.load(Ordering::Relaxed);
        match tokio::time::timeout(timeout, fcgi::response(reader, decoder)).await {
            Ok(Ok(Some(event))) => return Ok(Ok(event)),
            // After END_REQUEST nothing is read any more, so an end here is none.
            Ok(Ok(None)) => {
                let eof = ProtocolError::PrematureEof { stdout: 0, silent: false };
                return Ok(Err(eof.into()));
            }
            Ok(Err(error)) => return Ok(Err(error)),
            Err(_) => {
                let uploading = progress.waits_for_client.load(Ordering::Relaxed)
                    || progress.pieces.load(Ordering::Relaxed) != before;
                if !uploading {
                    return Err(FastCgiError::TimedOut(timeout));
                }
            }
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
        Self(Arc::clone(metrics))
    }

    pub(super) fn failed(&self, error: &FastCgiError) {
        self.0.fastcgi_error(error.reason());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fastcgi_in_flight.dec();
    }
}
