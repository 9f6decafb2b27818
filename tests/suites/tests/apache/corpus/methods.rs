//! Other methods, bodies and request fields.

use super::Request;

/// One target of each sort.
const TARGETS: &[&str] = &[
    "/",
    "/index.php",
    "/index.php/x?a=b",
    "/update.php/selection",
    "/core/install.php",
    "/core/authorize.php",
    "/robots.txt",
    "/a.css",
    "/a.svg",
    "/drawing.svgz",
    "/zero.txt",
    "/large.bin",
    "/missing",
    "/missing?a=b",
    "/missing.css",
    "/favicon.ico",
    "/a.yml",
    "/a.php",
    "/modules/contrib/views/a.php",
    "/core",
    "/html/",
    "/html",
    "/empty/",
    "/install.php?a=b",
    "/.git/a.txt",
    "/.well-known/acme-challenge/a.txt",
    "/sites/default/files/a.txt",
    "/sites/default/files/a.php",
    "/sites/default/files/css/css_both.css",
    "/sites/default/files/js/js_both.js",
    "/sites/default/files/css/css_both.css.gz",
    "/sites/default/files/css/css_packed.css",
    "/sites/default/files/css/css_hollow.css",
    "/css_both.css?x=y",
    "/plain_both.css",
    "/sites/default/private/a.txt",
    "/index.php?respond=cached",
];

const METHODS: &[&str] = &[
    "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND", "MKCOL", "LOCK", "REPORT", "TRACE",
    "PURGE", "get", "NONSENSE",
];

const FIELDS: &[(&str, &str)] = &[
    ("If-None-Match", "{etag}"),
    ("If-None-Match", "W/{etag}"),
    ("If-None-Match", "\"other\", {etag}"),
    ("If-None-Match", "\"other\""),
    ("If-None-Match", "*"),
    ("If-Match", "{etag}"),
    ("If-Match", "\"other\""),
    ("If-Match", "*"),
    ("If-Modified-Since", "{modified}"),
    ("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"),
    ("If-Modified-Since", "Fri, 01 Jan 2038 00:00:00 GMT"),
    ("If-Modified-Since", "nonsense"),
    ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("If-Unmodified-Since", "{modified}"),
    ("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"),
    ("Range", "bytes=0-0"),
    ("Range", "bytes=2-5"),
    ("Range", "bytes=-3"),
    ("Range", "bytes=4-"),
    ("Range", "bytes=0-"),
    ("Range", "bytes=5-2"),
    ("Range", "bytes=9999999-"),
    ("Range", "bytes=-0"),
    ("Range", "bytes=0-1,4-5"),
    ("Range", "lines=0-1"),
    ("Range", "nonsense"),
    ("Accept-Encoding", "gzip"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Encoding", "br"),
    ("Accept-Encoding", "identity"),
    ("Accept-Encoding", "gzip;q=0"),
    ("Accept-Encoding", "*"),
    ("Accept-Encoding", "x-gzip"),
    ("Accept-Encoding", ""),
    ("Accept", "text/html;q=0.5, */*;q=0.1"),
    ("Accept-Language", "de, en;q=0.5"),
    ("Authorization", "Basic dXNlcjpwYXNz"),
    ("Authorization", "Bearer abc.def"),
    ("Authorization", "Negotiate x"),
    ("Cookie", "a=b; SESSabc=def"),
    ("Proxy", "http://evil.example"),
    ("proxy", "http://evil.example"),
    ("X_Forwarded_For", "198.51.100.1"),
    ("X.Forwarded.For", "198.51.100.1"),
    ("Content_Length", "5"),
    ("X-Forwarded-For", "198.51.100.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "other.example"),
    ("X-Forwarded-Port", "443"),
    ("Forwarded", "for=198.51.100.1;proto=https"),
    ("X-Real-IP", "198.51.100.1"),
    ("X-Request-Id", "abc"),
    ("X-Original-URL", "/admin"),
    ("X-Rewrite-URL", "/admin"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Requested-With", "XMLHttpRequest"),
    ("X-Sendfile-Type", "X-Accel-Redirect"),
    ("X-Accel-Mapping", "/=/"),
    ("HTTPS", "on"),
    ("Referer", "http://site.example/x"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("Origin", "http://other.example"),
    ("Cache-Control", "no-cache"),
    ("Pragma", "no-cache"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Te", "trailers"),
    ("Connection", "keep-alive, X-Secret"),
    ("Upgrade", "websocket"),
    ("Expect", "nonsense"),
    ("Content-Type", "text/plain"),
    ("Max-Forwards", "0"),
    ("Via", "1.1 proxy"),
    ("X-Empty", ""),
    ("X-Bytes", "\u{fc}"),
];

/// Two fields at once, where one has to win.
const PAIRS: &[[(&str, &str); 2]] = &[
    [("If-None-Match", "{etag}"), ("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")],
    [("If-None-Match", "\"other\""), ("If-Modified-Since", "{modified}")],
    [("If-Match", "{etag}"), ("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")],
    [("If-Match", "\"other\""), ("If-None-Match", "{etag}")],
    [("Range", "bytes=1-2"), ("If-Range", "{etag}")],
    [("Range", "bytes=1-2"), ("If-Range", "\"other\"")],
    [("Range", "bytes=1-2"), ("If-Range", "{modified}")],
    [("Range", "bytes=1-2"), ("If-Range", "Sat, 01 Jan 2000 00:00:00 GMT")],
    [("Range", "bytes=1-2"), ("If-None-Match", "{etag}")],
    [("Range", "bytes=1-2"), ("Accept-Encoding", "gzip")],
    [("If-None-Match", "{etag}"), ("Accept-Encoding", "gzip")],
    [("X-Twice", "a"), ("X-Twice", "b")],
    [("Cookie", "a=b"), ("Cookie", "c=d")],
    [("Accept", "text/html"), ("Accept", "image/webp")],
];

const HOSTS: &[&str] = &[
    "site.example:8080",
    "site.example:80",
    "SITE.example",
    "[::1]",
    "[::1]:8080",
    "127.0.0.1",
    "site.example.",
    "xn--bcher-kva.example",
    "under_score.example",
    "a b",
    "a/b",
    "user@site.example",
    "site.example:x",
    "site.example:99999",
    "",
];

const RESPONSES: &[&str] =
    &["missing", "redirect", "empty", "unchanged", "cookies", "cached", "error", "unavailable"];

pub(super) fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for target in TARGETS {
        for method in METHODS {
            requests.push(Request { method, ..Request::get(*target) });
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"] {
            let form = Request { method, body: b"name=value&other=%20", ..Request::get(*target) };
            requests.push(form.field("Content-Type", "application/x-www-form-urlencoded"));
        }
        for (name, value) in FIELDS {
            for method in ["GET", "HEAD"] {
                requests.push(Request { method, ..Request::get(*target) }.field(name, *value));
            }
        }
        for pair in PAIRS {
            let request = Request::get(*target);
            requests.push(pair.iter().fold(request, |request, (name, value)| request.field(name, *value)));
        }
    }
    for target in ["/", "/core", "/robots.txt", "/missing", "/install.php?a=b", "/html"] {
        for host in HOSTS {
            requests.push(Request::get(target).field("Host", *host));
        }
    }
    for target in ["/index.php", "/missing", "/update.php/x", "/core/authorize.php"] {
        for response in RESPONSES {
            for method in ["GET", "HEAD", "POST"] {
                let target = format!("{target}?respond={response}");
                requests.push(Request { method, ..Request::get(target) });
            }
        }
    }
    requests
}
