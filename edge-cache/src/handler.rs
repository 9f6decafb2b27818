//! The life of one request, top to bottom.
//!
//! 1. Normalise it, or refuse it ([`crate::request::normalise`]).
//! 2. Ask the rules, and admit it to the cache or pass it on ([`crate::request::admit`]).
//! 3. Look it up ([`crate::store`]).
//! 4. Decide what the stored response is good for ([`crate::policy::reuse`]).
//! 5. Fetch what is missing, together with whoever wants the same ([`crate::fetch`]).
//! 6. Answer, and say what was done ([`crate::respond`]).

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use common::http::forwarded::Scheme;
use common::http::strict::Violation;
use common::listener::Peer;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::cache::Cache;
use crate::error;
use crate::fetch::lead::Led;
use crate::fetch::origin::RequestBody;
use crate::fetch::pass::{is_server_error, pass};
use crate::fetch::{FetchError, OriginTime, Outcome, Seat, lead};
use crate::interim::Channel;
use crate::invalidate::{self, Command, command};
use crate::policy::cache_control::CacheControl;
use crate::policy::part::{self, Asked};
use crate::policy::reuse::{self, Failure, Reuse, Why};
use crate::policy::storable::NotStored;
use crate::request::{Admission, Normalised, Refusal, admit, normalise};
use crate::respond::cache_status::StaleReason;
use crate::respond::{Answer, Body, CacheStatus, Forward, Record, Verdict, from_parts, from_store};
use crate::store::{Lookup, Stored};

/// How often a request joins a fetch that comes to nothing before it fetches for itself.
const MAX_FOLLOWED: usize = 3;

/// `violation`: the request stands in for one that was not in order.
pub async fn handle(
    cache: Arc<Cache>,
    peer: Peer,
    scheme: Scheme,
    interim: Arc<Channel>,
    violation: Option<Violation>,
    request: Request<Incoming>,
) -> Response<Body> {
    let began = Instant::now();
    let unanswered = cache.metrics.unanswered();
    let (head, body) = request.into_parts();
    // A client of HTTP/1.0 takes an interim response for the answer (RFC 9110, section 15.2).
    let hints = (head.version >= Version::HTTP_11).then_some(&interim);
    let mut record = Record::begin(&cache.access_log, &peer, scheme, &head);
    let mut origin_time = OriginTime::default();
    let live = cache.live.load_full();
    let mut key = None;
    let normalised = match violation {
        None => normalise(head, &peer, scheme, Arc::clone(&live)),
        Some(violation) => Err(Refusal::Malformed(violation)),
    };
    let answer = match normalised {
        Ok(mut request) => {
            if let Some(record) = &mut record {
                record.identify(&request);
                origin_time = OriginTime::wanted();
                request.origin_time = origin_time.clone();
            }
            key = live.config.http.cache_status_key.then(|| request.key.clone());
            interim.attended(answer(&cache, request, hints, body)).await
        }
        Err(refusal) => {
            cache.metrics.refused(refusal.as_str());
            if let (Some(record), Some(_)) = (&mut record, violation) {
                record.is_unreadable();
            }
            (error::refused(refusal), CacheStatus::error("refused", None))
        }
    };
    let (mut response, status) = answer;
    status.add_to(response.headers_mut(), &live.config.http.cache_status_name, key.as_ref());
    unanswered.is_answered();
    let sent = cache.metrics.answered(status.verdict, began.elapsed());
    let response = response.map(|body| body.counted(sent));
    let Some(mut record) = record else { return response };
    record.answered(&response, &status, origin_time.get());
    response.map(|body| body.recorded(record))
}

