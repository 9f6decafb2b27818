#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use super::head::{Kind, Scanner};
use super::*;
use crate::net::Stream;

const LIMITS: Limits = Limits { bytes: 2000, target: 1000, fields: 20 };
const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(30) };

fn scan(kind: Kind, bytes: &[u8]) -> Result<Option<(usize, Framing)>, Violation> {
    let whole = Scanner::new(kind, LIMITS).advance(bytes);
    // The same byte by byte.
    let mut scanner = Scanner::new(kind, LIMITS);
    let mut pieces = Ok(None);
    for end in 1..=bytes.len() {
        pieces = scanner.advance(&bytes[..end]);
        if !matches!(pieces, Ok(None)) {
            break;
        }
    }
    assert_eq!(whole, pieces, "{}", String::from_utf8_lossy(bytes));
    whole
}

/// The framing of a request with these lines between its host and its end.
fn request(fields: &str) -> Result<Framing, Violation> {
    let head = format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let (length, framing) = scan(Kind::Request, head.as_bytes())?.unwrap();
    assert_eq!(length, head.len());
    Ok(framing)
}

fn response(head: &str) -> Result<Framing, Violation> {
    let head = format!("{head}\r\n\r\n");
    Ok(scan(Kind::Response, head.as_bytes())?.unwrap().1)
}

