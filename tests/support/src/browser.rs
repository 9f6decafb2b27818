//! Headless Chromium through chromedriver, with a profile of its own.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::client;
use crate::process::{Group, free_port, program};

/// A browser starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// It opens no connection of its own accord: the machine may have no network.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--window-size=1280,900",
];

/// A browser with one window; everything of it is gone on drop.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    session: String,
    driver: SocketAddr,
    /// Addresses of requests by the browser's names for them.
    asked: Mutex<HashMap<String, String>>,
    /// Before the folder, which the browser writes to until it ends.
    group: Group,
    _folder: TempDir,
}

impl Browser {
    pub async fn start() -> anyhow::Result<Self> {
        let chromium = program(&["chromium", "chromium-browser", "google-chrome"])?;
        let folder = tempfile::Builder::new().prefix("test-chromium-").tempdir()?;
        let driver = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = Command::new(program(&["chromedriver"])?);
        command
            .arg(format!("--port={}", driver.port()))
            .env("TMPDIR", folder.path())
            .env("HOME", folder.path());
        let mut group = Group::spawn(command, &folder.path().join("log"))?;
        let end = Instant::now() + PATIENCE;
        while client::get(driver, "/status", &[]).await.is_err() {
            if let Some(status) = group.exited() {
                anyhow::bail!("chromedriver ended with {status}:\n{}", group.log());
            }
            ensure!(Instant::now() < end, "chromedriver does not answer:\n{}", group.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&chromium, &folder.path().join("profile"))?)
            .connect(&format!("http://{driver}"))
            .await
            .with_context(|| group.log())?;
        let session = client.session_id().await?.context("chromedriver gave no session")?;
        Ok(Self { client, session, driver, asked: Mutex::default(), group, _folder: folder })
    }

    /// For whatever is not here.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Opens a page and waits until it and what it refers to are loaded.
    pub async fn goto(&self, url: &str) -> anyhow::Result<()> {
        self.client.goto(url).await.with_context(|| format!("opening {url}"))
    }

    /// The first element that matches a CSS selector, once there is one.
    pub async fn find(&self, selector: &str) -> anyhow::Result<Element> {
        let waiting = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(selector));
        waiting.await.with_context(|| format!("looking for {selector}"))
    }

    pub async fn count(&self, selector: &str) -> anyhow::Result<usize> {
        Ok(self.client.find_all(Locator::Css(selector)).await?.len())
    }

    pub async fn text(&self, selector: &str) -> anyhow::Result<String> {
        Ok(self.find(selector).await?.text().await?)
    }

    pub async fn click(&self, selector: &str) -> anyhow::Result<()> {
        let element = self.find(selector).await?;
        // The driver clicks where the element is when it begins to scroll, which a page may do smoothly.
        let scroll = "arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })";
        self.client.execute(scroll, vec![serde_json::to_value(&element)?]).await?;
        element.click().await.with_context(|| format!("clicking {selector}"))
    }

    /// Empties a field and types into it; a file field takes a path.
    pub async fn type_into(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let field = self.find(selector).await?;
        if field.attr("type").await?.as_deref() != Some("file") {
            field.clear().await?;
        }
        field.send_keys(text).await.with_context(|| format!("typing into {selector}"))
    }

    /// Gives keys to whatever has the focus, as a person types them.
    pub async fn type_keys(&self, keys: &str) -> anyhow::Result<()> {
        let element = self.client.active_element().await?;
        element.send_keys(keys).await.with_context(|| format!("typing {keys:?}"))
    }

    /// Forgets who this person is: all cookies.
    pub async fn forget(&self) -> anyhow::Result<()> {
        Ok(self.client.delete_all_cookies().await?)
    }

    /// Clicks and waits until another document has been loaded.
    pub async fn click_through(&self, selector: &str) -> anyhow::Result<()> {
        self.run("document.documentElement.dataset.left = '1'").await?;
        self.click(selector).await?;
        let end = Instant::now() + PATIENCE;
        let arrived = "return document.readyState === 'complete' && !document.documentElement.dataset.left";
        // While one document gives way to the other there is none to ask.
        while !matches!(self.run(arrived).await, Ok(Value::Bool(true))) {
            ensure!(Instant::now() < end, "nothing was loaded after a click on {selector}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Runs a function body in the page and gives back what it returns.
    pub async fn run(&self, script: &str) -> anyhow::Result<Value> {
        Ok(self.client.execute(script, Vec::new()).await?)
    }

    /// The browser's log, for the message of a test that fails.
    pub fn log(&self) -> String {
        self.group.log()
    }

    pub async fn url(&self) -> anyhow::Result<String> {
        Ok(self.client.current_url().await?.to_string())
    }

    pub async fn title(&self) -> anyhow::Result<String> {
        Ok(self.client.title().await?)
    }

    /// Writes a PNG of the window.
    pub async fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        Ok(fs::write(path, self.client.screenshot().await?)?)
    }

    /// The sources of the page's images that are not there or could not be decoded.
    pub async fn broken_images(&self) -> anyhow::Result<Vec<String>> {
        let script =
            "return [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)";
        Ok(serde_json::from_value(self.run(script).await?)?)
    }

    /// What the console said at level SEVERE since the last call: script errors and failed loads.
    pub async fn console_errors(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.entries("browser").await?;
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        Ok(severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// What the browser asked the network for since the last call, scripts' requests included.
    pub async fn loads(&self) -> anyhow::Result<Loads> {
        let entries = self.entries("performance").await?;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loads = Loads::default();
        for entry in entries {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap_or_default())?;
            loads.note(&event["message"], &mut asked);
        }
        Ok(loads)
    }

    /// The driver's log of this kind since the last call.
    async fn entries(&self, kind: &str) -> anyhow::Result<Vec<Value>> {
        let path = format!("/session/{}/se/log", self.session);
        let headers = [("Content-Type", "application/json")];
        let body = json!({ "type": kind }).to_string();
        let response = client::request(self.driver, "POST", &path, &headers, body.as_bytes()).await?;
        let mut log: Value = serde_json::from_slice(&response.body)?;
        match log["value"].take() {
            Value::Array(entries) => Ok(entries),
            other => anyhow::bail!("the {kind} log: {other}"),
        }
    }
}

/// The browser's requests and what became of them.
#[derive(Debug, Default, Clone)]
pub struct Loads {
    /// Address and status of each response, in the order in which they came.
    pub answered: Vec<(String, u64)>,
    /// Requests without a response, or with one that broke off.
    pub failed: Vec<String>,
}

impl Loads {
    /// Everything that did not go well: broken off, or answered with 400 and above.
    pub fn problems(&self) -> Vec<String> {
        let refused = self.answered.iter().filter(|(_, status)| *status >= 400);
        let refused = refused.map(|(url, status)| format!("{status} {url}"));
        refused.chain(self.failed.iter().cloned()).collect()
    }

    /// An event of the protocol that developer tools speak.
    fn note(&mut self, event: &Value, asked: &mut HashMap<String, String>) {
        let params = &event["params"];
        let id = params["requestId"].as_str().unwrap_or_default();
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                asked.insert(id.to_owned(), url.to_owned());
            }
            Some("Network.responseReceived") => {
                let response = &params["response"];
                let url = response["url"].as_str().unwrap_or_default();
                // What a page holds itself was asked of nobody.
                if url.starts_with("http") {
                    self.answered.push((url.to_owned(), response["status"].as_u64().unwrap_or(0)));
                }
            }
            // A page that is left cancels what it still waits for.
            Some("Network.loadingFailed") if params["canceled"] != Value::Bool(true) => {
                let why = params["errorText"].as_str().unwrap_or_default();
                // What no page has asked for, the browser did for itself.
                if let Some(url) = asked.get(id)
                    && why != "net::ERR_ABORTED"
                {
                    self.failed.push(format!("{why} {url}"));
                }
            }
            _ => {}
        }
    }
}

