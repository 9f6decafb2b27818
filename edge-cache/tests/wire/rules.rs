//! Rules over the wire: each action, and a configuration that changes under traffic.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use edge_cache::Reload;
use test_support::client::{Client, Response};
use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{Edge, x_cache};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn status(response: &Response) -> &str {
    response.header("cache-status").unwrap()
}

/// Answers with what it was asked for, cacheable.
async fn echo() -> FakeOrigin {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let field = |name| request.header(name).unwrap_or("-");
        let body = format!("{} {} {}", request.target, field("cookie"), field("x-edit"));
        Reply::ok(body).header("Cache-Control", "max-age=60").header("X-Powered-By", "PHP")
    });
    origin
}

#[tokio::test]
async fn pass_lookup_deny_and_redirect() {
    let origin = echo().await;
    let rules = file(
        r#"
        [[rule]]
        name = "refused"
        path = "/secret/**"
        deny = 404

        [[rule]]
        name = "moved"
        path = "/old"
        redirect = "https://{host}/new?{query}"
        redirect-status = 301

        [[rule]]
        name = "feed"
        path = "/live/feed"
        lookup = true

        [[rule]]
        name = "live"
        path = "/live/**"
        pass = true
        "#,
    );
    let edge = Edge::with_file(&origin, rules.path(), &[]).await;
    let denied = edge.get("/x/../secret/y").await;
    assert_eq!(
        (denied.status, x_cache(&denied), status(&denied)),
        (404, "DENY", "edge-cache; detail=rule:refused")
    );
    let moved = edge.get("/old?a=1").await;
    assert_eq!((moved.status, x_cache(&moved)), (301, "REDIRECT"));
    assert_eq!(moved.header("location"), Some("https://site.example/new?a=1"));
    assert_eq!(status(&moved), "edge-cache; detail=rule:moved");
    assert_eq!(origin.requests().len(), 0);

    for _ in 0..2 {
        let live = edge.get("/live/now").await;
        assert_eq!(
            (x_cache(&live), status(&live)),
            ("PASS", "edge-cache; fwd=bypass; fwd-status=200; detail=rule:live")
        );
    }
    edge.get("/live/feed").await;
    edge.stored(1).await;
    assert_eq!(x_cache(&edge.get("/live/feed").await), "HIT");
    assert!(edge.metric("edge_cache_requests_total{decision=\"PASS\",reason=\"rule\"}").await > 1.5);
}

#[tokio::test]
async fn requests_are_edited_for_the_key_and_for_the_origin() {
    let origin = echo().await;
    let rules = file(
        r#"
        [[rule]]
        name = "params"
        keep-params = ["page", "q"]

        [[rule]]
        name = "cookies"
        keep-cookies = "lang"

        [[rule]]
        name = "fields"
        set-request-headers = { X-Edit = "{scheme} {host} {client}" }
        set-response-headers = { X-Served = "edge" }
        remove-response-headers = ["X-Powered-By"]
        "#,
    );
    let edge = Edge::with_file(&origin, rules.path(), &[]).await;
    let miss = edge
        .get_with("/list?page=2&utm_source=x", &[("Cookie", "_ga=1; lang=de"), ("X-Edit", "forged")])
        .await;
    assert_eq!(miss.text(), "/list?page=2 lang=de http site.example 127.0.0.1");
    edge.stored(1).await;
    let hit = edge.get("/list?fbclid=7&page=2").await;
    assert_eq!(
        (x_cache(&hit), hit.header("x-served"), hit.header("x-powered-by")),
        ("HIT", Some("edge"), None)
    );
    assert_eq!(edge.request("POST", "/list?a=b", &[], b"").await.header("x-served"), Some("edge"));
}

/// They see a request as the origin would, and change what it would be told.
#[tokio::test]
async fn what_this_proxy_sets_is_there_for_rules() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let field = |name| request.header(name).unwrap_or("-");
        Reply::ok(format!("{} {}", field("x-forwarded-for"), field("via")))
            .header("Cache-Control", "max-age=60")
    });
    let hidden =
        file("[[rule]]\nname = \"hidden\"\nremove-request-headers = [\"X-Forwarded-For\", \"Via\"]\n");
    let edge = Edge::with_file(&origin, hidden.path(), &[]).await;
    assert_eq!(edge.get("/").await.text(), "- -");
    let refused =
        file("[[rule]]\nname = \"own\"\nheader = { X-Forwarded-For = \"127.0.0.1\" }\ndeny = 403\n");
    let edge = Edge::with_file(&origin, refused.path(), &[]).await;
    for forged in [&[][..], &[("X-Forwarded-For", "6.6.6.6")]] {
        assert_eq!(edge.get_with("/", forged).await.status, 403, "{forged:?}");
    }
}

