#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use common::http::forwarded::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::edits::fill;
use super::*;
use crate::policy::cache_control::CacheControl;
use crate::policy::freshness::Freshness;

fn read(preset: Preset, text: &str) -> Result<Rules, RuleError> {
    Rules::of(preset, Some(Source { name: "edge.toml", text }))
}

/// `GET http://host/target|Name: value|…`
fn head(request: &str) -> (request::Parts, CacheKey) {
    let mut lines = request.split('|');
    let (method, url) = lines.next().unwrap().split_once(' ').unwrap();
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (host, target) =
        if rest.starts_with('/') { ("a.example", rest) } else { rest.split_at(rest.find('/').unwrap()) };
    let mut request = http::Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    (request.body(()).unwrap().into_parts().0, CacheKey::new(scheme, host, target))
}

struct After {
    head: request::Parts,
    key: CacheKey,
    orders: Orders,
    fitted: Vec<String>,
    said: String,
}

fn apply(rules: &Rules, request: &str) -> After {
    let (mut head, mut key) = head(request);
    let mut fitted = Vec::new();
    let client = "192.0.2.1".parse().unwrap();
    let orders = rules.apply_seen(&mut head, &mut key, client, |rule| fitted.push(rule.name.to_string()));
    let said = match rules.decider(orders).map(|rule| (&*rule.name, rule.decision.as_ref().unwrap())) {
        None => "none".to_owned(),
        Some((name, Decision::Lookup)) => format!("{name}: lookup"),
        Some((name, Decision::Pass)) => format!("{name}: pass"),
        Some((name, Decision::Deny(status))) => format!("{name}: {}", status.as_u16()),
        Some((name, Decision::Redirect(status, template))) => {
            format!("{name}: {} {}", status.as_u16(), template.location(fill(&head, &key, client)))
        }
    };
    After { head, key, orders, fitted, said }
}

#[test]
fn the_first_decision_ends_it_and_every_rule_before_it_edits() {
    let rules = read(
        Preset::None,
        r#"
        [[rule]]
        name = "no-tracking"
        strip-params = ["utm_*"]

        [[rule]]
        name = "https"
        scheme = "http"
        host = "secure.example"
        redirect = "https://{host}{target}"
        redirect-status = 301

        [[rule]]
        name = "old"
        path = "/old/**"
        redirect = "{path}/new"

        [[rule]]
        name = "secret"
        path = ["/secret/**", "/.git/**"]
        unless = { client = "10.0.0.0/8" }
        deny = 404

        [[rule]]
        name = "shop"
        path = "/shop/**"
        set-request-headers = { X-Shop = "{host}{path}" }
        pass = true

        [[rule]]
        name = "language"
        keep-cookies = "lang"
        remove-request-headers = "X-Shop"

        [[rule]]
        name = "feed"
        path = "/feed"
        lookup = true

        [[rule]]
        name = "last"
        deny = true
        "#,
    )
    .unwrap();
    let cases = [
        ("GET http://secure.example/a?utm_x=1&b", "https: 301 https://secure.example/a?b"),
        ("GET https://secure.example/feed", "feed: lookup"),
        ("GET /old/x", "old: 302 /old/x/new"),
        ("GET /x/%2e%2e//secret/y", "secret: 404"),
        ("GET /shop/cart|X-Shop: forged", "shop: pass"),
        ("GET /feed|Cookie: lang=de; a=1|X-Shop: forged", "feed: lookup"),
        ("POST /other", "last: 403"),
    ];
    for (request, expected) in cases {
        assert_eq!(apply(&rules, request).said, expected, "{request}");
    }
    let shop = apply(&rules, "GET /shop/cart?utm_source=1|Cookie: a=1");
    assert_eq!(shop.head.uri, "/shop/cart");
    assert_eq!(shop.key.as_str(), "http://a.example/shop/cart");
    assert_eq!(shop.head.headers["x-shop"], "a.example/shop/cart");
    assert_eq!(shop.head.headers["cookie"], "a=1", "evaluation has ended before");
    assert_eq!(shop.fitted, ["no-tracking", "shop"]);
    let feed = apply(&rules, "GET /feed|Cookie: lang=de; a=1|X-Shop: forged");
    assert_eq!(feed.head.headers["cookie"], "lang=de");
    assert!(!feed.head.headers.contains_key("x-shop"));
}

