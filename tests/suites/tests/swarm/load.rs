//! Visitors from outside the swarm, at a steady pace: they know the nodes' addresses, as a name with three A records or a load
//! balancer would.
//!
//! - A node that takes no connection is passed over: nothing was sent, so anything may go to the next one.
//! - What may be sent twice (RFC 9110, section 9.2.2) and was not answered is sent once more, as browsers do. It counts as
//!   repeated, and as failed only when that fails too.
//! - Everything else that is not answered as it should be has failed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use test_support::client::{Client, Response};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::visitors::{Anonymous, Commenter, Uncached, Uploader};

/// How long a node may take to accept.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);
/// Requests on one connection.
const STAY: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Pages and files that the edge may have.
    Anonymous,
    /// Pages that PHP makes, for nobody in particular.
    Uncached,
    /// A page of a session.
    Session,
    /// Something to write down.
    Write,
}

/// What came of one request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// Sent again, since the first attempt broke.
    pub(crate) repeated: Option<String>,
    pub(crate) failed: Option<String>,
}

/// What all visitors have seen, and what the site has acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Record {
    seen: Mutex<Vec<Seen>>,
    /// Texts of comments that the site has acknowledged.
    written: Mutex<Vec<String>>,
    /// Texts of comments that may or may not have been written.
    in_doubt: Mutex<Vec<String>>,
    /// Paths of acknowledged uploads, with their content.
    uploaded: Mutex<Vec<(String, String)>>,
}

/// A visitor's way to the site.
pub(crate) struct Front {
    addresses: Vec<SocketAddr>,
    next: usize,
    kept: Option<Client>,
    /// Requests on the kept connection that are left: then the next node has its turn, so that all of them have visitors.
    left: usize,
}

/// A front, with a note of what came of each request.
pub(crate) struct Way {
    front: Front,
    pub(crate) record: Arc<Record>,
}

pub(crate) struct Load {
    visitors: JoinSet<()>,
    record: Arc<Record>,
    stop: watch::Sender<bool>,
}

impl Front {
    pub(crate) fn new(addresses: &[SocketAddr], first: usize) -> Self {
        Self { addresses: addresses.to_vec(), next: first, kept: None, left: STAY }
    }

    /// The answer, and why it was asked for twice.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (anyhow::Result<Response>, Option<String>) {
        let mut headers = headers.to_vec();
        headers.push(("Host", "swarm.test"));
        if method != "GET" {
            // On a connection of its own: a kept one may just be closing.
            self.kept = None;
            self.next += 1;
            headers.push(("Connection", "close"));
            return (self.once(method, path, &headers, body).await, None);
        }
        match self.once(method, path, &headers, body).await {
            Ok(response) => (Ok(response), None),
            Err(error) => {
                self.next += 1;
                let again = self.once(method, path, &headers, body).await;
                (again, Some(format!("{error:#}")))
            }
        }
    }

    async fn once(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let mut client = match self.kept.take() {
            Some(client) => client,
            None => self.connect().await?,
        };
        let node = self.addresses[self.next % self.addresses.len()];
        let answer = tokio::time::timeout(ANSWER, client.request(method, path, headers, body));
        let response = answer
            .await
            .with_context(|| format!("no answer from {node} in time"))
            .flatten()
            .with_context(|| format!("{method} {path} at {node}"))?;
        ensure!(response.is_complete(), "{method} {path} at {node}: the answer breaks off");
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.next += 1;
            self.left = STAY;
        } else if !response.header("connection").is_some_and(|value| value.contains("close")) {
            self.kept = Some(client);
        }
        Ok(response)
    }

    async fn connect(&mut self) -> anyhow::Result<Client> {
        let mut errors = Vec::new();
        for _ in 0..self.addresses.len() {
            let address = self.addresses[self.next % self.addresses.len()];
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Client::on(stream),
                Ok(Err(error)) => errors.push(format!("{address}: {error}")),
                Err(_) => errors.push(format!("{address}: no connection within {CONNECT:?}")),
            }
            self.next += 1;
        }
        anyhow::bail!("no node takes a connection: {}", errors.join(", "))
    }
}

impl Way {
    /// The answer, if it is the one that `expected` takes.
    pub(crate) async fn ask(
        &mut self,
        kind: Kind,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
        expected: impl FnOnce(&Response) -> bool,
    ) -> Option<Response> {
        let began = Instant::now();
        let (answer, repeated) = self.front.ask(method, path, headers, body).await;
        let answer = answer.and_then(|response| {
            ensure!(expected(&response), "{method} {path}: {}", summary(&response));
            Ok(response)
        });
        let failed = answer.as_ref().err().map(|error| format!("{error:#}"));
        self.record.add(Seen { kind, began, ended: Instant::now(), repeated, failed });
        answer.ok()
    }
}

/// What tells one answer from another in a report.
fn summary(response: &Response) -> String {
    let fields = ["cache-status", "location", "retry-after"];
    let fields: Vec<_> =
        fields.iter().filter_map(|name| Some(format!("{name}: {}", response.header(name)?))).collect();
    let text: String = response.text().chars().take(200).collect();
    format!("{} {fields:?} {:?}", response.status, text.replace('\n', " "))
}

impl Load {
    pub(crate) fn start(addresses: &[SocketAddr], record: Arc<Record>, paths: &[String]) -> Self {
        let mut load = Self { visitors: JoinSet::new(), record, stop: watch::Sender::new(false) };
        let paths: Arc<[String]> = paths.into();
        for n in 0..6 {
            load.paced(Duration::from_millis(60), Anonymous::new(load.way(addresses, n), Arc::clone(&paths)));
        }
        for n in 0..3 {
            load.paced(Duration::from_millis(200), Uncached::new(load.way(addresses, n)));
        }
        for n in 0..2 {
            load.paced(Duration::from_millis(600), Commenter::new(load.way(addresses, n), n));
        }
        load.paced(Duration::from_secs(2), Uploader::new(load.way(addresses, 2)));
        load
    }

    fn way(&self, addresses: &[SocketAddr], first: usize) -> Way {
        Way { front: Front::new(addresses, first), record: Arc::clone(&self.record) }
    }

    /// Runs what a visitor does at this pace, later when it takes longer.
    fn paced<T: Visitor>(&mut self, pace: Duration, mut visitor: T) {
        let mut stop = self.stop.subscribe();
        self.visitors.spawn(async move {
            let mut ticks = tokio::time::interval(pace);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = stop.changed() => return,
                    _ = ticks.tick() => {}
                }
                visitor.step().await;
            }
        });
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.visitors.join_next().await.is_some() {}
    }
}

/// Does one thing after the other.
pub(crate) trait Visitor: Send + 'static {
    fn step(&mut self) -> impl Future<Output = ()> + Send;
}

impl Record {
    pub(crate) fn add(&self, seen: Seen) {
        lock(&self.seen).push(seen);
    }

    pub(crate) fn wrote(&self, text: String) {
        lock(&self.written).push(text);
    }

    pub(crate) fn doubts(&self, text: String) {
        lock(&self.in_doubt).push(text);
    }

    pub(crate) fn uploaded(&self, path: String, content: String) {
        lock(&self.uploaded).push((path, content));
    }

    pub(crate) fn written(&self) -> Vec<String> {
        lock(&self.written).clone()
    }

    pub(crate) fn uploads(&self) -> Vec<(String, String)> {
        lock(&self.uploaded).clone()
    }

    /// What was under way within this span.
    pub(crate) fn within(&self, from: Instant, to: Instant) -> Vec<Seen> {
        lock(&self.seen).iter().filter(|seen| seen.ended >= from && seen.began <= to).cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
