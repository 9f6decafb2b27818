//! An interim response as bytes.

use common::http::hop_by_hop;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{HeaderName, StatusCode};

use crate::respond::tags;

/// Fields that say what caches did with a final response.
const OF_THE_ANSWER: [HeaderName; 3] =
    [CONTENT_LENGTH, crate::respond::cache_status::CACHE_STATUS, crate::respond::cache_status::X_CACHE];

/// The bytes for the client; `None` for what is not passed on: 100 answers the request that we sent, and 101 is no
/// interim response.
pub(super) fn interim(status: StatusCode, headers: &HeaderMap) -> Option<Vec<u8>> {
    if !matches!(status.as_u16(), 102..=199) {
        return None;
    }
    let mut headers = headers.clone();
    hop_by_hop::strip(&mut headers);
    tags::strip(&mut headers);
    for name in &OF_THE_ANSWER {
        headers.remove(name);
    }
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        // The type forbids CR, LF and NUL.
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("link", "</a.css>; rel=preload"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("cache-tags", "node:1"),
            ("link", "</b.js>; rel=preload"),
        ] {
            headers.append(HeaderName::from_static(name), http::HeaderValue::from_static(value));
        }
        let bytes = interim(StatusCode::EARLY_HINTS, &headers)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let expected =
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload\r\n\r\n";
        assert_eq!(bytes.as_deref(), Some(expected));
        let status = |code: u16| StatusCode::from_u16(code).unwrap_or_default();
        assert_eq!(
            interim(status(110), &HeaderMap::new()).as_deref(),
            Some(&b"HTTP/1.1 110 \r\n\r\n"[..]),
            "one that is not known is passed on, too"
        );
        for code in [100, 101, 200] {
            assert_eq!(interim(status(code), &headers), None);
        }
    }
}