#[test]
fn no_rules_do_nothing() {
    let rules = Rules::of(Preset::None, None).unwrap();
    let after = apply(&rules, "GET /a?utm_source=1|Cookie: a=1");
    assert_eq!((after.orders, after.said.as_str()), (Orders::default(), "none"));
    assert_eq!(after.head.uri, "/a?utm_source=1");
}

const SESSION: &str = "SSESSd41d8cd98f00b204e9800998ecf8427e=x";

#[test]
fn the_preset_of_drupal() {
    let rules = Rules::of(Preset::Drupal, None).unwrap();
    let session = |request: &str| format!("{request}|Cookie: _ga=1; {SESSION}");
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("GET /|Cookie: _ga=1; has_js=1", "none", None),
        (&session("GET /"), "session-cookie: pass", Some("_ga=1; SSESSd41d8cd98f00b204e9800998ecf8427e=x")),
        (
            "GET /|Cookie: SESSd41d8cd98f00b204e9800998ecf8427e=x",
            "session-cookie: pass",
            Some("SESSd41d8cd98f00b204e9800998ecf8427e=x"),
        ),
        ("GET /|Cookie: NO_CACHE=1", "session-cookie: pass", Some("NO_CACHE=1")),
        ("GET /|Cookie: big_pipe_nojs=1", "session-cookie: pass", Some("big_pipe_nojs=1")),
        ("GET /|Cookie: SESS=short; MYSESSd41d8cd98f00b204e9800998ecf8427e=1", "none", None),
        ("POST /user/login|Cookie: a=1", "none", Some("a=1")),
        ("GET /update.php/selection|Cookie: a=1", "scripts: pass", Some("a=1")),
        ("GET /core/install.php", "scripts: pass", None),
        ("GET /cron/abc", "scripts: pass", None),
        ("GET /admin", "administration: pass", None),
        ("GET /%61dmin/content?utm_x=1", "administration: pass", None),
        ("GET /administration", "none", None),
        ("GET /de/ajax/x", "ajax: pass", None),
        ("GET /flag/flag/x/1", "ajax: pass", None),
        (&session("GET /sites/default/files/css/css_a.css?delta=0"), "none", None),
        (&session("GET /core/misc/drupal.js"), "none", None),
        // Where a page can be somebody's own it is not a file's name that says otherwise (cache deception).
        (
            &session("GET /user/1/x.css"),
            "session-cookie: pass",
            Some("_ga=1; SSESSd41d8cd98f00b204e9800998ecf8427e=x"),
        ),
        (
            &session("GET /system/files/private.pdf"),
            "session-cookie: pass",
            Some("_ga=1; SSESSd41d8cd98f00b204e9800998ecf8427e=x"),
        ),
        (
            &session("GET /core/../user/1/x.css"),
            "session-cookie: pass",
            Some("_ga=1; SSESSd41d8cd98f00b204e9800998ecf8427e=x"),
        ),
        (
            &session("GET /core/x%2F..%2F..%2Fuser/x.css"),
            "session-cookie: pass",
            Some("_ga=1; SSESSd41d8cd98f00b204e9800998ecf8427e=x"),
        ),
        (&session("GET /core/authorize.php/x.css"), "scripts: pass", None),
    ];
    for (request, said, cookie) in cases {
        let after = apply(&rules, request);
        assert_eq!(after.said, *said, "{request}");
        let left = after.head.headers.get("cookie").map(|value| value.to_str().unwrap());
        assert_eq!(left, *cookie, "{request}");
    }
    let tracked = apply(&rules, "GET /node/1?utm_source=x&page=2&gclid=y");
    assert_eq!(tracked.key.as_str(), "http://a.example/node/1?page=2");
    let mine = apply(&rules, &session("GET /node/1?utm_source=x"));
    assert_eq!(mine.head.uri, "/node/1?utm_source=x", "a session's requests are left alone");
}

