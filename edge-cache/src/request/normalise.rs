use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::sync::{Arc, OnceLock};

use common::http::forwarded::{Client, Scheme};
use common::http::strict::Violation;
use common::http::{hop_by_hop, request_id};
use common::listener::Peer;
use http::header::{EXPECT, HOST, HeaderMap, HeaderValue, RANGE};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, request};

use super::forwarding::Forwarding;
use super::target::canonical;
use super::{Asks, Upgrade, steering};
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
    request_id: OnceLock<HeaderValue>,
    pub origin_time: OriginTime,
    /// It asks for another protocol on its connection.
    pub upgrade: Option<Upgrade>,
    /// Known once the cache may answer it.
    pub asks: Asks,
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
            let id = self.request_id().clone();
            forwarding.write(&mut self.head.headers, &self.client, &self.key, id);
        }
    }

    /// Made when it is asked for: a hit that is not logged with it needs none.
    pub fn request_id(&self) -> &HeaderValue {
        self.request_id.get_or_init(|| request_id::of(&self.head.headers, self.client.trusted))
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
    let (host, sent) = host(&head, client.scheme)?;
    let target = target(&head).ok_or(Refusal::Target)?;
    let target = canonical(&target, &live.config.query).map_err(|_| Refusal::Target)?;
    let key = CacheKey::new(client.scheme, &host, target.as_str());
    let host = if sent == Some(&*host) { None } else { HeaderValue::from_str(&host).ok() };

    let unusual = Unusual::of(&head.headers, &head.method, client.trusted);
    if unusual.expect {
        if head.headers.get_all(EXPECT).iter().any(|it| !it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            return Err(Refusal::Expectation);
        }
        head.headers.remove(EXPECT);
    }
    let mut upgrade = None;
    if unusual.hop_by_hop {
        upgrade = Upgrade::of(&mut head);
        hop_by_hop::strip(&mut head.headers);
    }
    if unusual.steering {
        steering::strip(&mut head.headers, &head.method, client.trusted);
    }
    if let Some(host) = host {
        head.headers.insert(HOST, host);
    }
    let forwarding = Some(Forwarding { peer: peer.ip(), version: head.version });
    // Origin form, whatever the client sent (RFC 9112, section 3.2.1).
    head.uri = Uri::from(target);
    head.version = Version::HTTP_11;
    let (request_id, origin_time, asks, orders) =
        (OnceLock::new(), OriginTime::default(), Asks::default(), Orders::default());
    Ok(Normalised { head, forwarding, client, key, request_id, origin_time, upgrade, asks, live, orders })
}

/// Which fields there are that something has to be done about: most requests have none, which is seen at one look at
/// their names.
#[derive(Debug, Default)]
struct Unusual {
    expect: bool,
    hop_by_hop: bool,
    steering: bool,
}

impl Unusual {
    fn of(headers: &HeaderMap, method: &Method, trusted: bool) -> Self {
        let mut unusual = Self::default();
        for name in headers.keys().filter(|name| !is_usual(name.as_str())) {
            unusual.expect |= *name == EXPECT;
            unusual.hop_by_hop |= hop_by_hop::is_hop_by_hop(name);
            unusual.steering |= steering::is_refused(name, method, trusted);
        }
        unusual
    }
}

/// What browsers send: looked at first, since it is most of what comes. Nothing has to be done about these.
fn is_usual(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "user-agent"
            | "accept"
            | "accept-encoding"
            | "accept-language"
            | "cache-control"
            | "cookie"
            | "if-modified-since"
            | "if-none-match"
            | "priority"
            | "referer"
            | "sec-ch-ua"
            | "sec-ch-ua-mobile"
            | "sec-ch-ua-platform"
            | "sec-fetch-dest"
            | "sec-fetch-mode"
            | "sec-fetch-site"
            | "sec-fetch-user"
            | "upgrade-insecure-requests"
    )
}

