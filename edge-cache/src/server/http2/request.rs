use common::http::strict::{Violation, is_target};
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::header::{TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{Uri, request};

use crate::server::{MAX_HEADERS, MAX_TARGET};

/// Fields that a message of HTTP/2 may not have (RFC 9113, section 8.2.2).
const OF_CONNECTIONS: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Brings a request into the form that HTTP/1.1 has: a Host field, a target in origin form, and one Cookie field. What
/// the check in front of HTTP/1.1 refuses is refused here, too, as far as h2 has not done it.
pub fn adopt(head: &mut request::Parts) -> Result<(), Violation> {
    if head.headers.len() > MAX_HEADERS {
        return Err(Violation::TooManyFields);
    }
    if head.headers.values().any(|value| is_padded(value.as_bytes())) {
        return Err(Violation::Padding);
    }
    if OF_CONNECTIONS.iter().any(|name| head.headers.contains_key(name)) {
        return Err(Violation::TransferEncoding);
    }
    // h2 has looked at the first alone.
    if head.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Violation::ContentLength);
    }
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > MAX_TARGET {
        return Err(Violation::TargetTooLong);
    }
    if !is_target(target.as_bytes()) {
        return Err(Violation::Target);
    }
    host(head);
    join_cookies(&mut head.headers);
    Ok(())
}

pub fn strip_connection(headers: &mut HeaderMap) {
    for name in &OF_CONNECTIONS {
        headers.remove(name);
    }
}

/// White space around a value "MUST be treated as malformed" (RFC 9113, section 8.2.1).
fn is_padded(value: &[u8]) -> bool {
    [value.first(), value.last()].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
}

/// `:authority` is what Host is in HTTP/1.1 (RFC 9113, section 8.3.1). Where the two differ both are left, and
/// the request is refused as one with an absolute target is whose Host says something else.
fn host(head: &mut request::Parts) {
    let Some(authority) = head.uri.authority().map(Authority::as_str) else { return };
    let mut fields = head.headers.get_all(HOST).iter();
    let is_said_again = match (fields.next(), fields.next()) {
        (None, _) => false,
        (Some(field), None) if field.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => true,
        _ => return,
    };
    let (Ok(authority), Some(target)) = (HeaderValue::from_str(authority), head.uri.path_and_query()) else {
        return;
    };
    let target = Uri::from(target.clone());
    if !is_said_again {
        head.headers.insert(HOST, authority);
    }
    head.uri = target;
}

/// "If there are multiple Cookie header fields after decompression, these MUST be concatenated" (RFC 9113,
/// section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // It is made of what was valid.
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http::Request;

    use super::*;

    fn adopted(uri: &str, fields: &[(&str, &str)]) -> Result<request::Parts, Violation> {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        adopt(&mut head).map(|()| head)
    }

    #[test]
    fn the_authority_becomes_the_host() {
        for (uri, host, expected) in [
            ("https://a.example/x?y", None, ("/x?y", "a.example")),
            ("https://a.example:8443/", None, ("/", "a.example:8443")),
            ("https://A.example/", Some("a.EXAMPLE"), ("/", "a.EXAMPLE")),
            // Normalising refuses what is left as it was.
            ("https://a.example/", Some("b.example"), ("https://a.example/", "b.example")),
            ("/x", Some("b.example"), ("/x", "b.example")),
        ] {
            let fields: Vec<(&str, &str)> = host.into_iter().map(|host| ("host", host)).collect();
            let head = adopted(uri, &fields).unwrap();
            assert_eq!(
                (head.uri.to_string().as_str(), head.headers[HOST].to_str().unwrap()),
                expected,
                "{uri}"
            );
        }
        let two = adopted("https://a.example/", &[("host", "a.example"), ("host", "a.example")]).unwrap();
        assert_eq!(two.headers.get_all(HOST).iter().count(), 2, "for normalising to refuse");
    }

    #[test]
    fn cookies_are_one_field() {
        let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
        let head = adopted("https://a.example/", &crumbs).unwrap();
        let cookies: Vec<&HeaderValue> = head.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            (&[("x", " a")][..], Violation::Padding),
            (&[("x", "a\t")], Violation::Padding),
            (&[("cookie", "a=1 ")], Violation::Padding),
            (&[("content-length", "1"), ("content-length", "1")], Violation::ContentLength),
            (&[("transfer-encoding", "chunked")], Violation::TransferEncoding),
            (&[("connection", "close")], Violation::TransferEncoding),
            (&[("upgrade", "websocket")], Violation::TransferEncoding),
        ];
        for (fields, expected) in cases {
            assert_eq!(adopted("https://a.example/", fields).unwrap_err(), expected, "{fields:?}");
        }
        let long = format!("https://a.example/{}", "a".repeat(MAX_TARGET));
        assert_eq!(adopted(&long, &[]).unwrap_err(), Violation::TargetTooLong);
        let many = vec![("x", "y"); MAX_HEADERS + 1];
        assert_eq!(adopted("https://a.example/", &many).unwrap_err(), Violation::TooManyFields);
        assert!(adopted("https://a.example/", &[("x", ""), ("y", "a b"), ("te", "trailers")]).is_ok());
    }
}
