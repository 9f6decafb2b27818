//! To the origin and back without the store.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use common::http::hop_by_hop;
use common::http::request_id::X_REQUEST_ID;
use http::header::{
    CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, DATE, EXPIRES, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LOCATION, RANGE, TRANSFER_ENCODING, VIA,
};
use http::{Method, Response, StatusCode, Version, request, response};

use super::lead::{self, Times};
use super::origin::{OriginBody, RequestBody};
use super::tunnel;
use crate::cache::Cache;
use crate::error;
use crate::fetch::{FetchError, OriginTime};
use crate::invalidate::{Command, Mode, Scope, carry_out, groups};
use crate::live::Live;
use crate::policy::targeted;
use crate::request::forwarding::OUR_VIA;
use crate::request::{Admission, Normalised, PassReason, admit};
use crate::respond::{Answer, Body, CacheStatus, Verdict, tags};
use crate::rules::Orders;

/// Sends the request as the client made it. A successful unsafe one invalidates what it may have changed.
pub async fn pass(
    cache: &Arc<Cache>,
    request: &Normalised,
    body: RequestBody,
    verdict: Verdict,
) -> Result<Answer, FetchError> {
    let mut head = request.head.clone();
    if body.is_of_unknown_length() {
        // hyper would send a GET's body of unknown length as none at all.
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(upgrade) = &request.upgrade {
        upgrade.ask(&mut head.headers);
    }
    let unsafe_method = !is_safe(&request.head.method);
    // Whatever is invalidated from here on may be what the answer is made of.
    let (began, watch) =
        (cache.epochs.begin(), unsafe_method.then(|| cache.flights.apart(&request.key, &cache.epochs)));
    let requested = SystemTime::now();
    let (mut head, body) =
        ask(cache, &request.live, request.orders, head, body, &request.origin_time).await?;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return tunnel::open(cache, request, head, body, verdict);
    }
    receive(&mut head);
    let times = Times { requested, received: SystemTime::now() };
    let outdated = watch.is_some_and(|watch| watch.is_invalidated());
    if unsafe_method && (head.status.is_success() || head.status.is_redirection()) {
        invalidate(cache, request, &head);
    }
    if unsafe_method {
        let groups = groups::named(&head.headers);
        if !groups.is_empty() {
            let scope = Scope::Groups(groups, request.key.clone());
            // It only comes to nothing when the service ends.
            let _ = carry_out(cache, Command { scope, mode: Mode::Hard }).await;
        }
    }
    if !outdated && let Some(get) = as_get(request, &head) {
        let flight = cache.flights.apart(&get.key, &cache.epochs);
        let answer = lead::adopt(cache, flight, &get, began, times, (head, body)).await?;
        return Ok(answer.into_answer(&get.head, verdict));
    }
    request.orders.response(&request.live.config.rules, head.status, &head.headers).edit(&mut head.headers);
    tags::strip(&mut head.headers);
    let mut status = CacheStatus::new(verdict);
    status.fwd_status = Some(head.status);
    if verdict == Verdict::Pass(PassReason::Rule) {
        status.rule = request.decided_by();
    }
    Ok((Response::from_parts(head, Body::passed(body)), status))
}

/// The GET that a POST's response may answer later: it says for how long, and that it is what its own target has
/// (RFC 9110, section 9.3.3), and such a GET would be looked up.
fn as_get(request: &Normalised, response: &response::Parts) -> Option<Normalised> {
    if request.head.method != Method::POST || response.status != StatusCode::OK {
        return None;
    }
    let location = response.headers.get(CONTENT_LOCATION)?.to_str().ok()?;
    if request.key.join_same_origin(location).as_ref() != Some(&request.key) {
        return None;
    }
    let directives = targeted::directives(&response.headers, &request.live.config.http.targets);
    let is_explicit = directives.s_maxage.is_some()
        || directives.max_age.is_some()
        || !directives.is_targeted && response.headers.contains_key(EXPIRES);
    let mut get = request.clone();
    get.head.method = Method::GET;
    for name in OF_THE_POST {
        get.head.headers.remove(name);
    }
    (is_explicit && admit(&mut get, false) == Admission::Lookup).then_some(get)
}

