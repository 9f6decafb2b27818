//! What is answered without the application.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use test_support::client::Client;
use test_support::metrics::Metrics;
use test_support::process::{is_root, rss};
use test_support::wait::{DEADLINE, wait_for};

use crate::support::{NOBODY, Proxy, THEN};

#[tokio::test]
async fn a_file_and_its_conditions() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.old_file("a/style.css", "body { color: red }");
    let response = proxy.get("/a/style.css?v=1").await;
    assert_eq!((response.status, response.text().as_str()), (200, "body { color: red }"));
    assert_eq!(response.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(response.header("content-length"), Some("19"));
    assert_eq!(response.header("last-modified"), Some(THEN));
    assert_eq!(response.header("accept-ranges"), Some("bytes"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!((response.header("cache-control"), response.header("expires")), (None, None));
    let etag = response.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"'), "{etag}");

    let unchanged = proxy.get_with("/a/style.css", &[("If-None-Match", &etag)]).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), Some(etag.as_str()));
    assert_eq!((unchanged.header("content-type"), unchanged.header("content-length")), (None, None));
    assert_eq!(proxy.get_with("/a/style.css", &[("If-Modified-Since", THEN)]).await.status, 304);
    assert_eq!(proxy.get_with("/a/style.css", &[("If-Match", "\"x\"")]).await.status, 412);

    let part = proxy.get_with("/a/style.css", &[("Range", "bytes=7-11"), ("If-Range", &etag)]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "color"));
    assert_eq!(part.header("content-range"), Some("bytes 7-11/19"));
    let beyond = proxy.get_with("/a/style.css", &[("Range", "bytes=19-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */19")));
    assert_eq!(proxy.get_with("/a/style.css", &[("Range", "bytes=0-1,0-1,0-1")]).await.status, 200);

    // A replica with the same file agrees.
    let replica = Proxy::start(NOBODY, &[]).await;
    replica.old_file("a/style.css", "body { color: red }");
    assert_eq!(replica.get("/a/style.css").await.header("etag"), Some(etag.as_str()));
}

#[tokio::test]
async fn several_ranges_of_a_file() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.old_file("a.txt", "0123456789");
    proxy.old_file("a.svgz", "0123456789");
    let response = proxy.get_with("/a.txt", &[("Range", "bytes=-2,0-2,99-")]).await;
    assert_eq!((response.status, response.header("content-range")), (206, None));
    let kind = response.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let fields = "Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes";
    let expected = format!(
        "--{boundary}\r\n{fields} 8-9/10\r\n\r\n89\r\n--{boundary}\r\n{fields} 0-2/10\r\n\r\n012\r\n--{boundary}--\r\n"
    );
    assert_eq!(response.text(), expected);
    assert_eq!(response.header("content-length").unwrap(), expected.len().to_string());
    for name in ["etag", "last-modified", "x-content-type-options"] {
        assert!(response.header(name).is_some(), "{name}");
    }
    let beyond = proxy.get_with("/a.txt", &[("Range", "bytes=10-,99-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    let encoded = proxy.get_with("/a.svgz", &[("Range", "bytes=0-1,3-4")]).await;
    assert_eq!((encoded.status, encoded.text().as_str()), (200, "0123456789"));
    let head = proxy.request("HEAD", "/a.txt", &[("Range", "bytes=0-1,3-4")], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
}

#[tokio::test]
async fn methods() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.old_file("a.txt", "abc");
    let head = proxy.request("HEAD", "/a.txt", &[], b"").await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, Some("3")));
    let options = proxy.request("OPTIONS", "/a.txt", &[], b"").await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    let post = proxy.request("POST", "/a.txt", &[], b"x=y").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert!(post.text().contains("405 Method Not Allowed"));
    assert_eq!(proxy.request("TRACE", "/a.txt", &[], b"").await.status, 405);
    assert_eq!(proxy.request("OPTIONS", "*", &[], b"").await.status, 204);
}

#[tokio::test]
async fn directories() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.file("docs/index.html", "<h1>docs</h1>");
    fs::create_dir(proxy.docroot().join("empty")).unwrap();
    let response = proxy.get("/docs?a=b").await;
    assert_eq!((response.status, response.header("location")), (301, Some("/docs/?a=b")));
    let index = proxy.get("/docs/").await;
    assert_eq!((index.status, index.text().as_str()), (200, "<h1>docs</h1>"));
    assert_eq!(proxy.get("/empty/").await.status, 403);
}

