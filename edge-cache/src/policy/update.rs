//! How a 304 freshens the stored response that it validates (RFC 9111, sections 3.2 and 4.3.4).

use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName};

/// Codings that servers add to the entity tag of what they have compressed, and often leave out of a 304's.
const SUFFIXES: [&[u8]; 5] = [b"--gzip", b"-gzip", b";gzip", b"-br", b";br"];

/// Whether a 304 is about the stored response with this entity tag. Two strong ones that differ are of two
/// representations, and neither updates the other (section 4.3.4).
pub fn is_about(stored: Option<&[u8]>, not_modified: &HeaderMap) -> bool {
    let (Some(stored), Some(told)) = (stored, not_modified.get(ETAG)) else { return true };
    match (strong(stored), strong(told.as_bytes())) {
        (Some(stored), Some(told)) => stored == told,
        _ => true,
    }
}

/// What is between the quotes of a strong entity tag, without the coding.
fn strong(tag: &[u8]) -> Option<&[u8]> {
    let tag = tag.trim_ascii().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    Some(SUFFIXES.iter().find_map(|suffix| tag.strip_suffix(*suffix)).unwrap_or(tag))
}

/// Fields that belong to the stored bytes, which the 304 does not carry: they stay as they are.
const OF_THE_BODY: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
];

/// Each field of `not_modified` replaces the stored one. The stored Age goes: the 304 says how old it is.
pub fn freshen(stored: &mut HeaderMap, not_modified: &HeaderMap) {
    stored.remove(AGE);
    for name in not_modified.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        stored.remove(name);
        for value in not_modified.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
}
