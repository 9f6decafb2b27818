#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use common::http::forwarded::TrustedProxies;
use common::listener::Peer;
use http::Request;

use super::*;

struct Sent<'a> {
    method: &'a str,
    uri: &'a str,
    fields: &'a [(&'a str, &'a str)],
    peer: &'a str,
    script: (&'a str, &'a str),
    length: Option<u64>,
}

const SENT: Sent<'_> = Sent {
    method: "GET",
    uri: "/",
    fields: &[("host", "site.example")],
    peer: "192.0.2.1:4711",
    script: ("/index.php", ""),
    length: None,
};

fn of(sent: &Sent<'_>) -> impl Fn(&str) -> Option<String> + use<> {
    let mut request = Request::builder().method(sent.method).uri(sent.uri);
    for (name, value) in sent.fields {
        request = request.header(*name, *value);
    }
    let head = request.body(()).unwrap().into_parts().0;
    let peer = Peer::Tcp { client: sent.peer.parse().unwrap(), local: "10.0.0.1:8080".parse().unwrap() };
    let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let request = Received::of(head, peer, Scheme::Http, &trusted).unwrap();
    let (name, path_info) = (sent.script.0.into(), sent.script.1.into());
    let docroot = Docroot::open(Path::new("/"), false).unwrap().into();
    let script = Script { docroot, name, path_info, query: None, on_demand: false };
    let place = Place { root: Some("/srv/web".into()), server_name: None };
    let params = params(&request, &script, sent.length, &place);
    move |name| params.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn check(sent: &Sent<'_>, expected: &[(&str, Option<&str>)]) {
    let param = of(sent);
    for (name, value) in expected {
        assert_eq!(param(name).as_deref(), *value, "{name} of {}", sent.uri);
    }
}

#[test]
fn a_plain_request() {
    check(
        &Sent { uri: "/node/1?a=b&c=%20", ..SENT },
        &[
            ("SCRIPT_FILENAME", Some("/srv/web/index.php")),
            ("SCRIPT_NAME", Some("/index.php")),
            ("DOCUMENT_ROOT", Some("/srv/web")),
            ("PATH_INFO", None),
            ("PATH_TRANSLATED", None),
            ("REQUEST_METHOD", Some("GET")),
            ("REQUEST_URI", Some("/node/1?a=b&c=%20")),
            ("QUERY_STRING", Some("a=b&c=%20")),
            ("REQUEST_SCHEME", Some("http")),
            ("HTTPS", None),
            ("REMOTE_ADDR", Some("192.0.2.1")),
            ("REMOTE_PORT", Some("4711")),
            ("SERVER_NAME", Some("site.example")),
            ("SERVER_ADDR", Some("10.0.0.1")),
            ("SERVER_PORT", Some("80")),
            ("SERVER_PROTOCOL", Some("HTTP/1.1")),
            ("GATEWAY_INTERFACE", Some("CGI/1.1")),
            ("REDIRECT_STATUS", Some("200")),
            ("HTTP_HOST", Some("site.example")),
            ("CONTENT_LENGTH", None),
            ("CONTENT_TYPE", None),
        ],
    );
}

#[test]
fn path_info_and_body() {
    let named = [("host", "Site.Example.:8080")];
    check(
        &Sent { fields: &named, ..SENT },
        &[("SERVER_NAME", Some("site.example")), ("HTTP_HOST", Some("Site.Example.:8080"))],
    );
    let fields = [("host", "[::1]:8080"), ("content-type", "text/x"), ("content-length", "5")];
    check(
        &Sent {
            method: "POST",
            uri: "/update.php/a%20b",
            fields: &fields,
            script: ("/update.php", "/a b"),
            length: Some(5),
            ..SENT
        },
        &[
            ("SCRIPT_FILENAME", Some("/srv/web/update.php")),
            ("PATH_INFO", Some("/a b")),
            ("PATH_TRANSLATED", Some("/srv/web/a b")),
            ("REQUEST_URI", Some("/update.php/a%20b")),
            ("QUERY_STRING", Some("")),
            ("CONTENT_TYPE", Some("text/x")),
            ("CONTENT_LENGTH", Some("5")),
            ("HTTP_CONTENT_TYPE", None),
            ("HTTP_CONTENT_LENGTH", None),
            ("SERVER_NAME", Some("[::1]")),
            ("SERVER_PORT", Some("8080")),
        ],
    );
}

#[test]
fn header_fields() {
    let fields = [
        ("host", "site.example"),
        ("accept", "a"),
        ("accept", "b"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("authorization", "Basic x"),
        ("proxy", "http://evil"),
        ("x_forwarded_for", "1.2.3.4"),
        ("x-forwarded.proto", "https"),
        ("x-odd~name", "1"),
        ("x-sendfile-type", "X-Accel-Redirect"),
        ("connection", "x-hop, authorization"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("x-plain", ""),
    ];
    check(
        &Sent { fields: &fields, ..SENT },
        &[
            ("HTTP_ACCEPT", Some("a, b")),
            ("HTTP_COOKIE", Some("a=1; b=2")),
            ("HTTP_AUTHORIZATION", Some("Basic x")),
            ("HTTP_PROXY", None),
            ("HTTP_X_FORWARDED_FOR", None),
            ("HTTP_X_FORWARDED.PROTO", None),
            ("HTTP_X_ODD~NAME", None),
            ("HTTP_X_SENDFILE_TYPE", None),
            ("HTTP_CONNECTION", None),
            ("HTTP_X_HOP", None),
            ("HTTP_TE", None),
            ("HTTP_X_PLAIN", Some("")),
        ],
    );
}

#[test]
fn what_a_trusted_proxy_says() {
    let fields = [
        ("host", "internal:8080"),
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "site.example"),
        ("x-forwarded-port", "8443"),
        ("x-request-id", "abc"),
    ];
    check(
        &Sent { peer: "10.0.0.9:1", fields: &fields, ..SENT },
        &[
            ("REMOTE_ADDR", Some("198.51.100.7")),
            ("REMOTE_PORT", None),
            ("HTTPS", Some("on")),
            ("REQUEST_SCHEME", Some("https")),
            ("SERVER_PORT", Some("8443")),
            ("SERVER_NAME", Some("site.example")),
            ("HTTP_HOST", Some("site.example")),
            ("HTTP_X_REQUEST_ID", Some("abc")),
            ("HTTP_X_FORWARDED_PROTO", Some("https")),
        ],
    );
    check(
        &Sent { fields: &fields, ..SENT },
        &[
            ("REMOTE_ADDR", Some("192.0.2.1")),
            ("HTTPS", None),
            ("SERVER_PORT", Some("8080")),
            ("HTTP_HOST", Some("internal:8080")),
            ("HTTP_X_FORWARDED_PROTO", None),
        ],
    );
}
