//! Ranges of bytes of a body (RFC 9110, section 14).
//!
//! 1. [`of`] reads a request's `Range` against a body's length: which parts, in what order, or none.
//! 2. [`multipart`] puts several parts into one body.
//!
//! A set that asks for more work than it is worth (CVE-2011-3192; RFC 9110, section 14.2) is answered with
//! the whole, which is always right: a client may not rely on its `Range` being honoured.

pub mod multipart;

use std::ops::Range;

use http::HeaderMap;
use http::header::{HeaderValue, RANGE};

pub use multipart::Multipart;

/// What a request's `Range` asks of a body of a known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    Whole,
    /// The first byte and the one behind the last.
    Part {
        start: u64,
        end: u64,
    },
    /// At least two, in the order in which they were asked for; together no longer than the body.
    Parts(Box<[Part]>),
    /// 416: no byte of it is there.
    Unsatisfiable,
}

/// One of several ranges: the first byte and the one behind the last, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub start: u64,
    pub end: u64,
}

/// Ranges in one request beyond which none of them counts.
pub const MAX_RANGES: usize = 16;
/// Ranges that may ask for the same byte.
const MAX_OVERLAPPING: usize = 2;
/// Parts smaller than what it takes to send one; so many of them only where they are in order.
const SMALL: u64 = 128;
const MAX_SMALL_OUT_OF_ORDER: usize = 4;

/// The parts of `length` bytes that `request` asks for. `If-Range` and the method are the caller's to look at.
pub fn of(request: &HeaderMap, length: u64) -> ByteRange {
    let mut fields = request.get_all(RANGE).iter();
    match (fields.next(), fields.next()) {
        (Some(range), None) => parse(range, length).map_or(ByteRange::Whole, |parts| plan(&parts, length)),
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

impl Part {
    pub const fn length(self) -> u64 {
        self.end - self.start
    }
}

/// The parts that can be satisfied, in order; `None` when the field is to be ignored: another unit, not the
/// grammar, or too many ranges.
fn parse(range: &HeaderValue, length: u64) -> Option<Vec<Part>> {
    let (unit, set) = range.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut parts = Vec::new();
    let mut count = 0;
    // A list may have empty elements (section 5.6.1.2), but needs one that is not.
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        count += 1;
        if count > MAX_RANGES {
            return None;
        }
        let Range { start, end } = parse_spec(spec, length)?;
        parts.extend((start < end).then_some(Part { start, end }));
    }
    (count > 0).then_some(parts)
}

/// One range, not yet known to hold a byte; `None` when it is not the grammar.
fn parse_spec(spec: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // One that overflows is beyond any body.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(start), Some(last)) if start <= last => Some(start..last.saturating_add(1).min(length)),
        (Some(start), None) if last.is_empty() => Some(start..length),
        (None, Some(suffix)) if first.is_empty() => {
            // The last bytes of nothing are nothing, which no Content-Range can say.
            (suffix == 0 || length > 0).then(|| length.saturating_sub(suffix)..length)
        }
        _ => None,
    }
}

fn plan(asked: &[Part], length: u64) -> ByteRange {
    if overlap_too_often(asked) {
        return ByteRange::Whole;
    }
    let parts = coalesce(asked);
    match *parts.as_slice() {
        [] => ByteRange::Unsatisfiable,
        [Part { start, end }] => ByteRange::Part { start, end },
        _ if is_egregious(&parts, length) => ByteRange::Whole,
        _ => ByteRange::Parts(parts.into()),
    }
}

/// Whether a byte is asked for more than twice.
fn overlap_too_often(parts: &[Part]) -> bool {
    // They overlap most often where one of them begins.
    parts.iter().any(|at| {
        parts.iter().filter(|part| part.start <= at.start && at.start < part.end).count() > MAX_OVERLAPPING
    })
}

/// Makes one of neighbours that overlap or touch where the client lists them in order (section 15.3.7.2).
fn coalesce(asked: &[Part]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(asked.len());
    for part in asked {
        match parts.last_mut() {
            Some(last) if last.start <= part.start && part.start <= last.end => {
                last.end = last.end.max(part.end);
            }
            _ => parts.push(*part),
        }
    }
    parts
}

fn is_egregious(parts: &[Part], length: u64) -> bool {
    let total = parts.iter().fold(0, |total: u64, part| total.saturating_add(part.length()));
    let small = parts.iter().filter(|part| part.length() < SMALL).count();
    total > length || small > MAX_SMALL_OUT_OF_ORDER && !parts.is_sorted_by_key(|part| part.start)
}

#[cfg(test)]
mod tests;
