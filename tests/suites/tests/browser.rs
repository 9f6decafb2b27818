//! A real browser on the real sites, through the whole chain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use serde_json::Value;
use suites::service::root;
use suites::site::Site;
use suites::wordpress::{ADMIN, ADMIN_PASSWORD, TITLE, WordPress};
use test_support::browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn the_site() {
    let site = Site::start().await.unwrap();
    let browser = Browser::start().await.unwrap();
    let url = |path: &str| site.chain.url(path);

    // 1. It looks as it should: style, images, script.
    browser.goto(&url("/")).await.unwrap();
    assert!(browser.title().await.unwrap().contains("Enjambre"));
    assert_eq!(browser.text("h1").await.unwrap(), "A PHP site that keeps answering");
    is_whole(&browser).await;
    browser.find(".cell[data-kind]").await.unwrap();
    browser.screenshot(&picture("site-home")).await.unwrap();

    // 2. Everything it links to in its navigation is whole, too.
    for path in ["/articles", "/articles/how-a-cache-decides", "/lab"] {
        browser.goto(&url(path)).await.unwrap();
        is_whole(&browser).await;
    }
    browser.screenshot(&picture("site-lab")).await.unwrap();

    // 3. A person logs in, and gets pages of their own.
    browser.goto(&url("/login")).await.unwrap();
    browser.type_into("#name", "demo").await.unwrap();
    browser.type_into("#password", "demo").await.unwrap();
    browser.click_through(".form .button").await.unwrap();
    assert_eq!(browser.url().await.unwrap(), url("/me"));
    assert_eq!(browser.text("h1").await.unwrap(), "Hello, demo");
    for visit in ["2", "3"] {
        browser.goto(&url("/me")).await.unwrap();
        assert_eq!(browser.text("#visits").await.unwrap(), visit);
    }
    is_whole(&browser).await;

    // 4. They say something, and see it at once.
    browser.goto(&url("/articles/how-a-cache-decides")).await.unwrap();
    browser.type_into("#comment", "Said by a browser").await.unwrap();
    browser.click_through(".comments .form .button").await.unwrap();
    assert!(browser.url().await.unwrap().contains("/articles/how-a-cache-decides#comment-"));
    assert!(browser.text(".comments").await.unwrap().contains("Said by a browser"));
    is_whole(&browser).await;

    // 5. They send a file.
    let file = site.docroot().join("assets/logo.svg");
    browser.goto(&url("/upload")).await.unwrap();
    browser.type_into("#file", &file.display().to_string()).await.unwrap();
    browser.click_through(".form .button").await.unwrap();
    assert_eq!(browser.text("#name").await.unwrap(), "logo.svg");
    assert_eq!(browser.text("#size").await.unwrap(), file.metadata().unwrap().len().to_string());
    is_whole(&browser).await;

    // 6. They log out, and are nobody again.
    browser.click_through("header form button").await.unwrap();
    assert_eq!(browser.count("header form").await.unwrap(), 0);
    is_whole(&browser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wordpress() {
    let site = WordPress::installed().await.unwrap();
    let browser = Browser::start().await.unwrap();

    browser.goto(&site.chain.url("/")).await.unwrap();
    assert!(browser.title().await.unwrap().contains(TITLE));
    assert!(browser.text("main").await.unwrap().contains("Hello world!"));
    is_whole(&browser).await;
    browser.screenshot(&picture("wordpress-front")).await.unwrap();

    browser.goto(&site.chain.url("/wp-login.php")).await.unwrap();
    browser.type_into("#user_login", ADMIN).await.unwrap();
    browser.type_into("#user_pass", ADMIN_PASSWORD).await.unwrap();
    browser.click_through("#wp-submit").await.unwrap();
    assert!(browser.url().await.unwrap().ends_with("/wp-admin/"), "{}", browser.url().await.unwrap());
    assert_eq!(browser.text("#wpbody h1").await.unwrap(), "Dashboard");
    is_whole(&browser).await;
    browser.screenshot(&picture("wordpress-dashboard")).await.unwrap();

    browser.goto(&site.chain.url("/")).await.unwrap();
    assert_eq!(browser.count("#wpadminbar").await.unwrap(), 1);
    is_whole(&browser).await;
}

/// Styles apply, images are there, and the console has nothing to complain of.
async fn is_whole(browser: &Browser) {
    let url = browser.url().await.unwrap();
    let rules = "return [...document.styleSheets].reduce((sum, sheet) => sum + sheet.cssRules.length, 0)";
    let rules = browser.run(rules).await.unwrap();
    assert!(rules.as_u64() > Some(0), "{url}: no style: {rules}");
    let font = "return getComputedStyle(document.body).margin === '8px'";
    assert_eq!(browser.run(font).await.unwrap(), Value::Bool(false), "{url}: the browser's own style");
    // Lazy images are loaded now.
    browser.run("for (const image of document.images) image.loading = 'eager'").await.unwrap();
    let complete = "return [...document.images].every(image => image.complete)";
    test_support::wait::wait_until("the images", test_support::wait::DEADLINE, async || {
        browser.run(complete).await.unwrap() == Value::Bool(true)
    })
    .await;
    assert_eq!(browser.broken_images().await.unwrap(), [""; 0], "{url}");
    assert_eq!(browser.console_errors().await.unwrap(), [""; 0], "{url}");
}

/// Where a person who wonders may look.
fn picture(name: &str) -> PathBuf {
    let folder = root().join(".cache/test");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{name}.png"))
}
