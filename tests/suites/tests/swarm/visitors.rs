//! What the visitors do: one reads what is cached, one what is not, one writes comments, one uploads files.

use std::sync::Arc;

use suites::visitor::encode;
use test_support::client::Response;

use crate::load::{Kind, Visitor, Way};

/// The articles of the site in site/content.
const ARTICLES: [&str; 6] = [
    "what-enjambre-is",
    "how-a-cache-decides",
    "who-owns-the-queue",
    "the-truth-is-in-the-database",
    "stale-is-better-than-down",
    "a-swarm-has-no-queen",
];

pub(crate) struct Anonymous {
    way: Way,
    paths: Arc<[String]>,
}

pub(crate) struct Uncached {
    way: Way,
}

/// Logs in, stays logged in, and says something again and again. Each text is said once.
pub(crate) struct Commenter {
    way: Way,
    name: usize,
    said: usize,
    session: Option<Session>,
}

/// Uploads something else each time, and reads it back.
pub(crate) struct Uploader {
    way: Way,
    sent: usize,
    session: Option<Session>,
}

struct Session {
    cookie: String,
    /// A form's token, good for two hours, by its purpose.
    tokens: Vec<(String, String)>,
}

impl Anonymous {
    pub(crate) const fn new(way: Way, paths: Arc<[String]>) -> Self {
        Self { way, paths }
    }
}

impl Visitor for Anonymous {
    async fn step(&mut self) {
        let path = self.paths[fastrand::usize(..self.paths.len())].clone();
        self.way.ask(Kind::Anonymous, ("GET", &path), &[], b"", is_ok).await;
    }
}

impl Uncached {
    pub(crate) const fn new(way: Way) -> Self {
        Self { way }
    }
}

impl Visitor for Uncached {
    async fn step(&mut self) {
        // Nobody has asked for this page before.
        let path = format!("/articles/{}?visit={}", ARTICLES[fastrand::usize(..6)], fastrand::u64(..));
        self.way.ask(Kind::Uncached, ("GET", &path), &[], b"", is_ok).await;
    }
}

impl Commenter {
    pub(crate) const fn new(way: Way, name: usize) -> Self {
        Self { way, name, said: 0, session: None }
    }

    async fn say(&mut self) -> Option<()> {
        let article = ARTICLES[self.said % ARTICLES.len()];
        let page = format!("/articles/{article}");
        let session = logged_in(&mut self.way, &mut self.session).await?;
        let token = session.token(&mut self.way, &page).await?;
        let text = format!("said by {} as number {}", self.name, self.said);
        self.said += 1;
        let form = encode(&[("token", &token), ("comment", &text)]);
        let headers = [("Cookie", &*session.cookie), ("Content-Type", "application/x-www-form-urlencoded")];
        let to = format!("{page}/comments");
        let acknowledged = |response: &Response| {
            response.status == 303 && response.header("location").is_some_and(|to| to.contains("#comment-"))
        };
        let answer = self.way.ask(Kind::Write, ("POST", &to), &headers, form.as_bytes(), acknowledged).await;
        match answer {
            Some(_) => self.way.record.wrote(text),
            None => self.way.record.doubts(text),
        }
        Some(())
    }
}

impl Visitor for Commenter {
    async fn step(&mut self) {
        if self.say().await.is_none() {
            self.session = None;
        }
    }
}

impl Uploader {
    pub(crate) const fn new(way: Way) -> Self {
        Self { way, sent: 0, session: None }
    }

    async fn upload(&mut self) -> Option<()> {
        const BOUNDARY: &str = "----------------------------enjambre";
        let session = logged_in(&mut self.way, &mut self.session).await?;
        let token = session.token(&mut self.way, "/upload").await?;
        let content = format!("upload {} {}", self.sent, "x".repeat(100_000));
        self.sent += 1;
        let body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n{token}\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{content}\r\n--{BOUNDARY}--\r\n"
        );
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let headers =
            [("Cookie", &*session.cookie), ("Content-Type", &*kind), ("Accept", "application/json")];
        let kept = |response: &Response| response.status == 200 && kept_path(response).is_some();
        let answer = self.way.ask(Kind::Write, ("POST", "/upload"), &headers, body.as_bytes(), kept).await?;
        let path = kept_path(&answer)?;
        self.way.record.uploaded(path.clone(), content.clone());
        let same = |response: &Response| response.status == 200 && response.body == content.as_bytes();
        self.way.ask(Kind::Uncached, ("GET", &path), &[], b"", same).await.map(drop)
    }
}

impl Visitor for Uploader {
    async fn step(&mut self) {
        if self.upload().await.is_none() {
            self.session = None;
        }
    }
}

async fn logged_in<'a>(way: &mut Way, session: &'a mut Option<Session>) -> Option<&'a mut Session> {
    if session.is_none() {
        let form = way.ask(Kind::Session, ("GET", "/login"), &[], b"", is_ok).await?;
        let token = last_token(&form)?;
        let body = encode(&[("name", "demo"), ("password", "demo"), ("token", &token)]);
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let entered = |response: &Response| response.status == 303 && !response.cookies().is_empty();
        let answer = way.ask(Kind::Session, ("POST", "/login"), &headers, body.as_bytes(), entered).await?;
        *session = Some(Session { cookie: answer.cookies(), tokens: Vec::new() });
    }
    session.as_mut()
}

impl Session {
    /// The token of the form on this page. Each page is read again now and then: it must know the session.
    async fn token(&mut self, way: &mut Way, page: &str) -> Option<String> {
        if fastrand::u8(..5) == 0 {
            self.tokens.retain(|(of, _)| of != page);
        }
        if let Some((_, token)) = self.tokens.iter().find(|(of, _)| of == page) {
            return Some(token.clone());
        }
        let headers = [("Cookie", &*self.cookie)];
        let has_form = |response: &Response| response.status == 200 && last_token(response).is_some();
        let answer = way.ask(Kind::Session, ("GET", page), &headers, b"", has_form).await?;
        let token = last_token(&answer)?;
        self.tokens.push((page.to_owned(), token.clone()));
        Some(token)
    }
}

/// The token of the last form: the one above it logs out.
fn last_token(response: &Response) -> Option<String> {
    let text = response.text();
    let (_, main) = text.split_once("<main")?;
    let (_, value) = main.rsplit_once("name=\"token\" value=\"")?;
    Some(value.split_once('"')?.0.to_owned())
}

fn kept_path(response: &Response) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
    Some(value.get("kept")?.as_str()?.to_owned())
}

fn is_ok(response: &Response) -> bool {
    response.status == 200 && !response.body.is_empty()
}
