//! Lists of entity tags, as in `If-Match` and `If-None-Match` (RFC 9110, section 13.1).

use http::HeaderMap;
use http::header::HeaderName;

/// Whether the field `name` is `*` or holds a tag that `matches`.
pub fn lists(request: &HeaderMap, name: &HeaderName, matches: impl Fn(&[u8]) -> bool) -> bool {
    request.get_all(name).iter().any(|value| {
        let list = value.as_bytes().trim_ascii();
        list == b"*" || tags(list).any(&matches)
    })
}

/// A tag without its weakness: weak comparison is equality of these (section 8.8.3.2).
pub fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_inside_the_quotes_belongs_to_the_tag() {
        let all = |list: &'static [u8]| tags(list).collect::<Vec<_>>();
        assert_eq!(all(b"\"a,b\" , W/\"c\",,\"\""), [&b"\"a,b\""[..], b"W/\"c\"", b"\"\""]);
        assert!(all(b" ,").is_empty());
        assert_eq!(opaque(b"W/\"c\""), b"\"c\"");
    }
}
