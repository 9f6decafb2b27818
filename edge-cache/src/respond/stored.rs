//! A response from the store, or one on its way into it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use common::http::decimal;
use common::http::range::{ByteRange, content_range};
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue, RANGE};
use http::{HeaderMap, Method, Response, StatusCode, request};

use super::range::wanted;
use super::{Answer, Body, CacheStatus, Verdict, conditional, multipart};
use crate::coding::Decoder;
use crate::fetch::fill::Reader;
use crate::fetch::flights::Filling;
use crate::policy::coding::{Coding, Form};
use crate::store::{OF_THE_CODING, Stored};

/// Answers from the store, with 304 or a part where the request asks for that.
pub fn from_store(
    request: &request::Parts,
    stored: &Arc<Stored>,
    verdict: Verdict,
    now: SystemTime,
) -> Answer {
    let freshness = stored.freshness();
    let mut status = CacheStatus::new(verdict);
    status.ttl = Some(freshness.ttl(now));
    if matches!(verdict, Verdict::Miss(_)) {
        status.fwd_status = Some(StatusCode::NOT_MODIFIED);
        status.stored = Some(Ok(()));
    }
    let form = form(request, stored);
    let length = stored.length_of(form);
    let weak = stored.weakens_tag(form);
    let block = stored.share();
    let mut headers = stored.fields().to_headers(&block, ADDED);
    adapt(&mut headers, form, weak);
    headers.insert(AGE, decimal(freshness.age(now).as_secs()));
    let sends_body = request.method != Method::HEAD;
    if stored.status != StatusCode::OK {
        if stored.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, decimal(length));
        }
        let body = if sends_body { part(stored, &block, form, 0, length) } else { Body::empty() };
        return (respond(stored.status, headers, body), status);
    }
    if conditional::not_modified(&request.headers, stored.fields()) {
        conditional::strip_body_fields(&mut headers);
        return (respond(StatusCode::NOT_MODIFIED, headers, Body::empty()), status);
    }
    let wanted = match request.method {
        Method::GET => wanted(&request.headers, stored.fields(), length, weak),
        _ => ByteRange::Whole,
    };
    let response = match wanted {
        // Parts of what has to be decoded would each begin at its beginning: the whole.
        ByteRange::Parts(parts) if stored.coding == Coding::Identity => {
            let pieces: Vec<Bytes> = stored.body(&block).pieces().cloned().collect();
            let body = multipart::body(&mut headers, &parts, &pieces, length);
            respond(StatusCode::PARTIAL_CONTENT, headers, body)
        }
        ByteRange::Whole | ByteRange::Parts(_) => {
            // A HEAD's answer has the length and no body.
            headers.insert(CONTENT_LENGTH, decimal(length));
            let body = if sends_body { part(stored, &block, form, 0, length) } else { Body::empty() };
            respond(StatusCode::OK, headers, body)
        }
        ByteRange::Part { start, end } => {
            set_part(&mut headers, start, end, length);
            respond(StatusCode::PARTIAL_CONTENT, headers, part(stored, &block, form, start, end - start))
        }
        ByteRange::Unsatisfiable => unsatisfiable(headers, length),
    };
    (response, status)
}

/// Fields that a response gets beside the stored ones: Age, Content-Length, Cache-Status, X-Cache. hyper keeps the table
/// for as long as the connection.
const ADDED: usize = 4;

/// The form that the request gets: a part is one of the identity form, which a client can join with others.
fn form(request: &request::Parts, stored: &Stored) -> Form {
    if stored.coding != Coding::Identity && stored.has_identity_form() && request.headers.contains_key(RANGE)
    {
        return Form::Identity;
    }
    // What is not acceptable in any form was not found in the first place.
    stored.form(&request.headers).unwrap_or(Form::AsStored)
}

/// Brings the fields to the form of the body.
fn adapt(headers: &mut HeaderMap, form: Form, weak: bool) {
    if form == Form::Identity {
        for name in &OF_THE_CODING {
            headers.remove(name);
        }
    }
    if weak
        && let Some(tag) = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weakened) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(ETAG, weakened);
    }
}

/// `count` bytes from `start` on of a stored body in one of its forms.
fn part(stored: &Stored, block: &Bytes, form: Form, start: u64, count: u64) -> Body {
    match (form, Decoder::new(stored.coding)) {
        (Form::Identity, Some(decoder)) if count > 0 => {
            let coded = Body::stored(stored.body(block), 0, stored.length());
            Body::decoded(coded, decoder, start, Some(count))
        }
        _ => Body::stored(stored.body(block), start, count),
    }
}

/// Answers with a response whose body is still arriving.
pub fn from_fill(request: &request::Parts, filling: &Filling, reader: Reader, verdict: Verdict) -> Answer {
    let now = SystemTime::now();
    let head = &filling.head;
    let mut status = CacheStatus::new(verdict);
    status.ttl = Some(head.freshness.ttl(now));
    status.stored = Some(Ok(()));
    let mut headers = head.to_headers(ADDED);
    if !head.freshness.initial_age.is_zero() {
        headers.insert(AGE, decimal(head.freshness.age(now).as_secs()));
    }
    if head.status == StatusCode::OK && conditional::not_modified(&request.headers, head.fields()) {
        conditional::strip_body_fields(&mut headers);
        status.fwd_status = Some(StatusCode::OK);
        return (respond(StatusCode::NOT_MODIFIED, headers, Body::empty()), status);
    }
    let form = head.form(&request.headers).unwrap_or(Form::AsStored);
    if form == Form::Identity
        && let Some(decoder) = Decoder::new(head.coding)
    {
        adapt(&mut headers, form, true);
        // How long it is without its coding is known at its end.
        let body = if request.method == Method::HEAD {
            Body::empty()
        } else {
            Body::decoded(Body::filling(reader, head.length), decoder, 0, None)
        };
        return (respond(head.status, headers, body), status);
    }
    if let Some(length) = head.length {
        headers.insert(CONTENT_LENGTH, decimal(length));
    }
    if request.method == Method::HEAD {
        return (respond(head.status, headers, Body::empty()), status);
    }
    let wanted = match head.length {
        Some(length) if head.status == StatusCode::OK && head.coding == Coding::Identity => {
            wanted(&request.headers, head.fields(), length, false)
        }
        // A part needs to say of how much it is a part, and is one of the identity form. Several would have to wait for
        // each other: the whole.
        _ => ByteRange::Whole,
    };
    let response = match (wanted, head.length) {
        (ByteRange::Part { start, end }, Some(length)) => {
            status.fwd_status = Some(head.status);
            set_part(&mut headers, start, end, length);
            respond(StatusCode::PARTIAL_CONTENT, headers, Body::filling_part(reader, start, end - start))
        }
        (ByteRange::Unsatisfiable, Some(length)) => unsatisfiable(headers, length),
        (_, length) => respond(head.status, headers, Body::filling(reader, length)),
    };
    (response, status)
}

fn set_part(headers: &mut HeaderMap, start: u64, end: u64, length: u64) {
    headers.insert(CONTENT_LENGTH, decimal(end - start));
    headers.insert(CONTENT_RANGE, content_range(Some((start, end)), length));
}

fn unsatisfiable(mut headers: HeaderMap, length: u64) -> Response<Body> {
    conditional::strip_body_fields(&mut headers);
    headers.insert(CONTENT_RANGE, content_range(None, length));
    respond(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty())
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
