//! Files that the application makes when they are first asked for (rules with `lazy`): aggregates, derivatives.
//!
//! 1. The first request for such a URL leads: it runs the script ([`Flights::join`]).
//! 2. Others for it wait until its response has begun, since the file is written then, and look for the file again.
//!    What is still not there they ask the application for themselves: it may have been refused to the first only.
//! 3. A file that is there while a script is making it may be half written: whoever asks for it waits too.
//! 4. Where another replica's script is at it already, Drupal answers 503 with Retry-After: the file is waited for.
//!
//! Nothing is remembered of what was missing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::docroot::Wait;
use crate::error::Failure;
use crate::handler::{Answer, run, send};
use crate::request::{ClientBody, Received};
use crate::respond::{Body, Record};
use crate::route::{Route, Routed, Script, StaticFile};
use crate::rules::Orders;
use crate::site::Site;

/// The scripts that are making files, by target.
#[derive(Debug, Default)]
pub struct Flights {
    under_way: Arc<Mutex<HashMap<Box<str>, watch::Receiver<Progress>>>>,
    /// How many there are, for those whom it does not concern.
    count: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Running,
    /// The response has begun, or there will be none.
    Over,
}

enum Turn {
    Lead(Lead),
    Follow(watch::Receiver<Progress>),
}

/// The obligation to tell the others; dropped without a word, one of them leads next.
struct Lead {
    target: Box<str>,
    progress: watch::Sender<Progress>,
    under_way: Arc<Mutex<HashMap<Box<str>, watch::Receiver<Progress>>>>,
    count: Arc<AtomicUsize>,
}

/// How a request for such a file was answered, as a label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It led.
    Made,
    /// Another's script has made the file.
    Shared,
    /// It waited in vain and ran the script itself.
    Alone,
    /// Another replica has made the file.
    Elsewhere,
}

/// The longest that another replica's script is waited for, whatever its Retry-After says.
const ELSEWHERE: Duration = Duration::from_secs(5);
/// How often the disk is looked at meanwhile; no file system between replicas tells.
const LOOK: Duration = Duration::from_millis(100);

/// Answers a GET or HEAD for what was not there. `orders` become those of the file, where one is sent.
pub async fn make<'r>(
    site: &'r Site,
    request: &Received,
    body: ClientBody,
    script: &Script,
    orders: &mut Orders<'r>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    let target = request.target();
    let end = Instant::now() + site.config.fastcgi_timeout;
    let (lead, outcome) = loop {
        match site.flights.join(&target) {
            Turn::Lead(lead) => break (Some(lead), Outcome::Made),
            Turn::Follow(flight) => {
                if !is_over(flight, end).await {
                    continue;
                }
                if let Some((file, its)) = look(site, request).await {
                    site.metrics.on_demand(Outcome::Shared);
                    *orders = its;
                    return send(site, request, *file, orders).await;
                }
                break (None, Outcome::Alone);
            }
        }
    };
    let ran = run(site, request, body, script, orders, record).await;
    if let Ok(Answer::Response(_, response)) = &ran
        && let Some(patience) = busy_elsewhere(response)
        && let Some((file, its)) = appears(site, request, patience).await
    {
        site.metrics.on_demand(Outcome::Elsewhere);
        *orders = its;
        return send(site, request, *file, orders).await;
    }
    if let Some(lead) = lead {
        lead.over();
    }
    site.metrics.on_demand(outcome);
    ran
}

/// Waits for the script that is making this file, if one is.
pub async fn settled(site: &Site, request: &Received) -> bool {
    if !site.flights.are_any() {
        return false;
    }
    let Some(flight) = site.flights.of(&request.target()) else { return false };
    // Whichever way it ends: the file is there, as a whole or as much of it as there will be.
    is_over(flight, Instant::now() + site.config.fastcgi_timeout).await;
    true
}

/// Whether the leader had its answer, or took too long for others to wait for it; `false` if it has given up.
async fn is_over(mut flight: watch::Receiver<Progress>, end: Instant) -> bool {
    let over = tokio::time::timeout_at(end, flight.wait_for(|progress| *progress == Progress::Over)).await;
    !matches!(over, Ok(Err(_)))
}

/// How long to wait for a file that another process is making.
fn busy_elsewhere(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    (response.status() == StatusCode::SERVICE_UNAVAILABLE)
        .then(|| Duration::from_secs(seconds).min(ELSEWHERE))
}

async fn appears<'r>(
    site: &'r Site,
    request: &Received,
    patience: Duration,
) -> Option<(Box<StaticFile>, Orders<'r>)> {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        tokio::time::sleep(LOOK).await;
        if let Some(found) = look(site, request).await {
            return Some(found);
        }
    }
    None
}

/// The file, if it is there now.
async fn look<'r>(site: &'r Site, request: &Received) -> Option<(Box<StaticFile>, Orders<'r>)> {
    let Routed { orders, route } = site.router.route(request, Wait::Allowed).await;
    match route {
        Ok(Route::File(file)) => Some((file, orders)),
        _ => None,
    }
}

impl Flights {
    /// Whether a script is making a file, whichever.
    pub fn are_any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    fn join(&self, target: &str) -> Turn {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(target) {
            return Turn::Follow(flight.clone());
        }
        let (progress, flight) = watch::channel(Progress::Running);
        under_way.insert(target.into(), flight);
        self.count.fetch_add(1, Ordering::Release);
        let (under_way, count) = (Arc::clone(&self.under_way), Arc::clone(&self.count));
        Turn::Lead(Lead { target: target.into(), progress, under_way, count })
    }

    fn of(&self, target: &str) -> Option<watch::Receiver<Progress>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }
}

impl Lead {
    fn over(self) {
        self.progress.send_replace(Progress::Over);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.target);
        self.count.fetch_sub(1, Ordering::Release);
    }
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Shared => "shared",
            Self::Alone => "alone",
            Self::Elsewhere => "elsewhere",
        }
    }
}
