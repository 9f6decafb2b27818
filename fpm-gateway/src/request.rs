//! A request as the web server sent it, and what it may not say.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use common::fastcgi::Params;

use crate::server::Replies;

/// One request on its way through.
#[derive(Debug)]
pub struct Inbound {
    pub params: Params,
    pub body: Body,
    pub replies: Replies,
}

/// The request's body as it comes in; what waits here is counted in the [`Backlog`] of its connection.
#[derive(Debug)]
pub struct Body {
    /// Some of it is gone.
    taken: bool,
    pipe: Arc<Mutex<Pipe>>,
    backlog: Arc<Backlog>,
}

/// Where the connection puts a body. Dropping it ends the body.
#[derive(Debug)]
pub(crate) struct BodySender {
    pipe: Arc<Mutex<Pipe>>,
    backlog: Arc<Backlog>,
}

/// What is between them. Most bodies are empty: an end is all that comes.
#[derive(Debug, Default)]
struct Pipe {
    pieces: VecDeque<Bytes>,
    ended: bool,
    refused: bool,
    waiting: Option<Waker>,
}

/// Body on one connection that its requests have not taken yet. While it has room the connection is read,
/// so that an abort, an end of file and what belongs to others are heard behind a body that waits.
#[derive(Debug, Default)]
pub(crate) struct Backlog(AtomicUsize);

/// Bytes of body that may wait on one connection.
const BACKLOG: usize = 128 << 10;
/// What a piece counts for at least: a tiny one keeps its record's header and padding in memory too.
const PIECE: usize = 512;

impl Body {
    pub(crate) fn channel(backlog: &Arc<Backlog>) -> (BodySender, Self) {
        let pipe = Arc::<Mutex<Pipe>>::default();
        let sender = BodySender { pipe: Arc::clone(&pipe), backlog: Arc::clone(backlog) };
        (sender, Self { taken: false, pipe, backlog: Arc::clone(backlog) })
    }

