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
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::cache::Cache;
use crate::error;
use crate::fetch::miss::{Miss, unanswered};
use crate::fetch::origin::RequestBody;
use crate::fetch::pass::pass;
use crate::fetch::{OriginTime, lead};
use crate::interim::Channel;
use crate::invalidate::{self, Command, command};
use crate::lookup::{Plan, plan};
use crate::policy::cache_control::CacheControl;
use crate::request::{Admission, Normalised, Refusal, admit, normalise};
use crate::respond::{Answer, Body, CacheStatus, Forward, Record, Verdict, from_store};

/// How often a request joins a fetch that comes to nothing before it fetches for itself.
const MAX_FOLLOWED: usize = 3;

/// `interim`: where interim responses can be written. `violation`: the request stands in for one that was not in order.
pub async fn handle(
    cache: Arc<Cache>,
    peer: Peer,
    scheme: Scheme,
    interim: Option<Arc<Channel>>,
    violation: Option<Violation>,
    request: Request<Incoming>,
) -> Response<Body> {
    let began = Instant::now();
    let unanswered = cache.metrics.unanswered();
    let (head, body) = request.into_parts();
    // A client of HTTP/1.0 takes an interim response for the answer (RFC 9110, section 15.2).
    let version = head.version;
    let hints = interim.as_ref().filter(|_| version == Version::HTTP_11);
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
            Channel::attended(interim.as_deref(), answer(&cache, request, hints, body)).await
        }
        Err(refusal) => {
            cache.metrics.refused(refusal.as_str());
            if let (Some(record), Some(_)) = (&mut record, violation) {
                record.is_unreadable();
            }
            (error::refused(refusal, version), CacheStatus::error("refused", None))
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
        return Box::pin(purge(cache, &request)).await;
    }
    // What follows a body is no place for another protocol: nobody asks for it so.
    request.upgrade.take_if(|_| !body.is_end_stream());
    match admit(&mut request, !body.is_end_stream()) {
        Admission::Lookup => {}
        Admission::Pass(reason) => {
            let _hints = hints.map(|hints| hints.open(&mut request.head.extensions));
            return Box::pin(pass(cache, &request, RequestBody::of(body), Verdict::Pass(reason)))
                .await
                .unwrap_or_else(|error| unanswered(&error, reason.forward()));
        }
        Admission::Deny(status) => return (error::denied(status), by_rule(Verdict::Deny, &request)),
        Admission::Redirect(status, location) => {
            return (error::redirected(status, location), by_rule(Verdict::Redirect, &request));
        }
    }
    cached(cache, request, hints).await
}

/// Answers from the store, or with what is fetched.
async fn cached(cache: &Arc<Cache>, mut request: Normalised, hints: Option<&Arc<Channel>>) -> Answer {
    let wishes = CacheControl::of(&request.head.headers);
    let mut open = None;
    for _ in 0..MAX_FOLLOWED {
        let now = SystemTime::now();
        let found = cache.store.lookup(&request.key, &request.head.headers);
        let (forward, stored) = match plan(&found, &request, &wishes, now) {
            Plan::Serve(stored, verdict) => {
                if verdict != Verdict::Hit {
                    lead::refresh(cache, &request, &found, &stored);
                }
                return from_store(&request.head, &stored, verdict, now);
            }
            Plan::Part(answer) => return *answer,
            Plan::Fetch(forward, stored) => (forward, stored),
        };
        if wishes.only_if_cached {
            return (error::only_if_cached(), CacheStatus::error("only-if-cached", None));
        }
        open = open.or_else(|| hints.map(|hints| hints.open(&mut request.head.extensions)));
        let miss = Miss { cache, request: &request, wishes: &wishes, stored: stored.as_ref(), forward };
        // Boxed: what a hit does not need is not to be moved about with it.
        if let Some(answer) = Box::pin(miss.fetch(&found)).await {
            return answer;
        }
    }
    let miss = Miss { cache, request: &request, wishes: &wishes, stored: None, forward: Forward::UriMiss };
    Box::pin(miss.alone()).await
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
