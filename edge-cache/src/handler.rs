//! The life of one request, top to bottom.
//!
//! 1. Normalise it, or refuse it ([`crate::request::normalise`]).
//! 2. Ask the rules, and admit it to the cache or pass it on ([`crate::request::admit`]).
//! 3. Look it up ([`crate::store`]).
//! 4. Decide what the stored response is good for ([`crate::policy::reuse`]).
//! 5. Fetch what is missing, together with whoever wants the same ([`crate::fetch`]).
//! 6. Answer, and say what was done ([`crate::respond`]).

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use common::http::access_log::Began;
use common::http::direct::{self, HeadText};
use common::http::forwarded::Scheme;
use common::http::strict::Violation;
use common::listener::Peer;
use futures_util::future::Either;
use http::request::Parts;
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::cache::Cache;
use crate::error;
use crate::fetch::lead;
use crate::fetch::miss::{Miss, unanswered};
use crate::fetch::origin::RequestBody;
use crate::fetch::pass::pass;
use crate::interim::Channel;
use crate::invalidate::{self, Command, command};
use crate::lookup::{Plan, plan};
use crate::policy::cache_control::CacheControl;
use crate::request::{Admission, Normalised, PassReason, Refusal, admit, normalise};
use crate::respond::stored::{Reply, reply};
use crate::respond::{Account, Answer, Body, CacheStatus, Forward, Verdict, from_store};
use crate::store::{Lookup, Stored};

/// How often a request joins a fetch that comes to nothing before it fetches for itself.
const MAX_FOLLOWED: usize = 3;

/// An answer that is there already, or one that is waited for. The first is what a hit is: it has no future to be
/// moved about.
pub type Handling = Either<Ready<Response<Body>>, Pin<Box<dyn Future<Output = Response<Body>> + Send>>>;

/// `interim`: where interim responses can be written. `violation`: the request stands in for one that was not in order.
pub fn handle(
    cache: &Arc<Cache>,
    peer: &Peer,
    scheme: Scheme,
    interim: Option<&Arc<Channel>>,
    violation: Option<Violation>,
    request: Request<Incoming>,
) -> Handling {
    let began = Began::now();
    let (head, body) = request.into_parts();
    let version = head.version;
    let live = cache.live.load_full();
    let mut account = Account::open(Arc::clone(cache), Arc::clone(&live), began, peer, scheme, &head);
    let normalised = match violation {
        None => normalise(head, peer, scheme, live),
        Some(violation) => Err(Refusal::Malformed(violation)),
    };
    let mut request = match normalised {
        Ok(request) => request,
        Err(refusal) => {
            cache.metrics.refused(refusal.as_str());
            if violation.is_some() {
                account.is_unreadable();
            }
            let answer = (error::refused(refusal, version), CacheStatus::error("refused", None));
            return Either::Left(ready(account.close(answer)));
        }
    };
    account.identify(&request);
    let work = match at_once(cache, &mut request, !body.is_end_stream(), began.time) {
        Step::Answer(at_hand) => {
            let answer = at_hand.answer(&request, began.time);
            return Either::Left(ready(account.close(answer)));
        }
        Step::Wait(work) => work,
    };
    request.forward();
    account.await_origin(&mut request);
    let (cache, interim) = (Arc::clone(cache), interim.cloned());
    Either::Right(Box::pin(async move {
        // A client of HTTP/1.0 takes an interim response for the answer (RFC 9110, section 15.2).
        let hints = interim.as_ref().filter(|_| version == Version::HTTP_11);
        let waited = waited_for(&cache, request, work, hints, body);
        account.close(Channel::attended(interim.as_deref(), waited).await)
    }))
}

/// The answer to a request without a body, where it takes no waiting. Otherwise the request is as if it had not come.
pub fn answer_at_once(
    cache: &Arc<Cache>,
    peer: &Peer,
    scheme: Scheme,
    head: Parts,
    text: &mut HeadText,
) -> Option<direct::Reply<Body>> {
    let began = Began::now();
    let live = cache.live.load_full();
    let mut account = Account::open(Arc::clone(cache), Arc::clone(&live), began, peer, scheme, &head);
    let Ok(mut request) = normalise(head, peer, scheme, live) else {
        account.forget();
        return None;
    };
    account.identify(&request);
    let at_hand = match at_once(cache, &mut request, false, began.time) {
        Step::Answer(at_hand) => at_hand,
        Step::Wait(_) => {
            account.forget();
            return None;
        }
    };
    let answer = match at_hand {
        AtHand::Stored(stored, verdict) if !account.looks_at_fields() => {
            match reply(&request.head, request.asks, &stored, verdict, began.time) {
                (Reply::One(reply), status) => {
                    return Some(direct::Reply::Written(account.write(reply, &status, text)));
                }
                (Reply::Parts(parts), status) => (parts, status),
            }
        }
        at_hand => at_hand.answer(&request, began.time),
    };
    Some(direct::Reply::Response(account.close(answer)))
}

