//! Header fields packed into bytes, as they are kept in the store.
//!
//! A field is `id, length of its value (u16), value`; the id stands for one of the [`NAMES`]. A name that is not
//! among them follows its own length behind [`OTHER`], a value of 64 KiB or more its u32 behind [`LONG`]. A page's
//! head takes fewer bytes so than it had on the wire.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Names that a byte stands for, since nearly every response has them. The order is not kept anywhere but in memory.
static NAMES: [HeaderName; 56] = [
    http::header::AGE,
    http::header::ALT_SVC,
    http::header::CACHE_CONTROL,
    http::header::CONTENT_DISPOSITION,
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_LANGUAGE,
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_LOCATION,
    http::header::CONTENT_SECURITY_POLICY,
    http::header::CONTENT_TYPE,
    http::header::DATE,
    http::header::ETAG,
    http::header::EXPIRES,
    http::header::LAST_MODIFIED,
    http::header::LINK,
    http::header::LOCATION,
    http::header::PRAGMA,
    http::header::REFERRER_POLICY,
    http::header::SERVER,
    http::header::SET_COOKIE,
    http::header::STRICT_TRANSPORT_SECURITY,
    http::header::VARY,
    http::header::VIA,
    http::header::X_CONTENT_TYPE_OPTIONS,
    http::header::X_FRAME_OPTIONS,
    http::header::X_XSS_PROTECTION,
    http::header::X_DNS_PREFETCH_CONTROL,
    http::header::ACCEPT_RANGES,
    http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    http::header::ACCESS_CONTROL_ALLOW_HEADERS,
    http::header::ACCESS_CONTROL_ALLOW_METHODS,
    http::header::ACCESS_CONTROL_ALLOW_ORIGIN,
    http::header::ACCESS_CONTROL_EXPOSE_HEADERS,
    http::header::ACCESS_CONTROL_MAX_AGE,
    http::header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    http::header::RETRY_AFTER,
    HeaderName::from_static("permissions-policy"),
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-generator"),
    HeaderName::from_static("x-drupal-cache"),
    HeaderName::from_static("x-drupal-dynamic-cache"),
    HeaderName::from_static("x-drupal-cache-contexts"),
    HeaderName::from_static("x-drupal-cache-max-age"),
    HeaderName::from_static("x-ua-compatible"),
    HeaderName::from_static("x-robots-tag"),
    HeaderName::from_static("x-permitted-cross-domain-policies"),
    HeaderName::from_static("x-download-options"),
    HeaderName::from_static("x-accel-expires"),
    HeaderName::from_static("x-pingback"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-cache"),
    HeaderName::from_static("cache-status"),
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderName::from_static("timing-allow-origin"),
];

static IDS: LazyLock<HashMap<HeaderName, u8>> = LazyLock::new(|| NAMES.iter().cloned().zip(0..).collect());

/// A name that is not in the table: its length (u16) and its bytes come first.
const OTHER: u8 = u8::MAX;
/// The same, and the value's length takes a u32.
const LONG: u8 = u8::MAX - 1;

/// Packed fields at the beginning of a block.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [u8]);

/// The name of a packed field.
#[derive(Debug, Clone, Copy)]
enum Name<'a> {
    Known(&'static HeaderName),
    Other(&'a [u8]),
}

/// Appends `headers` but for those that `skip` names.
pub fn pack(headers: &HeaderMap, skip: impl Fn(&HeaderName) -> bool, out: &mut Vec<u8>) {
    for (name, value) in headers {
        if skip(name) {
            continue;
        }
        let value = value.as_bytes();
        match (IDS.get(name), u16::try_from(value.len())) {
            (Some(id), Ok(length)) => {
                out.push(*id);
                out.extend_from_slice(&length.to_le_bytes());
            }
            (_, length) => {
                out.push(if length.is_ok() { OTHER } else { LONG });
                let name = name.as_str().as_bytes();
                // hyper's names are at most 64 KiB less one byte.
                out.extend_from_slice(&(name.len() as u16).to_le_bytes());
                out.extend_from_slice(name);
                match length {
                    Ok(length) => out.extend_from_slice(&length.to_le_bytes()),
                    Err(_) => out.extend_from_slice(&(value.len() as u32).to_le_bytes()),
                }
            }
        }
        out.extend_from_slice(value);
    }
}

/// Bytes that [`pack`] needs at most.
pub fn bound(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 7).sum()
}

impl<'a> Fields<'a> {
    /// As [`pack`] wrote them.
    pub const fn new(packed: &'a [u8]) -> Self {
        Self(packed)
    }

    /// The first value of a field.
    pub fn get(self, name: &HeaderName) -> Option<&'a [u8]> {
        self.iter().find(|(stored, ..)| stored.is(name)).and_then(|(_, start, end)| self.0.get(start..end))
    }

    /// All values of a field.
    pub fn get_all(self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let all = self.0;
        self.iter()
            .filter(move |(stored, ..)| stored.is(name))
            .filter_map(move |(_, start, end)| all.get(start..end))
    }

    /// The first value, as one of its own.
    pub fn value(self, name: &HeaderName) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.get(name)?).ok()
    }

    /// All fields, with room for `more`. The values are shared with `block`, at whose beginning these fields are.
    pub fn to_headers(self, block: &Bytes, more: usize) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.iter().count() + more);
        for (name, start, end) in self.iter() {
            let name = match name {
                Name::Known(name) => name.clone(),
                // What was a name and a value when it was packed is one still.
                Name::Other(name) => match HeaderName::from_bytes(name) {
                    Ok(name) => name,
                    Err(_) => continue,
                },
            };
            if let Ok(value) = HeaderValue::from_maybe_shared(block.slice(start..end)) {
                headers.append(name, value);
            }
        }
        headers
    }

    /// Each field in the order of the response: name and value.
    pub fn each(self, mut take: impl FnMut(&'a [u8], &'a [u8])) {
        for (name, start, end) in self.iter() {
            let name = match name {
                Name::Known(name) => name.as_str().as_bytes(),
                Name::Other(name) => name,
            };
            take(name, self.0.get(start..end).unwrap_or_default());
        }
    }

    /// Each name with where its value begins and ends in the block.
    fn iter(self) -> impl Iterator<Item = (Name<'a>, usize, usize)> {
        let all = self.0;
        let mut at = 0;
        std::iter::from_fn(move || {
            let id = *all.get(at)?;
            at += 1;
            let name = if let Some(name) = NAMES.get(usize::from(id)) {
                Name::Known(name)
            } else {
                let length = number::<2>(all, &mut at)?;
                at += length;
                Name::Other(all.get(at - length..at)?)
            };
            let length = if id == LONG { number::<4>(all, &mut at) } else { number::<2>(all, &mut at) }?;
            at += length;
            (at <= all.len()).then_some((name, at - length, at))
        })
    }
}

