//! The site through the whole chain: what PHP is told, what clients are told, and where its data is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use suites::site::Site;
use suites::visitor::Visitor;
use test_support::client;
use test_support::mariadb::MariaDb;
use test_support::memcached::Memcached;

const ARTICLE: &str = "/articles/how-a-cache-decides";

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let site = Site::start().await.unwrap();
    let health = client::get(site.chain.address(), "/health", &[]).await.unwrap().text();
    assert!(health.contains("\"sqlite\"") && health.contains("\"sessions\": \"database\""), "{health}");
    a_person_uses_it(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mariadb_and_memcached() {
    let (database, memcached) = (MariaDb::start(&["site"]).await.unwrap(), Memcached::start().await.unwrap());
    let site = Site::start_with(|mut plan| {
        let fpm = plan.fpm.pool("env[DATABASE_URL]", format!("\"{}\"", database.url("site")));
        plan.fpm = fpm.pool("env[MEMCACHED_SERVERS]", format!("\"{}\"", memcached.address()));
        plan
    })
    .await
    .unwrap();
    let health = client::get(site.chain.address(), "/health", &[]).await.unwrap().text();
    assert!(health.contains("\"mariadb\"") && health.contains("\"sessions\": \"memcached\""), "{health}");
    assert!(health.contains(&memcached.address().to_string()), "{health}");
    a_person_uses_it(&site).await;
}

/// Logs in, is counted, says something; others see it no later than the page's lifetime, and nothing of the session.
async fn a_person_uses_it(site: &Site) {
    let mut reader = Visitor::new(site.chain.address());
    let before = reader.get(ARTICLE).await.unwrap();
    assert_eq!((before.status, before.header("x-cache")), (200, Some("MISS")));
    assert_eq!(reader.get(ARTICLE).await.unwrap().header("x-cache"), Some("HIT"));
    assert_eq!(reader.cookies().count(), 0, "anonymous visitors get no cookie");

    let mut person = Visitor::new(site.chain.address());
    let form = person.get("/login").await.unwrap();
    let wrong = [("name", "demo"), ("password", "wrong"), ("token", &token(&form.text()))];
    assert_eq!(person.post("/login", &wrong).await.unwrap().status, 422);
    let right = [("name", "demo"), ("password", "demo"), ("token", &token(&form.text()))];
    let entered = person.post("/login", &right).await.unwrap();
    assert_eq!((entered.status, entered.header("x-cache")), (303, Some("PASS")), "{}", site.chain.logs());
    for visit in 1..=3 {
        let own = person.get("/me").await.unwrap();
        assert_eq!((own.status, own.header("x-cache")), (200, Some("PASS")));
        assert!(own.text().contains(&format!("<b id=\"visits\">{visit}</b>")), "{}", own.text());
    }

    let page = person.get(ARTICLE).await.unwrap();
    assert_eq!(page.header("x-cache"), Some("PASS"), "a session has pages of its own");
    let (_, form) = page.text().split_once("/comments\"").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let fields = [("comment", "Ünïcödé & <b>markup</b>"), ("token", &token(&form))];
    let said = person.post(&format!("{ARTICLE}/comments"), &fields).await.unwrap();
    assert_eq!(said.status, 303, "{}", said.text());
    let shown = person.get(ARTICLE).await.unwrap().text();
    assert!(shown.contains("Ünïcödé &amp; &lt;b&gt;markup&lt;/b&gt;"), "{shown}");
    assert!(
        !reader.get(ARTICLE).await.unwrap().text().contains("demo</a>"),
        "nothing of the session is shared"
    );
}

/// Nothing that PHP trusts can be said by a client.
#[tokio::test(flavor = "multi_thread")]
async fn what_php_is_told() {
    let site = Site::start().await.unwrap();
    let headers = [
        ("Host", "site.example:8443"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=6.6.6.6;proto=https"),
        ("Proxy", "http://evil.example"),
        ("GALERA_WRITER", "evil.example:3306"),
        ("Galera-Writer", "evil.example:3306"),
        ("X-Sendfile-Type", "X-Accel-Redirect"),
        ("Authorization", "Basic ZGVtbzpkZW1v"),
    ];
    let address = site.chain.address();
    let told = client::request(address, "POST", "/whoami?a=1&b=%20c", &headers, b"x=y").await.unwrap();
    let text = told.text();
    assert_eq!(told.status, 200, "{text}");
    for right in [
        "\"REMOTE_ADDR\": \"127.0.0.1\"",
        "\"REQUEST_METHOD\": \"POST\"",
        "\"REQUEST_URI\": \"/whoami?a=1&b=%20c\"",
        "\"QUERY_STRING\": \"a=1&b=%20c\"",
        "\"SCRIPT_NAME\": \"/index.php\"",
        "\"CONTENT_LENGTH\": \"3\"",
        "\"HTTP_HOST\": \"site.example:8443\"",
        "\"HTTP_AUTHORIZATION\": \"Basic ZGVtbzpkZW1v\"",
        &format!("\"DOCUMENT_ROOT\": \"{}\"", site.docroot().display()),
    ] {
        assert!(text.contains(right), "{right} is missing:\n{text}");
    }
    for wrong in ["6.6.6.6", "HTTP_PROXY", "\"GALERA_WRITER\"", "\"HTTPS\"", "SENDFILE"] {
        assert!(!text.contains(wrong), "{wrong} came through:\n{text}");
    }
}

/// Behind something that ends TLS and is named as trusted, PHP knows of it.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy() {
    let site = Site::start_with(|mut plan| {
        plan.edge = &["--trusted-proxies", "127.0.0.0/8"];
        plan
    })
    .await
    .unwrap();
    let headers =
        [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https"), ("Host", "site.example")];
    let text = client::get(site.chain.address(), "/whoami", &headers).await.unwrap().text();
    for right in ["\"REMOTE_ADDR\": \"192.0.2.7\"", "\"HTTPS\": \"on\"", "\"SERVER_PORT\": \"443\""] {
        assert!(text.contains(right), "{right} is missing:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_are_told() {
    let site = Site::start().await.unwrap();
    let mut reader = Visitor::new(site.chain.address());
    let page = reader.get("/").await.unwrap();
    assert_eq!(page.header("cache-tags"), None, "tags are between the site and its cache");
    assert!(page.header("via").is_some() && page.header("cache-status").unwrap().starts_with("edge-cache;"));

    // What is made on demand comes from PHP once and from the disk ever after.
    let style = page.text().split('"').find(|word| word.starts_with("/files/css/")).unwrap().to_owned();
    assert!(!site.docroot().join(&style[1..]).exists());
    let made = reader.get(&style).await.unwrap();
    assert_eq!((made.status, made.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert_eq!(std::fs::read(site.docroot().join(&style[1..])).unwrap(), made.body);

    let missing = reader.get("/no/such/page").await.unwrap();
    assert_eq!(missing.status, 404);
    let failed = reader.get("/error").await.unwrap();
    assert_eq!((failed.status, failed.header("x-cache")), (500, Some("MISS")));
    assert_eq!(reader.get("/error").await.unwrap().header("x-cache"), Some("MISS"), "failures are not kept");
    assert_eq!(reader.request("DELETE", "/lab", &[], b"").await.unwrap().status, 405);
    for hidden in ["/.user.ini", "/../src/Kernel.php", "/%2e%2e/composer.json"] {
        let answer = reader.get(hidden).await.unwrap();
        assert!(matches!(answer.status, 400 | 403 | 404), "{hidden}: {}", answer.status);
        assert!(!answer.text().contains("upload_max_filesize") && !answer.text().contains("namespace"));
    }
}

/// The hidden field of a form.
fn token(text: &str) -> String {
    text.split("name=\"token\" value=\"").last().unwrap().split('"').next().unwrap().to_owned()
}
