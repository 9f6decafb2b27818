//! WordPress as a person uses it: the installer's forms, logging in, a post with a picture in the block editor, and
//! the post as everybody sees it.

use serde_json::Value;
use suites::chain::{Alone, Chain, Front};
use suites::wordpress::{ADMIN, ADMIN_PASSWORD, TITLE, WordPress};
use test_support::browser::Browser;
use test_support::wait::{DEADLINE, wait_until};

use crate::page::{is_whole, picture};
use crate::photo::Photo;

const POST: &str = "A sunset over the sea";
const TEXT: &str = "Written in a browser, letter by letter.";

#[tokio::test(flavor = "multi_thread")]
async fn wordpress_through_web_proxy_alone() {
    journey::<Alone>("alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wordpress_through_the_chain() {
    journey::<Chain>("chain").await;
}

async fn journey<F: Front>(name: &str) {
    let site = WordPress::<F>::unpack().await.unwrap();
    let browser = Browser::start().await.unwrap();
    let front = &site.chain;
    let shot = |page: &str| picture(&format!("wordpress-{name}-{page}"));

    install(&browser, front).await;
    browser.screenshot(&shot("installed")).await.unwrap();
    log_in(&browser, front).await;
    browser.screenshot(&shot("dashboard")).await.unwrap();
    let address = write_a_post(&browser, front).await;
    browser.screenshot(&shot("editor")).await.unwrap();

    // The author sees the site with a bar of tools, everybody else without.
    browser.goto(&front.url("/")).await.unwrap();
    assert_eq!(browser.count("#wpadminbar").await.unwrap(), 1);
    is_whole(&browser).await;
    browser.forget().await.unwrap();
    // Once as it is made, once as it may have been kept.
    for _ in 0..2 {
        read_the_post(&browser, &address).await;
    }
    browser.screenshot(&shot("post")).await.unwrap();
    browser.goto(&front.url("/")).await.unwrap();
    assert!(browser.text("main").await.unwrap().contains(POST), "{}", front.logs());
    is_whole(&browser).await;
    browser.screenshot(&shot("front")).await.unwrap();
}

async fn install(browser: &Browser, front: &impl Front) {
    browser.goto(&front.url("/")).await.unwrap();
    assert!(browser.url().await.unwrap().contains("/wp-admin/install.php"), "{}", front.logs());
    is_whole(browser).await;
    browser.type_into("#weblog_title", TITLE).await.unwrap();
    browser.type_into("#user_login", ADMIN).await.unwrap();
    // A script proposes a password, and measures the one that is typed instead.
    let proposed = "return document.querySelector('#pass1').value !== ''";
    holds(browser, "a password to be proposed", proposed).await;
    browser.type_into("#pass1", ADMIN_PASSWORD).await.unwrap();
    browser.type_into("#admin_email", "admin@example.org").await.unwrap();
    browser.click_through("#submit").await.unwrap();
    assert_eq!(browser.text("h1").await.unwrap(), "Success!", "{}", front.logs());
    is_whole(browser).await;
}

async fn log_in(browser: &Browser, front: &impl Front) {
    browser.click_through(".step a").await.unwrap();
    // A script puts the cursor there a while after the page has come, wherever it is by then.
    holds(browser, "the cursor to be in the form", "return document.activeElement.id === 'user_login'").await;
    browser.type_into("#user_login", ADMIN).await.unwrap();
    browser.type_into("#user_pass", ADMIN_PASSWORD).await.unwrap();
    browser.click_through("#wp-submit").await.unwrap();
    assert!(browser.url().await.unwrap().ends_with("/wp-admin/"), "{}", front.logs());
    assert_eq!(browser.text("#wpbody h1").await.unwrap(), "Dashboard");
    is_whole(browser).await;
}

/// Gives back its address.
async fn write_a_post(browser: &Browser, front: &impl Front) -> String {
    let photo = Photo::take("sunset.png");
    browser.goto(&front.url("/wp-admin/post-new.php")).await.unwrap();
    // It greets whoever is here for the first time.
    browser.click(".edit-post-welcome-guide button[aria-label^='Close']").await.unwrap();
    gone(browser, ".edit-post-welcome-guide").await;
    browser.click(".editor-post-title__input").await.unwrap();
    browser.type_keys(POST).await.unwrap();
    browser.type_keys("\u{e007}").await.unwrap();
    browser.type_keys(TEXT).await.unwrap();
    browser.type_keys("\u{e007}").await.unwrap();
    browser.type_keys("/image").await.unwrap();
    browser.find(".components-autocomplete__result.is-selected").await.unwrap();
    browser.type_keys("\u{e007}").await.unwrap();
    browser.type_into("[data-type='core/image'] input[type=file]", &photo.text()).await.unwrap();
    // At first it shows the file itself, then what the site has made of it.
    let kept = "const image = document.querySelector('[data-type=\"core/image\"] img');
                return Boolean(image && image.src.includes('/wp-content/uploads/') && image.naturalWidth)";
    holds(browser, "the picture to be uploaded", kept).await;
    browser.click(".editor-post-publish-panel__toggle").await.unwrap();
    browser.click(".editor-post-publish-panel .editor-post-publish-button").await.unwrap();
    let link = browser.find(".post-publish-panel__postpublish-header a").await.unwrap();
    is_whole(browser).await;
    link.attr("href").await.unwrap().unwrap()
}

async fn read_the_post(browser: &Browser, address: &str) {
    browser.goto(address).await.unwrap();
    assert_eq!(browser.count("#wpadminbar").await.unwrap(), 0);
    assert_eq!(browser.text("h1").await.unwrap(), POST);
    assert!(browser.text(".entry-content").await.unwrap().contains(TEXT));
    browser.find(".wp-block-image img").await.unwrap();
    is_whole(browser).await;
    let width = "return document.querySelector('.wp-block-image img').naturalWidth";
    assert!(browser.run(width).await.unwrap().as_u64() > Some(0));
    let source = "return document.querySelector('.wp-block-image img').currentSrc";
    let source = browser.run(source).await.unwrap();
    assert!(source.as_str().unwrap().contains("/wp-content/uploads/"), "{source}");
}

async fn holds(browser: &Browser, what: &str, condition: &str) {
    wait_until(what, DEADLINE, async || browser.run(condition).await.unwrap() == Value::Bool(true)).await;
}

async fn gone(browser: &Browser, selector: &str) {
    let what = format!("{selector} to go");
    wait_until(&what, DEADLINE, async || browser.count(selector).await.unwrap() == 0).await;
}
