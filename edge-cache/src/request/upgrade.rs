//! Whether a request asks for another protocol on its connection (RFC 9110, section 7.8).

use common::http::hop_by_hop;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Version, request};
use hyper::upgrade::OnUpgrade;

use crate::server::OpenConnection;

/// What a client asks to change to.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// In the order of the client's preference.
    pub protocols: HeaderValue,
    /// The client's connection, once it has been answered with 101.
    pub client: OnUpgrade,
    /// Keeps the connection counted for as long as it is open.
    pub connection: Option<OpenConnection>,
}

impl Upgrade {
    /// Takes it out of a request's head; to be called before the fields of the connection are removed.
    pub fn of(head: &mut request::Parts) -> Option<Self> {
        if head.version < Version::HTTP_11 || !head.headers.contains_key(UPGRADE) {
            return None;
        }
        let client = head.extensions.remove::<OnUpgrade>()?;
        let connection = head.extensions.remove::<OpenConnection>();
        hop_by_hop::listed(&head.headers).find(|option| option == UPGRADE)?;
        let protocols = wanted(&head.headers)?;
        Some(Self { protocols, client, connection })
    }

    /// Adds what makes a message one about this upgrade.
    pub fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocols.clone());
    }

    /// The protocol that the origin has changed to, if it is one that was asked for.
    pub fn chosen(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut chosen = headers.get_all(UPGRADE).iter();
        let protocol = chosen.next().filter(|_| chosen.next().is_none())?;
        let is_asked = protocols(&self.protocols)
            .any(|asked| asked.eq_ignore_ascii_case(protocol.as_bytes().trim_ascii()));
        is_asked.then(|| protocol.clone())
    }
}

/// Those of the protocols asked for that may be tunnelled.
fn wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    let all = headers.get_all(UPGRADE).iter().flat_map(protocols);
    let kept: Vec<&[u8]> = all.filter(|protocol| !carries_requests(protocol)).collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept.join(&b", "[..])).ok()
}

fn protocols(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|protocol| !protocol.is_empty())
}

/// HTTP within the tunnel would reach the origin past the cache and its rules (request smuggling by h2c).
fn carries_requests(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    ["h2c", "h2", "h3", "http", "tls"].iter().any(|refused| name.eq_ignore_ascii_case(refused.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_may_be_tunnelled() {
        let cases = [
            (&["websocket"][..], Some("websocket")),
            (&["WebSocket"], Some("WebSocket")),
            (&["a/1, websocket"], Some("a/1, websocket")),
            (&["a", "b , c"], Some("a, b, c")),
            (&["h2c"], None),
            (&["H2C, websocket"], Some("websocket")),
            (&["websocket", "h2c"], Some("websocket")),
            (&["HTTP/2.0, TLS/1.0"], None),
            (&[" , "], None),
            (&[""], None),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(UPGRADE, field.parse().unwrap());
            }
            let wanted = wanted(&headers);
            assert_eq!(wanted.as_ref().map(|value| value.to_str().unwrap()), expected, "{fields:?}");
        }
    }
}
