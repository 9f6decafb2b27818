//! Stored parts of a representation (RFC 9111, section 3.3): what a 206 held, and which requests it answers.

use std::ops::Range;

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, request};

use super::vary::Selector;

/// The one range of bytes that a request asks for (RFC 9110, section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// From a byte to another, both included.
    Between(u64, u64),
    /// From a byte to the end.
    From(u64),
    /// So many bytes at the end.
    Last(u64),
}

/// What a 206 has: its `Content-Range`, where the complete length is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    first: u64,
    last: u64,
    complete: Option<u64>,
}

/// Bytes of a stored part, and where they are in the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Within the stored bytes.
    pub bytes: Range<u64>,
    /// Of its first byte.
    pub position: u64,
}

impl Asked {
    /// `None` for several ranges, other units, and requests with conditions: those are about the whole.
    pub fn of(request: &request::Parts) -> Option<Self> {
        let headers = &request.headers;
        let mut fields = headers.get_all(RANGE).iter();
        let (Some(range), None) = (fields.next(), fields.next()) else { return None };
        let has_condition =
            [IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| headers.contains_key(name));
        if request.method != Method::GET || has_condition {
            return None;
        }
        let (unit, range) = range.to_str().ok()?.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Some(Self::Between(first, last)),
            (Some(first), None) if last.is_empty() => Some(Self::From(first)),
            (None, Some(count)) if first.is_empty() && count > 0 => Some(Self::Last(count)),
            _ => None,
        }
    }

    /// Where it begins is known only when the whole is: fetching the whole would make the client wait for all of it.
    pub const fn is_at_the_end(self) -> bool {
        matches!(self, Self::Last(_))
    }
}

/// Tells requests for the same range from others.
pub fn selection(request: &HeaderMap) -> Selector {
    let by_range = HeaderMap::from_iter([(VARY, HeaderValue::from_static("range"))]);
    Selector::of(request, &by_range, |_| false)
}

impl Part {
    /// The one part that a 206 has. `None` for several, for one in a content coding, and for what contradicts
    /// itself (RFC 9110, section 14.4).
    pub fn of(status: StatusCode, response: &HeaderMap) -> Option<Self> {
        if status != StatusCode::PARTIAL_CONTENT || response.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let mut ranges = response.get_all(CONTENT_RANGE).iter();
        let (Some(range), None) = (ranges.next(), ranges.next()) else { return None };
        let part = Self::parse(range.as_bytes())?;
        let length = response.get(CONTENT_LENGTH).map(|length| length.to_str().ok().and_then(number));
        match length {
            None => Some(part),
            Some(length) => (length? <= part.length()).then_some(part),
        }
    }

