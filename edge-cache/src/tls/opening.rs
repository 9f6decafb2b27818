use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that has to begin with a TLS handshake record; what begins otherwise is an error of this kind, before
/// anything is answered to it.
#[derive(Debug)]
pub struct Opening<S> {
    stream: S,
    is_open: bool,
}

/// What a connection began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTls {
    #[error("plain HTTP came to the TLS port")]
    Http,
    #[error("what came is not TLS")]
    Other,
}

/// The content type of a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

impl<S> Opening<S> {
    pub const fn new(stream: S) -> Self {
        Self { stream, is_open: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_open {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let from = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        match buf.filled().get(from) {
            None | Some(&HANDSHAKE) => {}
            // A method: no record of TLS begins so.
            Some(b'A'..=b'Z') => return Poll::Ready(Err(io::Error::other(NotTls::Http))),
            Some(_) => return Poll::Ready(Err(io::Error::other(NotTls::Other))),
        }
        self.is_open = true;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
