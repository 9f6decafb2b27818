//! How long a response is fresh, and how old it is (RFC 9111, section 4.2).

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderMap, LAST_MODIFIED};
use http::{HeaderValue, StatusCode};

use super::cache_control::{CacheControl, Delta};
use super::date;

/// Where a freshness lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    SMaxage,
    MaxAge,
    Expires,
    /// 10 % of the time since Last-Modified (section 4.2.2).
    Heuristic,
    /// A rule of the operator's.
    Rule,
    /// The response says nothing.
    None,
}

/// A response's freshness, fixed when it is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    pub lifetime: Duration,
    pub source: Source,
    /// Age on arrival: `corrected_initial_age` (section 4.2.3).
    pub initial_age: Duration,
    /// When the response arrived.
    pub received: SystemTime,
}

/// A heuristic lifetime is never longer, so that a page unchanged for years is still looked at daily.
const HEURISTIC_LIMIT: Duration = Duration::from_hours(24);

impl Freshness {
    /// `requested` and `received` are the times just before the request and just after the head came.
    pub fn of(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &CacheControl,
        requested: SystemTime,
        received: SystemTime,
    ) -> Self {
        let (lifetime, source) = lifetime(status, headers, directives, received);
        Self { lifetime, source, initial_age: initial_age(headers, requested, received), received }
    }

    /// `current_age` (section 4.2.3).
    pub fn age(&self, now: SystemTime) -> Duration {
        self.initial_age + now.duration_since(self.received).unwrap_or_default()
    }

    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.age(now) < self.lifetime
    }

    /// As if it had been fresh until `end` only: it was invalidated then.
    #[must_use]
    pub fn until(self, end: SystemTime) -> Self {
        Self { lifetime: self.lifetime.min(self.age(end)), ..self }
    }

    /// How long it has been stale; zero while it is fresh.
    pub fn staleness(&self, now: SystemTime) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }

    /// Seconds of freshness left, negative when stale: `ttl` of RFC 9211.
    pub fn ttl(&self, now: SystemTime) -> i64 {
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let age = i64::try_from(self.age(now).as_secs()).unwrap_or(i64::MAX);
        lifetime.saturating_sub(age)
    }
}

fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &CacheControl,
    received: SystemTime,
) -> (Duration, Source) {
    if let Some(delta) = directives.s_maxage {
        return (delta.get(), Source::SMaxage);
    }
    if let Some(delta) = directives.max_age {
        return (delta.get(), Source::MaxAge);
    }
    let date = date(headers, received);
    if !directives.is_targeted && headers.contains_key(EXPIRES) {
        // One that cannot be read, or more than one, is in the past (section 5.3).
        let expires = only(headers, &EXPIRES).and_then(http_date).unwrap_or(SystemTime::UNIX_EPOCH);
        return (expires.duration_since(date).unwrap_or_default(), Source::Expires);
    }
    if !directives.public && !is_heuristically_cacheable(status) {
        return (Duration::ZERO, Source::None);
    }
    match only(headers, &LAST_MODIFIED).and_then(http_date) {
        Some(modified) => {
            let since = date.duration_since(modified).unwrap_or_default();
            ((since / 10).min(HEURISTIC_LIMIT), Source::Heuristic)
        }
        None => (Duration::ZERO, Source::None),
    }
}

/// "Defined as heuristically cacheable" (RFC 9110, section 15.1); a 206 is stored by nobody here.
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

fn initial_age(headers: &HeaderMap, requested: SystemTime, received: SystemTime) -> Duration {
    let apparent = received.duration_since(date(headers, received)).unwrap_or_default();
    let delay = received.duration_since(requested).unwrap_or_default();
    apparent.max(told_age(headers) + delay)
}

/// Of a list the first member counts; one that is not a number is as if it were not there (section 5.1).
fn told_age(headers: &HeaderMap) -> Duration {
    let first = headers.get(AGE).and_then(|age| age.as_bytes().split(|byte| *byte == b',').next());
    first.map_or(Duration::ZERO, |age| Delta::parse(age.trim_ascii()).get())
}

/// `Date`, or the time of arrival where there is none that can be read (RFC 9110, section 6.6.1).
fn date(headers: &HeaderMap, received: SystemTime) -> SystemTime {
    only(headers, &DATE).and_then(http_date).unwrap_or(received)
}

/// The field's value when there is exactly one.
fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// An HTTP-date in any of its three forms (RFC 9110, section 5.6.7).
pub fn http_date(value: &HeaderValue) -> Option<SystemTime> {
    date::parse(value.as_bytes(), SystemTime::now())
}
