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
