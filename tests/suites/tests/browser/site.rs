//! The site in `site/`, through the whole chain.

use suites::site::Site;
use test_support::browser::Browser;

use crate::page::{is_whole, picture};

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
