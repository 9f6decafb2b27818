//! The client's conditions against a stored response (RFC 9110, section 13.2.2).

use common::http::entity_tag::{lists, opaque};
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};

use crate::policy::freshness::http_date;
use crate::store::fields::Fields;

/// Whether the client has the stored response already.
pub fn not_modified(request: &HeaderMap, stored: Fields<'_>) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        // It alone counts when it is there (section 13.1.3).
        let ours = stored.get(&ETAG).map(opaque);
        return lists(request, &IF_NONE_MATCH, |tag| Some(opaque(tag)) == ours);
    }
    // A response without Last-Modified is as new as its Date (RFC 9111, section 4.3.2).
    let modified = || stored.get(&LAST_MODIFIED).or_else(|| stored.get(&DATE));
    let Some((since, modified)) = request.get(IF_MODIFIED_SINCE).zip(modified()) else { return false };
    if since.as_bytes() == modified {
        return true;
    }
    match (http_date(since), HeaderValue::from_bytes(modified).ok().as_ref().and_then(http_date)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// The fields that describe a body (section 15.4.5).
const OF_A_BODY: [HeaderName; 4] = [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_RANGE];

/// Drops them.
pub fn strip_body_fields(headers: &mut HeaderMap) {
    for name in OF_A_BODY {
        headers.remove(name);
    }
}

/// Whether [`strip_body_fields`] drops a field of this name.
pub fn is_about_a_body(name: &[u8]) -> bool {
    OF_A_BODY.iter().any(|it| it.as_str().as_bytes() == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::store::fields;
    use bytes::Bytes;

    fn stored(fields: &[(HeaderName, &str)]) -> Bytes {
        let headers: HeaderMap =
            fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let mut packed = Vec::new();
        fields::pack(&headers, |_| false, &mut packed);
        packed.into()
    }

    type Case<'a> = (&'a Bytes, &'a [(HeaderName, &'a str)], bool);

    #[test]
    fn conditions() {
        let old = "Sun, 06 Nov 1994 08:49:37 GMT";
        let older = "Sun, 06 Nov 1994 08:49:36 GMT";
        let both = stored(&[(ETAG, "\"a,b\""), (LAST_MODIFIED, old)]);
        let weak = stored(&[(ETAG, "W/\"a\"")]);
        let dated = stored(&[(DATE, old)]);
        let cases: [Case<'_>; 14] = [
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
            (&dated, &[(IF_MODIFIED_SINCE, old)], true),
            (&dated, &[(IF_MODIFIED_SINCE, older)], false),
            (&dated, &[(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, old)], false),
        ];
        for (head, fields, expected) in cases {
            let request = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            assert_eq!(not_modified(&request, Fields::new(head)), expected, "{fields:?}");
        }
    }
}
