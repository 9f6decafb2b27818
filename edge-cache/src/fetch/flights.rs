//! One fetch for all requests that want the same thing at the same time.
//!
//! Who comes first leads; the others follow and learn the outcome. A leader that is dropped, for
//! whatever reason, closes its flight: followers then look again, and one of them leads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::SystemTime;

use http::request;
use tokio::sync::watch;

use super::FetchError;
use super::fill::{Fill, Reader};
use crate::invalidate::{Epoch, Epochs, Subject, Tags};
use crate::key::CacheKey;
use crate::policy::vary::{Selector, SelectorRef};
use crate::respond::{Answer, Verdict, from_fill, from_store};
use crate::store::{Head, Stored};

/// What became of a fetch.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A response that may be stored; its body is on the way.
    Filling(Arc<Filling>),
    /// The stored response was validated by a 304, asked for at this point in the order of invalidations.
    Validated(Arc<Stored>, Epoch),
    /// Only the leader may have this response: everybody else fetches alone.
    Alone,
    Failed(FetchError),
}

/// A response on its way into the store.
#[derive(Debug)]
pub struct Filling {
    pub key: CacheKey,
    pub head: Head,
    pub tags: Tags,
    /// When the origin was asked, in the order of invalidations.
    pub began: Epoch,
    pub fill: Arc<Fill>,
}

impl Filling {
    pub fn reader(&self) -> Option<Reader> {
        self.fill.reader()
    }

    fn is_current(&self, epochs: &Epochs) -> bool {
        let Self { key, head, tags, .. } = self;
        epochs.is_current(self.began, Subject { key, status: head.status, fields: head.fields(), tags })
    }
}

impl Outcome {
    /// Whether it is made of what was invalidated while it was on its way.
    pub fn is_outdated(&self, epochs: &Epochs) -> bool {
        match self {
            Self::Filling(filling) => !filling.is_current(epochs),
            Self::Validated(stored, began) => !epochs.is_current(*began, Subject::of(stored)),
            Self::Alone | Self::Failed(_) => false,
        }
    }

    /// Whether this is a response on its way that has announced more than `limit` bytes.
    pub fn is_longer_than(&self, limit: u64) -> bool {
        let Self::Filling(filling) = self else { return false };
        filling.head.length.is_some_and(|length| length > limit)
    }

    /// What a follower answers with; `None` when the outcome is not for a request like this, or is made of
    /// what was invalidated while it was on its way.
    pub fn into_answer(self, request: &request::Parts, verdict: Verdict, epochs: &Epochs) -> Option<Answer> {
        let (response, mut status) = match self {
            Self::Filling(filling)
                if filling.head.is_selected_by(&request.headers) && filling.is_current(epochs) =>
            {
                from_fill(request, &filling, filling.reader()?, verdict)
            }
            Self::Validated(stored, began)
                if stored.is_selected_by(&request.headers)
                    && epochs.is_current(began, Subject::of(&stored)) =>
            {
                from_store(request, &stored, verdict, SystemTime::now())
            }
            Self::Filling(_) | Self::Validated(..) | Self::Alone | Self::Failed(_) => return None,
        };
        status.collapsed = true;
        Some((response, status))
    }
}

/// The fetches that are under way.
#[derive(Debug, Default)]
pub struct Flights {
    by_key: Mutex<HashMap<CacheKey, Vec<Arc<Flight>>, ahash::RandomState>>,
}

#[derive(Debug)]
struct Flight {
    key: CacheKey,
    /// The request's fields that the stored response is known to vary on.
    selection: Selector,
    outcome: watch::Sender<Option<Outcome>>,
    began: Epoch,
    invalidated: AtomicBool,
}

/// A request's place in a flight.
#[derive(Debug)]
pub enum Seat {
    Leader(Lead),
    Follower(Follow),
}

/// The obligation to fetch. Dropping it ends the flight.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
}

/// The wish to know what became of somebody else's fetch.
#[derive(Debug)]
pub struct Follow(watch::Receiver<Option<Outcome>>);

impl Flights {
    /// Takes part in the fetch of `key` for requests with the same `selection`, or leads a new one. Nobody
    /// joins a fetch that was overtaken by an invalidation.
    pub fn join(self: &Arc<Self>, key: &CacheKey, selection: Selector, epochs: &Epochs) -> Seat {
        let mut by_key = self.lock();
        let flights = by_key.entry(key.clone()).or_default();
        flights.retain(|flight| flight.selection != selection || !flight.is_outdated(epochs));
        if let Some(flight) = flights.iter().find(|flight| flight.selection == selection) {
            return Seat::Follower(Follow(flight.outcome.subscribe()));
        }
        let flight = Arc::new(Flight::new(key, selection, epochs));
        flights.push(Arc::clone(&flight));
        Seat::Leader(Lead { flights: Arc::clone(self), flight })
    }

    /// A flight that nobody joins: to be told when `key` is invalidated.
    pub fn apart(self: &Arc<Self>, key: &CacheKey, epochs: &Epochs) -> Lead {
        // No request has this selection.
        let selection = SelectorRef::of_bytes(b"\xff").to_owned();
        let flight = Arc::new(Flight::new(key, selection, epochs));
        self.lock().entry(key.clone()).or_default().push(Arc::clone(&flight));
        Lead { flights: Arc::clone(self), flight }
    }

