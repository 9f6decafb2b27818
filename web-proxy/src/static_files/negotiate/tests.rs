#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use http::header::{HeaderValue, RANGE};

use super::*;

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn validators(etag: &'static str) -> Validators {
    Validators { etag: HeaderValue::from_static(etag), modified: httpdate::parse_http_date(THEN).unwrap() }
}

fn decide(method: &Method, etag: &'static str, fields: &[(HeaderName, &str)]) -> Decision {
    let mut request = HeaderMap::new();
    for (name, value) in fields {
        request.append(name.clone(), value.parse().unwrap());
    }
    negotiate(method, &request, &validators(etag), 10)
}

const PART: Decision = Decision::Send(ByteRange::Part { start: 2, end: 5 });
const WHOLE: Decision = Decision::Send(ByteRange::Whole);
const ONE: (HeaderName, &str) = (RANGE, "bytes=2-4");

type Case<'a> = (&'static str, &'a [(HeaderName, &'a str)], Decision);

#[test]
fn conditions() {
    use Decision::{NotModified, PreconditionFailed};
    let strong = "\"a,b\"";
    let weak = "W/\"a,b\"";
    let cases: [Case<'_>; 27] = [
        (strong, &[], WHOLE),
        (strong, &[(IF_MATCH, "\"a,b\"")], WHOLE),
        (strong, &[(IF_MATCH, "*")], WHOLE),
        (strong, &[(IF_MATCH, "\"x\", \"a,b\"")], WHOLE),
        (strong, &[(IF_MATCH, "\"x\""), (IF_MATCH, "\"a,b\"")], WHOLE),
        (strong, &[(IF_MATCH, "W/\"a,b\"")], PreconditionFailed),
        (weak, &[(IF_MATCH, "W/\"a,b\"")], PreconditionFailed),
        (strong, &[(IF_MATCH, "\"a\"")], PreconditionFailed),
        // If-Match hides If-Unmodified-Since.
        (strong, &[(IF_MATCH, "\"a,b\""), (IF_UNMODIFIED_SINCE, BEFORE)], WHOLE),
        (strong, &[(IF_UNMODIFIED_SINCE, BEFORE)], PreconditionFailed),
        (strong, &[(IF_UNMODIFIED_SINCE, THEN)], WHOLE),
        (strong, &[(IF_UNMODIFIED_SINCE, "soon")], WHOLE),
        (strong, &[(IF_NONE_MATCH, "\"a,b\"")], NotModified),
        (strong, &[(IF_NONE_MATCH, "W/\"a,b\"")], NotModified),
        (weak, &[(IF_NONE_MATCH, "\"a,b\"")], NotModified),
        (strong, &[(IF_NONE_MATCH, "*")], NotModified),
        (strong, &[(IF_NONE_MATCH, "\"a\", \"b\"")], WHOLE),
        // If-None-Match hides If-Modified-Since.
        (strong, &[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, AFTER)], WHOLE),
        (strong, &[(IF_MODIFIED_SINCE, THEN)], NotModified),
        (strong, &[(IF_MODIFIED_SINCE, AFTER)], NotModified),
        (strong, &[(IF_MODIFIED_SINCE, BEFORE)], WHOLE),
        (strong, &[(IF_MODIFIED_SINCE, THEN), (IF_MODIFIED_SINCE, THEN)], WHOLE),
        // A failed precondition comes before a match.
        (strong, &[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a,b\"")], PreconditionFailed),
        (strong, &[(IF_MATCH, "\"a,b\""), (IF_NONE_MATCH, "\"a,b\"")], NotModified),
        // A match comes before a range.
        (strong, &[(IF_NONE_MATCH, "\"a,b\""), ONE], NotModified),
        (strong, &[(IF_NONE_MATCH, "\"x\""), ONE], PART),
        (strong, &[(IF_UNMODIFIED_SINCE, BEFORE), ONE], PreconditionFailed),
    ];
    for (etag, fields, expected) in cases {
        assert_eq!(decide(&Method::GET, etag, fields), expected, "{etag} {fields:?}");
    }
}

#[test]
fn if_range() {
    let cases: [(&str, &str, Decision); 7] = [
        ("\"a\"", "\"a\"", PART),
        ("\"a\"", "W/\"a\"", WHOLE),
        ("W/\"a\"", "W/\"a\"", WHOLE),
        ("\"a\"", "\"b\"", WHOLE),
        ("\"a\"", THEN, PART),
        ("\"a\"", AFTER, WHOLE),
        ("W/\"a\"", THEN, WHOLE),
    ];
    for (etag, condition, expected) in cases {
        assert_eq!(decide(&Method::GET, etag, &[ONE, (IF_RANGE, condition)]), expected, "{condition}");
    }
    assert_eq!(decide(&Method::HEAD, "\"a\"", &[ONE]), WHOLE);
    assert_eq!(decide(&Method::GET, "\"a\"", &[ONE, ONE]), WHOLE);
}
