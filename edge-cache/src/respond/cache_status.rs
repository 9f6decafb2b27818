//! `Cache-Status` (RFC 9211), and the short form of it for people.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use common::http::direct::HeadText;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sfv::TokenRef;

use crate::key::CacheKey;
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
    /// Refused by a rule.
    Deny,
    /// Sent elsewhere by a rule.
    Redirect,
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
    /// The cache does not handle the request.
    Bypass,
    /// The method is one that always goes to the origin.
    Method,
    UriMiss,
    VaryMiss,
    Stale,
    /// The request's own Cache-Control.
    Request,
    /// Only parts of the response are stored, and none has what is asked for.
    Partial,
}

impl Verdict {
    /// For people: `X-Cache` and the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Stale(_) => "STALE",
            Self::Miss(_) => "MISS",
            Self::Pass(_) => "PASS",
            Self::Deny => "DENY",
            Self::Redirect => "REDIRECT",
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
            Self::Deny | Self::Redirect => "rule",
            Self::Purge => "invalidate",
            Self::Error => "error",
        }
    }
}

impl Forward {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Partial => "partial",
        }
    }
}

/// One member of `Cache-Status`.
#[derive(Debug, Clone)]
pub struct CacheStatus {
    pub verdict: Verdict,
    /// Why the origin was asked, where the answer is an error of our own.
    pub forward: Option<Forward>,
    /// Seconds of freshness left.
    pub ttl: Option<i64>,
    /// The origin's status, where the client sees another.
    pub fwd_status: Option<StatusCode>,
    /// Somebody else's fetch answered.
    pub collapsed: bool,
    /// Whether the response is being stored, when it was fetched.
    pub stored: Option<Result<(), NotStored>>,
    /// What went wrong, where the answer is an error.
    pub error: Option<&'static str>,
    /// The rule that has decided, where the verdict is a rule's.
    pub rule: Option<Arc<str>>,
}

impl CacheStatus {
    pub const fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            forward: None,
            ttl: None,
            fwd_status: None,
            collapsed: false,
            stored: None,
            error: None,
            rule: None,
        }
    }

    /// Of an error that is answered here: what it is, and why the origin was asked, if it was.
    pub fn error(error: &'static str, forward: Option<Forward>) -> Self {
        Self { error: Some(error), forward, ..Self::new(Verdict::Error) }
    }

    /// Adds both fields, ours last in the list (RFC 9211, section 2). `key` is what the response was looked up by,
    /// where it is to be told.
    pub fn add_to(&self, headers: &mut HeaderMap, name: &TokenRef, key: Option<&CacheKey>) {
        self.with_member(name, key, |member| {
            // What is formatted here is always a legal field value.
            if let Ok(value) = HeaderValue::from_str(member) {
                headers.append(CACHE_STATUS, value);
            }
        });
        headers.insert(X_CACHE, HeaderValue::from_static(self.verdict.as_str()));
    }

    /// The same for a head that is written.
    pub fn write_to(&self, head: &mut HeadText, name: &TokenRef, key: Option<&CacheKey>) {
        self.with_member(name, key, |member| head.field(CACHE_STATUS, member));
        head.field(X_CACHE, self.verdict.as_str());
    }

    /// Hands over the member of this cache, which `name` is.
    fn with_member(&self, name: &TokenRef, key: Option<&CacheKey>, take: impl FnOnce(&str)) {
        MEMBER.with_borrow_mut(|member| {
            member.clear();
            member.push_str(name.as_str());
            self.write(member);
            if let Some(key) = key {
                // Writing to a String cannot fail.
                let _ = write!(member, "; key=\"{}\"", Quoted(key.as_str()));
            }
            take(member);
        });
    }

    /// Appends the parameters. Every response has them: formatting machinery would show in a profile.
    fn write(&self, out: &mut String) {
        let mut digits = itoa::Buffer::new();
        let forward = match self.verdict {
            Verdict::Miss(forward) => Some(forward.as_str()),
            Verdict::Pass(reason) => Some(reason.forward().as_str()),
            Verdict::Error => self.forward.map(Forward::as_str),
            Verdict::Hit | Verdict::Stale(_) | Verdict::Purge | Verdict::Deny | Verdict::Redirect => None,
        };
        let mut put = |name: &str, value: &str| {
            out.push_str("; ");
            out.push_str(name);
            if !value.is_empty() {
                out.push('=');
                out.push_str(value);
            }
        };
        match forward {
            Some(why) => put("fwd", why),
            None if matches!(self.verdict, Verdict::Hit | Verdict::Stale(_)) => put("hit", ""),
            // The answer was made here, out of nothing.
            None => {}
        }
        if let Some(status) = self.fwd_status {
            put("fwd-status", status.as_str());
        }
        if let Some(ttl) = self.ttl {
            put("ttl", digits.format(ttl.clamp(-MAX_INTEGER, MAX_INTEGER)));
        }
        if matches!(self.stored, Some(Ok(()))) {
            put("stored", "");
        }
        if self.collapsed {
            put("collapsed", "");
        }
        // A rule's name has only characters of a token.
        if let Some(rule) = &self.rule {
            put("detail=rule:", "");
            out.push_str(rule);
        } else if let Some(detail) = self.detail() {
            put("detail", detail);
        }
    }
}

