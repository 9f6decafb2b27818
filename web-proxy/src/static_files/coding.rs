//! The content codings of files, and the order in which a client wants them.

use common::http::coding::{Accepted, Weight};
use http::HeaderValue;

/// A coding that a file can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    /// As in Content-Encoding (RFC 7932, 8878 and 1952).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    pub const fn field(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// What a file's name has behind it when it is coded.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    const fn weight(self, accepted: Accepted) -> Weight {
        match self {
            Self::Brotli => accepted.brotli,
            Self::Zstd => accepted.zstd,
            Self::Gzip => accepted.gzip,
        }
    }
}

/// Which of the `offered` codings come before the plain form, best first (RFC 9110, section 12.5.3). Among
/// equals the order of the offer counts, and each of them comes before the plain form.
pub fn preferred(accepted: Accepted, offered: &[Coding]) -> Vec<Coding> {
    let is_wanted = |coding: &Coding| {
        let weight = coding.weight(accepted);
        weight > 0 && weight >= accepted.identity
    };
    let mut wanted: Vec<Coding> = offered.iter().copied().filter(is_wanted).collect();
    wanted.sort_by_key(|coding| std::cmp::Reverse(coding.weight(accepted)));
    wanted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http::HeaderMap;
    use http::header::ACCEPT_ENCODING;
    use proptest::prelude::*;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    fn accepted(text: &str) -> Accepted {
        Accepted::of(&HeaderMap::from_iter([(ACCEPT_ENCODING, text.parse().unwrap())]))
    }

    #[test]
    fn by_weight_then_by_the_order_of_the_offer() {
        use Coding::{Brotli, Gzip, Zstd};
        let cases: [(&str, &[Coding]); 18] = [
            ("", &[]),
            ("gzip, deflate, br, zstd", &[Brotli, Zstd, Gzip]),
            ("gzip", &[Gzip]),
            ("x-gzip", &[Gzip]),
            ("GZIP, Br", &[Brotli, Gzip]),
            ("gzip, br;q=0.9", &[Gzip, Brotli]),
            ("gzip;q=0.5, br;q=0.5, zstd;q=0.6", &[Zstd, Brotli, Gzip]),
            ("*", &[Brotli, Zstd, Gzip]),
            ("*;q=0.1, gzip", &[Gzip, Brotli, Zstd]),
            ("br;q=0, *", &[Zstd, Gzip]),
            ("*;q=0", &[]),
            ("gzip;q=0", &[]),
            ("identity;q=0", &[]),
            ("identity;q=0, gzip;q=0.001", &[Gzip]),
            // The plain form is wanted more, or as much.
            ("identity, gzip;q=0.5", &[]),
            ("identity;q=0.5, gzip;q=0.5, br;q=0.4", &[Gzip]),
            ("gzip;q=0.001", &[Gzip]),
            ("deflate, compress", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(preferred(accepted(text), &ALL), expected, "{text:?}");
        }
        assert_eq!(preferred(accepted("gzip, br"), &[Gzip, Brotli]), [Gzip, Brotli]);
        assert_eq!(preferred(accepted("gzip, br"), &[]), []);
    }

    proptest! {
        /// RFC 9110, section 12.5.3, step by step, for fields of a plain form.
        #[test]
        fn as_the_rfc_has_it(
            elements in proptest::collection::vec(
                (prop::sample::select(vec!["br", "zstd", "gzip", "identity", "*", "deflate"]), 0_u16..=1000), 0..7)
        ) {
            let text: Vec<String> = elements
                .iter()
                .map(|(name, weight)| format!("{name};q={}.{:03}", weight / 1000, weight % 1000))
                .collect();
            let weight_of = |name: &str| {
                let listed = |wanted: &str| {
                    elements.iter().rev().find(|(name, _)| *name == wanted).map(|(_, weight)| *weight)
                };
                listed(name).or_else(|| listed("*"))
            };
            let plain = weight_of("identity").unwrap_or(1);
            let got = preferred(accepted(&text.join(", ")), &ALL);
            let mut last = u16::MAX;
            for coding in ALL {
                let weight = weight_of(coding.name()).unwrap_or(0);
                prop_assert_eq!(got.contains(&coding), weight > 0 && weight >= plain, "{:?} {:?}", &text, coding);
            }
            for coding in got {
                let weight = weight_of(coding.name()).unwrap_or(0);
                prop_assert!(weight <= last, "{:?}", &text);
                last = weight;
            }
        }
    }
}
