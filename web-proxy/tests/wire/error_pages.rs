//! The operator's error pages.

use std::fs;

use test_support::client::Client;
use test_support::fastcgi_app::FakeFastCgiApp;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{NOBODY, Proxy};

#[tokio::test]
async fn what_is_refused_here_looks_as_the_operator_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("404.html", "<p>lost"), ("4xx.html", "<p>no"), ("50x.html", "<p>sorry")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let flag = format!("--error-pages={}", folder.path().display());
    let proxy = Proxy::start(NOBODY, &[&flag]).await;
    proxy.file("a.txt", "abc");
    proxy.file(".env", "secret");
    let cases = [
        ("GET", "/a.txt/x", 404, "<p>lost"),
        ("GET", "/.env", 403, "<p>no"),
        ("GET", "/%zz", 400, "<p>no"),
        ("POST", "/a.txt", 405, "<p>no"),
        ("GET", "/node", 503, "<p>sorry"),
    ];
    for (method, path, status, text) in cases {
        let response = proxy.request(method, path, &[], b"").await;
        assert_eq!((response.status, response.text().as_str()), (status, text), "{path}");
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("allow").is_some(), status == 405);
        assert_eq!(response.header("retry-after").is_some(), status == 503);
        if method == "GET" {
            let head = proxy.request("HEAD", path, &[], b"").await;
            assert_eq!((head.status, head.body.len()), (status, 0));
            assert_eq!(head.header("content-length"), Some(text.len().to_string().as_str()));
        }
    }
    // Also for what is no request at all.
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("GET /a.txt HTTP/1.1\nHost: x\n\n").await.unwrap();
    let response = client.response("GET").await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (400, "<p>no"));
    // A redirect is no error.
    fs::create_dir(proxy.docroot().join("folder")).unwrap();
    assert!(proxy.get("/folder").await.text().contains("301 Moved Permanently"));

    fs::write(folder.path().join("404.html"), "<p>moved").unwrap();
    wait_until("the new page", DEADLINE, async || proxy.get("/a.txt/x").await.text() == "<p>moved").await;
    fs::remove_file(folder.path().join("404.html")).unwrap();
    wait_until("the general page", DEADLINE, async || proxy.get("/a.txt/x").await.text() == "<p>no").await;
    fs::remove_file(folder.path().join("4xx.html")).unwrap();
    wait_until("the built-in page", DEADLINE, async || {
        proxy.get("/a.txt/x").await.text().contains("404 Not Found")
    })
    .await;
}

#[tokio::test]
async fn what_the_application_answers_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("4xx.html"), "<p>no").unwrap();
    let app = FakeFastCgiApp::tcp(async |mut exchange| {
        exchange.respond("Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nmine").await
    })
    .await
    .unwrap();
    let flag = format!("--error-pages={}", folder.path().display());
    let proxy = Proxy::start(&app.address(), &[&flag]).await;
    let response = proxy.get("/node").await;
    assert_eq!((response.status, response.text().as_str()), (404, "mine"));
    assert_eq!(response.header("cache-control"), None);
}
