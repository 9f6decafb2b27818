#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, request};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Counted, HeadText, Reply, Rest, WriteTo, serve};
use crate::http::strict::{Limits, Patience};
use crate::shutdown::Shutdown;

const LIMITS: Limits = Limits { bytes: 2000, target: 1000, fields: 20 };
const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(30) };

thread_local! {
    /// Bytes that bodies of this thread were told did not go out.
    static UNSENT: Cell<u64> = const { Cell::new(0) };
}

/// Frames of a body of `length` bytes; every second time it is asked it has none yet.
#[derive(Debug, Clone)]
struct Pieces {
    frames: VecDeque<Bytes>,
    length: u64,
    is_late: bool,
}

impl Pieces {
    fn new<const N: usize>(frames: [&'static str; N]) -> Self {
        let length = frames.iter().map(|frame| frame.len() as u64).sum();
        Self { frames: frames.into_iter().map(Bytes::from).collect(), length, is_late: false }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_late = !self.is_late;
        if self.is_late {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front().map(|frame| Ok(Frame::data(frame))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

impl Counted for Pieces {
    fn unsent(&mut self, bytes: u64) {
        UNSENT.with(|unsent| unsent.set(unsent.get() + bytes));
    }
}

impl<S> WriteTo<S> for Pieces {}

/// `/known…` is known, `/short` breaks off, `/large` has many frames, `/304` and `/204` have no body, `/last` ends the connection.
#[allow(clippy::needless_pass_by_value, reason = "as services take it")]
fn answer(head: request::Parts, text: &mut HeadText) -> Option<Reply<Pieces>> {
    let reply = |status: StatusCode, pieces| {
        let mut response = Response::new(pieces);
        *response.status_mut() = status;
        response.headers_mut().insert("date", "now".parse().unwrap());
        Some(response)
    };
    let response = match head.uri.path() {
        "/written" => {
            text.status(StatusCode::OK);
            text.field("date", b"then");
            text.number("content-length", 2);
            return Some(Reply::Written(Pieces::new(["ok"])));
        }
        path if path.starts_with("/known") => reply(StatusCode::OK, Pieces::new(["a ", "", "page"])),
        "/short" => reply(StatusCode::OK, Pieces { length: 10, ..Pieces::new(["a page"]) }),
        "/long" => reply(StatusCode::OK, Pieces { length: 3, ..Pieces::new(["a page"]) }),
        "/large" => {
            let frames: VecDeque<Bytes> = (0..40_u8).map(|byte| vec![byte; 10_000].into()).collect();
            reply(StatusCode::OK, Pieces { frames, length: 400_000, is_late: false })
        }
        "/304" => reply(StatusCode::NOT_MODIFIED, Pieces::new(["never sent"])),
        "/last" => reply(StatusCode::FORBIDDEN, Pieces::new(["no"])).map(|mut response| {
            response.headers_mut().insert("connection", "close".parse().unwrap());
            response
        }),
        _ => None,
    };
    response.map(Reply::Response)
}

struct Served {
    client: DuplexStream,
    end: JoinHandle<Option<Rest<DuplexStream>>>,
    shutdown: Shutdown,
}

impl Served {
    fn new(room: usize) -> Self {
        let (client, ours) = tokio::io::duplex(room);
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let leaving = shutdown.clone();
        let end = tokio::spawn(async move { serve(ours, LIMITS, PATIENCE, &leaving, answer).await });
        Self { client, end, shutdown }
    }

    /// What is left when `bytes` were sent at once and nothing after them.
    async fn rest_of(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut served = Self::new(1 << 16);
        served.client.write_all(bytes).await.unwrap();
        served.client.shutdown().await.unwrap();
        served.end.await.unwrap().map(|rest| rest.read)
    }
}

/// All that is answered to `bytes`.
async fn answered(bytes: &[u8], room: usize) -> String {
    let served = Served::new(room);
    let (mut reader, mut writer) = tokio::io::split(served.client);
    let mut all = Vec::new();
    let (sent, read) = tokio::join!(
        async {
            writer.write_all(bytes).await.unwrap();
            writer.shutdown().await
        },
        reader.read_to_end(&mut all)
    );
    sent.unwrap();
    read.unwrap();
    assert!(served.end.await.unwrap().is_none(), "nothing is left");
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn requests_are_answered_in_their_order() {
    let requests = b"GET /known HTTP/1.1\r\nHost: a\r\n\r\nHEAD /known/2 HTTP/1.1\r\nhost:a\r\nConnection: Keep-Alive\r\n\r\nGET /written HTTP/1.1\r\nHost: a\r\n\r\nGET /304 HTTP/1.1\r\nHost: a\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 6\r\n\r\na page\
        HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 6\r\n\r\n\
        HTTP/1.1 200 OK\r\ndate: then\r\ncontent-length: 2\r\n\r\nok\
        HTTP/1.1 304 Not Modified\r\ndate: now\r\n\r\n";
    // However little the client takes at a time.
    for room in [1 << 16, 200] {
        assert_eq!(answered(requests, room).await, expected, "{room}");
    }
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let all = answered(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 3000).await;
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 400000"), "{head}");
    assert!(body.bytes().eq((0..400_000_u32).map(|at| (at / 10_000) as u8)));
}

#[tokio::test]
async fn a_body_of_another_length_ends_the_connection() {
    for target in ["/short", "/long"] {
        let requests =
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\nGET /known HTTP/1.1\r\nHost: a\r\n\r\n");
        let all = answered(requests.as_bytes(), 1 << 16).await;
        let body = all.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(!all.contains("content-length: 6") && body.len() < 10, "{all}");
    }
}

#[tokio::test]
async fn a_response_that_ends_the_connection() {
    let requests = b"GET /last HTTP/1.1\r\nHost: a\r\n\r\nGET /known HTTP/1.1\r\nHost: a\r\n\r\n";
    let expected = "HTTP/1.1 403 Forbidden\r\ndate: now\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
    assert_eq!(answered(requests, 1 << 16).await, expected);
}

#[tokio::test]
async fn a_response_without_a_date_gets_one() {
    let (mut text, mut again) = (HeadText::new(), HeadText::new());
    text.status(StatusCode::OK);
    text.finish();
    let bytes = String::from_utf8(text.bytes_mut().clone()).unwrap();
    let date = bytes.strip_prefix("HTTP/1.1 200 OK\r\ndate: ").and_then(|rest| rest.strip_suffix("\r\n\r\n"));
    httpdate::parse_http_date(date.unwrap()).unwrap();
    again.field("date", b"then");
    again.finish();
    assert_eq!(again.bytes_mut(), b"date: then\r\n\r\n");
}

#[tokio::test]
async fn what_is_not_simple_is_handed_over_as_it_came() {
    let known = "GET /known HTTP/1.1\r\nHost: a\r\n";
    let cases = [
        "POST /known HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        "GET /known HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(),
        "GET /unknown HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET\t/known HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET  /known HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\r\nGET /known HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}".to_owned(),
        known.to_owned(),
        "G".to_owned(),
        format!("{known}Connection: close\r\n\r\n"),
        format!("{known}Connection: keep-alive, x\r\n\r\n"),
        format!("{known}Connection: keep-alive\r\nConnection: x\r\n\r\n"),
        format!("{known}Upgrade: websocket\r\n\r\n"),
        format!("{known}Expect: 100-continue\r\n\r\n"),
        format!("{known}Content-Length: 0\r\n\r\n"),
        format!("{known}Content-Length: 2\r\n\r\nab"),
        format!("{known}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{known}X : a\r\n\r\n"),
        format!("{known} folded\r\n\r\n"),
        format!("{known}X: a\nY: b\r\n\r\n"),
        format!("{known}X: \u{0}\r\n\r\n"),
        format!("{known}X: {}\r\n\r\n", "x".repeat(2000)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "k".repeat(1001)),
    ];
    for case in cases {
        let case = format!("{case}GET /known HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(Served::rest_of(case.as_bytes()).await.as_deref(), Some(case.as_bytes()), "{case:?}");
        // Behind one that is answered too.
        let behind = format!("GET /written HTTP/1.1\r\nHost: a\r\n\r\n{case}");
        assert_eq!(Served::rest_of(behind.as_bytes()).await.as_deref(), Some(case.as_bytes()), "{case:?}");
    }
}

/// tokio gives a task a budget: a timer that is asked when it is used up has not heard of who asks.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_however_much_it_asked_before() {
    for requests in 0..150 {
        let (mut client, ours) = tokio::io::duplex(1 << 16);
        client.write_all(&b"GET /written HTTP/1.1\r\nHost: a\r\n\r\n".repeat(requests)).await.unwrap();
        let end = tokio::spawn(async move {
            serve(ours, LIMITS, PATIENCE, &Shutdown::new(Duration::ZERO), answer).await.is_none()
        });
        let ended = tokio::time::timeout(Duration::from_secs(40), end).await;
        assert!(ended.unwrap_or_else(|_| panic!("open after {requests}")).unwrap());
    }
}

#[tokio::test]
async fn a_body_is_told_what_did_not_go_out() {
    for (target, room, read, expected) in [("/large", 3000, 3000, 397_000), ("/known", 40, 5, 6)] {
        UNSENT.with(|unsent| unsent.set(0));
        let mut served = Served::new(room);
        let head = {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let (mut reader, mut writer) = tokio::io::split(served.client);
            let send = async { writer.write_all(request.as_bytes()).await.unwrap() };
            let mut some = vec![0; read];
            let ((), read) = tokio::join!(send, reader.read_exact(&mut some));
            read.unwrap();
            served.client = reader.unsplit(writer);
            some.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4)
        };
        drop(served.client);
        assert!(served.end.await.unwrap().is_none());
        let unsent = UNSENT.with(Cell::get);
        // What the pipe had taken counts as sent; a frame that was never asked for does not count at all.
        assert!(unsent > 0 && unsent <= expected, "{target}: {unsent} beside a head of {head}");
    }
}

#[tokio::test]
async fn a_length_that_is_not_the_bodys_is_never_sent() {
    let (client, ours) = tokio::io::duplex(1 << 16);
    let (mut reader, mut writer) = tokio::io::split(client);
    let shutdown = Shutdown::new(Duration::ZERO);
    let lies = |_: request::Parts, text: &mut HeadText| {
        text.status(StatusCode::OK);
        text.number("content-length", 3);
        Some(Reply::Written(Pieces::new(["four"])))
    };
    writer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(serve(ours, LIMITS, PATIENCE, &shutdown, lies).await.is_none());
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.unwrap();
    assert!(all.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends() {
    let mut served = Served::new(1 << 16);
    let began = Instant::now();
    assert_eq!(served.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), 10, "for the first request");

    let mut served = Served::new(1 << 16);
    let began = Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        served.client.write_all(b"GET /known HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        served.client.read_exact(&mut [0; 55]).await.unwrap();
    }
    assert_eq!(served.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), 27 + 30, "from the last answer on");
    assert!(served.end.await.unwrap().is_none());
}

#[tokio::test]
async fn a_drain_ends_who_is_idle_and_nobody_else() {
    let mut served = Served::new(1000);
    served.client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    served.client.read_exact(&mut [0; 1]).await.unwrap();
    served.shutdown.drain();
    let mut rest = Vec::new();
    served.client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > 400_000);
    assert!(served.end.await.unwrap().is_none());

    // Before the drain there is a time in which requests are answered with `Connection: close`: that is hyper's.
    let mut served = Served::new(1000);
    served.shutdown.leave();
    let request = b"GET /known HTTP/1.1\r\nHost: a\r\n\r\n";
    served.client.write_all(request).await.unwrap();
    assert_eq!(served.end.await.unwrap().map(|rest| rest.read).as_deref(), Some(&request[..]));

    let mut served = Served::new(1000);
    served.shutdown.drain();
    assert_eq!(served.client.read(&mut [0]).await.unwrap(), 0);
    assert!(served.end.await.unwrap().is_none());
}
