use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use http::request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::send::{self, Sending};
use super::{Counted, HeadText, Reply, Rest, WriteTo, head};
use crate::http::strict::{Limits, Patience};
use crate::shutdown::Shutdown;

/// A client's connection, until it is over or somebody else's.
#[derive(Debug)]
pub(super) struct Connection<S, A, B: Counted> {
    stream: Option<S>,
    exchange: Exchange<A, B>,
}

/// One request after the other.
#[derive(Debug)]
struct Exchange<A, B: Counted> {
    limits: Limits,
    answer: A,
    /// Read with a request that is answered, and from where on it was not looked at.
    behind: Vec<u8>,
    at: usize,
    sending: Option<Box<Sending<B>>>,
    idle: Idle,
    shutdown: Shutdown,
    is_closing: bool,
}

/// What a connection waits for beside its client.
#[derive(Debug)]
struct Idle {
    patience: Patience,
    /// Made when it is first waited for, and not set anew for each request: when it goes off too early, it is set again.
    timer: Option<Pin<Box<Sleep>>>,
    drain: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// When it is to end.
    deadline: Option<Instant>,
    has_begun: bool,
    /// Whom the timer and the drain will wake. They need not be asked again for the same.
    waker: Option<Waker>,
}

/// Bytes that are read at once; a longer head is hyper's.
const AT_ONCE: usize = 16 << 10;

thread_local! {
    /// Where this thread reads: a connection that waits has no buffer.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; AT_ONCE].into_boxed_slice());
    /// Where this thread writes its heads.
    static HEAD: RefCell<HeadText> = const { RefCell::new(HeadText::new()) };
}

/// What becomes of bytes that were read.
enum Step {
    /// So many of them.
    Answered(usize),
    HandOver,
}

impl<S, A, B> Connection<S, A, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: FnMut(request::Parts, &mut HeadText) -> Option<Reply<B>>,
    B: WriteTo<S> + Unpin,
{
    pub(super) fn new(stream: S, limits: Limits, patience: Patience, shutdown: &Shutdown, answer: A) -> Self {
        let idle = Idle { patience, timer: None, drain: None, deadline: None, has_begun: false, waker: None };
        let shutdown = shutdown.clone();
        let exchange = Exchange {
            limits,
            answer,
            behind: Vec::new(),
            at: 0,
            sending: None,
            idle,
            shutdown,
            is_closing: false,
        };
        Self { stream: Some(stream), exchange }
    }
}

impl<A, B> Exchange<A, B>
where
    A: FnMut(request::Parts, &mut HeadText) -> Option<Reply<B>>,
    B: Counted,
{
    /// Answers the request that `bytes` begin with.
    fn step<S>(&mut self, cx: &mut Context<'_>, stream: &mut S, bytes: &[u8]) -> io::Result<Step>
    where
        S: AsyncWrite + Unpin,
        B: WriteTo<S> + Unpin,
    {
        // A drain has begun: hyper says `Connection: close`.
        if !self.shutdown.is_ready() {
            return Ok(Step::HandOver);
        }
        let Some((head, length)) = head::read(bytes, self.limits) else { return Ok(Step::HandOver) };
        HEAD.with_borrow_mut(|text| {
            text.clear();
            let method = head.method.clone();
            let Some(reply) = (self.answer)(head, text) else { return Ok(Step::HandOver) };
            self.idle.over();
            self.sending = send::begin(cx, stream, &method, reply, text)?;
            Ok(Step::Answered(length))
        })
    }

    /// Answers until the connection is to be closed, or what it returns is somebody else's.
    fn poll<S>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<Option<Vec<u8>>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        B: WriteTo<S> + Unpin,
    {
        loop {
            if self.is_closing {
                return Pin::new(stream).poll_shutdown(cx).map_ok(|()| None);
            }
            if let Some(sending) = &mut self.sending {
                ready!(sending.poll(cx, stream))?;
                self.is_closing = sending.closes;
                self.sending = None;
                continue;
            }
            if !self.behind.is_empty() {
                let mut behind = std::mem::take(&mut self.behind);
                match self.step(cx, stream, behind.get(self.at..).unwrap_or_default())? {
                    Step::Answered(length) => self.at += length,
                    Step::HandOver => return Poll::Ready(Ok(Some(behind.split_off(self.at)))),
                }
                if self.at < behind.len() {
                    self.behind = behind;
                }
                continue;
            }
            let read = READ.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
                let bytes = buffer.filled();
                if bytes.is_empty() {
                    self.is_closing = true;
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(match self.step(cx, stream, bytes)? {
                    Step::Answered(length) => {
                        self.behind = bytes.get(length..).unwrap_or_default().to_vec();
                        self.at = 0;
                        None
                    }
                    Step::HandOver => Some(bytes.to_vec()),
                }))
            });
            match read {
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(read) => return Poll::Ready(read),
                // Nobody has looked whether something has come: it is this task's turn again soon.
                Poll::Pending if !has_budget_remaining() => return Poll::Pending,
                Poll::Pending => {
                    ready!(self.idle.poll(cx, &self.shutdown));
                    self.is_closing = true;
                }
            }
        }
    }
}

impl<S, A, B> Future for Connection<S, A, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: FnMut(request::Parts, &mut HeadText) -> Option<Reply<B>> + Unpin,
    B: WriteTo<S> + Unpin,
{
    type Output = Option<Rest<S>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Rest<S>>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        let read = match ready!(this.exchange.poll(cx, stream)) {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(%error, "connection");
                None
            }
        };
        let stream = this.stream.take();
        Poll::Ready(read.and_then(|read| Some(Rest { stream: stream?, read })))
    }
}

impl Idle {
    /// An answer is on its way: the time begins anew when it is written.
    fn over(&mut self) {
        self.deadline = None;
        self.has_begun = true;
    }

    /// Ready when nobody is waited for any more.
    fn poll(&mut self, cx: &mut Context<'_>, shutdown: &Shutdown) -> Poll<()> {
        let patience = if self.has_begun { self.patience.idle } else { self.patience.head };
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + patience);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
            self.waker = None;
        }
        self.waker.take_if(|waker| !waker.will_wake(cx.waker()));
        if self.waker.is_some() && !timer.is_elapsed() && shutdown.is_ready() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
            self.waker = None;
        }
        let drain = self.drain.get_or_insert_with(|| Box::pin(shutdown.draining_owned()));
        if drain.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // A timer that is asked without budget has not heard of us, and has this asked again.
        if self.waker.is_none() && has_budget_remaining() {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