fn capabilities(chromium: &Path, profile: &Path) -> anyhow::Result<serde_json::Map<String, Value>> {
    let mut args: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
    args.push(format!("--user-data-dir={}", profile.display()));
    let capabilities = json!({
        "browserName": "chrome",
        "goog:chromeOptions": { "binary": chromium, "args": args },
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    });
    Ok(serde_json::from_value(capabilities)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::origin::{FakeOrigin, Reply};
    use crate::process::group_members;

    #[tokio::test]
    async fn browses_and_leaves_nothing() {
        let origin = FakeOrigin::start().await.unwrap();
        origin.route("/", |_| {
            let page = "<!doctype html><title>T</title><h1>Hello</h1><img src=/missing.png>\
                        <form action=/done><input name=q value=old><button>Go</button></form>";
            Reply::ok(page).header("Content-Type", "text/html")
        });
        origin.route("/done", |request| {
            Reply::ok(request.query().unwrap_or_default().to_owned()).header("Content-Type", "text/html")
        });
        let browser = Browser::start().await.unwrap();
        browser.goto(&origin.url()).await.unwrap();
        assert_eq!(browser.title().await.unwrap(), "T");
        assert_eq!(browser.text("h1").await.unwrap(), "Hello");
        assert_eq!(browser.broken_images().await.unwrap().len(), 1);
        let errors = browser.console_errors().await.unwrap();
        assert!(errors.iter().any(|error| error.contains("missing.png")), "{errors:?}");
        let loads = browser.loads().await.unwrap();
        assert!(loads.answered.contains(&(format!("{}/", origin.url()), 200)), "{loads:?}");
        let missing = format!("404 {}/missing.png", origin.url());
        assert!(loads.problems().contains(&missing), "{loads:?}");
        assert!(browser.loads().await.unwrap().answered.is_empty());
        browser.type_into("input", "new").await.unwrap();
        browser.click_through("button").await.unwrap();
        assert_eq!(browser.text("body").await.unwrap(), "q=new");

        let group = browser.group.pid();
        assert!(group_members(group).len() > 1);
        drop(browser);
        assert!(group_members(group).is_empty());
    }
}
