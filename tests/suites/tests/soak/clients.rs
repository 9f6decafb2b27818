//! Clients that ask in every way there is, and check every answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use test_support::client::{self, Client, Response};
use tokio::time::Instant;

use crate::checks::{Asked, Range};
use crate::origin::Origin;
use crate::pages::{self, Pages, VARIANTS};

/// How often what happened.
#[derive(Default)]
pub(crate) struct Tally(Mutex<BTreeMap<String, usize>>);

impl Tally {
    pub(crate) fn count(&self, what: impl Into<String>) {
        *self.0.lock().unwrap().entry(what.into()).or_default() += 1;
    }

    fn get(&self, what: &str) -> usize {
        self.0.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    pub(crate) fn summary(&self, origin: &Origin) -> String {
        let mut text = String::new();
        for (what, count) in self.0.lock().unwrap().iter() {
            let _ = write!(text, "{what} {count}, ");
        }
        let faults: Vec<String> =
            origin.faults().into_iter().map(|(fault, count)| format!("{fault} {count}")).collect();
        text + "origin: " + &faults.join(", ")
    }

    /// A soak in which nothing happened shows nothing.
    pub(crate) fn assert_that_everything_happened(&self, origin: &Origin) {
        let summary = self.summary(origin);
        for what in [
            "HIT",
            "MISS",
            "STALE",
            "PASS",
            "200",
            "204",
            "206",
            "304",
            "416",
            "502",
            "truncated",
            "abandoned",
            "gzip",
            "head",
            "malformed",
            "tunnel",
            "url hard",
            "url soft",
            "tag hard",
            "tag soft",
            "pattern hard",
            "pattern soft",
        ] {
            assert!(self.get(what) > 0, "never {what}: {summary}");
        }
        let faults: BTreeMap<&str, usize> = origin.faults().into_iter().collect();
        for (fault, count) in &faults {
            assert!(*count > 0, "never {fault}: {summary}");
        }
        // A few may have followed the fetch that broke off.
        let breaks = faults["reset within"] + faults["cut"] + faults["stall"];
        assert!(self.get("cut off") < 4 * breaks, "answers are cut off without a cause: {summary}");
    }
}

/// One visitor, with a connection that it keeps for as long as it can.
pub(crate) async fn visit(
    pages: Arc<Pages>,
    tally: Arc<Tally>,
    address: SocketAddr,
    mut rng: fastrand::Rng,
    end: Instant,
) {
    let mut kept: Option<Kept> = None;
    let mut known: Option<(usize, String)> = None;
    while Instant::now() < end {
        // A few pages are asked for often, all of them now and then.
        let number = if rng.bool() { rng.usize(..20) } else { rng.usize(..pages::COUNT) };
        let visit = Visit { pages: &pages, tally: &tally, address, number };
        match rng.usize(..100) {
            0..6 => visit.leave(&mut rng).await,
            6..9 => visit.be_malformed(&mut rng).await,
            9..10 => visit.tunnel(&mut rng).await,
            10..13 => visit.post(&mut kept, &mut rng).await,
            _ => {
                let etag = known.take().filter(|(of, _)| *of == number).map(|(_, etag)| etag);
                let answer = visit.ask(&mut kept, etag, &mut rng).await;
                known = answer.and_then(|answer| Some((number, answer.header("etag")?.to_owned())));
            }
        }
        tokio::time::sleep(Duration::from_micros(rng.u64(500..6000))).await;
    }
}

/// A connection, and what was asked and answered on it last, for a message.
struct Kept {
    client: Client,
    before: String,
}

struct Visit<'a> {
    pages: &'a Pages,
    tally: &'a Tally,
    address: SocketAddr,
    number: usize,
}

