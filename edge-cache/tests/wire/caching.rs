//! What is stored and what is served from the store, over the wire.

use crate::support::{Edge, x_cache};
use test_support::origin::{FakeOrigin, Reply};

const LM: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn page(body: &'static str) -> Reply {
    Reply::ok(body).header("Cache-Control", "max-age=60").header("ETag", "\"v1\"").header("Last-Modified", LM)
}

#[tokio::test]
async fn a_miss_is_followed_by_hits() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| page("hello").header("Cache-Tags", "node:1 node_list"));
    let edge = Edge::start(&origin, &[]).await;
    let miss = edge.get("/").await;
    assert_eq!((miss.status, x_cache(&miss), miss.text().as_str()), (200, "MISS", "hello"));
    assert!(miss.header("cache-status").unwrap().starts_with("edge-cache; fwd=uri-miss; ttl=60; stored"));
    edge.stored(1).await;
    let hit = edge.get("/").await;
    assert_eq!((hit.status, x_cache(&hit), hit.text().as_str()), (200, "HIT", "hello"));
    assert!(hit.header("age").unwrap().parse::<u64>().unwrap() < 5);
    assert!(hit.header("cache-status").unwrap().starts_with("edge-cache; hit; ttl="));
    for response in [&miss, &hit] {
        assert_eq!(response.header("cache-tags"), None, "tags stay here");
        assert_eq!(response.header("via"), Some("1.1 edge-cache"));
        assert_eq!(response.header("content-length"), Some("5"));
    }
    assert_eq!(origin.count("/"), 1);
}

type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str);

#[tokio::test]
async fn conditions_ranges_and_heads_are_answered_from_the_store() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| page("0123456789"));
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    let cases: [Case<'_>; 8] = [
        ("GET", &[("If-None-Match", "\"v1\"")], 304, ""),
        ("GET", &[("If-None-Match", "\"v2\"")], 200, "0123456789"),
        ("GET", &[("If-Modified-Since", LM)], 304, ""),
        ("GET", &[("Range", "bytes=2-4")], 206, "234"),
        ("GET", &[("Range", "bytes=2-4"), ("If-Range", "\"v2\"")], 200, "0123456789"),
        ("GET", &[("Range", "bytes=10-")], 416, ""),
        ("HEAD", &[], 200, ""),
        ("HEAD", &[("If-None-Match", "*")], 304, ""),
    ];
    for (method, headers, status, body) in cases {
        let response = edge.request(method, "/", headers, b"").await;
        assert_eq!((response.status, response.text().as_str()), (status, body), "{method} {headers:?}");
        assert_eq!(x_cache(&response), "HIT", "{method} {headers:?}");
        assert_eq!(response.header("etag"), Some("\"v1\""));
        match status {
            206 => assert_eq!(response.header("content-range"), Some("bytes 2-4/10")),
            416 => assert_eq!(response.header("content-range"), Some("bytes */10")),
            200 => assert_eq!(response.header("content-length"), Some("10")),
            _ => {}
        }
    }
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn a_stale_response_is_validated() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| {
        if request.header("if-none-match") == Some("\"v1\"") {
            assert_eq!(request.header("if-modified-since"), Some(LM), "both validators, as they were");
            return Reply::new(304).header("Cache-Control", "max-age=60").header("X-New", "1");
        }
        page("hello").header("Age", "100")
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    let validated = edge.get("/").await;
    assert_eq!((validated.status, x_cache(&validated), validated.text().as_str()), (200, "MISS", "hello"));
    assert!(validated.header("cache-status").unwrap().contains("fwd=stale; fwd-status=304"));
    assert_eq!(validated.header("x-new"), Some("1"));
    edge.stored(2).await;
    let hit = edge.get("/").await;
    assert_eq!((x_cache(&hit), hit.header("x-new")), ("HIT", Some("1")));
    assert_eq!(origin.count("/"), 2);
}

#[tokio::test]
async fn variants_are_told_apart() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| {
        let language = request.header("accept-language").unwrap_or("none").to_owned();
        Reply::ok(language).header("Cache-Control", "max-age=60").header("Vary", "Accept-Language")
    });
    let edge = Edge::start(&origin, &[]).await;
    for (count, language) in ["de", "en"].into_iter().enumerate() {
        let miss = edge.get_with("/", &[("Accept-Language", language)]).await;
        assert_eq!((x_cache(&miss), miss.text().as_str()), ("MISS", language));
        edge.stored(count + 1).await;
    }
    for language in ["de", "en"] {
        let hit = edge.get_with("/", &[("Accept-Language", language)]).await;
        assert_eq!((x_cache(&hit), hit.text().as_str()), ("HIT", language));
    }
    let other = edge.get_with("/", &[("Accept-Language", "fr")]).await;
    assert!(other.header("cache-status").unwrap().contains("fwd=vary-miss"), "{other:?}");
}

