//! What the targets of edge-cache hold to be true of any bytes.

use std::borrow::Cow;

use common::rules::{Source, parameters};
use edge_cache::key::CacheKey;
use edge_cache::request::target::{QueryForm, QueryOrder, canonical};
use edge_cache::rules::{Preset, Rules};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, StatusCode};

/// A target has one form, which says what the target said: in a second pass nothing changes, and what has one
/// key decodes to one path and one list of parameters.
pub(crate) fn target(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let Ok(given) = PathAndQuery::from_maybe_shared(bytes::Bytes::copy_from_slice(data)) else { return };
    let order = if first & 1 == 0 { QueryOrder::Keep } else { QueryOrder::Sort };
    let strip: Vec<&str> = if first & 2 == 0 { vec![] } else { vec!["@tracking", "a"] };
    let form =
        QueryForm { order, strip: strip.iter().map(|name| name.parse().expect("a pattern")).collect() };
    let Ok(one) = canonical(&given, &form) else { return };
    assert_eq!(canonical(&one, &form).as_ref(), Ok(&one), "of {given}");
    if !given.as_str().starts_with('/') {
        return;
    }
    let segments: Vec<Vec<u8>> = one.path().split('/').skip(1).map(decoded).collect();
    assert_eq!(segments, resolved(given.path()), "{one} of {given}");
    let pairs = |target: &PathAndQuery| -> Vec<(Vec<u8>, Vec<u8>)> {
        let owned = |bytes: Cow<'_, [u8]>| bytes.into_owned();
        parameters(target.query().unwrap_or_default())
            .map(|(name, value)| (owned(name), owned(value)))
            .collect()
    };
    let (mut before, after) = (pairs(&given), pairs(&one));
    if !strip.is_empty() {
        before.retain(|(name, _)| !form.strip.iter().any(|strip| strip.matches(name)));
    }
    match order {
        QueryOrder::Keep => assert_eq!(after, before, "{one} of {given}"),
        QueryOrder::Sort => {
            for (name, _) in &before {
                let of_name = |pairs: &[(Vec<u8>, Vec<u8>)]| -> Vec<Vec<u8>> {
                    pairs.iter().filter(|pair| pair.0 == *name).map(|pair| pair.1.clone()).collect()
                };
                assert_eq!(of_name(&after), of_name(&before), "{one} of {given}");
            }
            assert_eq!(after.len(), before.len(), "{one} of {given}");
        }
    }
}

/// The segments of a path, decoded, with dot segments taken as RFC 3986 has them.
fn resolved(path: &str) -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> = path.split('/').skip(1).map(decoded).collect();
    let mut kept = Vec::new();
    for (at, segment) in all.iter().enumerate() {
        let is_dot = matches!(segment.as_slice(), b"." | b"..");
        if segment == b".." {
            kept.pop();
        }
        if !is_dot {
            kept.push(segment.clone());
        } else if at + 1 == all.len() {
            kept.push(Vec::new());
        }
    }
    kept
}

fn decoded(text: impl AsRef<str>) -> Vec<u8> {
    let text = text.as_ref().as_bytes();
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                out.push((digit(*high).unwrap_or_default() * 16 + digit(*low).unwrap_or_default()) as u8);
                tail
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out
}

/// Any text is rules or an error; rules are printed as the same rules; and whatever the request is, the key and
/// what goes to the origin stay one thing, and header fields legal.
pub(crate) fn rules(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, request) = text.split_once('\0').unwrap_or((&text, "GET /a?b=c\nCookie: d=e"));
    for preset in [Preset::None, Preset::Drupal] {
        let Ok(rules) = Rules::of(preset, Some(Source { name: "fuzz", text })) else { continue };
        let printed = rules.render();
        let again = Rules::of(Preset::None, Some(Source { name: "printed", text: printed }));
        assert_eq!(again.expect("what was printed is rules").render(), printed);

        let mut lines = request.lines();
        let (method, target) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or(("GET", "/"));
        let Ok(target) = target.parse::<PathAndQuery>() else { continue };
        let Ok(target) = canonical(&target, &QueryForm::default()) else { continue };
        if !target.as_str().starts_with('/') {
            continue;
        }
        let mut builder = Request::builder().method(method).uri(http::Uri::from(target.clone()));
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                builder = builder.header(name, value);
            }
        }
        let Ok(request) = builder.body(()) else { continue };
        let (mut head, ()) = request.into_parts();
        let Some(mut key) = CacheKey::of_url(&format!("http://site.example{target}")) else { continue };
        let (given, is_plain) = (key.clone(), head.method == "GET" && head.headers.is_empty());
        let orders = rules.apply(&mut head, &mut key, [0, 0, 0, 0].into());
        // What a plain GET is stored under is what invalidating its URL looks for.
        assert!(!is_plain || rules.key_of(&given) == key, "{key} of {given}");
        assert_eq!(
            key.host_and_target(),
            ("site.example", head.uri.path_and_query().map_or("", |target| target.as_str()))
        );
        let mut fields = HeaderMap::new();
        fields.insert("set-cookie", HeaderValue::from_static("a=b"));
        for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
            let wanted = orders.response(&rules, status, &fields);
            wanted.edit_stored(&mut wanted.seen(&fields).into_owned());
        }
    }
}
