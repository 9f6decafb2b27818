//! Content codings: which of the forms that a response has a client gets (RFC 9110, sections 8.4 and 12.5.3).

pub use common::http::coding::{Accepted, may_transform};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Brotli,
    /// One that cannot be undone here, or several on top of each other.
    Other,
}

/// The form of a stored body that a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    AsStored,
    /// The coding undone.
    Identity,
}

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

impl Form {
    /// The form of a body stored with `coding` that fits best; `None` where none of them is acceptable.
    ///
    /// With equal weights the client gets it as it is stored. `may_transform` is false under `no-transform`
    /// (RFC 9110, section 7.7).
    pub const fn of(accepted: Accepted, coding: Coding, may_transform: bool) -> Option<Self> {
        let stored = match coding {
            // What is not acceptable either is better than nothing at all (section 12.5.3).
            Coding::Identity => return Some(Self::AsStored),
            Coding::Gzip => accepted.gzip,
            Coding::Brotli => accepted.brotli,
            Coding::Other => {
                return if accepted.zstd > 0 || accepted.deflate > 0 { Some(Self::AsStored) } else { None };
            }
        };
        if stored > 0 && (stored >= accepted.identity || !may_transform) {
            Some(Self::AsStored)
        } else if !may_transform {
            None
        } else if accepted.identity > 0 || stored == 0 {
            Some(Self::Identity)
        } else {
            Some(Self::AsStored)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http::header::ACCEPT_ENCODING;

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
            assert_eq!(Form::of(accepted(text), coding, true), expected, "{text:?} {coding:?}");
        }
        assert_eq!(Form::of(accepted(None), Gzip, false), None, "no-transform");
        assert_eq!(Form::of(accepted(Some("identity, gzip;q=0.5")), Gzip, false), stored);
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
