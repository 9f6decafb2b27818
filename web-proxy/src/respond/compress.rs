//! Responses that are compressed on their way, files and the application's alike.
//!
//! 1. [`Compress::plan`]: whether a response is worth it, and in which coding; a pure decision.
//! 2. [`Compress::apply`]: its head says so. It has no length then, no parts, and a weak entity tag: the bytes are
//!    others each time the compressor is (RFC 9110, section 8.8.1).
//! 3. [`CodedBody`](super::coded_body) does it.

use clap::{Args, ValueEnum};
use common::config::{ByteSize, ConfigError};
use common::http::coding::{Accepted, OF_THE_CODING, is_compressible, may_transform};
use common::http::entity_tag::lists;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, Method, Response, StatusCode, Version};

use super::Body;
use crate::static_files::{Coding, preferred};

/// Which responses are compressed.
#[derive(Debug, Clone, Default)]
pub struct Compress {
    /// In the order that counts among equals; none: nothing is compressed.
    pub codings: Vec<Coding>,
    /// The shortest response that is worth it, where the length is known.
    pub min_length: u64,
}

/// The options for it.
#[derive(Debug, Clone, Args)]
pub struct CompressOptions {
    /// Compress what is sent, the application's responses too, with the first of these that a client likes best;
    /// or off, as behind an edge-cache.
    #[arg(long, value_enum, value_name = "CODING", default_value = "off", value_delimiter = ',')]
    pub compress: Vec<Compression>,
    /// The shortest response that is compressed, where its length is known.
    #[arg(long, value_name = "SIZE", default_value = "1KiB")]
    pub compress_min_length: ByteSize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    Off,
    Br,
    Gzip,
}

/// What becomes of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// It has nothing to do with codings.
    AsItIs,
    /// Another client would get it compressed.
    Plain,
    /// The client has it, in the form that is meant by this weak tag.
    Unmodified,
    Coded(Coding),
}

impl Compress {
    pub fn resolve(options: &CompressOptions) -> Result<Self, ConfigError> {
        let coding = |named: &Compression| match named {
            Compression::Br => Some(Coding::Brotli),
            Compression::Gzip => Some(Coding::Gzip),
            Compression::Off => None,
        };
        let codings: Vec<Coding> = options.compress.iter().filter_map(coding).collect();
        if codings.len() != options.compress.len() && options.compress.len() > 1 {
            return Err(ConfigError::Conflict("compress: off stands alone".into()));
        }
        Ok(Self { codings, min_length: options.compress_min_length.bytes() })
    }

    pub const fn is_off(&self) -> bool {
        self.codings.is_empty()
    }

    /// Compresses `response` if that is worth it and its client accepts it. `request`: its header fields.
    pub fn apply(
        &self,
        method: &Method,
        version: Version,
        request: &HeaderMap,
        response: Response<Body>,
    ) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let headers = &mut head.headers;
        let coding = match self.plan(version, request, head.status, headers) {
            Plan::AsItIs => return Response::from_parts(head, body),
            Plan::Plain => None,
            Plan::Unmodified => {
                weaken(headers);
                None
            }
            Plan::Coded(coding) => Some(coding),
        };
        vary(headers);
        let Some(coding) = coding else { return Response::from_parts(head, body) };
        headers.insert(CONTENT_ENCODING, coding.field());
        headers.remove(CONTENT_LENGTH);
        headers.remove(ACCEPT_RANGES);
        weaken(headers);
        let body = if *method == Method::HEAD { body } else { body.coded(coding) };
        Response::from_parts(head, body)
    }

    fn plan(&self, version: Version, request: &HeaderMap, status: StatusCode, headers: &HeaderMap) -> Plan {
        if self.codings.is_empty() {
            return Plan::AsItIs;
        }
        match status {
            StatusCode::NOT_MODIFIED if has_coded_form(request, headers) => return Plan::Unmodified,
            StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT => {
                return Plan::AsItIs;
            }
            _ => {}
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let worth_it = headers.get(CONTENT_TYPE).is_some_and(|media| is_compressible(media.as_bytes()))
            && length.is_none_or(|length| length >= self.min_length)
            && !headers.contains_key(CONTENT_RANGE)
            && !OF_THE_CODING.iter().any(|name| headers.contains_key(name))
            && may_transform(headers);
        if !worth_it {
            return Plan::AsItIs;
        }
        // HTTP/1.0 would end it by closing, and could not tell a whole one from a broken one.
        let wanted = if version < Version::HTTP_11 { None } else { self.best(request) };
        wanted.map_or(Plan::Plain, Plan::Coded)
    }

    fn best(&self, request: &HeaderMap) -> Option<Coding> {
        preferred(Accepted::of(request), &self.codings).first().copied()
    }
}

/// A tag of the plain form stays the same for weak comparison, so that a conditional request meets it again.
fn weaken(headers: &mut HeaderMap) {
    let Some(strong) = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    match HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat()) {
        Ok(weak) => headers.insert(ETAG, weak),
        Err(_) => headers.remove(ETAG),
    };
}

/// Whether the client names the response's tag as [`weaken`] has made it. With a strong one it has the plain form,
/// which it may go on with by ranges.
fn has_coded_form(request: &HeaderMap, headers: &HeaderMap) -> bool {
    let Some(tag) = headers.get(ETAG) else { return false };
    lists(request, &IF_NONE_MATCH, |listed| listed.strip_prefix(b"W/") == Some(tag.as_bytes()))
}

