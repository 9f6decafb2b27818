//! Every way to say what is to be taken, and who may say it.

use test_support::client;
use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{Edge, x_cache};

const OPEN: &[&str] = &["--purge-from=127.0.0.0/8"];

/// An origin whose pages carry the tags of their query's `tags`, and are of the type of its `type`.
async fn origin() -> FakeOrigin {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let query = request.query().unwrap_or_default().to_owned();
        let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        Reply::ok("page")
            .header("Cache-Control", "max-age=600")
            .header("ETag", "\"1\"")
            .header("Content-Type", of("type").unwrap_or("text/html"))
            .header("Cache-Tags", of("tags").unwrap_or_default().replace('+', " "))
    });
    origin
}

impl Edge {
    /// Stores what these URLs, with their hosts in front, answer.
    async fn fill(&self, urls: &[&str]) {
        for url in urls {
            let (host, path) = url.split_at(url.find('/').unwrap());
            let before = self.metric("edge_cache_stored_total").await;
            assert_eq!(x_cache(&self.get_with(path, &[("Host", host)]).await), "MISS", "{url}");
            self.metric_becomes("edge_cache_stored_total", before + 1.0).await;
        }
    }

    async fn states(&self, urls: &[&str]) -> String {
        let mut states = Vec::new();
        for url in urls {
            let (host, path) = url.split_at(url.find('/').unwrap());
            states.push(x_cache(&self.get_with(path, &[("Host", host)]).await).to_owned());
        }
        states.join(" ")
    }

    async fn taken(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let answer = self.request(method, path, headers, b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().trim().strip_prefix("invalidated ").unwrap().to_owned()
    }

    async fn post(&self, json: &str) -> (u16, String) {
        let answer = client::request(self.admin(), "POST", "/purge", &[], json.as_bytes()).await.unwrap();
        (answer.status, answer.text().trim().to_owned())
    }
}

#[tokio::test]
async fn a_url_is_taken_with_its_variants_and_in_both_schemes() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("page").header("Cache-Control", "max-age=600").header("Vary", "X-Lang"));
    let edge = Edge::start(&origin, &["--purge-from=127.0.0.0/8", "--trusted-proxies=127.0.0.0/8"]).await;
    let pages: [&[(&str, &str)]; 4] =
        [&[("X-Lang", "de")], &[("X-Lang", "en")], &[], &[("X-Forwarded-Proto", "https"), ("X-Lang", "de")]];
    for (count, page) in pages.iter().enumerate() {
        assert_eq!(x_cache(&edge.get_with("/a", page).await), "MISS");
        edge.stored(count + 1).await;
    }
    assert_eq!(edge.taken("PURGE", "/a", &[("Host", "SITE.example:80"), ("X-Lang", "fr")]).await, "4");
    for page in pages {
        assert_eq!(x_cache(&edge.get_with("/a", page).await), "MISS");
    }
}

#[tokio::test]
async fn a_url_is_taken_without_its_queries_unless_it_says_so() {
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    let urls = ["site.example/a", "site.example/a?x=1", "site.example/a?x=2", "site.example/ab?x"];
    edge.fill(&urls).await;
    assert_eq!(edge.taken("PURGE", "/a", &[]).await, "1");
    assert_eq!(edge.states(&urls).await, "MISS HIT HIT HIT");
    edge.stored(5).await;
    assert_eq!(edge.taken("PURGE", "/a?*", &[]).await, "2");
    assert_eq!(edge.states(&urls).await, "HIT MISS MISS HIT");
    edge.stored(7).await;
    assert_eq!(edge.taken("PURGE", "/a*", &[]).await, "4");
}

#[tokio::test]
async fn what_a_head_has_stored_is_taken() {
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    edge.request("HEAD", "/a", &[], b"").await;
    edge.stored(1).await;
    assert_eq!(edge.taken("PURGE", "/a", &[]).await, "1");
    assert_eq!(x_cache(&edge.request("HEAD", "/a", &[], b"").await), "MISS");
}

