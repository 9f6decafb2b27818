//! A request as it is understood here: who asks, for which host and path.

mod body;

use std::borrow::Cow;
use std::sync::OnceLock;

use common::http::forwarded::{Client, FORWARDED, Scheme, TrustedProxies};
use common::http::request_id;
use common::http::strict::Violation;
use common::listener::Peer;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::uri::Authority;
use http::{Method, Uri, Version, request};

pub use body::ClientBody;

use crate::route::path::{PathError, UrlPath};

#[derive(Debug)]
pub struct Received {
    pub method: Method,
    /// The path and query as the client sent them.
    pub uri: Uri,
    pub version: Version,
    /// Without what an untrusted client said in a proxy's name.
    pub headers: HeaderMap,
    pub path: UrlPath,
    pub host: Option<Authority>,
    pub client: Client,
    pub peer: Peer,
    id: OnceLock<HeaderValue>,
}

/// Why a request is not understood or not wanted, whatever it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No Host, more than one, or one that is no host (RFC 9112, section 3.2).
    #[error("the request does not name exactly one valid host")]
    Host,
    /// CONNECT and TRACE: nobody needs them of a site.
    #[error("the method is not served")]
    Method,
    /// Another transfer coding than chunked (RFC 9112, section 6.1): PHP would get the coded bytes.
    #[error("a transfer coding that is not known here")]
    TransferCoding,
    /// `OPTIONS *`: asks for nothing in particular.
    #[error("the server as a whole")]
    ServerOptions,
    /// 414
    #[error("a target of more than {MAX_TARGET} bytes")]
    TargetTooLong,
    /// 431
    #[error("header fields of more than {MAX_FIELDS} bytes")]
    FieldsTooLarge,
    /// Not HTTP/1.1 to the letter.
    #[error("{0}")]
    Malformed(Violation),
    #[error("the path holds {0}")]
    Path(#[from] PathError),
}

/// A parameter must fit into a FastCGI record for PHP-FPM to read it: the target, and all fields of one name,
/// however many share the rest.
pub const MAX_TARGET: usize = 32 << 10;
const MAX_FIELDS: usize = 60 << 10;
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

impl Refusal {
    /// A label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Method => "method",
            Self::TransferCoding => "transfer-encoding",
            Self::ServerOptions => "server-options",
            Self::TargetTooLong => "target-too-long",
            Self::FieldsTooLarge => "fields-too-large",
            Self::Malformed(violation) => violation.as_str(),
            Self::Path(_) => "path",
        }
    }
}

