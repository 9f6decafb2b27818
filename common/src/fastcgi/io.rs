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

/// What a read asks for at least. A record is at most 64 KiB, so a buffer stays below 128 KiB.
const READ_SIZE: usize = 16 << 10;

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
        if fill(reader, decoder.buffer()).await? == 0 {
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
        if fill(reader, decoder.buffer()).await? == 0 {
            decoder.eof()?;
            return Ok(None);
        }
    }
}

/// Reads once into `buffer`, with room for the rest of the record at its front. 0 at the end of file.
async fn fill<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) -> io::Result<usize> {
    buffer.reserve(Record::missing(buffer).max(READ_SIZE));
    reader.read_buf(buffer).await
}
