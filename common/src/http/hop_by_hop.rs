//! Fields of one connection that are never passed on (RFC 9110, section 7.6.1).

use http::header::{CONNECTION, HeaderMap, HeaderName};

/// Removes the fields that `Connection` lists and those that are always hop by hop. Most messages have none of them:
/// their names are looked at once, and nothing else is done.
pub fn strip(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let listed: Vec<HeaderName> = listed(headers).filter(|name| !is_end_to_end(name.as_str())).collect();
    let always = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect::<Vec<_>>();
    for name in listed.into_iter().chain(always) {
        headers.remove(name);
    }
}

/// Whether a field is one whatever `Connection` lists. `http2-settings` is of an upgrade to h2c (RFC 7540,
/// section 3.2.1), which nobody may tunnel through us.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What a peer must not be able to hide from the next hop by listing it (RFC 9110, section 7.6.1: a sender "MUST NOT
/// send a connection option corresponding to a field that is intended for all recipients"): what says where a message
/// ends and what it is, who may see it, and whom a proxy in front of us has seen.
fn is_end_to_end(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "content-range"
            | "cache-control"
            | "vary"
            | "cookie"
            | "set-cookie"
            | "authorization"
            | "via"
            | "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-request-id"
    )
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
            ("http2-settings", "AAMAAABkAAQAAP__"),
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