#[test]
fn fields() {
    use Violation::{
        ContentLength, FieldName, FieldValue, Folding, LengthAndCoding, LineEnd, TransferEncoding,
    };
    let cases = [
        ("Content-Length: 5\r\nContent-Length: 5", ContentLength),
        ("Content-Length: 5\r\ncontent-length: 6", ContentLength),
        ("Content-Length: 5, 5", ContentLength),
        ("Content-Length: +5", ContentLength),
        ("Content-Length: -5", ContentLength),
        ("Content-Length: 0x5", ContentLength),
        ("Content-Length: 5 5", ContentLength),
        ("Content-Length: 5;", ContentLength),
        ("Content-Length: \"5\"", ContentLength),
        ("Content-Length: 1e3", ContentLength),
        ("Content-Length: ", ContentLength),
        ("Content-Length: 9223372036854775808", ContentLength),
        ("Content-Length: 18446744073709551621", ContentLength),
        ("Content-Length: \u{665}", ContentLength),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", LengthAndCoding),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndCoding),
        ("Transfer-Encoding: identity", TransferEncoding),
        ("Transfer-Encoding: chunked, identity", TransferEncoding),
        ("Transfer-Encoding: identity, chunked", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", TransferEncoding),
        ("Transfer-Encoding: chunked, chunked", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", TransferEncoding),
        ("Transfer-Encoding: xchunked", TransferEncoding),
        ("Transfer-Encoding: chunkedx", TransferEncoding),
        ("Transfer-Encoding: \"chunked\"", TransferEncoding),
        ("Transfer-Encoding: 'chunked'", TransferEncoding),
        ("Transfer-Encoding: chunked;q=1", TransferEncoding),
        ("Transfer-Encoding: chunked,", TransferEncoding),
        ("Transfer-Encoding: ,chunked", TransferEncoding),
        ("Transfer-Encoding:", TransferEncoding),
        ("Transfer-Encoding: ch\u{212a}ned", TransferEncoding),
        ("Transfer-Encoding : chunked", FieldName),
        ("Transfer-Encoding\t: chunked", FieldName),
        ("Transfer-Encoding\x0b: chunked", FieldName),
        ("Transfer-Encoding\0: chunked", FieldName),
        ("Transfer\x7fEncoding: chunked", FieldName),
        ("Transfer-Encoding:\x0bchunked", FieldValue),
        ("Transfer-Encoding: chunked\x0c", FieldValue),
        ("X: a\0b", FieldValue),
        ("X: a\x7f", FieldValue),
        ("X: a\x1b[2J", FieldValue),
        ("X: a\rTransfer-Encoding: chunked", LineEnd),
        ("X: a\nTransfer-Encoding: chunked", LineEnd),
        ("X: a\r\r\nY: b", LineEnd),
        ("X: a\n\r\n", LineEnd),
        ("X: a\r\n b", Folding),
        ("X: a\r\n\tTransfer-Encoding: chunked", Folding),
        (" X: a", Folding),
        (": a", FieldName),
        ("X", FieldName),
        ("X;a: b", FieldName),
        ("\u{fc}: b", FieldName),
    ];
    for (fields, violation) in cases {
        assert_eq!(request(fields), Err(violation), "{fields:?}");
    }
    let plain = Framing { is_http_11: true, ..Framing::default() };
    let upgrade = Framing { wants_upgrade: true, ..plain };
    let cases = [
        ("X: a", plain),
        ("X:", plain),
        ("X: \t a\tb \t", plain),
        ("X: \u{fc}", plain),
        ("Content-Length: 0", Framing { length: Some(0), ..plain }),
        ("Content-Length: \t00005 ", Framing { length: Some(5), ..plain }),
        ("Content-Length: 9223372036854775807", Framing { length: Some(9_223_372_036_854_775_807), ..plain }),
        ("transfer-encoding:\tCHUNKED ", Framing { is_chunked: true, ..plain }),
        ("Upgrade: websocket\r\nConnection: keep-alive, Upgrade", upgrade),
        ("Connection: upgrade\r\nConnection: keep-alive\r\nUpgrade: x", upgrade),
        ("Upgrade: websocket", plain),
        ("Connection: upgrade", plain),
    ];
    for (fields, framing) in cases {
        assert_eq!(request(fields), Ok(framing), "{fields:?}");
    }
}

#[test]
fn request_lines() {
    use Violation::{RequestLine, Target, Version};
    let cases: [(&[u8], Violation); 24] = [
        (b"GET  / HTTP/1.1", Target),
        (b"GET /  HTTP/1.1", Target),
        (b" GET / HTTP/1.1", RequestLine),
        (b"GET / HTTP/1.1 ", RequestLine),
        (b"GET\t/ HTTP/1.1", RequestLine),
        (b"GET /\tHTTP/1.1", RequestLine),
        (b"GET /a b HTTP/1.1", Target),
        (b"GET /", RequestLine),
        (b"GET", RequestLine),
        (b"GET HTTP/1.1", RequestLine),
        (b"GET  HTTP/1.1", RequestLine),
        (b"G(T / HTTP/1.1", RequestLine),
        (b"G\x80T / HTTP/1.1", RequestLine),
        (b"GET / http/1.1", RequestLine),
        (b"GET / HTTP/1.2", Version),
        (b"GET / HTTP/2.0", Version),
        (b"GET / HTTP/01.1", Version),
        (b"GET / HTTP/1.10", Version),
        (b"PRI * HTTP/2.0", Version),
        (b"GET /a#b HTTP/1.1", Target),
        (b"GET /<script> HTTP/1.1", Target),
        (b"GET /?\"x\" HTTP/1.1", Target),
        (b"GET /\xff HTTP/1.1", Target),
        (b"GET /a\x7f HTTP/1.1", Target),
    ];
    for (line, violation) in cases {
        let head = [line, b"\r\n\r\n"].concat();
        assert_eq!(scan(Kind::Request, &head), Err(violation), "{:?}", String::from_utf8_lossy(line));
    }
    for line in
        ["GET / HTTP/1.0", "M-SEARCH * HTTP/1.1", "GET http://a/ HTTP/1.1", "GET /\u{fc}?|{}^`[] HTTP/1.1"]
    {
        let head = format!("\r\n\r\n{line}\r\n\r\n");
        assert_eq!(scan(Kind::Request, head.as_bytes()).unwrap().unwrap().0, head.len(), "{line}");
    }
    // Another protocol never comes to the end of a line.
    assert_eq!(scan(Kind::Request, b"\x16\x03\x01\x02\x00\x01"), Err(RequestLine), "TLS");
    assert_eq!(scan(Kind::Request, b"GET / HTTP/1.1\nHost: a\n\n"), Err(Violation::LineEnd));
    let coded = b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(scan(Kind::Request, coded), Err(Violation::TransferEncoding), "HTTP/1.0 has none");
}

#[test]
fn sizes() {
    let long = |target: usize, value: usize, fields: usize| {
        let fields = "X-More: 1\r\n".repeat(fields - 1);
        let (target, value) = ("a".repeat(target - 1), "v".repeat(value));
        let head = format!("GET /{target} HTTP/1.1\r\nX: {value}\r\n{fields}\r\n");
        scan(Kind::Request, head.as_bytes()).map(|found| found.is_some())
    };
    assert_eq!(long(1000, 900, 1), Ok(true));
    assert_eq!(long(1001, 1, 1), Err(Violation::TargetTooLong));
    assert_eq!(long(3000, 1, 1), Err(Violation::TargetTooLong));
    assert_eq!(long(1, 2000, 1), Err(Violation::HeadTooLong));
    assert_eq!(long(1, 1, 20), Ok(true));
    assert_eq!(long(1, 1, 21), Err(Violation::TooManyFields));
    let endless = [b"GET /", "a".repeat(2000).as_bytes()].concat();
    assert_eq!(scan(Kind::Request, &endless), Err(Violation::TargetTooLong));
    assert_eq!(scan(Kind::Request, "\r\n".repeat(1001).as_bytes()), Err(Violation::TargetTooLong));
}

#[test]
fn responses() {
    use Violation::{ContentLength, LengthAndCoding, LineEnd, StatusLine, TransferEncoding, Version};
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6", ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1", ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", LengthAndCoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", TransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", TransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked", TransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity", TransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: 1234\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: 1234\r\nContent-Length: 5", LengthAndCoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b", LineEnd),
        ("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b", LineEnd),
        ("HTTP/1.1 200 OK\nX: a", LineEnd),
        ("HTTP/1.1 200 OK\r\nX: a\0", Violation::FieldValue),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b", Violation::Folding),
        ("HTTP/1.1 200 OK\r\nX : a", Violation::FieldName),
        ("HTTP/1.1  200 OK", StatusLine),
        ("HTTP/1.1 20 OK", StatusLine),
        ("HTTP/1.1 2000 OK", StatusLine),
        ("HTTP/1.1 +20 OK", StatusLine),
        ("HTTP/1.1 200 O\x08K", StatusLine),
        ("HTTP/1.1", StatusLine),
        ("\r\nHTTP/1.1 200 OK", StatusLine),
        ("ICY 200 OK", StatusLine),
        ("HTTP/2 200 OK", Version),
    ];
    for (head, violation) in cases {
        assert_eq!(response(head), Err(violation), "{head:?}");
    }
    let plain = Framing { is_http_11: true, status: 200, ..Framing::default() };
    let cases = [
        ("HTTP/1.1 200 OK", plain),
        ("HTTP/1.1 200 ", plain),
        ("HTTP/1.1 200", plain),
        ("HTTP/1.0 404 Not \u{fc}", Framing { is_http_11: false, status: 404, ..plain }),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Framing { length: Some(5), ..plain }),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5 , 5", Framing { length: Some(5), ..plain }),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Framing { is_chunked: true, ..plain }),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: 1234", plain),
    ];
    for (head, framing) in cases {
        assert_eq!(response(head), Ok(framing), "{head:?}");
    }
}

