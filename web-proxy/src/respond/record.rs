use std::sync::Arc;

use common::http::access_log::{AccessLog, Entry};
use http::{HeaderValue, StatusCode};

use super::BodyError;
use crate::metrics::Metrics;

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

/// One request from its head to the end of its response: counts it while it lasts and notes it when it is
/// over, however that comes about.
#[derive(Debug)]
pub struct Record {
    pub kind: Kind,
    /// `None` until there is a response: the client went before.
    status: Option<StatusCode>,
    bytes: u64,
    id: HeaderValue,
    entry: Option<Box<Entry>>,
    log: AccessLog,
    metrics: Arc<Metrics>,
}

impl Kind {
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
    pub fn begin(metrics: &Arc<Metrics>, log: &AccessLog, entry: Option<Entry>) -> Self {
        metrics.in_flight.inc();
        Self {
            kind: Kind::Error,
            status: None,
            bytes: 0,
            id: HeaderValue::from_static("-"),
            entry: entry.map(Box::new),
            log: log.clone(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Who asks, once that is known.
    pub fn identify(&mut self, client: std::net::IpAddr, id: &HeaderValue) {
        self.id = id.clone();
        if let Some(entry) = &mut self.entry {
            entry.client = client;
        }
    }

    pub const fn answered(&mut self, kind: Kind, status: StatusCode) {
        self.kind = kind;
        self.status = Some(status);
    }

    pub(super) const fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn broken(&self, error: &BodyError) {
        self.metrics.broken.inc();
        // Why an application's response is not complete, its exchange has said.
        if let BodyError::File(error) = error {
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
            entry.bytes = self.bytes;
            entry.note = self.kind.as_str();
            self.log.log(*entry);
        }
    }
}
