use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::sync::Arc;

use common::http::forwarded::{Client, Scheme};
use common::http::strict::Violation;
use common::http::{hop_by_hop, request_id};
use common::listener::Peer;
use http::header::{EXPECT, HOST, HeaderMap, HeaderValue, RANGE};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, request};

use super::forwarding::Forwarding;
use super::target::canonical;
use super::{Upgrade, steering};
use crate::fetch::OriginTime;
use crate::key::CacheKey;
use crate::live::Live;
use crate::rules::Orders;

/// A request ready to be looked up, and to be sent to the origin once it is [forwarded](Self::forward).
#[derive(Debug, Clone)]
pub struct Normalised {
    pub head: request::Parts,
    /// What the head lacks for the origin.
    forwarding: Option<Forwarding>,
    pub client: Client,
    pub key: CacheKey,
    pub request_id: HeaderValue,
    pub origin_time: OriginTime,
    /// It asks for another protocol on its connection.
    pub upgrade: Option<Upgrade>,
    /// The configuration that it came under.
    pub live: Arc<Live>,
    /// What the rules want done, once [`admit`](super::admit()) has asked them.
    pub orders: Orders,
}

impl Normalised {
    /// The name of the rule that has decided.
    pub fn decided_by(&self) -> Option<Arc<str>> {
        self.live.config.rules.decider(self.orders).map(|rule| Arc::clone(&rule.name))
    }
}

impl Normalised {
    /// Writes what the origin is told of the client, once.
    pub fn forward(&mut self) {
        if let Some(forwarding) = self.forwarding.take() {
            forwarding.write(&mut self.head.headers, &self.client, &self.request_id);
        }
    }

    /// Its fields; `all` with those that the origin sees.
    pub fn fields(&mut self, all: bool) -> &HeaderMap {
        if all {
            self.forward();
        }
        &self.head.headers
    }

    /// It asks for a part of the response: "range handling is only defined for GET" (RFC 9110, section 14.2).
    pub fn is_ranged(&self) -> bool {
        self.head.method == Method::GET && self.head.headers.contains_key(RANGE)
    }
}

/// Why a request is answered here, with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No Host, more than one, or one that is no host (RFC 9112, section 3.2).
    Host,
    /// CONNECT and TRACE: no proxy in front of a site needs them.
    Method,
    /// Neither a path nor an absolute URI, or one whose path has a broken percent sign.
    Target,
    /// It expects something else than 100 (RFC 9110, section 10.1.1).
    Expectation,
    /// Not HTTP to the letter.
    Malformed(Violation),
}

impl Refusal {
    /// A label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Method => "method",
            Self::Target => "target",
            Self::Expectation => "expectation",
            Self::Malformed(violation) => violation.as_str(),
        }
    }
}

/// What RFC 9110, section 7.6.3 asks of every proxy.
pub const OUR_VIA: HeaderValue = HeaderValue::from_static("1.1 edge-cache");
/// The same of a request that came over HTTP/2.
const OUR_VIA_HTTP2: HeaderValue = HeaderValue::from_static("2.0 edge-cache");

/// `head` as it came over a connection from `peer` with the scheme `scheme`.
pub fn normalise(
    mut head: request::Parts,
    peer: &Peer,
    scheme: Scheme,
    live: Arc<Live>,
) -> Result<Normalised, Refusal> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    let client = Client::of(&head.headers, peer, scheme, &live.config.trusted_proxies);
    let host = host(&head, client.scheme)?;
    let target = target(&head).ok_or(Refusal::Target)?;
    let target = canonical(&target, &live.config.query).map_err(|_| Refusal::Target)?;
    if head.headers.get_all(EXPECT).iter().any(|it| !it.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::Expectation);
    }
    let request_id = request_id::of(&head.headers, client.trusted);
    let key = CacheKey::new(client.scheme, &host, target.as_str());

    let upgrade = Upgrade::of(&mut head);
    hop_by_hop::strip(&mut head.headers);
    let headers = &mut head.headers;
    headers.remove(EXPECT);
    steering::strip(headers, &head.method, client.trusted);
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port: u16 = client.server_port.or(port).unwrap_or(client.scheme.default_port());
    if headers.get(HOST).is_none_or(|field| field.as_bytes() != host.as_bytes())
        && let Ok(host) = HeaderValue::from_str(&host)
    {
        headers.insert(HOST, host);
    }
    let via = if head.version == Version::HTTP_2 { OUR_VIA_HTTP2 } else { OUR_VIA };
    let forwarding = Some(Forwarding { peer: peer.ip(), host, port, via });
    // Origin form, whatever the client sent (RFC 9112, section 3.2.1).
    head.uri = Uri::from(target);
    head.version = Version::HTTP_11;
    let (origin_time, orders) = (OriginTime::default(), Orders::default());
    Ok(Normalised { head, forwarding, client, key, request_id, origin_time, upgrade, live, orders })
}

