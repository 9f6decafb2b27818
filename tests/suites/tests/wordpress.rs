//! WordPress from Debian's package, installed and used through the whole chain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use suites::visitor::Visitor;
use suites::wordpress::{ADMIN, ADMIN_PASSWORD, TITLE, WordPress};
use test_support::client::Response;

#[tokio::test(flavor = "multi_thread")]
async fn is_installed_and_used() {
    let site: WordPress = WordPress::installed().await.unwrap();
    let reader = || Visitor::new(site.chain.address());
    anonymous_pages_hit(&mut reader()).await;
    permalinks_need_no_query(&site).await;
    static_files_are_files(&mut reader()).await;
    a_session_passes(&site).await;
    a_comment_is_posted(&mut reader()).await;
    what_is_not_there_is_said_by_wordpress(&mut reader()).await;
    what_is_private_stays_private(&mut reader()).await;
}

async fn anonymous_pages_hit(reader: &mut Visitor) {
    let first = reader.get("/").await.unwrap();
    assert_eq!((first.status, cached(&first)), (200, "MISS"), "{:?}", first.headers);
    assert!(first.text().contains(TITLE) && first.text().contains("Hello world!"), "{}", first.text());
    let second = reader.get("/").await.unwrap();
    assert_eq!((second.status, cached(&second)), (200, "HIT"), "{:?}", second.headers);
    assert_eq!(second.body, first.body);
    let mut other = reader.clone();
    let third = other.request("GET", "/", &[("Cookie", "_ga=1; wp-settings-time-1=2")], b"").await.unwrap();
    assert_eq!(cached(&third), "HIT", "cookies of no session do not matter");
}

/// Pretty permalinks: what is no file goes to index.php.
async fn permalinks_need_no_query(site: &WordPress) {
    let mut admin = logged_in(site).await;
    let form = admin.get("/wp-admin/options-permalink.php").await.unwrap();
    let nonce = field(&form, "_wpnonce");
    let fields = [
        ("_wpnonce", nonce.as_str()),
        ("_wp_http_referer", "/wp-admin/options-permalink.php"),
        ("selection", "/%postname%/"),
        ("permalink_structure", "/%postname%/"),
        ("category_base", ""),
        ("tag_base", ""),
        ("submit", "Save Changes"),
    ];
    let saved = admin.post("/wp-admin/options-permalink.php", &fields).await.unwrap();
    assert_eq!(saved.status, 302);
    // WordPress makes its rewrite rules when the browser comes back.
    assert_eq!(admin.follow(saved).await.unwrap().status, 200);

    let mut reader = Visitor::new(site.chain.address());
    let post = reader.get("/hello-world/").await.unwrap();
    assert_eq!((post.status, cached(&post)), (200, "MISS"), "{}", post.text());
    assert!(post.text().contains("Welcome to WordPress"));
    assert_eq!(cached(&reader.get("/hello-world/").await.unwrap()), "HIT");
    let without_slash = reader.get("/hello-world").await.unwrap();
    assert_eq!(without_slash.status, 301);
    assert!(without_slash.header("location").unwrap().ends_with("/hello-world/"));
    let page = reader.follow(without_slash).await.unwrap();
    assert_eq!(page.status, 200);
    let old = reader.get("/?p=1").await.unwrap();
    assert_eq!(old.status, 301, "the query is part of the key and reaches PHP");
}

async fn static_files_are_files(reader: &mut Visitor) {
    let path = "/wp-includes/css/dist/block-library/style.min.css";
    let style = reader.get(path).await.unwrap();
    assert_eq!(style.status, 200);
    assert!(style.header("content-type").unwrap().starts_with("text/css"));
    let tag = style.header("etag").unwrap();
    let again = reader.request("GET", path, &[("If-None-Match", tag)], b"").await.unwrap();
    assert_eq!((again.status, again.body.len()), (304, 0));
    let script = reader.get("/wp-includes/js/jquery/jquery.min.js?ver=3.6.1").await.unwrap();
    assert_eq!(script.status, 200);
    assert!(script.header("content-type").unwrap().contains("javascript"));
    let part = reader.request("GET", path, &[("Range", "bytes=0-9")], b"").await.unwrap();
    assert_eq!((part.status, part.body.as_slice()), (206, &style.body[..10]));
}

