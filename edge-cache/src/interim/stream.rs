use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Channel;

/// A client's connection into which interim responses are written between hyper's messages.
#[derive(Debug)]
pub struct InterimStream<S> {
    stream: S,
    channel: Arc<Channel>,
    /// Interim bytes that have begun to go out: nothing else may come between.
    writing: Bytes,
}

impl<S: AsyncWrite + Unpin> InterimStream<S> {
    pub fn new(stream: S, channel: Arc<Channel>) -> Self {
        // A new connection has nothing half written.
        channel.is_flushed.store(true, Ordering::Relaxed);
        Self { stream, channel, writing: Bytes::new() }
    }

    /// Writes what is pending, if this is a place where a message ends.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let channel = &self.channel;
        if channel.is_pending.load(Ordering::Acquire) && channel.is_flushed.load(Ordering::Relaxed) {
            let pending = channel.take();
            // More may come while the first is still going out.
            self.writing = if self.writing.is_empty() {
                pending.into()
            } else {
                [&self.writing[..], &pending].concat().into()
            };
        }
        while !self.writing.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.writing))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.writing.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InterimStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InterimStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.channel.is_flushed.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.channel.is_flushed.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper's buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channel.is_flushed.store(true, Ordering::Relaxed);
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