#[test]
fn the_preset_of_wordpress() {
    let rules = Rules::of(Preset::Wordpress, None).unwrap();
    let cases: &[(&str, &str, bool)] = &[
        ("GET /|Cookie: wordpress_test_cookie=1; wp-settings-time-1=5", "none", false),
        ("GET /|Cookie: a=1; wordpress_logged_in_abc=x", "session-cookie: pass", true),
        ("GET /|Cookie: wp-postpass_1=x", "session-cookie: pass", true),
        ("GET /|Cookie: comment_author_1=x", "session-cookie: pass", true),
        ("GET /|Cookie: woocommerce_items_in_cart=1", "session-cookie: pass", true),
        ("GET /|Cookie: PHPSESSID=1", "session-cookie: pass", true),
        ("GET /blog/wp-admin/index.php|Cookie: a=1", "administration: pass", true),
        ("GET /wp-login.php|Cookie: a=1", "scripts: pass", true),
        ("GET /xmlrpc.php", "scripts: pass", false),
        ("GET /wp-cron.php?doing_wp_cron", "scripts: pass", false),
        ("GET /?p=1&preview=true", "parameters: pass", false),
        ("GET /product/x?add-to-cart=5", "parameters: pass", false),
        ("GET /cart", "shop: pass", false),
        ("GET /en/checkout/order-pay/1", "shop: pass", false),
        ("GET /carts", "none", false),
        ("GET /wp-content/themes/x/a.css|Cookie: wordpress_logged_in_abc=x", "none", false),
        (
            "GET /wp-content/uploads/woocommerce_uploads/a.pdf|Cookie: wordpress_logged_in_abc=x",
            "session-cookie: pass",
            true,
        ),
        ("GET /my-account/x.css|Cookie: wordpress_logged_in_abc=x", "shop: pass", true),
    ];
    for (request, said, cookie) in cases {
        let after = apply(&rules, request);
        assert_eq!(after.said, *said, "{request}");
        assert_eq!(after.head.headers.contains_key("cookie"), *cookie, "{request}");
    }
}

#[test]
fn a_file_changes_a_preset_rule_by_rule() {
    const PRESET: [&str; 7] = [
        "static-files",
        "scripts",
        "administration",
        "ajax",
        "session-cookie",
        "tracking-parameters",
        "other-cookies",
    ];
    let with = |first: &[&'static str], rest: &[&'static str]| [first, rest].concat();
    let rule = |name: &str, more: &str| format!("[[rule]]\nname = \"{name}\"\n{more}\n");
    let cases = [
        (String::new(), PRESET.to_vec()),
        (rule("mine", "pass = true") + &rule("other", "pass = true"), with(&["mine", "other"], &PRESET)),
        (rule("ajax", "path = \"/x\"\npass = true"), PRESET.to_vec()),
        (
            rule("ajax", "enabled = false") + &rule("static-files", "enabled = false"),
            vec!["scripts", "administration", "session-cookie", "tracking-parameters", "other-cookies"],
        ),
        (rule("mine", "after = \"other-cookies\"\npass = true"), with(&PRESET, &["mine"])),
        (rule("mine", "before = \"static-files\"\npass = true"), with(&["mine"], &PRESET)),
        (
            rule("a", "after = \"static-files\"\npass = true")
                + &rule("b", "after = \"static-files\"\npass = true"),
            with(&["static-files", "a", "b"], &PRESET[1..]),
        ),
        (
            rule("a", "before = \"b\"\npass = true") + &rule("b", "after = \"static-files\"\npass = true"),
            with(&["static-files", "a", "b"], &PRESET[1..]),
        ),
        (
            rule("ajax", "before = \"static-files\"\npass = true"),
            vec![
                "ajax",
                "static-files",
                "scripts",
                "administration",
                "session-cookie",
                "tracking-parameters",
                "other-cookies",
            ],
        ),
        (rule("mine", "enabled = false\npass = true"), PRESET.to_vec()),
        (
            rule("ajax", "enabled = false") + &rule("mine", "after = \"ajax\"\npass = true"),
            [&PRESET[..3], &["mine"], &PRESET[4..]].concat(),
        ),
    ];
    for (file, expected) in cases {
        let rules = read(Preset::Drupal, &file).unwrap();
        assert_eq!(rules.names().collect::<Vec<_>>(), expected, "{file}");
        // What is printed is the same list again, with the preset and without it.
        let printed = rules.render();
        for preset in [Preset::None, Preset::Drupal] {
            let again = read(preset, printed).unwrap();
            assert_eq!(again.names().collect::<Vec<_>>(), expected, "{preset:?} {file}");
            assert_eq!(again.render(), printed, "{preset:?} {file}");
        }
    }
    let replaced = read(Preset::Drupal, &rule("ajax", "path = \"/x\"\npass = true")).unwrap();
    assert_eq!(apply(&replaced, "GET /x").said, "ajax: pass");
    assert_eq!(apply(&replaced, "GET /de/ajax/x").said, "none");
}

#[test]
fn presets_are_printed_and_read_again() {
    for preset in [Preset::None, Preset::Drupal, Preset::Wordpress] {
        let rules = Rules::of(preset, None).unwrap();
        let printed = rules.render();
        assert_eq!(read(Preset::None, printed).unwrap().render(), printed);
    }
}