impl Visit<'_> {
    async fn connection(&self, kept: &mut Option<Kept>) -> Kept {
        match kept.take() {
            Some(kept) => kept,
            None => Kept { client: Client::connect(self.address).await.unwrap(), before: String::new() },
        }
    }

    /// A GET or HEAD, perhaps with a range, a condition or a wish.
    async fn ask(
        &self,
        kept: &mut Option<Kept>,
        etag: Option<String>,
        rng: &mut fastrand::Rng,
    ) -> Option<Response> {
        let page = self.pages.page(self.number);
        let mut asked = Asked {
            number: self.number,
            method: if rng.usize(..12) == 0 { "HEAD" } else { "GET" },
            variant: VARIANTS[rng.usize(..VARIANTS.len())],
            range: None,
            fields: Vec::new(),
            hard: page.hard.load(Ordering::SeqCst),
            soft: page.soft.load(Ordering::SeqCst),
        };
        asked.fields.push(("X-Variant", asked.variant.into()));
        match rng.usize(..10) {
            0..2 => {
                let length = pages::length(self.number, 0);
                let (range, text) = if rng.bool() {
                    let first = rng.u64(..length + 40);
                    let last = first + rng.u64(..=length);
                    (Range::From(first, last), format!("bytes={first}-{last}"))
                } else {
                    let last = rng.u64(1..length + 2);
                    (Range::Last(last), format!("bytes=-{last}"))
                };
                asked.range = Some(range);
                asked.fields.push(("Range", text));
            }
            2..5 => asked.fields.push(("Accept-Encoding", "gzip".into())),
            5 => asked.fields.push(("Cache-Control", "no-cache".into())),
            _ => {}
        }
        if let Some(etag) = etag {
            asked.fields.push(("If-None-Match", etag));
        }
        let path = pages::path(self.number);
        let Kept { mut client, before } = self.connection(kept).await;
        let fields: Vec<(&str, &str)> =
            asked.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer =
            client.request(asked.method, &path, &[&[("Host", "soak")], &fields[..]].concat(), b"").await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.cut_off(&error, &format!("{path} {:?}, after {before}", asked.fields));
                return None;
            }
        };
        if let Err(wrong) = asked.check(self.pages, self.tally, &answer) {
            let end = answer.body.len().min(64);
            panic!(
                "{wrong}: {} {path} {:?}\n{} {:?}\n{} bytes, {:?}…",
                asked.method,
                asked.fields,
                answer.status,
                answer.headers,
                answer.body.len(),
                String::from_utf8_lossy(&answer.body[..end])
            );
        }
        self.keep(kept, client, &answer, &format!("{} {path} {:?}", asked.method, asked.fields));
        Some(answer)
    }

    /// A body that breaks before the head has gone out takes the head along. Anything else is no way to answer.
    fn cut_off(&self, error: &anyhow::Error, asked: &str) {
        let what = format!("{error:#}");
        assert!(what.contains("closed without an answer") || what.contains("reset"), "{asked}: {what}");
        self.tally.count("cut off");
    }

    fn keep(&self, kept: &mut Option<Kept>, client: Client, answer: &Response, asked: &str) {
        self.tally.count(answer.status.to_string());
        if let Some(verdict) = answer.header("x-cache") {
            self.tally.count(verdict);
        }
        let closes = answer.all("connection").any(|value| value.contains("close"));
        if answer.is_complete() && !closes {
            let before = format!("{asked}: {} {:?}", answer.status, answer.headers);
            *kept = Some(Kept { client, before });
        }
    }

    /// Asks and goes, before the answer or within it.
    async fn leave(&self, rng: &mut fastrand::Rng) {
        let mut client = Client::connect(self.address).await.unwrap();
        let variant = VARIANTS[rng.usize(..VARIANTS.len())];
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: soak\r\nX-Variant: {variant}\r\n\r\n",
            pages::path(self.number)
        );
        client.send(request).await.unwrap();
        if rng.bool() {
            // It may be closed for an error.
            let _ = client.some_bytes().await;
        }
        self.tally.count("abandoned");
    }

    /// A new version by POST: what was stored is gone with its answer.
    async fn post(&self, kept: &mut Option<Kept>, rng: &mut fastrand::Rng) {
        let body = vec![b'x'; rng.usize(..5000)];
        let path = pages::path(self.number);
        let Kept { mut client, before } = self.connection(kept).await;
        let answer = client.request("POST", &path, &[("Host", "soak")], &body).await;
        let answer = answer.unwrap_or_else(|error| panic!("POST {path}: {error:#}, after {before}"));
        assert!(matches!(answer.status, 204 | 500 | 502 | 503 | 504), "POST {path}: {}", answer.status);
        if let Some(version) = answer.header("x-version") {
            self.pages.page(self.number).hard.fetch_max(version.parse().unwrap(), Ordering::SeqCst);
        }
        self.keep(kept, client, &answer, &format!("POST {path}"));
    }

    async fn be_malformed(&self, rng: &mut fastrand::Rng) {
        let evil = [
            "GET / HTTP/1.1\nHost: soak\n\n",
            "POST / HTTP/1.1\r\nHost: soak\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: soak\r\nX: a\r\n b\r\n\r\n",
        ];
        let evil = evil[rng.usize(..evil.len())];
        let mut client = Client::connect(self.address).await.unwrap();
        client.send(format!("{evil}GET /g0/p0 HTTP/1.1\r\nHost: soak\r\n\r\n")).await.unwrap();
        let answer = client.response("GET").await.unwrap_or_else(|error| panic!("{evil:?}: {error:#}"));
        assert_eq!(answer.status, 400, "{evil:?}");
        assert!(client.is_closed().await, "{evil:?}");
        self.tally.count("malformed");
    }

    async fn tunnel(&self, rng: &mut fastrand::Rng) {
        let mut client = Client::connect(self.address).await.unwrap();
        client
            .send("GET /echo HTTP/1.1\r\nHost: soak\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            .await
            .unwrap();
        let answer = client.response_head("GET").await.unwrap();
        assert_eq!(answer.status, 101, "{answer:?}");
        let sent = pages::bytes(rng.u64(..), 0, rng.u64(1..30_000));
        client.send(&sent).await.unwrap();
        if rng.bool() {
            let mut received = Vec::new();
            while received.len() < sent.len() {
                let some = client.some_bytes().await.unwrap();
                assert!(!some.is_empty(), "the tunnel ended early");
                received.extend(some);
            }
            assert!(received == sent, "wrong bytes in a tunnel");
        }
        self.tally.count("tunnel");
    }
}

