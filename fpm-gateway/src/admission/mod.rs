//! Who may send a request to PHP, and when.
//!
//! 1. [`Admission::arrive`]: a request gets its [`Visit`], its place in the order and its deadline.
//! 2. [`Admission::admit`]: if nobody waits and a replica has a free worker, a [`Permit`] at once.
//! 3. Otherwise it waits in the [`Queue`], which is bounded, for as long as its deadline allows; or, when no
//!    replica can be reached at all, only until the outage is older than our patience.
//! 4. A permit that is dropped, for whatever reason, goes to the first in the queue.
//!
//! Everything that is known about replicas is behind one short lock, since every decision needs all of it.

mod queue;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::net::Endpoint;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::backend::{Accounting, Fleet, Heard, ReplicaId, Sign, Snapshot, Watched};
use queue::Queue;

/// The gate to all replicas.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    /// Since when no replica can be used; `None` while one can.
    outage: watch::Sender<Option<Instant>>,
    tickets: AtomicU64,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub queue_length: usize,
    pub queue_timeout: Duration,
    /// How long an outage is waited out.
    pub patience: Duration,
    pub workers_per_upstream: u32,
}

/// A request's place in the order of arrival, which it keeps when it has to wait a second time.
#[derive(Debug)]
pub struct Visit {
    ticket: u64,
    pub arrived: Instant,
    deadline: Instant,
    /// It was let in before, to a replica that turned out to be gone.
    admitted: AtomicBool,
}

/// One worker of one replica. Dropping it gives the worker to the next in the queue.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    replica: ReplicaId,
    endpoint: Arc<Endpoint>,
    /// Its request is over.
    settling: bool,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{length} requests wait already")]
    QueueFull { length: usize },
    #[error("no worker was free within {0:?}")]
    QueueTimeout(Duration),
    #[error("no replica can be reached")]
    Unavailable,
}

#[derive(Debug)]
struct State {
    fleet: Fleet,
    queue: Queue<oneshot::Sender<Permit>>,
}

impl Admission {
    pub fn new(limits: Limits) -> Arc<Self> {
        let state = State { fleet: Fleet::new(limits.workers_per_upstream), queue: Queue::new() };
        Arc::new(Self {
            state: Mutex::new(state),
            // No replica is known yet, which is an outage like any other.
            outage: watch::Sender::new(Some(Instant::now())),
            tickets: AtomicU64::new(0),
            limits,
        })
    }

    pub fn arrive(&self) -> Visit {
        let arrived = Instant::now();
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        Visit {
            ticket,
            arrived,
            deadline: arrived + self.limits.queue_timeout,
            admitted: AtomicBool::new(false),
        }
    }

    /// A worker for this request. Dropping the future gives its place in the queue up.
    pub async fn admit(self: &Arc<Self>, visit: &Visit) -> Result<Permit, Refusal> {
        if Instant::now() >= visit.deadline {
            return Err(Refusal::QueueTimeout(self.limits.queue_timeout));
        }
        let mut waiting = match self.enter(visit)? {
            Entry::Now(permit) => return Ok(visit.admit(permit)),
            Entry::Later(waiting) => waiting,
        };
        let mut outage = self.outage.subscribe();
        loop {
            let impatient = outage.borrow_and_update().map(|since| since + self.limits.patience);
            let (end, refusal) = match impatient {
                Some(end) if end < visit.deadline => (end, Refusal::Unavailable),
                _ => (visit.deadline, Refusal::QueueTimeout(self.limits.queue_timeout)),
            };
            tokio::select! {
                biased;
                permit = &mut waiting.permit => {
                    return permit.map(|permit| visit.admit(permit)).map_err(|_| Refusal::Unavailable);
                }
                () = tokio::time::sleep_until(end) => return Err(refusal),
                // The sender lives as long as we do.
                _ = outage.changed() => {}
            }
        }
    }

