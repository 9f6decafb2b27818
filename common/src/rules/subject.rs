use std::borrow::Cow;
use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode;

/// What matchers look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub method: &'a Method,
    /// `http` or `https`
    pub scheme: &'a str,
    /// In lower case and without a port.
    pub host: &'a str,
    /// As [`decoded_path`] gives it.
    pub path: &'a [u8],
    /// As it stands in the request.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub client: IpAddr,
}

/// The path as the strictest application understands it: decoded once, without empty segments and without dot
/// segments. A rule for `/admin/**` must not be got round by `//admin/`, `/x/%2e%2e/admin/` or `/%61dmin/`.
pub fn decoded_path(path: &str) -> Cow<'_, [u8]> {
    let decoded: Cow<'_, [u8]> = percent_decode(path.as_bytes()).into();
    let is_plain =
        |path: &[u8]| path.windows(2).all(|pair| pair != b"//" && pair != b"/.") && !path.contains(&b'\\');
    if is_plain(&decoded) {
        return decoded;
    }
    let mut plain: Vec<u8> = Vec::with_capacity(decoded.len());
    // A backslash is a slash to some applications, and to none part of a name.
    let mut segments = decoded.split(|byte| matches!(byte, b'/' | b'\\')).skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"" | b"." => {}
            b".." => plain.truncate(plain.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                plain.push(b'/');
                plain.extend_from_slice(name);
                continue;
            }
        }
        if segments.peek().is_none() {
            plain.push(b'/');
        }
    }
    Cow::Owned(plain)
}

/// The query's parameters as a form's are read: pairs at `&`, `+` is a space, percent signs are decoded.
pub fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decoded(name), form_decoded(value))
    })
}

fn form_decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('+') {
        return percent_decode(text.as_bytes()).into();
    }
    Cow::Owned(percent_decode(text.replace('+', " ").as_bytes()).collect())
}

/// Names and values of all cookies (RFC 6265, section 5.4).
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).filter_map(
        |pair| {
            let pair = pair.trim_ascii();
            let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let (name, value) = pair.split_at(end);
            (!pair.is_empty()).then(|| (name.trim_ascii_end(), value.strip_prefix(b"=").unwrap_or(value)))
        },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            ("/a/b", "/a/b"),
            ("/", "/"),
            ("/%61dmin/x", "/admin/x"),
            ("//admin///x", "/admin/x"),
            ("/x/../admin/", "/admin/"),
            ("/x/%2e%2e/admin", "/admin"),
            ("/x%2f..%2Fadmin", "/admin"),
            ("/../..", "/"),
            ("/x/.", "/x/"),
            ("/x/..", "/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/x\\admin", "/x/admin"),
            ("/x%5cadmin", "/x/admin"),
            ("/100%", "/100%"),
            ("/%252e", "/%2e"),
        ];
        for (path, expected) in cases {
            assert_eq!(String::from_utf8_lossy(&decoded_path(path)), expected, "{path}");
        }
        assert!(matches!(decoded_path("/a/b.c"), Cow::Borrowed(_)));
    }

    #[test]
    fn parameters_are_decoded_as_a_form() {
        let text = |query| -> Vec<(String, String)> {
            let string = |bytes: Cow<'_, [u8]>| String::from_utf8(bytes.into_owned()).unwrap();
            parameters(query).map(|(name, value)| (string(name), string(value))).collect()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            text("a=1&b&c=x+y%2B&&%61=2=3"),
            [pair("a", "1"), pair("b", ""), pair("c", "x y+"), pair("a", "2=3")]
        );
        assert_eq!(text(""), []);
    }

    #[test]
    fn all_cookies_of_all_fields() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; b ; =x;".parse().unwrap());
        headers.append(COOKIE, "c=d=e".parse().unwrap());
        let found: Vec<(&[u8], &[u8])> = cookies(&headers).collect();
        assert_eq!(found, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"", b"x"), (b"c", b"d=e")]);
    }
}