async fn a_session_passes(site: &WordPress) {
    let mut admin = logged_in(site).await;
    let dashboard = admin.get("/wp-admin/").await.unwrap();
    assert_eq!((dashboard.status, cached(&dashboard)), (200, "PASS"), "{:?}", dashboard.headers);
    assert!(dashboard.text().contains("wp-admin-bar-my-account"));
    let front = admin.get("/").await.unwrap();
    assert_eq!((front.status, cached(&front)), (200, "PASS"));
    assert!(front.text().contains("id=\"wpadminbar\""), "a person who is logged in sees the admin bar");
    let mut reader = Visitor::new(site.chain.address());
    let anonymous = reader.get("/").await.unwrap();
    assert!(!anonymous.text().contains("id=\"wpadminbar\""), "nobody else does");

    // The script that the dashboard asks again and again: POST, JSON, never stored.
    let heartbeat = admin.post("/wp-admin/admin-ajax.php", &[("action", "heartbeat")]).await.unwrap();
    assert_eq!(cached(&heartbeat), "PASS");
}

async fn a_comment_is_posted(reader: &mut Visitor) {
    let fields = [
        ("comment", "A comment from a test"),
        ("author", "A reader"),
        ("email", "reader@example.org"),
        ("url", ""),
        ("wp-comment-cookies-consent", "yes"),
        ("comment_post_ID", "1"),
        ("comment_parent", "0"),
    ];
    let posted = reader.post("/wp-comments-post.php", &fields).await.unwrap();
    assert_eq!((posted.status, cached(&posted)), (302, "PASS"), "{}", posted.text());
    assert!(reader.cookies().any(|name| name.starts_with("comment_author_")));
    let shown = reader.follow(posted).await.unwrap();
    assert_eq!(
        (shown.status, cached(&shown)),
        (200, "PASS"),
        "the comment's cookie makes it somebody's page"
    );
    assert!(
        shown.text().contains("A comment from a test"),
        "its author sees a comment that waits for approval"
    );
}

async fn what_is_not_there_is_said_by_wordpress(reader: &mut Visitor) {
    let missing = reader.get("/no-such-page/").await.unwrap();
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains(TITLE), "WordPress's own page");
    let api = reader.get("/wp-json/wp/v2/posts").await.unwrap();
    assert_eq!(api.status, 200);
    assert!(api.header("content-type").unwrap().starts_with("application/json"));
    assert!(api.text().contains("hello-world"));
    let feed = reader.get("/feed/").await.unwrap();
    assert!(feed.status == 200 && feed.text().contains("<rss"), "{}", feed.status);
}

async fn what_is_private_stays_private(reader: &mut Visitor) {
    for path in ["/.htaccess", "/wp-content/../.htaccess", "/wp-config.php~", "/.git/config"] {
        let response = reader.get(path).await.unwrap();
        assert!(matches!(response.status, 400 | 403 | 404), "{path}: {}", response.status);
        assert!(!response.text().contains("DB_PASSWORD"));
    }
    let run = reader.get("/wp-config.php").await.unwrap();
    assert!(!run.text().contains("DB_PASSWORD"), "a PHP file is run, never shown");
}

async fn logged_in(site: &WordPress) -> Visitor {
    let mut person = Visitor::new(site.chain.address());
    let form = person.get("/wp-login.php").await.unwrap();
    assert_eq!(form.status, 200);
    assert_ne!(cached(&form), "HIT");
    let fields = [("log", ADMIN), ("pwd", ADMIN_PASSWORD), ("wp-submit", "Log In"), ("testcookie", "1")];
    let entered = person.post("/wp-login.php", &fields).await.unwrap();
    assert_eq!((entered.status, cached(&entered)), (302, "PASS"), "{}", entered.text());
    assert!(person.cookies().any(|name| name.starts_with("wordpress_logged_in_")));
    person
}

/// What X-Cache says.
fn cached(response: &Response) -> &str {
    response.header("x-cache").unwrap_or("(no X-Cache)")
}

/// The value of a form's hidden field.
fn field(response: &Response, name: &str) -> String {
    let text = response.text();
    let (_, after) = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    after.split('"').next().unwrap().to_owned()
}