#[tokio::test]
async fn what_is_never_sent() {
    let proxy = Proxy::start(NOBODY, &["--front-controller=none"]).await;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("key"), "secret").unwrap();
    symlink(outside.path(), proxy.docroot().join("link")).unwrap();
    for name in [".env", ".git/config", "a/.htpasswd", "config.php.bak", "old.PHP", "x.phtml"] {
        proxy.file(name, "secret");
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        proxy.docroot().join("pipe.txt"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(proxy.docroot().join("socket.txt")).unwrap();
    proxy.file("unreadable.txt", "secret");
    let unreadable = proxy.docroot().join("unreadable.txt");
    fs::set_permissions(unreadable, fs::Permissions::from_mode(0o000)).unwrap();
    let mut cases = vec![
        ("/.env", 403),
        ("/.git/config", 403),
        ("/a/.htpasswd", 403),
        ("/config.php.bak", 403),
        ("/old.PHP", 403),
        ("/x.phtml", 403),
        ("/link/key", 403),
        ("/pipe.txt", 403),
        ("/socket.txt", 403),
        ("/missing", 404),
        ("/a.txt/../../etc/passwd", 400),
        ("/%2e%2e/%2e%2e/etc/passwd", 400),
        ("/..%2fetc/passwd", 404),
        ("/a%00.txt", 400),
        ("/a%5c..%5cb", 400),
        ("/%zz", 400),
    ];
    if !is_root() {
        cases.push(("/unreadable.txt", 403));
    }
    for (path, status) in cases {
        let response = proxy.get(path).await;
        assert_eq!(response.status, status, "{path}");
        assert!(!response.text().contains("secret"), "{path}");
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    let follows = Proxy::start(NOBODY, &["--follow-symlinks"]).await;
    symlink(outside.path(), follows.docroot().join("link")).unwrap();
    assert_eq!(follows.get("/link/key").await.text(), "secret");
}

#[tokio::test]
async fn drupal_s_files_keep_for_a_year() {
    let proxy = Proxy::start(NOBODY, &["--preset=drupal"]).await;
    proxy.old_file("core/misc/drupal.js", "x");
    let response = proxy.get("/core/misc/drupal.js").await;
    assert_eq!(response.header("cache-control"), Some("max-age=31536000"));
    assert!(response.header("expires").is_some());
    assert_eq!(response.all("x-content-type-options").collect::<Vec<_>>(), ["nosniff"]);
    assert_eq!(proxy.get("/favicon.ico").await.status, 404);
    assert_eq!(proxy.get("/core/x.yml").await.status, 403);
}

#[tokio::test]
async fn hosts_and_targets() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.file("a.txt", "abc");
    let cases = [
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET http://y/a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /a.txt HTTP/1.0\r\n\r\n", 200),
        ("GET /a.txt HTTP/1.1\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
        ("GET a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        // What hyper takes, and two hops could read in two ways.
        ("GET /a.txt HTTP/1.1\nHost: x\n\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        (
            "GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.2\r\nHost: x\r\n\r\n", 505),
        (&format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(40_000)), 414),
        (&format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(62_000)), 431),
    ];
    for (bytes, status) in cases {
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(bytes).await.unwrap();
        let response = client.response("GET").await.unwrap();
        assert_eq!(response.status, status, "{bytes:.80}");
    }
}

#[tokio::test]
async fn a_large_file_takes_little_memory_and_a_client_that_leaves_frees_it() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    let length = 300 << 20;
    fs::File::create(proxy.docroot().join("large.bin")).unwrap().set_len(length).unwrap();
    let before = rss(std::process::id()).unwrap();

    // Clients that read nothing hold no more than a few pieces each.
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect_narrow(proxy.address, 4096).await.unwrap();
        client.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        client.response_head("GET").await.unwrap();
        slow.push(client);
    }
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("GET /large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let head = client.response_head("GET").await.unwrap();
    let (mut seen, mut most) = (0_u64, 0);
    client
        .drain(head.framing, |chunk| {
            if seen >> 24 != (seen + chunk.len() as u64) >> 24 {
                most = most.max(rss(std::process::id()).unwrap());
            }
            seen += chunk.len() as u64;
        })
        .await
        .unwrap();
    assert_eq!(seen, length);
    // Other tests run in this process too.
    assert!(most.saturating_sub(before) < 120 << 20, "from {before} to {most} bytes");
    drop(slow);
    proxy.is_idle().await;
}

#[tokio::test]
async fn a_file_that_shrinks_breaks_the_response_off() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.file("shrinks.bin", vec![b'x'; 32 << 20]);
    let mut client = Client::connect_narrow(proxy.address, 4096).await.unwrap();
    client.send("GET /shrinks.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let head = client.response_head("GET").await.unwrap();
    fs::File::options().write(true).open(proxy.docroot().join("shrinks.bin")).unwrap().set_len(10).unwrap();
    let end = client.drain(head.framing, |_| {}).await.unwrap();
    assert_eq!(end, test_support::client::End::Truncated);
    proxy.metric_becomes("web_proxy_broken_total", 1.0).await;
}

#[tokio::test]
async fn the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let flag = format!("--access-log={}", path.display());
    let proxy = Proxy::start(NOBODY, &[&flag, "--trusted-proxies=127.0.0.1/32"]).await;
    proxy.file("a.txt", "abc");
    proxy.get_with("/a.txt?x", &[("X-Forwarded-For", "198.51.100.7"), ("User-Agent", "t")]).await;
    proxy.get("/.env").await;
    proxy.get("/node").await;
    let lines = wait_for("three lines", DEADLINE, async || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        (text.lines().count() == 3).then_some(text)
    })
    .await;
    let mut lines = lines.lines();
    let mut next = || lines.next().unwrap();
    let first = next();
    assert!(first.starts_with("198.51.100.7 - - ["), "{first}");
    assert!(first.ends_with("\"GET /a.txt?x HTTP/1.1\" 200 3 \"-\" \"t\" static"), "{first}");
    assert!(next().ends_with(" denied"));
    let last = next();
    assert!(last.contains("\"GET /node HTTP/1.1\" 503") && last.ends_with(" error"), "{last}");
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let proxy = Proxy::start(NOBODY, &["--preset=drupal"]).await;
    proxy.file("a.txt", "abc");
    proxy.get("/a.txt").await;
    proxy.get("/node").await;
    proxy.get("/sites/default/files/css/css_x.css").await;
    proxy.get("/%00").await;
    proxy.is_idle().await;
    assert_eq!(proxy.metrics().await.described(""), Metrics::documented("web_proxy_").unwrap());
}