#[tokio::test]
async fn hosts_and_queries_are_told_apart() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let name = format!("{} {}", request.header("host").unwrap(), request.target);
        Reply::ok(name).header("Cache-Control", "max-age=60")
    });
    let edge = Edge::start(&origin, &[]).await;
    let targets = [("a.example", "/x"), ("b.example", "/x"), ("a.example", "/x?1"), ("a.example", "/X")];
    for (count, (host, target)) in targets.into_iter().enumerate() {
        let miss = edge.get_with(target, &[("Host", host)]).await;
        assert_eq!((x_cache(&miss), miss.text()), ("MISS", format!("{host} {target}")));
        edge.stored(count + 1).await;
    }
    let same = edge.get_with("/x", &[("Host", "A.Example:80")]).await;
    assert_eq!((x_cache(&same), same.text().as_str()), ("HIT", "a.example /x"));
}

#[tokio::test]
async fn what_is_somebodys_is_never_stored() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/private", |_| page("p").header("Cache-Control", "private"));
    origin.route("/cookie", |_| page("c").header("Set-Cookie", "a=b"));
    origin.route("/no-store", |_| page("n").header("Cache-Control", "no-store"));
    origin.route("/auth", |_| page("a"));
    let edge = Edge::start(&origin, &[]).await;
    for (path, headers, detail) in [
        ("/private", vec![], "private"),
        ("/cookie", vec![], "set-cookie"),
        ("/no-store", vec![], "no-store"),
        ("/auth", vec![("Authorization", "Basic x")], "authorization"),
    ] {
        let first = edge.get_with(path, &headers).await;
        assert!(
            first.header("cache-status").unwrap().ends_with(&format!("detail={detail}")),
            "{path} {first:?}"
        );
        let second = edge.get_with(path, &headers).await;
        assert_eq!((x_cache(&first), x_cache(&second)), ("MISS", "MISS"), "{path}");
        assert_eq!(origin.count(path), 2, "{path}");
    }
    assert!(edge.metric("edge_cache_stored_total").await.abs() < 0.5);
}

#[tokio::test]
async fn an_unsafe_method_passes_and_invalidates() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/a", |request| match request.method.as_str() {
        "GET" => page("a"),
        _ => Reply::ok(request.body.clone()).header("Location", "/b").header("Cache-Control", "max-age=60"),
    });
    origin.route("/b", |_| page("b"));
    let edge = Edge::start(&origin, &[]).await;
    for (count, path) in ["/a", "/b"].into_iter().enumerate() {
        edge.get(path).await;
        edge.stored(count + 1).await;
        assert_eq!(x_cache(&edge.get(path).await), "HIT");
    }
    let post = edge.request("POST", "/a", &[], b"body").await;
    assert_eq!((x_cache(&post), post.text().as_str()), ("PASS", "body"));
    assert!(post.header("cache-status").unwrap().contains("fwd=method"));
    for path in ["/a", "/b"] {
        assert_eq!(x_cache(&edge.get(path).await), "MISS", "{path}");
    }
    edge.metric_becomes("edge_cache_invalidated_total", 2.0).await;
}

#[tokio::test]
async fn the_drupal_preset_knows_a_session() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let cookie = request.header("cookie").unwrap_or("none").to_owned();
        Reply::ok(cookie).header("Cache-Control", "max-age=60").header("Vary", "Cookie")
    });
    let edge = Edge::start(&origin, &["--preset=drupal"]).await;
    let first = edge.get_with("/", &[("Cookie", "_ga=1; has_js=1")]).await;
    assert_eq!((x_cache(&first), first.text().as_str()), ("MISS", "none"), "not sent to the origin");
    edge.stored(1).await;
    assert_eq!(x_cache(&edge.get_with("/", &[("Cookie", "_ga=2")]).await), "HIT");
    let session = "SSESSd41d8cd98f00b204e9800998ecf8427e=x; _ga=1";
    let pass = edge.get_with("/", &[("Cookie", session)]).await;
    assert_eq!((x_cache(&pass), pass.text().as_str()), ("PASS", session));
    assert!(
        pass.header("cache-status")
            .unwrap()
            .ends_with("fwd=bypass; fwd-status=200; detail=rule:session-cookie")
    );
    assert_eq!(x_cache(&edge.get("/").await), "HIT");
}

