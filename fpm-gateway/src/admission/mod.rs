//! Who may send a request to PHP, and when.
//!
//! 1. [`Admission::arrive`]: a request gets its [`Visit`], its place in the order of its lane and its deadline.
//! 2. [`Admission::admit`]: if nobody waits and a replica has a free worker, a [`Permit`] at once.
//! 3. Otherwise it waits in the [`Queue`], which is bounded, for as long as its deadline allows; or, when no
//!    replica can be reached at all, only until the outage is older than our patience.
//! 4. A permit that is dropped, for whatever reason, goes to the first of the lane whose turn it is ([`schedule`]) and
//!    whose kind has room ([`Cap`]).
//!
//! Everything that is known about replicas is behind one short lock, since every decision needs all of it.

mod queue;
mod schedule;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::net::Endpoint;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::backend::{Accounting, Fleet, Heard, ReplicaId, Sign, Snapshot, Taken, Watched};
use crate::lanes::{Cap, Lane, Route};
use queue::Queue;
use schedule::preference;

pub use queue::Line;
pub use schedule::{Busy, Shares};

/// The gate to all replicas.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    /// Since when no replica can be used; `None` while one can.
    outage: watch::Sender<Option<Instant>>,
    tickets: AtomicU64,
    limits: Limits,
    caps: Vec<Cap>,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of each lane.
    pub queue_length: usize,
    /// By lane.
    pub queue_timeout: [Duration; 3],
    pub shares: Shares,
    /// How long an outage is waited out.
    pub patience: Duration,
    pub workers_per_upstream: u32,
    /// How long a replica that appears is spared.
    pub slow_start: Duration,
}

/// A request's place in the order of arrival, which it keeps when it has to wait a second time.
#[derive(Debug)]
pub struct Visit {
    route: Route,
    ticket: u64,
    pub arrived: Instant,
    deadline: Instant,
    timeout: Duration,
    /// It was let in before, to a replica that turned out to be gone.
    admitted: AtomicBool,
}

/// One worker of one replica. Dropping it gives the worker to the next in the queue.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    replica: ReplicaId,
    endpoint: Arc<Endpoint>,
    /// What was known of the replica when it was given.
    accounting: Accounting,
    /// `None` for a probe.
    route: Option<Route>,
    end: End,
}

/// What is noted of a worker when it is given back, all in one step.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    /// Its request is over, which is noted already.
    settling: bool,
    /// Its response was complete.
    served: bool,
    /// Whether it has said that it is free.
    heard: Option<Heard>,
}

/// A replica that is out of use for a while, since its requests fail.
#[derive(Debug)]
pub struct Ejection {
    admission: Arc<Admission>,
    replica: ReplicaId,
    pub endpoint: Arc<Endpoint>,
    /// For how long at least.
    pub pause: Duration,
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
    /// By lane.
    busy: Busy,
    /// By kind.
    capped: Vec<u32>,
    /// Some replica could be used when that was last looked at.
    usable: bool,
}

/// All that is known at one moment.
#[derive(Debug, Clone)]
pub struct Overview {
    pub replicas: Vec<Snapshot>,
    /// Requests that wait, by lane.
    pub lines: [Line; 3],
    pub busy: Busy,
    /// Busy workers of each kind that is bounded.
    pub capped: Vec<u32>,
}

impl Overview {
    pub fn queued(&self) -> usize {
        self.lines.iter().map(|line| line.length).sum()
    }
}