impl Received {
    pub fn of(
        head: request::Parts,
        peer: Peer,
        scheme: Scheme,
        trusted: &TrustedProxies,
    ) -> Result<Self, Refusal> {
        let request::Parts { method, uri, version, mut headers, .. } = head;
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(Refusal::Method);
        }
        let client = Client::of(&headers, &peer, scheme, trusted);
        let host = host(&uri, version, &headers)?;
        if client.host.as_deref().is_some_and(|told| sound(told).is_none()) {
            return Err(Refusal::Host);
        }
        let codings = headers.get_all(TRANSFER_ENCODING);
        if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Err(Refusal::TransferCoding);
        }
        if uri.path() == "*" && method == Method::OPTIONS {
            return Err(Refusal::ServerOptions);
        }
        if uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET) {
            return Err(Refusal::TargetTooLong);
        }
        if headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() > MAX_FIELDS {
            return Err(Refusal::FieldsTooLarge);
        }
        let path = UrlPath::parse(uri.path())?;
        if !client.trusted {
            forget_what_proxies_say(&mut headers);
        }
        Ok(Self { method, uri, version, headers, path, host, client, peer, id: OnceLock::new() })
    }

    /// Made when it is asked for: a file that is sent at once, and not logged with it, needs none.
    pub fn id(&self) -> &HeaderValue {
        self.id.get_or_init(|| request_id::of(&self.headers, self.client.trusted))
    }

    /// Puts the id among the fields, for the application and for rules that look at it there.
    pub fn identify(&mut self) {
        let id = self.id().clone();
        self.headers.insert(request_id::X_REQUEST_ID, id);
    }

    /// The path and the query as they were sent, in origin form (RFC 9112, section 3.2.1).
    pub fn target(&self) -> Cow<'_, str> {
        match self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str) {
            target if target.starts_with('/') => Cow::Borrowed(target),
            // `http://host?query` has an empty path.
            target => Cow::Owned(format!("/{target}")),
        }
    }

    /// The request that a local redirect stands for (RFC 3875, section 6.2.2): a GET without a body.
    pub fn redirected(&self, target: &str) -> Result<Self, Refusal> {
        let uri: Uri = target.parse().map_err(|_| Refusal::Path(PathError::NotAbsolute))?;
        let path = UrlPath::parse(uri.path())?;
        let mut headers = self.headers.clone();
        for name in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let method = if self.method == Method::HEAD { Method::HEAD } else { Method::GET };
        let (host, client, id) = (self.host.clone(), self.client.clone(), self.id().clone().into());
        Ok(Self { method, uri, version: self.version, headers, path, host, client, peer: self.peer, id })
    }

    /// The host that the client has asked for, in lower case and without a port; empty where it has asked for none.
    pub fn host_name(&self) -> Cow<'_, str> {
        let told = self.client.host.as_deref();
        let host = match (told, &self.host) {
            (Some(told), _) => match told.rfind(':') {
                Some(colon) if !told[colon..].contains(']') => &told[..colon],
                _ => told,
            },
            (None, Some(authority)) => split_host(authority.as_str()).0,
            (None, None) => "",
        };
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        }
    }

    /// The port that the client has used.
    pub fn port(&self) -> u16 {
        let named = self.host.as_ref().and_then(Authority::port_u16);
        self.client.server_port.or(named).unwrap_or(self.client.scheme.default_port())
    }
}

/// An absolute URI's host wins over the Host field (RFC 9112, section 3.2.2). HTTP/1.0 may have none.
fn host(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<Option<Authority>, Refusal> {
    let mut fields = headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refusal::Host);
    }
    let text = match (uri.authority(), field) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(field)) => field.to_str().map_err(|_| Refusal::Host)?.trim(),
        (None, None) if version < Version::HTTP_11 => return Ok(None),
        (None, None) => return Err(Refusal::Host),
    };
    sound(text).map(Some).ok_or(Refusal::Host)
}

/// It goes into redirects and links that PHP makes, so only what a host can be is let through.
fn sound(text: &str) -> Option<Authority> {
    let plausible = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    let authority = text.parse::<Authority>().ok().filter(|_| plausible)?;
    let (host, after) = split_host(text);
    let port_is_sound = after.is_empty() || authority.port_u16().is_some();
    (!host.is_empty() && port_is_sound).then_some(authority)
}

/// The host and what is behind it, of an authority that is [`sound`]: no user stands in front.
fn split_host(authority: &str) -> (&str, &str) {
    let bytes = authority.as_bytes();
    let end = match bytes.first() {
        Some(b'[') => memchr::memchr(b']', bytes).map(|end| end + 1),
        _ => memchr::memchr(b':', bytes),
    };
    authority.split_at_checked(end.unwrap_or(bytes.len())).unwrap_or((authority, ""))
}

/// All of `X-Forwarded-*`, since applications know more of them than we do (`-Prefix`, `-Ssl`, `-Server`).
fn forget_what_proxies_say(headers: &mut HeaderMap) {
    let told = |name: &&HeaderName| {
        name.as_str().starts_with("x-forwarded-") || [FORWARDED, X_REAL_IP].contains(*name)
    };
    let told: Vec<HeaderName> = headers.keys().filter(told).cloned().collect();
    for name in told {
        headers.remove(name);
    }
}

