//! A request's conditions and range, in the order of RFC 9110, section 13.2.2.
//!
//! 1. If-Match, or else If-Unmodified-Since: 412.
//! 2. If-None-Match, or else If-Modified-Since: 304.
//! 3. Range, where If-Range does not object: 206 or 416.

use std::time::SystemTime;

use http::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, Method};

use super::Validators;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Whole,
    /// The first byte and the one behind the last.
    Part {
        start: u64,
        end: u64,
    },
    NotModified,
    PreconditionFailed,
    /// 416: no byte of the range is there.
    Unsatisfiable,
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
    let Some(range) = request.get(RANGE) else { return Decision::Whole };
    // "A server MUST ignore a Range header field received with a request method that is unrecognized or for
    // which range handling is not defined" (section 14.2): it is defined for GET only.
    if *method != Method::GET || !is_same(request, validators) {
        return Decision::Whole;
    }
    // Several ranges may be answered with the whole (section 14.2).
    if request.get_all(RANGE).iter().nth(1).is_some() {
        return Decision::Whole;
    }
    parse_range(range, length).unwrap_or(Decision::Whole)
}

/// `Content-Range` of a part, or of none.
pub(super) fn content_range(part: Option<(u64, u64)>, length: u64) -> HeaderValue {
    let text = match part {
        Some((start, end)) => format!("bytes {start}-{}/{length}", end.saturating_sub(1)),
        None => format!("bytes */{length}"),
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("bytes */0"))
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

/// Whether a list of entity tags is `*` or holds one that `matches`.
fn lists(request: &HeaderMap, name: &HeaderName, matches: impl Fn(&[u8]) -> bool) -> bool {
    request.get_all(name).iter().any(|value| {
        let list = value.as_bytes().trim_ascii();
        list == b"*" || tags(list).any(&matches)
    })
}

/// The entity tags of a list; a comma inside the quotes belongs to the tag.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| !matches!(byte, b',' | b' ' | b'\t'))?;
        rest = &rest[start..];
        let mut quoted = false;
        let end = rest
            .iter()
            .position(|byte| {
                quoted ^= *byte == b'"';
                *byte == b',' && !quoted
            })
            .unwrap_or(rest.len());
        let (tag, after) = rest.split_at(end);
        rest = after;
        Some(tag.trim_ascii())
    })
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
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

/// `None`: not a single byte range, so the field is ignored.
fn parse_range(range: &HeaderValue, length: u64) -> Option<Decision> {
    let (unit, spec) = range.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // One that overflows is beyond any file.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(length)),
        (Some(start), None) if last.is_empty() => (start, length),
        (None, Some(suffix)) if first.is_empty() => (length.saturating_sub(suffix), length),
        _ => return None,
    };
    Some(if start < end { Decision::Part { start, end } } else { Decision::Unsatisfiable })
}

#[cfg(test)]
mod tests;
