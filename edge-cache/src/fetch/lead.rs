//! The fetch that a leader makes, in a task of its own: a client that leaves takes nothing from others.
//!
//! 1. Look once more: somebody may have stored the response since.
//! 2. Ask the origin, with the stored response's validators if there is one.
//! 3. A 304 freshens what is stored.
//! 4. What may not be stored is the leader's alone, and the URL is remembered (hit-for-miss).
//! 5. Everything else fills a body that leader and followers read while it comes, and is stored whole.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, request, response};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use super::fill::{Fill, Reader, Truncated};
use super::flights::{Filling, Lead, Outcome, Seat};
use super::origin::{OriginBody, RequestBody};
use super::pass::{is_server_error, send};
use super::{FetchError, OriginTime};
use crate::cache::Cache;
use crate::coding::{Compression, prepare, prepare::is_needed};
use crate::invalidate::{Epoch, Mode, Tags};
use crate::live::Live;
use crate::policy::cache_control::CacheControl;
use crate::policy::coding::Coding;
use crate::policy::freshness::Freshness;
use crate::policy::part::Part;
use crate::policy::reuse::{self, Failure, Reuse};
use crate::policy::storable::{NotStored, storable};
use crate::policy::{targeted, update};
use crate::request::Normalised;
use crate::respond::{Answer, Body, CacheStatus, Verdict, from_fill, from_store, tags};
use crate::rules::{Orders, ResponseOrders};
use crate::store::{Content, Head, Lookup, OwnLimits, Stored};

/// What the leader's own client gets.
#[derive(Debug)]
pub enum Led {
    /// The response that fills the store, with the fields that are for this client alone.
    Filling(Arc<Filling>, Reader, HeaderMap),
    /// The response that a 304 has validated, with the fields of the 304 that are for this client alone,
    /// and whether it stays in the store.
    Validated(Arc<Stored>, HeaderMap, Result<(), NotStored>),
    NotStored(Box<response::Parts>, OriginBody, NotStored),
    /// Stored by somebody else in the meantime.
    Found(Arc<Stored>),
}

impl Led {
    pub fn into_answer(self, request: &request::Parts, verdict: Verdict) -> Answer {
        match self {
            Self::Filling(filling, reader, own) => with(from_fill(request, &filling, reader, verdict), own),
            Self::Validated(stored, own, stays) => {
                let (response, mut status) =
                    with(from_store(request, &stored, verdict, SystemTime::now()), own);
                status.stored = Some(stays);
                (response, status)
            }
            Self::Found(stored) => from_store(request, &stored, Verdict::Hit, SystemTime::now()),
            Self::NotStored(mut head, body, why) => {
                tags::strip(&mut head.headers);
                let mut status = CacheStatus::new(verdict);
                status.stored = Some(Err(why));
                let body = if request.method == Method::HEAD { Body::empty() } else { Body::passed(body) };
                (Response::from_parts(*head, body), status)
            }
        }
    }
}

/// Adds the fields that only one client may have.
fn with((mut response, status): Answer, own: HeaderMap) -> Answer {
    let mut last = None;
    for (name, value) in own {
        // A repeated field comes without its name.
        last = name.or(last);
        if let Some(name) = &last {
            response.headers_mut().append(name.clone(), value);
        }
    }
    (response, status)
}

/// Fetches for `request` and whoever follows it: the whole, or `by_range` what the request asks for. Dropping the future leaves the fetch going.
pub async fn lead(
    cache: &Arc<Cache>,
    lead: Lead,
    request: &Normalised,
    stored: Option<Arc<Stored>>,
    by_range: bool,
) -> Result<Led, FetchError> {
    let (leader, told) = oneshot::channel();
    let fetch = Fetch { by_range, ..Fetch::new(cache, lead, request, stored) };
    cache.shutdown.spawn(fetch.run(Some(leader)));
    told.await.unwrap_or_else(|_| Err(FetchError::Broken("the service is ending".into())))
}

