//! The one place where an error becomes a FastCGI answer.

use bytes::Bytes;
use common::fastcgi::EndRequest;
use common::http::error_page;
use http::StatusCode;

use crate::admission::Refusal;
use crate::dependencies;
use crate::relay::RelayError;
use crate::server::{Ended, Replies};

/// Why the service cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Listen(#[from] common::listener::ListenError),
    #[error(transparent)]
    Dns(#[from] common::discovery::DnsError),
}

/// Why a request did not get its response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Shed(#[from] dependencies::Refusal),
    #[error(transparent)]
    Relay(#[from] RelayError),
}

/// How a request came to its end: the label of its metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Complete,
    /// The web server aborted the request or closed its connection.
    ClientGone,
    /// The client's body did not come.
    ClientStalled,
    QueueFull,
    QueueTimeout,
    /// No replica could be reached.
    Unavailable,
    /// There is no database.
    NoDatabase,
    /// The replica refused the request.
    UpstreamRefused,
    /// The replica broke before it answered.
    UpstreamBroken,
    /// The replica broke in the middle of its answer.
    Truncated,
    UpstreamTimeout,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Unavailable => "unavailable",
            Self::NoDatabase => "no_database",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamBroken => "upstream_broken",
            Self::Truncated => "truncated",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }
}

impl Failure {
    /// `started`: some of a response is with the web server already.
    pub const fn outcome(&self, started: bool) -> Outcome {
        match self {
            Self::Refused(Refusal::QueueFull { .. }) => Outcome::QueueFull,
            Self::Refused(Refusal::QueueTimeout(_)) => Outcome::QueueTimeout,
            Self::Refused(Refusal::Unavailable) => Outcome::Unavailable,
            Self::Shed(dependencies::Refusal::Database(_)) => Outcome::NoDatabase,
            Self::Relay(RelayError::ClientStalled(_)) => Outcome::ClientStalled,
            Self::Relay(_) if started => Outcome::Truncated,
            Self::Relay(RelayError::Refused(_)) => Outcome::UpstreamRefused,
            Self::Relay(RelayError::Broken(_) | RelayError::Superseded) => Outcome::UpstreamBroken,
            Self::Relay(RelayError::UpstreamStalled(_)) => Outcome::UpstreamTimeout,
        }
    }
}

/// When to come back: a queue that is full or slow is given more time than a replica that restarts.
const RETRY_OVERLOADED: u32 = 2;
const RETRY_UNAVAILABLE: u32 = 1;
/// A cluster that has lost its majority needs longer.
const RETRY_NO_DATABASE: u32 = 5;

/// Answers for the replica that did not. Where nothing was sent, with an error page and a whole request;
/// where some was, by leaving out END_REQUEST: the connection is closed, and the web server sees a
/// response that is not complete.
pub fn answer(failure: &Failure, mut replies: Replies) -> Ended {
    if replies.started() {
        return Ended::Truncated;
    }
    let (status, retry_after, detail) = match failure.outcome(false) {
        Outcome::QueueFull | Outcome::QueueTimeout | Outcome::UpstreamRefused => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(RETRY_OVERLOADED),
            "The site is very busy at the moment. Please try again shortly.",
        ),
        Outcome::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(RETRY_UNAVAILABLE),
            "The site cannot be reached at the moment. Please try again shortly.",
        ),
        Outcome::NoDatabase => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(RETRY_NO_DATABASE),
            "The site cannot reach its database at the moment. Please try again shortly.",
        ),
        Outcome::ClientStalled => (StatusCode::REQUEST_TIMEOUT, None, "The request did not arrive in time."),
        Outcome::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, None, "The site took too long to answer."),
        _ => (StatusCode::BAD_GATEWAY, None, "The site broke off before it answered."),
    };
    replies.stdout(page(status, retry_after, detail));
    replies.end(EndRequest::COMPLETE);
    Ended::Whole
}

/// An error page as a CGI response (RFC 3875, section 6).
fn page(status: StatusCode, retry_after: Option<u32>, detail: &str) -> Bytes {
    let reason = status.canonical_reason().unwrap_or("Error");
    let retry = retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    let body = error_page::render(status, detail);
    let head = format!(
        "Status: {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{retry}\r\n",
        status.as_u16(),
        error_page::CONTENT_TYPE,
        body.len(),
    );
    [head.as_bytes(), &body].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cgi_responses() {
        let page = page(StatusCode::SERVICE_UNAVAILABLE, Some(2), "Later.");
        let page = String::from_utf8_lossy(&page);
        assert!(page.starts_with("Status: 503 Service Unavailable\r\nContent-Type: text/html"), "{page}");
        assert!(page.contains("\r\nRetry-After: 2\r\n\r\n<!doctype html>"), "{page}");
    }
}