#[tokio::test]
async fn lifetimes_and_cookies_of_responses() {
    let origin = FakeOrigin::start().await.unwrap();
    for path in ["/page", "/private", "/forced"] {
        let control = if path == "/page" { "max-age=0" } else { "private" };
        origin.route(path, move |_| Reply::ok("x").header("Cache-Control", control));
    }
    for path in ["/strip", "/share", "/neither"] {
        origin.route(path, |_| {
            Reply::ok("x").header("Cache-Control", "max-age=60").header("Set-Cookie", "a=b")
        });
    }
    origin.route("/stripped-private", |_| {
        Reply::ok("x").header("Cache-Control", "private").header("Set-Cookie", "a=b")
    });
    origin.route("/missing", |_| Reply::new(404));
    let rules = file(
        r#"
        [[rule]]
        name = "pages"
        path = ["/page", "/private", "/missing"]
        ttl = "5m"

        [[rule]]
        name = "forced"
        path = "/forced"
        ttl = "5m"
        override = true

        [[rule]]
        name = "missing"
        status = 404
        ttl = "10s"

        [[rule]]
        name = "strip"
        path = ["/strip", "/stripped-private"]
        set-cookie = "strip"

        [[rule]]
        name = "share"
        path = "/share"
        set-cookie = "share"
        "#,
    );
    let edge = Edge::with_file(&origin, rules.path(), &[]).await;
    let cases = [
        ("/page", "ttl=300; stored", Some(None)),
        ("/forced", "ttl=300; stored", Some(None)),
        ("/missing", "ttl=10; stored", Some(None)),
        ("/private", "detail=private", None),
        ("/strip", "ttl=60; stored", Some(None)),
        ("/share", "ttl=60; stored", Some(Some("a=b"))),
        ("/neither", "detail=set-cookie", None),
        ("/stripped-private", "detail=private", None),
    ];
    let mut stored = 0;
    for (path, expected, hit) in cases {
        let miss = edge.get(path).await;
        assert!(status(&miss).ends_with(expected), "{path}: {}", status(&miss));
        let Some(cookie) = hit else {
            // What is one client's keeps what belongs to it.
            assert_eq!(miss.header("set-cookie").is_some(), path != "/private", "{path}");
            assert_ne!(x_cache(&edge.get(path).await), "HIT", "{path}");
            continue;
        };
        stored += 1;
        edge.stored(stored).await;
        let hit = edge.get(path).await;
        assert_eq!(
            (x_cache(&hit), hit.header("set-cookie"), miss.header("set-cookie")),
            ("HIT", cookie, cookie),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_rules_lifetime_outlives_a_validation() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| match request.header("if-none-match") {
        Some(_) => Reply::new(304),
        None => {
            Reply::ok("x").header("Cache-Control", "max-age=0").header("ETag", "\"1\"").header("X-A", "1")
        }
    });
    let rules = file(
        "[[rule]]\nname = \"a\"\nttl = \"1h\"\nset-response-headers = { Cache-Control = \"max-age=5\" }\nremove-response-headers = \"X-A\"\n",
    );
    let edge = Edge::with_file(&origin, rules.path(), &[]).await;
    edge.get("/").await;
    edge.stored(1).await;
    let validated = edge.get_with("/", &[("Cache-Control", "no-cache")]).await;
    assert!(status(&validated).contains("fwd-status=304; ttl=3600"), "{}", status(&validated));
    edge.stored(2).await;
    let hit = edge.get("/").await;
    assert_eq!(
        (x_cache(&hit), hit.header("cache-control"), hit.header("x-a")),
        ("HIT", Some("max-age=5"), None)
    );
}

#[tokio::test]
async fn a_rule_chooses_the_origin() {
    let (one, two) = (echo().await, FakeOrigin::start().await.unwrap());
    two.fallback(|_| Reply::ok("two").header("Cache-Control", "max-age=60"));
    let rules =
        file(&format!("[[rule]]\nname = \"shop\"\npath = \"/shop/**\"\norigin = \"{}\"\n", two.url()));
    let edge = Edge::with_file(&one, rules.path(), &[]).await;
    assert_eq!(edge.get("/shop/").await.text(), "two");
    assert_eq!(edge.request("POST", "/shop/", &[], b"").await.text(), "two");
    assert_eq!(edge.get("/").await.text(), "/ - -");
    assert_eq!((one.requests().len(), two.requests().len()), (1, 2));
}

#[tokio::test]
async fn one_resource_has_one_key_and_is_purged_by_it() {
    let origin = echo().await;
    let flags = ["--query=sort", "--strip-params=@tracking", "--purge-from=127.0.0.0/8"];
    let edge = Edge::start(&origin, &flags).await;
    assert_eq!(edge.get("/%7ea/./b?z=1&a=%7e&utm_x=1&z=0").await.text(), "/~a/b?a=~&z=1&z=0 - -");
    edge.stored(1).await;
    for same in ["/~a/b?a=~&z=1&z=0", "/x/../~a/b?z=1&z=0&a=%7E", "/%7Ea/b?gclid&z=1&a=~&z=0"] {
        assert_eq!(x_cache(&edge.get(same).await), "HIT", "{same}");
    }
    for other in ["/~a/b?a=~&z=0&z=1", "/~a%2Fb?a=~&z=1&z=0", "/~a//b?a=~&z=1&z=0"] {
        assert_ne!(x_cache(&edge.get(other).await), "HIT", "{other}");
    }
    let purged = edge.request("PURGE", "/%7ea/b?z=1&z=0&fbclid=1&a=~", &[], b"").await;
    assert_eq!(purged.text(), "invalidated 1\n");
    assert_ne!(x_cache(&edge.get("/~a/b?a=~&z=1&z=0").await), "HIT");
    for broken in ["/100%", "/%zz"] {
        assert_eq!(edge.get(broken).await.status, 400, "{broken}");
    }
    assert_eq!(edge.get("/?q=50%").await.text(), "/?q=50% - -");
}

#[tokio::test]
async fn purging_a_url_knows_the_rules_parameters() {
    let origin = echo().await;
    let rules =
        file("preset = \"drupal\"\n[[rule]]\nname = \"list\"\npath = \"/list\"\nkeep-params = \"page\"\n");
    let edge = Edge::with_file(&origin, rules.path(), &["--purge-from=127.0.0.0/8"]).await;
    edge.get("/list?page=1&x=2&utm_source=y").await;
    edge.stored(1).await;
    assert_eq!(x_cache(&edge.get("/list?x=3&page=1").await), "HIT");
    assert_eq!(edge.request("PURGE", "/list?x=4&page=1", &[], b"").await.text(), "invalidated 1\n");
}

#[tokio::test]
async fn a_changed_file_counts_without_a_lost_connection_or_cache() {
    let origin = echo().await;
    let mut config = file("[[rule]]\nname = \"a\"\npath = \"/a\"\ndeny = 403\n");
    let edge = Edge::with_file(&origin, config.path(), &[]).await;
    edge.get("/stored").await;
    edge.stored(1).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    let mut ask = async |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n\r\n")).await.unwrap();
        client.response("GET").await.unwrap()
    };
    assert_eq!(ask("/a").await.status, 403);

    config.write_all(b"[[rule]]\nname = \"b\"\npath = \"/b\"\ndeny = 403\n").unwrap();
    edge.metric_becomes("edge_cache_config_reloads_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!((ask("/a").await.status, ask("/b").await.status), (403, 403));
    assert_eq!(x_cache(&ask("/stored").await), "HIT");

    config.write_all(b"[[rule]]\nname = \"c\"\npth = \"/c\"\ndeny = 403\n").unwrap();
    edge.metric_becomes("edge_cache_config_reloads_total{outcome=\"refused\"}", 1.0).await;
    assert_eq!((ask("/b").await.status, ask("/c").await.status), (403, 200));

    std::fs::write(config.path(), "memory = \"2MiB\"\nstrip-params = \"x\"\nkeep = \"2h\"\n").unwrap();
    edge.metric_becomes("edge_cache_config_reloads_total{outcome=\"applied\"}", 2.0).await;
    assert_eq!((ask("/a").await.status, x_cache(&ask("/stored?x=1").await)), (200, "HIT"));
    let status: serde_json::Value = serde_json::from_str(&edge.status().await).unwrap();
    assert_eq!(status["limit"], 256 << 20, "memory needs a restart");
}

#[tokio::test]
async fn a_new_file_in_its_place_is_seen_and_an_absent_one_changes_nothing() {
    let origin = echo().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\npath = \"/{name}\"\ndeny = 403\n");
    std::fs::write(&path, rule("a")).unwrap();
    let edge = Edge::with_file(&origin, &path, &[]).await;
    std::fs::remove_file(&path).unwrap();
    assert_eq!(edge.get("/a").await.status, 403);
    // Of the same size, and with luck of the same time: only the inode is another.
    let next = folder.path().join("next.toml");
    std::fs::write(&next, rule("b")).unwrap();
    std::fs::rename(&next, &path).unwrap();
    wait_until("the new rule", DEADLINE, async || edge.get("/b").await.status == 403).await;
    assert_eq!(edge.get("/a").await.status, 200);
    tokio::time::timeout(Duration::from_secs(1), edge.get("/a")).await.unwrap();
}

