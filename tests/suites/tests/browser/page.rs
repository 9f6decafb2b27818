//! What is asked of every page, and where its picture goes.

use std::path::PathBuf;

use serde_json::Value;
use suites::service::root;
use test_support::browser::Browser;
use test_support::wait::{DEADLINE, wait_until};

/// Where WordPress has the pictures of its greeting; the machine may have no network.
const ELSEWHERE: &str = "https://s.w.org/";

/// Styles apply, images are there, no request has failed, and the console has nothing to complain of.
pub(crate) async fn is_whole(browser: &Browser) {
    let url = browser.url().await.unwrap();
    let rules = "return [...document.styleSheets].reduce((sum, sheet) => sum + sheet.cssRules.length, 0)";
    let rules = browser.run(rules).await.unwrap();
    assert!(rules.as_u64() > Some(0), "{url}: no style: {rules}");
    let font = "return getComputedStyle(document.body).margin === '8px'";
    assert_eq!(browser.run(font).await.unwrap(), Value::Bool(false), "{url}: the browser's own style");
    // Lazy images are loaded now.
    browser.run("for (const image of document.images) image.loading = 'eager'").await.unwrap();
    let complete = "return [...document.images].every(image => image.complete)";
    wait_until("the images", DEADLINE, async || browser.run(complete).await.unwrap() == Value::Bool(true))
        .await;
    assert_eq!(browser.broken_images().await.unwrap(), [""; 0], "{url}");
    let mut errors = browser.console_errors().await.unwrap();
    errors.retain(|error| !error.starts_with(ELSEWHERE));
    assert_eq!(errors, [""; 0], "{url}");
    let mut problems = browser.loads().await.unwrap().problems();
    problems.retain(|problem| !problem.contains(ELSEWHERE));
    assert_eq!(problems, [""; 0], "{url}");
}

/// Where a person who wonders may look.
pub(crate) fn picture(name: &str) -> PathBuf {
    let folder = root().join(".cache/test/browser");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{name}.png"))
}
