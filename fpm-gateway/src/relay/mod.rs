//! Request and response, streamed through.
//!
//! 1. BEGIN_REQUEST and PARAMS go out in one piece with what is there of the body; where it is known that the worker will
//!    read on, with the question whether it is free (GET_VALUES), too.
//! 2. Body and response flow at the same time: a script may answer before it has read everything, and one
//!    that waits for us to read must not keep us from writing.
//! 3. Each direction holds a bounded amount and stops reading beyond it, so a slow reader slows the
//!    writer down, all the way to the browser or to PHP.
//! 4. END_REQUEST makes the response complete. An end of file does not.

use std::time::Duration;

use bytes::Buf as _;
use common::fastcgi::message::MAX_CONNS;
use common::fastcgi::{
    EndRequest, Outbound, Params, ProtocolError, ProtocolStatus, ReadError, RequestEncoder, ResponseEvent,
    Role, io,
};
use common::net::End;
use futures_util::FutureExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::backend::Worker;
use crate::dependencies::Told;
use crate::request::Inbound;
use common::retry_budget::RetryBudget;

/// Why a response is not complete.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("the replica broke: {0}")]
    Broken(#[from] ReadError),
    /// It ended the request without having worked on it.
    #[error("the replica refused: {0:?}")]
    Refused(ProtocolStatus),
    #[error("the replica did not move for {0:?}")]
    UpstreamStalled(Duration),
    #[error("the request's body did not come for {0:?}")]
    ClientStalled(Duration),
    /// PHP has failed, and the node that it wrote to is not the writer any more. Nothing was passed on.
    #[error("the database node has gone")]
    Superseded,
}

/// Whether a request that PHP answers with 5xx may be tried once more.
#[derive(Debug)]
pub struct SecondChance<'a> {
    pub told: &'a Told<'a>,
    pub budget: &'a RetryBudget,
}

impl SecondChance<'_> {
    async fn is_worth_it(&self) -> bool {
        self.told.is_superseded().await && self.budget.spend()
    }
}

impl RelayError {
    /// The connection ended before the replica had said anything.
    pub fn is_silent(&self) -> bool {
        match self {
            Self::Broken(ReadError::Protocol(ProtocolError::PrematureEof { silent, .. })) => *silent,
            Self::Broken(ReadError::Io(error)) => End::of(error).is_some(),
            _ => false,
        }
    }

    /// The label of its metric.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Broken(ReadError::Io(_)) => "io",
            Self::Broken(ReadError::Protocol(_)) => "protocol",
            Self::Refused(_) => "refused",
            Self::UpstreamStalled(_) => "timeout",
            Self::ClientStalled(_) => "client",
            Self::Superseded => "database",
        }
    }
}

/// The request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    Flowing,
    Whole,
    /// The replica takes no more of it, which is its right: the response counts.
    Unwanted,
}

/// Bytes of body that wait to be written, beyond which no more are taken.
const BODY_BUFFER: usize = 64 << 10;

