//! The part of a stored body that a request asks for (RFC 9110, section 14).

use common::http::range::{self, ByteRange};
use http::HeaderMap;
use http::header::{ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED};

use crate::store::fields::Fields;

/// `weak`: the stored entity tag is only a weak one for the form that is sent.
pub fn wanted(request: &HeaderMap, stored: Fields<'_>, length: u64, weak: bool) -> ByteRange {
    match request.get(IF_RANGE) {
        Some(condition) if !is_same(condition, stored, weak) => ByteRange::Whole,
        _ => range::of(request, length),
    }
}

/// By strong comparison; a date must be the same to the letter (section 13.1.5).
fn is_same(condition: &HeaderValue, stored: Fields<'_>, weak: bool) -> bool {
    let condition = condition.as_bytes().trim_ascii();
    let is_tag = condition.starts_with(b"\"");
    let field = if is_tag { &ETAG } else { &LAST_MODIFIED };
    !(is_tag && weak) && stored.get(field) == Some(condition)
}
