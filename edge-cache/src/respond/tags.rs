//! Cache tags: what the application says a response is made of. They are the cache's business, and go
//! no further.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// The names that applications and their purgers use.
pub const TAG_FIELDS: [HeaderName; 8] = [
    HeaderName::from_static("cache-tags"),
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("xkey"),
    HeaderName::from_static("purge-cache-tags"),
    HeaderName::from_static("x-drupal-cache-tags"),
    HeaderName::from_static("x-cache-tags"),
    CACHE_GROUPS,
];

pub fn strip(headers: &mut HeaderMap) {
    for name in &TAG_FIELDS {
        headers.remove(name);
    }
}

/// All tags of a message, sorted and each once.
pub fn of(headers: &HeaderMap) -> Vec<Box<str>> {
    let mut tags = Vec::new();
    for name in &TAG_FIELDS {
        for value in headers.get_all(name) {
            // One odd byte must not cost a page its other tags: it would never be purged.
            let text = String::from_utf8_lossy(value.as_bytes());
            if *name == CACHE_GROUPS { groups(&text, &mut tags) } else { split(&text, &mut tags) }
        }
    }
    ordered(tags)
}

/// Tags as one text, the way a header field has them.
pub fn of_text(text: &str) -> Vec<Box<str>> {
    let mut tags = Vec::new();
    split(text, &mut tags);
    ordered(tags)
}

fn ordered(mut tags: Vec<Box<str>>) -> Vec<Box<str>> {
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// Spaces, commas and pipes separate; quotes around a tag do not belong to it.
fn split(text: &str, tags: &mut Vec<Box<str>>) {
    let all = text.split([' ', ',', '|', '\t']).map(|tag| tag.trim_matches('"'));
    tags.extend(all.filter(|tag| !tag.is_empty()).map(Into::into));
}

/// A list of strings, in which anything may stand (RFC 9875, section 2), or what [`split`] takes.
fn groups(text: &str, tags: &mut Vec<Box<str>>) {
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        split(&rest[..start], tags);
        let Some((group, after)) = string(&rest[start + 1..]) else { break };
        if !group.is_empty() {
            tags.push(group.into());
        }
        rest = after;
    }
    split(rest, tags);
}

/// A structured field's string up to its closing quote (RFC 9651, section 3.3.3), and what follows.
fn string(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let inner = &text[..at];
                let inner = if inner.contains('\\') {
                    Cow::Owned(inner.replace("\\\"", "\"").replace("\\\\", "\\"))
                } else {
                    Cow::Borrowed(inner)
                };
                return Some((inner, &text[at + 1..]));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http::HeaderValue;

    use super::*;

    #[test]
    fn any_name_and_separator() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cache-tags", "node:1 node_list"),
            ("cache-tags", "node:10,node:1"),
            ("x-drupal-cache-tags", "a|b, c"),
            ("cache-groups", "\"g1\", \"g2\""),
            ("xkey", " , |"),
            ("x-other", "d"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let tags = of(&headers);
        let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
        assert_eq!(tags, ["a", "b", "c", "g1", "g2", "node:1", "node:10", "node_list"]);
        strip(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn odd_characters() {
        let cases: [(&str, &[u8], &[&str]); 8] = [
            ("xkey", b"", &[]),
            ("xkey", b"\"\" \"a\"", &["a"]),
            (
                "cache-tag",
                b"config:views.view.a;b=c {x} %20 a/b?c#d",
                &["%20", "a/b?c#d", "config:views.view.a;b=c", "{x}"],
            ),
            ("cache-tag", "caf\u{e9} \u{4e2d}".as_bytes(), &["caf\u{e9}", "\u{4e2d}"]),
            ("cache-tag", b"caf\xe9 node:1", &["caf\u{fffd}", "node:1"]),
            ("cache-groups", b"\"a b\", \"c,d|e\" , \"f\\\"g\\\\\"", &["a b", "c,d|e", "f\"g\\"]),
            ("cache-groups", b"\"\", plain", &["plain"]),
            ("cache-groups", b"\"open a", &["a", "open"]),
        ];
        for (name, value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
            let tags = of(&headers);
            let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
            assert_eq!(tags, expected, "{name}: {}", String::from_utf8_lossy(value));
        }
    }
}
