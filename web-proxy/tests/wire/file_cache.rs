//! Small files in memory: what is kept is told from what is not by nothing but its speed, and a change is seen within the
//! interval.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use test_support::client::Response;
use test_support::process::is_root;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{NOBODY, Proxy, THEN};

/// Long enough that nothing is looked at twice in a test.
const NEVER: &str = "--file-cache-valid=1h";
/// So that a test sees both what is kept and what has changed.
const SOON: &str = "--file-cache-valid=300ms";
const NO_FRONT_CONTROLLER: &str = "--front-controller=none";
const ALL_CODINGS: &[(&str, &str)] = &[("Accept-Encoding", "gzip, br, zstd")];

#[allow(clippy::cast_sign_loss, reason = "a counter is never negative")]
async fn counted(proxy: &Proxy, outcome: &str) -> u64 {
    proxy.metric("web_proxy_file_cache_total", &[("outcome", outcome)]).await as u64
}

/// Asks until the file is answered from memory: it has to be left alone for a while first.
async fn is_kept(proxy: &Proxy, path: &str) {
    wait_until(&format!("{path} to be kept"), DEADLINE, async || {
        let before = counted(proxy, "hit").await;
        proxy.get(path).await;
        counted(proxy, "hit").await > before
    })
    .await;
}

/// Asks until `expected` is the answer; until then it is the one that was kept.
async fn becomes(proxy: &Proxy, what: &str, path: &str, expected: (u16, &str)) {
    let kept = proxy.get(path).await.text();
    wait_until(&format!("{path}, {what}"), DEADLINE, async || {
        let response = proxy.get(path).await;
        let text = response.text();
        if response.status == 200 && text == kept && expected != (200, &*kept) {
            return false;
        }
        assert_eq!(response.status, expected.0, "{path}, {what}");
        assert!(response.status != 200 || text == expected.1, "{path}, {what}: {text}");
        true
    })
    .await;
}

/// Writes a file whose content changed long ago, beside another name, and gives it this one.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    old(&new, content);
    fs::rename(new, path).unwrap();
}

fn old(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(httpdate::parse_http_date(THEN).unwrap()).unwrap();
}

#[tokio::test]
async fn every_change_is_seen() {
    type Change = fn(&Path);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("key"), "secret").unwrap();
    let changes: [(&str, Change, (u16, &str)); 7] = [
        ("replaced", |path| replace(path, "new"), (200, "new")),
        ("replaced by one of the same length and time", |path| replace(path, "NEW"), (200, "NEW")),
        ("rewritten in place", |path| fs::write(path, "abc").unwrap(), (200, "abc")),
        ("rewritten and its time set back", |path| old(path, "xyz"), (200, "xyz")),
        ("removed", |path| fs::remove_file(path).unwrap(), (404, "")),
        (
            "a directory now",
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            (301, ""),
        ),
        (
            "too large now",
            |path| fs::write(path, "x".repeat(300 << 10)).unwrap(),
            (200, &"x".repeat(300 << 10)),
        ),
    ];
    let proxy = Proxy::start(NOBODY, &[SOON, NO_FRONT_CONTROLLER]).await;
    for at in 0..changes.len() {
        proxy.old_file(&format!("{at}.txt"), "old");
    }
    symlink("inside.txt", proxy.docroot().join("link.txt")).unwrap();
    symlink("inside.txt", proxy.docroot().join("other.txt")).unwrap();
    proxy.old_file("inside.txt", "inside");
    proxy.old_file("second.txt", "second");
    proxy.old_file("unreadable.txt", "secret");
    for (at, (what, change, expected)) in changes.iter().enumerate() {
        let (path, file) = (format!("/{at}.txt"), proxy.docroot().join(format!("{at}.txt")));
        is_kept(&proxy, &path).await;
        change(&file);
        becomes(&proxy, what, &path, *expected).await;
    }

    let swap = |link: &str, target: &Path| {
        symlink(target, proxy.docroot().join("next")).unwrap();
        fs::rename(proxy.docroot().join("next"), proxy.docroot().join(link)).unwrap();
    };
    is_kept(&proxy, "/link.txt").await;
    swap("link.txt", &outside.path().join("key"));
    becomes(&proxy, "leads outside", "/link.txt", (403, "")).await;
    is_kept(&proxy, "/other.txt").await;
    swap("other.txt", Path::new("second.txt"));
    becomes(&proxy, "leads elsewhere", "/other.txt", (200, "second")).await;

    if !is_root() {
        is_kept(&proxy, "/unreadable.txt").await;
        let unreadable = fs::Permissions::from_mode(0o000);
        fs::set_permissions(proxy.docroot().join("unreadable.txt"), unreadable).unwrap();
        becomes(&proxy, "not to be read", "/unreadable.txt", (403, "")).await;
    }
}

