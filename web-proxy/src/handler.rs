//! The life of one request, top to bottom.
//!
//! 1. Understand it, or refuse it ([`crate::request`]).
//! 2. Find what answers it ([`crate::route`]).
//! 3. Send the file ([`crate::static_files`]), or run the script ([`crate::fastcgi`]), which may make the file that
//!    others wait for ([`crate::on_demand`]), or name a file to send ([`crate::handover`]).
//! 4. Or say what is wrong ([`crate::error`]).
//! 5. Note it when its response is over ([`crate::respond`]).
//!
//! [`at_once`] does the same where nothing is to be waited for.

use std::sync::Arc;
use std::time::SystemTime;

use common::http::access_log::{Began, Entry};
use common::http::direct::{HeadText, Reply};
use common::http::forwarded::Scheme;
use common::http::strict::Violation;
use common::listener::Peer;
use futures_util::FutureExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use hyper::body::Incoming;

use crate::docroot::{MapError, Wait};
use crate::error::{self, Failure};
use crate::fastcgi::{self, Ran};
use crate::handover;
use crate::on_demand;
use crate::request::{ClientBody, Received, Refusal};
use crate::respond::{Body, Kind, Record};
use crate::route::{Route, RouteError, Routed, Script, StaticFile};
use crate::rules::Orders;
use crate::site::Site;
use crate::static_files::file_cache::Outcome;
use crate::static_files::prepared::Choice;
use crate::static_files::{self, ServeError, Served};

/// `violation`: the request stands in for one that was not in order.
pub async fn handle(
    site: Arc<Site>,
    peer: Peer,
    scheme: Scheme,
    violation: Option<Violation>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = ClientBody::new(body, &site.shutdown);
    let entry = site.access_log.entry(Began::now(), peer.ip(), scheme.as_str(), &head);
    let mut record = Record::begin(&site.metrics, &site.access_log, entry);
    let received = match violation {
        None => Received::of(head, peer, scheme, &site.config.trusted_proxies),
        Some(violation) => Err(Refusal::Malformed(violation)),
    };
    let (kind, response) = match received {
        Ok(mut request) => {
            request.identify();
            record.identify(&request);
            record.may_break(&request);
            let (orders, outcome) = answer(&site, &request, body, &mut record).await;
            let (kind, response, failure) = respond(&site, &request, &orders, outcome);
            if let Some(failure) = failure {
                tell(&request, &failure, response.status());
            }
            (kind, response)
        }
        Err(refusal) => {
            if refusal != Refusal::ServerOptions {
                site.metrics.refused(refusal.as_str());
            }
            if violation.is_some() {
                record.is_unreadable();
            }
            error::answer(&refusal.into(), &site.config.error_pages)
        }
    };
    let (head, body) = response.into_parts();
    let body = sent(record, kind, head.status, &head.headers, body);
    Response::from_parts(head, body)
}

