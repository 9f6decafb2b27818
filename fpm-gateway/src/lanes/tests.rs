#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn params(method: &str, uri: &str, fields: &[(&'static str, &'static str)]) -> Params {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    let mut params: Params = [
        ("REQUEST_METHOD", method.to_owned()),
        ("REQUEST_URI", uri.to_owned()),
        ("QUERY_STRING", query.to_owned()),
    ]
    .into_iter()
    .collect();
    for (name, value) in fields {
        params.push(*name, *value);
    }
    params
}

const SESSION: (&str, &str) = ("HTTP_COOKIE", "a=b; SSESS0123456789abcdef0123456789abcdef=x");

#[test]
fn presets() {
    type Row<'a> = (Preset, &'a str, &'a str, &'a [(&'static str, &'static str)], Lane);
    use Lane::{Anonymous, Background, Interactive};
    let table: [Row<'_>; 17] = [
        (Preset::None, "GET", "/", &[], Anonymous),
        (Preset::None, "POST", "/", &[], Interactive),
        (Preset::None, "GET", "/cron/x", &[SESSION], Anonymous),
        (Preset::Drupal, "GET", "/node/1", &[], Anonymous),
        (Preset::Drupal, "GET", "/node/1", &[SESSION], Interactive),
        (Preset::Drupal, "GET", "/node/1", &[("HTTP_COOKIE", "_ga=1")], Anonymous),
        (Preset::Drupal, "GET", "/admin/reports", &[], Interactive),
        (Preset::Drupal, "GET", "/%61dmin//reports?x", &[], Interactive),
        (Preset::Drupal, "POST", "/search", &[], Interactive),
        (Preset::Drupal, "POST", "/cron/abc", &[SESSION], Background),
        (Preset::Drupal, "GET", "/update.php/selection", &[SESSION], Background),
        (Preset::Drupal, "GET", "/rss.xml", &[], Background),
        (Preset::Wordpress, "POST", "/wp-cron.php?doing_wp_cron", &[], Background),
        (Preset::Wordpress, "GET", "/wp-admin/", &[], Interactive),
        (Preset::Wordpress, "GET", "/x", &[("HTTP_COOKIE", "wordpress_logged_in_a=b")], Interactive),
        (Preset::Wordpress, "GET", "/feed/", &[], Background),
        (Preset::Wordpress, "GET", "/2026/", &[], Anonymous),
    ];
    for (preset, method, uri, fields, lane) in table {
        let lanes = Lanes::of(preset, None).unwrap();
        assert_eq!(
            lanes.route(&params(method, uri, fields)),
            Route { lane, cap: None },
            "{preset:?} {method} {uri}"
        );
    }
}

fn read(preset: Preset, text: &str) -> Result<Lanes, RuleError> {
    Lanes::of(preset, Some((Source { name: "gateway.toml", text }, RULE)))
}

#[test]
fn kinds_that_are_bounded() {
    let lanes = read(
        Preset::Drupal,
        r#"
        [[rule]]
        name = "reports"
        path = "/admin/reports/**"
        workers = 2

        [[rule]]
        name = "export"
        path = "**/export"
        workers = 1
        lane = "background"
        "#,
    )
    .unwrap();
    assert_eq!(
        lanes.caps(),
        [Cap { rule: "reports".into(), workers: 2 }, Cap { rule: "export".into(), workers: 1 }]
    );
    let route = |uri| lanes.route(&params("GET", uri, &[]));
    assert_eq!(route("/admin/reports/x"), Route { lane: Lane::Interactive, cap: Some(0) });
    assert_eq!(route("/admin/reports/export"), Route { lane: Lane::Background, cap: Some(0) });
    assert_eq!(route("/export"), Route { lane: Lane::Background, cap: Some(1) });
    assert_eq!(route("/"), Route { lane: Lane::Anonymous, cap: None });
}

#[test]
fn errors_say_what_is_accepted() {
    let cases = [
        ("lane = \"fast\"", "expected \"interactive\", \"anonymous\" or \"background\""),
        ("workers = 0", "expected a number of workers, from 1 on"),
        ("worker = 1", "unknown key `worker` (did you mean `workers`?)"),
        ("path = \"/\"", "it does nothing; a rule has at least one of: lane, workers"),
    ];
    for (rule, message) in cases {
        let error = read(Preset::None, &format!("[[rule]]\nname = \"x\"\n{rule}\n")).unwrap_err().to_string();
        assert!(error.contains(message) && error.starts_with("gateway.toml:"), "{rule}: {error}");
    }
}

#[test]
fn presets_are_printed_and_read_again() {
    for preset in [Preset::None, Preset::Drupal, Preset::Wordpress] {
        let printed = Lanes::of(preset, None).unwrap();
        assert_eq!(read(preset, printed.render()).unwrap().render(), printed.render());
    }
}

#[test]
fn what_is_malformed_is_still_routed() {
    let lanes = Lanes::of(Preset::Drupal, None).unwrap();
    let mut odd = Params::new();
    odd.push("REQUEST_METHOD", "no method");
    odd.push("REQUEST_URI", &b"/\xff%zz"[..]);
    odd.push("HTTP_COOKIE", &b"\0"[..]);
    odd.push("REMOTE_ADDR", "unix:");
    assert_eq!(lanes.route(&odd).lane, Lane::Anonymous);
    assert_eq!(lanes.route(&Params::new()).lane, Lane::Anonymous);
}

#[test]
fn what_the_documentation_shows_is_accepted() {
    let page = include_str!("../../../docs/lanes.md");
    let block = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(read(Preset::Drupal, block).unwrap().caps().len(), 2);
}