/// A little-endian number of `N` bytes.
fn number<const N: usize>(all: &[u8], at: &mut usize) -> Option<usize> {
    let bytes = all.get(*at..*at + N)?;
    *at += N;
    Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

impl Name<'_> {
    fn is(self, name: &HeaderName) -> bool {
        match self {
            Self::Known(known) => known == name,
            Self::Other(other) => other == name.as_str().as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn packed(headers: &HeaderMap) -> (Bytes, usize) {
        let mut out = Vec::new();
        pack(headers, |_| false, &mut out);
        assert!(out.len() <= bound(headers));
        let length = out.len();
        out.extend_from_slice(b"the body");
        (out.into(), length)
    }

    #[test]
    fn known_and_other_names_and_long_values() {
        let mut headers = HeaderMap::new();
        headers.append("vary", HeaderValue::from_static("a"));
        headers.append("x-own", HeaderValue::from_static(""));
        headers.append("vary", HeaderValue::from_bytes(b"\xe9").unwrap());
        headers.append("x-long", HeaderValue::from_str(&"l".repeat(70_000)).unwrap());
        headers.append("etag", HeaderValue::from_str(&"e".repeat(65_536)).unwrap());
        let (block, length) = packed(&headers);
        let fields = Fields::new(&block[..length]);
        assert_eq!(fields.to_headers(&block, 8), headers);
        assert_eq!(fields.get(&http::header::VARY), Some(&b"a"[..]));
        assert_eq!(fields.value(&HeaderName::from_static("x-own")).unwrap(), "");
        assert_eq!(fields.get(&http::header::ETAG).map(<[u8]>::len), Some(65_536));
        assert_eq!(fields.get(&http::header::DATE), None);
    }

    #[test]
    fn a_table_of_different_names() {
        assert_eq!(IDS.len(), NAMES.len());
        assert!(NAMES.len() < usize::from(LONG));
    }

    proptest! {
        #[test]
        fn packed_headers_are_the_same_headers(
            fields in proptest::collection::vec(("(etag|vary|x-[a-z]{1,9})", proptest::collection::vec(0x20_u8..0x7f, 0..50)), 0..20)
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(&value).unwrap());
            }
            let (block, length) = packed(&headers);
            prop_assert_eq!(Fields::new(&block[..length]).to_headers(&block, 0), headers);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let block = Bytes::from(bytes);
            let _ = Fields::new(&block).to_headers(&block, 0);
        }
    }
}