#[cfg(test)]
impl Received {
    /// A GET for `target` of site.example, from a stranger.
    pub(crate) fn get(target: &str) -> Self {
        let head = http::Request::get(target).header(HOST, "site.example").body(());
        let peer = Peer::Tcp {
            client: std::net::SocketAddr::from(([192, 0, 2, 1], 4711)),
            local: std::net::SocketAddr::from(([10, 0, 0, 1], 80)),
        };
        let head = head.expect("a valid target").into_parts().0;
        let received = Self::of(head, peer, Scheme::Http, &TrustedProxies::new(Vec::new()));
        let mut request = received.expect("a valid request");
        request.identify();
        request
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http::Request;

    use super::*;

    fn received(
        method: &str,
        uri: &str,
        fields: &[(&'static str, &str)],
        peer: &str,
    ) -> Result<Received, Refusal> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let peer = Peer::Tcp { client: peer.parse().unwrap(), local: "10.0.0.1:80".parse().unwrap() };
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        Received::of(request.body(()).unwrap().into_parts().0, peer, Scheme::Http, &trusted)
    }

    #[test]
    fn hosts() {
        let host = |uri: &str, fields: &[(&'static str, &str)]| {
            received("GET", uri, fields, "192.0.2.1:9").map(|request| {
                (request.host.as_ref().map(ToString::to_string).unwrap_or_default(), request.port())
            })
        };
        assert_eq!(host("/", &[("host", "Site.example")]), Ok(("Site.example".into(), 80)));
        assert_eq!(host("/", &[("host", "site.example:8080")]), Ok(("site.example:8080".into(), 8080)));
        assert_eq!(host("/", &[("host", "[::1]:81")]), Ok(("[::1]:81".into(), 81)));
        assert_eq!(host("http://a.example/x", &[("host", "b.example")]), Ok(("a.example".into(), 80)));
        for bad in ["", "a b", "a/b", "user@host", "a:99999", "a:x", "a\"b", "[::1", "a,b"] {
            assert_eq!(host("/", &[("host", bad)]), Err(Refusal::Host), "{bad}");
        }
        assert_eq!(host("/", &[]), Err(Refusal::Host));
        assert_eq!(host("/", &[("host", "a"), ("host", "a")]), Err(Refusal::Host));
    }

    #[test]
    fn targets() {
        let cases =
            [("/a%20b?c", "/a%20b?c"), ("http://a/b?c", "/b?c"), ("http://a?c", "/?c"), ("http://a", "/")];
        for (uri, target) in cases {
            let request = received("GET", uri, &[("host", "a")], "192.0.2.1:9").unwrap();
            assert_eq!(request.target(), target, "{uri}");
        }
    }

    #[test]
    fn refusals() {
        let refusal =
            |method: &str, uri: &str| received(method, uri, &[("host", "a")], "192.0.2.1:9").unwrap_err();
        assert_eq!(refusal("TRACE", "/"), Refusal::Method);
        assert_eq!(refusal("OPTIONS", "*"), Refusal::ServerOptions);
        assert_eq!(refusal("GET", "/%00"), Refusal::Path(PathError::Nul));
        assert_eq!(refusal("GET", &format!("/{}", "x".repeat(MAX_TARGET))), Refusal::TargetTooLong);
        let coded = [("host", "a"), ("transfer-encoding", "gzip, chunked")];
        assert_eq!(received("POST", "/", &coded, "192.0.2.1:9").unwrap_err(), Refusal::TransferCoding);
        let unsound = [("host", "a"), ("x-forwarded-host", "a\"b")];
        assert_eq!(received("GET", "/", &unsound, "10.0.0.2:9").unwrap_err(), Refusal::Host);
        assert_eq!(refusal("GET", "*"), Refusal::Path(PathError::NotAbsolute));
    }

    #[test]
    fn what_proxies_say_counts_only_from_trusted_ones() {
        let told = [
            ("host", "site.example"),
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/x"),
            ("x-request-id", "abc"),
        ];
        let stranger = received("GET", "/", &told, "192.0.2.1:9").unwrap();
        assert_eq!((stranger.client.ip.to_string().as_str(), stranger.port()), ("192.0.2.1", 80));
        assert!(!stranger.headers.contains_key("x-forwarded-for"));
        assert!(!stranger.headers.contains_key("x-forwarded-prefix"));
        assert_ne!(stranger.id(), "abc");
        let proxy = received("GET", "/", &told, "10.0.0.2:9").unwrap();
        assert_eq!((proxy.client.ip.to_string().as_str(), proxy.port()), ("198.51.100.7", 443));
        assert_eq!(proxy.headers["x-forwarded-for"], "198.51.100.7");
        assert_eq!(proxy.id(), "abc");
    }
}