/// What was meant for the POST alone.
const OF_THE_POST: [HeaderName; 8] = [
    CONTENT_LENGTH,
    CONTENT_TYPE,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
    RANGE,
];

/// Sends a request and brings the response's head to the form that is stored and passed on.
pub async fn send(
    cache: &Arc<Cache>,
    live: &Live,
    orders: Orders,
    head: request::Parts,
    body: RequestBody,
    time: &OriginTime,
) -> Result<(response::Parts, OriginBody), FetchError> {
    let (mut head, body) = ask(cache, live, orders, head, body, time).await?;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(FetchError::Broken("the origin switched protocols unasked".into()));
    }
    receive(&mut head);
    Ok((head, body))
}

async fn ask(
    cache: &Arc<Cache>,
    live: &Live,
    orders: Orders,
    head: request::Parts,
    body: RequestBody,
    time: &OriginTime,
) -> Result<(response::Parts, OriginBody), FetchError> {
    cache.metrics.origin_requests.inc();
    let started = Instant::now();
    let (url, request_id) = (head.uri.clone(), head.headers.get(X_REQUEST_ID).cloned());
    let origin = live.origin(orders.origin).map_or(&cache.origin, |origin| &**origin);
    let sent = origin.send(head, body, live.config.limits).await;
    let taken = started.elapsed();
    cache.metrics.origin_seconds.observe(taken);
    time.add(taken);
    if let Ok((head, _)) = &sent {
        cache.metrics.origin_response(head.status);
    }
    sent.inspect_err(|error| {
        if matches!(error, FetchError::Upload(_)) {
            // The client's doing, not the origin's.
            cache.metrics.refused(error::reason(error));
            tracing::debug!(%error, %url, ?request_id, "a request that broke off");
            return;
        }
        cache.metrics.origin_error(error::reason(error));
        tracing::warn!(%error, %url, ?request_id, "no response from the origin");
    })
}

/// The response's head without what belongs to the connection that it came over, and with what every proxy adds.
pub(super) fn receive(head: &mut response::Parts) {
    head.version = Version::HTTP_11;
    one_length(head);
    hop_by_hop::strip(&mut head.headers);
    // RFC 9110, section 6.6.1: a recipient with a clock records when a response without Date came.
    if !head.headers.contains_key(DATE)
        && let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now()))
    {
        head.headers.insert(DATE, now);
    }
    head.headers.append(VIA, OUR_VIA);
}

/// One Content-Length where the same number was said more than once, and none where there is no content
/// (RFC 9110, section 8.6). More is not needed: an ambiguous head has not come through.
fn one_length(head: &mut response::Parts) {
    let Some(length) = head.headers.get(CONTENT_LENGTH) else { return };
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
        return;
    }
    let first = length.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    if first.len() < length.len() || head.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        let length = HeaderValue::from_bytes(first).ok();
        head.headers.remove(CONTENT_LENGTH);
        head.headers.extend(length.map(|length| (CONTENT_LENGTH, length)));
    }
}

/// RFC 9111, section 4.4: the target, and what Location and Content-Location name on the same origin.
fn invalidate(cache: &Arc<Cache>, request: &Normalised, response: &response::Parts) {
    let named = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| {
        let reference = response.headers.get(name)?.to_str().ok()?;
        request.key.join_same_origin(reference).map(|key| request.live.key_of(&key))
    });
    for key in std::iter::once(request.key.clone()).chain(named) {
        // Fetches first: one that ends in between must not put the old response back.
        cache.view().overtake(&key);
        if cache.store.remove(&key) {
            cache.metrics.invalidated.inc();
        }
    }
}

/// RFC 9110, section 9.2.1. A method that is not known is taken as unsafe.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// The statuses for which RFC 5861, section 4 lets a stale response be served.
pub fn is_server_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
