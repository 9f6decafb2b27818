use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE};
use http::{Method, request};

use super::Preset;
use super::preset::Cookies;
use crate::respond::Forward;

/// What may be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The cache may answer it.
    Lookup,
    /// It goes to the origin, whatever is stored.
    Pass(PassReason),
}

/// Why a request is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PassReason {
    /// Neither GET nor HEAD.
    Method,
    /// The preset found a session's cookie.
    SessionCookie,
    /// If-Match and If-Unmodified-Since are for the origin (RFC 9111, section 4.3.2).
    Precondition,
    /// A GET with a body: what it means is between client and origin (RFC 9110, section 9.3.1).
    Body,
}

impl PassReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::SessionCookie => "session-cookie",
            Self::Precondition => "precondition",
            Self::Body => "body",
        }
    }

    /// What Cache-Status says of it.
    pub const fn forward(self) -> Forward {
        match self {
            Self::Method => Forward::Method,
            Self::SessionCookie | Self::Precondition | Self::Body => Forward::Bypass,
        }
    }
}

/// Looks at `head` with the eyes of `preset`, which removes cookies that do not count.
pub fn admit(head: &mut request::Parts, has_body: bool, preset: Preset) -> Admission {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Admission::Pass(PassReason::Method);
    }
    if has_body {
        return Admission::Pass(PassReason::Body);
    }
    if preset.apply(&mut head.headers) == Cookies::Session {
        return Admission::Pass(PassReason::SessionCookie);
    }
    if head.headers.contains_key(IF_MATCH) || head.headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Admission::Pass(PassReason::Precondition);
    }
    Admission::Lookup
}
