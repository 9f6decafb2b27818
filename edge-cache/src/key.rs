//! The cache key: scheme, host, path and query of the target URI (RFC 9111, section 2).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use common::http::forwarded::Scheme;

use crate::request::normalise::canonical_host;

/// `http://example.org/path?query`, with the host in lower case and without the scheme's own port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
    /// `host` as [`crate::request::normalise`] gives it, `target` a path with its query.
    pub fn new(scheme: Scheme, host: &str, target: &str) -> Self {
        let scheme = scheme.as_str();
        let mut key = String::with_capacity(scheme.len() + 3 + host.len() + target.len());
        key.push_str(scheme);
        key.push_str("://");
        key.push_str(host);
        key.push_str(target);
        Self(key.into())
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

    /// The host, and the path with its query.
    pub fn host_and_target(&self) -> (&str, &str) {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        rest.split_at(rest.find('/').unwrap_or(rest.len()))
    }

    /// The key of a URI reference found in a response to this one, if it has the same origin
    /// (RFC 9111, section 4.4).
    pub fn join_same_origin(&self, reference: &str) -> Option<Self> {
        let after_scheme = self.0.find("://")? + 3;
        let origin_end = self.0[after_scheme..].find('/').map_or(self.0.len(), |at| after_scheme + at);
        let origin = &self.0[..origin_end];
        let reference = reference.split('#').next().unwrap_or_default();
        let target = if let Some(rest) = reference.strip_prefix("//") {
            let (host, _) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (host.eq_ignore_ascii_case(&origin[after_scheme..])).then(|| rest[host.len()..].to_owned())?
        } else if reference.starts_with('/') {
            reference.to_owned()
        } else if let Some((scheme, rest)) = reference.split_once("://") {
            let (host, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let same = format!("{scheme}://{host}").eq_ignore_ascii_case(origin);
            same.then(|| target.to_owned())?
        } else if reference.is_empty() {
            return None;
        } else {
            let path = &self.0[origin_end..];
            let path = path.split('?').next().unwrap_or_default();
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{folder}{reference}")
        };
        let target = if target.is_empty() { "/" } else { &target };
        Some(Self(format!("{origin}{target}").into()))
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
