#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use common::rules::Source;

use super::*;
use crate::request::Received;

const DIRECTORY: MappedTo<'_> = MappedTo::Directory;

fn file(name: &str) -> MappedTo<'_> {
    MappedTo::File(name.as_bytes())
}

fn nothing(name: &str) -> MappedTo<'_> {
    MappedTo::Nothing(name.as_bytes())
}

/// The rule that decides.
fn decide(preset: Preset, path: &str, mapped: MappedTo<'_>) -> Option<String> {
    let rules = Rules::of(preset, None).unwrap();
    // What is no path in a request (`#`) is encoded first.
    let request = Received::get(&crate::route::path::encoded(path.as_bytes()));
    let mut orders = Orders::default();
    rules.apply(&subject(&request), mapped, &mut orders).map(|(rule, _)| rule.name.to_string())
}

fn subject(request: &Received) -> Subject<'_> {
    Subject {
        method: &request.method,
        scheme: "http",
        host: "site.example",
        path: request.path.as_bytes(),
        query: request.uri.query().unwrap_or_default(),
        headers: &request.headers,
        client: request.client.ip,
    }
}

type Case = (&'static str, MappedTo<'static>, Option<&'static str>);

fn check(preset: Preset, cases: &[Case]) {
    for (path, mapped, expected) in cases {
        assert_eq!(decide(preset, path, *mapped).as_deref(), *expected, "{preset:?} {path} {mapped:?}");
    }
}

#[test]
fn every_site() {
    for preset in [Preset::None, Preset::Drupal, Preset::Wordpress] {
        check(
            preset,
            &[
                ("/", DIRECTORY, None),
                ("/index.php", file("index.php"), None),
                ("/.git/config", file("config"), Some("dotfiles")),
                ("/.env", nothing(".env"), Some("dotfiles")),
                ("/a/.htaccess", file(".htaccess"), Some("nested-dotfiles")),
                ("/.well-known/acme-challenge/x", file("x"), None),
                ("/.well-known/security.txt", nothing("security.txt"), None),
                ("/.well-known", DIRECTORY, Some("dotfiles")),
                ("/.well-known/.secret", file(".secret"), Some("nested-dotfiles")),
                ("/a/.well-known/x", file("x"), Some("nested-dotfiles")),
                ("/.well-knownx/y", file("y"), Some("dotfiles")),
                ("/a.b/c.d", file("c.d"), None),
            ],
        );
    }
}

#[test]
fn drupal_s_files() {
    let denied = Some("source-files");
    check(
        Preset::Drupal,
        &[
            ("/x.yml", nothing("x.yml"), denied),
            ("/node/x.yml", nothing("node"), None),
            ("/core/core.services.yml", file("core.services.yml"), denied),
            ("/core/includes/bootstrap.inc", file("bootstrap.inc"), denied),
            ("/a.inc.swp", file("a.inc.swp"), denied),
            ("/a.tpl.php", file("a.tpl.php"), denied),
            ("/dump.sql", file("dump.sql"), denied),
            ("/dump.mysql~", file("dump.mysql~"), denied),
            ("/a.module.orig", file("a.module.orig"), denied),
            ("/composer.json", file("composer.json"), denied),
            ("/Entries.Log", file("Entries.Log"), denied),
            ("/#a#", file("#a#"), denied),
            ("/settings.php.bak", file("settings.php.bak"), denied),
            ("/settings.php~", file("settings.php~"), denied),
            ("/README.md", file("README.md"), None),
            ("/robots.txt", file("robots.txt"), None),
            ("/index.php/x.yml", file("index.php"), None),
            ("/a.yml/", DIRECTORY, None),
            ("/x.YML", file("x.YML"), None),
            ("/sites/default/files/config_abc/sync/x", file("x"), Some("private-directories")),
            ("/sites/default/private/x.pdf", file("x.pdf"), Some("private-directories")),
            ("/sites/default/files/private/x.pdf", file("x.pdf"), Some("private-directories")),
            ("/sites/default/files/privates/x.pdf", file("x.pdf"), None),
            ("/vendor/autoload.txt", file("autoload.txt"), Some("private-directories")),
            ("/favicon.ico", nothing("favicon.ico"), Some("no-favicon")),
            ("/favicon.ico", file("favicon.ico"), None),
            ("/sites/default/files/css/css_x.css", nothing("css_x.css"), None),
        ],
    );
}

#[test]
fn drupal_s_scripts() {
    let denied = Some("php-not-allowed");
    check(
        Preset::Drupal,
        &[
            ("/index.php", file("index.php"), None),
            ("/update.php", file("update.php"), None),
            ("/update.php/selection", file("update.php"), None),
            ("/index.php/node/1", file("index.php"), None),
            ("/index.php/x.php", file("index.php"), denied),
            ("/autoload.php", file("autoload.php"), denied),
            ("/autoload.php/x", file("autoload.php"), denied),
            ("/core/authorize.php", file("authorize.php"), None),
            ("/core/authorize.php/x", file("authorize.php"), denied),
            ("/core/includes/x.php", file("x.php"), denied),
            ("/core/modules/system/tests/https.php", file("https.php"), None),
            ("/core/modules/system/tests/http.php/x", file("http.php"), None),
            ("/core/modules/statistics/statistics.php", file("statistics.php"), None),
            ("/sites/default/files/evil.php", file("evil.php"), Some("no-php-among-files")),
            ("/sites/default/files/evil.php/x", file("evil.php"), Some("no-php-among-files")),
            ("/sites/default/files/evil.php", nothing("evil.php"), None),
            ("/sites/default/files/core/evil.php", file("evil.php"), Some("no-php-among-files")),
            (
                "/sub/sites/a.example/files/core/modules/system/tests/http.php",
                file("http.php"),
                Some("no-php-among-files"),
            ),
            ("/install.php", nothing("install.php"), Some("moved-to-core")),
            ("/sub/rebuild.php", nothing("rebuild.php"), Some("moved-to-core")),
            ("/core/install.php", file("install.php"), None),
            ("/core/rebuild.php", file("rebuild.php"), None),
        ],
    );
}

#[test]
fn wordpress() {
    let denied = Some("no-php-among-uploads");
    check(
        Preset::Wordpress,
        &[
            ("/wp-content/uploads/2026/x.php", file("x.php"), denied),
            ("/wp-content/uploads/x.php/y", file("x.php"), denied),
            ("/blog/wp-content/uploads/x.php", file("x.php"), denied),
            ("/wp-content/uploads/x.jpg", file("x.jpg"), None),
            ("/wp-content/plugins/p/x.php", file("x.php"), None),
            ("/wp-login.php", file("wp-login.php"), None),
            ("/xmlrpc.php", file("xmlrpc.php"), None),
        ],
    );
}

fn read(preset: Preset, text: &str) -> Result<Rules, RuleError> {
    Rules::of(preset, Some((Source { name: "web.toml", text }, "rule")))
}

#[test]
fn edits_of_all_rules_that_fit() {
    let rules = read(
        Preset::Drupal,
        r#"
        [[rule]]
        name = "css"
        extension = "css"
        set-response-headers = { X-A = "1", X-B = "1" }
        remove-params = "HTTP_COOKIE"

        [[rule]]
        name = "for-an-hour"
        after = "expires"
        path = "/themes/**"
        expires = "1h"
        set-response-headers = { X-B = "2" }
        remove-response-headers = "X-A"
        set-params = { APP = "{host}{path}{?query}", DIR = "{directory}|{name}" }
        "#,
    )
    .unwrap();
    let request = Received::get("/themes/a%20b.css?x=y");
    let mut orders = Orders::default();
    assert!(rules.apply(&subject(&request), file("a b.css"), &mut orders).is_none());
    // As for an index file after its directory: no rule edits twice.
    rules.apply(&subject(&request), file("a b.css"), &mut orders);
    assert_eq!(orders.edits().count(), 4);
    assert_eq!(orders.expires(), Some(Duration::from_hours(1)));
    let mut headers = http::HeaderMap::new();
    orders.edits().for_each(|edits| edits.of_response(&mut headers));
    let mut said: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    said.sort();
    assert_eq!(said, ["x-b: \"2\"", "x-content-type-options: \"nosniff\""]);
    let mut params = common::fastcgi::Params::new();
    params.push("HTTP_COOKIE", "a=b");
    orders.edits().for_each(|edits| edits.of_params(&mut params, &request));
    assert_eq!(params.get("HTTP_COOKIE"), None);
    assert_eq!(params.get("APP").unwrap(), "site.example/themes/a%20b.css?x=y");
    assert_eq!(params.get("DIR").unwrap(), "/themes|a%20b.css");
}

#[test]
fn a_file_changes_a_preset_rule_by_rule() {
    let rules = read(
        Preset::Wordpress,
        r#"
        [[rule]]
        name = "no-php-among-uploads"
        enabled = false

        [[rule]]
        name = "open"
        path = "/public/**"
        serve = true
        "#,
    )
    .unwrap();
    assert_eq!(rules.names().collect::<Vec<_>>(), ["open", "dotfiles", "nested-dotfiles"]);
    let request = Received::get("/public/.x");
    let mut orders = Orders::default();
    let decided = rules.apply(&subject(&request), file(".x"), &mut orders).unwrap();
    assert!(matches!((&*decided.0.name, decided.1), ("open", Decision::Serve)));
}

#[test]
fn presets_are_printed_and_read_again() {
    for preset in [Preset::None, Preset::Drupal, Preset::Wordpress] {
        let printed = Rules::of(preset, None).unwrap();
        let read_again = read(preset, printed.render()).unwrap();
        assert_eq!(read_again.render(), printed.render());
        assert_eq!(read_again.names().collect::<Vec<_>>(), printed.names().collect::<Vec<_>>());
    }
}

#[test]
fn errors_say_where_they_stand_and_what_is_accepted() {
    let cases = [
        ("name = \"x\"", "it does nothing; a rule has at least one of: serve, deny, redirect, expires"),
        ("deny = true", "web.toml:2: rule 1: a rule needs a name"),
        (
            "name = \"x\"\ndeny = 200",
            "rule \"x\": deny = 200: expected true (403) or a status from 400 to 599",
        ),
        ("name = \"x\"\ndeny = true\nserve = true", "serve, deny and redirect: keep one"),
        ("name = \"x\"\nfound = \"dir\"\ndeny = true", "expected \"file\", \"directory\" or \"nothing\""),
        ("name = \"x\"\ndenny = true", "unknown key `denny` (did you mean `deny`?)"),
        ("name = \"x\"\ntype = \"css\"", "expected a media type such as"),
        ("name = \"x\"\nencoding = \"rot13\"", "expected \"gzip\", \"br\""),
        ("name = \"x\"\nadd-query = \"a b\"", "expected parameters as they stand in a URL"),
        ("name = \"x\"\nset-params = { SCRIPT_FILENAME = \"/x\" }", "SCRIPT_FILENAME says what is run"),
        ("name = \"x\"\nset-params = { a-b = \"/x\" }", "no name of a parameter"),
        ("name = \"x\"\nset-params = { A = \"{nix}\" }", "{nix} is no place"),
        ("name = \"x\"\nset-response-headers = { Content-Length = \"1\" }", "frames the message"),
        ("name = \"x\"\nfront-controller = \"x\"", "expected the path of a script"),
        ("name = \"x\"\nfile = \"{a\"\ndeny = true", "file = \"{a\""),
        ("name = \"x\"\nredirect-status = 301", "there is no redirect"),
    ];
    for (rule, message) in cases {
        let error = read(Preset::None, &format!("[[rule]]\n{rule}\n")).unwrap_err().to_string();
        assert!(error.contains(message), "{rule}: {error}");
    }
}

#[test]
fn what_the_documentation_shows_is_accepted() {
    let page = include_str!("../../../docs/web-rules.md");
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(blocks.len() >= 2);
    for block in blocks {
        read(Preset::Drupal, block).unwrap();
    }
    for preset in [Preset::None, Preset::Drupal, Preset::Wordpress] {
        for name in Rules::of(preset, None).unwrap().names() {
            assert!(page.contains(&format!("`{name}`")), "{name} is not documented");
        }
    }
}

/// What is known of a path from one request counts for all others, and nothing else does.
#[test]
fn what_is_known_of_a_path() {
    let own = r#"
        [[rule]]
        name = "by-query"
        query = "preview"
        expires = "0s"

        [[rule]]
        name = "not-by-name"
        path = "/a/**"
        unless = { header = { Accept = "*css*" } }
        set-response-headers = { X-A = "1" }

        [[rule]]
        name = "by-file"
        file = "*.css"
        unless = { path = "/b/**" }
        expires = "1h"

        [[rule]]
        name = "by-method"
        method = "HEAD"
        path = "**.txt"
        deny = true
    "#;
    let source = Source { name: "own.toml", text: own };
    let rules = Rules::of(Preset::Drupal, Some((source, "rule"))).unwrap();
    for path in ["/a/x.css", "/b/x.css", "/a/x.txt", "/.git/x.css", "/vendor/x.txt", "/core/x.css.gz"] {
        let known = OfThePath::default();
        for query in ["", "?preview", "?other", "?preview"] {
            for (method, accept) in [("GET", "text/css"), ("HEAD", "text/css"), ("GET", "*/*")] {
                let mut request = Received::get(&format!("{path}{query}"));
                request.method = method.parse().unwrap();
                request.headers.insert("accept", accept.parse().unwrap());
                let name = file(path.rsplit('/').next().unwrap());
                let (mut plain, mut cached) = (Orders::default(), Orders::default());
                let expected = rules.apply(&subject(&request), name, &mut plain);
                let decided = rules.apply_to_known(&subject(&request), name, &known, &mut cached);
                let name = |decided: Option<(&Rule, &Decision)>| decided.map(|(rule, _)| rule.name.clone());
                assert_eq!(name(decided), name(expected), "{method} {path}{query} {accept}");
                assert!(cached.addresses().eq(plain.addresses()), "{method} {path}{query} {accept}");
            }
        }
    }
}