#[tokio::test]
async fn bans_take_what_meets_their_conditions() {
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    let urls = [
        "a.example/news/1",
        "a.example/news/2?type=image/png",
        "b.example/news/1",
        "a.example/blog/1?type=image/png",
    ];
    edge.fill(&urls).await;
    let mut stored = urls.len();
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("X-Ban-Host", "a.example"), ("X-Ban-Path", "/news/*")], "MISS MISS HIT HIT"),
        (&[("X-Ban-Path", "~^/(news|x)/[1]$")], "MISS HIT MISS HIT"),
        (&[("X-Ban-Header", "Content-Type: image/*")], "HIT MISS HIT MISS"),
        (&[("X-Ban-Header", "content-type: ~^IMAGE")], "HIT HIT HIT HIT"),
        (
            &[("X-Ban-Expression", "host == a.example && path ~ ^/news/ && header.content-type ~ ^image/")],
            "HIT MISS HIT HIT",
        ),
        (&[("X-Ban-Expression", "req.url ~ ^/news/ && req.http.host != a.example")], "HIT HIT MISS HIT"),
        (
            &[("X-Ban-Path", "/*1"), ("X-Ban-Expression", "obj.http.content-type == text/html")],
            "MISS HIT MISS HIT",
        ),
        (&[("X-Ban-Host", "*"), ("X-Ban-Path", "*")], "MISS MISS MISS MISS"),
    ];
    for (headers, expected) in cases {
        let taken = edge.taken("BAN", "/", headers).await;
        let misses = expected.matches("MISS").count();
        assert_eq!(taken, misses.to_string(), "{headers:?}");
        assert_eq!(edge.states(&urls).await, expected, "{headers:?}");
        stored += misses;
        edge.stored(stored).await;
    }
    for (value, message) in [
        ("host = a.example", "at character 6 of the expression: found \"=\", expected == or !="),
        ("path ~ (", "the regular expression \"(\" cannot be used"),
    ] {
        let answer = edge.request("BAN", "/", &[("X-Ban-Expression", value)], b"").await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(message), "{}", answer.text());
    }
    assert_eq!(edge.states(&urls).await, "HIT HIT HIT HIT");
}

#[tokio::test]
async fn the_front_page_is_not_everything() {
    let origin = origin().await;
    let edge = Edge::start(&origin, &["--purge-from=127.0.0.0/8", "--preset=drupal"]).await;
    let urls = ["a.example/", "a.example/x", "b.example/x"];
    edge.fill(&urls).await;
    assert_eq!(edge.taken("PURGE", "/", &[("Host", "a.example")]).await, "1");
    assert_eq!(edge.states(&urls).await, "MISS HIT HIT");
    edge.stored(4).await;
    assert_eq!(edge.taken("PURGE", "/*", &[("Host", "a.example")]).await, "2");
    assert_eq!(edge.states(&urls).await, "MISS MISS HIT");
    edge.stored(6).await;
    assert_eq!(edge.taken("BAN", "/site", &[("X-Purge-Mode", "soft")]).await, "3");
    let stale = edge.get_with("/x", &[("Host", "b.example")]).await;
    assert!(stale.header("cache-status").unwrap().contains("fwd=stale"), "{stale:?}");
    edge.stored(7).await;
    assert_eq!(edge.taken("PURGE", "/site", &[("Host", "cache.internal")]).await, "3");
    assert_eq!(edge.states(&urls).await, "MISS MISS MISS");
    for path in ["/", "/tags"] {
        let nothing = edge.request("BAN", path, &[], b"").await;
        assert_eq!(nothing.status, 400);
        assert!(nothing.text().contains("Cache-Tags"), "says what is accepted: {}", nothing.text());
    }
}

