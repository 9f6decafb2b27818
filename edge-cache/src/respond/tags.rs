//! Cache tags: what the application says a response is made of. They are the cache's business, and go
//! no further.

use http::{HeaderMap, HeaderName};

/// The names that applications and their purgers use.
pub const TAG_FIELDS: [HeaderName; 8] = [
    HeaderName::from_static("cache-tags"),
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("xkey"),
    HeaderName::from_static("purge-cache-tags"),
    HeaderName::from_static("x-drupal-cache-tags"),
    HeaderName::from_static("x-cache-tags"),
    HeaderName::from_static("cache-groups"),
];

pub fn strip(headers: &mut HeaderMap) {
    for name in &TAG_FIELDS {
        headers.remove(name);
    }
}

/// All tags of a message, sorted and each once. Spaces, commas and pipes separate; the quotes of
/// `Cache-Groups` (RFC 9875) do not belong to the tag.
pub fn of(headers: &HeaderMap) -> Vec<Box<str>> {
    let mut tags: Vec<Box<str>> = TAG_FIELDS
        .iter()
        .flat_map(|name| headers.get_all(name))
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(|value| value.split([' ', ',', '|', '\t']))
        .map(|tag| tag.trim_matches('"'))
        .filter(|tag| !tag.is_empty())
        .map(Into::into)
        .collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
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
}
