//! Joins the decoders to byte streams. Writing needs no help: an [`Outbound`](super::Outbound) is a `Buf`.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{ProtocolError, Record, RequestDecoder, RequestEvent, ResponseDecoder, ResponseEvent};

/// Why no event can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}

/// What a connection's reads ask for: little at first, since most requests and many responses are small, and more as long
/// as that is filled. A record is at most 64 KiB, so a buffer stays below 128 KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadSize(usize);

const FIRST_READ: usize = 4 << 10;
const LONGEST_READ: usize = 64 << 10;

impl ReadSize {
    pub(super) const fn new() -> Self {
        Self(FIRST_READ)
    }
}

/// The next event of the response; `None` when the connection has ended where it may.
/// Cancel safe: what was read stays in the decoder.
pub async fn response<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut ResponseDecoder,
) -> Result<Option<ResponseEvent>, ReadError> {
    loop {
        if let Some(event) = decoder.next_event()? {
            return Ok(Some(event));
        }
        let (buffer, size) = decoder.inbound();
        if fill(reader, buffer, size).await? == 0 {
            decoder.eof()?;
            return Ok(None);
        }
    }
}

/// The next event of the requests; `None` when the connection has ended between requests.
/// Cancel safe: what was read stays in the decoder.
pub async fn request<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut RequestDecoder,
) -> Result<Option<RequestEvent>, ReadError> {
    loop {
        if let Some(event) = decoder.next_event()? {
            return Ok(Some(event));
        }
        let (buffer, size) = decoder.inbound();
        if fill(reader, buffer, size).await? == 0 {
            decoder.eof()?;
            return Ok(None);
        }
    }
}

/// Reads once into `buffer`, with room for the rest of the record at its front. 0 at the end of file.
async fn fill<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
    size: &mut ReadSize,
) -> io::Result<usize> {
    buffer.reserve(Record::missing(buffer).max(size.0));
    let room = buffer.capacity() - buffer.len();
    let read = reader.read_buf(buffer).await?;
    if read == room {
        size.0 = (room * 4).min(LONGEST_READ);
    }
    Ok(read)
}
