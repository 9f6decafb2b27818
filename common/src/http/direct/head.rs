use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Method, Request, Uri, Version, request};
use memchr::memchr;

use crate::http::strict::head::{Kind, Scanner, trim};
use crate::http::strict::{Framing, Limits};

/// The request at the beginning of `bytes`, and its length, if it is of those.
pub fn read(bytes: &[u8], limits: Limits) -> Option<(request::Parts, usize)> {
    let method = match bytes {
        [b'G', b'E', b'T', b' ', ..] => Method::GET,
        [b'H', b'E', b'A', b'D', b' ', ..] => Method::HEAD,
        _ => return None,
    };
    let mut scanner = Scanner::new(Kind::Request, limits);
    let (length, framing) = scanner.advance(bytes).ok()??;
    let Framing { is_http_11: true, length: None, is_chunked: false, .. } = framing else { return None };
    // One piece of memory, which the target and the values of fields are parts of.
    let block = Bytes::copy_from_slice(bytes.get(..length)?);
    let line = memchr(b'\n', &block)?;
    let target = block.slice(method.as_str().len() + 1..line.checked_sub(" HTTP/1.1\r".len())?);
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = method;
    head.uri = Uri::from_maybe_shared(target).ok()?;
    head.version = Version::HTTP_11;
    head.headers = fields(&block, line + 1, scanner.fields())?;
    Some((head, length))
}

/// The `count` fields from `at` on, which the [`Scanner`] has found in order.
fn fields(block: &Bytes, mut at: usize, count: usize) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(count);
    loop {
        let rest = block.get(at..)?;
        let line = rest.get(..memchr(b'\n', rest)?)?.strip_suffix(b"\r")?;
        if line.is_empty() {
            return Some(headers);
        }
        let colon = memchr(b':', line)?;
        let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
        let value = trim(line.get(colon + 1..)?);
        if is_about_the_connection(&name, value) {
            return None;
        }
        let value = HeaderValue::from_maybe_shared(block.slice_ref(value)).ok()?;
        headers.append(name, value);
        at += line.len() + 2;
    }
}

/// A client of HTTP/1.1 that wants to keep its connection need not say so, and says so.
fn is_about_the_connection(name: &HeaderName, value: &[u8]) -> bool {
    *name == CONNECTION && !value.eq_ignore_ascii_case(b"keep-alive") || *name == UPGRADE || *name == EXPECT
}
