//! Content codings, for whoever compresses and whoever chooses (RFC 9110, sections 8.4 and 12.5.3).
//!
//! 1. [`Accepted`]: what a client accepts, in weights.
//! 2. [`is_compressible`]: which types are worth it.
//! 3. [`may_transform`]: which responses may be changed on their way.
//! 4. [`Encoder`]: compression piece by piece.

mod accept;
mod compressible;
mod encoder;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, HeaderName};

pub use accept::{Accepted, Weight};
pub use compressible::is_compressible;
pub use encoder::Encoder;

/// Fields that describe the bytes of one coding only.
pub const OF_THE_CODING: [HeaderName; 5] = [
    CONTENT_ENCODING,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Whether a response may be changed on its way.
pub fn may_transform(response: &HeaderMap) -> bool {
    !response.get_all(CACHE_CONTROL).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    })
}