async fn answer(
    cache: &Arc<Cache>,
    mut request: Normalised,
    hints: Option<&Arc<Channel>>,
    body: Incoming,
) -> Answer {
    if command::is_command(&request.head.method) {
        return purge(cache, &request).await;
    }
    // What follows a body is no place for another protocol: nobody asks for it so.
    request.upgrade.take_if(|_| !body.is_end_stream());
    match admit(&mut request, !body.is_end_stream()) {
        Admission::Lookup => {}
        Admission::Pass(reason) => {
            let _hints = hints.map(|hints| hints.open(&mut request.head.extensions));
            return pass(cache, &request, RequestBody::of(body), Verdict::Pass(reason))
                .await
                .unwrap_or_else(|error| unanswered(&error, reason.forward()));
        }
        Admission::Deny(status) => return (error::denied(status), by_rule(Verdict::Deny, &request)),
        Admission::Redirect(status, location) => {
            return (error::redirected(status, location), by_rule(Verdict::Redirect, &request));
        }
    }
    let wishes = CacheControl::of(&request.head.headers);
    let mut open = None;
    for _ in 0..MAX_FOLLOWED {
        let now = SystemTime::now();
        let found = cache.store.lookup(&request.key, &request.head.headers);
        let (forward, stored) = match &found {
            Lookup::UriMiss => (Forward::UriMiss, None),
            Lookup::Parts(parts) => {
                let limits = request.live.config.stale;
                match Asked::of(&request.head)
                    .and_then(|asked| from_parts(parts, asked, &wishes, limits, now))
                {
                    Some(answer) => return answer,
                    None => (Forward::Partial, None),
                }
            }
            Lookup::VaryMiss(_) | Lookup::Unacceptable(_) => (Forward::VaryMiss, None),
            Lookup::Found(stored) => {
                match reuse::reuse(stored.terms(request.live.config.stale), &wishes, now) {
                    Reuse::Fresh => return from_store(&request.head, stored, Verdict::Hit, now),
                    stale @ (Reuse::StaleWhileRevalidate | Reuse::Grace) => {
                        lead::refresh(cache, &request, &found, stored);
                        let reason = match stale {
                            Reuse::Grace => StaleReason::Grace,
                            _ => StaleReason::WhileRevalidate,
                        };
                        return from_store(&request.head, stored, Verdict::Stale(reason), now);
                    }
                    Reuse::Revalidate(Why::Request) => (Forward::Request, Some(stored)),
                    Reuse::Revalidate(Why::Stale | Why::NoCache) => (Forward::Stale, Some(stored)),
                }
            }
        };
        if wishes.only_if_cached {
            return (error::only_if_cached(), CacheStatus::error("only-if-cached", None));
        }
        let verdict = Verdict::Miss(forward);
        open = open.or_else(|| hints.map(|hints| hints.open(&mut request.head.extensions)));
        // Whoever finds nobody at it still leads, so that a response that has become cacheable is stored.
        let selection = found.selection(&request.head.headers);
        let mut uncacheable = cache.store.is_uncacheable(&request.key, &selection)
            || forward == Forward::VaryMiss && cache.store.is_exploded(&request.key);
        if request.is_ranged() && cache.store.range_passes(&request.key, &selection) {
            let answer = alone(cache, &request, stored, &wishes, forward).await;
            return because(NotStored::RangeLimit, answer);
        }
        // A range is asked for as it is where the whole cannot be stored, or would have to come before it and is not
        // coming anyway.
        let comes_late = |asked: Asked| asked.is_at_the_end() && !cache.flights.has(&request.key, &selection);
        let by_range = stored.is_none()
            && Asked::of(&request.head).is_some_and(|asked| uncacheable || comes_late(asked));
        let selection = if by_range { part::selection(&request.head.headers) } else { selection };
        uncacheable |= by_range && cache.store.is_uncacheable(&request.key, &selection);
        let unacceptable = matches!(found, Lookup::Unacceptable(_));
        if wishes.no_store || unacceptable || uncacheable && !by_range && wants_less(&request) {
            return alone(cache, &request, stored, &wishes, forward).await;
        }
        let outcome = match cache.flights.join(&request.key, selection, &cache.epochs) {
            Seat::Leader(seat) => match lead::lead(cache, seat, &request, stored.cloned(), by_range).await {
                // The whole was asked for, to be stored, in a coding that suits the store; what is not stored is asked
                // for as the client wants it.
                Ok(Led::NotStored(head, body, why))
                    if head.status == StatusCode::OK && request.is_ranged() && !by_range
                        || why == NotStored::Coding =>
                {
                    // Not read to its end: its connection is closed.
                    drop(body);
                    return because(why, alone(cache, &request, stored, &wishes, forward).await);
                }
                Ok(led) => return led.into_answer(&request.head, verdict),
                Err(error) => return failed(&request, stored, &wishes, &error, forward),
            },
            Seat::Follower(_) if uncacheable => {
                return alone(cache, &request, stored, &wishes, forward).await;
            }
            Seat::Follower(follow) => follow.outcome().await,
        };
        match outcome {
            // The leader had the right to a stale response; without it, the origin's own error is due.
            Some(Outcome::Failed(FetchError::ServerError(_))) => {
                return alone(cache, &request, stored, &wishes, forward).await;
            }
            Some(Outcome::Failed(error)) => return failed(&request, stored, &wishes, &error, forward),
            // Invalidated meanwhile: what is fetched from here on is not.
            Some(outcome) if outcome.is_outdated(&cache.epochs) => {}
            Some(outcome)
                if request.is_ranged() && outcome.is_longer_than(request.live.config.range_fetch_limit) =>
            {
                let answer = alone(cache, &request, stored, &wishes, forward).await;
                return because(NotStored::RangeLimit, answer);
            }
            Some(outcome) => {
                if let Some(answer) = outcome.into_answer(&request.head, verdict, &cache.epochs) {
                    cache.metrics.collapsed.inc();
                    return answer;
                }
                return alone(cache, &request, stored, &wishes, forward).await;
            }
            // The leader went without a word: look again.
            None => {}
        }
    }
    alone(cache, &request, None, &wishes, Forward::UriMiss).await
}

