//! A range answered from a stored part of the representation (RFC 9111, section 3.3).

use std::sync::Arc;
use std::time::SystemTime;

use common::http::decimal;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, HeaderValue};
use http::{Response, StatusCode};

use super::{Answer, Body, CacheStatus, Verdict};
use crate::policy::cache_control::CacheControl;
use crate::policy::part::{Asked, Part};
use crate::policy::reuse::{Reuse, StaleLimits, reuse};
use crate::store::Stored;

/// Answers from the first of `parts` that is fresh and has what is asked for.
pub fn from_parts(
    parts: &[Arc<Stored>],
    asked: Asked,
    wishes: &CacheControl,
    limits: StaleLimits,
    now: SystemTime,
) -> Option<Answer> {
    parts
        .iter()
        .filter(|stored| reuse(stored.terms(limits), wishes, now) == Reuse::Fresh)
        .find_map(|stored| from_part(stored, asked, now))
}

/// Fields that a response gets beside the stored ones.
const ADDED: usize = 5;

fn from_part(stored: &Arc<Stored>, asked: Asked, now: SystemTime) -> Option<Answer> {
    let part = Part::parse(stored.fields().get(&CONTENT_RANGE)?)?;
    let cut = part.cut(asked, stored.length())?;
    let length = cut.bytes.end - cut.bytes.start;
    let complete = part.complete().map_or_else(|| "*".to_owned(), |complete| complete.to_string());
    let range = format!("bytes {}-{}/{complete}", cut.position, cut.position + length - 1);
    let block = stored.share();
    let mut response = Response::new(Body::stored(stored.body(&block), cut.bytes.start, length));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    *headers = stored.fields().to_headers(&block, ADDED);
    headers.insert(CONTENT_RANGE, HeaderValue::from_str(&range).ok()?);
    headers.insert(CONTENT_LENGTH, decimal(length));
    let freshness = stored.freshness();
    headers.insert(AGE, decimal(freshness.age(now).as_secs()));
    let status = CacheStatus { ttl: Some(freshness.ttl(now)), ..CacheStatus::new(Verdict::Hit) };
    Some((response, status))
}
