//! What RFC 9213, 9211, 9110 and 9111 say, where http-cache-tests has no case that every machine can run.

use test_support::client::Response;
use test_support::origin::{FakeOrigin, Reply};

use crate::support::{Edge, x_cache};

/// The answer to a second request, after the first may have been stored.
async fn again(edge: &Edge, path: &str, stored: &mut usize, is_stored: bool) -> Response {
    edge.get(path).await;
    if is_stored {
        *stored += 1;
        edge.stored(*stored).await;
    }
    edge.get(path).await
}

/// CDN-Cache-Control, Cache-Control (or more fields), whether the second request is a hit.
type Targeted = (&'static str, &'static str, &'static [(&'static str, &'static str)], bool);

#[tokio::test]
async fn a_targeted_field_that_is_valid_replaces_cache_control_and_expires() {
    const CASES: [Targeted; 14] = [
        ("/cdn-max-age", "max-age=3600", &[], true),
        ("/cdn-max-age-0", "max-age=0", &[("Cache-Control", "max-age=3600")], false),
        ("/cdn-max-age-age", "max-age=3600", &[("Cache-Control", "max-age=10000"), ("Age", "7200")], false),
        ("/cdn-no-cache", "no-cache", &[("Cache-Control", "max-age=10000")], false),
        ("/cdn-private", "private", &[("Cache-Control", "max-age=10000")], false),
        ("/cdn-no-store-cc-fresh", "no-store", &[("Cache-Control", "max-age=10000")], false),
        ("/cdn-fresh-cc-nostore", "max-age=10000", &[("Cache-Control", "no-store")], true),
        ("/cdn-fresh-expired", "max-age=3600", &[("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")], true),
        ("/cdn-stale-expires", "max-age=0", &[("Expires", "Fri, 18 Aug 2090 02:01:18 GMT")], false),
        ("/cdn-extension", "foobar, max-age=3600", &[("Cache-Control", "no-store")], true),
        ("/cdn-cc-invalid-sh-type-unknown", "max-age=10000, &&&&&", &[("Cache-Control", "no-store")], false),
        ("/cdn-cc-invalid-sh-type-wrong", "max-age=\"10000\"", &[("Cache-Control", "no-store")], false),
        ("/cdn-invalid-cc-fresh", "max-age=\"0\"", &[("Cache-Control", "max-age=3600")], true),
        ("/cdn-empty", "", &[("Cache-Control", "max-age=3600")], true),
    ];
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let (_, targeted, fields, _) = CASES.iter().find(|(path, ..)| *path == request.path()).unwrap();
        let reply = Reply::ok("x").header("CDN-Cache-Control", *targeted);
        fields.iter().fold(reply, |reply, (name, value)| reply.header(name, *value))
    });
    let edge = Edge::start(&origin, &[]).await;
    let mut stored = 0;
    for (path, targeted, _, hit) in CASES {
        let second = again(&edge, path, &mut stored, hit).await;
        assert_eq!(x_cache(&second) == "HIT", hit, "{path}");
        assert_eq!(second.header("cdn-cache-control"), Some(targeted), "caches behind us want it, too");
    }
}

#[tokio::test]
async fn own_targets_come_in_order() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| {
        Reply::ok("x").header("CDN-Cache-Control", "no-store").header("Edge-Cache-Control", "max-age=60")
    });
    let flags = ["--targets=Edge-Cache-Control,CDN-Cache-Control"];
    let edge = Edge::start(&origin, &flags).await;
    assert_eq!(x_cache(&again(&edge, "/", &mut 0, true).await), "HIT");
}

