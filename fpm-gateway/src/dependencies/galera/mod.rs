//! Galera: every node is asked what it is, and PHP is told to whom it may write.
//!
//! 1. [`ask`]: one task a node asks for its status, on a connection that is kept.
//! 2. [`node`]: what is thought of it, after how many answers. Pure.
//! 3. [`cluster`]: what follows from all of them: component, writer, readers, alarms. Pure.
//! 4. [`Galera`]: keeps what is known, and passes decisions on to [`Steering`] and [`Shedding`].

mod ask;
mod cluster;
mod node;
mod observation;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::discovery::{Endpoints, Target};
use common::net::Endpoint;
use common::shutdown::Shutdown;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::jittered;
use super::options::{GaleraConfig, Thresholds};
use super::shedding::Shedding;
use super::steering::Steering;
use ask::Asker;
use cluster::{Memory, View, decide};
use observation::Answer;

pub use cluster::{Alarm, Availability, Decision, Loss};
pub use node::{Node, State};
pub use observation::{Observation, Wsrep};

/// All nodes, and what follows from their states.
#[derive(Debug)]
pub struct Galera {
    config: GaleraConfig,
    thresholds: Thresholds,
    board: Mutex<Board>,
    steering: Arc<Steering>,
    shedding: Arc<Shedding>,
    /// A request has failed: the writer is asked at once.
    doubt: Notify,
    verdict: watch::Sender<Verdict>,
    pub writer_changes: Counter,
}

/// What is known of the writer, for those whose request has failed.
#[derive(Debug, Default)]
struct Verdict {
    /// `host:port`; none while the cluster is lost.
    writer: Option<String>,
    /// When it last said that it is well.
    well_at: Option<Instant>,
}

#[derive(Debug)]
struct Board {
    /// In the order of the configuration.
    nodes: Vec<(Endpoint, Node)>,
    memory: Memory,
    decision: Decision,
}

/// Questions to a node that did not answer are this much closer together until its silence counts.
const HASTE: u32 = 5;
/// Questions to a writer in doubt are at most this much closer together.
const CAUTION: u32 = 10;

impl Galera {
    pub fn new(
        config: GaleraConfig,
        thresholds: Thresholds,
        steering: Arc<Steering>,
        shedding: Arc<Shedding>,
    ) -> Arc<Self> {
        let decision = Decision {
            availability: Availability::Unknown,
            writer: None,
            readers: Vec::new(),
            alarms: Vec::new(),
        };
        let board = Mutex::new(Board { nodes: Vec::new(), memory: Memory::default(), decision });
        Arc::new(Self {
            config,
            thresholds,
            board,
            steering,
            shedding,
            doubt: Notify::new(),
            verdict: watch::Sender::default(),
            writer_changes: Counter::default(),
        })
    }

