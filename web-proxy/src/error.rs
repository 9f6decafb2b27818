//! The one place where an error becomes a response.

mod pages;

use std::io;

use common::http::error_page;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};

pub use self::pages::{ErrorPages, PagesError};
use crate::docroot::MapError;
use crate::fastcgi::{FastCgiError, RequestBodyError, SpoolError};
use crate::handover::HandoverError;
use crate::request::Refusal;
use crate::respond::{Body, Kind};
use crate::route::{Redirect, RouteError};
use crate::static_files::{FileBodyError, Guard, METHODS, NOSNIFF, ServeError};

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Listen(#[from] common::listener::ListenError),
    #[error(transparent)]
    Dns(#[from] common::discovery::DnsError),
    #[error("docroot = {path}: {cause}")]
    Docroot { path: String, cause: io::Error },
    #[error("internal: {folder}: {cause}")]
    Internal { folder: String, cause: io::Error },
    #[error("cannot open the access log {destination}: {cause}")]
    AccessLog { destination: String, cause: io::Error },
    #[error("cannot wait for signals: {0}")]
    Signal(io::Error),
}

/// Why a request gets a page of ours.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    File(#[from] ServeError),
    #[error(transparent)]
    FastCgi(#[from] FastCgiError),
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// To nothing that could be asked for, or without end.
    #[error(
        "a script redirects locally to {target:?}: {}",
        cause.map_or("one of many such redirects".to_owned(), |cause| cause.to_string())
    )]
    LocalRedirect { target: String, cause: Option<Refusal> },
}

const SITE_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// Long enough for a PHP-FPM to be started again.
const RETRY: HeaderValue = HeaderValue::from_static("2");

/// The page, and how it counts.
pub fn answer(failure: &Failure, pages: &ErrorPages) -> (Kind, Response<Body>) {
    let (kind, status, detail) = describe(failure);
    if let Failure::Refusal(Refusal::ServerOptions) = failure {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response.headers_mut().insert(ALLOW, SITE_METHODS);
        return (kind, response);
    }
    if let Failure::Refusal(Refusal::Malformed(violation)) = failure {
        let mut response = page(pages, status, &format!("{detail}: {violation}."));
        // Where it is in doubt what follows it, nothing is read that does.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return (kind, response);
    }
    let mut response = page(pages, status, detail);
    let headers = response.headers_mut();
    match failure {
        Failure::File(ServeError::Guard(Guard::Method)) => headers.insert(ALLOW, METHODS),
        Failure::Refusal(Refusal::Method) => headers.insert(ALLOW, SITE_METHODS),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => headers.insert(RETRY_AFTER, RETRY),
        _ => None,
    };
    (kind, response)
}