/// The response of [`handle`] to a GET or HEAD without a body, if nothing has to be waited for, nothing has to run and its
/// length is known; else nothing has happened, and the request goes the ordinary way.
pub fn at_once(
    site: &Arc<Site>,
    peer: &Peer,
    scheme: Scheme,
    head: request::Parts,
    text: &mut HeadText,
) -> Option<Reply<Body>> {
    // What a script is making is waited for; asked for again once a file is found.
    if !is_retrieval(&head.method) || site.flights.are_any() {
        return None;
    }
    let began = Began::now();
    let entry = site.access_log.entry(began, peer.ip(), scheme.as_str(), &head);
    let mut request = Received::of(head, *peer, scheme, &site.config.trusted_proxies).ok()?;
    if site.router.rules.look_at_request_id() {
        request.identify();
    }
    let Routed { orders, route } = site.router.route(&request, Wait::Never).now_or_never()?;
    let second = began.time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut choice = None;
    let (outcome, counted) = match route {
        // A script that has begun meanwhile may be writing this very file.
        Ok(Route::File(_)) if site.flights.are_any() => return None,
        Ok(Route::File(file)) => {
            let hit = file.is_kept().then_some(Outcome::Hit);
            if site.config.compress.is_off() {
                choice = Choice::of(&site.config.files, &request.method, &request.headers, &file);
            }
            if let Some(choice) = &choice
                && let Some(head) = choice.head(second, &orders)
            {
                let body = choice.body()?;
                text.copy(&head.text);
                let record = noted(site, &request, entry, hit, &body);
                return Some(Reply::Written(sent(record, Kind::Static, head.status, &head.headers, body)));
            }
            match serve(site, &request, *file, &orders, Wait::Never).now_or_never()? {
                Ok(Served { response, outcome }) => (Ok((Kind::Static, response)), hit.or(outcome)),
                // The ordinary way waits, or looks once more.
                Err(ServeError::Body(_)) => return None,
                Err(error) => (Err(error.into()), hit),
            }
        }
        Ok(Route::Script(_)) | Err(RouteError::Map(MapError::NotCached)) => return None,
        Ok(Route::Redirect(redirect)) => (Ok((Kind::Static, error::redirect(&redirect))), None),
        Err(error) => (Err(error.into()), None),
    };
    let (kind, response, failure) = respond(site, &request, &orders, outcome);
    if response.body().is_coded() {
        return None;
    }
    if let Some(failure) = failure {
        tell(&request, &failure, response.status());
    }
    if let Some(choice) = choice {
        choice.keep(second, &orders, response.status(), response.headers());
    }
    let record = noted(site, &request, entry, counted, response.body());
    let (head, body) = response.into_parts();
    let body = sent(record, kind, head.status, &head.headers, body);
    Some(Reply::Response(Response::from_parts(head, body)))
}

/// The record of a request that is answered at once.
fn noted(
    site: &Site,
    request: &Received,
    entry: Option<Box<Entry>>,
    counted: Option<Outcome>,
    body: &Body,
) -> Record {
    if let Some(outcome) = counted {
        site.router.files.count(outcome);
    }
    let mut record = Record::begin(&site.metrics, &site.access_log, entry);
    record.identify(request);
    if body.may_break() {
        record.may_break(request);
    }
    record
}

fn sent(mut record: Record, kind: Kind, status: StatusCode, headers: &HeaderMap, body: Body) -> Body {
    record.answered(kind, status, headers);
    body.recorded(record)
}

/// The outcome, or the page that tells of the failure, as rules want it, and compressed if that is worth it.
fn respond(
    site: &Site,
    request: &Received,
    orders: &Orders<'_>,
    outcome: Result<(Kind, Response<Body>), Failure>,
) -> (Kind, Response<Body>, Option<Failure>) {
    let (kind, mut response, failure) = match outcome {
        Ok((kind, response)) => (kind, response, None),
        Err(failure) => {
            let (kind, response) = error::answer(&failure, &site.config.error_pages);
            (kind, response, Some(failure))
        }
    };
    orders.edits().for_each(|edits| edits.of_response(response.headers_mut()));
    let Received { method, version, headers, .. } = request;
    (kind, site.config.compress.apply(method, *version, headers, response), failure)
}

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    /// A response, and how it counts.
    Response(Kind, Response<Body>),
    /// What a request for this would get.
    LocalRedirect(String),
}

/// A local redirect is answered like a request for its target; a script that redirects to itself is not followed
/// for ever (Apache: LimitInternalRecursion).
const MAX_LOCAL_REDIRECTS: usize = 10;

