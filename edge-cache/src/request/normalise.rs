use std::sync::Arc;

use common::http::forwarded::{
    Client, FORWARDED, Scheme, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO,
};
use common::http::{hop_by_hop, request_id};
use common::listener::Peer;
use http::header::{EXPECT, HOST, HeaderName, HeaderValue, VIA};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, request};

use super::target::canonical;
use crate::key::CacheKey;
use crate::live::Live;
use crate::rules::Orders;

/// A request ready to be looked up and to be sent to the origin.
#[derive(Debug, Clone)]
pub struct Normalised {
    pub head: request::Parts,
    pub client: Client,
    pub key: CacheKey,
    pub request_id: HeaderValue,
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

/// Why a request is answered here, with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No Host, more than one, or one that is no host (RFC 9112, section 3.2).
    Host,
    /// CONNECT and TRACE: no proxy in front of a site needs them.
    Method,
    /// Neither a path nor an absolute URI, or one whose path has a broken percent sign.
    Target,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// What applications take from a proxy although it is not part of the key: from a stranger, one request
/// could change what everybody gets (practical web cache poisoning).
const STEERING: [HeaderName; 14] = [
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("client-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-http-host-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("front-end-https"),
    HeaderName::from_static("x-url-scheme"),
];
/// What RFC 9110, section 7.6.3 asks of every proxy.
pub const OUR_VIA: HeaderValue = HeaderValue::from_static("1.1 edge-cache");

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
    let request_id = request_id::of(&head.headers, client.trusted);
    let key = CacheKey::new(client.scheme, &host, target.as_str());

    hop_by_hop::strip(&mut head.headers);
    let headers = &mut head.headers;
    headers.remove(EXPECT);
    if !client.trusted {
        for name in [FORWARDED, TRACEPARENT, TRACESTATE].iter().chain(&STEERING) {
            headers.remove(name);
        }
        let claims: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
        for name in claims {
            headers.remove(name);
        }
    }
    // httpoxy (CVE-2016-5385): nobody has a use for it.
    headers.remove("proxy");
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port: u16 = client.server_port.or(port).unwrap_or(client.scheme.default_port());
    forward(headers, &client, peer, &host, port);
    if let Ok(host) = HeaderValue::from_str(&host) {
        headers.insert(HOST, host);
    }
    headers.insert(request_id::X_REQUEST_ID, request_id.clone());
    headers.append(VIA, OUR_VIA);
    // Origin form, whatever the client sent (RFC 9112, section 3.2.1).
    head.uri = Uri::from(target);
    head.version = Version::HTTP_11;
    Ok(Normalised { head, client, key, request_id, live, orders: Orders::default() })
}

fn forward(headers: &mut http::HeaderMap, client: &Client, peer: &Peer, host: &str, port: u16) {
    let for_ = match headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .reduce(|_, last| last)
    {
        Some(_) => {
            let all: Vec<&str> =
                headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
            format!("{}, {}", all.join(", "), peer.ip())
        }
        None => peer.ip().to_string(),
    };
    let proto = client.scheme.as_str();
    let node = match peer.ip() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    let forwarded = format!("for={node};host=\"{host}\";proto={proto}");
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(X_FORWARDED_FOR, &for_);
    set(X_FORWARDED_PROTO, proto);
    set(X_FORWARDED_HOST, host);
    set(X_FORWARDED_PORT, &port.to_string());
    // RFC 7239: one element a proxy, added to those of proxies that are trusted.
    if let Ok(element) = HeaderValue::from_str(&forwarded) {
        headers.append(FORWARDED, element);
    }
}

/// The host in lower case, without the scheme's own port. An absolute URI's wins over the Host field
/// (RFC 9112, section 3.2.2).
fn host(head: &request::Parts, scheme: Scheme) -> Result<String, Refusal> {
    let mut fields = head.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refusal::Host);
    }
    let text = match (head.uri.authority(), field) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(field)) => field.to_str().map_err(|_| Refusal::Host)?,
        // HTTP/1.0 has no Host.
        (None, None) if head.version < Version::HTTP_11 => "localhost",
        (None, None) => return Err(Refusal::Host),
    };
    canonical_host(text, scheme).ok_or(Refusal::Host)
}

/// Lower case, without the scheme's own port; `None` for what cannot be a host.
pub fn canonical_host(text: &str, scheme: Scheme) -> Option<String> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, after) = rest.split_once(']')?;
            ip.parse::<std::net::Ipv6Addr>().ok()?;
            (
                &text[..ip.len() + 2],
                after.strip_prefix(':').or(if after.is_empty() { Some("") } else { None })?,
            )
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port: Option<u16> = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    let name = name.trim_end_matches('.');
    // The characters of DNS names, with the underscore that is met in practice.
    let plausible = name.starts_with('[')
        || !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !plausible {
        return None;
    }
    let name = name.to_ascii_lowercase();
    match port {
        Some(port) if port != scheme.default_port() => Some(format!("{name}:{port}")),
        _ => Some(name),
    }
}

fn target(head: &request::Parts) -> Option<PathAndQuery> {
    match head.uri.path_and_query() {
        Some(target) if target.as_str().starts_with('/') => Some(target.clone()),
        // `OPTIONS *`, and an absolute URI without a path.
        Some(target) if target.as_str() == "*" && head.method == Method::OPTIONS => Some(target.clone()),
        None if head.uri.scheme().is_some() => Some(PathAndQuery::from_static("/")),
        Some(target) if head.uri.scheme().is_some() => format!("/{target}").parse().ok(),
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
        normalise(request.into_parts().0, &peer, Scheme::Http, live)
    }

    #[test]
    fn keys() {
        let cases = [
            ("Example.ORG", "/a?b", Some("http://example.org/a?b")),
            ("example.org:80", "/", Some("http://example.org/")),
            ("example.org:8080", "/", Some("http://example.org:8080/")),
            ("example.org.", "/", Some("http://example.org/")),
            ("[::1]:80", "/", Some("http://[::1]/")),
            ("a.example", "http://b.example", Some("http://b.example/")),
            ("a.example", "http://B.example:80/x", Some("http://b.example/x")),
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
            let request = Request::get(target).header(HOST, host).body(()).unwrap();
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

        let proxy = normalised(request(), "10.0.0.9:5").unwrap();
        assert_eq!(proxy.head.headers["x-forwarded-for"], "1.1.1.1, 10.0.0.9");
        assert_eq!(proxy.head.headers["x-request-id"], "mine");
        assert_eq!(proxy.key.as_str(), "https://a.example/");
    }
}
