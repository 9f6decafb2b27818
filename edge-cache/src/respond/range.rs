//! The part of a stored body that a request asks for (RFC 9110, section 14).

use common::http::range::{self, ByteRange};
use http::HeaderMap;
use http::header::{ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED};

use crate::store::Head;

pub fn wanted(request: &HeaderMap, stored: &Head, length: u64) -> ByteRange {
    match request.get(IF_RANGE) {
        Some(condition) if !is_same(condition, stored) => ByteRange::Whole,
        _ => range::of(request, length),
    }
}

/// By strong comparison; a date must be the same to the letter (section 13.1.5).
fn is_same(condition: &HeaderValue, stored: &Head) -> bool {
    let condition = condition.as_bytes().trim_ascii();
    let field = if condition.starts_with(b"\"") { &ETAG } else { &LAST_MODIFIED };
    stored.get(field).is_some_and(|value| value.as_bytes() == condition)
}
