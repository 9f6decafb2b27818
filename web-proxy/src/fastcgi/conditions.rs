//! A request's conditions against the validators that a script gives its response.
//!
//! A script that names validators has not always looked at the conditions: what the client has already is not
//! sent again (as Apache does). If-Match and If-Unmodified-Since are left to the script: it has run, and an
//! answer that is there is not made an error.

use std::time::SystemTime;

use common::http::entity_tag::{lists, opaque};
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{Method, StatusCode};

use super::head::Head;
use crate::handover::{X_ACCEL_REDIRECT, X_SENDFILE};

/// What a client has.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// The fields of If-None-Match, or else that of If-Modified-Since.
    fields: HeaderMap,
}

impl Conditions {
    /// None but for GET and HEAD (RFC 9110, section 13.1.3): of any other method the script has done what it does.
    /// Nor beside If-Match and If-Unmodified-Since, which would have to be looked at first (section 13.2.2).
    pub(super) fn of(method: &Method, request: &HeaderMap) -> Self {
        let mut fields = HeaderMap::new();
        let is_update = request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE);
        if matches!(*method, Method::GET | Method::HEAD) && !is_update {
            let name = if request.contains_key(IF_NONE_MATCH) { IF_NONE_MATCH } else { IF_MODIFIED_SINCE };
            for value in request.get_all(&name) {
                fields.append(name.clone(), value.clone());
            }
        }
        Self { fields }
    }

    /// Makes a 304 of a 200 that the client has.
    pub(super) fn apply(&self, head: &mut Head) {
        if head.status != StatusCode::OK || self.fields.is_empty() || !self.has(&head.headers) {
            return;
        }
        // A file that the script hands over has validators of its own.
        if [X_ACCEL_REDIRECT, X_SENDFILE].iter().any(|name| head.headers.contains_key(name)) {
            return;
        }
        head.status = StatusCode::NOT_MODIFIED;
        head.content_length = None;
        // What describes the content is not repeated (section 15.4.5).
        for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_LANGUAGE] {
            head.headers.remove(name);
        }
    }

    /// By the validator that the condition is about: what has none cannot be known.
    fn has(&self, response: &HeaderMap) -> bool {
        if self.fields.contains_key(IF_NONE_MATCH) {
            let Some(etag) = response.get(ETAG) else { return false };
            return lists(&self.fields, &IF_NONE_MATCH, |tag| opaque(tag) == opaque(etag.as_bytes()));
        }
        let mut since = self.fields.get_all(IF_MODIFIED_SINCE).iter();
        let (Some(since), None) = (since.next(), since.next()) else { return false };
        match (date(since), response.get(LAST_MODIFIED).and_then(date)) {
            (Some(since), Some(modified)) => modified <= since,
            _ => false,
        }
    }
}

fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::head;
    use super::*;

    const MODIFIED: &str = "Wed, 01 Jan 2025 00:00:00 GMT";
    const LATER: &str = "Thu, 02 Jan 2025 00:00:00 GMT";
    const EARLIER: &str = "Tue, 31 Dec 2024 00:00:00 GMT";
    const BOTH: &str = "ETag: \"a\"\r\nLast-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n";
    const DATE: &str = "Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n";

    fn status(method: &Method, request: &[(&'static str, &'static str)], response: &str) -> u16 {
        let mut fields = HeaderMap::new();
        for (name, value) in request {
            fields.append(*name, HeaderValue::from_static(value));
        }
        let mut head = head::parse(format!("{response}\r\n").as_bytes()).unwrap();
        Conditions::of(method, &fields).apply(&mut head);
        head.status.as_u16()
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        type Case = (&'static [(&'static str, &'static str)], &'static str, u16);
        let cases: [Case; 18] = [
            (&[], BOTH, 200),
            (&[("if-none-match", "\"a\"")], BOTH, 304),
            (&[("if-none-match", "W/\"a\"")], BOTH, 304),
            (&[("if-none-match", "\"b\", \"a\"")], BOTH, 304),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], BOTH, 304),
            (&[("if-none-match", "*")], BOTH, 304),
            (&[("if-none-match", "\"b\"")], BOTH, 200),
            // The date does not count beside it.
            (&[("if-none-match", "\"b\""), ("if-modified-since", LATER)], BOTH, 200),
            (&[("if-none-match", "*")], DATE, 200),
            (&[("if-modified-since", MODIFIED)], BOTH, 304),
            (&[("if-modified-since", LATER)], DATE, 304),
            (&[("if-modified-since", EARLIER)], DATE, 200),
            (&[("if-modified-since", "yesterday")], DATE, 200),
            (&[("if-modified-since", LATER), ("if-modified-since", LATER)], DATE, 200),
            (&[("if-modified-since", LATER)], "X: y\r\n", 200),
            (&[("if-none-match", "\"a\"")], "Status: 404\r\nETag: \"a\"\r\n", 404),
            (&[("if-none-match", "\"a\"")], "ETag: \"a\"\r\nX-Sendfile: /a\r\n", 200),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], BOTH, 200),
        ];
        for (request, response, expected) in cases {
            assert_eq!(status(&Method::GET, request, response), expected, "{request:?} {response}");
            assert_eq!(status(&Method::HEAD, request, response), expected, "{request:?} {response}");
            let original = status(&Method::POST, &[], response);
            assert_eq!(status(&Method::POST, request, response), original, "{request:?} {response}");
        }
    }

    #[test]
    fn a_304_describes_no_content() {
        let text = "ETag: \"a\"\r\nLast-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\nContent-Type: text/html\r\n\
                    Content-Length: 5\r\nSet-Cookie: a=b\r\nCache-Control: max-age=60\r\n\r\n";
        let mut head = head::parse(text.as_bytes()).unwrap();
        let mut request = HeaderMap::new();
        request.insert(IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        Conditions::of(&Method::GET, &request).apply(&mut head);
        let mut names: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "etag", "last-modified", "set-cookie"]);
        assert_eq!((head.status.as_u16(), head.content_length), (304, None));
    }
}
