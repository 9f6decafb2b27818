//! The fetch that a leader makes, in a task of its own: a client that leaves takes nothing from others.
//!
//! 1. Look once more: somebody may have stored the response since.
//! 2. Ask the origin, with the stored response's validators if there is one.
//! 3. A 304 freshens what is stored.
//! 4. What may not be stored is the leader's alone, and the URL is remembered (hit-for-miss).
//! 5. Everything else fills a body that leader and followers read while it comes, and is stored whole.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CONTENT_LENGTH, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{Response, StatusCode, request, response};
use http_body_util::{BodyExt as _, Either, Empty};
use tokio::sync::oneshot;

use super::FetchError;
use super::fill::{Fill, Reader, Truncated};
use super::flights::{Filling, Lead, Outcome, Seat};
use super::origin::OriginBody;
use super::pass::{is_server_error, send};
use crate::cache::Cache;
use crate::invalidate::Mode;
use crate::invalidate::epochs::Epoch;
use crate::policy::cache_control::CacheControl;
use crate::policy::freshness::Freshness;
use crate::policy::reuse::{self, Failure, Reuse};
use crate::policy::storable::{NotStored, storable};
use crate::policy::update;
use crate::policy::vary::Selector;
use crate::request::Normalised;
use crate::respond::{Answer, Body, CacheStatus, Verdict, from_fill, from_store, tags};
use crate::store::{Head, Lookup, Stored};

/// What the leader's own client gets.
#[derive(Debug)]
pub enum Led {
    Filling(Arc<Filling>, Reader),
    Validated(Arc<Stored>),
    NotStored(Box<response::Parts>, OriginBody, NotStored),
    /// Stored by somebody else in the meantime.
    Found(Arc<Stored>),
}

impl Led {
    pub fn into_answer(self, request: &request::Parts, verdict: Verdict) -> Answer {
        match self {
            Self::Filling(filling, reader) => from_fill(request, &filling, reader, verdict),
            Self::Validated(stored) => from_store(request, &stored, verdict, SystemTime::now()),
            Self::Found(stored) => from_store(request, &stored, Verdict::Hit, SystemTime::now()),
            Self::NotStored(mut head, body, why) => {
                tags::strip(&mut head.headers);
                let mut status = CacheStatus::new(verdict);
                status.stored = Some(Err(why));
                (Response::from_parts(*head, Body::passed(body)), status)
            }
        }
    }
}

/// Fetches for `request` and whoever follows it. Dropping the future leaves the fetch going.
pub async fn lead(
    cache: &Arc<Cache>,
    lead: Lead,
    request: &Normalised,
    stored: Option<Arc<Stored>>,
) -> Result<Led, FetchError> {
    let (leader, told) = oneshot::channel();
    cache.shutdown.spawn(Fetch::new(cache, lead, request, stored).run(leader));
    told.await.unwrap_or_else(|_| Err(FetchError::Broken("the service is ending".into())))
}

/// Brings a stale response up to date while it is being served, unless somebody does so already.
pub fn refresh(cache: &Arc<Cache>, request: &Normalised, found: &Lookup, stored: &Arc<Stored>) {
    if let Seat::Leader(lead) = cache.flights.join(&request.key, found.selection(&request.head.headers)) {
        let fetch = Fetch::new(cache, lead, request, Some(Arc::clone(stored)));
        cache.shutdown.spawn(fetch.run(oneshot::channel().0));
    }
}

/// Where the leader's client waits; it may have gone.
type Leader = oneshot::Sender<Result<Led, FetchError>>;

struct Fetch {
    cache: Arc<Cache>,
    lead: Lead,
    request: request::Parts,
    stored: Option<Arc<Stored>>,
    /// What is invalidated from here on may be what the origin's answer is made of.
    began: Epoch,
}

impl Fetch {
    fn new(cache: &Arc<Cache>, lead: Lead, request: &Normalised, stored: Option<Arc<Stored>>) -> Self {
        let began = cache.epochs.begin();
        Self { cache: Arc::clone(cache), lead, request: request.head.clone(), stored, began }
    }