impl Admission {
    pub fn new(limits: Limits, caps: Vec<Cap>) -> Arc<Self> {
        let state = State {
            fleet: Fleet::new(limits.workers_per_upstream, limits.slow_start),
            queue: Queue::new(),
            busy: Busy::default(),
            capped: vec![0; caps.len()],
            usable: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            // No replica is known yet, which is an outage like any other.
            outage: watch::Sender::new(Some(Instant::now())),
            tickets: AtomicU64::new(0),
            limits,
            caps,
        })
    }

    pub fn arrive(&self, route: Route) -> Visit {
        let arrived = Instant::now();
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let [interactive, anonymous, background] = self.limits.queue_timeout;
        let timeout = match route.lane {
            Lane::Interactive => interactive,
            Lane::Anonymous => anonymous,
            Lane::Background => background,
        };
        Visit {
            route,
            ticket,
            arrived,
            deadline: arrived + timeout,
            timeout,
            admitted: AtomicBool::new(false),
        }
    }

    /// A worker for this request. Dropping the future gives its place in the queue up.
    pub async fn admit(self: &Arc<Self>, visit: &Visit) -> Result<Permit, Refusal> {
        if Instant::now() >= visit.deadline {
            return Err(Refusal::QueueTimeout(visit.timeout));
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
                _ => (visit.deadline, Refusal::QueueTimeout(visit.timeout)),
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
        let (route, ticket) = (visit.route, visit.ticket);
        let mut state = self.lock();
        if state.queue.is_empty()
            && state.permits(route, &self.limits, &self.caps)
            && let Some(taken) = state.take(route)
        {
            return Ok(Entry::Now(Permit::new(self, taken, Some(route))));
        }
        let length = state.queue.length_of(route.lane);
        // Who has waited already comes back to its place, if there is a queue at all: at most one a worker.
        let has_place = self.limits.queue_length > 0 && visit.admitted.load(Ordering::Relaxed);
        if length >= self.limits.queue_length && !has_place {
            return Err(Refusal::QueueFull { length });
        }
        let (sender, permit) = oneshot::channel();
        state.queue.insert(route, ticket, visit.arrived, sender);
        drop(state);
        let waiting = Waiting { admission: self, route, ticket, permit };
        // Those who wait may wait for something else than what this one needs.
        self.dispatch();
        Ok(Entry::Later(waiting))
    }

    /// A worker of this replica that nobody waits for: for a probe.
    pub fn spare(self: &Arc<Self>, replica: ReplicaId) -> Option<Permit> {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            return None;
        }
        let taken = state.fleet.take_from(replica)?;
        Some(Permit::new(self, taken, None))
    }

    /// Notes what was seen of a replica.
    pub fn note(self: &Arc<Self>, replica: ReplicaId, sign: Sign) {
        self.change(|fleet| fleet.note(replica, sign, Instant::now()));
    }

    /// Follows the list of endpoints; gives back those that are new and want to be watched.
    pub fn follow(self: &Arc<Self>, endpoints: &[Endpoint]) -> Vec<Watched> {
        self.change(|fleet| fleet.follow(endpoints))
    }

    /// From now on this percentage of each replica's workers may be busy, and at least one.
    pub fn limit(self: &Arc<Self>, percent: u8) {
        self.change(|fleet| fleet.limit(percent));
    }

    /// There are so many gateways, and this is the one in that place.
    pub fn divide(self: &Arc<Self>, gateways: u32, place: Option<u32>) {
        self.change(|fleet| fleet.divide(gateways, place));
    }

    /// The size of a replica's pool, by its own word.
    pub fn learn(self: &Arc<Self>, replica: ReplicaId, workers: u32) {
        self.change(|fleet| fleet.learn(replica, workers));
    }

    /// What is known of a replica; `None` when it is gone.
    pub fn standing(&self, replica: ReplicaId) -> Option<crate::backend::Standing> {
        self.lock().fleet.standing(replica)
    }

    pub fn overview(&self) -> Overview {
        let state = self.lock();
        Overview {
            replicas: state.fleet.snapshot(),
            lines: Lane::ALL.map(|lane| state.queue.line(lane)),
            busy: state.busy,
            capped: state.capped.clone(),
        }
    }

    pub fn caps(&self) -> &[Cap] {
        &self.caps
    }

    /// Since when no replica can be used.
    pub fn outage(&self) -> Option<Duration> {
        self.outage.borrow().map(|since| since.elapsed())
    }

    fn release(self: &Arc<Self>, replica: ReplicaId, route: Option<Route>, end: End) {
        self.alter(|state| {
            if let Some(route) = route {
                state.leave(route);
            }
            if end.served {
                state.fleet.note(replica, Sign::Served, Instant::now());
            }
            if let Some(heard) = end.heard {
                state.fleet.heard(replica, heard);
            }
            state.fleet.give_back(replica, end.settling);
        });
    }

    /// Changes the fleet; then workers that are free now go to those who wait.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Fleet) -> T) -> T {
        self.alter(|state| change(&mut state.fleet))
    }

    fn alter<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let usable = state.fleet.is_usable();
        if usable != state.usable {
            state.usable = usable;
            self.outage.send_replace((!usable).then(Instant::now));
        }
        let somebody_waits = !state.queue.is_empty();
        drop(state);
        if somebody_waits {
            self.dispatch();
        }
        result
    }

    /// Gives workers that are free to those who wait.
    fn dispatch(self: &Arc<Self>) {
        while let Some((waiting, permit)) = self.next_match() {
            // Whoever waited may have left just now: the permit comes back by its Drop.
            let _ = waiting.send(permit);
        }
    }

    fn next_match(self: &Arc<Self>) -> Option<(oneshot::Sender<Permit>, Permit)> {
        let mut state = self.lock();
        if state.queue.is_empty() || !state.fleet.has_room() {
            return None;
        }
        let (total, busy) = (state.fleet.capacity(), state.busy);
        let State { queue, capped, .. } = &mut *state;
        let has_room = |cap: usize| has_room(&self.caps, capped, cap);
        let mut lanes = preference(busy, total).into_iter();
        let (route, waiting) = lanes.find_map(|lane| {
            let may = self.limits.shares.permit(lane, busy, total);
            may.then(|| queue.pop(lane, has_room)).flatten()
        })?;
        let taken = state.take(route)?;
        Some((waiting, Permit::new(self, taken, Some(route))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if something did, counting on is better than refusing all.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_room(caps: &[Cap], capped: &[u32], cap: usize) -> bool {
    caps.get(cap).zip(capped.get(cap)).is_none_or(|(cap, busy)| *busy < cap.workers)
}

impl State {
    /// Whether a request of this lane and kind may have a worker, if there is one.
    fn permits(&self, route: Route, limits: &Limits, caps: &[Cap]) -> bool {
        limits.shares.permit(route.lane, self.busy, self.fleet.capacity())
            && route.cap.is_none_or(|cap| has_room(caps, &self.capped, cap))
    }

    fn take(&mut self, route: Route) -> Option<Taken> {
        let taken = self.fleet.take()?;
        self.busy.add(route.lane);
        if let Some(busy) = route.cap.and_then(|cap| self.capped.get_mut(cap)) {
            *busy += 1;
        }
        Some(taken)
    }

    fn leave(&mut self, route: Route) {
        self.busy.remove(route.lane);
        if let Some(busy) = route.cap.and_then(|cap| self.capped.get_mut(cap)) {
            *busy = busy.saturating_sub(1);
        }
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
    route: Route,
    ticket: u64,
    permit: oneshot::Receiver<Permit>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.admission.lock().queue.remove(self.route, self.ticket);
    }
}

impl Permit {
    fn new(admission: &Arc<Admission>, taken: Taken, route: Option<Route>) -> Self {
        let Taken { replica, endpoint, accounting } = taken;
        Self { admission: Arc::clone(admission), replica, endpoint, accounting, route, end: End::default() }
    }

    pub const fn accounting(&self) -> Accounting {
        self.accounting
    }

    /// The response is complete.
    pub const fn served(&mut self) {
        self.end.served = true;
    }

    /// Whether the worker has said that it is free.
    pub const fn heard(&mut self, heard: Heard) {
        self.end.heard = Some(heard);
    }

    /// The request is over, which is noted now; the worker is not free before this is dropped.
    pub fn leaves(&mut self) {
        if self.end.settling {
            return;
        }
        self.end.settling = true;
        let served = std::mem::take(&mut self.end.served);
        self.admission.change(|fleet| {
            if served {
                fleet.note(self.replica, Sign::Served, Instant::now());
            }
            fleet.settles(self.replica);
        });
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its request has failed as only a gateway sees it; the ejection that may follow.
    pub fn failed(&self) -> Option<Ejection> {
        let pause = self.admission.change(|fleet| fleet.failed(self.replica))?;
        let (admission, endpoint) = (Arc::clone(&self.admission), Arc::clone(&self.endpoint));
        Some(Ejection { admission, replica: self.replica, endpoint, pause })
    }

    /// Notes what was seen of the replica.
    pub fn note(&self, sign: Sign) {
        self.admission.note(self.replica, sign);
    }
}

impl Ejection {
    /// `None` when the replica is gone.
    pub fn standing(&self) -> Option<crate::backend::Standing> {
        self.admission.standing(self.replica)
    }

    pub fn note(&self, sign: Sign) {
        self.admission.note(self.replica, sign);
    }

    pub fn end(self) {
        self.admission.change(|fleet| fleet.readmit(self.replica));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.release(self.replica, self.route, self.end);
    }
}

#[cfg(test)]
mod tests;