#[tokio::test]
async fn a_file_that_appears_is_there_at_once() {
    let proxy = Proxy::start(NOBODY, &[NEVER, NO_FRONT_CONTROLLER]).await;
    for round in 0..3 {
        let path = format!("files/{round}.css");
        assert_eq!(proxy.get(&format!("/{path}")).await.status, 404);
        proxy.file(&path, "made");
        assert_eq!(proxy.get(&format!("/{path}")).await.text(), "made");
    }
}

#[tokio::test]
async fn within_the_interval_nothing_is_looked_at() {
    let proxy = Proxy::start(NOBODY, &[NEVER, NO_FRONT_CONTROLLER]).await;
    proxy.old_file("a.css", "plain");
    proxy.old_file("docs/index.html", "index");
    is_kept(&proxy, "/a.css").await;
    is_kept(&proxy, "/docs/").await;
    let before = counted(&proxy, "hit").await;
    fs::remove_file(proxy.docroot().join("a.css")).unwrap();
    proxy.file("a.css.gz", "another form");
    for _ in 0..10 {
        assert_eq!(proxy.get_with("/a.css", ALL_CODINGS).await.text(), "plain");
    }
    assert_eq!(counted(&proxy, "hit").await - before, 10);
    // What is kept of a file is kept of no other path.
    assert_eq!(proxy.get("/a.css/").await.status, 404);
    assert_eq!(proxy.get("/a.css/b").await.status, 404);
    assert_eq!(proxy.request("POST", "/a.css", &[], b"").await.status, 405);
}

#[tokio::test]
async fn compressed_forms_that_come_change_and_go() {
    let proxy = Proxy::start(NOBODY, &[SOON]).await;
    proxy.old_file("a.css", "plain");
    let becomes = async |what: &str, expected: (Option<&str>, &str)| {
        wait_until(what, DEADLINE, async || {
            let response = proxy.get_with("/a.css", ALL_CODINGS).await;
            assert_eq!(response.header("vary"), Some("Accept-Encoding"));
            (response.header("content-encoding"), &*response.text()) == expected
        })
        .await;
        assert_eq!(proxy.get("/a.css").await.text(), "plain");
    };
    is_kept(&proxy, "/a.css").await;
    becomes("the plain form", (None, "plain")).await;
    proxy.old_file("a.css.gz", "gzip");
    becomes("one more", (Some("gzip"), "gzip")).await;
    is_kept(&proxy, "/a.css").await;
    becomes("one more, in memory", (Some("gzip"), "gzip")).await;
    replace(&proxy.docroot().join("a.css.gz"), "GZIP");
    becomes("another in its place", (Some("gzip"), "GZIP")).await;
    proxy.old_file("a.css.br", "brotli");
    becomes("a better one", (Some("br"), "brotli")).await;
    is_kept(&proxy, "/a.css").await;
    let gzip = proxy.get_with("/a.css", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!((gzip.header("content-encoding"), &*gzip.text()), (Some("gzip"), "GZIP"));
    fs::remove_file(proxy.docroot().join("a.css.br")).unwrap();
    becomes("the better one gone", (Some("gzip"), "GZIP")).await;
    is_kept(&proxy, "/a.css").await;
    // The plain file is newer than its form.
    proxy.file("a.css", "plain");
    becomes("an old form", (None, "plain")).await;
}

#[tokio::test]
async fn what_is_kept_is_answered_like_what_is_not() {
    let keeps = Proxy::start(NOBODY, &[NEVER]).await;
    let docroot = format!("--docroot={}", keeps.docroot().display());
    let reads = Proxy::start(NOBODY, &[&docroot, "--file-cache=0"]).await;
    let text = "0123456789".repeat(1000);
    keeps.old_file("a.css", &text);
    keeps.old_file("a.css.gz", &text[..5000]);
    keeps.old_file("a.png", &text);
    keeps.old_file("a.svgz", &text);
    keeps.old_file("empty.css", "");
    let paths = ["/a.css", "/a.png", "/a.svgz", "/empty.css", "/a.css.gz"];
    for path in paths {
        is_kept(&keeps, path).await;
    }
    let etag = reads.get("/a.css").await.header("etag").unwrap().to_owned();
    let coded = reads.get_with("/a.css", ALL_CODINGS).await.header("etag").unwrap().to_owned();
    assert_ne!(etag, coded);
    let requests: [&[(&str, &str)]; 14] = [
        &[],
        ALL_CODINGS,
        &[("If-None-Match", &etag)],
        &[("If-None-Match", &coded)],
        &[("If-None-Match", &coded), ("Accept-Encoding", "gzip")],
        &[("If-None-Match", "*")],
        &[("If-Modified-Since", THEN)],
        &[("If-Match", "\"x\"")],
        &[("Range", "bytes=10-19")],
        &[("Range", "bytes=-10"), ("If-Range", &etag)],
        &[("Range", "bytes=10-19"), ("If-Range", "\"x\"")],
        &[("Range", "bytes=10-19,-5")],
        &[("Range", "bytes=10000-")],
        &[("Range", "bytes=0-0"), ("Accept-Encoding", "gzip")],
    ];
    let before = counted(&keeps, "hit").await;
    for path in paths {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            for fields in requests {
                let kept = keeps.request(method, path, fields, b"").await;
                let read = reads.request(method, path, fields, b"").await;
                assert_eq!(essence(&kept), essence(&read), "{method} {path} {fields:?}");
            }
        }
    }
    let hits = counted(&keeps, "hit").await - before;
    assert_eq!(hits, paths.len() as u64 * 4 * requests.len() as u64, "all of them were in memory");
    let metrics = reads.metrics().await;
    for outcome in ["hit", "unchanged", "stored", "young", "large", "unread", "head"] {
        assert_eq!(metrics.get("web_proxy_file_cache_total", &[("outcome", outcome)]), Some(0.0));
    }
    assert_eq!(metrics.get("web_proxy_file_cache_bytes", &[]), Some(0.0));
}

