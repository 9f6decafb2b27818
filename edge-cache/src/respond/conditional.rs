//! The client's conditions against a stored response (RFC 9110, section 13.2.2).

use http::HeaderMap;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};

use crate::policy::freshness::http_date;
use crate::store::Head;

/// The fields that make a request conditional.
pub const CONDITIONS: [HeaderName; 2] = [IF_NONE_MATCH, IF_MODIFIED_SINCE];

/// Whether the client has the stored response already.
pub fn not_modified(request: &HeaderMap, stored: &Head) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        // It alone counts when it is there (section 13.1.3).
        let Some(ours) = stored.get(&ETAG) else {
            return request.get_all(IF_NONE_MATCH).iter().any(|value| value.as_bytes().trim_ascii() == b"*");
        };
        return request.get_all(IF_NONE_MATCH).iter().any(|value| lists(value, ours));
    }
    let (Some(since), Some(modified)) = (request.get(IF_MODIFIED_SINCE), stored.get(&LAST_MODIFIED)) else {
        return false;
    };
    if since == modified {
        return true;
    }
    match (http_date(since), http_date(modified)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Drops the fields that describe a body (section 15.4.5).
pub fn strip_body_fields(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_RANGE] {
        headers.remove(name);
    }
}

/// Whether a list of entity tags holds `tag`, by weak comparison (section 8.8.3.2).
fn lists(list: &HeaderValue, tag: &HeaderValue) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let wanted = opaque(tag.as_bytes());
    let list = list.as_bytes().trim_ascii();
    list == b"*" || tags(list).any(|listed| opaque(listed) == wanted)
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
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::SystemTime;

    use http::StatusCode;

    use super::*;
    use crate::policy::cache_control::CacheControl;
    use crate::policy::freshness::Freshness;
    use crate::policy::vary::Selector;

    fn stored(fields: &[(HeaderName, &str)]) -> Head {
        let headers: HeaderMap =
            fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let now = SystemTime::now();
        let freshness = Freshness::of(StatusCode::OK, &headers, &CacheControl::default(), now, now);
        Head::new(StatusCode::OK, &headers, CacheControl::default(), freshness, Selector::default())
    }

    type Case<'a> = (&'a Head, &'a [(HeaderName, &'a str)], bool);

    #[test]
    fn conditions() {
        let old = "Sun, 06 Nov 1994 08:49:37 GMT";
        let older = "Sun, 06 Nov 1994 08:49:36 GMT";
        let both = stored(&[(ETAG, "\"a,b\""), (LAST_MODIFIED, old)]);
        let weak = stored(&[(ETAG, "W/\"a\"")]);
        let cases: [Case<'_>; 11] = [
            (&both, &[], false),
            (&both, &[(IF_NONE_MATCH, "\"a,b\"")], true),
            (&both, &[(IF_NONE_MATCH, "\"x\", W/\"a,b\"")], true),
            (&both, &[(IF_NONE_MATCH, "\"a\", \"b\"")], false),
            (&both, &[(IF_NONE_MATCH, "*")], true),
            (&both, &[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, old)], false),
            (&both, &[(IF_MODIFIED_SINCE, old)], true),
            (&both, &[(IF_MODIFIED_SINCE, older)], false),
            (&both, &[(IF_MODIFIED_SINCE, "yesterday")], false),
            (&weak, &[(IF_NONE_MATCH, "\"a\"")], true),
            (&weak, &[(IF_MODIFIED_SINCE, old)], false),
        ];
        for (head, fields, expected) in cases {
            let request = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            assert_eq!(not_modified(&request, head), expected, "{fields:?}");
        }
    }
}
