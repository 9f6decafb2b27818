//! Who the client is, told by proxies that are trusted.
//!
//! `X-Forwarded-For` is read from the right, one address for each trusted proxy, until the first that
//! is not trusted: that is the client. What an untrusted client sent is never believed.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::listener::Peer;

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Networks whose word about the client is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// The scheme that the client used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

/// The request as the client made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub ip: IpAddr,
    /// 0 where only a proxy knows it.
    pub port: u16,
    pub scheme: Scheme,
    /// The host and the port that a trusted proxy says the client asked for.
    pub host: Option<String>,
    pub server_port: Option<u16>,
    /// Whether the peer is a trusted proxy, so that its `X-Request-Id` and `traceparent` count too.
    pub trusted: bool,
}

impl Scheme {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl TrustedProxies {
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }
    pub fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }
}

impl Client {
    /// `scheme` is the one of the connection itself.
    pub fn of(headers: &HeaderMap, peer: &Peer, scheme: Scheme, trusted: &TrustedProxies) -> Self {
        let mut client =
            Self { ip: peer.ip(), port: peer.port(), scheme, host: None, server_port: None, trusted: false };
        // A Unix socket is reached by processes of this host that its file mode lets in.
        client.trusted = matches!(peer, Peer::Unix) || trusted.trusts(client.ip);
        if !client.trusted {
            return client;
        }
        if let Some(ip) = rightmost_untrusted(headers, trusted) {
            client.ip = ip;
            client.port = 0;
        }
        let proto = last(headers, &X_FORWARDED_PROTO);
        match proto.as_deref() {
            Some("https") => client.scheme = Scheme::Https,
            Some("http") => client.scheme = Scheme::Http,
            _ => {}
        }
        client.host = last(headers, &X_FORWARDED_HOST);
        client.server_port = last(headers, &X_FORWARDED_PORT).and_then(|port| port.parse().ok());
        client
    }
}

fn rightmost_untrusted(headers: &HeaderMap, trusted: &TrustedProxies) -> Option<IpAddr> {
    let mut nearest = None;
    let values: Vec<&str> =
        headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    for word in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        // What cannot be read ends the chain of trust: the last address that was read counts.
        let Some(ip) = parse_node(word.trim()) else { return nearest };
        nearest = Some(ip);
        if !trusted.trusts(ip) {
            break;
        }
    }
    nearest
}

/// An address with or without port or brackets, as proxies write it.
fn parse_node(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|ip| ip.to_canonical())
}

/// The value that the nearest proxy added.
fn last(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let word = value.rsplit(',').next()?.trim();
    (!word.is_empty()).then(|| word.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn client(peer: &str, fields: &[(&'static str, &str)]) -> Client {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let peer = Peer::Tcp { client: peer.parse().unwrap(), local: "10.0.0.1:80".parse().unwrap() };
        Client::of(&headers, &peer, Scheme::Http, &trusted)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let forged =
            [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
        let stranger = client("192.0.2.9:5", &forged);
        assert_eq!((stranger.ip.to_string().as_str(), stranger.port), ("192.0.2.9", 5));
        assert_eq!((stranger.scheme, stranger.host, stranger.trusted), (Scheme::Http, None, false));
        let through = client("10.0.0.2:5", &forged);
        assert_eq!((through.ip.to_string().as_str(), through.port), ("1.2.3.4", 0));
        assert_eq!((through.scheme, through.host.as_deref()), (Scheme::Https, Some("evil")));
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_a_trusted_proxy() {
        let cases = [
            ("1.1.1.1, 2.2.2.2", "2.2.2.2"),
            ("1.1.1.1, 2.2.2.2, 10.0.0.3", "2.2.2.2"),
            ("10.0.0.3, 10.0.0.4", "10.0.0.3"),
            ("1.1.1.1, garbage, 10.0.0.4", "10.0.0.4"),
            ("garbage", "10.0.0.2"),
            ("[2001:db8::1]:443, 10.1.1.1:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("", "10.0.0.2"),
        ];
        for (value, expected) in cases {
            assert_eq!(
                client("10.0.0.2:5", &[("x-forwarded-for", value)]).ip.to_string(),
                expected,
                "{value}"
            );
        }
        let two = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2, 10.0.0.9")];
        assert_eq!(client("[::1]:5", &two).ip.to_string(), "2.2.2.2");
    }
}
