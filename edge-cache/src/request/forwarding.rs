//! What this proxy says of a request to whoever it is sent to: the fields of [`FIELDS`]. A hit is sent to nobody, so
//! they are written when they are needed: for the origin, for rules that name one of them, and for stored responses
//! that vary on one.

use std::net::IpAddr;

use common::http::forwarded::{
    Client, FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO,
};
use common::http::request_id::X_REQUEST_ID;
use common::net::push_ip;
use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue, VIA};

use crate::key::CacheKey;

/// The fields that [`Forwarding::write`] sets or adds to.
pub const FIELDS: [HeaderName; 7] =
    [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PORT, FORWARDED, X_REQUEST_ID, VIA];

/// Whether `name` is one of [`FIELDS`].
pub fn sets(name: &str) -> bool {
    FIELDS.iter().any(|field| field == name)
}

/// What is not written yet.
#[derive(Debug, Clone)]
pub struct Forwarding {
    pub peer: IpAddr,
    /// Of the request as it came.
    pub version: Version,
}

/// What RFC 9110, section 7.6.3 asks of every proxy.
pub const OUR_VIA: HeaderValue = HeaderValue::from_static("1.1 edge-cache");
/// The same of a request that came over HTTP/2.
const OUR_VIA_HTTP2: HeaderValue = HeaderValue::from_static("2.0 edge-cache");

impl Forwarding {
    /// `key` has the host that was asked for, in its canonical form.
    pub fn write(&self, headers: &mut HeaderMap, client: &Client, key: &CacheKey, request_id: HeaderValue) {
        let host = key.host_and_target().0;
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port: u16 = client.server_port.or(port).unwrap_or(client.scheme.default_port());
        let mut address = String::with_capacity(40);
        push_ip(&mut address, self.peer);
        let proto = client.scheme.as_str();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(X_FORWARDED_PROTO, proto);
        set(X_FORWARDED_HOST, host);
        set(X_FORWARDED_PORT, itoa::Buffer::new().format(port));
        // RFC 7239: one element a proxy, added to those of proxies that are trusted.
        let (open, close) = if self.peer.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        let mut element = String::with_capacity(32 + address.len() + host.len());
        for part in ["for=", open, &address, close, ";host=\"", host, "\";proto=", proto] {
            element.push_str(part);
        }
        if let Ok(element) = HeaderValue::from_str(&element) {
            headers.append(FORWARDED, element);
        }
        if headers.contains_key(X_FORWARDED_FOR) {
            let before = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
            let all: Vec<&str> = before.chain([address.as_str()]).collect();
            address = all.join(", ");
        }
        if let Ok(value) = HeaderValue::from_str(&address) {
            headers.insert(X_FORWARDED_FOR, value);
        }
        headers.insert(X_REQUEST_ID, request_id);
        headers.append(VIA, if self.version == Version::HTTP_2 { OUR_VIA_HTTP2 } else { OUR_VIA });
    }
}