#[tokio::test]
async fn a_post_that_says_so_answers_later_gets() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let location = match request.path() {
            "/other" => "/",
            path => path,
        };
        let reply = Reply::ok(format!("{} {}", request.method, request.path()));
        let reply =
            if request.path() == "/elsewhere" { reply } else { reply.header("Content-Location", location) };
        match request.path() {
            "/vague" => reply.header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            "/no-store" => reply.header("Cache-Control", "no-store, max-age=60"),
            _ => reply.header("Cache-Control", "max-age=60"),
        }
    });
    let edge = Edge::start(&origin, &["--preset=drupal"]).await;
    let post = edge.request("POST", "/same", &[("If-None-Match", "*")], b"body").await;
    assert_eq!((post.status, x_cache(&post), post.text().as_str()), (200, "PASS", "POST /same"));
    assert!(post.header("cache-status").unwrap().contains("fwd=method; ttl=60; stored"), "{post:?}");
    edge.stored(1).await;
    let hit = edge.get("/same").await;
    assert_eq!((x_cache(&hit), hit.text().as_str()), ("HIT", "POST /same"));
    // A POST is never answered from the store, and takes away what is there.
    let post = edge.request("POST", "/same", &[], b"body").await;
    assert_eq!((x_cache(&post), origin.count("/same")), ("PASS", 2));
    edge.stored(2).await;
    let session = [("Cookie", "SESSd41d8cd98f00b204e9800998ecf8427e=x")];
    for (path, headers) in
        [("/other", &[][..]), ("/elsewhere", &[]), ("/vague", &[]), ("/no-store", &[]), ("/mine", &session)]
    {
        edge.request("POST", path, headers, b"body").await;
        assert_eq!(edge.get(path).await.text(), format!("GET {path}"), "{path}");
    }
}

#[tokio::test]
async fn languages_that_mean_the_same_are_one_variant() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let wanted = request.header("accept-language").unwrap_or("none").to_owned();
        let language = if wanted.starts_with("en, de") { "de" } else { "en" };
        Reply::ok(wanted)
            .header("Cache-Control", "max-age=60")
            .header("Vary", "Accept-Language")
            .header("Content-Language", language)
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get_with("/", &[("Accept-Language", "en, de")]).await;
    edge.stored(1).await;
    for same in ["de, en", "EN,de", "en;q=1.0, de", "de", "fr;q=0.5, de;q=1.0"] {
        let hit = edge.get_with("/", &[("Accept-Language", same)]).await;
        assert_eq!((x_cache(&hit), hit.text().as_str()), ("HIT", "en, de"), "{same}");
    }
    for (count, other) in ["de;q=0.5, en", "fr", "en, de, fr"].into_iter().enumerate() {
        let miss = edge.get_with("/", &[("Accept-Language", other)]).await;
        assert_eq!((x_cache(&miss), miss.text().as_str()), ("MISS", other));
        edge.stored(count + 2).await;
    }
    // Who was answered for the very same fields is so again, whatever its language.
    let own = edge.get_with("/", &[("Accept-Language", "fr")]).await;
    assert_eq!((x_cache(&own), own.text().as_str()), ("HIT", "fr"));
    let first_choice = edge.get_with("/", &[("Accept-Language", "en")]).await;
    assert_eq!((x_cache(&first_choice), first_choice.header("content-language")), ("HIT", Some("en")));
}

#[tokio::test]
async fn cache_status_says_what_it_is_asked_to() {
    let mut origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| {
        Reply::ok("x").header("Cache-Control", "max-age=60").header("Cache-Status", "upstream; fwd=uri-miss")
    });
    let edge = Edge::start(&origin, &["--cache-status-name=edge1", "--cache-status-key"]).await;
    let miss = edge.get("/a?b='c'").await;
    let lines: Vec<&str> = miss.all("cache-status").collect();
    assert_eq!(
        lines,
        [
            "upstream; fwd=uri-miss",
            "edge1; fwd=uri-miss; ttl=60; stored; key=\"http://site.example/a?b='c'\""
        ],
        "ours is the last"
    );
    edge.stored(1).await;
    origin.stop().await;
    let failed = edge.get("/z").await;
    assert_eq!(
        failed.header("cache-status"),
        Some("edge1; fwd=uri-miss; detail=unreachable; key=\"http://site.example/z\"")
    );
    let only = edge.get_with("/z", &[("Cache-Control", "only-if-cached")]).await;
    assert_eq!(
        only.header("cache-status"),
        Some("edge1; detail=only-if-cached; key=\"http://site.example/z\"")
    );
    let refused = edge.get_with("/", &[("Host", "a b")]).await;
    assert_eq!(refused.header("cache-status"), Some("edge1; detail=refused"));
}

