//! A response from the store, or one on its way into it.

use std::time::SystemTime;

use common::http::range::{ByteRange, content_range};
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, request};

use super::range::wanted;
use super::{Answer, Body, CacheStatus, Verdict, conditional};
use crate::fetch::fill::Reader;
use crate::fetch::flights::Filling;
use crate::store::{Head, Stored};

/// Answers from the store, with 304 or a part where the request asks for that.
pub fn from_store(request: &request::Parts, stored: &Stored, verdict: Verdict, now: SystemTime) -> Answer {
    let mut status = CacheStatus::new(verdict);
    status.ttl = Some(stored.freshness().ttl(now));
    if matches!(verdict, Verdict::Miss(_)) {
        status.fwd_status = Some(StatusCode::NOT_MODIFIED);
        status.stored = Some(Ok(()));
    }
    let mut headers = stored.head.to_headers();
    set_age(&mut headers, &stored.head, now);
    if stored.head.status != StatusCode::OK {
        if stored.head.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.length));
        }
        return (respond(stored.head.status, headers, whole(request, stored)), status);
    }
    if conditional::not_modified(&request.headers, &stored.head) {
        conditional::strip_body_fields(&mut headers);
        return (respond(StatusCode::NOT_MODIFIED, headers, Body::empty()), status);
    }
    let part = match request.method {
        Method::GET => wanted(&request.headers, &stored.head, stored.length),
        _ => ByteRange::Whole,
    };
    let response = match part {
        ByteRange::Whole => {
            // A HEAD's answer has the length and no body.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.length));
            respond(StatusCode::OK, headers, whole(request, stored))
        }
        ByteRange::Part { start, end } => {
            set_part(&mut headers, start, end, stored.length);
            respond(StatusCode::PARTIAL_CONTENT, headers, Body::stored(&stored.body, start, end - start))
        }
        ByteRange::Unsatisfiable => unsatisfiable(headers, stored.length),
    };
    (response, status)
}

/// Answers with a response whose body is still arriving.
pub fn from_fill(request: &request::Parts, filling: &Filling, reader: Reader, verdict: Verdict) -> Answer {
    let now = SystemTime::now();
    let head = &filling.head;
    let mut status = CacheStatus::new(verdict);
    status.ttl = Some(head.freshness.ttl(now));
    status.stored = Some(Ok(()));
    let mut headers = head.to_headers();
    if !head.freshness.initial_age.is_zero() {
        set_age(&mut headers, head, now);
    }
    if head.status == StatusCode::OK && conditional::not_modified(&request.headers, head) {
        conditional::strip_body_fields(&mut headers);
        status.fwd_status = Some(StatusCode::OK);
        return (respond(StatusCode::NOT_MODIFIED, headers, Body::empty()), status);
    }
    if request.method == Method::HEAD {
        return (respond(head.status, headers, Body::empty()), status);
    }
    let length: Option<u64> =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let part = match length {
        Some(length) if head.status == StatusCode::OK => wanted(&request.headers, head, length),
        // A part needs to say of how much it is a part.
        _ => ByteRange::Whole,
    };
    let response = match (part, length) {
        (ByteRange::Part { start, end }, Some(length)) => {
            status.fwd_status = Some(head.status);
            set_part(&mut headers, start, end, length);
            respond(StatusCode::PARTIAL_CONTENT, headers, Body::filling_part(reader, start, end - start))
        }
        (ByteRange::Unsatisfiable, Some(length)) => unsatisfiable(headers, length),
        _ => respond(head.status, headers, Body::filling(reader, length)),
    };
    (response, status)
}

fn set_part(headers: &mut HeaderMap, start: u64, end: u64, length: u64) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(end - start));
    headers.insert(CONTENT_RANGE, content_range(Some((start, end)), length));
}

fn unsatisfiable(mut headers: HeaderMap, length: u64) -> Response<Body> {
    conditional::strip_body_fields(&mut headers);
    headers.insert(CONTENT_RANGE, content_range(None, length));
    respond(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty())
}

fn whole(request: &request::Parts, stored: &Stored) -> Body {
    if request.method == Method::HEAD { Body::empty() } else { Body::stored(&stored.body, 0, stored.length) }
}

fn set_age(headers: &mut HeaderMap, head: &Head, now: SystemTime) {
    headers.insert(AGE, HeaderValue::from(head.freshness.age(now).as_secs()));
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