#[tokio::test]
async fn wordpress_plugins_send_a_regular_expression() {
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    let urls = ["a.example/", "a.example/x", "a.example/feed/", "b.example/x"];
    edge.fill(&urls).await;
    let host = ("Host", "a.example");
    assert_eq!(edge.taken("PURGE", "/feed/.*", &[host, ("X-Purge-Method", "regex")]).await, "1");
    assert_eq!(edge.states(&urls).await, "HIT HIT MISS HIT");
    edge.stored(5).await;
    assert_eq!(edge.taken("PURGE", "/x", &[host, ("X-Purge-Method", "default")]).await, "1");
    assert_eq!(edge.taken("PURGE", "/.*", &[host, ("X-Purge-Method", "regex")]).await, "2");
    assert_eq!(edge.states(&urls).await, "MISS MISS MISS HIT");
}

#[tokio::test]
async fn tags_may_be_many_and_of_any_characters() {
    let origin = FakeOrigin::start().await.unwrap();
    let many: Vec<String> = (0..5_800).map(|number| format!("node:{number}")).collect();
    let many = many.join(" ");
    assert!((54 << 10..60 << 10).contains(&many.len()), "{}", many.len());
    let tags = [
        ("/many", many.clone()),
        ("/odd", "caf\u{e9} config:views.view.x;y=z {a} a/b?c#d \u{4e2d} dup dup,dup|dup".to_owned()),
        ("/groups", String::new()),
        ("/none", String::new()),
        ("/blank", " , |  \"\"".to_owned()),
    ];
    for (path, tags) in tags.clone() {
        origin.route(path, move |_| {
            let groups = if path == "/groups" { "\"all of it\", \"b\"" } else { "" };
            Reply::ok("page")
                .header("Cache-Control", "max-age=600")
                .header("Cache-Tags", tags.clone())
                .header("Cache-Groups", groups)
        });
    }
    let edge = Edge::start(&origin, OPEN).await;
    let paths = ["/many", "/odd", "/groups", "/none", "/blank"].map(|path| format!("site.example{path}"));
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    edge.fill(&paths).await;
    let shown = edge.get("/many").await;
    assert!(shown.header("cache-tags").is_none(), "they stay here");
    for tag in ["", " ", ",|", "\"\""] {
        assert_eq!(edge.request("BAN", "/", &[("Cache-Tags", tag)], b"").await.status, 400, "{tag:?}");
    }
    for (tag, taken) in
        [("node:", "0"), ("node:50000", "0"), ("Node:1", "0"), ("all", "0"), ("a/b", "0"), ("node:4999", "1")]
    {
        assert_eq!(edge.taken("BAN", "/", &[("Cache-Tags", tag)]).await, taken, "{tag}");
    }
    assert_eq!(edge.states(&paths).await, "MISS HIT HIT HIT HIT");
    edge.stored(6).await;
    assert_eq!(edge.taken("BAN", "/", &[("Cache-Tags", &many)]).await, "1", "as many at once");
    assert_eq!(edge.taken("BAN", "/", &[("Cache-Groups", "\"all of it\"")]).await, "1");
    edge.fill(&["site.example/many", "site.example/groups"]).await;
    let odd = ["caf\u{e9}", "config:views.view.x;y=z", "{a}", "a/b?c#d", "\u{4e2d}", "dup"];
    for (count, tag) in odd.iter().enumerate() {
        let json = format!("{{\"tags\":[{tag:?}]}}");
        assert_eq!(edge.post(&json).await, (200, "{\"invalidated\":1}".to_owned()), "{tag}");
        edge.fill(&["site.example/odd"]).await;
        edge.stored(9 + count).await;
    }
    assert_eq!(edge.post(r#"{"tags":["all of it"]}"#).await.1, "{\"invalidated\":1}");
    let taken = edge.taken("BAN", "/", &[("Cache-Tags", "caf\u{e9} dup"), ("Xkey", "{a}")]).await;
    assert_eq!(taken, "1", "counted once");
}

#[tokio::test]
async fn a_tag_is_on_every_host_unless_one_is_named() {
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    let urls = ["a.example/x?tags=node:1+list", "b.example/x?tags=node:1", "b.example/y?tags=node:10"];
    edge.fill(&urls).await;
    assert_eq!(edge.taken("BAN", "/", &[("Cache-Tags", "node:1"), ("X-Ban-Host", "b.example")]).await, "1");
    assert_eq!(edge.states(&urls).await, "HIT MISS HIT");
    edge.stored(4).await;
    assert_eq!(edge.taken("BAN", "/", &[("Cache-Tags", "node:1")]).await, "2");
    assert_eq!(edge.states(&urls).await, "MISS MISS HIT");
}

#[tokio::test]
async fn the_admin_listener_takes_every_form() {
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    let urls = ["a.example/news/1?tags=t", "b.example/news/1?tags=t&type=image/png", "b.example/x"];
    edge.fill(&urls).await;
    let mut stored = 3;
    for (json, expected) in [
        (r#"{"url":"https://a.example/news/1?tags=t"}"#, "MISS HIT HIT"),
        (r#"{"url":"http://b.example/*"}"#, "HIT MISS MISS"),
        (r#"{"tags":"t other","host":"b.example"}"#, "HIT MISS HIT"),
        (r#"{"path":"~^/news/","header":{"content-type":"image/*"}}"#, "HIT MISS HIT"),
        (r#"{"expression":"path == /news/* && host != b.example"}"#, "MISS HIT HIT"),
        (r#"{"everything":true}"#, "MISS MISS MISS"),
    ] {
        let misses = expected.matches("MISS").count();
        assert_eq!(edge.post(json).await, (200, format!("{{\"invalidated\":{misses}}}")), "{json}");
        assert_eq!(edge.states(&urls).await, expected, "{json}");
        stored += misses;
        edge.stored(stored).await;
    }
    assert_eq!(edge.post(r#"{"everything":true,"soft":true}"#).await.1, "{\"invalidated\":3}");
    let (status, answer) = edge.post(r#"{"expression":"pth == /"}"#).await;
    assert_eq!(status, 400);
    assert!(answer.contains("at character 1 of the expression"), "{answer}");
}

#[tokio::test]
async fn answers_are_json_for_those_who_ask() {
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    edge.fill(&["site.example/a"]).await;
    let json = ("Accept", "text/html;q=0.1, application/json;q=0.9");
    let answer = edge.request("PURGE", "/a", &[json], b"").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"invalidated\":1}\n"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let bad = edge.request("BAN", "/", &[json], b"").await;
    assert!(bad.status == 400 && bad.text().starts_with("{\"error\":\"a BAN needs tags"), "{}", bad.text());
    let closed = Edge::start(&origin, &["--purge-from=10.0.0.0/8,192.0.2.1/32"]).await;
    let refused = closed.request("PURGE", "/a", &[json], b"").await;
    let expected = r#"{"allowed":["10.0.0.0/8","192.0.2.1/32"],"client":"127.0.0.1","error":"127.0.0.1 may not invalidate: see --purge-from"}"#;
    assert_eq!((refused.status, refused.text().trim()), (403, expected));
}

/// Who is the caller behind a load balancer: whom the trusted proxy names, not the proxy.
#[tokio::test]
async fn the_caller_is_whom_a_trusted_proxy_names() {
    let origin = origin().await;
    let purge = async |flags: &[&str], forwarded: Option<&str>| {
        let edge = Edge::start(&origin, flags).await;
        let headers: Vec<(&str, &str)> =
            forwarded.map(|value| ("X-Forwarded-For", value)).into_iter().collect();
        let answer = edge.request("PURGE", "/a", &headers, b"").await;
        let refused = if answer.status == 403 { 1.0 } else { 0.0 };
        edge.metric_becomes("edge_cache_purges_refused_total", refused).await;
        (answer.status, answer.text().split(' ').next().unwrap().to_owned())
    };
    let trusted = "--trusted-proxies=127.0.0.0/8";
    for (flags, forwarded, expected) in [
        (&[trusted, "--purge-from=10.0.0.0/8"][..], Some("10.0.0.7"), (200, "invalidated")),
        (&[trusted, "--purge-from=10.0.0.0/8"], Some("10.0.0.7, 192.0.2.1"), (403, "192.0.2.1")),
        (&[trusted, "--purge-from=127.0.0.0/8"], Some("192.0.2.1"), (403, "192.0.2.1")),
        (&[trusted, "--purge-from=127.0.0.0/8"], None, (200, "invalidated")),
        (&["--purge-from=10.0.0.0/8"], Some("10.0.0.7"), (403, "127.0.0.1")),
        (&[], None, (403, "127.0.0.1")),
    ] {
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(purge(flags, forwarded).await, expected, "{flags:?} {forwarded:?}");
    }
    assert_eq!(origin.requests().len(), 0, "the origin sees none of it");
}

/// More than is done at once, and more than is given back at once.
#[tokio::test]
async fn a_large_purge_is_complete_when_it_is_answered_and_gives_its_memory_back() {
    const PAGES: usize = 1_500;
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    let mut client = client::Client::connect(edge.address).await.unwrap();
    for number in 0..PAGES {
        let page = client.request("GET", &format!("/{number}?tags=all"), &[("Host", "a.example")], b"").await;
        assert_eq!(x_cache(&page.unwrap()), "MISS");
    }
    edge.stored(PAGES).await;
    assert_eq!(edge.taken("BAN", "/", &[("Cache-Tags", "all"), ("X-Purge-Mode", "soft")]).await, "1500");
    assert_eq!(edge.taken("BAN", "/", &[("Cache-Tags", "all")]).await, "1500");
    assert_eq!(edge.taken("BAN", "/", &[("Cache-Tags", "all")]).await, "0");
    wait_until("the memory to be given back", DEADLINE, async || {
        // The store counts while it is used.
        edge.get("/other").await;
        edge.metric("edge_cache_objects").await <= 1.0
    })
    .await;
    for number in [0, PAGES / 2, PAGES - 1] {
        assert_eq!(edge.states(&[&format!("a.example/{number}?tags=all")]).await, "MISS");
    }
}

#[tokio::test]
async fn purges_are_counted_by_kind_and_mode() {
    let origin = origin().await;
    let edge = Edge::start(&origin, OPEN).await;
    edge.fill(&["site.example/a?tags=t", "site.example/b"]).await;
    edge.taken("PURGE", "/b", &[("X-Purge-Mode", "soft")]).await;
    edge.taken("BAN", "/", &[("Cache-Tags", "t")]).await;
    edge.taken("PURGE", "/c*", &[]).await;
    edge.taken("BAN", "/", &[("X-Ban-Path", "~c")]).await;
    edge.taken("BAN", "/site", &[]).await;
    let page = client::get(edge.admin(), "/metrics", &[]).await.unwrap().text();
    for (kind, mode, objects) in [
        ("url", "soft", 1),
        ("tags", "hard", 1),
        ("pattern", "hard", 0),
        ("expression", "hard", 0),
        ("everything", "hard", 1),
    ] {
        let labels = format!("{{kind=\"{kind}\",mode=\"{mode}\"}}");
        assert!(page.contains(&format!("edge_cache_purges_total{labels} 1\n")), "{labels}: {page}");
        assert!(
            page.contains(&format!("edge_cache_purged_objects_total{labels} {objects}\n")),
            "{labels}: {page}"
        );
    }
    assert!(
        origin.requests().iter().all(|request| request.method == "GET"),
        "none of them reached the origin"
    );
}
