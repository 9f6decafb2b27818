//! The cache key: scheme, host, path and query of the target URI (RFC 9111, section 2).

use std::borrow::Borrow;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use common::http::forwarded::Scheme;

use crate::request::normalise::canonical_host;
use crate::request::target::without_dot_segments;

/// `http://example.org/path?query`, with the host in lower case and without the scheme's own port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Arc<str>);

thread_local! {
    /// Where this thread puts a key together, so that the key itself is the only allocation.
    static BEING_MADE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl CacheKey {
    /// `host` as [`crate::request::normalise`] gives it, `target` a path with its query.
    pub fn new(scheme: Scheme, host: &str, target: &str) -> Self {
        BEING_MADE.with_borrow_mut(|key| {
            key.clear();
            for part in [scheme.as_str(), "://", host, target] {
                key.push_str(part);
            }
            Self(Arc::from(key.as_str()))
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of an absolute URL, as a person writes it.
    pub fn of_url(url: &str) -> Option<Self> {
        let url: http::Uri = url.parse().ok()?;
        let scheme = match url.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let host = canonical_host(url.authority()?.as_str(), scheme)?;
        Some(Self::new(scheme, &host, url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)))
    }

    /// The same scheme and host with another path and query.
    #[must_use]
    pub fn with_target(&self, target: &str) -> Self {
        let origin = self.0.len() - self.host_and_target().1.len();
        Self(format!("{}{target}", self.0.get(..origin).unwrap_or_default()).into())
    }

    pub fn scheme(&self) -> &'static str {
        if self.0.starts_with("https:") { "https" } else { "http" }
    }

    /// The host without its port.
    pub fn host_name(&self) -> &str {
        let host = self.host_and_target().0;
        match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        }
    }

    /// The host, and the path with its query.
    pub fn host_and_target(&self) -> (&str, &str) {
        let rest = self.0.get(self.scheme().len() + 3..).unwrap_or_default();
        rest.split_at(memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len()))
    }

    /// Whether scheme, host and port are the same.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        let origin = |key: &Self| key.0.len() - key.host_and_target().1.len();
        self.0.get(..origin(self)) == other.0.get(..origin(other))
    }

    /// The key of a URI reference found in a response to this one, if it has the same origin
    /// (RFC 9111, section 4.4; resolved as RFC 3986, section 5.2 has it).
    pub fn join_same_origin(&self, reference: &str) -> Option<Self> {
        let reference = reference.split('#').next().filter(|reference| !reference.is_empty())?;
        let scheme = &self.0[..self.0.find("://")?];
        let (host, own) = self.host_and_target();
        if reference.contains("://") || reference.starts_with("//") {
            let absolute = if reference.starts_with("//") {
                format!("{scheme}:{reference}")
            } else {
                reference.to_owned()
            };
            let other = Self::of_url(&absolute)?;
            let same = other.0.split("://").next() == Some(scheme) && other.host_and_target().0 == host;
            return same.then_some(other);
        }
        let own_path = own.split('?').next().unwrap_or_default();
        let target = match reference.as_bytes().first()? {
            b'/' => reference.to_owned(),
            b'?' => format!("{own_path}{reference}"),
            _ => {
                let folder = own_path.rfind('/').map_or("/", |at| &own_path[..=at]);
                format!("{folder}{reference}")
            }
        };
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        Some(Self(format!("{scheme}://{host}{}{query}", without_dot_segments(path)).into()))
    }
}

impl Borrow<str> for CacheKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_the_same_origin() {
        let key = CacheKey::new(Scheme::Http, "a.example", "/x/y?q");
        let cases = [
            ("/z?1#f", Some("http://a.example/z?1")),
            ("z", Some("http://a.example/x/z")),
            ("?page=2", Some("http://a.example/x/y?page=2")),
            ("../z", Some("http://a.example/z")),
            ("./z/../w/.", Some("http://a.example/x/w/")),
            ("/a/../../b?c=/../d", Some("http://a.example/b?c=/../d")),
            ("http://a.example:80/z", Some("http://a.example/z")),
            ("http://A.example/z", Some("http://a.example/z")),
            ("http://a.example", Some("http://a.example/")),
            ("//a.example/z", Some("http://a.example/z")),
            ("https://a.example/z", None),
            ("http://b.example/z", None),
            ("//b.example/z", None),
            ("", None),
        ];
        for (reference, expected) in cases {
            let joined = key.join_same_origin(reference);
            assert_eq!(joined.as_ref().map(CacheKey::as_str), expected, "{reference}");
        }
    }
}