thread_local! {
    /// Where this thread writes a member, so that the field's value is the only allocation.
    static MEMBER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What an Integer of a Structured Field holds (RFC 9651, section 3.3.1).
const MAX_INTEGER: i64 = 999_999_999_999_999;

impl CacheStatus {
    /// Always a token.
    const fn detail(&self) -> Option<&'static str> {
        match (self.verdict, self.stored) {
            (Verdict::Pass(PassReason::Method), _) => None,
            (Verdict::Pass(reason), _) => Some(reason.as_str()),
            (Verdict::Stale(_), _) => Some(self.verdict.reason()),
            (Verdict::Purge, _) => Some("purge"),
            (Verdict::Error, _) => self.error,
            (_, Some(Err(why))) => Some(why.as_str()),
            _ => None,
        }
    }
}

/// The inside of a String (RFC 9651, section 3.3.3); what may not stand there is percent-encoded.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use common::http::forwarded::Scheme;
    use proptest::prelude::*;
    use sfv::{List, ListEntry, Parser};

    use super::*;

    const FORWARDS: [Forward; 7] = [
        Forward::Bypass,
        Forward::Method,
        Forward::UriMiss,
        Forward::VaryMiss,
        Forward::Stale,
        Forward::Request,
        Forward::Partial,
    ];

    fn verdicts() -> impl Strategy<Value = Verdict> {
        let reasons = [PassReason::Method, PassReason::Rule, PassReason::Precondition, PassReason::Body];
        prop_oneof![
            Just(Verdict::Hit),
            Just(Verdict::Stale(StaleReason::WhileRevalidate)),
            Just(Verdict::Stale(StaleReason::OriginFailed)),
            Just(Verdict::Purge),
            Just(Verdict::Error),
            proptest::sample::select(FORWARDS.to_vec()).prop_map(Verdict::Miss),
            proptest::sample::select(reasons.to_vec()).prop_map(Verdict::Pass),
        ]
    }

    proptest! {
        #[test]
        fn is_always_a_list_of_one_more(
            verdict in verdicts(),
            forward in proptest::option::of(proptest::sample::select(FORWARDS.to_vec())),
            ttl in proptest::option::of(any::<i64>()),
            fwd_status in proptest::option::of(100_u16..600),
            collapsed: bool,
            stored in proptest::option::of(any::<bool>()),
            key in proptest::option::of("[ -~é\\n]{0,40}"),
        ) {
            let stored = stored.map(|stored| if stored { Ok(()) } else { Err(NotStored::SurrogateNoStore) });
            let fwd_status = fwd_status.map(|status| StatusCode::from_u16(status).unwrap());
            let error = Some("unreachable");
            let status = CacheStatus { verdict, forward, ttl, fwd_status, collapsed, stored, error, rule: None };
            let key = key.map(|target| CacheKey::new(Scheme::Http, "a", &target));
            let mut headers = HeaderMap::new();
            headers.append(CACHE_STATUS, HeaderValue::from_static("upstream; hit"));
            status.add_to(&mut headers, TokenRef::constant("edge-cache"), key.as_ref());
            let lines: Vec<&[u8]> = headers.get_all(CACHE_STATUS).iter().map(HeaderValue::as_bytes).collect();
            let list: List = Parser::new(&lines.join(&b","[..])).parse().unwrap();
            prop_assert_eq!(list.len(), 2);
            let Some(ListEntry::Item(ours)) = list.last() else { panic!("not an item") };
            prop_assert_eq!(ours.bare_item.as_token().unwrap().as_str(), "edge-cache");
            let parameter = |name: &str| ours.params.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value);
            prop_assert!(parameter("hit").is_none() || parameter("fwd").is_none(), "either or");
            prop_assert_eq!(parameter("stored").is_some(), stored == Some(Ok(())));
            prop_assert_eq!(parameter("collapsed").is_some(), collapsed);
            if let Some(ttl) = ttl {
                let told: i64 = parameter("ttl").unwrap().as_integer().unwrap().into();
                prop_assert_eq!(told, ttl.clamp(-MAX_INTEGER, MAX_INTEGER));
            }
            if let Some(key) = key.filter(|key| key.as_str().bytes().all(|byte| (b' '..=b'~').contains(&byte))) {
                prop_assert_eq!(parameter("key").unwrap().as_string().unwrap().as_str(), key.as_str());
            }
        }
    }

    #[test]
    fn as_it_is_written() {
        let text = |status: CacheStatus| {
            let mut text = String::new();
            status.write(&mut text);
            text
        };
        let hit =
            CacheStatus { ttl: Some(-3), ..CacheStatus::new(Verdict::Stale(StaleReason::OriginFailed)) };
        assert_eq!(text(hit), "; hit; ttl=-3; detail=origin-failed");
        let miss = CacheStatus { stored: Some(Ok(())), ..CacheStatus::new(Verdict::Miss(Forward::VaryMiss)) };
        assert_eq!(text(miss), "; fwd=vary-miss; stored");
        assert_eq!(text(CacheStatus::new(Verdict::Pass(PassReason::Method))), "; fwd=method");
        let bypass = CacheStatus::new(Verdict::Pass(PassReason::Body));
        assert_eq!(text(bypass), "; fwd=bypass; detail=body");
        assert_eq!(text(CacheStatus::error("refused", None)), "; detail=refused");
        let failed = CacheStatus::error("unreachable", Some(Forward::Stale));
        assert_eq!(text(failed), "; fwd=stale; detail=unreachable");
    }
}
