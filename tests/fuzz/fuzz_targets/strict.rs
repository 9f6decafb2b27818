//! What the strict reading of HTTP/1.1 holds to be true of any bytes: it accepts only what httparse accepts, which
//! is what hyper reads with, and then both see the same message. And it means the same however the bytes come.

use common::http::direct::head;
use common::http::strict::head::{Kind, Scanner};
use common::http::strict::messages::Messages;
use common::http::strict::{Framing, Limits};

const LIMITS: Limits = Limits { bytes: 4096, target: 2048, fields: 32 };

pub(crate) fn request(data: &[u8]) {
    let Some((length, framing)) = scan(Kind::Request, data) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(data), Ok(httparse::Status::Complete(length)), "httparse reads it otherwise");
    assert_eq!(framing.is_http_11, request.version == Some(1));
    let target = request.path.expect("a whole request");
    assert!(!target.contains([' ', '#', '\r', '\n', '\0']) && !target.is_empty());
    agrees(framing, request.headers);
    assert_eq!(all(request.headers, "content-length").len(), usize::from(framing.length.is_some()));
    let upgrade =
        !all(request.headers, "upgrade").is_empty() && lists(request.headers, "connection", "upgrade");
    assert_eq!(framing.wants_upgrade, framing.is_http_11 && upgrade);
    if let Some((head, read)) = head::read(data, LIMITS) {
        assert_eq!(read, length);
        answered_at_once(framing, &request, &head);
    }
}

/// What is answered without hyper was read as hyper would have read it, and says nothing of its body or its connection.
fn answered_at_once(framing: Framing, request: &httparse::Request<'_, '_>, head: &http::request::Parts) {
    assert_eq!(framing, Framing { is_http_11: true, ..Framing::default() });
    assert_eq!(request.method, Some(head.method.as_str()));
    assert_eq!(request.path.and_then(|path| path.parse().ok()).as_ref(), Some(&head.uri));
    let mut expected = http::HeaderMap::new();
    for field in request.headers.iter() {
        let name: http::HeaderName = field.name.parse().expect("a name");
        let is_harmless = match name.as_str() {
            "connection" => field.value.eq_ignore_ascii_case(b"keep-alive"),
            "content-length" | "transfer-encoding" | "upgrade" | "expect" => false,
            _ => true,
        };
        assert!(is_harmless, "{name}");
        expected.append(name, http::HeaderValue::from_bytes(field.value).expect("a value"));
    }
    assert_eq!(head.headers, expected);
}

pub(crate) fn response(data: &[u8]) {
    let Some((length, framing)) = scan(Kind::Response, data) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    assert_eq!(response.parse(data), Ok(httparse::Status::Complete(length)), "httparse reads it otherwise");
    assert_eq!(framing.is_http_11, response.version == Some(1));
    assert_eq!(Some(framing.status), response.code);
    agrees(framing, response.headers);
}

/// A connection's bytes are taken for the same requests in one piece and byte by byte.
pub(crate) fn stream(data: &[u8]) {
    // Which violation is found first may depend on how much is there; that there is one does not.
    let run = |width: usize| -> (usize, u64, bool) {
        let mut messages = Messages::new(LIMITS);
        let (mut given, mut end) = (0, 0);
        while end < data.len() {
            end = data.len().min(end.saturating_add(width));
            let (good, result) = messages.advance(&data[given..end]);
            given += good;
            if result.is_err() {
                return (given, messages.heads(), false);
            }
            if messages.is_undecided() {
                messages.decide(false);
                let (good, result) = messages.advance(&data[given..end]);
                given += good;
                if result.is_err() {
                    return (given, messages.heads(), false);
                }
            }
        }
        (given, messages.heads(), true)
    };
    let bytewise = run(1);
    // In one piece a decision is asked for more than once.
    if !data.to_ascii_lowercase().windows(7).any(|window| window == b"upgrade") {
        assert_eq!(run(usize::MAX), bytewise);
    }
    assert!(bytewise.0 <= data.len());
}

fn scan(kind: Kind, data: &[u8]) -> Option<(usize, Framing)> {
    let whole = Scanner::new(kind, LIMITS).advance(data);
    let mut scanner = Scanner::new(kind, LIMITS);
    let bytewise = (1..=data.len()).map(|end| scanner.advance(&data[..end])).find(|found| *found != Ok(None));
    assert_eq!(whole.ok().flatten(), bytewise.unwrap_or(Ok(None)).ok().flatten());
    whole.ok().flatten()
}

/// The framing is what the fields say, read by somebody else.
fn agrees(framing: Framing, fields: &[httparse::Header<'_>]) {
    let codings = all(fields, "transfer-encoding");
    // A response may name one coding that nobody knows, which says nothing.
    assert_eq!(framing.is_chunked, codings.iter().any(|coding| coding.eq_ignore_ascii_case(b"chunked")));
    assert!(codings.len() < 2);
    let lengths = all(fields, "content-length");
    assert_eq!(framing.length.is_some(), !lengths.is_empty());
    for length in lengths.iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        let text = std::str::from_utf8(length).expect("digits").trim_matches([' ', '\t']);
        assert_eq!(text.parse().ok(), framing.length);
        assert!(!text.starts_with('+'));
    }
    assert!(framing.length.is_none() || codings.is_empty());
    for field in fields {
        assert!(!field.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
}

fn all<'a>(fields: &[httparse::Header<'a>], name: &str) -> Vec<&'a [u8]> {
    let matching = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    matching.map(|field| field.value).collect()
}

fn lists(fields: &[httparse::Header<'_>], name: &str, option: &str) -> bool {
    all(fields, name)
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}