    /// `bytes 0-9/100` or `bytes 0-9/*`
    pub fn parse(content_range: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content_range).ok()?.trim();
        let (unit, range) = text.split_once(' ')?;
        let (range, complete) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let complete = if complete == "*" { None } else { Some(number(complete)?) };
        let is_valid = unit.eq_ignore_ascii_case("bytes")
            && first <= last
            && complete.is_none_or(|complete| last < complete);
        is_valid.then_some(Self { first, last, complete })
    }

    const fn length(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Bytes of the whole.
    pub const fn complete(self) -> Option<u64> {
        self.complete
    }

    /// Whether it is all there is: a 200 in other words (section 15.3.7.3).
    pub fn is_whole(self) -> bool {
        self.first == 0 && self.complete == Some(self.length())
    }

    /// What answers `asked`, of `held` bytes that are stored of this part.
    ///
    /// An origin that sends fewer bytes than it announces is taken at its word from the side that the request
    /// counts from.
    pub fn cut(self, asked: Asked, held: u64) -> Option<Cut> {
        let held = held.min(self.length());
        let ends_the_whole = self.complete.is_some_and(|complete| self.last + 1 == complete);
        match asked {
            Asked::Between(first, last) => {
                let start = first.checked_sub(self.first)?;
                let last = self.complete.map_or(last, |complete| last.min(complete.saturating_sub(1)));
                let end = last.checked_sub(self.first)?.checked_add(1)?;
                (start < end && end <= held).then_some(Cut { bytes: start..end, position: first })
            }
            Asked::From(first) => {
                let start = first.checked_sub(self.first)?;
                (ends_the_whole && start < held).then_some(Cut { bytes: start..held, position: first })
            }
            Asked::Last(count) => {
                let start = held.checked_sub(count)?;
                let position = self.complete?.checked_sub(count)?;
                (ends_the_whole && count > 0).then_some(Cut { bytes: start..held, position })
            }
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn asked(fields: &[(&str, &str)]) -> Option<Asked> {
        let mut request = Request::get("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Asked::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_is_asked_for() {
        let cases = [
            ("bytes=0-4", Some(Asked::Between(0, 4))),
            ("Bytes = 7-", Some(Asked::From(7))),
            ("bytes=-5", Some(Asked::Last(5))),
            ("bytes=-0", None),
            ("bytes=4-0", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=99999999999999999999-", None),
            ("bytes", None),
        ];
        for (range, expected) in cases {
            assert_eq!(asked(&[("range", range)]), expected, "{range}");
        }
        assert_eq!(asked(&[("range", "bytes=0-4"), ("if-range", "\"a\"")]), None);
        assert_eq!(asked(&[("range", "bytes=0-4"), ("range", "bytes=0-4")]), None);
    }

    #[test]
    fn what_a_206_has() {
        let part = |range: &'static str, others: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, range.parse().unwrap());
            for (name, value) in others {
                headers.append(*name, value.parse().unwrap());
            }
            Part::of(StatusCode::PARTIAL_CONTENT, &headers)
        };
        let some = Some(Part { first: 4, last: 8, complete: Some(10) });
        assert_eq!(part("bytes 4-8/10", &[("content-length", "5")]), some);
        assert_eq!(part("bytes 4-8/*", &[]).map(Part::complete), Some(None));
        for (range, others) in [
            ("bytes 4-8/10", &[("content-length", "6")][..]),
            ("bytes 4-8/10", &[("content-length", "x")]),
            ("bytes 4-8/10", &[("content-encoding", "gzip")]),
            ("bytes 4-8/10", &[("content-range", "bytes 4-8/10")]),
            ("bytes 8-4/10", &[]),
            ("bytes 4-10/10", &[]),
            ("bytes */10", &[]),
            ("lines 4-8/10", &[]),
        ] {
            assert_eq!(part(range, others), None, "{range} {others:?}");
        }
        assert_eq!(Part::of(StatusCode::OK, &HeaderMap::new()), None);
        assert!(Part::parse(b"bytes 0-9/10").unwrap().is_whole());
        assert!(!Part::parse(b"bytes 0-8/10").unwrap().is_whole());
        assert!(!Part::parse(b"bytes 0-9/*").unwrap().is_whole());
    }

    #[test]
    fn which_requests_a_part_answers() {
        let cut = |start, end, position| Some(Cut { bytes: start..end, position });
        let cases = [
            ("bytes 4-8/10", 5, Asked::Between(4, 8), cut(0, 5, 4)),
            ("bytes 4-8/10", 5, Asked::Between(6, 7), cut(2, 4, 6)),
            ("bytes 4-8/10", 5, Asked::Between(3, 7), None),
            ("bytes 4-8/10", 5, Asked::Between(6, 9), None),
            ("bytes 4-8/10", 5, Asked::From(6), None),
            ("bytes 4-8/10", 5, Asked::Last(1), None),
            ("bytes 5-9/10", 5, Asked::Between(6, 99), cut(1, 5, 6)),
            ("bytes 5-9/10", 5, Asked::From(6), cut(1, 5, 6)),
            ("bytes 5-9/10", 5, Asked::From(10), None),
            ("bytes 5-9/10", 5, Asked::Last(5), cut(0, 5, 5)),
            ("bytes 5-9/10", 5, Asked::Last(6), None),
            ("bytes 5-9/*", 5, Asked::Last(5), None),
            // One byte fewer than announced.
            ("bytes 4-9/10", 5, Asked::Between(6, 8), cut(2, 5, 6)),
            ("bytes 4-9/10", 5, Asked::Between(6, 9), None),
            ("bytes 4-9/10", 5, Asked::Last(1), cut(4, 5, 9)),
        ];
        for (range, held, asked, expected) in cases {
            let part = Part::parse(range.as_bytes()).unwrap();
            assert_eq!(part.cut(asked, held), expected, "{range} {asked:?}");
        }
    }

    proptest! {
        /// Of a part that is what it says, every answer is what the whole would have given.
        #[test]
        fn a_part_answers_as_the_whole_does(
            complete in 1_u64..40, first in 0_u64..40, length in 1_u64..40, a in 0_u64..45, b in 0_u64..45,
        ) {
            let first = first.min(complete - 1);
            let last = (first + length - 1).min(complete - 1);
            let whole: Vec<u64> = (0..complete).collect();
            let held = &whole[first as usize..=last as usize];
            let part = Part { first, last, complete: Some(complete) };
            let requests = [Asked::Between(a.min(b), a.max(b)), Asked::From(a), Asked::Last(b.max(1))];
            for asked in requests {
                let Some(cut) = part.cut(asked, held.len() as u64) else { continue };
                let got = &held[cut.bytes.start as usize..cut.bytes.end as usize];
                let (from, to) = match asked {
                    Asked::Between(first, last) => (first, (last + 1).min(complete)),
                    Asked::From(first) => (first, complete),
                    Asked::Last(count) => (complete.saturating_sub(count), complete),
                };
                prop_assert_eq!(got, &whole[from as usize..to as usize]);
                prop_assert_eq!(cut.position, from);
            }
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40), held: u64, n: u64) {
            if let Some(part) = Part::parse(&bytes) {
                for asked in [Asked::Between(n, n), Asked::From(n), Asked::Last(n)] {
                    let _ = part.cut(asked, held);
                }
            }
        }
    }
}