/// Takes the response to a POST as the answer to later GETs (RFC 9110, section 9.3.3). `request` is what such a GET
/// would be, `lead` that of a flight that nobody joins.
pub async fn adopt(
    cache: &Arc<Cache>,
    lead: Lead,
    request: &Normalised,
    began: Epoch,
    times: Times,
    (head, body): (response::Parts, OriginBody),
) -> Result<Led, FetchError> {
    let (leader, told) = oneshot::channel();
    let fetch = Fetch {
        cache: Arc::clone(cache),
        lead,
        live: Arc::clone(&request.live),
        orders: request.orders,
        request: request.head.clone(),
        stored: None,
        ranged: false,
        origin_time: request.origin_time.clone(),
        began,
        by_range: false,
    };
    cache.shutdown.spawn(fetch.take(head, body, times, Some(leader)));
    told.await.unwrap_or_else(|_| Err(FetchError::Broken("the service is ending".into())))
}

/// Brings a stale response up to date while it is being served, unless somebody does so already.
pub fn refresh(cache: &Arc<Cache>, request: &Normalised, found: &Lookup, stored: &Arc<Stored>) {
    let selection = found.selection(&request.head.headers);
    if let Seat::Leader(lead) = cache.flights.join(&request.key, selection, &cache.epochs) {
        let mut fetch = Fetch::new(cache, lead, request, Some(Arc::clone(stored)));
        // Nobody waits: what is in use is fetched whole, as it was.
        fetch.ranged = false;
        cache.shutdown.spawn(fetch.run(None));
    }
}

/// Where the leader's client waits; it may have gone. A refresh behind a stale answer has none.
type Leader = Option<oneshot::Sender<Result<Led, FetchError>>>;

fn tell(leader: Leader, led: Result<Led, FetchError>) {
    if let Some(leader) = leader {
        // Who has gone does not want to know.
        let _ = leader.send(led);
    }
}

struct Fetch {
    cache: Arc<Cache>,
    lead: Lead,
    request: request::Parts,
    live: Arc<Live>,
    orders: Orders,
    stored: Option<Arc<Stored>>,
    /// The client waits for a range of the response only.
    ranged: bool,
    /// For the leader's line in the access log.
    origin_time: OriginTime,
    /// What is invalidated from here on may be what the origin's answer is made of.
    began: Epoch,
    /// The request's range is asked for, as it is.
    by_range: bool,
}

impl Fetch {
    fn new(cache: &Arc<Cache>, lead: Lead, request: &Normalised, stored: Option<Arc<Stored>>) -> Self {
        let began = lead.began();
        // Gone since it was found: not to be validated, since it would come back.
        let stored = stored.filter(|stored| !stored.is_gone());
        let (live, orders) = (Arc::clone(&request.live), request.orders);
        let (ranged, origin_time) = (request.is_ranged(), request.origin_time.clone());
        let mut request = request.head.clone();
        // A HEAD is answered from a stored GET: it is one that is fetched (as Varnish does).
        request.method = Method::GET;
        Self {
            cache: Arc::clone(cache),
            lead,
            request,
            live,
            orders,
            stored,
            ranged,
            origin_time,
            began,
            by_range: false,
        }
    }

    async fn run(mut self, mut leader: Leader) {
        if let Some(found) = self.already_stored() {
            self.lead.publish(Outcome::Validated(Arc::clone(&found), self.began));
            tell(leader, Ok(Led::Found(found)));
            return;
        }
        let asked = tokio::select! {
            asked = self.ask() => asked,
            // Nobody waits any more: PHP is not kept busy for it.
            () = forsaken(&mut leader, &self.lead) => return,
        };
        let (head, body, times) = match asked {
            Ok(answer) => answer,
            Err(error) => {
                self.lead.publish(Outcome::Failed(error.clone()));
                tell(leader, Err(error));
                return;
            }
        };
        if let Some(stored) = self.stored.take_if(|_| head.status == StatusCode::NOT_MODIFIED) {
            self.validated(&stored, &head, times, leader);
            return;
        }
        if is_server_error(head.status) && self.may_serve_stale() {
            let error = FetchError::ServerError(head.status);
            self.lead.publish(Outcome::Failed(error.clone()));
            tell(leader, Err(error));
            return;
        }
        self.take(head, body, times, leader).await;
    }

