//! The request fields that select a response (RFC 9111, section 4.1).

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, VARY};

use super::coding::Accepted;
use super::language;

/// A stored response's `Vary`, with the values that selected it, packed: for each name its length (u16) and bytes,
/// then 0 where the request had no such field, or 1 and the normalised value with its length (u32) before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Box<[u8]>);

/// A selector where it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectorRef<'a>(&'a [u8]);

impl Selector {
    /// Remembers what `request` had in the fields that `response` varies on, but for those that `skip` names.
    pub fn of(request: &HeaderMap, response: &HeaderMap, skip: impl Fn(&HeaderName) -> bool) -> Self {
        let mut names: Vec<HeaderName> = field_names(response).filter(|name| !skip(name)).collect();
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self::of_names(request, names.iter().map(HeaderName::as_str))
    }

    fn of_names<'a>(request: &HeaderMap, names: impl Iterator<Item = &'a str>) -> Self {
        let mut packed = Vec::new();
        for name in names {
            packed.extend_from_slice(&(name.len() as u16).to_le_bytes());
            packed.extend_from_slice(name.as_bytes());
            if !request.contains_key(name) {
                packed.push(0);
                continue;
            }
            packed.push(1);
            let length_at = packed.len();
            packed.extend_from_slice(&[0; 4]);
            normalised(request, name, |part| {
                packed.extend_from_slice(part);
                true
            });
            let length = (packed.len() - length_at - 4) as u32;
            if let Some(slot) = packed.get_mut(length_at..length_at + 4) {
                slot.copy_from_slice(&length.to_le_bytes());
            }
        }
        Self(packed.into())
    }

    pub fn as_ref(&self) -> SelectorRef<'_> {
        SelectorRef(&self.0)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> SelectorRef<'a> {
    /// As [`Selector::as_bytes`] gave them.
    pub const fn of_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether `request` would have selected the same response.
    pub fn matches(self, request: &HeaderMap) -> bool {
        self.iter().all(|(name, stored)| is_same(request, name, stored))
    }

    /// The same, but for another Accept-Language that wants `language`, the response's own, before all others.
    pub fn matches_language(self, request: &HeaderMap, language: &[u8]) -> bool {
        self.iter().all(|(name, stored)| {
            is_same(request, name, stored)
                || name == ACCEPT_LANGUAGE.as_str() && language::is_first_choice(request, language)
        })
    }

    /// What `request` has in the same fields, for telling requests apart before the response is known.
    #[must_use]
    pub fn same_fields(self, request: &HeaderMap) -> Selector {
        Selector::of_names(request, self.iter().map(|(name, _)| name))
    }

    pub fn to_owned(self) -> Selector {
        Selector(self.0.into())
    }

    /// The names, each with the normalised value that the request had.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (name, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            let (there, after) = after.split_first()?;
            let (value, after) = if *there == 0 {
                (None, after)
            } else {
                let (length, after) = after.split_first_chunk::<4>()?;
                let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                (Some(value), after)
            };
            rest = after;
            Some((std::str::from_utf8(name).ok()?, value))
        })
    }
}

/// Whether the request has `stored` in the field, in whatever form.
fn is_same(request: &HeaderMap, name: &str, stored: Option<&[u8]>) -> bool {
    let Some(mut left) = stored else { return !request.contains_key(name) };
    let same = |part: &[u8]| match left.strip_prefix(part) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    request.contains_key(name) && normalised(request, name, same) && left.is_empty()
}

/// Whether `*` stands anywhere in the list: then no request ever matches.
pub fn is_star(response: &HeaderMap) -> bool {
    elements(response).any(|element| element == b"*")
}

/// Whether `Vary` names a field.
pub fn names(response: &HeaderMap, name: &HeaderName) -> bool {
    elements(response).any(|element| element.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

fn field_names(response: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    elements(response).filter_map(|element| HeaderName::from_bytes(element).ok())
}

fn elements(response: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    response
        .get_all(VARY)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Gives the field's normalised value to `take`, part by part, until that says no; whether it never did.
///
/// Lines are joined and white space around list elements is removed. Accept-Encoding is brought to the codings
/// that a response may have, since no two browsers write it alike, and Accept-Language to an order. Not there at all is another value than there
/// and empty, which the caller looks at.
fn normalised(request: &HeaderMap, name: &str, mut take: impl FnMut(&[u8]) -> bool) -> bool {
    if name == ACCEPT_ENCODING.as_str() {
        return Accepted::of(request).names().all(|name| take(name) && take(b","));
    }
    if name == ACCEPT_LANGUAGE.as_str()
        && let Some(canonical) = language::canonical(request)
    {
        return take(&canonical);
    }
    let lines = request.get_all(name).iter();
    let mut elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if let Some(first) = elements.next()
        && !take(first.trim_ascii())
    {
        return false;
    }
    elements.all(|element| take(b",") && take(element.trim_ascii()))
}