pub fn redirect(redirect: &Redirect) -> Response<Body> {
    let mut response = page(&ErrorPages::default(), redirect.status, "This page has another address.");
    if redirect.status == StatusCode::MOVED_PERMANENTLY || redirect.status == StatusCode::PERMANENT_REDIRECT {
        response.headers_mut().remove(CACHE_CONTROL);
    }
    // The target is percent-encoded and a request's query is of visible characters, so it always fits.
    if let Ok(location) = HeaderValue::from_str(&redirect.location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn describe(failure: &Failure) -> (Kind, StatusCode, &'static str) {
    match failure {
        Failure::Refusal(refusal) => match refusal {
            Refusal::Host => {
                (Kind::Error, StatusCode::BAD_REQUEST, "The request does not name exactly one valid host.")
            }
            Refusal::Method => {
                (Kind::Error, StatusCode::METHOD_NOT_ALLOWED, "This method is not served here.")
            }
            Refusal::TransferCoding => (
                Kind::Error,
                StatusCode::NOT_IMPLEMENTED,
                "The request's body is coded in a way not known here.",
            ),
            Refusal::TargetTooLong => (Kind::Error, StatusCode::URI_TOO_LONG, "The address is too long."),
            Refusal::FieldsTooLarge => (
                Kind::Error,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The request's header fields are too large.",
            ),
            Refusal::Malformed(violation) => {
                (Kind::Error, violation.status(), "The request is not valid HTTP/1.1")
            }
            Refusal::ServerOptions => (Kind::Static, StatusCode::NO_CONTENT, ""),
            // As Apache answers it (AllowEncodedSlashes off).
            Refusal::Path(crate::route::path::PathError::EncodedSlash) => {
                (Kind::Error, StatusCode::NOT_FOUND, "There is no such page.")
            }
            Refusal::Path(_) => (Kind::Error, StatusCode::BAD_REQUEST, "The address is not a valid one."),
        },
        Failure::Route(error) => match error {
            RouteError::NotFound => (Kind::Static, StatusCode::NOT_FOUND, "There is no such page."),
            RouteError::Denied { status, .. } if *status != StatusCode::FORBIDDEN => denied(*status),
            RouteError::Denied { .. }
            | RouteError::NoIndex
            | RouteError::Map(MapError::NotPermitted | MapError::Outside | MapError::Special) => forbidden(),
            // Another replica may well have it.
            RouteError::Map(MapError::Io(error)) if is_away(error) => (
                Kind::Error,
                StatusCode::SERVICE_UNAVAILABLE,
                "The site's files cannot be reached at the moment.",
            ),
            RouteError::Map(MapError::Io(_) | MapError::NotCached) => {
                (Kind::Error, StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read at the moment.")
            }
        },
        Failure::File(error) => match error {
            ServeError::Guard(Guard::Source) => forbidden(),
            ServeError::Guard(Guard::Method) => {
                (Kind::Static, StatusCode::METHOD_NOT_ALLOWED, "A file cannot be asked this way.")
            }
            ServeError::Body(FileBodyError::Changed | FileBodyError::Shrunk) => {
                (Kind::Error, StatusCode::SERVICE_UNAVAILABLE, "The file is being written at the moment.")
            }
            ServeError::Body(FileBodyError::Io(_) | FileBodyError::TimedOut | FileBodyError::NotCached) => {
                (Kind::Error, StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read at the moment.")
            }
        },
        Failure::Handover(HandoverError::Missing(_)) => {
            (Kind::Static, StatusCode::NOT_FOUND, "There is no such page.")
        }
        Failure::LocalRedirect { .. } => {
            (Kind::Error, StatusCode::BAD_GATEWAY, "The site's answer could not be understood.")
        }
        Failure::Handover(_) => {
            (Kind::Error, StatusCode::INTERNAL_SERVER_ERROR, "The site has named a file that cannot be sent.")
        }
        Failure::FastCgi(error) => {
            let (status, detail) = of_fastcgi(error);
            (Kind::Error, status, detail)
        }
    }
}

/// By a rule that names its status.
fn denied(status: StatusCode) -> (Kind, StatusCode, &'static str) {
    match status {
        StatusCode::NOT_FOUND => (Kind::Static, status, "There is no such page."),
        StatusCode::GONE => (Kind::Static, status, "This page is gone."),
        _ => (Kind::Denied, status, "This address is not open to visitors."),
    }
}

const fn forbidden() -> (Kind, StatusCode, &'static str) {
    (Kind::Denied, StatusCode::FORBIDDEN, "This address is not open to visitors.")
}

/// A file server, or a replicated volume without its majority, that is not there.
fn is_away(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NotConnected, StaleNetworkFileHandle, TimedOut};
    matches!(error.kind(), NotConnected | StaleNetworkFileHandle | TimedOut | HostUnreachable)
}

const fn of_fastcgi(error: &FastCgiError) -> (StatusCode, &'static str) {
    match error {
        FastCgiError::NoEndpoint
        | FastCgiError::Unreachable { .. }
        | FastCgiError::Overloaded
        | FastCgiError::Ending
        | FastCgiError::Abandoned => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The site cannot be reached at the moment. Please try again shortly.",
        ),
        FastCgiError::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "The site did not answer in time."),
        FastCgiError::Broken { .. }
        | FastCgiError::Refused(_)
        | FastCgiError::Head(_)
        | FastCgiError::Length(_) => (StatusCode::BAD_GATEWAY, "The site's answer could not be understood."),
        FastCgiError::RequestBody(error) => match error {
            RequestBodyError::TooLarge(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "What was sent is larger than this site accepts.")
            }
            RequestBodyError::TimedOut(_) => {
                (StatusCode::REQUEST_TIMEOUT, "The request did not arrive in time.")
            }
            RequestBodyError::Client(_) => {
                (StatusCode::BAD_REQUEST, "The request did not arrive as a whole.")
            }
            RequestBodyError::Spool(SpoolError::Full) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "There is no room for what was sent at the moment. Please try again shortly.",
            ),
            RequestBodyError::Spool(SpoolError::Io(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "The request cannot be stored at the moment.")
            }
        },
    }
}

/// The operator's page, or a plain one.
fn page(pages: &ErrorPages, status: StatusCode, detail: &str) -> Response<Body> {
    let page = pages.of(status).unwrap_or_else(|| error_page::render(status, detail));
    let mut response = Response::new(Body::page(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(error_page::CONTENT_TYPE));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