#[tokio::test]
async fn sighup_reads_the_file() {
    let origin = echo().await;
    let config = file("[[rule]]\nname = \"a\"\npath = \"/a\"\ndeny = 403\n");
    let on_hangup = |reload: Reload| reload.every(Duration::from_hours(1)).on_hangup().unwrap();
    let edge = Edge::reloading(&origin, config.path(), &[], on_hangup).await;
    assert_eq!(edge.get("/a").await.status, 403);
    std::fs::write(config.path(), "keep = \"2h\"\n").unwrap();
    let pid = std::process::id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    edge.metric_becomes("edge_cache_config_reloads_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(edge.get("/a").await.status, 200);
}

/// What the program prints, or its complaint.
fn check(args: &[&str]) -> Result<String, String> {
    let program = Command::new(env!("CARGO_BIN_EXE_edge-cache")).arg("check").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if program.status.success() { Ok(text(program.stdout)) } else { Err(text(program.stderr)) }
}

#[test]
fn the_rules_that_check_prints_are_rules_again() {
    for preset in ["none", "drupal", "wordpress"] {
        let flag = format!("--preset={preset}");
        let mine = file("[[rule]]\nname = \"mine\"\nafter = \"ajax\"\npath = '~^/\\d+$'\nttl = \"1m\"\n");
        let mine = mine.path().to_str().unwrap();
        let args: &[&str] = if preset == "drupal" { &["--config", mine] } else { &[] };
        let printed = check(&[&["--print-rules", &flag], args].concat()).unwrap();
        assert_eq!(printed.contains("name = \"mine\""), preset == "drupal", "{printed}");
        let pasted = file(&printed);
        let pasted = pasted.path().to_str().unwrap();
        for preset in ["--preset=none", &flag] {
            let again = check(&["--print-rules", preset, "--config", pasted]).unwrap();
            assert_eq!(again, printed, "{preset}");
        }
        // The whole configuration too is a file.
        let whole = check(&["--config", pasted, &flag]).unwrap();
        let whole_file = file(&whole);
        let again = check(&["--config", whole_file.path().to_str().unwrap(), "--print-rules"]).unwrap();
        assert_eq!(again, printed, "{whole}");
    }
}

#[test]
fn a_rule_that_cannot_be_used_is_an_error_with_its_line() {
    let bad = file("preset = \"drupal\"\n\n[[rule]]\nname = \"x\"\ntll = \"1m\"\n");
    let error = check(&["--config", bad.path().to_str().unwrap()]).unwrap_err();
    assert!(error.contains(":5: rule \"x\": unknown key `tll` (did you mean `ttl`?)"), "{error}");
    let options = file("[[rule]]\nname = \"x\"\npass = true\nmemory = \"1GiB\"\n");
    let error = check(&["--config", options.path().to_str().unwrap()]).unwrap_err();
    assert!(error.contains(":4: rule \"x\": unknown key `memory`"), "{error}");
}

#[tokio::test]
async fn grace_and_keep_of_a_rule_hold_for_what_it_fits_and_after_a_304() {
    let mut origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| match request.header("if-none-match") {
        Some(_) => Reply::new(304).header("Cache-Control", "max-age=60").header("Age", "61"),
        None => Reply::ok("page")
            .header("Cache-Control", "max-age=60")
            .header("Age", "61")
            .header("ETag", "\"1\""),
    });
    let rules = file("[[rule]]\nname = \"news\"\npath = \"/news/**\"\ngrace = \"1h\"\nkeep = \"2h\"\n");
    let edge = Edge::with_file(&origin, rules.path(), &["--keep=0s"]).await;
    edge.get("/news/1").await;
    edge.stored(1).await;
    let served = edge.get("/news/1").await;
    assert_eq!(x_cache(&served), "STALE");
    assert!(status(&served).ends_with("detail=grace"), "{}", status(&served));
    // The refresh behind it was a 304.
    edge.stored(2).await;
    assert_eq!(x_cache(&edge.get("/news/1").await), "STALE", "the rule still holds");
    edge.get("/other").await;
    edge.stored(4).await;
    assert_eq!(x_cache(&edge.get("/other").await), "MISS", "and for nothing else");
    origin.stop().await;
    assert_eq!(edge.get("/news/1").await.status, 200);
    assert_eq!(edge.get("/other").await.status, 503);
}
