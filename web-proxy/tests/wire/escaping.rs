//! Ways out of the docroot, and to the text of scripts, as bytes on the wire: no file from outside is ever sent, no
//! script's text is, and no script runs but those that are there.

use std::fs;
use std::os::unix::fs::symlink;

use test_support::client::Client;
use test_support::fastcgi_app::{FakeFastCgiApp, page};

use crate::support::Proxy;

/// In every file that nobody may see.
const SECRET: &str = "the secret";

/// Ways up, each of which somebody's decoder has taken for one.
const UP: &[&str] = &[
    "..",
    "%2e%2e",
    "%2e.",
    ".%2E",
    "%252e%252e",
    "%25252e%25252e",
    "%c0%ae%c0%ae",
    "%c0%2e%c0%2e",
    "%e0%80%ae%e0%80%ae",
    "%f0%80%80%ae%f0%80%80%ae",
    "%ef%bc%8e%ef%bc%8e",
    "%u002e%u002e",
    "%uff0e%uff0e",
    "..;",
    "..;a=b",
    "..%00",
    "..%20",
    "..%09",
    "..%0d",
    "..%0a",
    "...",
    "....",
    ".%00.",
    "..%c0%80",
    "..::$DATA",
    "~",
    "..%01",
    "..\u{ff0f}",
];

const SLASHES: &[&str] = &[
    "/",
    "//",
    "%2f",
    "%2F",
    "%252f",
    "%5c",
    "\\",
    "%255c",
    "%c0%af",
    "%c1%9c",
    "%e0%80%af",
    "%f0%80%80%af",
    "%ef%bc%8f",
    "%u2215",
    "%u2216",
    "/./",
    "/%2e/",
    ";/",
    "/;x=y/",
    "%00/",
];

async fn app() -> FakeFastCgiApp {
    FakeFastCgiApp::tcp(async |mut exchange| {
        exchange.body().await?;
        exchange.respond(page("PHP")).await
    })
    .await
    .unwrap()
}

