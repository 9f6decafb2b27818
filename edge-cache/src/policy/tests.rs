#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method, StatusCode};
use proptest::prelude::*;

use super::cache_control::{CacheControl, Delta};
use super::freshness::{Freshness, Source};
use super::reuse::{Failure, Reuse, StaleLimits, StoredTerms, Why, reuse, stale_after};
use super::storable::{NotStored, storable};
use super::update;
use super::vary::{self, Selector};

fn headers(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.trim().parse().unwrap());
    }
    headers
}

fn directives(text: &str) -> CacheControl {
    CacheControl::of(&headers(&format!("cache-control: {text}")))
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(at(seconds))
}

#[test]
fn max_age_as_it_is_written() {
    let seconds = |n| Some(Delta::Seconds(n));
    let cases = [
        ("max-age=60", seconds(60)),
        ("MAX-AGE=60", seconds(60)),
        ("max-age=\"60\"", seconds(60)),
        ("max-age=003600", seconds(3600)),
        ("max-age=99999999999999999999999", seconds(2_147_483_648)),
        ("max-age=1, max-age=2", seconds(1)),
        ("foo=\"max-age=3600, bar\", max-age=1", seconds(1)),
        ("foo=\"a\\\"max-age=3600, bar\", max-age=1", seconds(1)),
        ("max-age=-1", Some(Delta::Invalid)),
        ("max-age=1.5", Some(Delta::Invalid)),
        ("max-age='60'", Some(Delta::Invalid)),
        ("max-age=60s", Some(Delta::Invalid)),
        ("max-age=", Some(Delta::Invalid)),
        ("max-age", Some(Delta::Invalid)),
        ("max-age =60", None),
        ("x-max-age=60", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(directives(text).max_age, expected, "{text}");
    }
}

#[test]
fn directives_with_and_without_field_names() {
    assert!(directives("no-cache").no_cache && directives("a, , Private").private);
    let named = directives("private=\"Set-Cookie, x-a\", no-cache=x-b");
    assert!(!named.private && !named.no_cache);
    assert_eq!(named.withheld_fields, ["set-cookie", "x-a", "x-b"]);
    assert!(directives("no-cache=\"\"").no_cache, "an empty list names nothing, so it is about everything");
    assert_eq!(directives("max-stale").max_stale, Some(Delta::Seconds(2_147_483_648)));
}

#[test]
fn lifetimes() {
    let expires = |from, to| format!("date: {}\nexpires: {}", date(from), date(to));
    let modified = format!("date: {}\nlast-modified: {}", date(1000), date(0));
    let cases = [
        (200, "cache-control: s-maxage=5, max-age=9".into(), 5, Source::SMaxage),
        (200, "cache-control: max-age=9\nexpires: Sun, 19 Nov 1978 05:00:00 GMT".into(), 9, Source::MaxAge),
        (200, expires(0, 60), 60, Source::Expires),
        (200, expires(60, 0), 0, Source::Expires),
        (200, "expires: 0".into(), 0, Source::Expires),
        (200, format!("{}\nexpires: 0", expires(0, 60)), 0, Source::Expires),
        (200, modified.clone(), 100, Source::Heuristic),
        (404, modified.clone(), 100, Source::Heuristic),
        (403, modified.clone(), 0, Source::None),
        (599, format!("{modified}\ncache-control: public"), 100, Source::Heuristic),
        (200, "x: y".into(), 0, Source::None),
        (200, "cache-control: max-age=9\nage: x".into(), 9, Source::MaxAge),
    ];
    for (status, text, lifetime, source) in cases {
        let headers = headers(&text);
        let status = StatusCode::from_u16(status).unwrap();
        let now = at(1000);
        let freshness = Freshness::of(status, &headers, &CacheControl::of(&headers), now, now);
        assert_eq!((freshness.lifetime.as_secs(), freshness.source), (lifetime, source), "{status} {text}");
    }
}

#[test]
fn ages() {
    let text = |age: &str, day: u64| headers(&format!("date: {}\n{age}", date(day)));
    // (headers, request and arrival, age on arrival)
    let cases = [
        (text("age: 0", 100), 100, 100, 0),
        (text("age: 30", 100), 100, 100, 30),
        (text("age: 30", 100), 98, 100, 32),
        (text("age: 0", 60), 100, 100, 40),
        (text("age: 50", 60), 100, 100, 50),
        (text("age: 0", 160), 100, 100, 0),
        (headers("age: 7"), 100, 100, 7),
        (text("age: 30, 0", 100), 100, 100, 30),
        (text("age: 30\nage: 0", 100), 100, 100, 30),
        (text("age: 0,30", 100), 100, 100, 0),
        (text("age: 0\nage: 30", 100), 100, 100, 0),
        (text("age: -30", 100), 100, 100, 0),
        (text("age: 30.0", 100), 100, 100, 0),
        (text("age: x, 30", 60), 100, 100, 40),
        (text("age: 99999999999999999999", 100), 100, 100, 2_147_483_648),
    ];
    for (headers, requested, received, expected) in cases {
        let directives = CacheControl::default();
        let freshness = Freshness::of(StatusCode::OK, &headers, &directives, at(requested), at(received));
        assert_eq!(freshness.initial_age.as_secs(), expected, "{headers:?}");
        assert_eq!(freshness.age(at(received + 5)).as_secs(), expected + 5);
    }
}

fn store(status: u16, request: &str, response: &str) -> Result<(), NotStored> {
    let (request, response) = (headers(request), headers(response));
    let status = StatusCode::from_u16(status).unwrap();
    let directives = CacheControl::of(&response);
    let freshness = Freshness::of(status, &response, &directives, at(0), at(0));
    storable(&Method::GET, &request, status, &response, &directives, &freshness)
}

#[test]
fn what_is_stored() {
    let cases = [
        (200, "", "cache-control: max-age=1", Ok(())),
        (200, "", "cache-control: public, no-cache\netag: \"a\"", Ok(())),
        (200, "", "etag: \"a\"", Ok(())),
        (200, "", "cache-control: max-age=0", Err(NotStored::Useless)),
        (200, "", "content-type: text/html", Err(NotStored::Useless)),
        (200, "", "cache-control: max-age=1, no-store", Err(NotStored::NoStore)),
        (200, "", "cache-control: max-age=1, no-store, must-understand", Ok(())),
        (299, "", "cache-control: max-age=1, must-understand", Err(NotStored::Status)),
        (200, "", "cache-control: max-age=1, private", Err(NotStored::Private)),
        (200, "", "cache-control: max-age=1, private=\"x-a\"", Ok(())),
        (200, "cache-control: no-store", "cache-control: max-age=1", Err(NotStored::RequestNoStore)),
        (200, "authorization: x", "cache-control: max-age=1", Err(NotStored::Authorization)),
        (200, "authorization: x", "cache-control: max-age=1, public", Ok(())),
        (200, "authorization: x", "cache-control: s-maxage=1", Ok(())),
        (200, "authorization: x", "cache-control: max-age=1, must-revalidate", Ok(())),
        (200, "", "cache-control: max-age=1\nset-cookie: a=b", Err(NotStored::SetCookie)),
        (200, "", "cache-control: max-age=1, private=set-cookie\nset-cookie: a=b", Ok(())),
        (200, "", "cache-control: max-age=1\nvary: a, *", Err(NotStored::VaryStar)),
        (
            200,
            "",
            "cache-control: max-age=1\nsurrogate-control: no-store, content=\"BigPipe/1.0\"",
            Err(NotStored::SurrogateNoStore),
        ),
        (206, "", "cache-control: max-age=1", Err(NotStored::Status)),
        (304, "", "cache-control: max-age=1", Err(NotStored::Status)),
        (302, "", "cache-control: max-age=1", Ok(())),
        (302, "", "etag: \"a\"", Err(NotStored::Useless)),
        (404, "", "cache-control: max-age=1", Ok(())),
        (500, "", "cache-control: max-age=1", Ok(())),
    ];
    for (status, request, response, expected) in cases {
        assert_eq!(store(status, request, response), expected, "{status} {request:?} {response:?}");
    }
}

#[test]
fn what_is_reused() {
    let revalidate = Reuse::Revalidate;
    // (stored response, age, request, what to do)
    let cases = [
        ("max-age=10", 0, "", Reuse::Fresh),
        ("max-age=10", 9, "", Reuse::Fresh),
        ("max-age=10", 10, "", Reuse::Grace),
        ("max-age=10", 13, "", Reuse::Grace),
        ("max-age=10", 14, "", revalidate(Why::Stale)),
        ("max-age=10", 13, "no-cache", revalidate(Why::Request)),
        ("max-age=10, proxy-revalidate", 13, "", revalidate(Why::Stale)),
        ("max-age=10, stale-while-revalidate=2", 11, "", Reuse::StaleWhileRevalidate),
        ("max-age=10, stale-while-revalidate=2", 13, "", Reuse::Grace),
        ("max-age=10, no-cache", 0, "", revalidate(Why::NoCache)),
        ("max-age=10, no-cache=x", 0, "", Reuse::Fresh),
        ("max-age=10", 5, "no-cache", revalidate(Why::Request)),
        ("max-age=10", 5, "max-age=0", revalidate(Why::Request)),
        ("max-age=10", 5, "max-age=4", revalidate(Why::Request)),
        ("max-age=10", 5, "max-age=5", Reuse::Fresh),
        ("max-age=10", 5, "min-fresh=6", revalidate(Why::Request)),
        ("max-age=10", 5, "min-fresh=5", Reuse::Fresh),
        ("max-age=10", 15, "max-stale=6", Reuse::Fresh),
        ("max-age=10", 15, "max-stale", Reuse::Fresh),
        ("max-age=10, must-revalidate", 15, "max-stale", revalidate(Why::Stale)),
        ("max-age=10, stale-while-revalidate=10", 15, "", Reuse::StaleWhileRevalidate),
        ("max-age=10, stale-while-revalidate=10", 20, "", revalidate(Why::Stale)),
        ("max-age=10, stale-while-revalidate=10, must-revalidate", 15, "", revalidate(Why::Stale)),
        ("s-maxage=10, stale-while-revalidate=10", 15, "", revalidate(Why::Stale)),
    ];
    for (response, age, request, expected) in cases {
        let (stored, wishes) = (directives(response), directives(request));
        let freshness = Freshness::of(StatusCode::OK, &HeaderMap::new(), &stored, at(0), at(0));
        let limits = StaleLimits { grace: Duration::from_secs(4), keep: Duration::ZERO };
        let terms = StoredTerms { freshness, directives: (&stored).into(), limits };
        assert_eq!(reuse(terms, &wishes, at(age)), expected, "{response} {age} {request}");
    }
}

#[test]
fn what_is_served_stale_when_the_origin_fails() {
    use Failure::{Disconnected, ServerError};
    let cases = [
        ("max-age=10", 20, Disconnected, true),
        ("max-age=10", 200, Disconnected, false),
        ("max-age=10", 20, ServerError, false),
        ("max-age=10", 14, ServerError, true),
        ("max-age=10, must-revalidate", 14, ServerError, false),
        ("max-age=10, stale-if-error=30", 20, ServerError, true),
        ("max-age=10, stale-if-error=300", 200, Disconnected, true),
        ("max-age=10, stale-if-error=30, must-revalidate", 20, ServerError, false),
        ("max-age=10, must-revalidate", 20, Disconnected, false),
        ("max-age=10, proxy-revalidate", 20, Disconnected, false),
        ("s-maxage=10", 20, Disconnected, false),
        ("max-age=10, no-cache", 20, Disconnected, false),
    ];
    for (response, age, failure, expected) in cases {
        let stored = directives(response);
        let freshness = Freshness::of(StatusCode::OK, &HeaderMap::new(), &stored, at(0), at(0));
        let limits = StaleLimits { grace: Duration::from_secs(5), keep: Duration::from_mins(1) };
        let terms = StoredTerms { freshness, directives: (&stored).into(), limits };
        let served = stale_after(terms, &CacheControl::default(), failure, at(age));
        assert_eq!(served, expected, "{response} {age} {failure:?}");
    }
}

#[test]
fn selecting_fields() {
    let first = headers("accept-language: de, en\nx-a: 1");
    let selector =
        Selector::of(&first, &headers("vary: Accept-Language, X-B\nvary: accept-language"), |_| false);
    let cases = [
        ("accept-language: de, en\nx-a: 2", true),
        ("accept-language: de,en", true),
        ("accept-language: de\naccept-language: en", true),
        ("accept-language: EN, de", true),
        ("accept-language: en, de;q=0.9", false),
        ("accept-language: de, en\nx-b:", false),
        ("", false),
    ];
    for (request, expected) in cases {
        assert_eq!(selector.as_ref().matches(&headers(request)), expected, "{request:?}");
    }
    let wants = |request: &str, language: &str| {
        selector.as_ref().matches_language(&headers(request), language.as_bytes())
    };
    assert!(wants("accept-language: fr;q=0.5, de", "de"));
    assert!(!wants("accept-language: fr;q=0.5, de", "fr"));
    assert!(!wants("accept-language: fr;q=0.5, de\nx-b: 1", "de"), "another field that it varies on");
    assert!(vary::is_star(&headers("vary: a, *")) && !vary::is_star(&headers("vary: a*")));
}

#[test]
fn what_a_304_is_about() {
    let cases = [
        (Some("\"a\""), "etag: \"a\"", true),
        (Some("\"a\""), "etag: \"b\"", false),
        (Some("\"a\""), "etag: W/\"b\"", true),
        (Some("W/\"a\""), "etag: \"b\"", true),
        (Some("\"a-gzip\""), "etag: \"a\"", true),
        (Some("\"a-gzip\""), "etag: \"b-gzip\"", false),
        (Some("\"a\""), "x: y", true),
        (None, "etag: \"b\"", true),
    ];
    for (stored, told, expected) in cases {
        assert_eq!(
            update::is_about(stored.map(str::as_bytes), &headers(told)),
            expected,
            "{stored:?} {told}"
        );
    }
}

#[test]
fn a_304_freshens_all_but_what_describes_the_body() {
    let mut stored =
        headers("etag: \"a\"\ncontent-type: text/html\ncontent-length: 5\nx-a: 1\nx-a: 2\nage: 7");
    let told =
        headers("etag: \"b\"\ncontent-encoding: gzip\ncontent-length: 0\nx-a: 3\ncache-control: max-age=9");
    assert!(!update::is_about(stored.get("etag").map(http::HeaderValue::as_bytes), &told));
    update::freshen(&mut stored, &told);
    let expected =
        headers("etag: \"a\"\ncontent-type: text/html\ncontent-length: 5\nx-a: 3\ncache-control: max-age=9");
    assert_eq!(stored, expected);
}

proptest! {
    #[test]
    fn any_bytes_are_a_cache_control(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
            let headers = HeaderMap::from_iter([(http::header::CACHE_CONTROL, value)]);
            let _ = CacheControl::of(&headers);
        }
    }

    #[test]
    fn a_response_is_never_older_than_its_parts(age in 0_u64..1 << 40, delay in 0_u64..1000, later in 0_u64..1 << 30) {
        let headers = headers(&format!("age: {age}\ncache-control: max-age={age}"));
        let freshness = Freshness::of(StatusCode::OK, &headers, &CacheControl::of(&headers), at(0), at(delay));
        let now = freshness.age(at(delay + later)).as_secs();
        prop_assert!(now >= later && now >= delay);
        prop_assert_eq!(freshness.is_fresh(at(delay + later)), now < freshness.lifetime.as_secs());
    }
}
