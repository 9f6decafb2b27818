//! What may be done with a stored response for a request (RFC 9111, section 4).

use std::time::{Duration, SystemTime};

use super::cache_control::{CacheControl, Delta};
use super::freshness::Freshness;

/// What the response that is stored allows.
#[derive(Debug, Clone, Copy)]
pub struct StoredTerms<'a> {
    pub freshness: Freshness,
    pub directives: &'a CacheControl,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    Fresh,
    /// Serve it now and refresh it behind (RFC 5861, section 3).
    StaleWhileRevalidate,
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
pub fn reuse(stored: StoredTerms<'_>, request: &CacheControl, now: SystemTime) -> Reuse {
    let StoredTerms { freshness, directives } = stored;
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
    if forbids_stale(directives) {
        return Reuse::Revalidate(Why::Stale);
    }
    let staleness = freshness.staleness(now);
    let window = |delta: Option<Delta>| delta.map_or(Duration::ZERO, Delta::get);
    if staleness < window(directives.stale_while_revalidate) {
        Reuse::StaleWhileRevalidate
    } else if staleness < window(request.max_stale) {
        Reuse::Fresh
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

/// Whether a stale response may be served after `failure`. `keep` is the operator's own limit for an
/// origin that cannot be reached.
pub fn stale_after(
    stored: StoredTerms<'_>,
    request: &CacheControl,
    failure: Failure,
    keep: Duration,
    now: SystemTime,
) -> bool {
    let StoredTerms { freshness, directives } = stored;
    if directives.no_cache || request.no_cache || forbids_stale(directives) {
        return false;
    }
    let staleness = freshness.staleness(now);
    let told = directives.stale_if_error.map_or(Duration::ZERO, Delta::get);
    let asked = request.stale_if_error.map_or(Duration::ZERO, Delta::get);
    match failure {
        Failure::Disconnected => staleness < told.max(asked).max(keep),
        Failure::ServerError => staleness < told.max(asked),
    }
}

/// `must-revalidate` and its forms for shared caches (sections 5.2.2.2, 5.2.2.8 and 5.2.2.10).
fn forbids_stale(directives: &CacheControl) -> bool {
    directives.must_revalidate || directives.proxy_revalidate || directives.s_maxage.is_some()
}