    async fn run(mut self, leader: Leader) {
        if let Some(found) = self.already_stored() {
            self.lead.publish(Outcome::Validated(Arc::clone(&found)));
            let _ = leader.send(Ok(Led::Found(found)));
            return;
        }
        let (head, body, times) = match self.ask().await {
            Ok(answer) => answer,
            Err(error) => {
                self.lead.publish(Outcome::Failed(error.clone()));
                let _ = leader.send(Err(error));
                return;
            }
        };
        if let Some(stored) = self.stored.take_if(|_| head.status == StatusCode::NOT_MODIFIED) {
            let stored = self.validated(&stored, &head, times);
            self.lead.publish(Outcome::Validated(Arc::clone(&stored)));
            let _ = leader.send(Ok(Led::Validated(stored)));
            return;
        }
        if is_server_error(head.status) && self.may_serve_stale() {
            let error = FetchError::ServerError(head.status);
            self.lead.publish(Outcome::Failed(error.clone()));
            let _ = leader.send(Err(error));
            return;
        }
        let directives = CacheControl::of(&head.headers);
        let freshness =
            Freshness::of(head.status, &head.headers, &directives, times.requested, times.received);
        match self.storable(&head, &directives, &freshness) {
            Ok(()) => self.fill(head, body, directives, freshness, leader).await,
            Err(why) => {
                self.not_stored(&head, why);
                self.lead.publish(Outcome::Alone);
                let _ = leader.send(Ok(Led::NotStored(Box::new(head), body, why)));
            }
        }
    }

    fn already_stored(&self) -> Option<Arc<Stored>> {
        let Lookup::Found(found) = self.cache.store.lookup(self.lead.key(), &self.request.headers) else {
            return None;
        };
        let known = self.stored.as_ref().is_some_and(|known| Arc::ptr_eq(known, &found));
        let wishes = CacheControl::of(&self.request.headers);
        let fresh = reuse::reuse(found.terms(), &wishes, SystemTime::now()) == Reuse::Fresh;
        (!known && fresh).then_some(found)
    }

