//! Content codings: which of the forms that a response has a client gets (RFC 9110, sections 8.4 and 12.5.3).

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING};

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Brotli,
    /// One that cannot be undone here, or several on top of each other.
    Other,
}

/// A weight, in thousandths.
type Weight = u16;

/// What a request's `Accept-Encoding` says of the codings that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub identity: Weight,
    pub gzip: Weight,
    pub brotli: Weight,
    zstd: Weight,
    deflate: Weight,
}

/// The form of a stored body that a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    AsStored,
    /// The coding undone.
    Identity,
}

const FULL: Weight = 1000;

impl Coding {
    /// The coding of a response.
    pub fn of(response: &HeaderMap) -> Self {
        let mut fields = response.get_all(CONTENT_ENCODING).iter();
        match (fields.next(), fields.next()) {
            (None, _) => Self::Identity,
            (Some(field), None) => {
                let name = field.as_bytes().trim_ascii();
                let is =
                    |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
                if is(&["", "identity"]) {
                    Self::Identity
                } else if is(&["gzip", "x-gzip"]) {
                    Self::Gzip
                } else if is(&["br"]) {
                    Self::Brotli
                } else {
                    Self::Other
                }
            }
            (Some(_), Some(_)) => Self::Other,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Other => "other",
        }
    }
}

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

    /// The form of a body stored with `coding` that fits best; `None` where none of them is acceptable.
    ///
    /// With equal weights the client gets it as it is stored. `may_transform` is false under `no-transform`
    /// (RFC 9110, section 7.7).
    pub const fn form(self, coding: Coding, may_transform: bool) -> Option<Form> {
        let stored = match coding {
            // What is not acceptable either is better than nothing at all (section 12.5.3).
            Coding::Identity => return Some(Form::AsStored),
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Other => {
                return if self.zstd > 0 || self.deflate > 0 { Some(Form::AsStored) } else { None };
            }
        };
        if stored > 0 && (stored >= self.identity || !may_transform) {
            Some(Form::AsStored)
        } else if !may_transform {
            None
        } else if self.identity > 0 || stored == 0 {
            Some(Form::Identity)
        } else {
            Some(Form::AsStored)
        }
    }
}

/// Whether a response may be changed on its way.
pub fn may_transform(response: &HeaderMap) -> bool {
    !response.get_all(CACHE_CONTROL).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    })
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
    fn forms() {
        use Coding::{Brotli, Gzip, Identity, Other};
        use Form::AsStored;
        let plain = Some(Form::Identity);
        let stored = Some(AsStored);
        let cases = [
            (None, Identity, stored),
            (None, Gzip, plain),
            (None, Brotli, plain),
            (None, Other, None),
            (Some(""), Gzip, plain),
            (Some("gzip, deflate, br, zstd"), Gzip, stored),
            (Some("gzip, deflate, br, zstd"), Brotli, stored),
            (Some("gzip, deflate, br, zstd"), Other, stored),
            (Some("gzip, deflate"), Brotli, plain),
            (Some("br"), Gzip, plain),
            (Some("x-GZip;Q=0.5"), Gzip, stored),
            (Some("gzip;q=0"), Gzip, plain),
            (Some("gzip;q=0.000, *"), Gzip, plain),
            (Some("*"), Gzip, stored),
            (Some("*;q=0"), Gzip, plain),
            (Some("identity, gzip;q=0.5"), Gzip, plain),
            (Some("identity;q=0.5, gzip;q=0.8"), Gzip, stored),
            (Some("identity;q=0, gzip;q=0.1"), Gzip, stored),
            (Some("identity;q=0, br"), Gzip, plain),
            (Some("gzip;q=nonsense"), Gzip, stored),
            (Some("gzip;q=0.0001"), Gzip, stored),
        ];
        for (text, coding, expected) in cases {
            assert_eq!(accepted(text).form(coding, true), expected, "{text:?} {coding:?}");
        }
        assert_eq!(accepted(None).form(Gzip, false), None, "no-transform");
        assert_eq!(accepted(Some("identity, gzip;q=0.5")).form(Gzip, false), stored);
    }

    #[test]
    fn one_value_for_all_who_accept_the_same() {
        let names = |text| accepted(Some(text)).names().collect::<Vec<_>>().join(&b' ');
        assert_eq!(names("gzip, deflate, br"), b"br deflate gzip");
        assert_eq!(names("br;q=1.0,gzip;q=0.8, deflate, identity, x"), b"br deflate gzip");
        assert_eq!(names("gzip;q=0, br"), b"br");
        assert_eq!(names("*"), b"br deflate gzip zstd");
    }

    #[test]
    fn codings() {
        let coding = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            Coding::of(&headers)
        };
        assert_eq!(coding(&[]), Coding::Identity);
        assert_eq!(coding(&["GZIP"]), Coding::Gzip);
        assert_eq!(coding(&["br"]), Coding::Brotli);
        assert_eq!(coding(&["br, gzip"]), Coding::Other);
        assert_eq!(coding(&["gzip", "gzip"]), Coding::Other);
        assert_eq!(coding(&["zstd"]), Coding::Other);
    }
}
