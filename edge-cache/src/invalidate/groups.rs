//! `Cache-Group-Invalidation` (RFC 9875, section 3): the response to an unsafe request names groups of stored
//! responses of the same origin that are outdated by it.

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{List, ListEntry, Parser};

const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The groups that a response names; none where the field is no list of strings.
pub fn named(response: &HeaderMap) -> Vec<Box<str>> {
    let mut lines = response.get_all(CACHE_GROUP_INVALIDATION).iter().map(HeaderValue::as_bytes).peekable();
    if lines.peek().is_none() {
        return Vec::new();
    }
    let text = lines.collect::<Vec<_>>().join(&b","[..]);
    let Ok(list) = Parser::new(&text).parse::<List>() else { return Vec::new() };
    let strings = list.iter().filter_map(|entry| match entry {
        ListEntry::Item(item) => item.bare_item.as_string().map(|group| group.as_str().into()),
        ListEntry::InnerList(_) => None,
    });
    strings.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn lists_of_strings() {
        let cases: [(&[&str], &[&str]); 6] = [
            (&["\"a\", \"b c\";x=1"], &["a", "b c"]),
            (&["\"a\"", "\"b\\\"\""], &["a", "b\""]),
            (&["\"a\", token, 1, (\"in\")"], &["a"]),
            (&["\"a"], &[]),
            (&[""], &[]),
            (&[], &[]),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_GROUP_INVALIDATION, line.parse().unwrap());
            }
            let groups = named(&headers);
            assert_eq!(groups.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), expected, "{lines:?}");
        }
    }
}
