#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
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

const PART: Decision = Decision::Part { start: 2, end: 5 };
const ONE: (HeaderName, &str) = (RANGE, "bytes=2-4");

type Case<'a> = (&'static str, &'a [(HeaderName, &'a str)], Decision);

#[test]
fn conditions() {
    use Decision::{NotModified, PreconditionFailed, Whole};
    let strong = "\"a,b\"";
    let weak = "W/\"a,b\"";
    let cases: [Case<'_>; 27] = [
        (strong, &[], Whole),
        (strong, &[(IF_MATCH, "\"a,b\"")], Whole),
        (strong, &[(IF_MATCH, "*")], Whole),
        (strong, &[(IF_MATCH, "\"x\", \"a,b\"")], Whole),
        (strong, &[(IF_MATCH, "\"x\""), (IF_MATCH, "\"a,b\"")], Whole),
        (strong, &[(IF_MATCH, "W/\"a,b\"")], PreconditionFailed),
        (weak, &[(IF_MATCH, "W/\"a,b\"")], PreconditionFailed),
        (strong, &[(IF_MATCH, "\"a\"")], PreconditionFailed),
        // If-Match hides If-Unmodified-Since.
        (strong, &[(IF_MATCH, "\"a,b\""), (IF_UNMODIFIED_SINCE, BEFORE)], Whole),
        (strong, &[(IF_UNMODIFIED_SINCE, BEFORE)], PreconditionFailed),
        (strong, &[(IF_UNMODIFIED_SINCE, THEN)], Whole),
        (strong, &[(IF_UNMODIFIED_SINCE, "soon")], Whole),
        (strong, &[(IF_NONE_MATCH, "\"a,b\"")], NotModified),
        (strong, &[(IF_NONE_MATCH, "W/\"a,b\"")], NotModified),
        (weak, &[(IF_NONE_MATCH, "\"a,b\"")], NotModified),
        (strong, &[(IF_NONE_MATCH, "*")], NotModified),
        (strong, &[(IF_NONE_MATCH, "\"a\", \"b\"")], Whole),
        // If-None-Match hides If-Modified-Since.
        (strong, &[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, AFTER)], Whole),
        (strong, &[(IF_MODIFIED_SINCE, THEN)], NotModified),
        (strong, &[(IF_MODIFIED_SINCE, AFTER)], NotModified),
        (strong, &[(IF_MODIFIED_SINCE, BEFORE)], Whole),
        (strong, &[(IF_MODIFIED_SINCE, THEN), (IF_MODIFIED_SINCE, THEN)], Whole),
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
        ("\"a\"", "W/\"a\"", Decision::Whole),
        ("W/\"a\"", "W/\"a\"", Decision::Whole),
        ("\"a\"", "\"b\"", Decision::Whole),
        ("\"a\"", THEN, PART),
        ("\"a\"", AFTER, Decision::Whole),
        ("W/\"a\"", THEN, Decision::Whole),
    ];
    for (etag, condition, expected) in cases {
        assert_eq!(decide(&Method::GET, etag, &[ONE, (IF_RANGE, condition)]), expected, "{condition}");
    }
    assert_eq!(decide(&Method::HEAD, "\"a\"", &[ONE]), Decision::Whole);
    assert_eq!(decide(&Method::GET, "\"a\"", &[ONE, ONE]), Decision::Whole);
}

#[test]
fn ranges_of_ten_bytes() {
    let part = |start, end| Some(Decision::Part { start, end });
    let cases = [
        ("bytes=0-0", part(0, 1)),
        ("bytes=2-5", part(2, 6)),
        ("bytes=5-", part(5, 10)),
        ("bytes=-3", part(7, 10)),
        ("bytes=-99", part(0, 10)),
        ("bytes=9-99999999999999999999", part(9, 10)),
        ("Bytes = 1-1", part(1, 2)),
        ("bytes=10-", Some(Decision::Unsatisfiable)),
        ("bytes=-0", Some(Decision::Unsatisfiable)),
        ("bytes=0-1,3-4", None),
        ("bytes=5-2", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
        ("bytes=+1-2", None),
        ("lines=0-1", None),
        ("0-1", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_range(&text.parse().unwrap(), 10), expected, "{text}");
    }
    assert_eq!(parse_range(&"bytes=0-".parse().unwrap(), 0), Some(Decision::Unsatisfiable));
    assert_eq!(content_range(Some((2, 6)), 10), "bytes 2-5/10");
    assert_eq!(content_range(None, 10), "bytes */10");
}