async fn answer<'r>(
    site: &'r Site,
    request: &Received,
    body: ClientBody,
    record: &mut Record,
) -> (Orders<'r>, Result<(Kind, Response<Body>), Failure>) {
    let (mut orders, mut answer) = answer_one(site, request, body, record).await;
    let mut left = MAX_LOCAL_REDIRECTS;
    loop {
        let target = match answer {
            Ok(Answer::Response(kind, response)) => return (orders, Ok((kind, response))),
            Ok(Answer::LocalRedirect(target)) => target,
            Err(failure) => return (orders, Err(failure)),
        };
        let request = match request.redirected(&target) {
            Ok(request) if left > 0 => request,
            refused => return (orders, Err(Failure::LocalRedirect { target, cause: refused.err() })),
        };
        left -= 1;
        (orders, answer) = answer_one(site, &request, ClientBody::none(&site.shutdown), record).await;
    }
}

async fn answer_one<'r>(
    site: &'r Site,
    request: &Received,
    body: ClientBody,
    record: &mut Record,
) -> (Orders<'r>, Result<Answer, Failure>) {
    let Routed { mut orders, mut route } = site.router.route(request, Wait::Allowed).await;
    if matches!(route, Ok(Route::File(_))) && on_demand::settled(site, request).await {
        Routed { orders, route } = site.router.route(request, Wait::Allowed).await;
    }
    if let Ok(Route::File(file)) = route {
        match send(site, request, *file, &orders).await {
            // Replaced, written to or gone since it was found: looking once more finds what is there now.
            Err(Failure::File(ServeError::Body(error))) => {
                tracing::debug!(request_id = request.id().to_str().unwrap_or("-"), %error, "trying once more");
                Routed { orders, route } = site.router.route(request, Wait::Allowed).await;
            }
            sent => return (orders, sent),
        }
    }
    let outcome = match route {
        Ok(Route::File(file)) => send(site, request, *file, &orders).await,
        Ok(Route::Script(script)) => {
            record.runs(&script);
            if script.on_demand && is_retrieval(&request.method) {
                on_demand::make(site, request, body, &script, &mut orders, record).await
            } else {
                run(site, request, body, &script, &orders, record).await
            }
        }
        Ok(Route::Redirect(redirect)) => Ok(Answer::Response(Kind::Static, error::redirect(&redirect))),
        Err(error) => Err(error.into()),
    };
    (orders, outcome)
}

/// A script, and the file that it may name instead of a body.
pub async fn run(
    site: &Site,
    request: &Received,
    body: ClientBody,
    script: &Script,
    orders: &Orders<'_>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    match fastcgi::run(site, request, body, script, orders, record).await? {
        Ran::Response(response) => {
            Ok(Answer::Response(Kind::Php, handover::take(site, request, script, response).await?))
        }
        Ran::LocalRedirect(target) => Ok(Answer::LocalRedirect(target)),
    }
}

/// A file of the docroot.
pub async fn send(
    site: &Site,
    request: &Received,
    file: StaticFile,
    orders: &Orders<'_>,
) -> Result<Answer, Failure> {
    let files = &site.router.files;
    if file.is_kept() {
        files.count(Outcome::Hit);
    }
    let Served { response, outcome } = serve(site, request, file, orders, Wait::Allowed).await?;
    if let Some(outcome) = outcome {
        files.count(outcome);
    }
    Ok(Answer::Response(Kind::Static, response))
}

async fn serve(
    site: &Site,
    request: &Received,
    file: StaticFile,
    orders: &Orders<'_>,
    wait: Wait,
) -> Result<Served, ServeError> {
    let (settings, cache, expires) = (&site.config.files, &site.router.files, orders.expires());
    static_files::serve(settings, cache, &request.method, &request.headers, file, expires, wait).await
}

const fn is_retrieval(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn tell(request: &Received, failure: &Failure, status: StatusCode) {
    let status = status.as_u16();
    let (request_id, target) = (request.id().to_str().unwrap_or("-"), &*request.target());
    // A file that the application names and that is not there is the application's mistake.
    if status >= 500 || matches!(failure, Failure::Handover(_)) {
        tracing::warn!(request_id, status, target, %failure, "cannot answer");
    } else {
        tracing::debug!(request_id, status, target, %failure, "not answered");
    }
}

#[cfg(test)]
mod tests;
