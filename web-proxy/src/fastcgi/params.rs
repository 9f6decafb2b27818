//! A request as CGI parameters (RFC 3875, section 4.1, and what PHP expects beyond it).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use bytes::{BufMut as _, Bytes, BytesMut};
use common::fastcgi::Params;
use common::http::forwarded::Scheme;
use common::http::hop_by_hop;
use common::net::push_ip;
use http::Version;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
};

use crate::docroot::Docroot;
use crate::request::Received;
use crate::route::Script;

/// Where the site is, as the application sees it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The docroot in the application's file system, where that is another path.
    pub root: Option<PathBuf>,
    /// SERVER_NAME, instead of the request's host.
    pub server_name: Option<String>,
}

impl Place {
    /// What the application calls the docroot. Links in its path are resolved: after they are swapped an opcode
    /// cache knows the new scripts by their names.
    pub fn root<'a>(&'a self, docroot: &'a Docroot) -> &'a Path {
        self.root.as_deref().unwrap_or(docroot.path())
    }
}

const SOFTWARE: &str = concat!("web-proxy/", env!("CARGO_PKG_VERSION"));

/// Header fields that never become parameters, besides those of the connection:
/// `Proxy` would be taken for the environment's HTTP_PROXY (httpoxy, CVE-2016-5385), and the others steer
/// how a front sends files that the application names.
const DROPPED: [&str; 3] = ["proxy", "x-sendfile-type", "x-accel-mapping"];

/// `length` is the body's, if there is a body.
pub(super) fn params(request: &Received, script: &Script, length: Option<u64>, place: &Place) -> Params {
    let mut params = Params::with_capacity(request.headers.len() + 24);
    let root = place.root(&script.docroot).as_os_str().as_encoded_bytes();
    params.push("SCRIPT_FILENAME", [root, &script.name].concat());
    params.push("SCRIPT_NAME", script.name.clone());
    params.push("DOCUMENT_ROOT", root.to_vec());
    if !script.path_info.is_empty() {
        params.push("PATH_INFO", script.path_info.clone());
        params.push("PATH_TRANSLATED", [root, &script.path_info].concat());
    }
    params.push("REQUEST_METHOD", request.method.as_str().to_owned());
    params.push("REQUEST_URI", request.target().into_owned());
    params.push("QUERY_STRING", query(request, script));
    params.push("REQUEST_SCHEME", request.client.scheme.as_str());
    if request.client.scheme == Scheme::Https {
        params.push("HTTPS", "on");
    }

    params.push("REMOTE_ADDR", address(request.client.ip));
    if request.client.port != 0 {
        params.push("REMOTE_PORT", request.client.port.to_string());
    }
    let host = host(request);
    params.push("SERVER_NAME", place.server_name.clone().unwrap_or_else(|| name_of(&host)));
    let local = request.peer.local();
    params.push("SERVER_ADDR", local.map_or_else(|| "127.0.0.1".into(), |local| address(local.ip())));
    params.push("SERVER_PORT", request.port().to_string());
    params.push("SERVER_PROTOCOL", protocol(request.version));
    params.push("SERVER_SOFTWARE", SOFTWARE);
    params.push("GATEWAY_INTERFACE", "CGI/1.1");
    // PHP refuses to run without it when built with --enable-force-cgi-redirect.
    params.push("REDIRECT_STATUS", "200");

    if let Some(content_type) = request.headers.get(CONTENT_TYPE) {
        params.push("CONTENT_TYPE", Bytes::copy_from_slice(content_type.as_bytes()));
    }
    match length {
        Some(length) => params.push("CONTENT_LENGTH", length.to_string()),
        // No body, and the client has said so.
        None if request.headers.contains_key(CONTENT_LENGTH) => params.push("CONTENT_LENGTH", "0"),
        None => {}
    }
    params.push("HTTP_HOST", host);
    fields(&mut params, &request.headers);
    params
}

/// As `Display` has it, without its machinery.
fn address(ip: IpAddr) -> String {
    let mut text = String::with_capacity(15);
    push_ip(&mut text, ip);
    text
}

fn protocol(version: Version) -> Bytes {
    match version {
        Version::HTTP_11 => Bytes::from_static(b"HTTP/1.1"),
        Version::HTTP_10 => Bytes::from_static(b"HTTP/1.0"),
        other => format!("{other:?}").into(),
    }
}

/// The request's query, behind what a rule has put in front of it.
fn query(request: &Received, script: &Script) -> String {
    match (script.query.as_deref(), request.uri.query()) {
        (None, query) => query.unwrap_or_default().to_owned(),
        (Some(ours), None | Some("")) => ours.to_owned(),
        (Some(ours), Some(query)) => format!("{ours}&{query}"),
    }
}

/// The host that the client asked for; a trusted proxy's word counts more than the Host that it sent us.
fn host(request: &Received) -> String {
    let told = request.client.host.clone();
    told.or_else(|| request.host.as_ref().map(ToString::to_string))
        .unwrap_or_else(|| request.peer.local().map_or_else(|| "localhost".into(), |local| local.to_string()))
}

/// Without the port, in the one form that a name has (as Apache gives it).
fn name_of(host: &str) -> String {
    let name = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// `HTTP_*`. A name of anything but letters, digits and hyphens is dropped: with an underscore it would be
/// the same parameter as the one with a hyphen, which a proxy before us may have checked, and PHP makes an
/// underscore of a dot too.
fn fields(params: &mut Params, headers: &HeaderMap) {
    let of_the_connection: Vec<HeaderName> = hop_by_hop::listed(headers).collect();
    let skipped = |name: &HeaderName| {
        let text = name.as_str();
        !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            || DROPPED.contains(&text)
            || [CONTENT_TYPE, CONTENT_LENGTH, HOST, EXPECT].contains(name)
            || matches!(
                text,
                "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade"
            )
            // Nobody may make us drop what the application relies on.
            || (of_the_connection.contains(name) && ![AUTHORIZATION, COOKIE].contains(name))
    };
    for name in headers.keys().filter(|name| !skipped(name)) {
        let separator: &[u8] = if *name == COOKIE { b"; " } else { b", " };
        let value = joined(headers.get_all(name).iter(), separator);
        params.push(parameter_name(name), value);
    }
}

fn parameter_name(name: &HeaderName) -> Vec<u8> {
    let upper = name.as_str().bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
    b"HTTP_".iter().copied().chain(upper).collect()
}

/// Several fields of a name are one value (RFC 9110, section 5.2; for Cookie RFC 6265, section 5.4).
fn joined<'a>(mut values: impl Iterator<Item = &'a HeaderValue>, separator: &[u8]) -> Bytes {
    let first = values.next().map(HeaderValue::as_bytes).unwrap_or_default();
    let mut value = BytesMut::from(first);
    for next in values {
        value.put_slice(separator);
        value.put_slice(next.as_bytes());
    }
    value.freeze()
}

#[cfg(test)]
mod tests;