/// The host in lower case, without the scheme's own port. An absolute URI's counts (RFC 9112, section 3.2.2), and a
/// Host field beside it must say the same: a hop that looks at the other one would see another request. With it the
/// field as it was sent.
fn host(head: &request::Parts, scheme: Scheme) -> Result<(Cow<'_, str>, Option<&str>), Refusal> {
    let mut fields = head.headers.get_all(HOST).iter();
    let sent = match fields.next() {
        Some(field) => Some(field.to_str().map_err(|_| Refusal::Host)?),
        // HTTP/1.0 has no Host.
        None if head.version < Version::HTTP_11 => None,
        None => return Err(Refusal::Host),
    };
    if fields.next().is_some() {
        return Err(Refusal::Host);
    }
    let canonical = |text: Option<_>| match text {
        Some(text) => canonical_host(text, scheme).map(Some).ok_or(Refusal::Host),
        None => Ok(None),
    };
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let host = match (canonical(authority)?, canonical(sent)?) {
        (Some(authority), Some(field)) if authority != field => return Err(Refusal::Host),
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => "localhost".into(),
    };
    Ok((host, sent))
}

/// Lower case, without the scheme's own port; `None` for what cannot be a host. Without a copy if it is so already.
pub fn canonical_host(text: &str, scheme: Scheme) -> Option<Cow<'_, str>> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (ip, after) = rest.split_once(']')?;
        // One spelling for each address (RFC 5952); a zone is of the client's own machine (RFC 6874).
        let ip: Ipv6Addr = ip.parse().ok()?;
        (Cow::Owned(format!("[{ip}]")), after.strip_prefix(':').or(after.is_empty().then_some(""))?)
    } else {
        let colon = text.bytes().position(|byte| byte == b':').unwrap_or(text.len());
        let (name, port) = text.split_at(colon);
        let port = port.strip_prefix(':').unwrap_or_default();
        let name = name.strip_suffix('.').unwrap_or(name);
        if !is_dns_name(name.as_bytes()) {
            return None;
        }
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        (if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) }, port)
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: Option<NonZeroU16> = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    let Some(number) = number.filter(|number| number.get() != scheme.default_port()) else {
        return Some(name);
    };
    let is_canonical = !port.starts_with('0') && text.len() == name.len() + 1 + port.len();
    Some(match name {
        Cow::Borrowed(_) if is_canonical => Cow::Borrowed(text),
        name => Cow::Owned(format!("{name}:{number}")),
    })
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
            ("a:080", "/", Some("http://a/")),
            ("a:081", "/", Some("http://a:81/")),
            ("a.:81", "/", Some("http://a:81/")),
            ("A:81", "/", Some("http://a:81/")),
            ("[::1]:81", "/", Some("http://[::1]:81/")),
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
    fn the_host_field_is_the_keys() {
        for host in ["a.example", "a.example:8080", "A.example:8080", "a.example.:8080", "a.example:80"] {
            let request = Request::get("/").header(HOST, host).body(()).unwrap();
            let normalised = normalised(request, "192.0.2.1:5").unwrap();
            assert_eq!(normalised.head.headers[HOST], normalised.key.host_and_target().0, "{host}");
        }
        let absolute = Request::get("http://a.example/").header(HOST, "A.example:80").body(()).unwrap();
        assert_eq!(normalised(absolute, "192.0.2.1:5").unwrap().head.headers[HOST], "a.example");
        let old = Request::get("/").version(Version::HTTP_10).body(()).unwrap();
        assert_eq!(normalised(old, "192.0.2.1:5").unwrap().head.headers[HOST], "localhost");
    }

    #[test]
    fn nothing_has_to_be_done_about_what_is_usual() {
        let usual = [
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
            "accept-language",
            "cache-control",
            "cookie",
            "if-modified-since",
            "if-none-match",
            "priority",
            "referer",
            "sec-ch-ua",
            "sec-ch-ua-mobile",
            "sec-ch-ua-platform",
            "sec-fetch-dest",
            "sec-fetch-mode",
            "sec-fetch-site",
            "sec-fetch-user",
            "upgrade-insecure-requests",
        ];
        for name in usual.map(http::HeaderName::from_static) {
            assert!(is_usual(name.as_str()) && name != EXPECT, "{name}");
            assert!(!hop_by_hop::is_hop_by_hop(&name), "{name}");
            assert!(!steering::is_refused(&name, &Method::GET, false), "{name}");
        }
        let others =
            ["expect", "connection", "keep-alive", "te", "upgrade", "proxy", "x-real-ip", "accept_encoding"];
        assert!(!others.into_iter().any(is_usual));
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
        assert_eq!(
            stranger.head.headers["x-request-id"],
            stranger.request_id(),
            "one for the log and the origin"
        );

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
