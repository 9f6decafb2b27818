//! The committed figures, and what was counted beside them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Deserialize;

/// The file `bench/instructions.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    pub made: Made,
    /// Per cent, up and down.
    pub tolerance: f64,
    /// Instructions per request.
    pub instructions: BTreeMap<String, u64>,
}

/// With what the figures were made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    pub date: String,
    pub rustc: String,
    pub valgrind: String,
    /// The processor's architecture: on another there are other instructions.
    pub architecture: String,
    /// Whether the C library copies with AVX2, which valgrind passes on from the processor.
    pub avx2: bool,
}

/// A figure that was counted beside the committed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Within {
        committed: u64,
    },
    More {
        committed: u64,
    },
    /// It has become faster, and the committed figure would hide the next slow-down.
    Fewer {
        committed: u64,
    },
    NotCommitted,
}

impl Made {
    /// Whether the figures of both can be compared: a compiler of another version makes other instructions of the same
    /// text.
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.rustc == other.rustc
            && self.valgrind == other.valgrind
            && self.architecture == other.architecture
            && self.avx2 == other.avx2
    }
}

impl Figures {
    /// What is to be thought of `counted` instructions per request.
    pub fn judge(&self, name: &str, counted: u64) -> Verdict {
        let Some(&committed) = self.instructions.get(name) else { return Verdict::NotCommitted };
        if counted.abs_diff(committed) as f64 * 100.0 <= self.tolerance * committed as f64 {
            Verdict::Within { committed }
        } else if counted > committed {
            Verdict::More { committed }
        } else {
            Verdict::Fewer { committed }
        }
    }

    /// As the file has it.
    pub fn render(&self) -> String {
        let Self { made, tolerance, instructions } = self;
        let mut text = format!(
            "# Instructions per request, as callgrind counts them. `./test instructions` counts again, and fails on a deviation where\n\
             # rustc, valgrind and processor are those below;\n\
             # `./test instructions -- --write` writes this file. The reason for a change belongs into the commit's message.\n\
             # Per cent, up and down.\ntolerance = {tolerance:?}\n\n[made]\ndate = {:?}\nrustc = {:?}\nvalgrind = {:?}\n\
             architecture = {:?}\navx2 = {}\n\n[instructions]\n",
            made.date, made.rustc, made.valgrind, made.architecture, made.avx2
        );
        for (name, count) in instructions {
            let _ = writeln!(text, "{name} = {count}");
        }
        text
    }
}

impl Verdict {
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Within { .. })
    }
}

/// Per cent of `committed`.
pub fn deviation(committed: u64, counted: u64) -> f64 {
    (counted as f64 / committed as f64 - 1.0) * 100.0
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rustc, valgrind, architecture, avx2, .. } = self;
        let with = if *avx2 { "with" } else { "without" };
        write!(f, "{rustc}, {valgrind}, {architecture} {with} AVX2")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn figures() -> Figures {
        Figures {
            made: Made {
                date: "25 Nov 2026".into(),
                rustc: "rustc 1.95.0".into(),
                valgrind: "valgrind-3.19.0".into(),
                architecture: "x86_64".into(),
                avx2: true,
            },
            tolerance: 5.0,
            instructions: [("edge-hit".to_owned(), 10_000), ("php".to_owned(), 100)].into(),
        }
    }

    #[test]
    fn more_and_fewer_than_the_tolerance() {
        let cases = [
            (10_000, Verdict::Within { committed: 10_000 }),
            (10_500, Verdict::Within { committed: 10_000 }),
            (9_500, Verdict::Within { committed: 10_000 }),
            (10_510, Verdict::More { committed: 10_000 }),
            (9_490, Verdict::Fewer { committed: 10_000 }),
        ];
        for (counted, expected) in cases {
            assert_eq!(figures().judge("edge-hit", counted), expected, "{counted}");
        }
        assert_eq!(figures().judge("other", 1), Verdict::NotCommitted);
        assert!(!Verdict::NotCommitted.is_good());
    }

    #[test]
    fn only_of_the_same_making() {
        let made = figures().made;
        let changed = |change: fn(&mut Made)| {
            let mut other = made.clone();
            change(&mut other);
            made.is_comparable(&other)
        };
        assert!(changed(|other| other.date = "26 Nov 2026".into()));
        assert!(!changed(|other| other.rustc.push('1')));
        assert!(!changed(|other| other.valgrind.push('1')));
        assert!(!changed(|other| other.architecture = "aarch64".into()));
        assert!(!changed(|other| other.avx2 = false));
    }

    #[test]
    fn what_is_written_is_read() {
        let read: Figures = toml::from_str(&figures().render()).unwrap();
        assert_eq!(read, figures());
    }
}
