use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use common::fastcgi::Params;
use common::rules::{Subject, decoded_path};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A request's parameters as rules look at them.
pub(super) struct Request<'a> {
    method: Method,
    scheme: &'static str,
    host: String,
    path: Cow<'a, [u8]>,
    query: Cow<'a, str>,
    headers: HeaderMap,
    client: IpAddr,
}

impl<'a> Request<'a> {
    /// What is missing or malformed is empty, or what it usually is. Without `fields` so are header fields and the client,
    /// which no rule looks at then.
    pub(super) fn of(params: &'a Params, fields: bool) -> Self {
        let text =
            |name: &str| params.get(name).map(|value| String::from_utf8_lossy(value)).unwrap_or_default();
        let is_https = params.get("HTTPS").is_some_and(|value| !value.is_empty() && &**value != b"off");
        let host = text("HTTP_HOST").to_ascii_lowercase();
        let host = match host.rfind(':') {
            Some(colon) if !host[colon..].contains(']') => host[..colon].to_owned(),
            _ => host,
        };
        let path = match params.get("REQUEST_URI").and_then(|uri| std::str::from_utf8(uri).ok()) {
            Some(uri) => decoded_path(uri.split('?').next().unwrap_or_default()),
            None => Cow::Borrowed(params.get("SCRIPT_NAME").map(|name| &**name).unwrap_or_default()),
        };
        Self {
            method: text("REQUEST_METHOD").parse().unwrap_or(Method::GET),
            scheme: if is_https { "https" } else { "http" },
            host,
            path,
            query: text("QUERY_STRING"),
            headers: if fields { headers(params) } else { HeaderMap::new() },
            client: fields
                .then(|| text("REMOTE_ADDR").parse().ok())
                .flatten()
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        }
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            method: &self.method,
            scheme: self.scheme,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            client: self.client,
        }
    }
}

/// `HTTP_*` as the fields that they were.
fn headers(params: &Params) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in params.iter() {
        let Some(name) = name.strip_prefix(b"HTTP_") else { continue };
        let name: Vec<u8> =
            name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }).collect();
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&name), HeaderValue::from_maybe_shared(value.clone()))
        else {
            continue;
        };
        // More than a map can hold are more than a rule looks at.
        let _ = headers.try_append(name, value);
    }
    headers
}