/// The host in lower case, without the scheme's own port. An absolute URI's counts (RFC 9112, section 3.2.2), and a
/// Host field beside it must say the same: a hop that looks at the other one would see another request.
fn host(head: &request::Parts, scheme: Scheme) -> Result<String, Refusal> {
    let mut fields = head.headers.get_all(HOST).iter();
    let field = match fields.next() {
        Some(field) => {
            let text = field.to_str().map_err(|_| Refusal::Host)?;
            Some(canonical_host(text, scheme).ok_or(Refusal::Host)?)
        }
        // HTTP/1.0 has no Host.
        None if head.version < Version::HTTP_11 => None,
        None => return Err(Refusal::Host),
    };
    if fields.next().is_some() {
        return Err(Refusal::Host);
    }
    let authority = match head.uri.authority() {
        Some(authority) => Some(canonical_host(authority.as_str(), scheme).ok_or(Refusal::Host)?),
        None => None,
    };
    match (authority, field) {
        (Some(authority), Some(field)) if authority != field => Err(Refusal::Host),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Ok("localhost".into()),
    }
}

/// Lower case, without the scheme's own port; `None` for what cannot be a host.
pub fn canonical_host(text: &str, scheme: Scheme) -> Option<String> {
    let (mut name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (ip, after) = rest.split_once(']')?;
        // One spelling for each address (RFC 5952); a zone is of the client's own machine (RFC 6874).
        let ip: Ipv6Addr = ip.parse().ok()?;
        (format!("[{ip}]"), after.strip_prefix(':').or(after.is_empty().then_some(""))?)
    } else {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        let name = name.strip_suffix('.').unwrap_or(name);
        if !is_dns_name(name.as_bytes()) {
            return None;
        }
        (name.to_ascii_lowercase(), port)
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port: Option<NonZeroU16> = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    match port {
        Some(port) if port.get() != scheme.default_port() => {
            name.push(':');
            name.push_str(itoa::Buffer::new().format(port.get()));
            Some(name)
        }
        _ => Some(name),
    }
}

/// Labels of the characters of DNS names, with the underscore that is met in practice.
fn is_dns_name(name: &[u8]) -> bool {
    let mut before = b'.';
    for byte in name {
        let is_good = match byte {
            b'.' => before != b'.',
            byte => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        if !is_good {
            return false;
        }
        before = *byte;
    }
    before != b'.' && name.len() <= 253
}

fn target(head: &request::Parts) -> Option<PathAndQuery> {
    if head.uri.scheme().is_some_and(|scheme| !matches!(scheme.as_str(), "http" | "https")) {
        return None;
    }
    match head.uri.path_and_query() {
        // An empty one says that it is this, and would be sent as nothing.
        Some(target) if target.as_str() == "/" => Some(PathAndQuery::from_static("/")),
        Some(target) if target.as_str().starts_with('/') => Some(target.clone()),
        // `OPTIONS *`, and an absolute URI without a path.
        Some(target) if target.as_str() == "*" && head.method == Method::OPTIONS => Some(target.clone()),
        None if head.uri.scheme().is_some() => Some(PathAndQuery::from_static("/")),
        Some(target) if head.uri.scheme().is_some() => format!("/{}", target.as_str()).parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http::Request;

    use super::*;

    fn normalised(request: Request<()>, peer: &str) -> Result<Normalised, Refusal> {
        let config = crate::Config::from_flags(["--trusted-proxies=10.0.0.0/8"]).unwrap();
        let shutdown = common::shutdown::Shutdown::new(std::time::Duration::ZERO);
        let live = Arc::new(Live::new(config, &shutdown, None).unwrap());
        let peer = Peer::Tcp { client: peer.parse().unwrap(), local: "10.0.0.1:80".parse().unwrap() };
        let mut normalised = normalise(request.into_parts().0, &peer, Scheme::Http, live)?;
        normalised.forward();
        Ok(normalised)
    }

    #[test]
    fn keys() {
        let cases = [
            ("Example.ORG", "/a?b", Some("http://example.org/a?b")),
            ("example.org:80", "/", Some("http://example.org/")),
            ("example.org:8080", "/", Some("http://example.org:8080/")),
            ("example.org.", "/", Some("http://example.org/")),
            ("[::1]:80", "/", Some("http://[::1]/")),
            ("b.example", "http://b.example", Some("http://b.example/")),
            ("b.example:80", "http://B.example/x", Some("http://b.example/x")),
            ("b.example", "http://b.example?x", Some("http://b.example/?x")),
            ("a.example", "http://b.example/", None),
            ("a.example:81", "http://a.example/", None),
            ("a.example", "http://user@a.example/", None),
            ("a.example", "ftp://a.example/", None),
            ("[0:0::0:1]", "/", Some("http://[::1]/")),
            ("[fe80::1%25eth0]", "/", None),
            ("[::1]x", "/", None),
            ("[127.0.0.1]", "/", None),
            ("::1", "/", None),
            ("a..b", "/", None),
            ("a..", "/", None),
            (".a", "/", None),
            ("a:0", "/", None),
            ("a:65535", "/", Some("http://a:65535/")),
            ("a:65536", "/", None),
            ("a:80:80", "/", None),
            ("a:", "/", Some("http://a/")),
            ("a,b", "/", None),
            ("a\tb", "/", None),
            ("\u{fc}.example", "/", None),
            ("", "/", None),
            ("a b", "/", None),
            ("a/b", "/", None),
            ("a:99999", "/", None),
            ("a:+80", "/", None),
            (".", "/", None),
            ("[::1", "/", None),
            ("a@b", "/", None),
        ];
        for (host, target, expected) in cases {
            let host_field = HeaderValue::from_bytes(host.as_bytes()).unwrap();
            let request = Request::get(target).header(HOST, host_field).body(()).unwrap();
            let key = normalised(request, "192.0.2.1:5").map(|normalised| normalised.key.to_string());
            assert_eq!(key.ok().as_deref(), expected, "{host} {target}");
        }
    }

    #[test]
    fn refusals() {
        let no_host = Request::get("/").body(()).unwrap();
        assert_eq!(normalised(no_host, "192.0.2.1:5").unwrap_err(), Refusal::Host);
        let two = Request::get("/").header(HOST, "a").header(HOST, "b").body(()).unwrap();
        assert_eq!(normalised(two, "192.0.2.1:5").unwrap_err(), Refusal::Host);
        let trace = Request::builder().method(Method::TRACE).uri("/").header(HOST, "a").body(()).unwrap();
        assert_eq!(normalised(trace, "192.0.2.1:5").unwrap_err(), Refusal::Method);
        let absolute = Request::get("http://a/").body(()).unwrap();
        assert_eq!(normalised(absolute, "192.0.2.1:5").unwrap_err(), Refusal::Host, "HTTP/1.1 asks for Host");
        let old = Request::get("http://a/").version(Version::HTTP_10).body(()).unwrap();
        assert_eq!(normalised(old, "192.0.2.1:5").unwrap().key.as_str(), "http://a/");
        let expects = |what: &str| Request::get("/").header(HOST, "a").header(EXPECT, what).body(()).unwrap();
        assert_eq!(normalised(expects("x"), "192.0.2.1:5").unwrap_err(), Refusal::Expectation);
        assert!(
            normalised(expects("100-Continue"), "192.0.2.1:5").unwrap().head.headers.get(EXPECT).is_none()
        );
        let asterisk = Request::get("*").header(HOST, "a").body(()).unwrap();
        assert_eq!(normalised(asterisk, "192.0.2.1:5").unwrap_err(), Refusal::Target);
    }

    #[test]
    fn strangers_set_nothing_that_is_a_proxys() {
        let request = || {
            Request::get("/")
                .header(HOST, "a.example")
                .header("x-forwarded-for", "1.1.1.1")
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-host", "evil")
                .header("forwarded", "for=1.1.1.1")
                .header("x-request-id", "mine")
                .header("traceparent", "00-1-2-3")
                .header("x-original-url", "/admin")
                .header("x-forwarded-prefix", "/evil")
                .header("proxy", "http://evil")
                .header("connection", "x-secret")
                .header("x-secret", "1")
                .body(())
                .unwrap()
        };
        let stranger = normalised(request(), "192.0.2.1:5").unwrap();
        let text =
            |name: &str| stranger.head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(text("x-forwarded-for").as_deref(), Some("192.0.2.1"));
        assert_eq!(text("x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(text("x-forwarded-host").as_deref(), Some("a.example"));
        assert_eq!(text("forwarded").as_deref(), Some("for=192.0.2.1;host=\"a.example\";proto=http"));
        for name in ["traceparent", "x-secret", "x-original-url", "x-forwarded-prefix", "proxy"] {
            assert_eq!(text(name), None, "{name}");
        }
        assert_ne!(text("x-request-id").as_deref(), Some("mine"));

        let sixth = normalised(request(), "[2001:db8::7]:5").unwrap();
        assert_eq!(sixth.head.headers["x-forwarded-for"], "2001:db8::7");
        let forwarded = &sixth.head.headers["forwarded"];
        assert_eq!(forwarded, "for=\"[2001:db8::7]\";host=\"a.example\";proto=http");

        let proxy = normalised(request(), "10.0.0.9:5").unwrap();
        assert_eq!(proxy.head.headers["x-forwarded-for"], "1.1.1.1, 10.0.0.9");
        assert_eq!(proxy.head.headers["x-request-id"], "mine");
        assert_eq!(proxy.key.as_str(), "https://a.example/");
    }
}
