//! What this proxy says of a request to whoever it is sent to: the fields of [`FIELDS`]. A hit is sent to nobody, so
//! they are written when they are needed: for the origin, for rules that name one of them, and for stored responses
//! that vary on one.

use std::net::IpAddr;

use common::http::forwarded::{
    Client, FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO,
};
use common::http::request_id::X_REQUEST_ID;
use common::net::push_ip;
use http::header::{HeaderMap, HeaderName, HeaderValue, VIA};

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
    /// In its canonical form.
    pub host: String,
    pub port: u16,
    pub via: HeaderValue,
}

impl Forwarding {
    pub fn write(&self, headers: &mut HeaderMap, client: &Client, request_id: &HeaderValue) {
        let mut address = String::with_capacity(40);
        push_ip(&mut address, self.peer);
        let proto = client.scheme.as_str();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(X_FORWARDED_PROTO, proto);
        set(X_FORWARDED_HOST, &self.host);
        set(X_FORWARDED_PORT, itoa::Buffer::new().format(self.port));
        // RFC 7239: one element a proxy, added to those of proxies that are trusted.
        let (open, close) = if self.peer.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        let mut element = String::with_capacity(32 + address.len() + self.host.len());
        for part in ["for=", open, &address, close, ";host=\"", &self.host, "\";proto=", proto] {
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
        headers.insert(X_REQUEST_ID, request_id.clone());
        headers.append(VIA, self.via.clone());
    }
}