    /// Stores a response, or gives it to the leader alone.
    async fn take(self, mut head: response::Parts, body: OriginBody, times: Times, leader: Leader) {
        let part = self.part(&mut head);
        // A part is stored if the whole would be.
        let status = if part.is_some() { StatusCode::OK } else { head.status };
        let live = Arc::clone(&self.live);
        let wanted = self.orders.response(&live.config.rules, head.status, &head.headers);
        let seen = wanted.seen(&head.headers);
        let directives = wanted.directives(self.directives(&seen));
        let freshness = Freshness::of(status, &seen, &directives, times.requested, times.received);
        let freshness = wanted.freshness(freshness);
        let verdict = self.storable(status, &seen, &directives, &freshness);
        drop(seen);
        let refused = match verdict {
            Ok(()) => {
                if let Some(part) = part {
                    self.fetch_whole(part);
                }
                let mut headers = head.headers.clone();
                wanted.edit_stored(&mut headers);
                let own = take_withheld(&mut headers, &directives);
                let tags = self.cache.tags.tags(&tags::of(&headers));
                tags::strip(&mut headers);
                let stored = self.head(head.status, headers, &directives, freshness, &wanted);
                match self.admits(&stored) {
                    Ok(()) => return self.fill(stored, tags, own, body, leader).await,
                    Err(why) => why,
                }
            }
            Err(why) => why,
        };
        wanted.edit(&mut head.headers);
        self.not_stored(&head, refused);
        // Somebody who follows may want the whole: they look again.
        if refused != NotStored::RangeLimit {
            self.lead.publish(Outcome::Alone);
        }
        tell(leader, Ok(Led::NotStored(Box::new(head), body, refused)));
    }

    /// The part that was asked for, if the response is one. All of the response is the response itself.
    fn part(&self, head: &mut response::Parts) -> Option<Part> {
        let part = Part::of(head.status, &head.headers).filter(|_| self.by_range)?;
        if part.is_whole() {
            head.status = StatusCode::OK;
            head.headers.remove(CONTENT_RANGE);
            return None;
        }
        Some(part)
    }

    /// Now that it is known how long the whole is and that it may be stored, it is fetched behind the part, so
    /// that the next range is answered from it.
    fn fetch_whole(&self, part: Part) {
        if part.complete().is_none_or(|complete| complete > self.live.config.max_object) {
            return;
        }
        let Self { cache, live, request, .. } = self;
        let found = cache.store.lookup(self.lead.key(), &request.headers);
        let selection = found.selection(&request.headers);
        if let Seat::Leader(lead) = cache.flights.join(self.lead.key(), selection, &cache.epochs) {
            let began = lead.began();
            let mut request = request.clone();
            request.extensions.clear();
            let (cache, live) = (Arc::clone(cache), Arc::clone(live));
            let orders = self.orders;
            let fetch = Self {
                cache,
                lead,
                live,
                orders,
                request,
                stored: None,
                ranged: false,
                // Nobody waits for it.
                origin_time: OriginTime::default(),
                began,
                by_range: false,
            };
            self.cache.shutdown.spawn(fetch.run(None));
        }
    }

    /// Whether there is a place for this variant, and the client that it was fetched for could have it.
    fn admits(&self, head: &Head) -> Result<(), NotStored> {
        if head.form(&self.request.headers).is_none() {
            return Err(NotStored::Coding);
        }
        let (Cache { store, metrics, .. }, config) = (&*self.cache, &self.live.config);
        let key = self.lead.key();
        store.admits(key, &head.selector, config.max_variants).map_err(|exploded| {
            metrics.exploded(&exploded.header);
            if store.note_exploded(key) {
                let (header, max) = (&*exploded.header, config.max_variants);
                tracing::warn!(url = %key, header, max, "too many variants: responses for more are not stored");
            }
            NotStored::VariantBudget
        })
    }