#[test]
fn errors_say_where_they_stand_and_what_is_accepted() {
    let cases = [
        ("[[rule]]\npass = true", "edge.toml:2: rule 1: a rule needs a name"),
        (
            "[[rule]]\nname = \"a b\"\npass = true",
            "edge.toml:2: rule \"a b\": name = \"a b\": expected up to 64 letters",
        ),
        ("[[rule]]\nname = \"x\"", "rule \"x\": it does nothing; a rule has at least one of: pass, lookup"),
        (
            "[[rule]]\nname = \"x\"\npas = true",
            "edge.toml:3: rule \"x\": unknown key `pas` (did you mean `pass`?); the keys are: name, enabled",
        ),
        ("[[rule]]\nname = \"x\"\npass = false", "pass = false: expected true, or nothing at all"),
        ("[[rule]]\nname = \"x\"\npass = true\nlookup = true", "pass, lookup, deny and redirect: keep one"),
        ("[[rule]]\nname = \"x\"\ndeny = 200", "deny = 200: expected true (403) or a status from 400 to 599"),
        (
            "[[rule]]\nname = \"x\"\nredirect = \"/{hots}\"",
            "{hots} is no place: the places are {scheme}, {host}",
        ),
        (
            "[[rule]]\nname = \"x\"\nredirect = \"/\"\nredirect-status = 200",
            "redirect-status = 200: expected 301, 302",
        ),
        ("[[rule]]\nname = \"x\"\npass = true\nredirect-status = 301", "there is no redirect"),
        (
            "[[rule]]\nname = \"x\"\n\nttl = \"soon\"",
            "edge.toml:4: rule \"x\": ttl = \"soon\": expected a duration such as",
        ),
        ("[[rule]]\nname = \"x\"\nttl = 60", "ttl = 60: expected a string"),
        ("[[rule]]\nname = \"x\"\npass = true\noverride = true", "it belongs to a ttl"),
        ("[[rule]]\nname = \"x\"\nset-cookie = \"keep\"", "expected \"strip\" or \"share\""),
        (
            "[[rule]]\nname = \"x\"\nkeep-params = \"a\"\nstrip-params = \"b\"",
            "keep-params says already what is left",
        ),
        (
            "[[rule]]\nname = \"x\"\nset-request-headers = { Content-Length = \"1\" }",
            "Content-Length frames the message",
        ),
        (
            "[[rule]]\nname = \"x\"\nremove-response-headers = [\"Age\"]",
            "Age frames the message or is the cache's own",
        ),
        ("[[rule]]\nname = \"x\"\nremove-response-headers = \"Set-Cookie\"", "see the key set-cookie"),
        ("[[rule]]\nname = \"x\"\norigin = \"https://a\"", "expected http://HOST:PORT"),
        ("[[rule]]\nname = \"x\"\nstatus = 404\npass = true", "status and response-header choose responses"),
        ("[[rule]]\nname = \"x\"\nstatus = 404\nttl = \"1m\"\npass = true", "belongs into another rule"),
        (
            "[[rule]]\nname = \"x\"\nstatus = \"6xx\"\nttl = \"1m\"",
            "expected statuses such as 404 or \"5xx\"",
        ),
        ("[[rule]]\nname = \"x\"\ncookie = \"beta\"\norigin = \"b:1\"", "are no part of the cache's key"),
        ("[[rule]]\nname = \"x\"\nbefore = \"a\"\nafter = \"b\"\npass = true", "before and after: keep one"),
        (
            "[[rule]]\nname = \"x\"\nafter = \"nobody\"\npass = true",
            "edge.toml:2: rule \"x\": there is no rule \"nobody\"",
        ),
        (
            "[[rule]]\nname = \"x\"\nafter = \"x\"\npass = true",
            "there is no rule \"x\" that it could stand beside",
        ),
        (
            "[[rule]]\nname = \"x\"\npass = true\n[[rule]]\nname = \"x\"\npass = true",
            "edge.toml:5: rule \"x\": there is another rule of this name",
        ),
        ("rule = 7", "edge.toml:1: rule: expected tables that begin with [[rule]]"),
        ("[[rule]\n", "edge.toml:1: not valid TOML"),
    ];
    for (text, expected) in cases {
        let error = read(Preset::None, text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}\ngave {error}");
    }
    let many: Vec<String> = (0..129).map(|n| format!("[[rule]]\nname = \"r{n}\"\nttl = \"1m\"")).collect();
    let error = read(Preset::None, &many.join("\n")).unwrap_err().to_string();
    assert!(error.contains("rule \"r128\": more than 128 rules act on responses"), "{error}");
}

