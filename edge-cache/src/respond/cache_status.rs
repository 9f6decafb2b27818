use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::policy::storable::NotStored;
use crate::request::PassReason;

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// What was done with a request. Feeds `Cache-Status`, `X-Cache`, metrics and the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answered from the store.
    Hit,
    /// Answered from the store although it is stale, and why.
    Stale(StaleReason),
    /// Forwarded, since the store had no answer.
    Miss(Forward),
    /// Forwarded whatever the store had.
    Pass(PassReason),
    /// An invalidation was carried out or refused.
    Purge,
    /// Answered here with an error.
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleReason {
    /// A refresh is under way (RFC 5861, section 3).
    WhileRevalidate,
    /// The same, within the operator's grace.
    Grace,
    /// The origin failed.
    OriginFailed,
}

/// Why a request was forwarded: `fwd` of RFC 9211, section 2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    UriMiss,
    VaryMiss,
    Stale,
    /// The request's own Cache-Control.
    Request,
}

impl Verdict {
    /// For people: `X-Cache` and the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Stale(_) => "STALE",
            Self::Miss(_) => "MISS",
            Self::Pass(_) => "PASS",
            Self::Purge => "PURGE",
            Self::Error => "ERROR",
        }
    }

    /// For metrics: the reason beside [`as_str`](Self::as_str).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Hit => "fresh",
            Self::Stale(StaleReason::WhileRevalidate) => "while-revalidate",
            Self::Stale(StaleReason::Grace) => "grace",
            Self::Stale(StaleReason::OriginFailed) => "origin-failed",
            Self::Miss(forward) => forward.as_str(),
            Self::Pass(reason) => reason.as_str(),
            Self::Purge => "invalidate",
            Self::Error => "error",
        }
    }
}

impl Forward {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// One member of `Cache-Status`.
#[derive(Debug, Clone, Copy)]
pub struct CacheStatus {
    pub verdict: Verdict,
    /// Seconds of freshness left.
    pub ttl: Option<i64>,
    /// The origin's status, where the client sees another.
    pub fwd_status: Option<StatusCode>,
    /// Somebody else's fetch answered.
    pub collapsed: bool,
    /// Whether the response is being stored, when it was fetched.
    pub stored: Option<Result<(), NotStored>>,
}

impl CacheStatus {
    pub const fn new(verdict: Verdict) -> Self {
        Self { verdict, ttl: None, fwd_status: None, collapsed: false, stored: None }
    }

    /// Adds both fields, ours last in the list (RFC 9211, section 2).
    pub fn add_to(&self, headers: &mut HeaderMap) {
        // What is formatted here is always a legal field value.
        if let Ok(value) = HeaderValue::from_str(&self.to_string()) {
            headers.append(CACHE_STATUS, value);
        }
        headers.insert(X_CACHE, HeaderValue::from_static(self.verdict.as_str()));
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("edge-cache")?;
        match self.verdict {
            Verdict::Hit | Verdict::Stale(_) => f.write_str("; hit")?,
            Verdict::Miss(forward) => write!(f, "; fwd={}", forward.as_str())?,
            Verdict::Pass(PassReason::Method) => f.write_str("; fwd=method")?,
            Verdict::Pass(_) => f.write_str("; fwd=bypass")?,
            Verdict::Purge => f.write_str("; detail=purge")?,
            Verdict::Error => f.write_str("; fwd=miss")?,
        }
        if let Some(status) = self.fwd_status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if matches!(self.stored, Some(Ok(()))) {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        match (self.verdict, self.stored) {
            (Verdict::Pass(reason), _) if reason != PassReason::Method => {
                write!(f, "; detail={}", reason.as_str())
            }
            (Verdict::Stale(_), _) => write!(f, "; detail={}", self.verdict.reason()),
            (_, Some(Err(why))) => write!(f, "; detail={}", why.as_str()),
            _ => Ok(()),
        }
    }
}