/// Sends these bytes as a target, and is told nothing.
async fn learns_nothing(proxy: &Proxy, app: &FakeFastCgiApp, target: &[u8], scripts: &[&str]) {
    let shown = String::from_utf8_lossy(target).escape_debug().to_string();
    let asked = app.count();
    for end in ["", "/", "%00", "?x", ";x"] {
        let mut client = Client::connect(proxy.address).await.unwrap();
        let fields = format!("{end} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.send([b"GET ", target, fields.as_bytes()].concat()).await.unwrap();
        let response = client.response("GET").await.unwrap_or_else(|error| panic!("{shown}{end}: {error:#}"));
        assert!(
            !response.text().contains(SECRET) && !response.text().contains("<?php"),
            "{shown}{end} gets {}",
            response.text()
        );
        assert!(matches!(response.status, 200 | 301 | 400 | 403 | 404), "{shown}{end}: {}", response.status);
        if let Some(location) = response.header("location") {
            assert!(location.starts_with('/') && !location.starts_with("//"), "{shown}{end}: {location}");
        }
    }
    for request in app.requests().into_iter().skip(asked) {
        let (name, file) = (request.param("SCRIPT_NAME"), request.param("SCRIPT_FILENAME"));
        assert!(scripts.contains(&&*name), "{shown} runs {name}");
        let expected = proxy.docroot().canonicalize().unwrap().join(name.trim_start_matches('/'));
        assert_eq!(file, expected.display().to_string(), "{shown}");
    }
}

#[tokio::test]
async fn no_way_leads_out_of_the_docroot() {
    let app = app().await;
    let outside = tempfile::tempdir().unwrap();
    for name in ["key", "key.php", "passwd"] {
        fs::write(outside.path().join(name), SECRET).unwrap();
    }
    let folder = outside.path().file_name().unwrap().to_str().unwrap().to_owned();
    let proxy = Proxy::start(&app.address(), &["--preset=drupal"]).await;
    proxy.file("a/b/c.txt", "open");
    proxy.file("a/run.php", "<?php");
    for (link, target) in [("link", outside.path()), ("key", &outside.path().join("key"))] {
        symlink(target, proxy.docroot().join(link)).unwrap();
    }
    symlink(outside.path().join("key.php"), proxy.docroot().join("key.php")).unwrap();
    let scripts = ["/index.php", "/a/run.php"];
    for up in UP {
        for slash in SLASHES {
            for begin in ["/", "/a/", "/a/b/c.txt/", "/a/run.php/", "/link/", "//", "/nothing/"] {
                let deep = format!("{up}{slash}").repeat(4);
                let target = format!("{begin}{deep}{folder}{slash}key");
                learns_nothing(&proxy, &app, target.as_bytes(), &scripts).await;
            }
        }
    }
    let direct = outside.path().display().to_string();
    for target in [
        "/link/key",
        "/link/key.php",
        "/key",
        "/key.php",
        "/link",
        "/link/",
        "/link/.",
        "/link/../link/key",
        "/C:/boot.ini",
        "/c:\\boot.ini",
        "/C:%5cboot.ini",
        "/\\\\host\\share",
        "//host/share/key",
        "/%5c%5chost%5cshare",
        "/.//./link/key",
        "/file:///etc/passwd",
        "/proc/self/environ",
        "/dev/stdin",
        "/CON",
        "/NUL",
        "/AUX.txt",
        "/COM1",
        "/LPT1.php",
        "/index.php::$DATA",
        "/index.php:$I30:$INDEX_ALLOCATION",
        "/index~1.php",
        "/INDEX~1.PHP",
        &direct,
        &format!("/{direct}/key"),
        &format!("http://a{direct}/key"),
        &format!("http://a/../..{direct}/key"),
    ] {
        learns_nothing(&proxy, &app, target.as_bytes(), &scripts).await;
    }
    // Bytes that no target may hold.
    for bytes in
        [&b"/\xc0\xae\xc0\xae/key"[..], b"/..\xc0\xafkey", b"/\xff\xfe", b"/a\0/../key", b"/a\t/../key"]
    {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send([b"GET ", bytes, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().status, 400, "{bytes:?}");
    }
}

#[tokio::test]
async fn the_text_of_a_script_is_never_sent() {
    let app = app().await;
    let proxy = Proxy::start(&app.address(), &["--preset=none"]).await;
    let copies = [
        "run.PHP",
        "run.Php",
        "run.php5",
        "run.phtml",
        "run.phar",
        "run.phps",
        "run.pht",
        "run.php~",
        "run.php.bak",
        "run.php.old",
        "run.php.1",
        "run.php_old",
        "run.php-dist",
        "run.php.",
        "run.php ",
        "run.php.save.1",
        "run.php.swp",
        "run.php.gz",
        "run.php.zip",
        "run.php.dpkg-old",
        "run.php copy",
        "run.php;1",
        "#run.php#",
        "run.php::$DATA",
    ];
    proxy.file("run.php", "<?php the secret");
    for name in copies {
        proxy.file(name, "<?php the secret");
        proxy.file(&format!("folder/{name}"), "<?php the secret");
    }
    let scripts = ["/index.php", "/run.php"];
    for name in copies.iter().chain(&["run.php"]) {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
        let plain = name.replace(' ', "%20").replace('#', "%23");
        for name in [plain.clone(), encoded, plain.to_uppercase(), plain.replacen("php", "%70hp", 1)] {
            for target in [format!("/{name}"), format!("/folder/{name}"), format!("/.//folder/..//{name}")] {
                learns_nothing(&proxy, &app, target.as_bytes(), &scripts).await;
            }
        }
    }
    // What is a script runs, whatever is behind it, and nothing else does.
    for (target, script, path_info) in [
        ("/run.php", "/run.php", ""),
        ("/run.php/", "/run.php", "/"),
        ("/run.php/x.css", "/run.php", "/x.css"),
        ("/run.php/x.php", "/run.php", "/x.php"),
        ("/run.php/;a=b/x", "/run.php", "/;a=b/x"),
        ("/run.ph%70", "/run.php", ""),
        ("/nothing.php/run.php", "/index.php", ""),
        ("/folder/nothing/run.php", "/index.php", ""),
        ("/run.php%20", "/index.php", ""),
    ] {
        if target == "/run.php%20" {
            fs::remove_file(proxy.docroot().join("run.php ")).unwrap();
        }
        assert_eq!(proxy.get(target).await.status, 200, "{target}");
        let request = app.requests().pop().unwrap();
        let ran = (request.param("SCRIPT_NAME"), request.param("PATH_INFO"));
        assert_eq!((ran.0.as_str(), ran.1.as_str()), (script, path_info), "{target}");
    }
}