#[test]
fn an_origin_chosen_beyond_the_key_passes_or_varies() {
    let rule = |more: &str| format!("[[rule]]\nname = \"x\"\norigin = [\"b:1\", \"dns://c:2\"]\n{more}");
    for (more, accepted) in [
        ("host = \"b.example\"", true),
        ("cookie = \"beta\"\npass = true", true),
        ("header = \"X-Beta\"\nset-response-headers = { Vary = \"X-Beta\" }", true),
        ("unless = { header = \"X-Beta\" }", false),
    ] {
        assert_eq!(read(Preset::None, &rule(more)).is_ok(), accepted, "{more}");
    }
}

#[test]
fn the_key_of_a_url_is_that_of_its_get() {
    let rules = read(
        Preset::Drupal,
        "[[rule]]\nname = \"pages\"\npath = \"/list\"\nmethod = \"GET\"\nkeep-params = \"page\"\n",
    )
    .unwrap();
    let key = |url: &str| rules.key_of(&CacheKey::of_url(url).unwrap()).to_string();
    assert_eq!(key("http://a.example/list?x=1&page=2"), "http://a.example/list?page=2");
    assert_eq!(key("https://a.example/x?utm_source=a"), "https://a.example/x");
    assert_eq!(key("https://a.example:8443/x?y"), "https://a.example:8443/x?y");
}

struct Case {
    rules: &'static str,
    status: u16,
    response: &'static [(&'static str, &'static str)],
    /// Seconds of freshness from now on, directives that remain, fields after the edits.
    lifetime: u64,
    private: bool,
    set_cookie: Option<SetCookie>,
}

