//! All replicas, and what is busy for us on each. No I/O, no waiting: the lock around it is short.

use std::sync::Arc;
use std::time::Duration;

use common::net::Endpoint;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Accounting, Breaker, Heard, Outlier, Sign};
use crate::balance::{Candidate, WARM, least_outstanding, warmth};
use crate::share::part;

/// Names a replica for as long as it is there; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicaId(u64);

#[derive(Debug)]
pub struct Fleet {
    replicas: Vec<Replica>,
    /// What is configured of each replica, for all gateways together.
    workers_per_replica: u32,
    /// How many gateways there are, and which of them this is.
    gateways: (u32, Option<u32>),
    /// Percent of them that may be busy.
    share: u8,
    slow_start: Duration,
    has_followed: bool,
    /// Counts what is handed out: ids, and turns.
    counter: u64,
}

#[derive(Debug)]
struct Replica {
    id: ReplicaId,
    endpoint: Arc<Endpoint>,
    /// Ours.
    workers: u32,
    /// The size of its pool, by its own word.
    learned: Option<u32>,
    busy: u32,
    /// Of the busy ones those whose request is over.
    settling: u32,
    accounting: Accounting,
    breaker: Breaker,
    /// No longer listed: it gets no new request, and goes with the last one in flight.
    leaving: bool,
    outlier: Outlier,
    /// `None` for those that were there from the start.
    appeared: Option<Instant>,
    turn: u64,
    last_alive: Option<Instant>,
    served: u64,
    /// Wakes its prober when the breaker opens.
    alarm: Arc<Notify>,
}

/// A worker that was taken.
#[derive(Debug)]
pub struct Taken {
    pub replica: ReplicaId,
    pub endpoint: Arc<Endpoint>,
    /// What is known of the replica at this moment.
    pub accounting: Accounting,
}

/// A replica that was added, for whoever is to watch its health.
#[derive(Debug)]
pub struct Watched {
    pub id: ReplicaId,
    pub endpoint: Arc<Endpoint>,
    pub alarm: Arc<Notify>,
}

/// What its prober wants to know of a replica.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub closed: bool,
    pub busy: u32,
    pub workers: u32,
    pub last_alive: Option<Instant>,
}

/// A replica as `/status` and the metrics show it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub endpoint: Arc<Endpoint>,
    pub busy: u32,
    /// Of the busy ones those whose request is over and that work on.
    pub settling: u32,
    pub accounting: Accounting,
    pub workers: u32,
    pub usable: bool,
    pub ejected: bool,
    pub leaving: bool,
    pub served: u64,
    /// Time since it last answered.
    pub silent_for: Option<Duration>,
}

impl Fleet {
    pub const fn new(workers_per_replica: u32, slow_start: Duration) -> Self {
        Self {
            replicas: Vec::new(),
            workers_per_replica,
            gateways: (1, None),
            share: 100,
            slow_start,
            has_followed: false,
            counter: 0,
        }
    }

    /// Adds what is new, and lets go of what is not listed any more.
    pub fn follow(&mut self, endpoints: &[Endpoint]) -> Vec<Watched> {
        for replica in &mut self.replicas {
            replica.leaving = !endpoints.contains(&replica.endpoint);
        }
        self.replicas.retain(|replica| !replica.is_gone());
        let first = !self.has_followed;
        self.has_followed |= !endpoints.is_empty();
        let mut added = Vec::new();
        for endpoint in endpoints {
            if self.replicas.iter().any(|replica| *replica.endpoint == *endpoint) {
                continue;
            }
            self.counter += 1;
            let replica = Replica {
                id: ReplicaId(self.counter),
                endpoint: Arc::new(endpoint.clone()),
                workers: part(self.workers_per_replica, self.gateways.0, self.gateways.1),
                learned: None,
                busy: 0,
                settling: 0,
                accounting: Accounting::NEW,
                breaker: Breaker::CLOSED,
                leaving: false,
                outlier: Outlier::default(),
                appeared: (!first).then(Instant::now),
                turn: 0,
                last_alive: None,
                served: 0,
                alarm: Arc::new(Notify::new()),
            };
            added.push(Watched {
                id: replica.id,
                endpoint: Arc::clone(&replica.endpoint),
                alarm: Arc::clone(&replica.alarm),
            });
            self.replicas.push(replica);
        }
        added
    }

    /// Some replica may be used, though it may be full.
    pub fn is_usable(&self) -> bool {
        self.replicas.iter().any(Replica::is_usable)
    }

    /// Workers of all replicas that may be used.
    pub fn capacity(&self) -> u32 {
        self.replicas
            .iter()
            .filter(|replica| replica.is_usable())
            .map(|replica| replica.allowed(self.share))
            .sum()
    }

