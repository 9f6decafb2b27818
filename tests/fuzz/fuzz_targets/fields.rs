//! What edge-cache's readings of header fields hold to be true of any bytes.

use std::time::{Duration, SystemTime};

use edge_cache::invalidate::groups;
use edge_cache::policy::cache_control::{CacheControl, Delta};
use edge_cache::policy::date;
use edge_cache::policy::freshness::Freshness;
use edge_cache::policy::language;
use edge_cache::policy::part::{Asked, Part};
use edge_cache::policy::storable::storable;
use edge_cache::policy::targeted::{self, CDN_CACHE_CONTROL};
use edge_cache::policy::vary::Selector;
use http::header::{ACCEPT_LANGUAGE, AGE, CACHE_CONTROL, EXPIRES, HeaderName, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// `Cache-Control` and `CDN-Cache-Control`, a NUL between their lines; the first byte says which line is which.
///
/// Cache-Control without quotes means what an oracle of three lines says. A targeted field counts alone or not at
/// all. What is forbidden to be stored is not, and no number makes a lifetime longer than the longest.
pub(crate) fn cache_control(data: &[u8]) {
    let Some((&which, data)) = data.split_first() else { return };
    let mut headers = HeaderMap::new();
    for (at, line) in data.split(|byte| *byte == 0).enumerate().take(8) {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        let is_targeted = which >> at & 1 == 1;
        headers.append(if is_targeted { CDN_CACHE_CONTROL } else { CACHE_CONTROL }, value);
    }
    let plain = CacheControl::of(&headers);
    oracle(&headers, &plain);
    let directives = targeted::directives(&headers, &[CDN_CACHE_CONTROL]);
    if directives.is_targeted {
        let mut alone = HeaderMap::new();
        alone.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, private, max-age=1"));
        for value in headers.get_all(CDN_CACHE_CONTROL) {
            alone.append(CDN_CACHE_CONTROL, value.clone());
        }
        assert_eq!(targeted::directives(&alone, &[CDN_CACHE_CONTROL]), directives);
    } else {
        assert_eq!(directives, plain);
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31);
    let freshness = Freshness::of(StatusCode::OK, &headers, &directives, now, now);
    assert!(freshness.lifetime <= Duration::from_secs(1 << 31));
    let stays = storable(&Method::GET, &HeaderMap::new(), StatusCode::OK, &headers, &directives, &freshness);
    if directives.no_store && !directives.must_understand || directives.private {
        assert!(stays.is_err());
    }
    // Whoever forbids it at the end forbids it, whatever stands before.
    headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assert!(CacheControl::of(&headers).no_store);
}

/// Splits at commas, which is right where there are no quotes.
fn oracle(headers: &HeaderMap, directives: &CacheControl) {
    let lines: Vec<&[u8]> = headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect();
    let text = lines.join(&b","[..]);
    if text.contains(&b'"') {
        return;
    }
    let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let elements: Vec<&str> = text.split(',').map(|element| element.trim_matches([' ', '\t'])).collect();
    let is_there = |name: &str| {
        let with_argument = format!("{name}=");
        elements.iter().any(|element| *element == name || element.starts_with(&with_argument))
    };
    assert_eq!(directives.no_store, is_there("no-store"), "{text}");
    assert_eq!(directives.public, is_there("public"), "{text}");
    assert_eq!(directives.must_revalidate, is_there("must-revalidate"), "{text}");
    let first = elements
        .iter()
        .find_map(|element| if *element == "max-age" { Some("") } else { element.strip_prefix("max-age=") });
    let expected = first.map(|number| {
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_number {
            Delta::Seconds(number.parse().unwrap_or(u64::MAX).min(1 << 31))
        } else {
            Delta::Invalid
        }
    });
    assert_eq!(directives.max_age, expected, "{text}");
}

/// Dates, ages, languages, groups and ranges, a NUL between them: no bytes make us panic, one form of a language
/// list stays that form, and an answer from a part lies within it.
pub(crate) fn fields(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == 0);
    let mut next = || HeaderValue::from_bytes(lines.next().unwrap_or_default()).ok();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
    if let Some(text) = next() {
        if let Some(time) = date::parse(text.as_bytes(), now)
            && let Ok(since) = time.duration_since(SystemTime::UNIX_EPOCH)
            && since < Duration::from_hours(70_389_528)
        {
            // As it would be written now, it means the same.
            let seconds = since.as_secs();
            let written = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(date::parse(written.as_bytes(), now), Some(time));
        }
        for name in [AGE, EXPIRES] {
            let headers = HeaderMap::from_iter([(name, text.clone())]);
            let freshness = Freshness::of(StatusCode::OK, &headers, &CacheControl::default(), now, now);
            let _ = (freshness.age(now), freshness.ttl(now));
        }
    }
    if let Some(text) = next() {
        let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, text)]);
        let vary = HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept-language"))]);
        assert!(Selector::of(&headers, &vary, |_| false).as_ref().matches(&headers));
        if let Some(canonical) = language::canonical(&headers) {
            let text = String::from_utf8_lossy(&canonical).replace(';', ";q=0.");
            // "en;500" stands for a weight of 0.500.
            let padded: Vec<String> = text.split(',').map(padded).collect();
            let Ok(value) = HeaderValue::from_str(&padded.join(",")) else { panic!("{text}") };
            let again = HeaderMap::from_iter([(ACCEPT_LANGUAGE, value)]);
            assert_eq!(language::canonical(&again).as_ref(), Some(&canonical));
        }
    }
    if let Some(text) = next() {
        let name = HeaderName::from_static("cache-group-invalidation");
        let _ = groups::named(&HeaderMap::from_iter([(name, text)]));
    }
    if let Some(text) = next()
        && let Some(part) = Part::parse(text.as_bytes())
    {
        let held = data.len() as u64;
        let seed = u64::from_le_bytes(std::array::from_fn(|at| data.get(at).copied().unwrap_or_default()));
        for asked in [Asked::Between(seed % 64, seed % 97), Asked::From(seed), Asked::Last(seed % 64)] {
            if let Some(cut) = part.cut(asked, held) {
                assert!(cut.bytes.start < cut.bytes.end && cut.bytes.end <= held);
            }
        }
    }
}

/// A weight's thousandths with three digits.
fn padded(range: &str) -> String {
    match range.split_once(";q=0.") {
        Some((range, weight)) => format!("{range};q=0.{weight:0>3}"),
        None => range.to_owned(),
    }
}