fn by_rule(verdict: Verdict, request: &Normalised) -> CacheStatus {
    CacheStatus { rule: request.decided_by(), ..CacheStatus::new(verdict) }
}

/// PURGE and BAN, from those who may. Some purgers take any answer for success, so a refusal is logged.
async fn purge(cache: &Arc<Cache>, request: &Normalised) -> Answer {
    let (client, allowed) = (request.client.ip, &request.live.config.purge_from);
    let as_json = command::wants_json(&request.head.headers);
    let response = if allowed.iter().any(|network| network.contains(&client)) {
        match Command::of_request(request) {
            Ok(command) => error::purged(invalidate::carry_out(cache, command).await, as_json),
            Err(error) => {
                cache.metrics.purges.refused("malformed");
                tracing::warn!(%client, %error, url = %request.key, "an invalidation was not understood");
                error::bad_purge(&error, as_json)
            }
        }
    } else {
        cache.metrics.purges.refused("not-allowed");
        let method = &request.head.method;
        tracing::warn!(%client, %method, url = %request.key, "an invalidation was refused: see --purge-from");
        error::purge_refused(client, allowed, as_json)
    };
    (response, CacheStatus::new(Verdict::Purge))
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

/// Fetches for this request only, as the client made it.
async fn alone(
    cache: &Arc<Cache>,
    request: &Normalised,
    stored: Option<&Arc<Stored>>,
    wishes: &CacheControl,
    forward: Forward,
) -> Answer {
    let verdict = Verdict::Miss(forward);
    match pass(cache, request, RequestBody::empty(), verdict).await {
        Ok((response, _)) if is_server_error(response.status()) && stored.is_some() => {
            let error = FetchError::ServerError(response.status());
            let (fallback, status) = failed(request, stored, wishes, &error, forward);
            if status.verdict == Verdict::Error {
                (response, CacheStatus::new(verdict))
            } else {
                (fallback, status)
            }
        }
        Ok(answer) => answer,
        Err(error) => failed(request, stored, wishes, &error, forward),
    }
}

/// The origin failed: a stale response if one may be served, otherwise the error.
fn failed(
    request: &Normalised,
    stored: Option<&Arc<Stored>>,
    wishes: &CacheControl,
    error: &FetchError,
    forward: Forward,
) -> Answer {
    let now = SystemTime::now();
    let failure = match error {
        FetchError::ServerError(_) => Failure::ServerError,
        _ => Failure::Disconnected,
    };
    if let Some(stored) = stored
        && reuse::stale_after(stored.terms(request.live.config.stale), wishes, failure, now)
    {
        return from_store(&request.head, stored, Verdict::Stale(StaleReason::OriginFailed), now);
    }
    unanswered(error, forward)
}

/// No response from the origin, which was asked for this reason.
fn unanswered(error: &FetchError, forward: Forward) -> Answer {
    (error::failed(error), CacheStatus::error(error::reason(error), Some(forward)))
}
