//! Fields of one connection that are never passed on (RFC 9110, section 7.6.1).

use http::header::{CONNECTION, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes the fields that `Connection` lists and those that are always hop by hop.
pub fn strip(headers: &mut HeaderMap) {
    // Looked at first, since most messages have no Connection field and need no list.
    if headers.contains_key(CONNECTION) {
        let listed: Vec<HeaderName> = listed(headers).collect();
        for name in listed {
            // A client must not be able to remove what the next hop relies on (RFC 9110, 7.6.1:
            // "MUST NOT send connection options corresponding to end-to-end fields").
            if !matches!(
                name.as_str(),
                "host" | "content-length" | "content-type" | "cache-control" | "cookie" | "authorization"
            ) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// The field names that the message's `Connection` fields list.
pub fn listed(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn removes_what_belongs_to_the_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-One ,"),
            ("connection", "x-two, cache-control"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("cache-control", "no-store"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cache-control", "x-three"]);
    }
}