    fn enter(self: &Arc<Self>, visit: &Visit) -> Result<Entry<'_>, Refusal> {
        let ticket = visit.ticket;
        let mut state = self.lock();
        if state.queue.is_first(ticket)
            && let Some((replica, endpoint)) = state.fleet.take()
        {
            return Ok(Entry::Now(Permit::new(self, replica, endpoint)));
        }
        let length = state.queue.len();
        // Who has waited already comes back to its place, if there is a queue at all: at most one a worker.
        let has_place = self.limits.queue_length > 0 && visit.admitted.load(Ordering::Relaxed);
        if length >= self.limits.queue_length && !has_place {
            return Err(Refusal::QueueFull { length });
        }
        let (sender, permit) = oneshot::channel();
        state.queue.insert(ticket, sender);
        Ok(Entry::Later(Waiting { admission: self, ticket, permit }))
    }

    /// A worker of this replica that nobody waits for: for a probe.
    pub fn spare(self: &Arc<Self>, replica: ReplicaId) -> Option<Permit> {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            return None;
        }
        let endpoint = state.fleet.take_from(replica)?;
        Some(Permit::new(self, replica, endpoint))
    }

    /// Notes what was seen of a replica.
    pub fn note(self: &Arc<Self>, replica: ReplicaId, sign: Sign) {
        self.change(|fleet| fleet.note(replica, sign, Instant::now()));
    }

    /// Follows the list of endpoints; gives back those that are new and want to be watched.
    pub fn follow(self: &Arc<Self>, endpoints: &[Endpoint]) -> Vec<Watched> {
        self.change(|fleet| fleet.follow(endpoints))
    }

    /// What is known of a replica; `None` when it is gone.
    pub fn standing(&self, replica: ReplicaId) -> Option<crate::backend::Standing> {
        self.lock().fleet.standing(replica)
    }

    /// Replicas as they are now, and how many requests wait.
    pub fn snapshot(&self) -> (Vec<Snapshot>, usize) {
        let state = self.lock();
        (state.fleet.snapshot(), state.queue.len())
    }

    /// Since when no replica can be used.
    pub fn outage(&self) -> Option<Duration> {
        self.outage.borrow().map(|since| since.elapsed())
    }

    fn release(self: &Arc<Self>, replica: ReplicaId, settling: bool) {
        self.change(|fleet| fleet.give_back(replica, settling));
    }

    /// Changes the fleet; then workers that are free now go to those who wait.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Fleet) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state.fleet);
        let usable = state.fleet.is_usable();
        self.outage.send_if_modified(|outage| match (usable, &outage) {
            (true, Some(_)) => outage.take().is_some(),
            (false, None) => outage.replace(Instant::now()).is_none(),
            _ => false,
        });
        drop(state);
        while let Some((waiting, permit)) = self.next_match() {
            // Whoever waited may have left just now: the permit comes back by its Drop.
            let _ = waiting.send(permit);
        }
        result
    }

    fn next_match(self: &Arc<Self>) -> Option<(oneshot::Sender<Permit>, Permit)> {
        let mut state = self.lock();
        if state.queue.is_empty() {
            return None;
        }
        let (replica, endpoint) = state.fleet.take()?;
        let waiting = state.queue.pop()?;
        Some((waiting, Permit::new(self, replica, endpoint)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if something did, counting on is better than refusing all.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    fn admit(&self, permit: Permit) -> Permit {
        self.admitted.store(true, Ordering::Relaxed);
        permit
    }
}

enum Entry<'a> {
    Now(Permit),
    Later(Waiting<'a>),
}

/// A place in the queue, given up on drop.
struct Waiting<'a> {
    admission: &'a Admission,
    ticket: u64,
    permit: oneshot::Receiver<Permit>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.admission.lock().queue.remove(self.ticket);
    }
}

impl Permit {
    fn new(admission: &Arc<Admission>, replica: ReplicaId, endpoint: Arc<Endpoint>) -> Self {
        Self { admission: Arc::clone(admission), replica, endpoint, settling: false }
    }

    pub fn accounting(&self) -> Accounting {
        self.admission.lock().fleet.accounting(self.replica)
    }

    /// The request is over; the worker is not free before this is dropped.
    pub fn leaves(&mut self) {
        if !self.settling {
            self.settling = true;
            self.admission.lock().fleet.settles(self.replica);
        }
    }

    /// Notes whether the worker has said that it is free.
    pub fn heard(&self, heard: Heard) {
        self.admission.lock().fleet.heard(self.replica, heard);
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Notes what was seen of the replica.
    pub fn note(&self, sign: Sign) {
        self.admission.note(self.replica, sign);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.release(self.replica, self.settling);
    }
}

#[cfg(test)]
mod tests;
