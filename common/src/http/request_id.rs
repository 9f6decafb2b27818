//! `X-Request-Id`: one name for a request in every service's log.

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST: usize = 128;

/// The request's id: the one it came with if `trusted` and sound, otherwise a new one.
pub fn of(headers: &HeaderMap, trusted: bool) -> HeaderValue {
    headers.get(X_REQUEST_ID).filter(|id| trusted && is_sound(id)).cloned().unwrap_or_else(new)
}

/// 128 random bits in hexadecimal.
pub fn new() -> HeaderValue {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut rest = fastrand::u128(..);
    let id: [u8; 32] = std::array::from_fn(|_| {
        let digit = DIGITS[(rest & 15) as usize];
        rest >>= 4;
        digit
    });
    HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// It goes into logs and to PHP: short, and of characters that need no quoting anywhere.
fn is_sound(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    !id.is_empty()
        && id.len() <= LONGEST
        && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_kept_only_when_it_is_trusted_and_sound() {
        let with =
            |value: &'static str| HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static(value))]);
        assert_eq!(of(&with("abc-1"), true), "abc-1");
        assert_ne!(of(&with("abc-1"), false), "abc-1");
        assert_ne!(of(&with("a b\""), true), "a b\"");
        assert_eq!(of(&HeaderMap::new(), true).len(), 32);
    }
}
