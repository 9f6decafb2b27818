//! Drupal as a person uses it, where `DRUPAL_ROOT` says where there is one: the installer in the browser, Umami's front
//! page, logging in, an edited recipe and an uploaded picture, through web-proxy alone; then the same site through the
//! whole chain.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use suites::chain::{Alone, Chain, Front};
use suites::drupal::Drupal;
use test_support::browser::Browser;
use test_support::wait::{DEADLINE, wait_until};

use crate::page::{is_whole, picture};
use crate::photo::Photo;

const NAME: &str = "admin";
const PASSWORD: &str = "a long enough Passw0rd, for Drupal";
/// Some sixty modules and all of the demonstration's content.
const INSTALLATION: Duration = Duration::from_mins(20);

#[tokio::test(flavor = "multi_thread")]
async fn drupal() {
    let Some(root) = std::env::var_os("DRUPAL_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from)
    else {
        return println!("note: browser: Drupal is not tried: DRUPAL_ROOT is not set");
    };
    let files = Drupal::copy(&root).unwrap();
    let browser = Browser::start().await.unwrap();

    let alone: Alone = files.serve().await.unwrap();
    install(&browser, &alone).await;
    browser.screenshot(&picture("drupal-alone-installed")).await.unwrap();
    browser.forget().await.unwrap();
    visit(&browser, &alone).await;
    browser.screenshot(&picture("drupal-alone-front")).await.unwrap();
    log_in(&browser, &alone).await;
    edit(&browser, &alone, "Edited through web-proxy alone").await;
    browser.screenshot(&picture("drupal-alone-edited")).await.unwrap();
    log_in(&browser, &alone).await;
    upload(&browser, &alone, "sunset.png").await;
    browser.screenshot(&picture("drupal-alone-media")).await.unwrap();
    drop(alone);

    let chain: Chain = files.serve().await.unwrap();
    browser.forget().await.unwrap();
    for _ in 0..2 {
        visit(&browser, &chain).await;
    }
    browser.screenshot(&picture("drupal-chain-front")).await.unwrap();
    log_in(&browser, &chain).await;
    edit(&browser, &chain, "Edited through the whole chain").await;
    browser.screenshot(&picture("drupal-chain-edited")).await.unwrap();
    log_in(&browser, &chain).await;
    upload(&browser, &chain, "sunrise.png").await;
    browser.screenshot(&picture("drupal-chain-media")).await.unwrap();
}

async fn install(browser: &Browser, front: &impl Front) {
    browser.goto(&front.url("/")).await.unwrap();
    assert!(browser.url().await.unwrap().contains("/core/install.php"), "{}", front.logs());
    is_whole(browser).await;
    browser.click_through("#edit-submit").await.unwrap();
    browser.click("input[name=profile][value=demo_umami]").await.unwrap();
    browser.click_through("#edit-submit").await.unwrap();
    if browser.count("input[name=driver]").await.unwrap() == 0 {
        let problems = browser.text("main").await.unwrap();
        panic!("the installer has something against this machine:\n{problems}");
    }
    browser.click("input[name=driver][value*=sqlite]").await.unwrap();
    browser.click("#edit-save").await.unwrap();
    // A page with a bar that a script moves on, and pages of its own in between.
    arrives(browser, front, "#edit-site-name").await;
    is_whole(browser).await;
    browser.type_into("#edit-site-name", "Umami in a test").await.unwrap();
    browser.type_into("#edit-site-mail", "site@example.org").await.unwrap();
    browser.type_into("#edit-account-name", NAME).await.unwrap();
    browser.type_into("#edit-account-pass-pass1", PASSWORD).await.unwrap();
    browser.type_into("#edit-account-pass-pass2", PASSWORD).await.unwrap();
    browser.type_into("#edit-account-mail", "admin@example.org").await.unwrap();
    // Nobody elsewhere is to be asked for updates.
    let unchecked = "for (const box of document.querySelectorAll('input[name*=enable_update_status]')) {
                         if (box.checked) box.click();
                     }";
    browser.run(unchecked).await.unwrap();
    browser.click("#edit-submit").await.unwrap();
    arrives(browser, front, ".toolbar-bar, #toolbar-bar").await;
    is_whole(browser).await;
}

