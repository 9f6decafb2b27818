//! What the rules that a request has fitted want of the response to it.

use std::borrow::Cow;
use std::time::Duration;

use common::rules::Headers;
use http::StatusCode;
use http::header::{CACHE_CONTROL, EXPIRES, HeaderMap, HeaderName, HeaderValue, PRAGMA, SET_COOKIE};

use super::{Rules, SetCookie};
use crate::policy::cache_control::{CacheControl, Delta};
use crate::policy::freshness::{Freshness, Source, is_heuristically_cacheable};

/// What was found out about a request: small, and carried with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orders {
    /// The place of the rule that has decided.
    pub(super) decided_by: Option<usize>,
    /// Those that want something of the response, by their [`ResponseRule::bit`].
    pub(super) responding: u128,
    /// Where the request goes, if not where all others do; counts in [`Rules::origins`].
    pub origin: Option<usize>,
}

/// A rule's part for the response.
#[derive(Debug, Default)]
pub struct ResponseRule {
    /// Its place among those that have such a part.
    pub bit: u128,
    /// Only for these; all if there are none.
    pub status: Vec<(u16, u16)>,
    pub header: Headers,
    pub ttl: Option<Duration>,
    /// The lifetime holds whatever the response says of itself.
    pub overrides: bool,
    pub grace: Option<Duration>,
    pub keep: Option<Duration>,
    pub set_cookie: Option<SetCookie>,
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
}

/// What is wanted of one response: of several rules the last counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResponseOrders<'a> {
    rules: &'a [super::Rule],
    fitting: u128,
    pub ttl: Option<Duration>,
    pub overrides: bool,
    /// How long it may be served stale while it is fetched anew.
    pub grace: Option<Duration>,
    /// How long it is held for an origin that fails.
    pub keep: Option<Duration>,
    pub set_cookie: Option<SetCookie>,
}

/// As many rules may want something of a response as there are bits.
pub const MAX_RESPONSE_RULES: usize = 128;

const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

impl Orders {
    /// What is wanted of a response with this head.
    pub fn response<'a>(
        self,
        rules: &'a Rules,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> ResponseOrders<'a> {
        let mut orders = ResponseOrders { rules: &rules.list, ..ResponseOrders::default() };
        if self.responding == 0 {
            return orders;
        }
        for rule in rules.list.iter().filter_map(|rule| rule.response.as_ref()) {
            if self.responding & rule.bit == 0 || !rule.fits(status, headers) {
                continue;
            }
            orders.fitting |= rule.bit;
            // Without being named, an error is not kept because pages are.
            if rule.ttl.is_some() && (!rule.status.is_empty() || is_heuristically_cacheable(status)) {
                orders.ttl = rule.ttl;
                orders.overrides = rule.overrides;
            }
            orders.grace = rule.grace.or(orders.grace);
            orders.keep = rule.keep.or(orders.keep);
            orders.set_cookie = rule.set_cookie.or(orders.set_cookie);
        }
        orders
    }
}

impl ResponseRule {
    fn fits(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let status = status.as_u16();
        (self.status.is_empty() || self.status.iter().any(|(from, to)| (*from..=*to).contains(&status)))
            && self.header.fits(headers)
    }
}

impl ResponseOrders<'_> {
    /// The fields as policy is to read them, which decides what may be stored and for how long.
    pub fn seen<'h>(&self, headers: &'h HeaderMap) -> Cow<'h, HeaderMap> {
        let hides_cookie = self.set_cookie.is_some() && headers.contains_key(SET_COOKIE);
        let overrides = self.ttl.filter(|_| self.overrides);
        if !hides_cookie && overrides.is_none() {
            return Cow::Borrowed(headers);
        }
        let mut seen = headers.clone();
        if hides_cookie {
            seen.remove(SET_COOKIE);
        }
        if let Some(ttl) = overrides {
            let targeted: Vec<HeaderName> =
                seen.keys().filter(|name| name.as_str().ends_with("-cache-control")).cloned().collect();
            for name in targeted.iter().chain(&[SURROGATE_CONTROL, EXPIRES, PRAGMA]) {
                seen.remove(name);
            }
            if let Ok(value) = HeaderValue::from_str(&format!("max-age={}", ttl.as_secs())) {
                seen.insert(CACHE_CONTROL, value);
            }
        }
        Cow::Owned(seen)
    }

    /// The response's directives with the rules' lifetime in place of its own.
    pub fn directives(&self, mut said: CacheControl) -> CacheControl {
        if let Some(ttl) = self.ttl {
            said.max_age = Some(Delta::Seconds(ttl.as_secs()));
        }
        said
    }

    /// The response's freshness with the rules' lifetime in place of its own, from its arrival on.
    pub fn freshness(&self, said: Freshness) -> Freshness {
        match self.ttl {
            Some(ttl) => Freshness { lifetime: said.initial_age + ttl, source: Source::Rule, ..said },
            None => said,
        }
    }

    /// The rules' own edits, after policy has read what the origin said.
    pub fn edit(&self, headers: &mut HeaderMap) {
        if self.fitting == 0 {
            return;
        }
        let fitting = self.rules.iter().filter_map(|rule| rule.response.as_ref());
        for rule in fitting.filter(|rule| self.fitting & rule.bit != 0) {
            for name in &rule.remove {
                headers.remove(name);
            }
            for (name, value) in &rule.set {
                headers.insert(name, value.clone());
            }
        }
    }

    /// [`edit`](Self::edit) for a response that is going to be stored.
    pub fn edit_stored(&self, headers: &mut HeaderMap) {
        if self.set_cookie == Some(SetCookie::Strip) {
            headers.remove(SET_COOKIE);
        }
        self.edit(headers);
    }
}