    /// Some replica that may be used has a free worker.
    pub fn has_room(&self) -> bool {
        self.replicas.iter().any(|replica| replica.is_usable() && replica.busy < replica.allowed(self.share))
    }

    /// From now on this percentage of each replica's workers may be busy, and at least one.
    pub fn limit(&mut self, percent: u8) {
        self.share = percent.min(100);
    }

    /// Takes a worker of the best replica; `None` if all are full or out of use.
    pub fn take(&mut self) -> Option<Taken> {
        let usable = self.replicas.iter().enumerate().filter(|(_, replica)| replica.is_usable());
        let index = least_outstanding(
            usable.map(|(index, replica)| (index, replica.candidate(self.share, self.slow_start))),
        )?;
        self.counter += 1;
        let replica = self.replicas.get_mut(index)?;
        replica.busy += 1;
        replica.turn = self.counter;
        Some(replica.taken())
    }

    /// Takes a worker of this replica, out of turn.
    pub fn take_from(&mut self, id: ReplicaId) -> Option<Taken> {
        let share = self.share;
        let replica = self.find(id)?;
        if !replica.is_usable() || replica.busy >= replica.allowed(share) {
            return None;
        }
        replica.busy += 1;
        Some(replica.taken())
    }

    /// `settling`: its request was over.
    pub fn give_back(&mut self, id: ReplicaId, settling: bool) {
        let Some(replica) = self.find(id) else { return };
        replica.busy = replica.busy.saturating_sub(1);
        replica.settling = replica.settling.saturating_sub(u32::from(settling));
        if replica.is_gone() {
            self.replicas.retain(|replica| !replica.is_gone());
        }
    }

    /// The request is over, and the worker may not be free.
    pub fn settles(&mut self, id: ReplicaId) {
        if let Some(replica) = self.find(id) {
            replica.settling += 1;
        }
    }

    pub fn heard(&mut self, id: ReplicaId, heard: Heard) {
        let Some(replica) = self.find(id) else { return };
        let before = replica.accounting;
        replica.accounting = before.after(heard);
        if before != replica.accounting && replica.accounting == Accounting::PerConnection {
            let endpoint = &replica.endpoint;
            tracing::warn!(%endpoint, "GET_VALUES is not answered: a worker counts as free when its response ends");
        }
    }

    pub fn note(&mut self, id: ReplicaId, sign: Sign, now: Instant) {
        let Some(replica) = self.find(id) else { return };
        let before = replica.breaker;
        replica.breaker = before.after(sign);
        if matches!(sign, Sign::Alive | Sign::Served) {
            replica.last_alive = Some(now);
        }
        if sign == Sign::Served {
            replica.served += 1;
            replica.outlier.served();
        }
        let endpoint = &replica.endpoint;
        match (before.is_closed(), replica.breaker.is_closed()) {
            (true, false) => {
                tracing::warn!(%endpoint, ?sign, "replica out of use");
                replica.alarm.notify_one();
            }
            (false, true) => {
                tracing::info!(%endpoint, "replica back in use");
                // It could not be reached and can be: what it failed before was another process.
                replica.outlier = Outlier::default();
            }
            _ => {}
        }
    }

    /// A request has failed there; gives back for how long the replica is ejected, if it is now.
    pub fn failed(&mut self, id: ReplicaId) -> Option<Duration> {
        let listed = self.replicas.iter().filter(|replica| !replica.leaving).count();
        let others = self.replicas.iter().filter(|replica| replica.is_usable() && replica.id != id).count();
        let replica = self.find(id)?;
        let pause = replica.outlier.failed(others, listed)?;
        let endpoint = &replica.endpoint;
        tracing::warn!(%endpoint, ?pause, "replica ejected: its requests fail one after the other");
        Some(pause)
    }

    /// An ejection is over.
    pub fn readmit(&mut self, id: ReplicaId) {
        if let Some(replica) = self.find(id) {
            replica.outlier.readmitted();
            tracing::info!(endpoint = %replica.endpoint, "replica back in use");
        }
    }

    /// There are so many gateways, and this is the one in that place.
    pub fn divide(&mut self, gateways: u32, place: Option<u32>) {
        self.gateways = (gateways, place);
        for replica in &mut self.replicas {
            replica.workers = part(replica.learned.unwrap_or(self.workers_per_replica), gateways, place);
        }
    }

    /// The size of a replica's pool, by its own word.
    pub fn learn(&mut self, id: ReplicaId, workers: u32) {
        let (gateways, place) = self.gateways;
        if let Some(replica) = self.find(id) {
            replica.learned = Some(workers);
            replica.workers = part(workers, gateways, place);
        }
    }

    pub fn standing(&self, id: ReplicaId) -> Option<Standing> {
        let replica = self.replicas.iter().find(|replica| replica.id == id)?;
        let closed = replica.breaker.is_closed();
        Some(Standing {
            closed,
            busy: replica.busy,
            workers: replica.workers,
            last_alive: replica.last_alive,
        })
    }

