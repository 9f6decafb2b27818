#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::rules::Preset;
use crate::static_files;

/// A tree with Drupal's shape and some traps.
fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        "index.php",
        "update.php",
        "autoload.php",
        "robots.txt",
        "README.md",
        ".htaccess",
        "composer.json",
        "core/install.php",
        "core/authorize.php",
        "core/misc/drupal.js",
        "core/includes/bootstrap.inc",
        "sites/default/files/a b.txt",
        "sites/default/files/evil.php",
        "sites/default/files/sub/index.php",
        "page/index.html",
        "wp-content/uploads/x.php",
        "wp-admin/index.php",
        ".well-known/security.txt",
    ];
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    fs::create_dir(folder.path().join("empty")).unwrap();
    folder
}

fn router(tree: &TempDir, preset: Preset) -> Router {
    Router {
        docroot: Arc::new(Followed::open(tree.path(), false).unwrap()),
        files: Arc::new(FileCache::new(1 << 20, Duration::from_secs(1))),
        rules: Arc::new(Rules::of(preset, None).unwrap()),
        index: ["index.php", "index.html"].map(str::to_owned).into(),
        front_controller: "/index.php".parse().unwrap(),
    }
}

async fn described(router: &Router, raw: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match router.route(&Received::get(raw), Wait::Allowed).await.route {
        Ok(Route::File(file)) => format!("file {}", text(file.path.as_bytes())),
        Ok(Route::Script(Script { name, path_info, query, on_demand, .. })) => {
            let (info, query) =
                (text(&path_info), query.map(|query| format!(" ?{query}")).unwrap_or_default());
            let info = if info.is_empty() { info } else { format!(" + {info}") };
            format!("script {}{info}{query}{}", text(&name), if on_demand { " on demand" } else { "" })
        }
        Ok(Route::Redirect(redirect)) => format!("redirect {}", redirect.location),
        Err(error) => error.to_string(),
    }
}

const FRONT: &str = "script /index.php";
const NOT_FOUND: &str = "no such file, and no front controller";

#[tokio::test]
async fn without_a_preset() {
    let tree = tree();
    let router = router(&tree, Preset::None);
    let cases = [
        ("/", FRONT),
        ("/index.php", FRONT),
        ("/node/1", FRONT),
        ("/missing.css", FRONT),
        ("/missing.php", FRONT),
        ("/index.php/node/1", "script /index.php + /node/1"),
        ("/index.php/", "script /index.php + /"),
        ("/robots.txt", "file /robots.txt"),
        ("/robots.txt/", NOT_FOUND),
        ("/robots.txt/x", NOT_FOUND),
        ("/page", "redirect /page/"),
        ("/page/", "file /page/index.html"),
        ("/empty", "redirect /empty/"),
        ("/empty/", "a directory without an index"),
        ("/empty/x", FRONT),
        ("/sites/default/files/a%20b.txt", "file /sites/default/files/a b.txt"),
        ("/sites/default/files/evil.php", "script /sites/default/files/evil.php"),
        ("/wp-admin/", "script /wp-admin/index.php"),
        ("/.htaccess", "denied by the rule dotfiles"),
        ("/.git/config", "denied by the rule dotfiles"),
        ("/.well-known/security.txt", "file /.well-known/security.txt"),
        ("/.well-known/change-password", FRONT),
        ("/composer.json", "file /composer.json"),
        ("//robots.txt", "file /robots.txt"),
    ];
    for (raw, expected) in cases {
        assert_eq!(described(&router, raw).await, expected, "{raw}");
    }
}

