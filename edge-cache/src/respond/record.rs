use std::time::Duration;

use common::http::access_log::{AccessLog, Began, Entry, Field};
use common::http::decimal;
use common::http::forwarded::Scheme;
use common::listener::Peer;
use http::header::AGE;
use http::{Response, StatusCode, request};

use super::{Body, CacheStatus};
use crate::error;
use crate::metrics::ABORTED;
use crate::policy::storable::NotStored;
use crate::request::Normalised;

/// A request's line in the access log, written when its response is over or given up, be it before its head.
#[derive(Debug)]
pub struct Record {
    entry: Option<Box<Entry>>,
    log: AccessLog,
}

/// What a JSON line says, in this order.
pub const FIELDS: &[Field] = &[
    Field::Time,
    Field::Client,
    Field::Method,
    Field::Scheme,
    Field::Host,
    Field::Target,
    Field::Protocol,
    Field::Status,
    Field::Bytes,
    Field::Complete,
    Field::Referer,
    Field::UserAgent,
    Field::RequestId,
    Field::Decision,
    Field::Reason,
    Field::Ttl,
    Field::Age,
    Field::Stored,
    Field::NotStored,
    Field::Collapsed,
    Field::Rule,
    Field::FirstByte,
    Field::Upstream,
    Field::Total,
];

impl Record {
    /// `None` where nothing is logged.
    pub fn begin(
        log: &AccessLog,
        began: Began,
        peer: &Peer,
        scheme: Scheme,
        head: &request::Parts,
    ) -> Option<Self> {
        let mut entry = log.entry(began, peer.ip(), scheme.as_str(), head)?;
        // nginx's word for a client that closed before there was an answer.
        entry.status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        (entry.decision, entry.reason) = ABORTED;
        Some(Self { entry: Some(entry), log: log.clone() })
    }

    /// Who asks, once that is known.
    pub fn identify(&mut self, request: &Normalised) {
        if let Some(entry) = &mut self.entry {
            entry.client = request.client.ip;
            entry.scheme = request.client.scheme.as_str();
            if entry.says(Field::RequestId) {
                entry.request_id = Some(request.request_id().clone());
            }
        }
    }

    /// There is to be no line.
    pub fn forget(mut self) {
        self.entry = None;
    }

    /// As other servers write a request that they could not read.
    pub fn is_unreadable(&mut self) {
        if let Some(entry) = &mut self.entry {
            (entry.method, entry.target) = error::unreadable();
        }
    }

    /// The response's head is there `after` so long; `origin` is what of it was the origin's.
    pub fn answered(
        &mut self,
        response: &Response<Body>,
        status: &CacheStatus,
        after: Duration,
        origin: Option<Duration>,
    ) {
        let Some(entry) = &mut self.entry else { return };
        self.log.answered(entry, response.status(), response.headers(), after);
        if entry.says(Field::Age) {
            entry.age = response.headers().get(AGE).cloned();
        }
        entry.upstream = origin;
        self.says(status);
    }

    /// The same of a response from the store whose age is `age` seconds and whose fields no line [names](Self::looks_at_fields).
    pub fn answered_from_store(&mut self, code: StatusCode, age: u64, status: &CacheStatus, after: Duration) {
        let Some(entry) = &mut self.entry else { return };
        (entry.status, entry.first_byte) = (code, Some(after));
        if entry.says(Field::Age) {
            entry.age = Some(decimal(age));
        }
        self.says(status);
    }

    /// Whether a line names fields of the response.
    pub fn looks_at_fields(&self) -> bool {
        self.log.names_response_fields()
    }

    fn says(&mut self, status: &CacheStatus) {
        let Some(entry) = &mut self.entry else { return };
        (entry.decision, entry.reason) = (status.verdict.as_str(), status.verdict.reason());
        entry.ttl = status.ttl;
        entry.stored = status.stored.map(|stored| stored.map_err(NotStored::as_str));
        entry.collapsed = Some(status.collapsed);
        entry.rule.clone_from(&status.rule);
    }

    /// The body is over; `complete` when all of it was sent.
    pub fn over(&mut self, bytes: u64, complete: bool) {
        if let Some(entry) = &mut self.entry {
            entry.over(bytes, complete);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            if !entry.is_over() {
                entry.over(0, false);
            }
            self.log.log(&entry);
        }
    }
}
