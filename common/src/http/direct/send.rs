use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::Method;
use tokio::io::AsyncWrite;

use super::{Counted, HeadText, Reply, WriteTo};

/// A response on its way to the client.
#[derive(Debug)]
pub(super) struct Sending<B: Counted> {
    /// What is left of its head, and of its body's first bytes with it.
    head: Bytes,
    frames: Frames<B>,
    /// The connection ends with it.
    pub closes: bool,
}

/// What is left of a body.
#[derive(Debug)]
struct Frames<B: Counted> {
    body: B,
    /// Bytes of the body that are sent with the head and are not written.
    with_head: usize,
    /// Taken from the body and not written.
    waiting: [Bytes; AT_ONCE],
    /// What the body still has to say.
    left: u64,
}

/// Frames in one call.
const AT_ONCE: usize = 8;
/// With so many bytes taken from a body no further frame is: they stay in memory for as long as the client is slow.
const ENOUGH: usize = 256 << 10;
/// So few bytes are copied behind the head: a call with one piece is cheaper than that with two.
const COPIED: usize = 4 << 10;

/// Writes what can be written at once. `None` when that is all of it, and the connection goes on. `head` is what the service has
/// written; it is used up.
pub(super) fn begin<B, S>(
    cx: &mut Context<'_>,
    stream: &mut S,
    method: &Method,
    reply: Reply<B>,
    head: &mut HeadText,
) -> io::Result<Option<Box<Sending<B>>>>
where
    B: WriteTo<S> + Unpin,
    S: AsyncWrite + Unpin,
{
    let is_head = *method == Method::HEAD;
    let body = match reply {
        Reply::Written(body) => body,
        Reply::Response(response) => {
            let (parts, body) = response.into_parts();
            head.clear();
            head.response(parts.status, &parts.headers, is_head);
            body
        }
    };
    let left = if head.is_bodiless() {
        0
    } else if is_head {
        // What a GET would get, where the fields do not say it (RFC 9110, section 9.3.2).
        if let (Some(length @ 1..), false) = (body.size_hint().exact(), head.says_length()) {
            head.length(length)?;
        }
        0
    } else {
        let exact = body.size_hint().exact();
        let length =
            exact.ok_or_else(|| io::Error::other("an answer that is there at once must have a length"))?;
        head.length(length)?;
        length
    };
    head.finish();
    let mut frames = Frames { body, with_head: 0, waiting: [const { Bytes::new() }; AT_ONCE], left };
    if !frames.body.writes_itself() {
        frames.gather(cx)?;
    }
    let closes = head.closes();
    let head = head.bytes_mut();
    if let [first, ..] = &mut frames.waiting
        && first.len() <= COPIED
    {
        head.extend_from_slice(first);
        frames.with_head = first.len();
        first.clear();
    }
    let written = if frames.is_taken() {
        Pin::new(&mut *stream).poll_write(cx, head)
    } else {
        let mut slices = [IoSlice::new(&[]); AT_ONCE + 1];
        Pin::new(&mut *stream).poll_write_vectored(cx, frames.slices(head, &mut slices))
    };
    let written = match written {
        Poll::Ready(written) => written?,
        Poll::Pending => 0,
    };
    let of_head = written.min(head.len());
    frames.with_head = frames.with_head.min(head.len() - of_head);
    frames.advance(written - of_head);
    if of_head == head.len() && frames.is_over() && !closes {
        // TLS has what it was given, and may not have written it.
        if let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(cx) {
            return flushed.map(|()| None);
        }
    }
    let head = Bytes::copy_from_slice(head.get(of_head..).unwrap_or_default());
    Ok(Some(Box::new(Sending { head, frames, closes })))
}

impl<B: Counted> Sending<B> {
    /// Writes the rest.
    pub(super) fn poll<S>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>>
    where
        B: WriteTo<S> + Unpin,
        S: AsyncWrite + Unpin,
    {
        loop {
            if self.head.is_empty() && self.frames.is_over() {
                return Pin::new(stream).poll_flush(cx);
            }
            let writes_itself = self.frames.body.writes_itself();
            if writes_itself
                && self.head.is_empty()
                && self.frames.is_taken()
                && let Some(written) = ready!(Pin::new(&mut self.frames.body).poll_write_to(cx, stream))
            {
                let left = self.frames.left.checked_sub(written? as u64);
                self.frames.left = left.ok_or(io::ErrorKind::InvalidData)?;
                continue;
            }
            if self.head.is_empty() || !writes_itself {
                self.frames.gather(cx)?;
            }
            if self.head.is_empty() && self.frames.is_taken() {
                // The body waits, and wakes this connection.
                return Poll::Pending;
            }
            let mut slices = [IoSlice::new(&[]); AT_ONCE + 1];
            let slices = self.frames.slices(&self.head, &mut slices);
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            self.frames.with_head = self.frames.with_head.min(self.head.len());
            self.frames.advance(written - of_head);
        }
    }
}

impl<B: Counted> Drop for Frames<B> {
    fn drop(&mut self) {
        let unsent = self.with_head + self.waiting.iter().map(Bytes::len).sum::<usize>();
        if unsent > 0 {
            self.body.unsent(unsent as u64);
        }
    }
}

impl<B: Counted + Unpin> Frames<B> {
    /// Takes what the body has, when nothing is left of what it had.
    fn gather(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.is_taken() {
            return Ok(());
        }
        let mut taken = 0;
        for place in &mut self.waiting {
            if self.left == 0 || taken >= ENOUGH {
                break;
            }
            while place.is_empty() {
                let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return Ok(()) };
                *place = match frame {
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    Some(Err(_)) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            taken += place.len();
            self.left = self.left.checked_sub(place.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(())
    }

    fn slices<'s>(&'s self, head: &'s [u8], slices: &'s mut [IoSlice<'s>; AT_ONCE + 1]) -> &'s [IoSlice<'s>] {
        let mut count = 0;
        let all = std::iter::once(head).chain(self.waiting.iter().map(|frame| &**frame));
        for (slice, bytes) in slices.iter_mut().zip(all.filter(|bytes| !bytes.is_empty())) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        &slices[..count]
    }

    fn advance(&mut self, mut written: usize) {
        for frame in &mut self.waiting {
            let taken = written.min(frame.len());
            frame.advance(taken);
            written -= taken;
        }
    }

    /// Nothing waits that was taken from the body.
    fn is_taken(&self) -> bool {
        self.waiting.iter().all(Bytes::is_empty)
    }

    fn is_over(&self) -> bool {
        self.left == 0 && self.is_taken()
    }
}
