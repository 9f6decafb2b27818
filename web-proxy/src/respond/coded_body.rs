use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::http::coding::Encoder;
use tokio::task::JoinHandle;

use super::BodyError;
use super::body::Source;
use crate::static_files::Coding;

/// A body that is compressed piece by piece, large pieces on a thread that is free to calculate. What its source
/// pauses behind is flushed: a page that comes in pieces is seen in pieces.
#[derive(Debug)]
pub(super) struct CodedBody {
    source: Source,
    state: State,
    /// Something was pushed that may not have come out yet.
    pending: bool,
}

#[derive(Debug)]
enum State {
    Idle(Encoder),
    Coding(JoinHandle<io::Result<(Encoder, Bytes)>>),
    Over,
}

/// What is compressed at once without leaving an async thread: about a fifth of a millisecond.
const AT_ONCE: usize = 8 << 10;
/// Good ratios for text at some tens of megabytes a second.
const GZIP_LEVEL: u32 = 5;
const BROTLI_QUALITY: u32 = 4;
/// A quarter of a MiB: memory for each response that is under way.
const BROTLI_WINDOW: u32 = 18;

impl CodedBody {
    pub(super) fn new(source: Source, coding: Coding) -> Self {
        let encoder = match coding {
            Coding::Brotli => Encoder::brotli(BROTLI_QUALITY, BROTLI_WINDOW),
            // Zstandard is for what was compressed beforehand: no option offers it here.
            Coding::Gzip | Coding::Zstd => Encoder::gzip(GZIP_LEVEL),
        };
        Self { source, state: State::Idle(encoder), pending: false }
    }

    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let mut encoder = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Coding(mut coding) => {
                    let Poll::Ready(coded) = Pin::new(&mut coding).poll(cx) else {
                        self.state = State::Coding(coding);
                        return Poll::Pending;
                    };
                    let (encoder, out) = match coded.map_err(io::Error::other).flatten() {
                        Ok(coded) => coded,
                        Err(error) => return Poll::Ready(Some(Err(error.into()))),
                    };
                    self.state = State::Idle(encoder);
                    if out.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(out)));
                }
                State::Idle(encoder) => encoder,
            };
            let piece = match self.source.poll_piece(cx) {
                Poll::Pending if !self.pending => {
                    self.state = State::Idle(encoder);
                    return Poll::Pending;
                }
                Poll::Pending => {
                    self.pending = false;
                    let flushed = encoder.flush();
                    let out = encoder.take();
                    self.state = State::Idle(encoder);
                    match flushed {
                        Ok(()) if out.is_empty() => return Poll::Pending,
                        Ok(()) => return Poll::Ready(Some(Ok(out))),
                        Err(error) => return Poll::Ready(Some(Err(error.into()))),
                    }
                }
                Poll::Ready(Some(Ok(piece))) => piece,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(Some(encoder.finish().map_err(BodyError::from))),
            };
            self.pending = true;
            if piece.len() <= AT_ONCE {
                if let Err(error) = encoder.push(&piece) {
                    return Poll::Ready(Some(Err(error.into())));
                }
                let out = encoder.take();
                self.state = State::Idle(encoder);
                if !out.is_empty() {
                    return Poll::Ready(Some(Ok(out)));
                }
            } else {
                self.state = State::Coding(tokio::task::spawn_blocking(move || {
                    encoder.push(&piece)?;
                    let out = encoder.take();
                    Ok((encoder, out))
                }));
            }
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}