#[tokio::test]
async fn drupal() {
    let tree = tree();
    let router = router(&tree, Preset::Drupal);
    let cases = [
        ("/node/1", FRONT),
        ("/update.php/selection", "script /update.php + /selection"),
        ("/core/misc/drupal.js", "file /core/misc/drupal.js"),
        ("/core/authorize.php", "script /core/authorize.php"),
        ("/core/authorize.php/x", "denied by the rule php-not-allowed"),
        ("/core/install.php", "script /core/install.php ?rewrite=ok"),
        ("/install.php", "redirect /core/install.php"),
        ("/a%20b/install.php", "redirect /a%20b/core/install.php"),
        ("/autoload.php", "denied by the rule php-not-allowed"),
        ("/sites/default/files/evil.php", "denied by the rule no-php-among-files"),
        // The rules count for an index file too.
        ("/sites/default/files/sub/", "denied by the rule no-php-among-files"),
        ("/sites/default/files/missing.php", FRONT),
        ("/core/includes/bootstrap.inc", "denied by the rule source-files"),
        ("/composer.json", "denied by the rule source-files"),
        ("/x.yml", "denied by the rule source-files"),
        ("/node/x.yml", FRONT),
        ("/core/x.yml", "denied by the rule source-files"),
        ("/favicon.ico", "denied by the rule no-favicon"),
        ("/sites/default/files/css/css_x.css?delta=0", "script /index.php on demand"),
        ("/install.php?a=b", "redirect /core/install.php?a=b"),
        ("/page?a=b", "redirect /page/?a=b"),
    ];
    for (raw, expected) in cases {
        assert_eq!(described(&router, raw).await, expected, "{raw}");
    }
}

#[tokio::test]
async fn wordpress() {
    let tree = tree();
    let router = router(&tree, Preset::Wordpress);
    let cases = [
        ("/2026/11/hello-world/", FRONT),
        ("/wp-admin", "redirect /wp-admin/"),
        ("/wp-admin/", "script /wp-admin/index.php"),
        ("/wp-content/uploads/x.php", "denied by the rule no-php-among-uploads"),
        ("/wp-content/uploads/x.php/y", "denied by the rule no-php-among-uploads"),
    ];
    for (raw, expected) in cases {
        assert_eq!(described(&router, raw).await, expected, "{raw}");
    }
}

#[tokio::test]
async fn without_a_front_controller() {
    let tree = tree();
    let none = Router { front_controller: FrontController(None), ..router(&tree, Preset::None) };
    assert_eq!(described(&none, "/node/1").await, NOT_FOUND);
    let missing = Router { front_controller: "/app.php".parse().unwrap(), ..router(&tree, Preset::None) };
    assert_eq!(described(&missing, "/node/1").await, NOT_FOUND);
}

#[tokio::test]
async fn rules_are_asked_for_a_file_in_memory_too() {
    use http::HeaderMap;

    let tree = tree();
    let rules = "[[rule]]\nname = \"members\"\npath = \"/robots.txt\"\nquery = \"closed\"\ndeny = 403\n";
    let source = common::rules::Source { name: "web.toml", text: rules };
    let rules = Arc::new(Rules::of(Preset::None, Some((source, "rule"))).unwrap());
    let files = Arc::new(FileCache::new(1 << 20, Duration::from_hours(1)));
    let router = Router { files, rules, ..router(&tree, Preset::None) };
    let settings = crate::Config::from_flags(["--docroot=/"]).unwrap().files;
    let request = Received::get("/robots.txt");
    let end = Instant::now() + test_support::wait::DEADLINE;
    loop {
        let Ok(Route::File(file)) = router.route(&request, Wait::Allowed).await.route else {
            panic!("no file")
        };
        if matches!(file.source, Source::Kept(_)) {
            break;
        }
        // It has to be left alone for a while first.
        assert!(Instant::now() < end, "it is not kept");
        let headers = HeaderMap::new();
        let (method, wait) = (http::Method::GET, Wait::Allowed);
        static_files::serve(&settings, &router.files, &method, &headers, *file, None, wait).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let denied = router.route(&Received::get("/robots.txt?closed"), Wait::Allowed).await.route;
    assert!(matches!(denied, Err(RouteError::Denied { .. })), "{denied:?}");
    assert!(matches!(router.route(&request, Wait::Allowed).await.route, Ok(Route::File(_))));
}