    fn already_stored(&self) -> Option<Arc<Stored>> {
        let Lookup::Found(found) = self.cache.store.lookup(self.lead.key(), &self.request.headers) else {
            return None;
        };
        let known = self.stored.as_ref().is_some_and(|known| Arc::ptr_eq(known, &found));
        let wishes = CacheControl::of(&self.request.headers);
        let fresh =
            reuse::reuse(found.terms(self.live.config.stale), &wishes, SystemTime::now()) == Reuse::Fresh;
        (!known && fresh).then_some(found)
    }

    /// A 304 about another representation than the stored one is as good as none: the origin is asked for the
    /// response itself (RFC 9111, section 4.3.4).
    async fn ask(&self) -> Result<(response::Parts, OriginBody, Times), FetchError> {
        let stored = self.stored.as_deref();
        let (head, body, times) = self.ask_once(stored).await?;
        let is_about = |stored: &Stored| update::is_about(stored.fields().get(&ETAG), &head.headers);
        if head.status != StatusCode::NOT_MODIFIED || stored.is_none_or(is_about) {
            return Ok((head, body, times));
        }
        match self.ask_once(None).await? {
            (head, ..) if head.status == StatusCode::NOT_MODIFIED => {
                Err(FetchError::Broken("a 304 without a condition".into()))
            }
            answer => Ok(answer),
        }
    }

