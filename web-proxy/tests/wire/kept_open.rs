//! What is kept of files beside small ones in memory: large ones, open, and where scripts and directories are.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{NOBODY, Proxy};

/// Longer than a test.
const NEVER: &str = "--file-cache-valid=1h";
const SOON: &str = "--file-cache-valid=300ms";
const LENGTH: usize = 300 << 10;

async fn hits(proxy: &Proxy) -> f64 {
    proxy.metric("web_proxy_file_cache_total", &[("outcome", "hit")]).await
}

/// Asks until no look is made for it.
async fn is_kept(proxy: &Proxy, path: &str) {
    wait_until(&format!("{path} to be kept"), DEADLINE, async || {
        let before = hits(proxy).await;
        proxy.get(path).await;
        hits(proxy).await > before
    })
    .await;
}

/// How often this process has the file open.
fn times_open(path: &Path) -> usize {
    let path = path.canonicalize().unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap();
    open.filter(|entry| {
        entry.as_ref().is_ok_and(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == path))
    })
    .count()
}

#[tokio::test]
async fn a_large_file_stays_open_for_a_while() {
    let proxy = Proxy::start(NOBODY, &[SOON]).await;
    proxy.old_file("a.bin", vec![b'a'; LENGTH]);
    let path = proxy.docroot().join("a.bin");
    is_kept(&proxy, "/a.bin").await;
    wait_until("it to be closed", DEADLINE, async || times_open(&path) == 0).await;
    assert_eq!(proxy.get("/a.bin").await.body, vec![b'a'; LENGTH]);
}

#[tokio::test]
async fn a_change_of_a_large_file_is_seen() {
    let proxy = Proxy::start(NOBODY, &[SOON, "--front-controller=none"]).await;
    let path = proxy.docroot().join("a.bin");
    let becomes = async |what: &str, status: u16, body: Vec<u8>| {
        wait_until(what, DEADLINE, async || {
            let response = proxy.get("/a.bin").await;
            response.status == status && (status != 200 || response.body == body)
        })
        .await;
    };
    proxy.old_file("a.bin", vec![b'a'; LENGTH]);
    is_kept(&proxy, "/a.bin").await;
    proxy.old_file("next.bin", vec![b'b'; LENGTH]);
    fs::rename(proxy.docroot().join("next.bin"), &path).unwrap();
    becomes("another in its place", 200, vec![b'b'; LENGTH]).await;
    is_kept(&proxy, "/a.bin").await;
    proxy.old_file("next.bin", "small");
    fs::rename(proxy.docroot().join("next.bin"), &path).unwrap();
    becomes("a small one in its place", 200, b"small".to_vec()).await;
    is_kept(&proxy, "/a.bin").await;
    proxy.old_file("next.bin", vec![b'c'; LENGTH]);
    fs::rename(proxy.docroot().join("next.bin"), &path).unwrap();
    becomes("a large one again", 200, vec![b'c'; LENGTH]).await;
    is_kept(&proxy, "/a.bin").await;
    fs::remove_file(&path).unwrap();
    becomes("removed", 404, vec![]).await;
}

#[tokio::test]
async fn a_large_file_that_is_written_to_is_never_sent_as_it_was() {
    let proxy = Proxy::start(NOBODY, &[NEVER]).await;
    for (at, form) in ["", ".gz"].into_iter().enumerate() {
        let (name, url) = (format!("{at}.css{form}"), format!("/{at}.css"));
        proxy.old_file(&format!("{at}.css"), vec![b'a'; LENGTH]);
        proxy.old_file(&name, vec![b'a'; LENGTH]);
        is_kept(&proxy, &url).await;
        let file = fs::File::options().write(true).open(proxy.docroot().join(&name)).unwrap();
        file.write_all_at(b"b", LENGTH as u64 / 2).unwrap();
        let response = proxy.get_with(&url, &[("Accept-Encoding", "gzip")]).await;
        assert_eq!(response.status, 200, "{name}");
        assert_eq!(response.body[LENGTH / 2], b'b', "{name}");
        file.set_len(1000).unwrap();
        let response = proxy.get_with(&url, &[("Accept-Encoding", "gzip")]).await;
        assert_eq!((response.status, response.body.len()), (200, 1000), "{name}");
    }
}

#[tokio::test]
async fn what_was_not_there_is_there_at_once() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let script = exchange.param("SCRIPT_NAME");
        exchange.respond(page(&script)).await
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[NEVER]).await;
    let answer = async |path: &str| proxy.get(path).await.text();
    assert_eq!(answer("/a.php").await, "/index.php");
    proxy.file("a.php", "");
    assert_eq!(answer("/a.php").await, "/a.php");
    assert_eq!(answer("/shop/").await, "/index.php");
    fs::create_dir(proxy.docroot().join("shop")).unwrap();
    assert_eq!(proxy.get("/shop/").await.status, 403, "a directory without an index");
    proxy.file("shop/index.php", "");
    assert_eq!(answer("/shop/").await, "/shop/index.php");
    assert_eq!(proxy.get("/shop").await.status, 301);
    // Beside what is known as a script.
    assert_eq!(answer("/a.php/x").await, "/a.php");
    assert_eq!(answer("/a.php/").await, "/a.php");
    assert_eq!(answer("/").await, "/index.php");
}

#[tokio::test]
async fn a_script_that_is_gone_is_gone_within_the_interval() {
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        let script = exchange.param("SCRIPT_NAME");
        exchange.respond(page(&script)).await
    })
    .await
    .unwrap();
    let proxy = Proxy::start(&app.address(), &[SOON]).await;
    proxy.file("shop/index.php", "");
    proxy.file("a.php", "");
    for path in ["/shop/", "/a.php"] {
        assert_ne!(proxy.get(path).await.text(), "/index.php");
    }
    fs::remove_dir_all(proxy.docroot().join("shop")).unwrap();
    fs::remove_file(proxy.docroot().join("a.php")).unwrap();
    for path in ["/shop/", "/a.php"] {
        wait_until(path, DEADLINE, async || proxy.get(path).await.text() == "/index.php").await;
    }
    // Nothing is kept of what is looked at each time.
    let proxy = Proxy::start(&app.address(), &["--file-cache-valid=0s"]).await;
    proxy.file("a.php", "");
    assert_eq!(proxy.get("/a.php").await.text(), "/a.php");
    fs::remove_file(proxy.docroot().join("a.php")).unwrap();
    assert_eq!(proxy.get("/a.php").await.text(), "/index.php");
}