/// Publishes new versions and purges the old ones, in every way there is.
pub(crate) async fn purge(
    pages: Arc<Pages>,
    tally: Arc<Tally>,
    (address, admin): (SocketAddr, SocketAddr),
    mut rng: fastrand::Rng,
    end: Instant,
) {
    while Instant::now() < end {
        let is_soft = rng.bool();
        let mode = if is_soft { "soft" } else { "hard" };
        let fields = [("Host", "soak"), ("X-Purge-Mode", mode)];
        let number = if rng.bool() { rng.usize(..20) } else { rng.usize(..pages::COUNT) };
        let group = rng.usize(..pages::GROUPS);
        let of_group = (0..pages::COUNT).filter(|number| number % pages::GROUPS == group);
        let with = |name: &'static str, value: String| {
            let mut fields: Vec<(&str, String)> =
                fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            fields.push((name, value));
            fields
        };
        let kind = rng.usize(..20);
        let (what, published, answer) = match kind {
            0..12 => {
                let published = pages.publish(std::iter::once(number));
                (
                    "url",
                    published,
                    client::request(address, "PURGE", &pages::path(number), &fields, b"").await,
                )
            }
            12..15 => {
                let published = pages.publish(std::iter::once(number));
                let fields = with("Cache-Tags", format!("page-{number} nothing-{number}"));
                ("tag", published, client::request(address, "BAN", "/", &borrowed(&fields), b"").await)
            }
            15..17 => {
                let published = pages.publish(of_group);
                let body = format!("{{\"tags\":[\"group-{group}\"],\"soft\":{is_soft}}}");
                ("tag", published, client::request(admin, "POST", "/purge", &[], body.as_bytes()).await)
            }
            17 => {
                let published = pages.publish(of_group);
                let fields = with("X-Ban-Path", format!("/g{group}/*"));
                ("pattern", published, client::request(address, "BAN", "/", &borrowed(&fields), b"").await)
            }
            18 => {
                let published = pages.publish(of_group);
                let path = format!("/g{group}/*");
                ("pattern", published, client::request(address, "PURGE", &path, &fields, b"").await)
            }
            _ => {
                let published = pages.publish(0..pages::COUNT);
                let fields = with("Cache-Tags", "all".into());
                ("tag", published, client::request(address, "BAN", "/", &borrowed(&fields), b"").await)
            }
        };
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{what} {mode}: {}", answer.text());
        for (number, version) in published {
            let page = pages.page(number);
            let floor = if is_soft { &page.soft } else { &page.hard };
            floor.fetch_max(version, Ordering::SeqCst);
        }
        tally.count(format!("{what} {mode}"));
        tokio::time::sleep(Duration::from_millis(rng.u64(1..60))).await;
    }
}

fn borrowed<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    fields.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