    /// Asks with the stored response's validators, not with the client's conditions and ranges: those are
    /// answered from what will be stored.
    async fn ask_once(
        &self,
        stored: Option<&Stored>,
    ) -> Result<(response::Parts, OriginBody, Times), FetchError> {
        let mut head = self.request.clone();
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE] {
            head.headers.remove(name);
        }
        if !self.by_range {
            head.headers.remove(RANGE);
        }
        if let Some(codings) = self.live.config.compress.asked_of_origin() {
            // A part is one of the identity form.
            let codings = if self.by_range { "identity" } else { codings };
            head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
        }
        if let Some(stored) = stored {
            for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
                if let Some(value) = stored.fields().value(&validator) {
                    head.headers.insert(condition, value);
                }
            }
        }
        let requested = SystemTime::now();
        let answer =
            send(&self.cache, &self.live, self.orders, head, RequestBody::empty(), &self.origin_time);
        let (response, body) = answer.await?;
        Ok((response, body, Times { requested, received: SystemTime::now() }))
    }

    /// Freshens what is stored. A 304 may bring what makes the response one client's own: then it is nobody
    /// else's any more.
    fn validated(&self, stored: &Arc<Stored>, not_modified: &response::Parts, times: Times, leader: Leader) {
        let mut headers = stored.fields().to_headers(&stored.share(), 0);
        update::freshen(&mut headers, &not_modified.headers);
        let status = stored.status;
        let wanted = self.orders.response(&self.live.config.rules, status, &headers);
        let seen = wanted.seen(&headers);
        let directives = wanted.directives(self.directives(&seen));
        let freshness = Freshness::of(status, &seen, &directives, times.requested, times.received);
        let freshness = wanted.freshness(freshness);
        let Self { request, .. } = self;
        let stays = storable(&request.method, &request.headers, status, &seen, &directives, &freshness);
        drop(seen);
        if stays.is_ok() {
            wanted.edit_stored(&mut headers);
        } else {
            wanted.edit(&mut headers);
        }
        let own = if stays.is_ok() { take_withheld(&mut headers, &directives) } else { HeaderMap::new() };
        let tags = match tags::of(&headers) {
            // A 304 without tags says nothing of them.
            none if none.is_empty() => stored.tags.clone(),
            some => self.cache.tags.tags(&some),
        };
        tags::strip(&mut headers);
        let head = self.head(status, headers, &directives, freshness, &wanted);
        let freshened = Arc::new(stored.freshened(&head, tags));
        match stays {
            Ok(()) => {
                self.store(&freshened);
                self.lead.publish(Outcome::Validated(Arc::clone(&freshened), self.began));
            }
            Err(why) => {
                self.cache.metrics.not_stored(why.as_str());
                self.forget_stored();
                self.lead.publish(Outcome::Alone);
            }
        }
        tell(leader, Ok(Led::Validated(freshened, own, stays)));
    }

    fn head(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        directives: &CacheControl,
        freshness: Freshness,
        wanted: &ResponseOrders<'_>,
    ) -> Head {
        let negotiates = self.live.config.compress != Compression::Off;
        let mut head = Head::new(status, headers, directives, freshness, &self.request.headers, negotiates);
        head.limits = OwnLimits { grace: wanted.grace, keep: wanted.keep };
        head
    }

    /// Takes away the variant whose place the new response has taken.
    fn forget_stored(&self) {
        if let Lookup::Found(old) = self.cache.store.lookup(self.lead.key(), &self.request.headers) {
            old.invalidate(Mode::Hard, SystemTime::now());
            self.cache.store.remove_gone(self.lead.key());
        }
    }

    fn directives(&self, response: &HeaderMap) -> CacheControl {
        targeted::directives(response, &self.live.config.http.targets)
    }

    fn may_serve_stale(&self) -> bool {
        let wishes = CacheControl::of(&self.request.headers);
        self.stored.as_ref().is_some_and(|stored| {
            let terms = stored.terms(self.live.config.stale);
            reuse::stale_after(terms, &wishes, Failure::ServerError, SystemTime::now())
        })
    }

    fn storable(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        directives: &CacheControl,
        freshness: &Freshness,
    ) -> Result<(), NotStored> {
        let Self { request, .. } = self;
        storable(&request.method, &request.headers, status, headers, directives, freshness)?;
        let length: Option<u64> =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length| length > self.live.config.max_object) {
            return Err(NotStored::TooLarge);
        }
        let is_partly_wanted = self.ranged && !self.by_range && status == StatusCode::OK;
        if is_partly_wanted && length.is_some_and(|length| length > self.live.config.range_fetch_limit) {
            return Err(NotStored::RangeLimit);
        }
        Ok(())
    }

    fn not_stored(&self, head: &response::Parts, why: NotStored) {
        self.cache.metrics.not_stored(why.as_str());
        if why == NotStored::RangeLimit {
            self.cache.store.note_range_passes(self.lead.key(), self.lead.selection());
            return;
        }
        // What is about this request or this moment says nothing of the next.
        let of_the_url = !matches!(
            why,
            NotStored::Authorization
                | NotStored::RequestNoStore
                | NotStored::Budget
                | NotStored::Invalidated
                | NotStored::Coding
                | NotStored::VariantBudget
        );
        let is_gone = matches!(head.status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let is_error = head.status.is_client_error() || head.status.is_server_error();
        if !of_the_url || self.lead.is_invalidated() || is_error && !is_gone {
            return;
        }
        self.forget_stored();
        self.cache.store.note_cacheable(self.lead.key(), self.lead.selection(), Err(why));
    }

    async fn fill(self, head: Head, tags: Tags, own: HeaderMap, body: OriginBody, leader: Leader) {
        let fill = Fill::new(Arc::clone(&self.cache.budget), self.live.config.max_object);
        let filling = Arc::new(Filling { key: self.lead.key().clone(), head, tags, began: self.began, fill });
        // The leader's place is taken first, so that the fill never looks abandoned.
        let reader = filling.reader();
        self.lead.publish(Outcome::Filling(Arc::clone(&filling)));
        if let Some(reader) = reader {
            tell(leader, Ok(Led::Filling(Arc::clone(&filling), reader, own)));
        }
        self.cache.metrics.fills.inc();
        let filled = pump(&self.cache, body, &filling.fill).await;
        self.cache.metrics.fills.dec();
        match filled {
            Ok(chunks) => {
                let key = filling.key.clone();
                // What came compressed is measured; what came plain is served as it is until it is compressed.
                let Some((head, content)) =
                    self.prepare(filling.head.clone(), chunks, Compression::Off).await
                else {
                    return;
                };
                let stored = Arc::new(Stored::new(key, &head, filling.tags.clone(), &content));
                drop(content);
                filling.fill.stored(&stored.body(&stored.share()));
                if self.store(&stored) {
                    self.compress(head, &stored).await;
                }
            }
            Err(why) => {
                self.cache.metrics.not_stored(why.as_str());
                if why == NotStored::TooLarge {
                    self.cache.store.note_cacheable(self.lead.key(), self.lead.selection(), Err(why));
                }
            }
        }
    }

    /// The body as it is to be stored; `None` if the service is ending.
    async fn prepare(
        &self,
        mut head: Head,
        chunks: Vec<Bytes>,
        compression: Compression,
    ) -> Option<(Head, Content)> {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if !is_needed(&head, length, compression) {
            let content = prepare(&mut head, chunks, compression);
            return Some((head, content));
        }
        let work = move || {
            let content = prepare(&mut head, chunks, compression);
            (head, content)
        };
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// Puts a compressed copy in the place of a response that is stored plain, where that is worth it.
    async fn compress(&self, head: Head, stored: &Arc<Stored>) {
        let compression = self.live.config.compress;
        if head.coding != Coding::Identity || !is_needed(&head, stored.length(), compression) {
            return;
        }
        let chunks = stored.body(&stored.share()).pieces().cloned().collect();
        let Some((head, content)) = self.prepare(head, chunks, compression).await else { return };
        if !content.coded_here {
            return;
        }
        let coded = Arc::new(Stored::new(stored.key.clone(), &head, stored.tags.clone(), &content));
        if self.cache.view().recode(&self.lead, self.began, stored, &coded) {
            self.cache.metrics.compressed.inc();
        }
    }

    /// Stores, unless what the response is made of was invalidated after it was asked for.
    fn store(&self, stored: &Arc<Stored>) -> bool {
        let is_current = self.cache.view().put(&self.lead, self.began, stored, self.live.config.max_variants);
        if is_current {
            self.cache.store.note_cacheable(self.lead.key(), self.lead.selection(), Ok(()));
            self.cache.metrics.stored.inc();
        } else {
            self.cache.metrics.not_stored(NotStored::Invalidated.as_str());
        }
        is_current
    }
}

/// Completes when the leader's client has gone and nobody follows.
async fn forsaken(leader: &mut Leader, lead: &Lead) {
    match leader {
        Some(leader) => {
            leader.closed().await;
            lead.forsaken().await;
        }
        None => std::future::pending().await,
    }
}

/// Takes out the fields that `private="…"` and `no-cache="…"` keep from being shared.
fn take_withheld(headers: &mut HeaderMap, directives: &CacheControl) -> HeaderMap {
    let mut withheld = HeaderMap::new();
    for name in &directives.withheld_fields {
        for value in headers.get_all(name) {
            withheld.append(name.clone(), value.clone());
        }
        headers.remove(name);
    }
    withheld
}

/// When the origin was asked and when it answered.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub requested: SystemTime,
    pub received: SystemTime,
}

/// Reads the body to its end, or as long as somebody wants it.
async fn pump(cache: &Cache, mut body: OriginBody, fill: &Fill) -> Result<Vec<Bytes>, NotStored> {
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
                cache.metrics.origin_error("truncated");
                return fill.finish(Err(Truncated));
            }
            None => return fill.finish(Ok(())),
        }
    }
}
