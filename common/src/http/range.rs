//! One range of bytes of a body (RFC 9110, section 14). More than one is answered with the whole, as
//! section 14.2 allows.

use http::HeaderMap;
use http::header::{HeaderValue, RANGE};

/// What a request's `Range` asks of a body of a known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    Whole,
    /// The first byte and the one behind the last.
    Part {
        start: u64,
        end: u64,
    },
    /// 416: no byte of it is there.
    Unsatisfiable,
}

/// The part of `length` bytes that `request` asks for. `If-Range` is the caller's to look at.
pub fn of(request: &HeaderMap, length: u64) -> ByteRange {
    let mut fields = request.get_all(RANGE).iter();
    match (fields.next(), fields.next()) {
        (Some(range), None) => parse(range, length).unwrap_or(ByteRange::Whole),
        _ => ByteRange::Whole,
    }
}

/// `Content-Range` of a part, or of none with `part` left out.
pub fn content_range(part: Option<(u64, u64)>, length: u64) -> HeaderValue {
    let text = match part {
        Some((start, end)) => format!("bytes {start}-{}/{length}", end.saturating_sub(1)),
        None => format!("bytes */{length}"),
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("bytes */0"))
}

/// `None`: not a single byte range, so the field is ignored.
fn parse(range: &HeaderValue, length: u64) -> Option<ByteRange> {
    let (unit, spec) = range.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // One that overflows is beyond any body.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(length)),
        (Some(start), None) if last.is_empty() => (start, length),
        (None, Some(suffix)) if first.is_empty() => (length.saturating_sub(suffix), length),
        _ => return None,
    };
    if start < end { Some(ByteRange::Part { start, end }) } else { Some(ByteRange::Unsatisfiable) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        let part = |start, end| Some(ByteRange::Part { start, end });
        let cases = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 6)),
            ("bytes=5-", part(5, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-99", part(0, 10)),
            ("bytes=9-99999999999999999999", part(9, 10)),
            ("Bytes = 1-1", part(1, 2)),
            ("bytes=10-", Some(ByteRange::Unsatisfiable)),
            ("bytes=-0", Some(ByteRange::Unsatisfiable)),
            ("bytes=0-1,3-4", None),
            ("bytes=5-2", None),
            ("bytes=a-b", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("lines=0-1", None),
            ("0-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(&text.parse().unwrap(), 10), expected, "{text}");
        }
        assert_eq!(parse(&"bytes=0-".parse().unwrap(), 0), Some(ByteRange::Unsatisfiable));
        assert_eq!(content_range(Some((2, 6)), 10), "bytes 2-5/10");
        assert_eq!(content_range(None, 10), "bytes */10");
    }

    #[test]
    fn two_fields_are_the_whole() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers, 10), ByteRange::Whole);
        headers.append(RANGE, HeaderValue::from_static("bytes=2-5"));
        assert_eq!(of(&headers, 10), ByteRange::Part { start: 2, end: 6 });
        headers.append(RANGE, HeaderValue::from_static("bytes=2-5"));
        assert_eq!(of(&headers, 10), ByteRange::Whole);
    }
}
