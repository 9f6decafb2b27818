//! A file as a response.
//!
//! 1. [`guard`]: files that are never sent, and methods that a file does not have.
//! 2. [`Validators`]: what names this state of the file.
//! 3. [`negotiate`]: the request's conditions and range against them, a pure decision.
//! 4. Head and body ([`FileBody`], [`FileParts`]).

mod content_type;
mod file_body;
mod file_parts;
mod guard;
mod negotiate;
mod validators;

use std::time::{Duration, SystemTime};

use common::http::range::{ByteRange, Multipart, content_range};
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    EXPIRES, HeaderName, HeaderValue, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Response, StatusCode};

use content_type::Kind;
pub use file_body::{FileBody, FileBodyError};
pub use file_parts::FileParts;
pub use guard::Guard;
use negotiate::Decision;
pub use validators::Validators;

use crate::respond::Body;
use crate::route::StaticFile;

/// The methods that a file has.
pub const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
pub const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The response to a request for `file`, or why it is not sent.
pub fn serve(
    method: &Method,
    request: &HeaderMap,
    file: StaticFile,
    expires: Option<Duration>,
) -> Result<Response<Body>, Guard> {
    guard::check(method, file.name())?;
    if method == Method::OPTIONS {
        return Ok(response(StatusCode::NO_CONTENT, [(ALLOW, METHODS)], Body::empty()));
    }
    let now = SystemTime::now();
    let validators = Validators::of(&file.metadata, now);
    let length = file.metadata.len();
    let kind = kind_of(&file);
    let decision = negotiate::negotiate(method, request, &validators, length);
    let mut response = match decision {
        Decision::PreconditionFailed => {
            return Ok(response(StatusCode::PRECONDITION_FAILED, [], Body::empty()));
        }
        Decision::Send(ByteRange::Unsatisfiable) => {
            let range = [(CONTENT_RANGE, content_range(None, length))];
            return Ok(response(StatusCode::RANGE_NOT_SATISFIABLE, range, Body::empty()));
        }
        Decision::NotModified => response(StatusCode::NOT_MODIFIED, [], Body::empty()),
        Decision::Send(ByteRange::Part { start, end }) => {
            let range = [(CONTENT_RANGE, content_range(Some((start, end)), length))];
            let body = body(method, file.file, start, end);
            with_type(response(StatusCode::PARTIAL_CONTENT, range, body), kind, end - start)
        }
        // Parts of an encoded file would need the coding where a client takes it for that of the multipart body.
        Decision::Send(ByteRange::Parts(parts)) if kind.coding.is_none() => {
            let multipart = Multipart::new(&parts, length, Some(&kind.media_type));
            let fields = [
                (CONTENT_TYPE, multipart.content_type()),
                (CONTENT_LENGTH, HeaderValue::from(multipart.length())),
            ];
            let body = Body::parts(FileParts::new(file.file, multipart));
            response(StatusCode::PARTIAL_CONTENT, fields, body)
        }
        Decision::Send(ByteRange::Whole | ByteRange::Parts(_)) => {
            let body = body(method, file.file, 0, length);
            with_type(response(StatusCode::OK, [], body), kind, length)
        }
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, validators.etag.clone());
    headers.insert(LAST_MODIFIED, http_date(validators.modified));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(lifetime) = expires {
        if let Ok(value) = HeaderValue::from_str(&format!("max-age={}", lifetime.as_secs())) {
            headers.insert(CACHE_CONTROL, value);
        }
        headers.insert(EXPIRES, http_date(now + lifetime));
    }
    Ok(response)
}

/// By its name, unless a rule has said otherwise.
fn kind_of(file: &StaticFile) -> Kind {
    let mut kind = content_type::of(file.path.as_bytes());
    if let Some(media_type) = &file.media_type {
        kind.media_type.clone_from(media_type);
    }
    if file.coding.is_some() {
        kind.coding.clone_from(&file.coding);
    }
    kind
}

fn body(method: &Method, file: std::fs::File, start: u64, end: u64) -> Body {
    if *method == Method::HEAD { Body::empty() } else { Body::file(FileBody::new(file, start, end)) }
}

fn response(
    status: StatusCode,
    fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().extend(fields);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

/// What describes a representation; a 304 leaves it out (RFC 9110, section 15.4.5).
fn with_type(mut response: Response<Body>, kind: Kind, length: u64) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind.media_type);
    if let Some(coding) = kind.coding {
        headers.insert(CONTENT_ENCODING, coding);
    }
    headers.insert(CONTENT_LENGTH, length.into());
    response
}

fn http_date(time: SystemTime) -> HeaderValue {
    HeaderValue::from_str(&httpdate::fmt_http_date(time))
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
