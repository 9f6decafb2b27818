//! memcached: every server is asked how it is, and PHP is told a list that changes as seldom as may be.
//!
//! 1. [`ask`]: one task a server asks for its statistics.
//! 2. [`server`]: what is thought of it, after how many answers. Pure.
//! 3. [`list`]: the list for PHP, and how much of the cache is gone. Pure.
//! 4. [`Memcached`]: keeps what is known, and passes it on to [`Steering`] and the cap on workers.

mod ask;
mod list;
mod server;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::discovery::Endpoints;
use common::net::Endpoint;
use common::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::jittered;
use super::options::{MemcachedConfig, Thresholds};
use super::steering::Steering;
use ask::Asker;
use list::{View, decide, workers};
use server::Answer;

pub use list::Decision;
pub use server::{Server, State, Stats};

/// All servers, and what follows from their states.
#[derive(Debug)]
pub struct Memcached {
    config: MemcachedConfig,
    thresholds: Thresholds,
    board: Mutex<Board>,
    steering: Arc<Steering>,
    /// Percent of the workers that may be busy.
    cap: watch::Sender<u8>,
}

#[derive(Debug, Default)]
struct Board {
    servers: Vec<Known>,
    decision: Decision,
}

#[derive(Debug, Clone)]
struct Known {
    endpoint: Endpoint,
    server: Server,
    /// Since when discovery does not list it.
    unlisted: Option<Instant>,
}

/// Questions to a server that did not answer are this much closer together until its silence counts.
const HASTE: u32 = 5;

impl Memcached {
    pub fn new(config: MemcachedConfig, thresholds: Thresholds, steering: Arc<Steering>) -> Arc<Self> {
        let (board, cap) = (Mutex::default(), watch::Sender::new(100));
        Arc::new(Self { config, thresholds, board, steering, cap })
    }

    /// Percent of the workers that may be busy, now and as it changes.
    pub fn cap(&self) -> watch::Receiver<u8> {
        self.cap.subscribe()
    }

    /// Watches the servers that are listed, until the drain begins.
    pub fn follow(self: &Arc<Self>, mut endpoints: watch::Receiver<Endpoints>, shutdown: &Shutdown) {
        let this = Arc::clone(self);
        let mut watchers: HashMap<Endpoint, JoinHandle<()>> = HashMap::new();
        let spawner = shutdown.clone();
        let mut update = move |listed: &Endpoints| {
            this.list(listed);
            // One that is no longer listed is still asked: it may only be away for a moment.
            watchers.retain(|endpoint, watcher| listed.contains(endpoint) || !watcher.is_finished());
            for endpoint in listed.iter() {
                watchers
                    .entry(endpoint.clone())
                    .or_insert_with(|| spawner.spawn_until_drain(Arc::clone(&this).watch(endpoint.clone())));
            }
        };
        update(&endpoints.borrow_and_update());
        shutdown.spawn_until_drain(async move {
            // A list that is fixed has no sender any more.
            while endpoints.changed().await.is_ok() {
                update(&endpoints.borrow_and_update());
            }
            std::future::pending::<()>().await;
        });
    }

    /// Asks one server until it is forgotten.
    async fn watch(self: Arc<Self>, endpoint: Endpoint) {
        let mut asker = Asker::new(endpoint.clone(), self.config.timeout);
        loop {
            let answer = asker.ask().await;
            let Some(wavering) = self.note(&endpoint, answer) else { return };
            let pause = if wavering { self.config.interval / HASTE } else { self.config.interval };
            tokio::time::sleep(jittered(pause)).await;
        }
    }

    /// Notes an answer; says whether the server is to be asked again soon, or `None` when it is forgotten.
    fn note(&self, endpoint: &Endpoint, answer: Answer) -> Option<bool> {
        let mut board = self.lock();
        let now = Instant::now();
        let known = board.servers.iter_mut().find(|known| known.endpoint == *endpoint)?;
        let before = known.server.state();
        known.server.note(answer, now, self.thresholds);
        let (after, wavering) = (known.server.state(), known.server.is_wavering());
        let why = known.server.trouble().unwrap_or_default();
        match (before, after) {
            (before, after) if before == after => {}
            (before, State::Up) => {
                tracing::info!(server = %endpoint, before = before.as_str(), "memcached is up");
            }
            (_, after) => {
                tracing::warn!(server = %endpoint, state = after.as_str(), why, "memcached is gone");
            }
        }
        self.decide(&mut board, now);
        Some(wavering)
    }