/// Without what differs between any two responses.
fn essence(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let boundary = response
        .header("content-type")
        .and_then(|kind| kind.strip_prefix("multipart/byteranges; boundary="))
        .map(str::to_owned);
    let fields = response.headers.iter().filter(|(name, _)| name != "date" && name != "x-request-id");
    let fields = fields.cloned().map(|(name, value)| match &boundary {
        Some(boundary) => (name, value.replace(boundary, "BOUNDARY")),
        None => (name, value),
    });
    let body = match &boundary {
        Some(boundary) => response.text().replace(boundary, "BOUNDARY").into_bytes(),
        None => response.body.clone(),
    };
    (response.status, fields.collect(), body)
}

#[tokio::test]
async fn for_a_head_alone_nothing_is_read() {
    let proxy = Proxy::start(NOBODY, &[NEVER]).await;
    proxy.old_file("a.css", "plain");
    wait_until("a file that could be kept", DEADLINE, async || {
        let head = proxy.request("HEAD", "/a.css", &[], b"").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
        counted(&proxy, "head").await > 0
    })
    .await;
    assert_eq!((counted(&proxy, "stored").await, counted(&proxy, "hit").await), (0, 0));
}

#[tokio::test]
async fn with_no_interval_each_request_looks() {
    let proxy = Proxy::start(NOBODY, &["--file-cache-valid=0"]).await;
    proxy.old_file("a.txt", "old");
    wait_until("a file in memory", DEADLINE, async || {
        assert_eq!(proxy.get("/a.txt").await.text(), "old");
        counted(&proxy, "unchanged").await > 1
    })
    .await;
    replace(&proxy.docroot().join("a.txt"), "new");
    assert_eq!(proxy.get("/a.txt").await.text(), "new");
    assert_eq!(counted(&proxy, "hit").await, 0);
}

#[tokio::test]
async fn memory_is_bounded_and_what_changed_just_now_is_not_kept() {
    const LIMIT: u32 = 1 << 20;
    let proxy = Proxy::start(NOBODY, &["--file-cache=1MiB", NEVER]).await;
    proxy.old_file("large.bin", "x".repeat((128 << 10) + 1));
    proxy.old_file("largest.bin", "y".repeat(128 << 10));
    let content = |at: u32| format!("{at:016}").repeat(1024);
    for at in 0..200 {
        proxy.old_file(&format!("{at}.bin"), content(at));
    }
    // Its inode has changed a moment ago.
    proxy.file("young.txt", "young");
    proxy.get("/young.txt").await;
    assert_eq!(counted(&proxy, "young").await, 1);
    is_kept(&proxy, "/largest.bin").await;
    for _ in 0..3 {
        for at in 0..200 {
            assert_eq!(proxy.get(&format!("/{at}.bin")).await.text(), content(at));
        }
    }
    let stored = counted(&proxy, "stored").await;
    assert!(stored >= 200, "{stored}");
    let bytes = async || proxy.metric("web_proxy_file_cache_bytes", &[]).await;
    wait_until("memory to be within its limit", DEADLINE, async || {
        proxy.get("/0.bin").await;
        bytes().await <= f64::from(LIMIT)
    })
    .await;
    assert!(bytes().await > f64::from(LIMIT / 2));
    assert!(proxy.metric("web_proxy_file_cache_files", &[]).await > 30.0);
    let before = counted(&proxy, "large").await;
    assert_eq!(proxy.get("/large.bin").await.body.len(), (128 << 10) + 1);
    assert_eq!(counted(&proxy, "large").await - before, 1);
}
