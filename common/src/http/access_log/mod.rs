//! The access log: one line a request.
//!
//! 1. A request's task fills an [`Entry`], and at its end makes a line of it as the [`Format`] says ([`format`], [`line`]).
//! 2. A thread of its own writes what has gathered, so that a slow disk or terminal never holds a request up. When the
//!    thread falls behind by [`BACKLOG`] bytes, lines are dropped and counted.
//! 3. SIGUSR1 makes it open its file anew, behind whoever has moved it.

pub mod format;
mod line;
mod writer;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request};

use format::Fields;
pub use format::{Field, Format, FormatError};
pub use writer::AccessLog;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    None,
    File(PathBuf),
}

/// Bytes of lines that may wait for the thread that writes them.
pub const BACKLOG: usize = 4 << 20;

/// When a request came. Read once, for all who want to know: a clock is not free.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    pub at: Instant,
    pub time: SystemTime,
}

impl Began {
    pub fn now() -> Self {
        Self { at: Instant::now(), time: SystemTime::now() }
    }
}

/// One request, when it is over. What a service does not know of it, or no line says, stays `None` or empty.
#[derive(Debug, Clone)]
pub struct Entry {
    pub client: IpAddr,
    began: Began,
    pub method: Method,
    pub target: Uri,
    pub version: Version,
    /// As the client sent it.
    pub host: Option<HeaderValue>,
    pub scheme: &'static str,
    pub referer: Option<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    pub request_id: Option<HeaderValue>,
    pub status: StatusCode,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// Whether that was all of it.
    pub complete: bool,
    /// What was done, such as the cache's `HIT` or the proxy's `php`; the word that the combined format ends with.
    pub decision: &'static str,
    pub reason: &'static str,
    /// Seconds of freshness left.
    pub ttl: Option<i64>,
    /// The response's `Age`.
    pub age: Option<HeaderValue>,
    /// Whether the response was stored, or why not.
    pub stored: Option<Result<(), &'static str>>,
    /// Another request's fetch answered this one.
    pub collapsed: Option<bool>,
    /// The rule that decided.
    pub rule: Option<Arc<str>>,
    /// The script that ran.
    pub script: Option<Arc<[u8]>>,
    /// To the response's head.
    pub first_byte: Option<Duration>,
    /// What of it was the origin's, or the application's.
    pub upstream: Option<Duration>,
    /// To the end.
    pub total: Duration,
    over: bool,
    /// What its line says.
    wanted: Fields,
    /// The fields that the format names, in its order.
    request_fields: Vec<Option<HeaderValue>>,
    response_fields: Vec<Option<HeaderValue>>,
}

impl Entry {
    /// The request's part. The rest is known when the response is over.
    fn of_request(
        began: Began,
        client: IpAddr,
        scheme: &'static str,
        head: &request::Parts,
        format: &Format,
        wanted: Fields,
    ) -> Self {
        let value = |field, name| {
            let value = if wanted.contains(field) { head.headers.get(name) } else { None };
            value.cloned()
        };
        Self {
            client,
            began,
            method: head.method.clone(),
            target: head.uri.clone(),
            version: head.version,
            host: value(Field::Host, header::HOST),
            scheme,
            referer: value(Field::Referer, header::REFERER),
            user_agent: value(Field::UserAgent, header::USER_AGENT),
            request_id: None,
            status: StatusCode::OK,
            bytes: 0,
            complete: false,
            decision: "",
            reason: "",
            ttl: None,
            age: None,
            stored: None,
            collapsed: None,
            rule: None,
            script: None,
            first_byte: None,
            upstream: None,
            total: Duration::ZERO,
            over: false,
            wanted,
            request_fields: fields(format.request_fields(), &head.headers),
            response_fields: Vec::new(),
        }
    }

    fn answered(&mut self, status: StatusCode, headers: &HeaderMap, after: Duration, format: &Format) {
        self.status = status;
        self.first_byte = Some(after);
        self.response_fields = fields(format.response_fields(), headers);
    }

    /// The response is over, or given up.
    pub fn over(&mut self, bytes: u64, complete: bool) {
        (self.bytes, self.complete) = (bytes, complete);
        self.over = true;
        if self.says(Field::Total) {
            self.total = self.elapsed();
        }
    }

    /// Whether its line says this: nobody needs to find out what is not said.
    pub const fn says(&self, field: Field) -> bool {
        self.wanted.contains(field)
    }

    /// Since the request came.
    pub fn elapsed(&self) -> Duration {
        self.began.at.elapsed()
    }

    pub const fn is_over(&self) -> bool {
        self.over
    }
}

/// Without an allocation where a format names none.
fn fields(names: &[HeaderName], headers: &HeaderMap) -> Vec<Option<HeaderValue>> {
    names.iter().map(|name| headers.get(name).cloned()).collect()
}

impl FromStr for Destination {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "stdout" | "-" => Self::Stdout,
            "none" | "off" => Self::None,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::None => f.write_str("none"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