    /// The next piece; `None` when the body is complete. A body that breaks off does not end: its
    /// request is given up instead.
    pub async fn next(&mut self) -> Option<Bytes> {
        let piece = poll_fn(|cx| {
            let mut pipe = lock(&self.pipe);
            match pipe.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(piece)),
                None if pipe.ended || pipe.refused => Poll::Ready(None),
                None => {
                    pipe.waiting = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await?;
        self.backlog.remove(&piece);
        self.taken = true;
        Some(piece)
    }

    /// Nothing was taken from it: it could be sent again.
    pub const fn is_untouched(&self) -> bool {
        !self.taken
    }

    /// Nobody wants the rest, neither what is here nor what comes.
    pub fn refuse(&mut self) {
        let mut pipe = lock(&self.pipe);
        pipe.refused = true;
        pipe.pieces.drain(..).for_each(|piece| self.backlog.remove(&piece));
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.refuse();
    }
}

impl BodySender {
    /// A piece that nobody wants is dropped.
    pub(crate) fn send(&self, piece: Bytes) {
        let mut pipe = lock(&self.pipe);
        if pipe.refused {
            return;
        }
        self.backlog.0.fetch_add(cost(&piece), Ordering::Relaxed);
        pipe.pieces.push_back(piece);
        wake(pipe);
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        pipe.ended = true;
        wake(pipe);
    }
}

/// A waker may run other code: not under the lock.
fn wake(mut pipe: MutexGuard<'_, Pipe>) {
    let waiting = pipe.waiting.take();
    drop(pipe);
    if let Some(waiting) = waiting {
        waiting.wake();
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    // Nothing panics while it is held.
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backlog {
    pub(crate) fn has_room(&self) -> bool {
        self.0.load(Ordering::Relaxed) < BACKLOG
    }

    fn remove(&self, piece: &Bytes) {
        self.0.fetch_sub(cost(piece), Ordering::Relaxed);
    }
}

fn cost(piece: &Bytes) -> usize {
    piece.len().max(PIECE)
}

/// Parameters that steer PHP and that only we may set. A client's headers cannot be among them, since
/// they arrive as `HTTP_…`; a web server that is led to send one is what this is against.
const RESERVED: [&[u8]; 6] = [
    // php.ini settings for one request: `auto_prepend_file` runs any code.
    b"PHP_VALUE",
    b"PHP_ADMIN_VALUE",
    // Read instead of STDIN.
    b"REQUEST_BODY_FILE",
    b"GALERA_WRITER",
    b"GALERA_READERS",
    b"MEMCACHED_SERVERS",
];

/// Removes what may not come from outside.
pub fn strip_reserved(params: &mut Params) {
    params.retain(|name, _| !is_reserved(name));
}

/// PHP makes a name in `$_SERVER` of what comes: leading spaces go, it ends at a NUL and at an index in
/// brackets, and what cannot be in a name becomes `_` (`php_register_variable_ex`). All that it could take
/// for a reserved name is one.
fn is_reserved(name: &[u8]) -> bool {
    let name = name.trim_ascii_start().split(|byte| *byte == 0).next().unwrap_or_default();
    let array = name.split(|byte| *byte == b'[').next().unwrap_or_default();
    let same = |name: &[u8], reserved: &[u8]| {
        let as_php = |byte: &u8| if matches!(byte, b' ' | b'.' | b'[') { b'_' } else { *byte };
        name.iter().map(as_php).eq(reserved.iter().copied())
    };
    RESERVED.iter().any(|reserved| same(name, reserved) || same(array, reserved))
}

/// Whether a second run would do no harm: idempotent methods (RFC 9110, section 9.2.2) without a body.
pub fn is_repeatable(params: &Params) -> bool {
    let value = |name: &str| params.get(name).map(|value| &**value).unwrap_or_default();
    matches!(value("REQUEST_METHOD"), b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
        && matches!(value("CONTENT_LENGTH"), b"" | b"0")
}

/// Names the request in a log line: its method and URI, without the query.
pub fn name(params: &Params) -> String {
    let text = |name: &str| params.get(name).map(|value| String::from_utf8_lossy(value)).unwrap_or_default();
    let uri = text("REQUEST_URI");
    format!("{} {}", text("REQUEST_METHOD"), uri.split('?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_body_that_waits_is_counted_until_it_is_taken_or_refused() {
        let backlog = Arc::default();
        let full = |pieces: usize| {
            let (sender, body) = Body::channel(&backlog);
            (0..pieces).for_each(|_| sender.send(Bytes::from_static(b"x")));
            (sender, body)
        };
        let (sender, mut body) = full(BACKLOG / PIECE);
        assert!(!backlog.has_room(), "tiny pieces count");
        assert_eq!(body.next().now_or_never(), Some(Some(Bytes::from_static(b"x"))));
        assert!(backlog.has_room());
        body.refuse();
        assert_eq!(backlog.0.load(Ordering::Relaxed), 0);
        sender.send(Bytes::from(vec![0; BACKLOG]));
        assert!(backlog.has_room(), "refused");
        drop(full(BACKLOG / PIECE).1);
        assert_eq!(backlog.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn reserved_parameters_go() {
        let mut params: Params = [
            ("SCRIPT_NAME", "/index.php"),
            ("PHP_VALUE", "auto_prepend_file=/tmp/x"),
            ("PHP_ADMIN_VALUE", "x"),
            ("HTTP_PHP_VALUE", "harmless"),
            ("REQUEST_BODY_FILE", "/etc/passwd"),
            ("GALERA_WRITER", "evil:3306"),
            ("GALERA_READERS", "evil:3306"),
            ("MEMCACHED_SERVERS", "evil:11211"),
            ("PHP_VALUE", "again"),
            (" GALERA.WRITER", "x"),
            ("GALERA_READERS[0]", "x"),
            ("MEMCACHED[SERVERS", "x"),
            ("GALERA WRITER\0", "x"),
            ("GALERA_WRITERS", "harmless"),
            ("", "harmless"),
        ]
        .into_iter()
        .collect();
        strip_reserved(&mut params);
        let names: Vec<&[u8]> = params.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, [&b"SCRIPT_NAME"[..], b"HTTP_PHP_VALUE", b"GALERA_WRITERS", b""]);
    }

    #[test]
    fn names_have_no_query() {
        let params: Params =
            [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/a?token=secret")].into_iter().collect();
        assert_eq!(name(&params), "GET /a");
    }
}