/// The front page, with pictures, styles and scripts that Drupal makes when they are asked for.
async fn visit(browser: &Browser, front: &impl Front) {
    browser.goto(&front.url("/")).await.unwrap();
    assert!(browser.title().await.unwrap().contains("Umami"), "{}", front.logs());
    is_whole(browser).await;
    let pictures = "return [...document.images].filter(i => i.currentSrc.includes('/files/styles/')).length";
    assert!(browser.run(pictures).await.unwrap().as_u64() > Some(3), "{}", front.logs());
    for (kind, selector) in [("css", "link[rel=stylesheet]"), ("js", "script[src]")] {
        let script = format!(
            "return [...document.querySelectorAll('{selector}')].map(e => e.href || e.src).filter(u => u.includes('/files/{kind}/')).length"
        );
        assert!(browser.run(&script).await.unwrap().as_u64() > Some(0), "no aggregated {kind}");
    }
}

async fn log_in(browser: &Browser, front: &impl Front) {
    browser.goto(&front.url("/en/user/login")).await.unwrap();
    browser.type_into("#edit-name", NAME).await.unwrap();
    browser.type_into("#edit-pass", PASSWORD).await.unwrap();
    browser.click_through("#user-login-form #edit-submit").await.unwrap();
    assert!(!browser.url().await.unwrap().contains("login"), "{}", front.logs());
    is_whole(browser).await;
}

/// Gives the first recipe a title that everybody sees, and nobody is logged in afterwards.
async fn edit(browser: &Browser, front: &impl Front, title: &str) {
    browser.goto(&front.url("/en/node/1/edit")).await.unwrap();
    is_whole(browser).await;
    browser.type_into("#edit-title-0-value", title).await.unwrap();
    browser.click_through("#edit-submit").await.unwrap();
    is_whole(browser).await;
    let address = browser.url().await.unwrap();
    assert!(!address.ends_with("/edit"), "{}", browser.text("body").await.unwrap());
    browser.forget().await.unwrap();
    for _ in 0..2 {
        browser.goto(&address).await.unwrap();
        assert_eq!(browser.text("h1").await.unwrap(), title);
        assert_eq!(browser.count("#toolbar-bar").await.unwrap(), 0);
        is_whole(browser).await;
    }
}

/// As an editor adds it to the library, then the derivative that everybody may see.
async fn upload(browser: &Browser, front: &impl Front, name: &'static str) {
    let photo = Photo::take(name);
    browser.goto(&front.url("/en/media/add/image")).await.unwrap();
    browser.type_into("#edit-name-0-value", name).await.unwrap();
    browser.type_into("input[name='files[field_media_image_0]']", &photo.text()).await.unwrap();
    // A script sends it at once, and the form asks for more.
    browser.type_into("input[name='field_media_image[0][alt]']", "The sun and the sea").await.unwrap();
    is_whole(browser).await;
    browser.click_through("#edit-submit").await.unwrap();
    is_whole(browser).await;
    browser.goto(&front.url("/en/admin/content/media")).await.unwrap();
    assert!(browser.text("main, [role=main]").await.unwrap().contains(name), "{}", front.logs());
    is_whole(browser).await;
    let stem = name.trim_end_matches(".png");
    let source =
        format!("const image = document.querySelector('img[src*=\"{stem}\"]'); return image && image.src");
    let source = browser.run(&source).await.unwrap();
    let source = source.as_str().unwrap().to_owned();
    browser.forget().await.unwrap();
    browser.goto(&front.url("/")).await.unwrap();
    browser
        .run(&format!("document.body.prepend(Object.assign(new Image(), {{ src: '{source}' }}))"))
        .await
        .unwrap();
    is_whole(browser).await;
    // For the picture of the whole page.
    log_in(browser, front).await;
    browser.goto(&front.url("/en/admin/content/media")).await.unwrap();
    let there = "return [...document.images].every(image => image.complete)";
    wait_until("the images", DEADLINE, async || browser.run(there).await.unwrap() == Value::Bool(true)).await;
}

/// Waits until the installer has come to a page with this.
async fn arrives(browser: &Browser, front: &impl Front, selector: &str) {
    let what = format!("the installer to come to {selector}");
    wait_until(&what, INSTALLATION, async || {
        // While one document gives way to the other there is none to ask.
        let errors = browser.count(".messages--error").await.unwrap_or(0);
        if errors > 0 {
            let said = browser.text("body").await.unwrap_or_default();
            panic!("the installer says:\n{said}\n{}", front.logs());
        }
        browser.count(selector).await.unwrap_or(0) > 0
    })
    .await;
}