    /// Takes the list of servers over.
    fn list(&self, listed: &[Endpoint]) {
        let mut board = self.lock();
        let now = Instant::now();
        for known in &mut board.servers {
            known.unlisted =
                if listed.contains(&known.endpoint) { None } else { known.unlisted.or(Some(now)) };
        }
        for endpoint in listed {
            if board.servers.iter().all(|known| known.endpoint != *endpoint) {
                let server = Server::new(now);
                board.servers.push(Known { endpoint: endpoint.clone(), server, unlisted: None });
            }
        }
        self.decide(&mut board, now);
    }

    fn decide(&self, board: &mut Board, now: Instant) {
        if board.servers.is_empty() {
            return;
        }
        let views: Vec<View> = board.servers.iter().map(|known| known.view(now)).collect();
        let decision = decide(&views, board.decision.expected, self.config.hold);
        board.servers.retain(|known| !decision.forgotten.contains(&known.endpoint));
        if decision.servers != board.decision.servers || board.decision.expected == 0 {
            let servers: Vec<String> = decision.servers.iter().map(ToString::to_string).collect();
            tracing::info!(servers = servers.join(","), "memcached servers for PHP");
            self.steering.memcached(&decision.servers);
        }
        let cap = workers(&decision, self.config.lost_workers);
        self.cap.send_if_modified(|now| std::mem::replace(now, cap) != cap);
        board.decision = decision;
    }

    /// Servers and decision as they are now, for `/status` and the metrics.
    pub fn snapshot(&self) -> (Vec<(Endpoint, Server)>, Decision) {
        let board = self.lock();
        let servers = board.servers.iter().map(|known| (known.endpoint.clone(), known.server.clone()));
        (servers.collect(), board.decision.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        // Nothing panics while it is held; if something did, what was known is better than nothing.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn view(&self, now: Instant) -> View {
        let unlisted = self.unlisted.map(|since| now.saturating_duration_since(since));
        View {
            endpoint: self.endpoint.clone(),
            absence: self.server.absence(now).max(unlisted),
            listed: self.unlisted.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use common::fastcgi::Params;

    use super::*;

    fn told(steering: &Steering) -> Option<String> {
        let mut params = Params::new();
        steering.apply(&mut params);
        params.get("MEMCACHED_SERVERS").map(|value| String::from_utf8_lossy(value).into_owned())
    }

    fn endpoint(number: u16) -> Endpoint {
        Endpoint::Tcp(([10, 0, 0, 1], number).into())
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_is_stable_through_a_short_absence() {
        let config = crate::Config::from_flags(["--memcached=10.0.0.1:2,10.0.0.1:1"]).unwrap().dependencies;
        let steering = Arc::new(Steering::default());
        let memcached = Memcached::new(config.memcached, config.thresholds, Arc::clone(&steering));
        assert_eq!(told(&steering), None, "before anything is known PHP uses its own list");
        memcached.list(&[endpoint(2), endpoint(1)]);
        let both = Some("10.0.0.1:1,10.0.0.1:2".to_owned());
        assert_eq!(told(&steering), both);
        let cap = memcached.cap();
        let gone = |number| {
            for _ in 0..2 {
                memcached.note(&endpoint(number), Answer::Silent);
            }
        };
        memcached.note(&endpoint(1), Answer::Said(Stats::default()));
        memcached.note(&endpoint(2), Answer::Said(Stats::default()));
        gone(2);
        assert_eq!((told(&steering), *cap.borrow()), (both.clone(), 75));
        gone(1);
        assert_eq!((told(&steering), *cap.borrow()), (both, 50));
        for _ in 0..2 {
            memcached.note(&endpoint(1), Answer::Said(Stats::default()));
        }
        tokio::time::advance(Duration::from_mins(2)).await;
        gone(2);
        assert_eq!((told(&steering), *cap.borrow()), (Some("10.0.0.1:1".into()), 75));
        // A server in the place of another.
        memcached.list(&[endpoint(1), endpoint(3)]);
        assert_eq!(told(&steering).unwrap(), "10.0.0.1:1,10.0.0.1:3");
        assert_eq!(memcached.note(&endpoint(2), Answer::Silent), None, "forgotten");
    }
}
