#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

const DIRECTORY: MappedTo<'_> = MappedTo::Directory;

fn file(name: &str) -> MappedTo<'_> {
    MappedTo::File(name.as_bytes())
}

fn nothing(name: &str) -> MappedTo<'_> {
    MappedTo::Nothing(name.as_bytes())
}

fn decide(preset: Preset, path: &str, mapped: MappedTo<'_>) -> Option<&'static str> {
    let profile = preset.profile().unwrap();
    profile.rules.first(Subject { path: path.as_bytes(), mapped }).map(|(name, _)| name)
}

type Case = (&'static str, MappedTo<'static>, Option<&'static str>);

fn check(preset: Preset, cases: &[Case]) {
    for (path, mapped, expected) in cases {
        assert_eq!(decide(preset, path, *mapped), *expected, "{preset:?} {path} {mapped:?}");
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
                ("/.git/config", file("config"), Some("dotfile")),
                ("/.env", nothing(".env"), Some("dotfile")),
                ("/a/.htaccess", file(".htaccess"), Some("dotfile")),
                ("/.well-known/acme-challenge/x", file("x"), None),
                ("/.well-known/security.txt", nothing("security.txt"), None),
                ("/.well-known", DIRECTORY, Some("dotfile")),
                ("/.well-known/.secret", file(".secret"), Some("dotfile")),
                ("/a/.well-known/x", file("x"), Some("dotfile")),
                ("/.well-knownx/y", file("y"), Some("dotfile")),
                ("/a.b/c.d", file("c.d"), None),
            ],
        );
    }
}

#[test]
fn drupal_s_files() {
    let denied = Some("source-file");
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
            ("/sites/default/files/config_abc/sync/x", file("x"), Some("private-directory")),
            ("/sites/default/private/x.pdf", file("x.pdf"), Some("private-directory")),
            ("/vendor/autoload.txt", file("autoload.txt"), Some("private-directory")),
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
            ("/sites/default/files/evil.php", file("evil.php"), denied),
            ("/sites/default/files/evil.php/x", file("evil.php"), denied),
            ("/sites/default/files/evil.php", nothing("evil.php"), None),
            ("/sites/default/files/core/evil.php", file("evil.php"), denied),
            ("/sub/sites/a.example/files/core/modules/system/tests/http.php", file("http.php"), denied),
            ("/install.php", nothing("install.php"), Some("moved-to-core")),
            ("/sub/rebuild.php", nothing("rebuild.php"), Some("moved-to-core")),
            ("/core/install.php", file("install.php"), Some("installer")),
            ("/core/rebuild.php", file("rebuild.php"), None),
        ],
    );
}

#[test]
fn wordpress() {
    let denied = Some("php-not-allowed");
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
