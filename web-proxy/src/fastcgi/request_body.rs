//! The body of a request on its way to the application.
//!
//! 1. A body that the client has announced as too large is refused before it is asked for.
//! 2. Its beginning is taken in before the application hears of it: while it runs it holds a worker, and a client may
//!    send as slowly as it likes. Most bodies are whole then.
//! 3. Of a larger one, whose length the client has said, the rest is passed on as it comes. Where it has not said it
//!    (chunked), all of it is taken in, since PHP reads CONTENT_LENGTH bytes.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::pace::Pace;
use super::spool::{Spool, SpoolError, SpoolSpace};
use crate::request::ClientBody;

#[derive(Debug)]
pub enum RequestBody {
    None,
    Some(Box<Taken>),
}

/// What there is of a body.
#[derive(Debug)]
pub struct Taken {
    length: u64,
    begin: Spool,
    rest: Option<Rest>,
}

/// What the client still has to send.
#[derive(Debug)]
pub(super) struct Rest {
    body: ClientBody,
    pace: Pace,
}

#[derive(Debug, Clone)]
pub struct BodyLimits {
    pub max: u64,
    /// How much of a body is taken in before the application is asked.
    pub buffer: u64,
    /// How long the client may pause; twice that in sum, unless it earns more.
    pub timeout: Duration,
    pub spool: SpoolSpace,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    #[error("the request's body is larger than {0} bytes")]
    TooLarge(u64),
    /// By the [`Pace`]: how long the last piece was waited for.
    #[error("the client sends its body too slowly: nothing in the last {0:?}")]
    TimedOut(Duration),
    #[error("the request's body cannot be read: {0}")]
    Client(hyper::Error),
    #[error("the request's body cannot be spooled: {0}")]
    Spool(#[from] SpoolError),
}

impl RequestBody {
    /// What has come with the request; a chunked body is read to its end here.
    pub async fn receive(mut body: ClientBody, limits: &BodyLimits) -> Result<Self, RequestBodyError> {
        let announced = body.length();
        match announced {
            Some(0) => return Ok(Self::None),
            Some(length) if length > limits.max => return Err(RequestBodyError::TooLarge(limits.max)),
            _ => {}
        }
        let wanted = announced.map_or(u64::MAX, |length| length.min(limits.buffer));
        let mut pace = Pace::new(limits.timeout);
        let mut begin = Spool::new();
        while begin.length() < wanted {
            let Some(piece) = next(&mut body, &mut pace).await? else { break };
            if announced == Some(piece.len() as u64) {
                begin = Spool::of(piece);
                break;
            }
            let added = begin.add(&piece, &limits.spool).await;
            if begin.length() > limits.max {
                return Err(RequestBodyError::TooLarge(limits.max));
            }
            match added {
                // Without room the application takes it as it comes, now that it can.
                Err(SpoolError::Full) if announced.is_some() => break,
                added => added?,
            }
        }
        begin.rewind().await?;
        let length = announced.unwrap_or(begin.length());
        // From here on the client holds a worker: what it has sent so far earns it no time.
        let rest = (begin.length() < length).then(|| Rest { body, pace: Pace::new(limits.timeout) });
        Ok(Self::Some(Box::new(Taken { length, begin, rest })))
    }

    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub fn length(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Some(taken) => Some(taken.length),
        }
    }

    /// The next piece, never empty; `None` at the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, RequestBodyError> {
        let Self::Some(taken) = self else { return Ok(None) };
        if let Some(piece) = taken.begin.piece().await? {
            return Ok(Some(piece));
        }
        match &mut taken.rest {
            Some(Rest { body, pace }) => next(body, pace).await,
            None => Ok(None),
        }
    }
}

async fn next(body: &mut ClientBody, pace: &mut Pace) -> Result<Option<Bytes>, RequestBodyError> {
    loop {
        let patience = pace.patience();
        let asked = Instant::now();
        let frame = tokio::time::timeout(patience, body.frame())
            .await
            .map_err(|_| RequestBodyError::TimedOut(patience))?;
        let Some(frame) = frame else { return Ok(None) };
        // Trailers are of no use to PHP.
        let data = frame.map_err(RequestBodyError::Client)?.into_data().unwrap_or_default();
        pace.note(asked.elapsed(), data.len());
        if !data.is_empty() {
            return Ok(Some(data));
        }
    }
}
