//! How a 304 freshens the stored response that it validates (RFC 9111, sections 3.2 and 4.3.4).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
};

/// Fields that describe the stored body, which the 304 does not carry.
const OF_THE_BODY: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE];

/// Each field of `not_modified` replaces the stored one.
pub fn freshen(stored: &mut HeaderMap, not_modified: &HeaderMap) {
    for name in not_modified.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        stored.remove(name);
        for value in not_modified.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
}

/// Whether a 304 that came for our conditional request speaks of the stored response: a validator that
/// it carries must be the stored one.
pub fn validates(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    let same = |name: HeaderName| match (stored.get(&name), not_modified.get(&name)) {
        (Some(ours), Some(theirs)) => Some(opaque(ours.as_bytes()) == opaque(theirs.as_bytes())),
        _ => None,
    };
    same(ETAG).or_else(|| same(LAST_MODIFIED)).unwrap_or(true)
}

/// An entity tag without its weakness (RFC 9110, section 8.8.3.2).
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}