#[tokio::test]
async fn the_origin_learns_who_the_client_is() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("x"));
    let edge = Edge::start(&origin, &[]).await;
    edge.get_with(
        "/",
        &[("X-Forwarded-For", "6.6.6.6"), ("X-Request-Id", "forged"), ("Host", "a.example:8080")],
    )
    .await;
    let seen = origin.requests().remove(0);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-host"), Some("a.example:8080"));
    assert_eq!(seen.header("x-forwarded-port"), Some("8080"));
    assert_eq!(seen.header("via"), Some("1.1 edge-cache"));
    assert_eq!(seen.header("x-request-id").unwrap().len(), 32);
    let trusting = Edge::start(&origin, &["--trusted-proxies=127.0.0.0/8"]).await;
    trusting.get_with("/", &[("X-Forwarded-For", "6.6.6.6"), ("X-Request-Id", "kept")]).await;
    let seen = origin.requests().remove(1);
    assert_eq!(seen.header("x-forwarded-for"), Some("6.6.6.6, 127.0.0.1"));
    assert_eq!(seen.header("x-request-id"), Some("kept"));
}

/// What this proxy sets is written late: it selects among stored responses as if it had been there at once.
#[tokio::test]
async fn a_response_may_vary_on_what_the_origin_is_told() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let told = request.header("x-forwarded-for").unwrap_or("nothing").to_owned();
        Reply::ok(told).header("Cache-Control", "max-age=60").header("Vary", "X-Forwarded-For")
    });
    let edge = Edge::start(&origin, &[]).await;
    assert_eq!(x_cache(&edge.get("/").await), "MISS");
    edge.stored(1).await;
    for forged in [&[][..], &[("X-Forwarded-For", "6.6.6.6")], &[("X-Forwarded-For", "127.0.0.1")]] {
        let answer = edge.get_with("/", forged).await;
        assert_eq!((x_cache(&answer), answer.text().as_str()), ("HIT", "127.0.0.1"), "{forged:?}");
    }
    let trusting = Edge::start(&origin, &["--trusted-proxies=127.0.0.0/8"]).await;
    let clients = ["192.0.2.1", "192.0.2.2"].map(|client| [("X-Forwarded-For", client)]);
    for (count, client) in clients.iter().enumerate() {
        assert_eq!(x_cache(&trusting.get_with("/", client).await), "MISS");
        trusting.stored(count + 1).await;
    }
    for client in &clients {
        let answer = trusting.get_with("/", client).await;
        let told = format!("{}, 127.0.0.1", client[0].1);
        assert_eq!((x_cache(&answer), answer.text()), ("HIT", told));
    }
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = Edge::start(&origin, &[]).await;
    assert_eq!(edge.get_with("/", &[("Cache-Control", "only-if-cached")]).await.status, 504);
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn requests_that_name_no_host_are_refused() {
    let origin = FakeOrigin::start().await.unwrap();
    let edge = Edge::start(&origin, &[]).await;
    assert_eq!(edge.get_with("/", &[("Host", "a b")]).await.status, 400);
    assert_eq!(edge.get_with("/", &[("Host", "a"), ("Host", "b")]).await.status, 400);
    assert_eq!(edge.request("TRACE", "/", &[], b"").await.status, 405);
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn a_head_that_is_missed_fetches_the_page() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| page("hello"));
    origin.route("/mine", |_| Reply::ok("hello").header("Cache-Control", "private"));
    let edge = Edge::start(&origin, &[]).await;
    let miss = edge.request("HEAD", "/", &[], b"").await;
    assert_eq!((miss.status, x_cache(&miss), miss.header("content-length")), (200, "MISS", Some("5")));
    edge.stored(1).await;
    let hit = edge.request("HEAD", "/", &[], b"").await;
    assert_eq!((hit.status, x_cache(&hit), hit.header("content-length")), (200, "HIT", Some("5")));
    assert_eq!(edge.get("/").await.text(), "hello");
    assert_eq!(origin.count("/"), 1);
    for _ in 0..2 {
        let mine = edge.request("HEAD", "/mine", &[], b"").await;
        assert_eq!((mine.status, x_cache(&mine), mine.header("content-length")), (200, "MISS", Some("5")));
    }
    let methods: Vec<String> = origin.requests().into_iter().skip(1).map(|request| request.method).collect();
    assert_eq!(methods, ["GET", "HEAD"], "what is known as uncacheable is asked for as it is");
}