#[test]
fn chunked_bodies() {
    use Violation::{ChunkEnd, ChunkExtension, ChunkSize, LineEnd, Trailer};
    let run = |bytes: &[u8]| {
        let mut whole = chunks::Chunks::default();
        let (at, result) = whole.advance(bytes);
        let mut pieces = chunks::Chunks::default();
        let mut used = 0;
        let mut end = Ok(());
        for byte in bytes {
            let (taken, result) = pieces.advance(std::slice::from_ref(byte));
            used += taken;
            end = result;
            if end.is_err() || taken == 0 {
                break;
            }
        }
        assert_eq!((at, result), (used, end), "{}", String::from_utf8_lossy(bytes));
        result.map(|()| (at, whole.is_done()))
    };
    let good: [&[u8]; 8] = [
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"00a\r\n0123456789\r\n00\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"1;a=b;c=\"d e\"\r\nx\r\n0;x\r\n\r\n",
        b"1 ; a\r\nx\r\n0\r\n\r\n",
        b"1\r\nx\r\n0\r\nA: 1\r\nB:\r\n\r\n",
        b"2\r\n\r\n\r\n0\r\n\r\n",
    ];
    for bytes in good {
        let followed = [bytes, b"GET /"].concat();
        assert_eq!(run(&followed), Ok((bytes.len(), true)), "{}", String::from_utf8_lossy(bytes));
        for cut in 0..bytes.len() {
            assert_eq!(run(&bytes[..cut]), Ok((cut, false)), "cut at {cut}");
        }
    }
    let bad: [(&[u8], Violation); 24] = [
        (b"\r\n", ChunkSize),
        (b"x\r\n", ChunkSize),
        (b"-1\r\n", ChunkSize),
        (b"+1\r\n", ChunkSize),
        (b"0x5\r\nhello\r\n", ChunkSize),
        (b" 5\r\n", ChunkSize),
        (b"5 \r\n", ChunkSize),
        (b"5 5\r\n", ChunkSize),
        (b"5,5\r\n", ChunkSize),
        (b"5\n", ChunkSize),
        (b"5\0\r\n", ChunkSize),
        (b"5\r5", LineEnd),
        (b"ffffffffffffffff\r\n", ChunkSize),
        (b"10000000000000005\r\n", ChunkSize),
        (b"00000000000000005\r\n", ChunkSize),
        (b"5;a\n", ChunkExtension),
        (b"5;a\rb\r\n", LineEnd),
        (b"5;a\0\r\n", ChunkExtension),
        (b"5\r\nhello0\r\n", ChunkEnd),
        (b"5\r\nhello\n", ChunkEnd),
        (b"5\r\nhello\rx", ChunkEnd),
        (b"0\r\nA b: c\r\n", Trailer),
        (b"0\r\nA: b\n", Trailer),
        (b"0\r\n: b\r\n", Trailer),
    ];
    for (bytes, violation) in bad {
        assert_eq!(run(bytes), Err(violation), "{}", String::from_utf8_lossy(bytes));
    }
    let long = [b"1;", "a".repeat(5000).as_bytes()].concat();
    assert_eq!(run(&long), Err(ChunkExtension));
    let long = [b"0\r\nA: ", "a".repeat(9000).as_bytes()].concat();
    assert_eq!(run(&long), Err(Trailer));
}

