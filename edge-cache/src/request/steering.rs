//! Fields that change what an application answers although they are no part of the key: from a client, one request
//! could change what everybody gets (practical web cache poisoning). The host, the scheme, the port and the client are
//! told by `X-Forwarded-*`, which are set anew; nothing else of the kind goes on.

use http::Method;
use http::header::{HeaderMap, HeaderName};

/// Removes them. What a trusted proxy says of the client stays: the four fields that are understood here, which are
/// keyed or merely informative.
pub fn strip(headers: &mut HeaderMap, method: &Method, trusted: bool) {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| is_refused(name, method, trusted)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether [`strip`] removes a field of this name.
pub fn is_refused(name: &HeaderName, method: &Method, trusted: bool) -> bool {
    match class(name.as_str()) {
        Class::Harmless => false,
        Class::Claim => !trusted,
        Class::Override => matches!(*method, Method::GET | Method::HEAD),
        Class::Steering => true,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Harmless,
    /// What only a proxy may say of a client.
    Claim,
    /// Another method in the place of the one that is seen here. A response to POST is not stored, and applications
    /// depend on it there (WordPress' editor deletes with `X-HTTP-Method-Override`).
    Override,
    Steering,
}

/// `name` in lower case, as `HeaderName` has it.
fn class(name: &str) -> Class {
    if name.contains('_') {
        // CGI makes one variable of `X-Original-URL` and `X_Original_URL`: no proxy writes the second.
        let dashed = name.replace('_', "-");
        return match class(&dashed) {
            Class::Harmless if is_framing(&dashed) => Class::Steering,
            Class::Claim => Class::Steering,
            other => other,
        };
    }
    match name {
        "forwarded"
        | "traceparent"
        | "tracestate"
        | "x-forwarded-for"
        | "x-forwarded-proto"
        | "x-forwarded-host"
        | "x-forwarded-port"
        | "x-real-ip"
        | "client-ip"
        | "true-client-ip"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "x-originating-ip"
        | "x-remote-ip"
        | "x-remote-addr"
        | "cf-connecting-ip"
        | "fastly-client-ip" => Class::Claim,
        "x-http-method" | "x-http-method-override" | "x-method-override" => Class::Override,
        // "proxy" is httpoxy (CVE-2016-5385).
        "proxy"
        | "base-url"
        | "front-end-https"
        | "http-url"
        | "request-uri"
        | "x-arr-ssl"
        | "x-backend-host"
        | "x-base-url"
        | "x-forwarded"
        | "x-host"
        | "x-host-override"
        | "x-http-destinationurl"
        | "x-http-host-override"
        | "x-https"
        | "x-override-url"
        | "x-proxy-host"
        | "x-proxy-url"
        | "x-request-uri"
        | "x-scheme"
        | "x-server-name"
        | "x-uri"
        | "x-url"
        | "x-url-scheme" => Class::Steering,
        _ if ["x-forwarded-", "x-original-", "x-rewrite-"].iter().any(|prefix| name.starts_with(prefix)) => {
            Class::Steering
        }
        _ => Class::Harmless,
    }
}

fn is_framing(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "cookie"
            | "authorization"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_goes_on_from_whom() {
        // Name, from a stranger with GET, from a trusted proxy with GET, from a stranger with POST.
        let cases = [
            ("accept", true, true, true),
            ("x-requested-with", true, true, true),
            ("x-forwarded-for", false, true, false),
            ("x-forwarded-proto", false, true, false),
            ("x-forwarded-host", false, true, false),
            ("x-forwarded-port", false, true, false),
            ("x-forwarded-prefix", false, false, false),
            ("x-forwarded-server", false, false, false),
            ("x-forwarded-scheme", false, false, false),
            ("x-forwarded-ssl", false, false, false),
            ("x_forwarded_host", false, false, false),
            ("forwarded", false, true, false),
            ("traceparent", false, true, false),
            ("x-real-ip", false, true, false),
            ("x-host", false, false, false),
            ("x-original-url", false, false, false),
            ("x_original_url", false, false, false),
            ("x-original_url", false, false, false),
            ("x-rewrite-url", false, false, false),
            ("x-http-method-override", false, false, true),
            ("x-method-override", false, false, true),
            ("content_length", false, false, false),
            ("transfer_encoding", false, false, false),
            ("my_field", true, true, true),
            ("proxy", false, false, false),
        ];
        let goes_on = |name: &'static str, method: Method, trusted: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), "x".parse().unwrap());
            strip(&mut headers, &method, trusted);
            !headers.is_empty()
        };
        for (name, stranger, proxy, post) in cases {
            assert_eq!(goes_on(name, Method::GET, false), stranger, "{name} of a stranger");
            assert_eq!(goes_on(name, Method::HEAD, false), stranger, "{name} of a stranger");
            assert_eq!(goes_on(name, Method::GET, true), proxy, "{name} of a proxy");
            assert_eq!(goes_on(name, Method::POST, false), post, "{name} with POST");
        }
    }
}