/// Relays one request. On success the response is with the web server, apart from END_REQUEST.
pub async fn relay(
    worker: &mut Worker,
    inbound: &mut Inbound,
    timeout: Duration,
    again: Option<SecondChance<'_>>,
) -> Result<EndRequest, RelayError> {
    let keep_conn = worker.asks();
    // PHP reads as much as CONTENT_LENGTH says: behind a body of another length the question would be taken for body.
    let in_advance = worker.asks_in_advance() && is_bodiless(&inbound.params);
    let Worker { stream, decoder, uploaded, asked, begun, .. } = worker;
    let request = RequestEncoder::new(1);
    let mut out = Outbound::new();
    request.begin(&mut out, Role::Responder, keep_conn, &inbound.params);
    let mut upload = Upload::Flowing;
    while out.remaining() < BODY_BUFFER
        && let Some(piece) = inbound.body.next().now_or_never()
    {
        if let Some(chunk) = piece {
            request.stdin(&mut out, chunk);
            continue;
        }
        upload = Upload::Whole;
        request.stdin_end(&mut out);
        if in_advance && inbound.body.is_untouched() {
            RequestEncoder::get_values(&mut out, &[MAX_CONNS]);
            *asked = true;
        }
        break;
    }
    if stream.write_now(&mut out).is_err() {
        // What it had to say may be readable all the same.
        out = Outbound::new();
        upload = Upload::Unwanted;
        inbound.body.refuse();
    }
    *uploaded = upload == Upload::Whole && !out.has_remaining();
    let (mut reader, mut writer) = stream.split();
    let mut moved = Instant::now();
    let mut idle = std::pin::pin!(tokio::time::sleep(timeout));

    loop {
        let hearing = inbound.replies.has_room();
        tokio::select! {
            biased;
            event = io::response(&mut reader, decoder), if hearing => {
                moved = Instant::now();
                begun.get_or_insert(moved);
                let event = event?;
                // Who answers while it still works says nothing with it.
                *asked &= !matches!(event, Some(ResponseEvent::Values(_)));
                if let Some(ResponseEvent::Stdout(chunk)) = &event
                    && let Some(again) = &again
                    && inbound.replies.would_fail(chunk)
                    && again.is_worth_it().await
                {
                    return Err(RelayError::Superseded);
                }
                if let Some(end) = pass_on(event, inbound)? {
                    return Ok(end);
                }
            }
            piece = inbound.body.next(), if upload == Upload::Flowing && out.remaining() < BODY_BUFFER => {
                moved = Instant::now();
                if let Some(chunk) = piece {
                    request.stdin(&mut out, chunk);
                } else {
                    upload = Upload::Whole;
                    request.stdin_end(&mut out);
                }
            }
            written = writer.write_buf(&mut out), if out.has_remaining() => {
                moved = Instant::now();
                *uploaded = upload == Upload::Whole && !out.has_remaining();
                if written.is_err() {
                    // What it had to say may be readable all the same.
                    out = Outbound::new();
                    upload = Upload::Unwanted;
                    inbound.body.refuse();
                }
            }
            () = inbound.replies.room(), if !hearing => {
                moved = Instant::now();
            }
            () = idle.as_mut() => {
                let end = moved + timeout;
                if end > Instant::now() {
                    idle.as_mut().reset(end);
                } else if upload == Upload::Flowing && !out.has_remaining() && hearing {
                    return Err(RelayError::ClientStalled(timeout));
                } else if hearing {
                    return Err(RelayError::UpstreamStalled(timeout));
                } else {
                    // The web server does not read; its connection has a deadline of its own.
                    idle.as_mut().reset(Instant::now() + timeout);
                }
            }
        }
    }
}

fn is_bodiless(params: &Params) -> bool {
    params.get("CONTENT_LENGTH").is_none_or(|length| matches!(&**length, b"" | b"0"))
}

/// Passes an event on to the web server; gives back the end of the request.
fn pass_on(event: Option<ResponseEvent>, inbound: &mut Inbound) -> Result<Option<EndRequest>, RelayError> {
    match event {
        Some(ResponseEvent::Stdout(chunk)) => inbound.replies.stdout(chunk),
        Some(ResponseEvent::Stderr(chunk)) => inbound.replies.stderr(chunk),
        Some(ResponseEvent::End(end)) => {
            let refused = end.protocol_status != ProtocolStatus::RequestComplete;
            if refused && !inbound.replies.started() {
                return Err(RelayError::Refused(end.protocol_status));
            }
            return Ok(Some(end));
        }
        // The end of STDOUT is the end of the request's, which is still to come. The others answer
        // questions that were not asked. After END_REQUEST nothing is read, so `None` cannot be.
        Some(ResponseEvent::StdoutEnd | ResponseEvent::Values(_) | ResponseEvent::UnknownType(_)) | None => {}
    }
    Ok(None)
}
