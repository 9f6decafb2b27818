//! `Cache-Control`, read by our own parser: every directive counts, in any case, quoted or not, and an
//! overflowing number is "a very large number" instead of an error (RFC 9111, sections 1.2.2 and 5.2).

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName};

/// The greatest delta-seconds that is told apart (RFC 9111, section 1.2.2).
const MAX_DELTA: u64 = 2_147_483_648;

/// The directives that a shared cache acts on, of a response or of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a directive of the RFC")]
pub struct CacheControl {
    pub no_store: bool,
    /// `no-cache` without field names.
    pub no_cache: bool,
    /// `private` without field names.
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Delta>,
    pub s_maxage: Option<Delta>,
    pub stale_while_revalidate: Option<Delta>,
    pub stale_if_error: Option<Delta>,
    pub min_fresh: Option<Delta>,
    /// `max-stale`; without a value any staleness is accepted.
    pub max_stale: Option<Delta>,
    /// Field names listed by `private="…"` and `no-cache="…"`: not to be stored.
    pub withheld_fields: Vec<HeaderName>,
    /// They come from a field that is for caches like this one, so Expires does not count either (RFC 9213).
    pub is_targeted: bool,
}

/// A directive's number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    Seconds(u64),
    /// Not a number: what it limits is to be taken as stale (RFC 9111, section 4.2.1).
    Invalid,
}

impl Delta {
    /// An invalid one counts as zero.
    pub const fn get(self) -> Duration {
        match self {
            Self::Seconds(seconds) => Duration::from_secs(seconds),
            Self::Invalid => Duration::ZERO,
        }
    }

    /// Very large numbers are all the same.
    pub const fn of(seconds: u64) -> Self {
        Self::Seconds(if seconds < MAX_DELTA { seconds } else { MAX_DELTA })
    }

    pub fn parse(text: &[u8]) -> Self {
        if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
            return Self::Invalid;
        }
        let seconds = text.iter().fold(0_u64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(MAX_DELTA)
        });
        Self::Seconds(seconds)
    }
}

impl CacheControl {
    /// All `Cache-Control` fields together.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in Directives(value.as_bytes()) {
                directives.add(name, argument);
            }
        }
        directives
    }

    fn add(&mut self, name: &[u8], argument: Option<Argument<'_>>) {
        // Of a repeated number the first counts (RFC 9111, section 4.2.1).
        let set = |slot: &mut Option<Delta>| {
            let value = argument.as_ref().map_or(Delta::Invalid, |argument| Delta::parse(argument.text));
            slot.get_or_insert(value);
        };
        let is = |expected: &str| name.eq_ignore_ascii_case(expected.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.withhold(argument, |this| this.no_cache = true);
        } else if is("private") {
            self.withhold(argument, |this| this.private = true);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            set(&mut self.max_age);
        } else if is("s-maxage") {
            set(&mut self.s_maxage);
        } else if is("stale-while-revalidate") {
            set(&mut self.stale_while_revalidate);
        } else if is("stale-if-error") {
            set(&mut self.stale_if_error);
        } else if is("min-fresh") {
            set(&mut self.min_fresh);
        } else if is("max-stale") {
            let any = Delta::Seconds(MAX_DELTA);
            let value = argument.as_ref().map_or(any, |argument| Delta::parse(argument.text));
            self.max_stale.get_or_insert(value);
        }
    }

    fn withhold(&mut self, argument: Option<Argument<'_>>, whole: impl FnOnce(&mut Self)) {
        let names = argument.map(|argument| argument.text).unwrap_or_default();
        let names = names.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let names: Vec<HeaderName> = names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
        if names.is_empty() { whole(self) } else { self.withheld_fields.extend(names) }
    }
}

#[derive(Debug)]
struct Argument<'a> {
    text: &'a [u8],
}

/// Iterates over `name[=argument]`, where an argument is a token or a quoted string; commas inside
/// quotes do not separate. A backslash escape is kept as it stands: no known directive needs one.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Option<Argument<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let (element, rest) = split_element(self.0);
            self.0 = rest;
            let element = element.trim_ascii();
            if element.is_empty() {
                continue;
            }
            let Some(equals) = memchr::memchr(b'=', element) else { return Some((element, None)) };
            let (name, argument) = (&element[..equals], &element[equals + 1..]);
            // White space around "=" is not allowed: `max-age =1` is another directive's name.
            let text = match argument {
                [b'"', inner @ .., b'"'] => inner,
                plain => plain,
            };
            return Some((name, Some(Argument { text })));
        }
    }
}

/// The bytes up to the next comma outside quotes, and what follows it.
fn split_element(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&bytes[..at], &bytes[at + 1..]),
            _ => {}
        }
    }
    (bytes, &[])
}
