//! The life of one request, top to bottom.
//!
//! 1. Understand it, or refuse it ([`crate::request`]).
//! 2. Find what answers it ([`crate::route`]).
//! 3. Send the file ([`crate::static_files`]), or run the script ([`crate::fastcgi`]).
//! 4. Or say what is wrong ([`crate::error`]).
//! 5. Note it when its response is over ([`crate::respond`]).

use std::sync::Arc;

use common::http::forwarded::Scheme;
use common::http::strict::Violation;
use common::listener::Peer;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::error::{self, Failure};
use crate::fastcgi;
use crate::request::{ClientBody, Received, Refusal};
use crate::respond::{Body, Kind, Record};
use crate::route::{Route, RouteError};
use crate::rules::Orders;
use crate::site::Site;
use crate::static_files;

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
    let entry = site.access_log.entry(peer.ip(), scheme.as_str(), &head);
    let mut record = Record::begin(&site.metrics, &site.access_log, entry);
    let received = match violation {
        None => Received::of(head, peer, scheme, &site.config.trusted_proxies),
        Some(violation) => Err(Refusal::Malformed(violation)),
    };
    let (kind, response) = match received {
        Ok(request) => {
            record.identify(&request);
            let routed = site.router.route(&request).await;
            let orders = routed.orders;
            let (kind, mut response) =
                match answer(&site, &request, body, routed.route, &orders, &mut record).await {
                    Ok(answered) => answered,
                    Err(failure) => failed(&request, &failure),
                };
            orders.edits().for_each(|edits| edits.of_response(response.headers_mut()));
            (kind, response)
        }
        Err(refusal) => error::answer(&refusal.into()),
    };
    record.answered(kind, &response);
    response.map(|body| body.recorded(record))
}

async fn answer(
    site: &Site,
    request: &Received,
    body: ClientBody,
    route: Result<Route, RouteError>,
    orders: &Orders<'_>,
    record: &mut Record,
) -> Result<(Kind, Response<Body>), Failure> {
    match route? {
        Route::File(file) => {
            let response = static_files::serve(&request.method, &request.headers, *file, orders.expires())?;
            Ok((Kind::Static, response))
        }
        Route::Script(script) => {
            record.runs(&script);
            Ok((Kind::Php, fastcgi::run(site, request, body, &script, orders, record).await?))
        }
        Route::Redirect(redirect) => Ok((Kind::Static, error::redirect(&redirect))),
    }
}

fn failed(request: &Received, failure: &Failure) -> (Kind, Response<Body>) {
    let (kind, response) = error::answer(failure);
    let status = response.status().as_u16();
    let (request_id, target) = (request.id.to_str().unwrap_or("-"), &*request.target());
    if status >= 500 {
        tracing::warn!(request_id, status, target, %failure, "cannot answer");
    } else {
        tracing::debug!(request_id, status, target, %failure, "not answered");
    }
    (kind, response)
}
