//! Sizes and times as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written `65536`, `64KiB`, `1.5GiB` or, in powers of ten, `64KB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// A span of time, written `500ms`, `30s`, `5m`, `2h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("expected a size such as 65536, 64KiB, 256MiB or 2GiB")]
    Size,
    #[error("expected a duration such as 500ms, 30s, 5m, 2h or 7d")]
    Duration,
}

const SIZES: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];
const DURATIONS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];

impl ByteSize {
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        if let Ok(bytes) = text.parse() {
            return Ok(Self(bytes));
        }
        let (number, unit) = SIZES
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
            .ok_or(UnitError::Size)?;
        let number: f64 = number.trim_end().parse().map_err(|_| UnitError::Size)?;
        let bytes = number * unit as f64;
        if !bytes.is_finite() || bytes < 0.0 || bytes > (1_u64 << 60) as f64 {
            return Err(UnitError::Size);
        }
        #[allow(clippy::cast_sign_loss, reason = "checked above")]
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZES[..4].iter().rev().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match unit {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl HumanDuration {
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }
    pub const fn get(self) -> Duration {
        self.0
    }
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }
}

impl FromStr for HumanDuration {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let (number, unit) = DURATIONS
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
            .ok_or(UnitError::Duration)?;
        let number: f64 = number.trim_end().parse().map_err(|_| UnitError::Duration)?;
        let seconds = number * unit;
        // A century is beyond any timer here and still far from an Instant's overflow.
        if !(0.0..=3.2e9).contains(&seconds) {
            return Err(UnitError::Duration);
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        match units.iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", millis / unit),
            None => write!(f, "{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("0", 0),
            ("65536", 65536),
            ("64KiB", 65536),
            ("1.5GiB", 1_610_612_736),
            ("2 MB", 2_000_000),
            ("7B", 7),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
        for text in ["", "MiB", "-1MiB", "1e400GiB", "5 parsecs", "NaNKiB"] {
            assert_eq!(text.parse::<ByteSize>(), Err(UnitError::Size), "{text}");
        }
        assert_eq!(ByteSize::new(256 << 20).to_string(), "256MiB");
        assert_eq!(ByteSize::new(1000).to_string(), "1000");
    }

    #[test]
    fn durations() {
        let cases = [
            ("0", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1.5m", 90_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ];
        for (text, millis) in cases {
            assert_eq!(text.parse::<HumanDuration>().unwrap().get().as_millis(), millis, "{text}");
        }
        for text in ["", "s", "5", "-1s", "1e300d", "NaNs"] {
            assert_eq!(text.parse::<HumanDuration>(), Err(UnitError::Duration), "{text}");
        }
        assert_eq!(HumanDuration::new(Duration::from_secs(90)).to_string(), "90s");
        assert_eq!(HumanDuration::new(Duration::from_millis(1500)).to_string(), "1500ms");
    }
}
