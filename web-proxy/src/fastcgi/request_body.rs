//! The body of a request on its way to the application.
//!
//! PHP reads CONTENT_LENGTH bytes. Where the client has said the length, its bytes are passed on as they
//! come. Where it has not (chunked), the whole body is taken in first: into memory up to [`IN_MEMORY`], then
//! into a file without a name.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::pace::Pace;
use crate::request::ClientBody;

#[derive(Debug)]
pub enum RequestBody {
    None,
    Streamed { body: ClientBody, length: u64, pace: Pace },
    Spooled(Spool),
}

/// A whole body.
#[derive(Debug)]
pub struct Spool {
    length: u64,
    /// What comes first, if it is too much for memory.
    file: Option<File>,
    rest: Bytes,
}

#[derive(Debug, Clone)]
pub struct BodyLimits {
    pub max: u64,
    /// How long the client may pause; twice that in sum, unless it earns more.
    pub timeout: Duration,
    pub spool: PathBuf,
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
    Spool(io::Error),
}

const IN_MEMORY: usize = 64 << 10;
const PIECE: usize = 64 << 10;

impl RequestBody {
    /// What has come with the request; a chunked body is read to its end here.
    pub async fn receive(mut body: ClientBody, limits: &BodyLimits) -> Result<Self, RequestBodyError> {
        let mut pace = Pace::new(limits.timeout);
        if let Some(length) = body.length() {
            if length > limits.max {
                return Err(RequestBodyError::TooLarge(limits.max));
            }
            return Ok(match length {
                0 => Self::None,
                length => Self::Streamed { body, length, pace },
            });
        }
        let mut spool = Spool { length: 0, file: None, rest: Bytes::new() };
        let mut pending = BytesMut::new();
        while let Some(piece) = next(&mut body, &mut pace).await? {
            spool.length += piece.len() as u64;
            if spool.length > limits.max {
                return Err(RequestBodyError::TooLarge(limits.max));
            }
            pending.extend_from_slice(&piece);
            if pending.len() > IN_MEMORY {
                spool.write(pending.split().freeze(), limits).await.map_err(RequestBodyError::Spool)?;
            }
        }
        spool.rest = pending.freeze();
        spool.rewind().await.map_err(RequestBodyError::Spool)?;
        Ok(Self::Spooled(spool))
    }

    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub const fn length(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Streamed { length, .. } => Some(*length),
            Self::Spooled(spool) => Some(spool.length),
        }
    }

    /// The next piece, never empty; `None` at the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, RequestBodyError> {
        match self {
            Self::None => Ok(None),
            Self::Streamed { body, pace, .. } => next(body, pace).await,
            Self::Spooled(spool) => spool.piece().await.map_err(RequestBodyError::Spool),
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

impl Spool {
    async fn write(&mut self, mut piece: Bytes, limits: &BodyLimits) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(unnamed_file(limits.spool.clone()).await?),
        };
        file.write_all_buf(&mut piece).await
    }

    async fn rewind(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush().await?;
            file.rewind().await?;
        }
        Ok(())
    }

    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(file) = &mut self.file {
            let mut piece = BytesMut::with_capacity(PIECE);
            if file.read_buf(&mut piece).await? > 0 {
                return Ok(Some(piece.freeze()));
            }
            self.file = None;
        }
        Ok(Some(std::mem::take(&mut self.rest)).filter(|piece| !piece.is_empty()))
    }
}

/// It has no name, so nothing of it outlives us.
async fn unnamed_file(folder: PathBuf) -> io::Result<File> {
    let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder))
        .await
        .map_err(io::Error::other)??;
    Ok(File::from_std(file))
}