#[tokio::test]
async fn a_stream_of_requests() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let first = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let second = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
    let third = "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let bad = "GET /4 HTTP/1.1\nHost: a\r\n\r\nGET /5 HTTP/1.1\r\nHost: a\r\n\r\n";
    let all = [first, second, third, bad].concat();
    let good = all.len() - bad.len();
    for piece in [1, 7, 50, 1000] {
        for room in [1, 13, 4096] {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            let (mut requests, arrivals) = StrictRequests::new(ours, LIMITS, PATIENCE);
            let sent = all.clone();
            let writer = tokio::spawn(async move {
                for piece in sent.as_bytes().chunks(piece) {
                    theirs.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                theirs
            });
            let mut read = Vec::new();
            let mut buffer = vec![0; room];
            while !read.ends_with(b"Connection: close\r\n\r\n") {
                let length = requests.read(&mut buffer).await.unwrap();
                assert_ne!(length, 0, "an end where there is none");
                read.extend_from_slice(&buffer[..length]);
            }
            assert_eq!(String::from_utf8_lossy(&read[..good]), all[..good], "{piece} {room}");
            assert_eq!(&read[good..], b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
            let violations = [(); 4].map(|()| arrivals.next().violation);
            assert_eq!(violations, [None, None, None, Some(Violation::LineEnd)]);
            drop(writer.await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_broken_body_is_an_error_behind_what_is_whole() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let (mut requests, arrivals) = StrictRequests::new(ours, LIMITS, PATIENCE);
    let good = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    theirs.write_all(format!("{good}-1\r\n").as_bytes()).await.unwrap();
    let mut buffer = vec![0; good.len()];
    requests.read_exact(&mut buffer).await.unwrap();
    assert_eq!(buffer, good.as_bytes());
    let error = requests.read(&mut buffer).await.unwrap_err();
    assert_eq!(error.to_string(), Violation::ChunkSize.to_string());
    assert_eq!(arrivals.next().violation, None);
}

#[tokio::test]
async fn what_follows_an_upgrade_waits_for_its_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let asks = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    for (switched, follows) in [(true, "\0not HTTP\n"), (false, "GET /2 HTTP/1.1\r\n\r\n")] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let (mut requests, arrivals) = StrictRequests::new(ours, LIMITS, PATIENCE);
        theirs.write_all(format!("{asks}{follows}").as_bytes()).await.unwrap();
        let mut buffer = vec![0; asks.len()];
        requests.read_exact(&mut buffer).await.unwrap();
        let mut rest = vec![0; follows.len()];
        let early = futures_util::future::poll_immediate(requests.read(&mut rest)).await;
        assert!(early.is_none(), "nothing before the answer");
        arrivals.answered(arrivals.next(), switched);
        requests.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, follows.as_bytes());
    }
}

#[tokio::test]
async fn a_stream_of_responses() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for room in [1, 4096] {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let (mut responses, exchanges) = StrictResponses::new(Stream::Unix(ours), LIMITS);
        let whole =
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\nbody\n";
        // What is unasked is shown at once.
        theirs.write_all(b"\n").await.unwrap();
        assert_eq!(responses.read_u8().await.unwrap(), b'\n');
        for answer in
            [whole, whole, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"]
        {
            exchanges.begin();
            responses.write_all(b"GET").await.unwrap();
            theirs.write_all(answer.as_bytes()).await.unwrap();
            let mut all = Vec::new();
            let mut buffer = vec![0; room];
            let end = loop {
                match responses.read(&mut buffer).await {
                    Ok(read) => all.extend_from_slice(&buffer[..read]),
                    Err(error) => break error.to_string(),
                }
                if all.len() == answer.len() {
                    break String::from_utf8(all).unwrap();
                }
            };
            let expected =
                if answer == whole { whole.to_owned() } else { Violation::LengthAndCoding.to_string() };
            assert_eq!(end, expected);
        }
    }
}

#[tokio::test]
async fn what_came_before_a_request_is_no_response_to_it() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for is_end in [false, true] {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let (mut responses, exchanges) = StrictResponses::new(Stream::Unix(ours), LIMITS);
        let mut buffer = [0; 64];
        exchanges.begin();
        responses.write_all(b"GET").await.unwrap();
        theirs.write_all(b"HTTP/1.1 204 \r\n\r\n").await.unwrap();
        responses.read_exact(&mut buffer[..17]).await.unwrap();
        // Its reader has found nothing more, and the runtime has no time to notice what comes now.
        assert!(futures_util::future::poll_immediate(responses.read(&mut buffer)).await.is_none());
        if is_end {
            drop(theirs);
        } else {
            theirs.write_all(b"HTTP/1.1 200 \r\n\r\n").await.unwrap();
        }
        exchanges.begin();
        let read = futures_util::future::poll_immediate(responses.read(&mut buffer)).await.unwrap();
        assert_eq!(read.unwrap_err().to_string(), Violation::Unasked.to_string());
    }
}
