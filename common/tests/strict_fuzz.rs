//! The bodies of the fuzz targets, on bytes that resemble HTTP/1.1: a smoke test without cargo-fuzz.

#[path = "../../tests/fuzz/fuzz_targets/strict.rs"]
mod strict;

use proptest::collection::vec;
use proptest::prelude::*;

/// Pieces of messages, most of them good, in an order that is likely.
fn likely(start: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec![
        "Host: a",
        "X: \t y ",
        "X:",
        "X: \u{fc}",
        "Content-Length: 5",
        "Content-Length: 5, 5",
        "content-length:\t0 ",
        "Content-Length: +5",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked",
        "transfer-encoding:CHUNKED",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding : chunked",
        "Connection: close, upgrade",
        "Connection: Keep-Alive ",
        "Cookie: a=b",
        "cookie:c",
        "Expect: 100-continue",
        "Upgrade: websocket",
        " folded",
        "X: a\rb",
        "X: a\0",
        "nothing",
        ": x",
    ]);
    let end = || prop_oneof![12 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r\r\n")];
    let body = prop::sample::select(vec![
        "",
        "hello",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;a\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "0x5\r\n",
        "\r\n",
    ]);
    let message = (prop::sample::select(start), end(), vec((field, end()), 0..6), end(), body).prop_map(
        |(start, end, fields, last, body)| {
            let fields: String = fields.into_iter().flat_map(|(field, end)| [field, end]).collect();
            format!("{start}{end}{fields}{last}{body}")
        },
    );
    let flaw = prop_oneof![6 => Just(None), 1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(Some)];
    (vec(message, 1..4), flaw).prop_map(|(messages, flaw)| {
        let mut bytes = messages.concat().into_bytes();
        if let Some((at, byte)) = flaw {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1",
    "HEAD http://a/?b HTTP/1.1",
    "POST /a?b=\u{fc} HTTP/1.1",
    "\r\nGET http://a/ HTTP/1.0",
    "GET  / HTTP/1.1",
    "GET / HTTP/1.2",
    "GET /#a HTTP/1.1",
];
const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.0 404",
    "HTTP/1.1 204 ",
    "HTTP/1.1 200 \u{fc}",
    "HTTP/1.1  200",
    "HTTP/2 200",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn request(data in likely(REQUESTS)) {
        strict::request(&data);
        strict::stream(&data);
    }

    #[test]
    fn response(data in likely(RESPONSES)) {
        strict::response(&data);
    }

    #[test]
    fn noise(data in vec(any::<u8>(), 0..500)) {
        strict::request(&data);
        strict::response(&data);
        strict::stream(&data);
    }
}
