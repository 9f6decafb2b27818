//! A request to the application, over FastCGI.
//!
//! 1. [`RequestBody`]: its beginning is taken in, all of it where its length is not known; the rest is streamed.
//! 2. [`params`]: the request as CGI parameters.
//! 3. [`Upstream`]: a connection, at the next endpoint that takes one.
//! 4. [`exchange`]: the body is sent and the response read at the same time; what is not over with the head goes on in a
//!    task.
//! 5. [`head`]: the response's head, a 304 where the client has it already ([`conditions`]); its body is a
//!    [`RelayBody`].

mod conditions;
mod error;
mod exchange;
mod head;
mod pace;
mod params;
mod pipe;
mod relay_body;
mod reply;
mod request_body;
mod spool;
mod upstream;

use std::time::Instant;

use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};

pub use error::FastCgiError;
pub use head::HeadError;
pub use params::Place;
pub use relay_body::{RelayBody, Truncated};
pub use request_body::{BodyLimits, RequestBody, RequestBodyError};
pub use spool::{SpoolError, SpoolSpace};
pub use upstream::{Keep, Upstream};

use self::conditions::Conditions;
use self::exchange::{Call, InFlight};
use self::head::Head;
use self::upstream::Connection;
use crate::request::{ClientBody, Received};
use crate::respond::{Body, Record};
use crate::route::Script;
use crate::rules::Orders;
use crate::site::Site;

/// What the application wants.
#[derive(Debug)]
pub enum Ran {
    Response(Response<Body>),
    /// What a request for this path and query would get (RFC 3875, section 6.2.2).
    LocalRedirect(String),
}

/// Runs `script` for `request` and gives its response once the head is there.
pub async fn run(
    site: &Site,
    request: &Received,
    body: ClientBody,
    script: &Script,
    orders: &Orders<'_>,
    record: &mut Record,
) -> Result<Ran, FastCgiError> {
    let mut body = RequestBody::receive(body, &site.body_limits).await?;
    let mut params = params::params(request, script, body.length(), &site.place);
    orders.edits().for_each(|edits| edits.of_params(&mut params, request));
    // A connection that broke before a single byte has come: the script has hardly run. Where a second run
    // does no harm (RFC 9110, section 9.2.2) that is worth one.
    let mut repeatable = body.is_none() && request.method.is_safe();
    loop {
        let started = Instant::now();
        let in_flight = InFlight::begin(&site.metrics);
        // What may not be sent twice has a connection that nobody can have closed in the meantime.
        let connected =
            if repeatable { site.upstream.connect_or_reuse().await } else { site.upstream.connect().await };
        record.upstream(started.elapsed());
        let Connection { stream, endpoint, purpose } = match connected {
            Ok(connection) => connection,
            Err(error) => {
                in_flight.failed(&error);
                in_flight.over();
                return Err(error);
            }
        };
        let call = Call {
            begin: exchange::begin(&params, purpose.is_kept()),
            body: std::mem::replace(&mut body, RequestBody::None),
            bodiless: request.method == Method::HEAD,
            buffer: site.config.fastcgi_buffer,
            conditions: Conditions::of(&request.method, &request.headers),
            timeout: site.config.fastcgi_timeout,
            request_id: request.id().clone(),
            in_flight,
        };
        let answer = exchange::start(call, stream, purpose, &site.shutdown).await;
        record.upstream(started.elapsed());
        match answer {
            Ok((head, relay)) => {
                site.metrics.fastcgi_seconds.observe(started.elapsed());
                return Ok(match head.local_redirect {
                    Some(target) => Ran::LocalRedirect(target),
                    None => Ran::Response(response(&request.method, head, relay)),
                });
            }
            Err(error) if error.is_silent() && repeatable => {
                tracing::debug!(request_id = request.id().to_str().unwrap_or("-"), %error, "trying once more");
                site.upstream.gone(&endpoint);
                repeatable = false;
            }
            Err(error) => return Err(error),
        }
    }
}

fn response(method: &Method, head: Head, relay: RelayBody) -> Response<Body> {
    let bodiless = *method == Method::HEAD || has_no_body(head.status);
    let body = if bodiless { Body::empty() } else { Body::relay(relay) };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    if has_no_body(head.status) {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// RFC 9112, section 6.3.
const fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
