//! What rules change: parameters, cookies, header fields, and where the request goes.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::Bytes;
use common::rules::{Place, Template, Text, cookies};
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, request};

use crate::key::CacheKey;
use crate::request::target::{ParamName, with_parameters};

/// What one rule changes of a request.
#[derive(Debug, Default)]
pub struct RequestEdits {
    pub params: Option<Selection<ParamName>>,
    pub cookies: Option<Selection<Text>>,
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, Template)>,
    /// Counts in [`Rules::origins`](super::Rules::origins).
    pub origin: Option<usize>,
}

/// Which of several named things are left.
#[derive(Debug)]
pub enum Selection<T> {
    Only(Vec<T>),
    AllBut(Vec<T>),
}

/// What happens to a response that could be shared but for its Set-Cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetCookie {
    /// It loses the field.
    Strip,
    /// Everybody gets the field.
    Share,
}

/// What texts of rules may name.
pub const PLACES: [Place; 7] =
    [Place::Scheme, Place::Host, Place::Path, Place::Query, Place::QueryPart, Place::Target, Place::Client];

impl RequestEdits {
    /// Whether there is nothing in `head` that this could change.
    pub fn are_idle(&self, head: &request::Parts) -> bool {
        self.remove.is_empty()
            && self.set.is_empty()
            && self.origin.is_none()
            && (self.cookies.is_none() || !head.headers.contains_key(COOKIE))
            && (self.params.is_none() || head.uri.query().is_none())
    }

    /// Whether a field that `is` names is changed.
    pub fn names_field(&self, is: fn(&str) -> bool) -> bool {
        self.remove.iter().chain(self.set.iter().map(|(name, _)| name)).any(|name| is(name.as_str()))
    }

    pub fn make(&self, head: &mut request::Parts, key: &mut CacheKey, client: IpAddr) {
        if let Some(params) = &self.params
            && let Some(target) = head.uri.path_and_query()
            && let Some(target) = with_parameters(target, |name| params.leaves(|param| param.matches(name)))
        {
            *key = key.with_target(target.as_str());
            head.uri = Uri::from(target);
        }
        if let Some(selection) = &self.cookies {
            edit_cookies(&mut head.headers, selection);
        }
        for name in &self.remove {
            head.headers.remove(name);
        }
        for (name, template) in &self.set {
            let value = HeaderValue::from_maybe_shared(Bytes::from(template.render(fill(head, key, client))));
            // What a request is made of is legal in a field.
            if let Ok(value) = value {
                head.headers.insert(name, value);
            }
        }
    }
}

impl<T> Selection<T> {
    fn leaves(&self, matches: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Only(kept) => kept.iter().any(matches),
            Self::AllBut(removed) => !removed.iter().any(matches),
        }
    }
}

/// Nothing is written when nothing is removed.
fn edit_cookies(headers: &mut HeaderMap, selection: &Selection<Text>) {
    let leaves = |name: &[u8]| selection.leaves(|text| text.matches(name));
    if cookies(headers).all(|(name, _)| leaves(name)) {
        return;
    }
    let mut left: Vec<u8> = Vec::new();
    for (name, value) in cookies(headers).filter(|(name, _)| leaves(name)) {
        if !left.is_empty() {
            left.extend_from_slice(b"; ");
        }
        left.extend_from_slice(name);
        left.push(b'=');
        left.extend_from_slice(value);
    }
    headers.remove(COOKIE);
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(left))
        && !value.is_empty()
    {
        headers.insert(COOKIE, value);
    }
}

/// Fills a template's places from the request as it is sent on.
pub fn fill<'a>(
    head: &'a request::Parts,
    key: &'a CacheKey,
    client: IpAddr,
) -> impl FnMut(Place, &mut String) -> std::fmt::Result + 'a {
    move |place, out| match place {
        Place::Scheme => out.write_str(key.scheme()),
        Place::Host => out.write_str(key.host_name()),
        Place::Path => out.write_str(head.uri.path()),
        Place::Query => out.write_str(head.uri.query().unwrap_or_default()),
        Place::QueryPart => head.uri.query().map_or(Ok(()), |query| write!(out, "?{query}")),
        Place::Target => out.write_str(key.host_and_target().1),
        Place::Client => write!(out, "{client}"),
        // Not among the PLACES.
        Place::Directory | Place::Name => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn templates() {
        let (head, ()) = http::Request::get("/a/b?c=d").body(()).unwrap().into_parts();
        let key = CacheKey::new(common::http::forwarded::Scheme::Http, "a.example:8080", "/a/b?c=d");
        let cases = [
            ("https://{host}{target}", "https://a.example/a/b?c=d"),
            ("{scheme}:{path}:{query}:{client}", "http:/a/b:c=d:192.0.2.1"),
        ];
        for (text, expected) in cases {
            let template = Template::parse(text, &PLACES).unwrap();
            assert_eq!(template.render(fill(&head, &key, "192.0.2.1".parse().unwrap())), expected);
        }
        assert!(Template::parse("{name}", &PLACES).is_err());
    }

    #[test]
    fn cookie_edits() {
        let texts = |names: &[&str]| names.iter().map(|name| Text::plain(name).unwrap()).collect();
        let cases = [
            (Selection::AllBut(texts(&["*"])), "a=1; b=2", None),
            (Selection::AllBut(texts(&["_ga*"])), "_ga=1; b=2;_gat=3;c", Some("b=2; c=")),
            (Selection::AllBut(texts(&["x"])), "a=1;b=2", Some("a=1;b=2")),
            (Selection::Only(texts(&["SESS*"])), "a=1; SESS1=x=y", Some("SESS1=x=y")),
            (Selection::Only(texts(&["SESS*"])), "a=1", None),
        ];
        for (selection, cookie, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, cookie.parse().unwrap());
            edit_cookies(&mut headers, &selection);
            assert_eq!(headers.get(COOKIE).map(|value| value.to_str().unwrap()), expected, "{cookie}");
        }
    }
}
