//! A request that the store does not answer.
//!
//! 1. Where nothing could be stored for others, it is asked for as the client wants it ([`Miss::alone`]).
//! 2. Otherwise it leads a fetch, or follows one ([`super::flights`]).
//! 3. When the origin fails, a stale response if one may be served, otherwise the error.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{Method, StatusCode};

use super::lead::{self, Led};
use super::origin::RequestBody;
use super::pass::{is_server_error, pass};
use super::{FetchError, Outcome, Seat};
use crate::cache::Cache;
use crate::error;
use crate::policy::cache_control::CacheControl;
use crate::policy::part::{self, Asked};
use crate::policy::reuse::{Failure, stale_after};
use crate::policy::storable::NotStored;
use crate::request::Normalised;
use crate::respond::cache_status::StaleReason;
use crate::respond::{Answer, CacheStatus, Forward, Verdict, from_store};
use crate::store::{Lookup, Stored};

#[derive(Debug, Clone, Copy)]
pub struct Miss<'a> {
    pub cache: &'a Arc<Cache>,
    pub request: &'a Normalised,
    /// The request's own directives.
    pub wishes: &'a CacheControl,
    /// What is to be validated.
    pub stored: Option<&'a Arc<Stored>>,
    pub forward: Forward,
}

impl Miss<'_> {
    /// Fetches, alone or together with others; `None`: look again.
    pub async fn fetch(self, found: &Lookup) -> Option<Answer> {
        let Self { cache, request, wishes, stored, forward } = self;
        // Whoever finds nobody at it still leads, so that a response that has become cacheable is stored.
        let selection = found.selection(&request.head.headers);
        let mut uncacheable = cache.store.is_uncacheable(&request.key, &selection)
            || forward == Forward::VaryMiss && cache.store.is_exploded(&request.key);
        if request.is_ranged() && cache.store.range_passes(&request.key, &selection) {
            return Some(because(NotStored::RangeLimit, self.alone().await));
        }
        // A range is asked for as it is where the whole cannot be stored, or would have to come before it and is not
        // coming anyway.
        let comes_late = |asked: Asked| asked.is_at_the_end() && !cache.flights.has(&request.key, &selection);
        let by_range = stored.is_none()
            && Asked::of(&request.head).is_some_and(|asked| uncacheable || comes_late(asked));
        let selection = if by_range { part::selection(&request.head.headers) } else { selection };
        uncacheable |= by_range && cache.store.is_uncacheable(&request.key, &selection);
        let unacceptable = matches!(found, Lookup::Unacceptable(_));
        if wishes.no_store || unacceptable || uncacheable && !by_range && wants_less(request) {
            return Some(self.alone().await);
        }
        match cache.flights.join(&request.key, selection, &cache.epochs) {
            Seat::Leader(seat) => {
                let led = lead::lead(cache, seat, request, stored.cloned(), by_range).await;
                Some(self.led(led, by_range).await)
            }
            Seat::Follower(_) if uncacheable => Some(self.alone().await),
            Seat::Follower(follow) => self.followed(follow.outcome().await).await,
        }
    }

    async fn led(self, led: Result<Led, FetchError>, by_range: bool) -> Answer {
        match led {
            // The whole was asked for, to be stored, in a coding that suits the store; what is not stored is asked
            // for as the client wants it.
            Ok(Led::NotStored(head, body, why))
                if head.status == StatusCode::OK && self.request.is_ranged() && !by_range
                    || why == NotStored::Coding =>
            {
                // Not read to its end: its connection is closed.
                drop(body);
                because(why, self.alone().await)
            }
            Ok(led) => led.into_answer(&self.request.head, Verdict::Miss(self.forward)),
            Err(error) => self.failed(&error),
        }
    }

    async fn followed(self, outcome: Option<Outcome>) -> Option<Answer> {
        let Self { cache, request, forward, .. } = self;
        match outcome? {
            // The leader had the right to a stale response; without it, the origin's own error is due.
            Outcome::Failed(FetchError::ServerError(_)) => Some(self.alone().await),
            Outcome::Failed(error) => Some(self.failed(&error)),
            // Invalidated meanwhile: what is fetched from here on is not.
            outcome if outcome.is_outdated(&cache.epochs) => None,
            outcome
                if request.is_ranged() && outcome.is_longer_than(request.live.config.range_fetch_limit) =>
            {
                Some(because(NotStored::RangeLimit, self.alone().await))
            }
            outcome => match outcome.into_answer(&request.head, Verdict::Miss(forward), &cache.epochs) {
                Some(answer) => {
                    cache.metrics.collapsed.inc();
                    Some(answer)
                }
                None => Some(self.alone().await),
            },
        }
    }

    /// Fetches for this request only, as the client made it.
    pub async fn alone(self) -> Answer {
        let verdict = Verdict::Miss(self.forward);
        match pass(self.cache, self.request, RequestBody::empty(), verdict).await {
            Ok((response, _)) if is_server_error(response.status()) && self.stored.is_some() => {
                let (fallback, status) = self.failed(&FetchError::ServerError(response.status()));
                if status.verdict == Verdict::Error {
                    (response, CacheStatus::new(verdict))
                } else {
                    (fallback, status)
                }
            }
            Ok(answer) => answer,
            Err(error) => self.failed(&error),
        }
    }

    /// The origin failed: a stale response if one may be served, otherwise the error.
    fn failed(self, error: &FetchError) -> Answer {
        let now = SystemTime::now();
        let failure = match error {
            FetchError::ServerError(_) => Failure::ServerError,
            _ => Failure::Disconnected,
        };
        if let Some(stored) = self.stored
            && stale_after(stored.terms(self.request.live.config.stale), self.wishes, failure, now)
        {
            return from_store(&self.request.head, stored, Verdict::Stale(StaleReason::OriginFailed), now);
        }
        unanswered(error, self.forward)
    }
}

/// No response from the origin, which was asked for this reason.
pub fn unanswered(error: &FetchError, forward: Forward) -> Answer {
    (error::failed(error), CacheStatus::error(error::reason(error), Some(forward)))
}

/// Adds why what was passed on was not fetched to be stored.
fn because(why: NotStored, (response, mut status): Answer) -> Answer {
    status.stored.get_or_insert(Err(why));
    (response, status)
}

/// The client wants less than the whole response, which is what would be fetched to be stored.
fn wants_less(request: &Normalised) -> bool {
    let has_condition =
        || [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| request.head.headers.contains_key(name));
    request.head.method == Method::HEAD || request.is_ranged() || has_condition()
}
