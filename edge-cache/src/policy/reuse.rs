//! What may be done with a stored response for a request (RFC 9111, section 4).

use std::time::{Duration, SystemTime};

use super::cache_control::{CacheControl, Delta};
use super::freshness::Freshness;

/// What the response that is stored allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredTerms {
    pub freshness: Freshness,
    pub directives: Terms,
    pub limits: StaleLimits,
}

/// What a stored response's Cache-Control says of its reuse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    pub no_cache: bool,
    /// `must-revalidate` and its forms for shared caches (sections 5.2.2.2, 5.2.2.8 and 5.2.2.10).
    pub forbids_stale: bool,
    /// Seconds.
    pub stale_while_revalidate: u32,
    /// Seconds.
    pub stale_if_error: u32,
}

/// How long a stale response is good for by the operator's word, counted from the end of its freshness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleLimits {
    /// It is served while a refresh is under way behind it, and in place of a server error.
    pub grace: Duration,
    /// It is served while the origin cannot be reached.
    pub keep: Duration,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    Fresh,
    /// Serve it now and refresh it behind (RFC 5861, section 3).
    StaleWhileRevalidate,
    /// The same, since the operator allows it.
    Grace,
    /// Ask the origin first.
    Revalidate(Why),
}

/// Why the origin is asked although a response is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Stale,
    /// `no-cache` in the response.
    NoCache,
    /// The request's `no-cache`, `max-age` or `min-fresh`.
    Request,
}

/// Whether `stored` answers a request with the directives `request`, at `now`.
pub fn reuse(stored: StoredTerms, request: &CacheControl, now: SystemTime) -> Reuse {
    let StoredTerms { freshness, directives, limits } = stored;
    if directives.no_cache {
        return Reuse::Revalidate(Why::NoCache);
    }
    let age = freshness.age(now);
    let too_old = request.max_age.is_some_and(|limit| age > limit.get() || limit.get().is_zero());
    let too_short =
        request.min_fresh.is_some_and(|least| freshness.lifetime.saturating_sub(age) < least.get());
    if request.no_cache || too_old && request.max_stale.is_none() || too_short {
        return Reuse::Revalidate(Why::Request);
    }
    if freshness.is_fresh(now) {
        return Reuse::Fresh;
    }
    if directives.forbids_stale {
        return Reuse::Revalidate(Why::Stale);
    }
    let staleness = freshness.staleness(now);
    if staleness < seconds(directives.stale_while_revalidate) {
        Reuse::StaleWhileRevalidate
    } else if staleness < request.max_stale.map_or(Duration::ZERO, Delta::get) {
        Reuse::Fresh
    } else if staleness < limits.grace {
        Reuse::Grace
    } else {
        Reuse::Revalidate(Why::Stale)
    }
}

/// What went wrong when the origin was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer at all: the cache is disconnected (section 4.2.4).
    Disconnected,
    /// 500, 502, 503 or 504 (RFC 5861, section 4).
    ServerError,
}

/// Whether a stale response may be served after `failure`.
pub fn stale_after(stored: StoredTerms, request: &CacheControl, failure: Failure, now: SystemTime) -> bool {
    let StoredTerms { freshness, directives, limits } = stored;
    if directives.no_cache || request.no_cache || directives.forbids_stale {
        return false;
    }
    let staleness = freshness.staleness(now);
    let told = seconds(directives.stale_if_error);
    let asked = request.stale_if_error.map_or(Duration::ZERO, Delta::get);
    let allowed = match failure {
        Failure::Disconnected => limits.keep.max(limits.grace),
        Failure::ServerError => limits.grace,
    };
    staleness < told.max(asked).max(allowed)
}

const fn seconds(number: u32) -> Duration {
    Duration::from_secs(number as u64)
}

impl From<&CacheControl> for Terms {
    fn from(directives: &CacheControl) -> Self {
        // A directive's number is at most 2^31.
        let seconds = |delta: Option<Delta>| delta.map_or(0, |delta| delta.get().as_secs() as u32);
        Self {
            no_cache: directives.no_cache,
            forbids_stale: directives.must_revalidate
                || directives.proxy_revalidate
                || directives.s_maxage.is_some(),
            stale_while_revalidate: seconds(directives.stale_while_revalidate),
            stale_if_error: seconds(directives.stale_if_error),
        }
    }
}
