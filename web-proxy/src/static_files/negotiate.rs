//! A request's conditions and range, in the order of RFC 9110, section 13.2.2.
//!
//! 1. If-Match, or else If-Unmodified-Since: 412.
//! 2. If-None-Match, or else If-Modified-Since: 304.
//! 3. Range, where If-Range does not object: 206 or 416.

use std::time::SystemTime;

use common::http::entity_tag::{lists, opaque};
use common::http::range::{self, ByteRange};
use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, Method};

use super::Validators;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Send(ByteRange),
    NotModified,
    PreconditionFailed,
}

/// For GET and HEAD of a file of `length` bytes.
pub(super) fn negotiate(
    method: &Method,
    request: &HeaderMap,
    validators: &Validators,
    length: u64,
) -> Decision {
    let etag = &validators.etag;
    if request.contains_key(IF_MATCH) {
        if !lists(request, &IF_MATCH, |tag| tag == etag.as_bytes() && validators.is_strong()) {
            return Decision::PreconditionFailed;
        }
    } else if let Some(date) = date(request, &IF_UNMODIFIED_SINCE)
        && validators.modified > date
    {
        return Decision::PreconditionFailed;
    }
    if request.contains_key(IF_NONE_MATCH) {
        if lists(request, &IF_NONE_MATCH, |tag| opaque(tag) == opaque(etag.as_bytes())) {
            return Decision::NotModified;
        }
    } else if let Some(date) = date(request, &IF_MODIFIED_SINCE)
        && validators.modified <= date
    {
        return Decision::NotModified;
    }
    // "A server MUST ignore a Range header field received with a request method that is unrecognized or for
    // which range handling is not defined" (section 14.2): it is defined for GET only.
    if *method != Method::GET || !is_same(request, validators) {
        return Decision::Send(ByteRange::Whole);
    }
    Decision::Send(range::of(request, length))
}

/// If-Range: whether the client's part is of this state of the file, by strong comparison. No field: yes.
fn is_same(request: &HeaderMap, validators: &Validators) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    let condition = condition.as_bytes().trim_ascii();
    if !validators.is_strong() {
        return false;
    }
    if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
        return condition == validators.etag.as_bytes();
    }
    parse_date(condition) == Some(validators.modified)
}

/// `None` where the field is missing, doubled or no date: then it is ignored (section 13.1.3).
fn date(request: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = request.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    parse_date(value.as_bytes())
}

fn parse_date(bytes: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(bytes).ok()?.trim()).ok()
}

#[cfg(test)]
mod tests;
