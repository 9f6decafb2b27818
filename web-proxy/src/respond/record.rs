use std::sync::Arc;

use std::time::Duration;

use common::http::access_log::{AccessLog, Entry, Field};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::BodyError;
use crate::metrics::Metrics;
use crate::request::Received;
use crate::route::Script;

/// How a request was answered, for people and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file, or a redirect to one.
    Static,
    Php,
    /// By a rule, or by what a file is.
    Denied,
    Error,
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
    Field::Script,
    Field::FirstByte,
    Field::Upstream,
    Field::Total,
];

/// One request from its head to the end of its response: counts it while it lasts and notes it when it is
/// over, however that comes about.
#[derive(Debug)]
pub struct Record {
    pub kind: Kind,
    /// `None` until there is a response: the client went before.
    status: Option<StatusCode>,
    bytes: u64,
    /// What the response has said that its body is long.
    announced: Option<u64>,
    id: HeaderValue,
    entry: Option<Box<Entry>>,
    log: AccessLog,
    metrics: Arc<Metrics>,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Static, Self::Php, Self::Denied, Self::Error];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Php => "php",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

impl Record {
    pub fn begin(metrics: &Arc<Metrics>, log: &AccessLog, entry: Option<Box<Entry>>) -> Self {
        metrics.in_flight.inc();
        Self {
            kind: Kind::Error,
            status: None,
            bytes: 0,
            announced: None,
            id: HeaderValue::from_static("-"),
            entry,
            log: log.clone(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Who asks, once that is known.
    pub fn identify(&mut self, request: &Received) {
        if let Some(entry) = &mut self.entry {
            entry.client = request.client.ip;
            entry.scheme = request.client.scheme.as_str();
            if entry.says(Field::RequestId) {
                entry.request_id = Some(request.id().clone());
            }
        }
    }

    /// The response may break off, which is told with the request's id.
    pub fn may_break(&mut self, request: &Received) {
        self.id = request.id().clone();
    }

    /// As other servers write a request that they could not read.
    pub fn is_unreadable(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.method = Method::from_bytes(b"-").unwrap_or_default();
            entry.target = Uri::from_static("-");
        }
    }

    /// What runs for the request.
    pub fn runs(&mut self, script: &Script) {
        if let Some(entry) = &mut self.entry {
            entry.script = Some(script.name.as_slice().into());
        }
    }

    /// How long the application has taken to the head of its response, or to its failure.
    pub fn upstream(&mut self, time: Duration) {
        if let Some(entry) = &mut self.entry {
            entry.upstream = Some(time);
        }
    }

    pub fn answered(&mut self, kind: Kind, status: StatusCode, headers: &HeaderMap) {
        self.kind = kind;
        self.status = Some(status);
        if let Some(entry) = &mut self.entry {
            let after = if entry.says(Field::FirstByte) { entry.elapsed() } else { Duration::ZERO };
            self.log.answered(entry, status, headers, after);
            let length = headers.get(CONTENT_LENGTH);
            self.announced = length.and_then(|length| length.to_str().ok()?.parse().ok());
        }
    }

    /// The body is over; `ended` when it has said so itself.
    pub(super) fn over(&mut self, ended: bool) {
        let (bytes, complete) = (self.bytes, ended || self.announced == Some(self.bytes));
        if let Some(entry) = &mut self.entry {
            entry.over(bytes, complete);
        }
    }

    pub(super) const fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// So many bytes that were counted did not go out.
    pub(super) const fn unsent(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn broken(&self, error: &BodyError) {
        self.metrics.broken.inc();
        // Why an application's response is not complete, its exchange has said.
        if !matches!(error, BodyError::Truncated(_)) {
            let request_id = self.id.to_str().unwrap_or("-");
            tracing::warn!(request_id, %error, sent = self.bytes, "the response was cut off");
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics.sent_bytes.inc_by(self.bytes);
        self.metrics.request(self.kind, self.status);
        if let Some(mut entry) = self.entry.take() {
            // 499: nginx's word for a client that closed before there was an answer.
            entry.status =
                self.status.or_else(|| StatusCode::from_u16(499).ok()).unwrap_or(StatusCode::BAD_REQUEST);
            entry.decision = if self.status.is_some() { self.kind.as_str() } else { "aborted" };
            if !entry.is_over() {
                entry.over(self.bytes, false);
            }
            self.log.log(&entry);
        }
    }
}
