//! Files that the application names instead of sending them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use test_support::client::Client;
use test_support::fastcgi_app::FakeFastCgiApp;

use crate::support::{Proxy, THEN};

/// An application that answers with the header fields in the query, `|` between them, and a body that nobody gets.
async fn app() -> FakeFastCgiApp {
    FakeFastCgiApp::tcp(async |mut exchange| {
        let query = exchange.param("QUERY_STRING").replace('+', " ");
        let typed = if query.contains("Content-Type") { "" } else { "Content-Type:text/html; charset=UTF-8" };
        let fields: Vec<&str> = query.split('|').chain([typed]).filter(|field| !field.is_empty()).collect();
        exchange.respond(format!("{}\r\n\r\nthe script's own", fields.join("\r\n"))).await
    })
    .await
    .unwrap()
}

fn old_file(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(httpdate::parse_http_date(THEN).unwrap()).unwrap();
}

async fn proxy(app: &FakeFastCgiApp, private: &TempDir) -> Proxy {
    old_file(&private.path().join("report.pdf"), "0123456789");
    old_file(&private.path().join("a b/100%.txt"), "abc");
    old_file(&private.path().join("page.html"), "<p>");
    old_file(&private.path().join("script.php"), "<?php secret");
    let internal = format!("--internal=/private/={}", private.path().display());
    Proxy::start(&app.address(), &[&internal]).await
}

