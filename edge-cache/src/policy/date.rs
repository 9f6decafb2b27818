//! HTTP-date in its three forms (RFC 9110, section 5.6.7), read robustly where that cannot change the meaning:
//! names of days and months in any case, and a weekday that is not the date's. Everything else is no date, so that
//! an `Expires` written in another way is in the past (RFC 9111, section 5.3).

use std::time::{Duration, SystemTime};

/// The time that `text` means. `now` decides the century of two-digit years.
pub fn parse(text: &[u8], now: SystemTime) -> Option<SystemTime> {
    let fields = imf_fixdate(text).or_else(|| rfc850(text, now)).or_else(|| asctime(text))?;
    fields.to_time()
}

#[derive(Debug, Clone, Copy)]
struct Fields {
    year: u64,
    /// From 1 on.
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

const DAYS: [&[u8]; 7] = [b"sun", b"mon", b"tue", b"wed", b"thu", b"fri", b"sat"];
const LONG_DAYS: [&[u8]; 7] =
    [b"sunday", b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday"];
const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Fields> {
    let (day_name, rest) = text.split_at_checked(3)?;
    position(&DAYS, day_name)?;
    let rest = rest.strip_prefix(b", ")?;
    let (day, rest) = number(rest, 2)?;
    let (month, rest) = month(rest.strip_prefix(b" ")?)?;
    let (year, rest) = number(rest.strip_prefix(b" ")?, 4)?;
    let time = gmt(rest)?;
    time_of_day(time, Fields { year, month, day, hour: 0, minute: 0, second: 0 })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now: SystemTime) -> Option<Fields> {
    let comma = memchr::memchr(b',', text)?;
    let (day_name, rest) = text.split_at_checked(comma)?;
    position(&LONG_DAYS, day_name)?;
    let (day, rest) = number(rest.strip_prefix(b", ")?, 2)?;
    let (month, rest) = month(rest.strip_prefix(b"-")?)?;
    let (short, rest) = number(rest.strip_prefix(b"-")?, 2)?;
    let time = gmt(rest)?;
    // More than 50 years ahead is "the most recent year in the past that had the same last two digits".
    let this_year = year_of(now);
    let year = this_year - this_year % 100 + short;
    let year = if year > this_year + 50 { year - 100 } else { year };
    time_of_day(time, Fields { year, month, day, hour: 0, minute: 0, second: 0 })
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Fields> {
    let (day_name, rest) = text.split_at_checked(3)?;
    position(&DAYS, day_name)?;
    let (month, rest) = month(rest.strip_prefix(b" ")?)?;
    let rest = rest.strip_prefix(b" ")?;
    let (day, rest) = match rest.strip_prefix(b" ") {
        Some(one_digit) => number(one_digit, 1)?,
        None => number(rest, 2)?,
    };
    let (time, rest) = rest.strip_prefix(b" ")?.split_at_checked(8)?;
    let (year, rest) = number(rest.strip_prefix(b" ")?, 4)?;
    if !rest.is_empty() {
        return None;
    }
    time_of_day(time, Fields { year, month, day, hour: 0, minute: 0, second: 0 })
}

/// The time between ` ` and ` GMT`.
fn gmt(rest: &[u8]) -> Option<&[u8]> {
    let (time, zone) = rest.strip_prefix(b" ")?.split_at_checked(8)?;
    zone.eq_ignore_ascii_case(b" GMT").then_some(time)
}

/// `08:49:37`; a leap second is taken.
fn time_of_day(text: &[u8], date: Fields) -> Option<Fields> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let is_time = hour < 24 && minute < 60 && second <= 60 && rest.is_empty();
    is_time.then_some(Fields { hour, minute, second, ..date })
}

fn month(text: &[u8]) -> Option<(u64, &[u8])> {
    let (name, rest) = text.split_at_checked(3)?;
    Some((position(&MONTHS, name)? as u64 + 1, rest))
}

fn position(names: &[&[u8]], name: &[u8]) -> Option<usize> {
    names.iter().position(|known| name.eq_ignore_ascii_case(known))
}

/// Exactly so many digits.
fn number(text: &[u8], digits: usize) -> Option<(u64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let number = number
        .iter()
        .try_fold(0_u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))?;
    Some((number, rest))
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(month: u64, year: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the beginning of year 0 to that of `year`, as if the Gregorian calendar had always been there.
const fn days_before(year: u64) -> u64 {
    if year == 0 {
        return 0;
    }
    let last = year - 1;
    // Year 0 itself is a leap year.
    year * 365 + last / 4 - last / 100 + last / 400 + 1
}

const EPOCH_DAYS: u64 = days_before(1970);

/// The year that a time is in.
fn year_of(time: SystemTime) -> u64 {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let days = EPOCH_DAYS + seconds / 86_400;
    // Never too late, and by at most a few years too early.
    let mut year = days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    year
}

impl Fields {
    fn to_time(self) -> Option<SystemTime> {
        let Self { year, month, day, hour, minute, second } = self;
        if day == 0 || day > days_in(month, year) {
            return None;
        }
        let days = days_before(year) + (1..month).map(|month| days_in(month, year)).sum::<u64>() + day - 1;
        let seconds = hour * 3600 + minute * 60 + second;
        if let Some(days) = days.checked_sub(EPOCH_DAYS) {
            return SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(days * 86_400 + seconds));
        }
        let before = (EPOCH_DAYS - days) * 86_400 - seconds;
        SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(before))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn forms() {
        // 2026
        let now = at(1_770_000_000);
        let nov_1994 = Some(at(784_111_777));
        let cases = [
            ("Sun, 06 Nov 1994 08:49:37 GMT", nov_1994),
            ("Sunday, 06-Nov-94 08:49:37 GMT", nov_1994),
            ("Sun Nov  6 08:49:37 1994", nov_1994),
            ("SUN, 06 nov 1994 08:49:37 gMT", nov_1994),
            ("Mon, 06 Nov 1994 08:49:37 GMT", nov_1994),
            ("Thu, 18 Aug 2050 02:01:18 GMT", Some(at(2_544_400_878))),
            ("Thu Aug 18 02:01:18 2050", Some(at(2_544_400_878))),
            ("Thursday, 18-Aug-50 02:01:18 GMT", Some(at(2_544_400_878))),
            ("Thu, 29 Feb 2024 00:00:60 GMT", Some(at(1_709_164_860))),
            ("Thu, 29 Feb 2023 00:00:00 GMT", None),
            ("Thu, 00 Aug 2050 02:01:18 GMT", None),
            ("Thu, 18 Aug 2050 24:01:18 GMT", None),
            ("Thu, 18 Aug 2050 02:01:18 UTC", None),
            ("Thu, 18 Aug 2050 02:01:18 AEST", None),
            ("Thu, 18 Aug 50 02:01:18 GMT", None),
            ("Thu 18 Aug 2050 02:01:18 GMT", None),
            ("Thu, 18  Aug  2050  02:01:18  GMT", None),
            ("Thu, 18-Aug-2050 02:01:18 GMT", None),
            ("Thu, 18 Aug 2050 02.01.18 GMT", None),
            ("Thu, 18 Aug 2050 2:01:18 GMT", None),
            ("Thu, 18 Aug 2050 02:01:18 GMT ", None),
            ("0", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes(), now), expected, "{text}");
        }
        let year_1 = parse(b"Mon, 01 Jan 0001 00:00:00 GMT", now).unwrap();
        assert!(year_1 < SystemTime::UNIX_EPOCH);
        assert_eq!(year_of(now), 2026);
        assert_eq!(year_of(at(1_735_689_599)), 2024);
        assert_eq!(year_of(at(1_735_689_600)), 2025);
    }

    proptest! {
        #[test]
        fn what_is_formatted_is_read(seconds in 0_u64..253_402_300_800, now in 0_u64..1 << 33) {
            let text = httpdate::fmt_http_date(at(seconds));
            prop_assert_eq!(parse(text.as_bytes(), at(now)), Some(at(seconds)));
        }

        #[test]
        fn any_bytes_are_a_date_or_none(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&text, at(0));
        }
    }
}
