//! What a client accepts (RFC 9110, section 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A weight, in thousandths.
pub type Weight = u16;

/// What a request's `Accept-Encoding` says of the codings that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub identity: Weight,
    pub gzip: Weight,
    pub brotli: Weight,
    pub zstd: Weight,
    pub deflate: Weight,
}

const FULL: Weight = 1000;

impl Accepted {
    /// Without the field any coding would do (section 12.5.3), but who does not ask for one gets none, as everywhere.
    pub fn of(request: &HeaderMap) -> Self {
        let mut named = [None; 5];
        let mut star = None;
        for (name, weight) in elements(request) {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let slot = if is("identity") {
                &mut named[0]
            } else if is("gzip") || is("x-gzip") {
                &mut named[1]
            } else if is("br") {
                &mut named[2]
            } else if is("zstd") {
                &mut named[3]
            } else if is("deflate") {
                &mut named[4]
            } else if is("*") {
                &mut star
            } else {
                continue;
            };
            *slot = Some(weight);
        }
        let [identity, gzip, brotli, zstd, deflate] = named;
        let or_star = |weight: Option<Weight>| weight.or(star).unwrap_or(0);
        Self {
            // Acceptable unless it is excluded; without a weight of its own it comes after what is listed.
            identity: identity.or(star).unwrap_or(1),
            gzip: or_star(gzip),
            brotli: or_star(brotli),
            zstd: or_star(zstd),
            deflate: or_star(deflate),
        }
    }

    /// The acceptable codings but for identity, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static [u8]> {
        let all: [(&'static [u8], Weight); 4] =
            [(b"br", self.brotli), (b"deflate", self.deflate), (b"gzip", self.gzip), (b"zstd", self.zstd)];
        all.into_iter().filter(|(_, weight)| *weight > 0).map(|(name, _)| name)
    }
}

/// The listed codings with their weights; what is no weight counts as one of 1.
fn elements(request: &HeaderMap) -> impl Iterator<Item = (&[u8], Weight)> {
    let lines = request.get_all(ACCEPT_ENCODING).iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    elements.filter_map(|element| {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
        Some((name, weight.map_or(FULL, |text| self::weight(text).unwrap_or(FULL))))
    })
}

/// A qvalue (section 12.4.2) in thousandths.
fn weight(text: &[u8]) -> Option<Weight> {
    let (whole, decimals) = match text {
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        [whole] => (whole, &[][..]),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let decimals =
        decimals.iter().chain(b"000").take(3).fold(0, |sum, digit| sum * 10 + Weight::from(digit - b'0'));
    Some((Weight::from(whole - b'0') * FULL + decimals).min(FULL))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn accepted(text: Option<&str>) -> Accepted {
        let mut headers = HeaderMap::new();
        if let Some(text) = text {
            headers.insert(ACCEPT_ENCODING, text.parse().unwrap());
        }
        Accepted::of(&headers)
    }

    #[test]
    fn weights() {
        // identity, gzip, br, zstd, deflate
        let cases = [
            (None, [1, 0, 0, 0, 0]),
            (Some(""), [1, 0, 0, 0, 0]),
            (Some("gzip, deflate, br, zstd"), [1, 1000, 1000, 1000, 1000]),
            (Some("x-GZip;Q=0.5"), [1, 500, 0, 0, 0]),
            (Some("gzip ; q=0.25 , br;q=1.000"), [1, 250, 1000, 0, 0]),
            (Some("gzip;q=0, *"), [1000, 0, 1000, 1000, 1000]),
            (Some("*;q=0"), [0, 0, 0, 0, 0]),
            (Some("identity;q=0, *;q=0.1"), [0, 100, 100, 100, 100]),
            // What is no weight counts as none was given.
            (Some("gzip;q=nonsense, br;q=0.0001, zstd;q=2"), [1, 1000, 1000, 1000, 0]),
        ];
        for (text, expected) in cases {
            let Accepted { identity, gzip, brotli, zstd, deflate } = accepted(text);
            assert_eq!([identity, gzip, brotli, zstd, deflate], expected, "{text:?}");
        }
    }

    #[test]
    fn one_value_for_all_who_accept_the_same() {
        let names = |text| accepted(Some(text)).names().collect::<Vec<_>>().join(&b' ');
        assert_eq!(names("gzip, deflate, br"), b"br deflate gzip");
        assert_eq!(names("br;q=1.0,gzip;q=0.8, deflate, identity, x"), b"br deflate gzip");
        assert_eq!(names("gzip;q=0, br"), b"br");
        assert_eq!(names("*"), b"br deflate gzip zstd");
    }
}