    /// Asks with the stored response's validators, not with the client's conditions and ranges: those are
    /// answered from what will be stored.
    async fn ask(&self) -> Result<(response::Parts, OriginBody, Times), FetchError> {
        let mut head = self.request.clone();
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
            head.headers.remove(name);
        }
        if let Some(stored) = &self.stored {
            for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
                if let Some(value) = stored.head.get(&validator) {
                    head.headers.insert(condition, value.clone());
                }
            }
        }
        let requested = SystemTime::now();
        let (response, body) = send(&self.cache, head, Either::Left(Empty::new())).await?;
        Ok((response, body, Times { requested, received: SystemTime::now() }))
    }

    fn validated(&self, stored: &Stored, not_modified: &response::Parts, times: Times) -> Arc<Stored> {
        let mut headers = stored.head.to_headers();
        update::freshen(&mut headers, &not_modified.headers);
        let directives = CacheControl::of(&headers);
        let status = stored.head.status;
        let freshness = Freshness::of(status, &headers, &directives, times.requested, times.received);
        let selector = Selector::of(&self.request.headers, &headers);
        let may_stay =
            storable(&self.request.method, &self.request.headers, status, &headers, &directives, &freshness);
        let tags = tags::of(&headers);
        tags::strip(&mut headers);
        let head = Head::new(status, &headers, directives, freshness, selector);
        let stored = Arc::new(stored.freshened(head, tags));
        match may_stay {
            Ok(()) => self.store(&stored),
            Err(_) => {
                self.cache.store.remove(self.lead.key());
            }
        }
        stored
    }

    fn may_serve_stale(&self) -> bool {
        let wishes = CacheControl::of(&self.request.headers);
        self.stored.as_ref().is_some_and(|stored| {
            let keep = self.cache.config.keep;
            reuse::stale_after(stored.terms(), &wishes, Failure::ServerError, keep, SystemTime::now())
        })
    }

    fn storable(
        &self,
        head: &response::Parts,
        directives: &CacheControl,
        freshness: &Freshness,
    ) -> Result<(), NotStored> {
        let Self { request, .. } = self;
        storable(&request.method, &request.headers, head.status, &head.headers, directives, freshness)?;
        let length: Option<u64> =
            head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length| length > self.cache.config.max_object) {
            return Err(NotStored::TooLarge);
        }
        Ok(())
    }

    fn not_stored(&self, head: &response::Parts, why: NotStored) {
        self.cache.metrics.not_stored(why.as_str());
        // What is about this request or this moment says nothing of the next.
        let of_the_url = !matches!(
            why,
            NotStored::Authorization | NotStored::RequestNoStore | NotStored::Budget | NotStored::Invalidated
        );
        if of_the_url && !head.status.is_server_error() {
            // It has taken the place of what was stored.
            self.cache.store.remove(self.lead.key());
            self.cache.store.remember_uncacheable(self.lead.key());
        }
    }

    async fn fill(
        self,
        head: response::Parts,
        body: OriginBody,
        directives: CacheControl,
        freshness: Freshness,
        leader: Leader,
    ) {
        let mut headers = head.headers;
        for name in &directives.withheld_fields {
            headers.remove(name);
        }
        let selector = Selector::of(&self.request.headers, &headers);
        let tags = tags::of(&headers);
        tags::strip(&mut headers);
        let head = Head::new(head.status, &headers, directives, freshness, selector);
        let fill = Fill::new(Arc::clone(&self.cache.budget), self.cache.config.max_object);
        let filling = Arc::new(Filling { head, tags, began: self.began, fill });
        // The leader's place is taken first, so that the fill never looks abandoned.
        let reader = filling.reader();
        self.lead.publish(Outcome::Filling(Arc::clone(&filling)));
        if let Some(reader) = reader {
            let _ = leader.send(Ok(Led::Filling(Arc::clone(&filling), reader)));
        }
        self.cache.metrics.fills.inc();
        let filled = pump(body, &filling.fill).await;
        self.cache.metrics.fills.dec();
        match filled {
            Ok(chunks) => {
                let key = self.lead.key().clone();
                self.store(&Arc::new(Stored::new(key, filling.head.clone(), filling.tags.clone(), &chunks)));
            }
            Err(why) => {
                self.cache.metrics.not_stored(why.as_str());
                if why == NotStored::TooLarge {
                    self.cache.store.remember_uncacheable(self.lead.key());
                }
            }
        }
    }

    /// Stores, unless what the response is made of was invalidated after it was asked for.
    fn store(&self, stored: &Arc<Stored>) {
        let outdated =
            || self.lead.is_invalidated() || !self.cache.epochs.is_current(self.began, &stored.tags);
        if outdated() {
            self.cache.metrics.not_stored(NotStored::Invalidated.as_str());
            return;
        }
        self.cache.store.insert(self.lead.key(), stored);
        self.cache.tags.add(stored);
        // An invalidation writes itself down before it looks for what is stored: one that came before the
        // insertion is seen here, a later one has found it.
        if outdated() {
            stored.invalidate(Mode::Hard, SystemTime::now());
            self.cache.store.remove_gone(self.lead.key());
            self.cache.metrics.not_stored(NotStored::Invalidated.as_str());
            return;
        }
        self.cache.metrics.stored.inc();
    }
}

/// When the origin was asked and when it answered.
#[derive(Debug, Clone, Copy)]
struct Times {
    requested: SystemTime,
    received: SystemTime,
}

/// Reads the body to its end, or as long as somebody wants it.
async fn pump(mut body: OriginBody, fill: &Fill) -> Result<Vec<bytes::Bytes>, NotStored> {
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && fill.push(data).await.is_err()
                {
                    return fill.finish(Err(Truncated));
                }
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the origin's response ended early");
                return fill.finish(Err(Truncated));
            }
            None => return fill.finish(Ok(())),
        }
    }
}
