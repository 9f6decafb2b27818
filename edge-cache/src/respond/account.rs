use std::sync::Arc;

use common::http::access_log::Began;
use common::http::direct::HeadText;
use common::http::forwarded::Scheme;
use common::listener::Peer;
use http::{Response, request};

use super::stored::FromStore;
use super::{Answer, Body, CacheStatus, Record};
use crate::cache::Cache;
use crate::fetch::OriginTime;
use crate::key::CacheKey;
use crate::live::Live;
use crate::request::Normalised;

/// What is to be said of a request once it is answered: to its client, in metrics and in the access log. Dropped before,
/// its client has gone.
#[derive(Debug)]
pub struct Account {
    unanswered: Unanswered,
    record: Option<Record>,
    origin_time: OriginTime,
    live: Arc<Live>,
    /// Where `Cache-Status` tells it.
    key: Option<CacheKey>,
    began: Began,
}

#[derive(Debug)]
struct Unanswered(Option<Arc<Cache>>);

impl Account {
    pub fn open(
        cache: Arc<Cache>,
        live: Arc<Live>,
        began: Began,
        peer: &Peer,
        scheme: Scheme,
        head: &request::Parts,
    ) -> Self {
        Self {
            record: Record::begin(&cache.access_log, began, peer, scheme, head),
            origin_time: OriginTime::default(),
            live,
            key: None,
            began,
            unanswered: Unanswered(Some(cache)),
        }
    }

    /// Who asks for what, once that is known.
    pub fn identify(&mut self, request: &Normalised) {
        if let Some(record) = &mut self.record {
            record.identify(request);
        }
        self.key = self.live.config.http.cache_status_key.then(|| request.key.clone());
    }

    /// The origin will be asked for `request`: how long it takes is logged.
    pub fn await_origin(&mut self, request: &mut Normalised) {
        if self.record.is_some() {
            self.origin_time = OriginTime::wanted();
            request.origin_time = self.origin_time.clone();
        }
    }

    /// The request comes again, and is not to be told of twice.
    pub fn forget(mut self) {
        self.unanswered.0 = None;
        if let Some(record) = self.record {
            record.forget();
        }
    }

    /// As other servers write a request that they could not read.
    pub fn is_unreadable(&mut self) {
        if let Some(record) = &mut self.record {
            record.is_unreadable();
        }
    }

    /// [`close`](Self::close) for a response that is written into `head`, if nobody needs its fields one by one. Its body.
    pub fn write(mut self, reply: FromStore, status: &CacheStatus, head: &mut HeadText) -> Body {
        let (code, age) = (reply.status, reply.age);
        let mut body = reply.write(head);
        status.write_to(head, &self.live.config.http.cache_status_name, self.key.as_ref());
        let after = self.began.at.elapsed();
        let sent = self.unanswered.0.take().map(|cache| cache.metrics.answered(status.verdict, after));
        if let Some(record) = &mut self.record {
            record.answered_from_store(code, age, status, after);
        }
        body.account(sent, self.record);
        body
    }

    /// Whether the response's fields have to be there one by one.
    pub fn looks_at_fields(&self) -> bool {
        self.record.as_ref().is_some_and(Record::looks_at_fields)
    }

    /// The response that says what was done, and is counted and logged when it is over.
    pub fn close(mut self, (mut response, status): Answer) -> Response<Body> {
        let name = &self.live.config.http.cache_status_name;
        status.add_to(response.headers_mut(), name, self.key.as_ref());
        let after = self.began.at.elapsed();
        let sent = self.unanswered.0.take().map(|cache| cache.metrics.answered(status.verdict, after));
        if let Some(record) = &mut self.record {
            record.answered(&response, &status, after, self.origin_time.get());
        }
        response.body_mut().account(sent, self.record);
        response
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(cache) = &self.0 {
            cache.metrics.aborted();
        }
    }
}