#[tokio::test]
async fn x_accel_redirect() {
    let (app, private) = (app().await, TempDir::new().unwrap());
    let proxy = proxy(&app, &private).await;
    let fields = "X-Accel-Redirect:/private/report.pdf|Set-Cookie:a=b|Cache-Control:private|\
                  Content-Disposition:attachment|Content-Length:16|ETag:W/x|Last-Modified:x";
    let url = format!("/download?{fields}");
    let response = proxy.get(&url).await;
    assert_eq!((response.status, response.text().as_str()), (200, "0123456789"));
    for (name, value) in [
        ("content-type", "application/pdf"),
        ("content-length", "10"),
        ("last-modified", THEN),
        ("set-cookie", "a=b"),
        ("cache-control", "private"),
        ("content-disposition", "attachment"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(response.all(name).collect::<Vec<_>>(), [value], "{name}");
    }
    assert_eq!((response.header("x-accel-redirect"), response.header("expires")), (None, None));
    let etag = response.header("etag").unwrap().to_owned();
    assert_eq!(proxy.get_with(&url, &[("If-None-Match", &etag)]).await.status, 304);
    let part = proxy.get_with(&url, &[("Range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    let parts = proxy.get_with(&url, &[("Range", "bytes=0-0,2-4")]).await;
    assert!(parts.header("content-type").unwrap().starts_with("multipart/byteranges"));
    let head = proxy.request("HEAD", &url, &[], b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("10"), 0));
    let post = proxy.request("POST", &url, &[("Range", "bytes=2-4")], b"x=y").await;
    assert_eq!((post.status, post.text().as_str()), (200, "0123456789"));
    // The application's word on the type, and names that are not encoded.
    let typed = proxy.get("/x?X-Accel-Redirect:/private/report.pdf|Content-Type:text/plain").await;
    assert_eq!(typed.header("content-type"), Some("text/plain"));
    assert_eq!(proxy.get("/x?X-Accel-Redirect:/private/a+b/100%25.txt").await.text(), "abc");
    assert_eq!(proxy.get("/x?X-Accel-Redirect:/private/a+b/100%.txt").await.text(), "abc");
    proxy.is_idle().await;
}

#[tokio::test]
async fn x_sendfile() {
    let (app, private) = (app().await, TempDir::new().unwrap());
    let proxy = proxy(&app, &private).await;
    old_file(&proxy.docroot().join("files/a.css"), "css");
    let folder = private.path().display();
    let response = proxy.get(&format!("/x?X-Sendfile:{folder}/report.pdf")).await;
    assert_eq!((response.status, response.text().as_str()), (200, "0123456789"));
    assert_eq!(
        (response.header("content-type"), response.header("x-sendfile")),
        (Some("application/pdf"), None)
    );
    // As the application names the docroot: by its real path.
    let docroot = proxy.docroot().canonicalize().unwrap();
    let css = proxy.get(&format!("/x?X-Sendfile:{}/files/a.css", docroot.display())).await;
    assert_eq!((css.status, css.text().as_str()), (200, "css"));
    let percent = proxy.get(&format!("/x?X-Sendfile:{folder}/a+b/100%.txt")).await;
    assert_eq!((percent.status, percent.text().as_str()), (200, "abc"));
}

#[tokio::test]
async fn what_is_not_handed_over() {
    let (app, private) = (app().await, TempDir::new().unwrap());
    let proxy = proxy(&app, &private).await;
    let folder = private.path().display();
    for (field, status) in [
        ("X-Accel-Redirect:/private/missing.pdf".to_owned(), 404),
        ("X-Accel-Redirect:/private/a+b/".to_owned(), 404),
        ("X-Accel-Redirect:/private/report.pdf/x".to_owned(), 404),
        ("X-Accel-Redirect:/private/script.php".to_owned(), 500),
        ("X-Accel-Redirect:/elsewhere/x".to_owned(), 500),
        ("X-Accel-Redirect:/private/../../etc/passwd".to_owned(), 500),
        ("X-Accel-Redirect:http://site/private/report.pdf".to_owned(), 500),
        ("X-Sendfile:/etc/passwd".to_owned(), 500),
        (format!("X-Sendfile:{folder}/../../../../../../etc/passwd"), 500),
        (format!("X-Sendfile:{folder}x"), 500),
    ] {
        let response = proxy.get(&format!("/x?{field}")).await;
        assert_eq!(response.status, status, "{field}");
        let text = response.text();
        assert!(
            !text.contains("root:") && !text.contains("secret") && !text.contains("own"),
            "{field}: {text}"
        );
        assert_eq!((response.header("x-sendfile"), response.header("x-accel-redirect")), (None, None));
    }
    // An error page stays what it is.
    let denied = proxy.get("/x?Status:403+Forbidden|X-Accel-Redirect:/private/report.pdf").await;
    assert_eq!((denied.status, denied.text().as_str()), (403, "the script's own"));
    assert_eq!(denied.header("x-accel-redirect"), None);
    // Nobody else may ask for what is internal, or say how files are sent.
    let asked = [("X-Accel-Mapping", "/=/private/"), ("X-Sendfile-Type", "X-Accel-Redirect")];
    let direct = proxy.get_with("/private/report.pdf", &asked).await;
    assert_eq!(direct.text(), "the script's own");
    let request = app.requests().pop().unwrap();
    assert_eq!(
        (request.param("HTTP_X_ACCEL_MAPPING"), request.param("HTTP_X_SENDFILE_TYPE")),
        (String::new(), String::new())
    );
}

#[tokio::test]
async fn a_type_that_php_says_unasked_is_not_taken_for_a_page() {
    let (app, private) = (app().await, TempDir::new().unwrap());
    let proxy = proxy(&app, &private).await;
    let page = proxy.get("/x?X-Accel-Redirect:/private/page.html").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = proxy.get("/x?X-Accel-Redirect:/private/a+b/100%25.txt").await;
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn a_slow_client_does_not_hold_the_application() {
    let (app, private) = (app().await, TempDir::new().unwrap());
    let proxy = proxy(&app, &private).await;
    old_file(&private.path().join("large.bin"), &"x".repeat(8 << 20));
    let mut client = Client::connect_narrow(proxy.address, 4096).await.unwrap();
    client.send("GET /x?X-Accel-Redirect:/private/large.bin HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = client.response_head("GET").await.unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("8388608")));
    proxy.metric_becomes("web_proxy_fastcgi_in_flight", 0.0).await;
    proxy.metric_becomes("web_proxy_requests_in_flight", 1.0).await;
}