    /// What is being fetched under `key` must not be stored, nor joined by later requests.
    pub fn invalidate(&self, key: &CacheKey) {
        for flight in self.lock().remove(key).unwrap_or_default() {
            flight.invalidated.store(true, Ordering::SeqCst);
        }
    }

    /// Whether a fetch is under way that requests with this selection would take part in.
    pub fn has(&self, key: &CacheKey, selection: &Selector) -> bool {
        self.lock()
            .get(key)
            .is_some_and(|flights| flights.iter().any(|flight| flight.selection == *selection))
    }

    pub fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Vec<Arc<Flight>>, ahash::RandomState>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn new(key: &CacheKey, selection: Selector, epochs: &Epochs) -> Self {
        Self {
            key: key.clone(),
            selection,
            outcome: watch::Sender::new(None),
            began: epochs.begin(),
            invalidated: AtomicBool::new(false),
        }
    }

    fn is_outdated(&self, epochs: &Epochs) -> bool {
        match &*self.outcome.borrow() {
            Some(outcome) => outcome.is_outdated(epochs),
            None => epochs.is_outdated(self.began, &self.key),
        }
    }
}

impl Lead {
    /// When the fetch began, in the order of invalidations.
    pub fn began(&self) -> Epoch {
        self.flight.began
    }

    /// Tells the followers. A flight whose outcome is not [`Outcome::Filling`] is over with it.
    pub fn publish(&self, outcome: Outcome) {
        self.flight.outcome.send_replace(Some(outcome));
    }

    /// Whether the key was invalidated after this fetch began.
    pub fn is_invalidated(&self) -> bool {
        self.flight.invalidated.load(Ordering::SeqCst)
    }

    /// Completes when no follower is left, or none has come.
    pub async fn forsaken(&self) {
        self.flight.outcome.closed().await;
    }

    pub fn key(&self) -> &CacheKey {
        &self.flight.key
    }

    /// What tells this fetch from others of its key.
    pub fn selection(&self) -> &Selector {
        &self.flight.selection
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut by_key = self.flights.lock();
        if let Some(flights) = by_key.get_mut(&self.flight.key) {
            flights.retain(|flight| !Arc::ptr_eq(flight, &self.flight));
            if flights.is_empty() {
                by_key.remove(&self.flight.key);
            }
        }
    }
}

impl Follow {
    /// The outcome, or `None` when the leader was dropped without one.
    pub async fn outcome(mut self) -> Option<Outcome> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use common::http::forwarded::Scheme;
    use http::HeaderMap;

    use super::*;

    fn lead(flights: &Arc<Flights>, key: &CacheKey) -> Lead {
        match flights.join(key, Selector::default(), &Epochs::default()) {
            Seat::Leader(lead) => lead,
            Seat::Follower(_) => panic!("somebody leads already"),
        }
    }

    fn follow(flights: &Arc<Flights>, key: &CacheKey) -> Follow {
        match flights.join(key, Selector::default(), &Epochs::default()) {
            Seat::Follower(follow) => follow,
            Seat::Leader(_) => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn followers_learn_what_the_leader_publishes() {
        let flights = Arc::new(Flights::default());
        let key = CacheKey::new(Scheme::Http, "a", "/");
        let lead = lead(&flights, &key);
        let (first, second) = (follow(&flights, &key), follow(&flights, &key));
        let vary = HeaderMap::from_iter([(http::header::VARY, http::HeaderValue::from_static("cookie"))]);
        let other = Selector::of(&HeaderMap::new(), &vary, |_| false);
        let seat = flights.join(&key, other, &Epochs::default());
        assert!(matches!(seat, Seat::Leader(_)), "another selection");
        drop(seat);
        lead.publish(Outcome::Alone);
        assert!(matches!(first.outcome().await, Some(Outcome::Alone)));
        drop(lead);
        assert!(matches!(second.outcome().await, Some(Outcome::Alone)));
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn a_leader_that_is_dropped_strands_nobody() {
        let flights = Arc::new(Flights::default());
        let key = CacheKey::new(Scheme::Http, "a", "/");
        let first = lead(&flights, &key);
        let follower = follow(&flights, &key);
        drop(first);
        assert!(follower.outcome().await.is_none());
        lead(&flights, &key);
    }

    #[tokio::test]
    async fn a_flight_apart_is_joined_by_nobody_and_learns_of_invalidations() {
        let flights = Arc::new(Flights::default());
        let key = CacheKey::new(Scheme::Http, "a", "/");
        let (first, second) =
            (flights.apart(&key, &Epochs::default()), flights.apart(&key, &Epochs::default()));
        drop(lead(&flights, &key));
        flights.invalidate(&key);
        assert!(first.is_invalidated() && second.is_invalidated());
        drop((first, second));
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn an_invalidated_flight_is_not_joined() {
        let flights = Arc::new(Flights::default());
        let key = CacheKey::new(Scheme::Http, "a", "/");
        let old = lead(&flights, &key);
        flights.invalidate(&key);
        assert!(old.is_invalidated());
        let new = lead(&flights, &key);
        drop(old);
        assert!(!new.is_invalidated());
        assert_eq!(flights.len(), 1, "the old leader removes only its own flight");
    }
}