    /// Watches the nodes that are listed, until the drain begins.
    pub fn follow(self: &Arc<Self>, mut endpoints: watch::Receiver<Endpoints>, shutdown: &Shutdown) {
        let this = Arc::clone(self);
        let mut watchers: HashMap<Endpoint, JoinHandle<()>> = HashMap::new();
        let spawner = shutdown.clone();
        let mut update = move |listed: &Endpoints| {
            watchers.retain(|endpoint, watcher| {
                let stays = listed.contains(endpoint);
                if !stays {
                    watcher.abort();
                }
                stays
            });
            this.list(listed);
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

    /// Asks one node for as long as it is listed.
    async fn watch(self: Arc<Self>, endpoint: Endpoint) {
        let mut asker = Asker::new(&endpoint, &self.config);
        loop {
            let answer = asker.ask().await;
            let pause = if self.note(&endpoint, answer) {
                self.config.interval / HASTE
            } else {
                self.config.interval
            };
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                () = self.doubted(&endpoint) => {}
            }
        }
    }

    /// A request has failed, perhaps since the writer is gone: it is asked before its turn.
    pub fn doubt(&self) {
        self.doubt.notify_waiters();
    }

    /// Whether another node is the writer by now, and not the one that PHP was told. It is asked before its turn, and what it
    /// says counts; its silence counts as far as it lasts within one time-out.
    pub async fn is_superseded(&self, told: &[u8]) -> bool {
        let asked = Instant::now();
        let is_other =
            |verdict: &Verdict| verdict.writer.as_deref().is_some_and(|writer| writer.as_bytes() != told);
        let is_well = |verdict: &Verdict| verdict.well_at.is_some_and(|at| at > asked);
        let mut verdicts = self.verdict.subscribe();
        self.doubt();
        // Without any writer nobody would do better.
        let settled =
            verdicts.wait_for(|verdict| verdict.writer.is_none() || is_other(verdict) || is_well(verdict));
        match tokio::time::timeout(self.config.timeout, settled).await {
            Ok(Ok(verdict)) => is_other(&verdict),
            _ => false,
        }
    }

    /// Completes when this node is the writer, and in doubt; not at once, so that a site that fails for reasons of
    /// its own does not make more questions than that.
    async fn doubted(&self, endpoint: &Endpoint) {
        if self.lock().decision.writer.as_ref() != Some(endpoint) {
            return std::future::pending().await;
        }
        tokio::time::sleep(self.config.interval / CAUTION).await;
        self.doubt.notified().await;
    }

    /// Notes an answer; says whether the node is to be asked again soon.
    fn note(&self, endpoint: &Endpoint, answer: Answer) -> bool {
        let mut board = self.lock();
        let now = Instant::now();
        let Some((_, node)) = board.nodes.iter_mut().find(|(known, _)| known == endpoint) else {
            return false;
        };
        let before = node.state();
        node.note(answer, now, self.config.queue, self.thresholds);
        let (after, wavering) = (node.state(), node.is_wavering());
        if before != after {
            log_state(endpoint, before, after, node.trouble());
        }
        self.decide(&mut board, now);
        if !wavering && board.decision.writer.as_ref() == Some(endpoint) {
            self.verdict.send_modify(|verdict| verdict.well_at = Some(now));
        }
        wavering
    }

    /// Takes the list of nodes over.
    fn list(&self, listed: &[Endpoint]) {
        let mut board = self.lock();
        let now = Instant::now();
        let mut known: HashMap<Endpoint, Node> = board.nodes.drain(..).collect();
        let mut listed = listed.to_vec();
        listed.sort_by_key(|endpoint| (self.position(endpoint), endpoint.clone()));
        board.nodes = listed
            .into_iter()
            .map(|endpoint| {
                let node = known.remove(&endpoint).unwrap_or_else(|| Node::new(now));
                (endpoint, node)
            })
            .collect();
        self.decide(&mut board, now);
    }

    /// Addresses stand in the order in which they were given, before those of names.
    fn position(&self, endpoint: &Endpoint) -> usize {
        let given = |target: &Target| matches!(target, Target::Fixed(fixed) if fixed == endpoint);
        self.config.nodes.iter().position(given).unwrap_or(usize::MAX)
    }

    fn decide(&self, board: &mut Board, now: Instant) {
        let views: Vec<View> = board.nodes.iter().map(|(endpoint, node)| View::of(endpoint, node)).collect();
        let decision = decide(&views, &mut board.memory, now, self.config.hold);
        if decision == board.decision {
            return;
        }
        log_decision(&board.decision, &decision);
        // Nothing better is known while the cluster is lost: probes go where the last writer was.
        if let Some(writer) = &decision.writer {
            self.steering.galera(writer, &decision.readers);
            if board.decision.writer.as_ref() != Some(writer) {
                self.writer_changes.inc();
            }
        }
        let loss = match decision.availability {
            Availability::Lost(loss) if self.config.shedding => Some(loss),
            _ => None,
        };
        self.shedding.set(loss);
        let writer = decision.writer.as_ref().map(ToString::to_string);
        self.verdict.send_modify(|verdict| {
            if verdict.writer != writer {
                *verdict = Verdict { writer, well_at: None };
            }
        });
        board.decision = decision;
    }

    /// Nodes and decision as they are now, for `/status` and the metrics.
    pub fn snapshot(&self) -> (Vec<(Endpoint, Node)>, Decision) {
        let board = self.lock();
        (board.nodes.clone(), board.decision.clone())
    }

    pub const fn hold(&self) -> Duration {
        self.config.hold
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        // Nothing panics while it is held; if something did, what was known is better than nothing.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_state(node: &Endpoint, before: State, after: State, trouble: Option<&str>) {
    let (before, after, why) = (before.as_str(), after.as_str(), trouble.unwrap_or_default());
    if matches!(after, "synced" | "standalone") {
        tracing::info!(%node, before, after, "Galera node");
    } else {
        tracing::warn!(%node, before, after, why, "Galera node");
    }
}

fn log_decision(before: &Decision, after: &Decision) {
    let name = |writer: &Option<Endpoint>| writer.as_ref().map_or("none".to_owned(), ToString::to_string);
    if before.writer != after.writer {
        let (was, now) = (name(&before.writer), name(&after.writer));
        if before.writer.is_none() && before.availability == Availability::Unknown {
            tracing::info!(writer = now, "Galera writer");
        } else {
            tracing::warn!(before = was, after = now, "Galera writer");
        }
    }
    if before.availability != after.availability {
        let (before, after) = (before.availability.as_str(), after.availability.as_str());
        if after == Availability::Available.as_str() {
            tracing::info!(before, after, "Galera cluster");
        } else {
            tracing::warn!(before, after, "Galera cluster");
        }
    }
    for alarm in after.alarms.iter().filter(|alarm| !before.alarms.contains(alarm)) {
        tracing::error!(alarm = alarm.as_str(), "Galera alarm");
    }
    for alarm in before.alarms.iter().filter(|alarm| !after.alarms.contains(alarm)) {
        tracing::info!(alarm = alarm.as_str(), "Galera alarm is over");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn node(last: u8) -> Endpoint {
        Endpoint::Tcp(([10, 0, 0, last], 3306).into())
    }

    fn synced(index: u64) -> Answer {
        let wsrep = Wsrep {
            primary: true,
            ready: true,
            connected: true,
            local_state: 4,
            local_index: Some(index),
            cluster_size: 2,
            ..Wsrep::default()
        };
        Answer::Said(Observation { wsrep: Some(wsrep), read_only: false })
    }

    /// Two nodes, the first of which is the writer.
    fn pair() -> Arc<Galera> {
        let config = GaleraConfig {
            nodes: Vec::new(),
            user: String::new(),
            password: None,
            interval: Duration::from_millis(500),
            timeout: Duration::from_secs(1),
            queue: 100,
            hold: Duration::from_mins(5),
            shedding: true,
        };
        let thresholds = Thresholds { fall: 1, rise: 1 };
        let galera = Galera::new(config, thresholds, Arc::default(), Arc::new(Shedding::new()));
        galera.list(&[node(1), node(2)]);
        for _ in 0..2 {
            galera.note(&node(1), synced(0));
            galera.note(&node(2), synced(1));
        }
        assert_eq!(galera.snapshot().1.writer, Some(node(1)));
        galera
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_tried_again_only_where_another_node_writes() {
        let told = b"10.0.0.1:3306";
        // The writer answers: the request has failed for reasons of its own.
        let galera = pair();
        let waiting = tokio::spawn({
            let galera = Arc::clone(&galera);
            async move { galera.is_superseded(told).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waiting.is_finished());
        galera.note(&node(1), synced(0));
        assert!(!waiting.await.unwrap());

        // It is gone, which is found out while somebody waits.
        let waiting = tokio::spawn({
            let galera = Arc::clone(&galera);
            async move { galera.is_superseded(told).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        galera.note(&node(1), Answer::Unreachable("refused".into()));
        assert!(waiting.await.unwrap());
        // And at once for who comes later.
        let began = Instant::now();
        assert!(galera.is_superseded(told).await);
        assert_eq!(began.elapsed(), Duration::ZERO);

        // Nobody knows: not for longer than the time-out.
        assert!(!pair().is_superseded(told).await);
        assert_eq!(began.elapsed(), Duration::from_secs(1));

        // Without a writer there is nowhere to go.
        galera.note(&node(2), Answer::Unreachable("refused".into()));
        assert!(!galera.is_superseded(b"10.0.0.2:3306").await);
    }
}