#[test]
fn responses() {
    const TTL: &str = "[[rule]]\nname = \"ttl\"\nttl = \"5m\"\n";
    const FORCED: &str = "[[rule]]\nname = \"ttl\"\nttl = \"5m\"\noverride = true\n";
    const ERRORS: &str = "[[rule]]\nname = \"ttl\"\nttl = \"5m\"\n[[rule]]\nname = \"e\"\nstatus = [404, \"5xx\"]\nttl = \"10s\"\n";
    const IMAGES: &str = "[[rule]]\nname = \"i\"\nresponse-header = { Content-Type = \"image/*\" }\nttl = \"1h\"\nset-cookie = \"strip\"\n";
    let cases = [
        Case {
            rules: TTL,
            status: 200,
            response: &[("cache-control", "max-age=60")],
            lifetime: 300,
            private: false,
            set_cookie: None,
        },
        Case {
            rules: TTL,
            status: 200,
            response: &[("age", "1000")],
            lifetime: 300,
            private: false,
            set_cookie: None,
        },
        Case {
            rules: TTL,
            status: 200,
            response: &[("cache-control", "private")],
            lifetime: 300,
            private: true,
            set_cookie: None,
        },
        Case {
            rules: FORCED,
            status: 200,
            response: &[
                ("cache-control", "private"),
                ("cdn-cache-control", "no-store"),
                ("surrogate-control", "no-store"),
            ],
            lifetime: 300,
            private: false,
            set_cookie: None,
        },
        Case { rules: TTL, status: 500, response: &[], lifetime: 0, private: false, set_cookie: None },
        Case { rules: ERRORS, status: 500, response: &[], lifetime: 10, private: false, set_cookie: None },
        Case { rules: ERRORS, status: 404, response: &[], lifetime: 10, private: false, set_cookie: None },
        Case { rules: ERRORS, status: 200, response: &[], lifetime: 300, private: false, set_cookie: None },
        Case {
            rules: IMAGES,
            status: 200,
            response: &[("content-type", "image/png"), ("set-cookie", "a=b")],
            lifetime: 3600,
            private: false,
            set_cookie: Some(SetCookie::Strip),
        },
        Case {
            rules: IMAGES,
            status: 200,
            response: &[("content-type", "text/html"), ("set-cookie", "a=b")],
            lifetime: 0,
            private: false,
            set_cookie: None,
        },
    ];
    for case in cases {
        let rules = read(Preset::None, case.rules).unwrap();
        let orders = apply(&rules, "GET /").orders;
        let mut headers = HeaderMap::new();
        for (name, value) in case.response {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let (status, now) = (StatusCode::from_u16(case.status).unwrap(), SystemTime::now());
        let wanted = orders.response(&rules, status, &headers);
        let seen = wanted.seen(&headers);
        let directives = wanted.directives(CacheControl::of(&seen));
        let freshness = wanted.freshness(Freshness::of(status, &seen, &directives, now, now));
        let left = freshness.lifetime.saturating_sub(freshness.initial_age);
        let name = format!("{} {} {:?}", case.rules, case.status, case.response);
        assert_eq!(left, Duration::from_secs(case.lifetime), "{name}");
        assert_eq!(directives.private, case.private, "{name}");
        assert_eq!(wanted.set_cookie, case.set_cookie, "{name}");
        assert_eq!(
            seen.contains_key("set-cookie"),
            headers.contains_key("set-cookie") && case.set_cookie.is_none(),
            "{name}"
        );
        assert!(
            case.set_cookie.is_some()
                || !case.rules.contains("override")
                || !seen.contains_key("surrogate-control"),
            "{name}"
        );
        let mut stored = headers.clone();
        wanted.edit_stored(&mut stored);
        assert_eq!(
            stored.contains_key("set-cookie"),
            headers.contains_key("set-cookie") && case.set_cookie.is_none(),
            "{name}"
        );
    }
}

#[test]
fn of_several_rules_the_last_counts_and_all_edit() {
    let rules = read(
        Preset::None,
        r#"
        [[rule]]
        name = "first"
        ttl = "5m"
        grace = "1h"
        keep = "1d"
        set-response-headers = { X-A = "1", X-B = "1" }

        [[rule]]
        name = "second"
        ttl = "7m"
        set-cookie = "share"
        set-response-headers = { X-B = "2" }
        remove-response-headers = ["X-Generator"]
        "#,
    )
    .unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-generator", HeaderValue::from_static("Drupal"));
    headers.insert("set-cookie", HeaderValue::from_static("a=b"));
    let wanted = apply(&rules, "GET /").orders.response(&rules, StatusCode::OK, &headers);
    assert_eq!(wanted.ttl, Some(Duration::from_mins(7)));
    assert_eq!((wanted.grace, wanted.keep), (Some(Duration::from_hours(1)), Some(Duration::from_hours(24))));
    wanted.edit_stored(&mut headers);
    assert_eq!(
        (&headers["x-a"], &headers["x-b"]),
        (&HeaderValue::from_static("1"), &HeaderValue::from_static("2"))
    );
    assert!(!headers.contains_key("x-generator"));
    assert!(headers.contains_key("set-cookie"), "shared");
}

#[test]
fn what_the_documentation_shows_is_accepted() {
    for page in [include_str!("../../../docs/rules.md"), include_str!("../../../docs/from-vcl.md")] {
        let blocks: Vec<&str> =
            page.split("```").skip(1).step_by(2).filter_map(|b| b.strip_prefix("toml\n")).collect();
        assert!(blocks.len() > 3);
        for block in blocks {
            let rules = read(Preset::Drupal, block).unwrap_or_else(|error| panic!("{error} in\n{block}"));
            assert!(!rules.list.is_empty());
        }
    }
    let listed = include_str!("../../../docs/rules.md");
    for name in crate::request::target::TRACKING {
        assert!(listed.contains(&format!("`{name}`")), "{name}");
    }
    let drupal = Rules::of(Preset::Drupal, None).unwrap();
    assert!(drupal.names().all(|name| listed.contains(&format!("| `{name}` |"))));
}

#[test]
fn which_rules_need_what_is_forwarded() {
    let cases = [
        ("path = \"/a\"\npass = true", false),
        ("header = \"X-Mine\"\npass = true", false),
        ("header = \"X-Forwarded-Proto\"\npass = true", true),
        ("header = { Via = false }\ndeny = 403", true),
        ("unless = { header = \"Forwarded\" }\npass = true", true),
        ("set-request-headers = { X-Request-ID = \"1\" }", true),
        ("remove-request-headers = [\"x-forwarded-host\"]", true),
        ("set-request-headers = { X-Mine = \"1\" }", false),
    ];
    for (keys, expected) in cases {
        let text = format!("[[rule]]\nname = \"one\"\n{keys}\n");
        let rules = Rules::of(Preset::None, Some(Source { name: "edge.toml", text: &text })).unwrap();
        assert_eq!(rules.name_forwarded(), expected, "{keys}");
    }
    for preset in [Preset::None, Preset::Drupal, Preset::Wordpress] {
        assert!(!Rules::of(preset, None).unwrap().name_forwarded(), "{preset:?}");
    }
}
