//! A response from the store, or one on its way into it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use common::http::decimal;
use common::http::direct::HeadText;
use common::http::range::{ByteRange, content_range};
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, request};

use super::range::wanted;
use super::{Answer, Body, CacheStatus, Verdict, conditional, multipart};
use crate::coding::Decoder;
use crate::fetch::fill::Reader;
use crate::fetch::flights::Filling;
use crate::policy::coding::{Coding, Form};
use crate::request::Asks;
use crate::store::{OF_THE_CODING, Stored};

/// A response from the store: which stored fields it has, and what beside them.
#[derive(Debug)]
pub struct FromStore {
    pub status: StatusCode,
    stored: Arc<Stored>,
    block: Bytes,
    form: Form,
    /// The stored entity tag is only a weak one for the form that is sent.
    weak: bool,
    /// Nothing is said of a body (304, 416).
    strips: bool,
    /// Seconds.
    pub age: u64,
    content_length: Option<u64>,
    content_range: Option<HeaderValue>,
    body: Body,
}

/// Answers from the store, with 304 or a part where the request asks for that.
pub fn from_store(
    request: &request::Parts,
    stored: &Arc<Stored>,
    verdict: Verdict,
    now: SystemTime,
) -> Answer {
    let (reply, status) = reply(request, Asks::of(&request.headers), stored, verdict, now);
    let response = match reply {
        Reply::One(one) => one.into_response(),
        Reply::Parts(parts) => parts,
    };
    (response, status)
}

/// What is answered from the store.
#[derive(Debug)]
pub enum Reply {
    One(FromStore),
    /// Several parts.
    Parts(Response<Body>),
}

/// [`from_store`], before it is written. `asks` are those of `request`.
pub fn reply(
    request: &request::Parts,
    asks: Asks,
    stored: &Arc<Stored>,
    verdict: Verdict,
    now: SystemTime,
) -> (Reply, CacheStatus) {
    let freshness = stored.freshness();
    let mut status = CacheStatus::new(verdict);
    status.ttl = Some(freshness.ttl(now));
    if matches!(verdict, Verdict::Miss(_)) {
        status.fwd_status = Some(StatusCode::NOT_MODIFIED);
        status.stored = Some(Ok(()));
    }
    let form = form(request, asks, stored);
    let length = stored.length_of(form);
    let weak = stored.weakens_tag(form);
    let mut reply = FromStore {
        status: stored.status,
        stored: Arc::clone(stored),
        block: stored.share(),
        form,
        weak,
        strips: false,
        age: freshness.age(now).as_secs(),
        content_length: Some(length),
        content_range: None,
        body: Body::empty(),
    };
    // A HEAD's answer has the length and no body.
    let sends_body = request.method != Method::HEAD;
    if stored.status != StatusCode::OK {
        reply.content_length.take_if(|_| stored.status == StatusCode::NO_CONTENT);
        reply.send(0, if sends_body { length } else { 0 });
        return (Reply::One(reply), status);
    }
    if asks.condition && conditional::not_modified(&request.headers, stored.fields()) {
        reply.say_nothing_of_a_body(StatusCode::NOT_MODIFIED);
        return (Reply::One(reply), status);
    }
    let wanted = match request.method {
        Method::GET if asks.range => wanted(&request.headers, stored.fields(), length, weak),
        _ => ByteRange::Whole,
    };
    match wanted {
        // Parts of what has to be decoded would each begin at its beginning: the whole.
        ByteRange::Parts(parts) if stored.coding == Coding::Identity => {
            let pieces: Vec<Bytes> = stored.body(&reply.block).pieces().cloned().collect();
            let mut headers = reply.headers();
            let body = multipart::body(&mut headers, &parts, &pieces, length);
            return (Reply::Parts(respond(StatusCode::PARTIAL_CONTENT, headers, body)), status);
        }
        ByteRange::Whole | ByteRange::Parts(_) => reply.send(0, if sends_body { length } else { 0 }),
        ByteRange::Part { start, end } => {
            reply.status = StatusCode::PARTIAL_CONTENT;
            reply.content_length = Some(end - start);
            reply.content_range = Some(content_range(Some((start, end)), length));
            reply.send(start, end - start);
        }
        ByteRange::Unsatisfiable => {
            reply.say_nothing_of_a_body(StatusCode::RANGE_NOT_SATISFIABLE);
            reply.content_range = Some(content_range(None, length));
        }
    }
    (Reply::One(reply), status)
}

impl FromStore {
    /// `count` bytes from `start` on in its form.
    fn send(&mut self, start: u64, count: u64) {
        self.body = match (self.form, Decoder::new(self.stored.coding)) {
            _ if count == 0 => Body::empty(),
            (Form::Identity, Some(decoder)) => {
                let coded = Body::stored(self.stored.body(&self.block), 0, self.stored.length());
                Body::decoded(coded, decoder, start, Some(count))
            }
            _ => Body::stored(self.stored.body(&self.block), start, count),
        };
    }

    fn say_nothing_of_a_body(&mut self, status: StatusCode) {
        (self.status, self.strips, self.content_length) = (status, true, None);
    }

    /// For whoever takes fields one by one.
    fn into_response(self) -> Response<Body> {
        let headers = self.headers();
        respond(self.status, headers, self.body)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = self.stored.fields().to_headers(&self.block, ADDED);
        adapt(&mut headers, self.form, self.weak);
        headers.insert(AGE, decimal(self.age));
        if self.strips {
            conditional::strip_body_fields(&mut headers);
        }
        if let Some(range) = &self.content_range {
            headers.insert(CONTENT_RANGE, range.clone());
        }
        if let Some(length) = self.content_length {
            headers.insert(CONTENT_LENGTH, decimal(length));
        }
        headers
    }

    /// Writes the same as it is sent. Its body is left.
    pub fn write(self, head: &mut HeadText) -> Body {
        head.status(self.status);
        self.stored.fields().each(|name, value| {
            if self.leaves_out(name) {
                return;
            }
            if self.weak && name == b"etag" && value.starts_with(b"\"") {
                head.field(name, [b"W/", value].concat());
            } else {
                head.field(name, value);
            }
        });
        head.number(AGE, self.age);
        if let Some(range) = &self.content_range {
            head.field(CONTENT_RANGE, range);
        }
        if let Some(length) = self.content_length {
            head.number(CONTENT_LENGTH, length);
        }
        self.body
    }

    /// A stored field that another one takes the place of, or that is not true of what is sent.
    fn leaves_out(&self, name: &[u8]) -> bool {
        match name {
            b"age" | b"x-cache" => true,
            b"content-range" if self.content_range.is_some() => true,
            _ if self.strips && conditional::is_about_a_body(name) => true,
            _ => self.form == Form::Identity && OF_THE_CODING.iter().any(|it| it.as_str().as_bytes() == name),
        }
    }
}

/// Fields that a response gets beside the stored ones: Age, Content-Length, Cache-Status, X-Cache. hyper keeps the table
/// for as long as the connection.
const ADDED: usize = 4;

/// The form that the request gets: a part is one of the identity form, which a client can join with others.
fn form(request: &request::Parts, asks: Asks, stored: &Stored) -> Form {
    if asks.range && stored.coding != Coding::Identity && stored.has_identity_form() {
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