/// Says that Accept-Encoding counts, unless that is said already.
fn vary(headers: &mut HeaderMap) {
    let names = headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let said = |name: &[u8]| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")
    };
    if !names.into_iter().any(said) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use bytes::Bytes;
    use http::header::HeaderName;

    use super::*;

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn map(fields: Fields<'_>) -> HeaderMap {
        let field =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        fields.iter().map(field).collect()
    }

    const COMPRESS: fn() -> Compress =
        || Compress { codings: vec![Coding::Brotli, Coding::Gzip], min_length: 1000 };

    #[test]
    fn plans() {
        use Plan::{AsItIs, Coded, Plain, Unmodified};
        let html = ("content-type", "text/html; charset=utf-8");
        let long = ("content-length", "1000");
        let cases: [(&str, u16, Fields<'_>, Plan); 22] = [
            ("gzip, br", 200, &[html, long], Coded(Coding::Brotli)),
            ("gzip", 200, &[html, long], Coded(Coding::Gzip)),
            // Of unknown length: it may be long.
            ("gzip", 200, &[html], Coded(Coding::Gzip)),
            ("gzip", 404, &[html, long], Coded(Coding::Gzip)),
            ("zstd", 200, &[html, long], Plain),
            ("", 200, &[html, long], Plain),
            ("identity, gzip;q=0.5", 200, &[html, long], Plain),
            ("gzip", 200, &[html, ("content-length", "999")], AsItIs),
            ("gzip", 200, &[long], AsItIs),
            ("gzip", 200, &[("content-type", "image/png"), long], AsItIs),
            ("gzip", 200, &[("content-type", "text/event-stream")], AsItIs),
            ("gzip", 200, &[("content-type", "image/svg+xml"), long], Coded(Coding::Gzip)),
            ("gzip", 200, &[html, long, ("content-encoding", "br")], AsItIs),
            ("gzip", 200, &[html, long, ("content-encoding", "identity")], AsItIs),
            ("gzip", 200, &[html, long, ("cache-control", "private, No-Transform")], AsItIs),
            ("gzip", 200, &[html, long, ("repr-digest", "sha-256=:AAAA:")], AsItIs),
            ("gzip", 206, &[html, long, ("content-range", "bytes 0-999/5000")], AsItIs),
            ("gzip", 204, &[html], AsItIs),
            ("gzip", 304, &[("etag", "\"a\"")], Unmodified),
            ("", 304, &[("etag", "\"b\"")], AsItIs),
            ("gzip", 304, &[("etag", "W/\"a\"")], AsItIs),
            ("gzip", 304, &[], AsItIs),
        ];
        for (accepted, status, fields, expected) in cases {
            let request = map(&[("accept-encoding", accepted), ("if-none-match", "\"b\", W/\"a\"")]);
            let status = StatusCode::from_u16(status).unwrap();
            let plan = COMPRESS().plan(Version::HTTP_11, &request, status, &map(fields));
            assert_eq!(plan, expected, "{accepted:?} {status} {fields:?}");
            let off = Compress::default().plan(Version::HTTP_11, &request, status, &map(fields));
            assert_eq!(off, AsItIs);
        }
        let old = COMPRESS().plan(
            Version::HTTP_10,
            &map(&[("accept-encoding", "gzip")]),
            StatusCode::OK,
            &map(&[html]),
        );
        assert_eq!(old, Plain);
    }

    #[test]
    fn heads() {
        let applied = |method: Method, accepted: &str, status: u16, fields: Fields<'_>| {
            let mut response = Response::new(Body::page(Bytes::from_static(b"x")));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            *response.headers_mut() = map(fields);
            let request = map(&[("accept-encoding", accepted), ("if-none-match", "W/\"a\"")]);
            let response = COMPRESS().apply(&method, Version::HTTP_11, &request, response);
            let mut fields: Vec<String> = response
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            fields.sort();
            fields.join("\n")
        };
        let html = ("content-type", "text/html");
        let of_a_file = [html, ("content-length", "5000"), ("accept-ranges", "bytes"), ("etag", "\"a\"")];
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(
                applied(method, "gzip", 200, &of_a_file),
                "content-encoding: gzip\ncontent-type: text/html\netag: W/\"a\"\nvary: Accept-Encoding"
            );
        }
        assert_eq!(
            applied(Method::GET, "", 200, &of_a_file),
            "accept-ranges: bytes\ncontent-length: 5000\ncontent-type: text/html\netag: \"a\"\nvary: Accept-Encoding"
        );
        for said in ["Cookie, accept-encoding", "*"] {
            let fields = applied(Method::GET, "gzip", 200, &[html, ("vary", said), ("etag", "W/\"a\"")]);
            assert_eq!(
                fields,
                format!("content-encoding: gzip\ncontent-type: text/html\netag: W/\"a\"\nvary: {said}")
            );
        }
        assert_eq!(
            applied(Method::GET, "gzip", 304, &[("etag", "\"a\""), ("vary", "Cookie")]),
            "etag: W/\"a\"\nvary: Accept-Encoding\nvary: Cookie"
        );
        assert_eq!(
            applied(Method::GET, "gzip", 206, &of_a_file[1..]),
            "accept-ranges: bytes\ncontent-length: 5000\netag: \"a\""
        );
    }
}