/// What becomes of a request without waiting for anything.
enum Step {
    Answer(AtHand),
    Wait(Work),
}

/// What there is to answer with.
enum AtHand {
    Answer(Box<Answer>),
    Stored(Arc<Stored>, Verdict),
}

impl AtHand {
    fn answer(self, request: &Normalised, now: SystemTime) -> Answer {
        match self {
            Self::Answer(answer) => *answer,
            Self::Stored(stored, verdict) => from_store(&request.head, &stored, verdict, now),
        }
    }
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Self {
        Self::Answer(AtHand::Answer(Box::new(answer)))
    }
}

/// What is left to be done for an answer.
enum Work {
    Invalidate,
    Pass(PassReason),
    Fetch(CacheControl, Wanting),
}

/// What was found, and what the origin is to be asked.
struct Wanting {
    found: Lookup,
    forward: Forward,
    stored: Option<Arc<Stored>>,
}

/// Decides, and answers what the store can.
fn at_once(cache: &Arc<Cache>, request: &mut Normalised, has_body: bool, now: SystemTime) -> Step {
    if command::is_command(&request.head.method) {
        return Step::Wait(Work::Invalidate);
    }
    // What follows a body is no place for another protocol: nobody asks for it so.
    request.upgrade.take_if(|_| has_body);
    match admit(request, has_body) {
        Admission::Lookup => {}
        Admission::Pass(reason) => return Step::Wait(Work::Pass(reason)),
        Admission::Deny(status) => {
            return (error::denied(status), by_rule(Verdict::Deny, request)).into();
        }
        Admission::Redirect(status, location) => {
            return (error::redirected(status, location), by_rule(Verdict::Redirect, request)).into();
        }
    }
    let wishes = if request.asks.directives {
        CacheControl::of(&request.head.headers)
    } else {
        CacheControl::default()
    };
    match stored(cache, request, &wishes, now) {
        Ok(at_hand) => Step::Answer(at_hand),
        Err(_) if wishes.only_if_cached => {
            (error::only_if_cached(), CacheStatus::error("only-if-cached", None)).into()
        }
        Err(wanting) => Step::Wait(Work::Fetch(wishes, wanting)),
    }
}

/// What the store answers with, or what it lacks.
fn stored(
    cache: &Arc<Cache>,
    request: &mut Normalised,
    wishes: &CacheControl,
    now: SystemTime,
) -> Result<AtHand, Wanting> {
    let key = request.key.clone();
    let found = cache.store.lookup_as(&key, |all| request.fields(all));
    let (forward, stored) = match plan(&found, request, wishes, now) {
        Plan::Serve(stored, verdict) => {
            if verdict != Verdict::Hit {
                request.forward();
                lead::refresh(cache, request, &found, &stored);
            }
            return Ok(AtHand::Stored(stored, verdict));
        }
        Plan::Part(answer) => return Ok(AtHand::Answer(answer)),
        Plan::Fetch(forward, stored) => (forward, stored),
    };
    Err(Wanting { found, forward, stored })
}

async fn waited_for(
    cache: &Arc<Cache>,
    mut request: Normalised,
    work: Work,
    hints: Option<&Arc<Channel>>,
    body: Incoming,
) -> Answer {
    match work {
        Work::Invalidate => purge(cache, &request).await,
        Work::Pass(reason) => {
            let _hints = hints.map(|hints| hints.open(&mut request.head.extensions));
            pass(cache, &request, RequestBody::of(body), Verdict::Pass(reason))
                .await
                .unwrap_or_else(|error| unanswered(&error, reason.forward()))
        }
        Work::Fetch(wishes, wanting) => fetched(cache, request, hints, &wishes, wanting).await,
    }
}

/// Answers with what is fetched, or with what somebody else has stored meanwhile.
async fn fetched(
    cache: &Arc<Cache>,
    mut request: Normalised,
    hints: Option<&Arc<Channel>>,
    wishes: &CacheControl,
    mut wanting: Wanting,
) -> Answer {
    let _open = hints.map(|hints| hints.open(&mut request.head.extensions));
    for _ in 0..MAX_FOLLOWED {
        let Wanting { found, forward, stored: old } = &wanting;
        let miss = Miss { cache, request: &request, wishes, stored: old.as_ref(), forward: *forward };
        if let Some(answer) = miss.fetch(found).await {
            return answer;
        }
        let now = SystemTime::now();
        wanting = match stored(cache, &mut request, wishes, now) {
            Ok(at_hand) => return at_hand.answer(&request, now),
            Err(wanting) => wanting,
        };
    }
    let miss = Miss { cache, request: &request, wishes, stored: None, forward: Forward::UriMiss };
    miss.alone().await
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