#[tokio::test]
async fn an_age_that_is_no_number_is_ignored_and_of_a_list_the_first_counts() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let age = request.query().unwrap().replace("%20", " ");
        Reply::ok("x").header("Cache-Control", "max-age=60").header("Age", age)
    });
    let edge = Edge::start(&origin, &[]).await;
    let mut stored = 0;
    for (age, hit) in
        [("x", true), ("-7200", true), ("0,%207200", true), ("7200,%200", false), ("7200", false)]
    {
        let second = again(&edge, &format!("/?{age}"), &mut stored, hit).await;
        assert_eq!(x_cache(&second) == "HIT", hit, "{age}");
    }
}

#[tokio::test]
async fn an_unsafe_response_invalidates_the_groups_that_it_names_on_its_own_origin() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| match request.method.as_str() {
        "GET" => {
            let group = request.path().trim_start_matches('/').replace("%20", " ");
            let reply = Reply::ok("x").header("Cache-Control", "max-age=60");
            let reply = reply.header("Cache-Groups", format!("\"{group}\", \"all\""));
            // Only a response to an unsafe request has a say.
            reply.header("Cache-Group-Invalidation", "\"one\"")
        }
        _ => Reply::new(403).header("Cache-Group-Invalidation", request.header("x-groups").unwrap()),
    });
    let edge = Edge::start(&origin, &[]).await;
    let get = async |host: &str, path: &str| edge.get_with(path, &[("Host", host)]).await;
    let pages = [("a.example", "/one"), ("a.example", "/two%20words"), ("b.example", "/one")];
    let mut stored = 0;
    let fill = async |stored: &mut usize, missing: usize| {
        for (host, path) in pages {
            get(host, path).await;
        }
        *stored += missing;
        edge.stored(*stored).await;
    };
    fill(&mut stored, 3).await;
    // (what the response names, which of the pages are hits then)
    for (groups, hits) in [
        ("\"on\", one, \"ONE\"", [true, true, true]),
        ("\"one", [true, true, true]),
        ("\"one\"", [false, true, true]),
        ("\"two words\", \"none\"", [true, false, true]),
        ("\"all\"", [false, false, true]),
    ] {
        let post = edge.request("POST", "/", &[("Host", "a.example"), ("X-Groups", groups)], b"x").await;
        assert_eq!(post.header("cache-group-invalidation"), Some(groups), "for caches behind us");
        for ((host, path), hit) in pages.into_iter().zip(hits) {
            assert_eq!(x_cache(&get(host, path).await) == "HIT", hit, "{groups}: {host}{path}");
        }
        fill(&mut stored, hits.iter().filter(|hit| !**hit).count()).await;
    }
}

#[tokio::test]
async fn a_304_about_another_representation_validates_nothing() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| match request.header("if-none-match") {
        Some("\"v1\"") => Reply::new(304).header("ETag", "\"v2\"").header("Cache-Control", "max-age=60"),
        Some(other) => panic!("nobody knows {other}"),
        None if request.header("if-modified-since").is_some() => panic!("no condition is left"),
        None => {
            Reply::ok("x").header("ETag", "\"v1\"").header("Cache-Control", "max-age=60").header("Age", "90")
        }
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    let second = edge.get("/").await;
    assert_eq!((second.status, second.text().as_str(), origin.count("/")), (200, "x", 3));
    assert!(second.header("cache-status").unwrap().contains("fwd=stale; ttl=-30; stored"), "{second:?}");
}

#[tokio::test]
async fn a_transfer_coding_that_nobody_knows_is_none_and_ends_here() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| {
        Reply::raw(
            &b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: foo\r\n\r\nhello"[..],
        )
    });
    let edge = Edge::start(&origin, &[]).await;
    let miss = edge.get("/").await;
    edge.stored(1).await;
    let hit = edge.get("/").await;
    for (response, x) in [(&miss, "MISS"), (&hit, "HIT")] {
        assert_eq!((response.status, x_cache(response), response.text().as_str()), (200, x, "hello"));
        assert!(response.all("transfer-encoding").all(|coding| coding == "chunked"));
    }
}
