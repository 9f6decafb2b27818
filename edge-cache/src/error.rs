//! The one place where an error becomes a response.

use std::net::IpAddr;

use bytes::Bytes;
use common::http::error_page;
use common::http::strict::Violation;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode, Uri, Version};
use ipnet::IpNet;

use crate::fetch::FetchError;
use crate::invalidate::{CommandError, Ending};
use crate::request::Refusal;
use crate::respond::Body;

/// Why the service cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Listen(#[from] common::listener::ListenError),
    #[error(transparent)]
    Dns(#[from] common::discovery::DnsError),
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    #[error("cannot open the access log {destination}: {cause}")]
    AccessLog { destination: String, cause: std::io::Error },
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}

/// A request that cannot be understood. Where it is in doubt what follows it, nothing is read that does.
pub fn refused(refusal: Refusal, version: Version) -> Response<Body> {
    let response = match refusal {
        Refusal::Host => page(StatusCode::BAD_REQUEST, "The request does not name exactly one valid host."),
        Refusal::Target => page(
            StatusCode::BAD_REQUEST,
            "The request's target is neither a path nor a URL, or is not encoded as one.",
        ),
        Refusal::Expectation => {
            page(StatusCode::EXPECTATION_FAILED, "The request expects something that is not known here.")
        }
        Refusal::Method => page(StatusCode::METHOD_NOT_ALLOWED, "This method is not served here."),
        Refusal::Malformed(violation) => malformed(violation, version),
    };
    if matches!(refusal, Refusal::Method | Refusal::Expectation | Refusal::Malformed(_)) {
        return closing(response);
    }
    response
}

fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn malformed(violation: Violation, version: Version) -> Response<Body> {
    let protocol = if version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
    page(violation.status(), &format!("The request is not valid {protocol}: {violation}."))
}

/// What stands in the access log for a request that could not be read.
pub fn unreadable() -> (Method, Uri) {
    (Method::from_bytes(b"-").unwrap_or_default(), Uri::from_static("-"))
}

/// A rule refuses the request.
pub fn denied(status: StatusCode) -> Response<Body> {
    page(status, "This is not served here.")
}

/// A rule sends the client elsewhere.
pub fn redirected(status: StatusCode, location: HeaderValue) -> Response<Body> {
    let page: Bytes = error_page::render(status, "What was asked for is elsewhere.");
    let mut response = Response::new(Body::page(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(error_page::CONTENT_TYPE));
    headers.insert(LOCATION, location);
    response
}

/// No response from the origin.
pub fn failed(error: &FetchError) -> Response<Body> {
    let (status, detail) = match error {
        FetchError::NoEndpoint | FetchError::Unreachable(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The site cannot be reached at the moment. Please try again shortly.",
        ),
        FetchError::Broken(_) | FetchError::ServerError(_) => {
            (StatusCode::BAD_GATEWAY, "The site's answer could not be understood.")
        }
        FetchError::FirstByteTimeout => (StatusCode::GATEWAY_TIMEOUT, "The site did not answer in time."),
        // HTTP/2 has no framing of its own that could be violated so.
        FetchError::Upload(Some(violation)) => return closing(malformed(*violation, Version::HTTP_11)),
        FetchError::Upload(None) => {
            return closing(page(StatusCode::BAD_REQUEST, "The request's body did not come to its end."));
        }
    };
    let mut response = page(status, detail);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

/// `only-if-cached` and nothing stored (RFC 9111, section 5.2.1.7).
pub fn only_if_cached() -> Response<Body> {
    page(
        StatusCode::GATEWAY_TIMEOUT,
        "The response is not stored, and the request asks for a stored one only.",
    )
}

/// An invalidation was carried out.
pub fn purged(count: Result<usize, Ending>, as_json: bool) -> Response<Body> {
    match count {
        Ok(count) if as_json => json(StatusCode::OK, &serde_json::json!({ "invalidated": count })),
        Ok(count) => text(StatusCode::OK, format!("invalidated {count}\n")),
        Err(ending) if as_json => {
            json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "error": ending.to_string() }))
        }
        Err(ending) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{ending}\n")),
    }
}

/// An invalidation that does not say what.
pub fn bad_purge(error: &CommandError, as_json: bool) -> Response<Body> {
    if as_json {
        return json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": error.to_string() }));
    }
    text(StatusCode::BAD_REQUEST, format!("{error}\n"))
}

/// An invalidation from somebody who may not.
pub fn purge_refused(client: IpAddr, allowed: &[IpNet], as_json: bool) -> Response<Body> {
    let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    if as_json {
        let error = format!("{client} may not invalidate: see --purge-from");
        let answer = serde_json::json!({ "error": error, "client": client, "allowed": allowed });
        return json(StatusCode::FORBIDDEN, &answer);
    }
    let allowed = if allowed.is_empty() { "nobody".to_owned() } else { allowed.join(", ") };
    text(StatusCode::FORBIDDEN, format!("{client} may not invalidate; allowed by --purge-from: {allowed}\n"))
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    plain(status, text, HeaderValue::from_static("text/plain; charset=utf-8"))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    plain(status, format!("{value}\n"), HeaderValue::from_static("application/json"))
}

fn plain(status: StatusCode, text: String, content_type: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::page(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A label for metrics.
pub const fn reason(error: &FetchError) -> &'static str {
    match error {
        FetchError::NoEndpoint => "no-endpoint",
        FetchError::Unreachable(_) => "unreachable",
        FetchError::FirstByteTimeout => "timeout",
        FetchError::Broken(_) => "broken",
        FetchError::Upload(violation) => match violation {
            Some(violation) => violation.as_str(),
            None => "upload",
        },
        FetchError::ServerError(_) => "server-error",
    }
}

fn page(status: StatusCode, detail: &str) -> Response<Body> {
    let page: Bytes = error_page::render(status, detail);
    let mut response = Response::new(Body::page(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(error_page::CONTENT_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