    pub fn snapshot(&self) -> Vec<Snapshot> {
        let snapshot = |replica: &Replica| Snapshot {
            endpoint: Arc::clone(&replica.endpoint),
            busy: replica.busy,
            settling: replica.settling,
            accounting: replica.accounting,
            workers: replica.workers,
            usable: replica.is_usable(),
            ejected: replica.outlier.is_ejected(),
            leaving: replica.leaving,
            served: replica.served,
            silent_for: replica.last_alive.map(|at| at.elapsed()),
        };
        self.replicas.iter().map(snapshot).collect()
    }

    fn find(&mut self, id: ReplicaId) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.id == id)
    }
}

impl Replica {
    fn taken(&self) -> Taken {
        Taken { replica: self.id, endpoint: Arc::clone(&self.endpoint), accounting: self.accounting }
    }

    const fn is_usable(&self) -> bool {
        self.breaker.is_closed() && !self.leaving && !self.outlier.is_ejected()
    }

    const fn is_gone(&self) -> bool {
        self.leaving && self.busy == 0
    }

    /// Its workers that may be busy.
    fn allowed(&self, share: u8) -> u32 {
        (self.workers * u32::from(share)).div_ceil(100).max(1)
    }

    fn candidate(&self, share: u8, slow_start: Duration) -> Candidate {
        let warmth = self.appeared.map_or(WARM, |appeared| warmth(appeared.elapsed(), slow_start));
        Candidate { busy: self.busy, workers: self.allowed(share), warmth, turn: self.turn }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::Tcp(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn replicas_come_and_go() {
        let mut fleet = Fleet::new(2, Duration::ZERO);
        assert!(!fleet.is_usable());
        assert_eq!(fleet.follow(&[endpoint(1), endpoint(2)]).len(), 2);
        assert_eq!(fleet.follow(&[endpoint(2), endpoint(1)]).len(), 0, "the same");
        let first = fleet.take().unwrap().replica;
        let second = fleet.take().unwrap().replica;
        assert_ne!(first, second, "spread");

        // One leaves with a request in flight: it gets no more, and is gone with it.
        assert_eq!(fleet.follow(&[endpoint(2)]).len(), 0);
        assert_eq!(fleet.snapshot().len(), 2);
        assert_eq!(fleet.take().unwrap().replica, second);
        assert!(fleet.take().is_none(), "full");
        fleet.give_back(first, false);
        assert!(fleet.standing(first).is_none());
        assert_eq!(fleet.snapshot().len(), 1);

        // One that comes back while it leaves is the same one.
        fleet.follow(&[]);
        assert!(!fleet.is_usable());
        assert_eq!(fleet.follow(&[endpoint(2)]).len(), 0);
        assert_eq!(fleet.standing(second).unwrap().busy, 2);
    }

    #[test]
    fn a_limit_is_a_part_of_the_workers_and_at_least_one() {
        let mut fleet = Fleet::new(3, Duration::ZERO);
        fleet.follow(&[endpoint(1)]);
        let mut taken = |percent| {
            fleet.limit(percent);
            let ids: Vec<ReplicaId> =
                std::iter::from_fn(|| fleet.take()).map(|taken| taken.replica).collect();
            for id in &ids {
                fleet.give_back(*id, false);
            }
            ids.len()
        };
        assert_eq!([100, 67, 66, 34, 33, 1].map(&mut taken), [3, 3, 2, 2, 1, 1]);
    }

    #[test]
    fn a_replica_that_was_started_anew_is_no_outlier() {
        let mut fleet = Fleet::new(1, Duration::ZERO);
        let added = fleet.follow(&[endpoint(1), endpoint(2)]);
        let id = added[0].id;
        assert!((0..9).any(|_| fleet.failed(id).is_some()));
        assert!(fleet.snapshot()[0].ejected);
        fleet.note(id, Sign::Alive, Instant::now());
        assert!(fleet.snapshot()[0].ejected, "an answer alone says nothing of requests");
        fleet.note(id, Sign::Unreachable, Instant::now());
        fleet.note(id, Sign::Alive, Instant::now());
        assert!(fleet.snapshot()[0].usable);
    }

    #[test]
    fn a_replica_out_of_use_is_skipped() {
        let mut fleet = Fleet::new(1, Duration::ZERO);
        let added = fleet.follow(&[endpoint(1), endpoint(2)]);
        fleet.note(added[0].id, Sign::Unreachable, Instant::now());
        assert_eq!(fleet.take().unwrap().replica, added[1].id);
        assert!(fleet.take().is_none());
        assert!(fleet.take_from(added[0].id).is_none());
        fleet.note(added[0].id, Sign::Alive, Instant::now());
        assert_eq!(fleet.take().unwrap().replica, added[0].id);
    }
}
