use http::header::HeaderValue;
use http::{Method, StatusCode};

use super::{Asks, Normalised};
use crate::respond::Forward;
use crate::rules::Decision;
use crate::rules::edits::fill;

/// What may be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The cache may answer it.
    Lookup,
    /// It goes to the origin, whatever is stored.
    Pass(PassReason),
    /// A rule refuses it.
    Deny(StatusCode),
    /// A rule sends it elsewhere.
    Redirect(StatusCode, HeaderValue),
}

/// Why a request is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PassReason {
    /// Neither GET nor HEAD.
    Method,
    /// A rule says so.
    Rule,
    /// If-Match and If-Unmodified-Since are for the origin (RFC 9111, section 4.3.2).
    Precondition,
    /// A GET with a body: what it means is between client and origin (RFC 9110, section 9.3.1).
    Body,
    /// It asks for another protocol, such as WebSocket.
    Upgrade,
}

impl PassReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Rule => "rule",
            Self::Precondition => "precondition",
            Self::Body => "body",
            Self::Upgrade => "upgrade",
        }
    }

    /// What Cache-Status says of it.
    pub const fn forward(self) -> Forward {
        match self {
            Self::Method => Forward::Method,
            Self::Rule | Self::Upgrade | Self::Precondition | Self::Body => Forward::Bypass,
        }
    }
}

/// Does with `request` what the rules say, and tells what may be done with it then.
pub fn admit(request: &mut Normalised, has_body: bool) -> Admission {
    if request.live.config.rules.name_forwarded() {
        request.forward();
    }
    let Normalised { head, key, client, upgrade, live, orders, asks, .. } = request;
    let rules = &live.config.rules;
    *orders = rules.apply(head, key, client.ip);
    let decision = rules.decider(*orders).and_then(|rule| rule.decision.as_ref());
    match decision {
        Some(Decision::Deny(status)) => return Admission::Deny(*status),
        Some(Decision::Redirect(status, template)) => {
            return match HeaderValue::try_from(template.location(fill(head, key, client.ip))) {
                Ok(location) => Admission::Redirect(*status, location),
                Err(_) => Admission::Deny(StatusCode::BAD_REQUEST),
            };
        }
        Some(Decision::Pass | Decision::Lookup) | None => {}
    }
    if upgrade.is_some() {
        return Admission::Pass(PassReason::Upgrade);
    }
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Admission::Pass(PassReason::Method);
    }
    if has_body {
        return Admission::Pass(PassReason::Body);
    }
    if matches!(decision, Some(Decision::Pass)) {
        return Admission::Pass(PassReason::Rule);
    }
    // After the rules, which may have taken fields away.
    *asks = Asks::of(&head.headers);
    if asks.precondition {
        return Admission::Pass(PassReason::Precondition);
    }
    Admission::Lookup
}
