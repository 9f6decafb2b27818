//! How a 304 freshens the stored response that it validates (RFC 9111, sections 3.2 and 4.3.4).

use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName};

/// Fields that belong to the stored bytes, which the 304 does not carry: they stay as they are.
const OF_THE_BODY: [HeaderName; 5] =
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName::from_static("content-md5")];

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
