use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
pub use common::http::coding::OF_THE_CODING;
use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    HeaderMap, HeaderValue, VARY,
};

use super::fields::{self, Fields};
use crate::invalidate::{Mode, Tags};
use crate::key::CacheKey;
use crate::policy::cache_control::CacheControl;
use crate::policy::coding::{Accepted, Coding, Form, may_transform};
use crate::policy::freshness::{Freshness, Source};
use crate::policy::reuse::{StaleLimits, StoredTerms, Terms};
use crate::policy::vary::{self, Selector, SelectorRef};
use crate::request::forwarding;

/// A response's head on its way into the store, with all that policy needs to know of it, worked out once.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: StatusCode,
    pub freshness: Freshness,
    pub terms: Terms,
    pub selector: Selector,
    pub coding: Coding,
    /// Not under `no-transform`.
    pub may_transform: bool,
    /// Content-Length, where the origin has said it.
    pub length: Option<u64>,
    pub limits: OwnLimits,
    fields: Bytes,
}

/// What a rule says of a response's staleness, where one does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnLimits {
    pub grace: Option<Duration>,
    pub keep: Option<Duration>,
}

/// A whole stored response: one block of bytes with its packed fields, its selector and the first [`PIECE`] of its
/// body, and a few numbers. There are millions of these: what can be worked out is not kept.
#[derive(Debug)]
pub struct Stored {
    pub key: CacheKey,
    pub tags: Tags,
    block: Box<[u8]>,
    /// What few responses have.
    extra: Option<Box<Extra>>,
    /// 0 while nobody has invalidated it, [`GONE`], or the time since when it counts as stale, in
    /// milliseconds of the Unix epoch.
    invalidated: AtomicU64,
    /// When its age was zero, in milliseconds of the Unix epoch.
    born: i64,
    /// Bytes of the body without its coding.
    identity_length: u64,
    /// Seconds.
    lifetime: u32,
    fields_length: u32,
    selector_length: u32,
    terms: Terms,
    pub status: StatusCode,
    source: Source,
    pub coding: Coding,
    may_transform: bool,
    /// The coding is the cache's own work, and the entity tag that of the identity form.
    coded_here: bool,
    /// A field that this proxy sets has selected it.
    pub varies_on_forwarded: bool,
}

#[derive(Debug, Default)]
struct Extra {
    limits: OwnLimits,
    /// The body beyond its first piece.
    rest: Option<Arc<[Bytes]>>,
    rest_length: u64,
}

/// The block of a stored response as bytes that keep it alive.
struct Block(Arc<Stored>);

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.0.block
    }
}

/// A stored body: its first piece, and what is beyond.
#[derive(Debug, Clone)]
pub struct StoredBody {
    pub first: Bytes,
    pub rest: Option<Arc<[Bytes]>>,
    pub length: u64,
}

/// A body ready to be stored.
#[derive(Debug)]
pub struct Content {
    pub chunks: Vec<Bytes>,
    pub coding: Coding,
    pub identity_length: u64,
    /// The coding is the cache's own work.
    pub coded_here: bool,
}

const GONE: u64 = u64::MAX;

/// A body is kept in pieces, so that storing a large one needs no second copy of all of it.
const PIECE: usize = 1 << 20;
/// What moka (about 320), this struct and the allocator need beside the bytes that are counted. Measured with a
/// million objects by `tests/memory.rs`.
const OVERHEAD: usize = 320 + size_of::<Stored>() + 40;

impl Head {
    /// `directives` are those of `headers`. With `negotiates` the cache itself chooses the coding that a client gets.
    pub fn new(
        status: StatusCode,
        mut headers: HeaderMap,
        directives: &CacheControl,
        freshness: Freshness,
        request: &HeaderMap,
        negotiates: bool,
    ) -> Self {
        let coding = Coding::of(&headers);
        let may_transform = may_transform(&headers);
        let chosen_here = negotiates && coding != Coding::Other;
        let selector = Selector::of(request, &headers, |name| chosen_here && name == ACCEPT_ENCODING);
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if matches!(coding, Coding::Gzip | Coding::Brotli) && may_transform {
            add_vary(&mut headers);
        }
        let mut packed = Vec::with_capacity(fields::bound(&headers));
        // The length is set anew by whoever sends the body.
        fields::pack(&headers, |name| name == CONTENT_LENGTH, &mut packed);
        Self {
            status,
            freshness,
            terms: directives.into(),
            selector,
            coding,
            may_transform,
            length,
            limits: OwnLimits::default(),
            fields: packed.into(),
        }
    }

    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.fields)
    }

    /// The fields as hyper takes them, with room for `more`.
    pub fn to_headers(&self, more: usize) -> HeaderMap {
        self.fields().to_headers(&self.fields, more)
    }

    /// Whether the response may answer `request`, as far as fields that select it go.
    pub fn is_selected_by(&self, request: &HeaderMap) -> bool {
        self.selector.as_ref().matches(request) && self.form(request).is_some()
    }

    pub fn form(&self, request: &HeaderMap) -> Option<Form> {
        form(self.coding, self.may_transform, request)
    }
}

fn form(coding: Coding, may_transform: bool, request: &HeaderMap) -> Option<Form> {
    if coding == Coding::Identity {
        return Some(Form::AsStored);
    }
    Form::of(Accepted::of(request), coding, may_transform)
}

fn add_vary(headers: &mut HeaderMap) {
    if !vary::names(headers, &ACCEPT_ENCODING) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

impl Stored {
    /// Copies the body out of the buffers that it was read into, which may be far larger than it is.
    pub fn new(key: CacheKey, head: &Head, tags: Tags, content: &Content) -> Self {
        let selector = head.selector.as_bytes();
        let length: u64 = content.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let first_length = (length as usize).min(PIECE);
        let mut added = HeaderMap::new();
        if content.coded_here {
            added.insert(CONTENT_ENCODING, HeaderValue::from_static(content.coding.as_str()));
            let varies = head.to_headers(0);
            if !vary::names(&varies, &ACCEPT_ENCODING) {
                add_vary(&mut added);
            }
        }
        let room = head.fields.len() + fields::bound(&added) + selector.len() + first_length;
        let mut block = Vec::with_capacity(room);
        block.extend_from_slice(&head.fields);
        fields::pack(&added, |_| false, &mut block);
        let fields_length = block.len() as u32;
        block.extend_from_slice(selector);
        let mut pieces = Pieces { left: length as usize, chunks: content.chunks.iter(), chunk: &[] };
        pieces.append_to(&mut block, first_length);
        let mut rest = Vec::new();
        while pieces.left > 0 {
            let size = pieces.left.min(PIECE);
            let mut piece = Vec::with_capacity(size);
            pieces.append_to(&mut piece, size);
            rest.push(Bytes::from(piece));
        }
        Self {
            key,
            tags,
            block: block.into(),
            extra: Extra::of(head.limits, rest),
            identity_length: content.identity_length,
            invalidated: AtomicU64::new(0),
            born: millis(head.freshness.received) - head.freshness.initial_age.as_millis() as i64,
            lifetime: u32::try_from(head.freshness.lifetime.as_secs()).unwrap_or(u32::MAX),
            fields_length,
            selector_length: selector.len() as u32,
            terms: head.terms,
            status: head.status,
            source: head.freshness.source,
            coding: content.coding,
            may_transform: head.may_transform,
            coded_here: content.coded_here,
            varies_on_forwarded: head.selector.as_ref().iter().any(|(name, _)| forwarding::sets(name)),
        }
    }

    /// The same body under a head that a 304 has freshened. `head` was made of this response's own fields.
    #[must_use]
    pub fn freshened(self: &Arc<Self>, head: &Head, tags: Tags) -> Self {
        let body = self.body(&self.share());
        let content = Content {
            chunks: body.pieces().cloned().collect(),
            coding: self.coding,
            identity_length: self.identity_length,
            // Its fields are there already.
            coded_here: false,
        };
        let mut freshened = Self::new(self.key.clone(), head, tags, &content);
        freshened.coded_here = self.coded_here;
        freshened
    }

    pub fn fields(&self) -> Fields<'_> {
        Fields::new(self.block.get(..self.fields_length as usize).unwrap_or_default())
    }

    /// Its block as bytes that keep it alive: the one allocation that a hit needs for fields and body.
    pub fn share(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Block(Arc::clone(self)))
    }

    pub fn selector(&self) -> SelectorRef<'_> {
        let start = self.fields_length as usize;
        SelectorRef::of_bytes(
            self.block.get(start..start + self.selector_length as usize).unwrap_or_default(),
        )
    }

    /// Whether the response may answer `request`, as far as fields that select it go.
    pub fn is_selected_by(&self, request: &HeaderMap) -> bool {
        self.selector().matches(request) && self.form(request).is_some()
    }

    /// Whether it is a part of the response only, of a 206.
    pub fn is_part(&self) -> bool {
        self.status == StatusCode::PARTIAL_CONTENT
    }

    /// Whether it is stored in the place of `old`: the whole in that of all with its selector, a part in that of
    /// the same part.
    pub fn replaces(&self, old: &Self) -> bool {
        let range = |stored: &Self| stored.fields().get(&CONTENT_RANGE).map(<[u8]>::to_vec);
        self.selector() == old.selector() && (!self.is_part() || old.is_part() && range(self) == range(old))
    }

    /// Whether `request` selects it by asking for its language before all others.
    pub fn is_first_choice_of(&self, request: &HeaderMap) -> bool {
        let mut languages = self.fields().get_all(&CONTENT_LANGUAGE);
        let (Some(language), None) = (languages.next(), languages.next()) else { return false };
        request.contains_key(ACCEPT_LANGUAGE)
            && self.selector().matches_language(request, language)
            && self.form(request).is_some()
    }

    /// The form that `request` gets.
    pub fn form(&self, request: &HeaderMap) -> Option<Form> {
        form(self.coding, self.may_transform, request)
    }

    /// Whether the body can be sent without its coding.
    pub fn has_identity_form(&self) -> bool {
        self.coding == Coding::Identity || self.may_transform && self.coding != Coding::Other
    }

    /// Whether the entity tag of the origin belongs to other bytes than those of `form`, so that it is only a weak
    /// one there (RFC 9110, section 8.8.3.3).
    pub fn weakens_tag(&self, form: Form) -> bool {
        self.coding != Coding::Identity && (form == Form::AsStored) == self.coded_here
    }

    /// Bytes of the body as it is stored.
    pub fn length(&self) -> u64 {
        let first = self.block.len() - self.body_start();
        first as u64 + self.extra.as_ref().map_or(0, |extra| extra.rest_length)
    }

    /// Bytes of the body in `form`.
    pub fn length_of(&self, form: Form) -> u64 {
        match form {
            Form::AsStored => self.length(),
            Form::Identity => self.identity_length,
        }
    }

    /// Its body; `block` is what [`share`](Self::share) gave.
    pub fn body(&self, block: &Bytes) -> StoredBody {
        StoredBody {
            first: block.slice(self.body_start()..),
            rest: self.extra.as_ref().and_then(|extra| extra.rest.clone()),
            length: self.length(),
        }
    }

    const fn body_start(&self) -> usize {
        self.fields_length as usize + self.selector_length as usize
    }

    /// What policy looks at, with an invalidation taken into account. `limits` are the operator's.
    pub fn terms(&self, limits: StaleLimits) -> StoredTerms {
        let own = self.extra.as_ref().map(|extra| extra.limits).unwrap_or_default();
        StoredTerms {
            freshness: self.freshness(),
            directives: self.terms,
            limits: StaleLimits {
                grace: own.grace.unwrap_or(limits.grace),
                keep: own.keep.unwrap_or(limits.keep),
            },
        }
    }

    pub fn freshness(&self) -> Freshness {
        let freshness = Freshness {
            lifetime: Duration::from_secs(self.lifetime.into()),
            source: self.source,
            initial_age: Duration::ZERO,
            received: time(self.born),
        };
        match self.invalidated.load(Ordering::Acquire) {
            0 | GONE => freshness,
            millis => freshness.until(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)),
        }
    }

    /// Whether this changed anything.
    pub fn invalidate(&self, mode: Mode, now: SystemTime) -> bool {
        let value = match mode {
            Mode::Hard => GONE,
            Mode::Soft => {
                now.duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_millis() as u64)
            }
        };
        let change = |old: u64| (old != GONE && (old == 0 || mode == Mode::Hard)).then_some(value);
        self.invalidated.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    pub fn is_gone(&self) -> bool {
        self.invalidated.load(Ordering::Acquire) == GONE
    }

    /// Bytes held in all, but for the key's.
    pub fn weight(&self) -> usize {
        let rest = self.extra.as_ref().map_or(0, |extra| {
            let pieces = extra.rest.as_ref().map_or(0, |rest| rest.len());
            size_of::<Extra>() + extra.rest_length as usize + pieces * (size_of::<Bytes>() + 48)
        });
        OVERHEAD + self.block.len() + self.tags.weight() + rest
    }
}

impl Extra {
    fn of(limits: OwnLimits, rest: Vec<Bytes>) -> Option<Box<Self>> {
        if limits == OwnLimits::default() && rest.is_empty() {
            return None;
        }
        let rest_length = rest.iter().map(|piece| piece.len() as u64).sum();
        let rest = (!rest.is_empty()).then(|| rest.into());
        Some(Box::new(Self { limits, rest, rest_length }))
    }
}

impl StoredBody {
    pub fn piece(&self, at: usize) -> Option<&Bytes> {
        match at.checked_sub(1) {
            None => Some(&self.first),
            Some(at) => self.rest.as_deref().unwrap_or_default().get(at),
        }
    }

    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(self.rest.as_deref().unwrap_or_default())
    }
}

/// Walks over chunks as over one run of bytes.
struct Pieces<'a> {
    left: usize,
    chunks: std::slice::Iter<'a, Bytes>,
    chunk: &'a [u8],
}

impl Pieces<'_> {
    fn append_to(&mut self, out: &mut Vec<u8>, mut count: usize) {
        while count > 0 {
            if self.chunk.is_empty() {
                let Some(next) = self.chunks.next() else { return };
                self.chunk = next;
                continue;
            }
            let (now, later) = self.chunk.split_at(count.min(self.chunk.len()));
            out.extend_from_slice(now);
            count -= now.len();
            self.left -= now.len();
            self.chunk = later;
        }
    }
}

/// Milliseconds of the Unix epoch, before it too: an Age may be longer than that.
fn millis(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_millis() as i64,
        Err(before) => -(before.duration().as_millis() as i64),
    }
}

fn time(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use common::http::forwarded::Scheme;
    use http::header::ETAG;

    use super::*;

    fn head(headers: &HeaderMap) -> Head {
        let directives = CacheControl::of(headers);
        let now = SystemTime::now();
        let freshness = Freshness::of(StatusCode::OK, headers, &directives, now, now);
        Head::new(StatusCode::OK, headers.clone(), &directives, freshness, &HeaderMap::new(), true)
    }

    fn stored(head: &Head, chunks: Vec<Bytes>) -> Arc<Stored> {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let content =
            Content { chunks, coding: Coding::Identity, identity_length: length, coded_here: false };
        Arc::new(Stored::new(CacheKey::new(Scheme::Http, "a", "/"), head, Tags::default(), &content))
    }

    fn bytes(stored: &Arc<Stored>) -> Vec<u8> {
        stored.body(&stored.share()).pieces().flat_map(|piece| piece.to_vec()).collect()
    }

    #[test]
    fn a_body_keeps_its_bytes_and_no_more_room_than_they_need() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, HeaderValue::from_static("\"a\""));
        headers.insert(VARY, HeaderValue::from_static("Cookie"));
        let head = head(&headers);
        for sizes in [vec![], vec![1], vec![PIECE], vec![PIECE - 1, 3, PIECE * 2, 7], vec![PIECE, PIECE]] {
            let mut next = 0_u8;
            let chunks: Vec<Bytes> = sizes
                .iter()
                .map(|size| {
                    next += 1;
                    Bytes::from(vec![next; *size])
                })
                .collect();
            let stored = stored(&head, chunks.clone());
            assert_eq!(bytes(&stored), chunks.concat());
            assert_eq!(stored.length(), sizes.iter().sum::<usize>() as u64);
            assert_eq!(stored.fields().to_headers(&stored.share(), 0), headers);
            assert!(stored.selector().matches(&HeaderMap::new()));
            let again = Arc::new(stored.freshened(&head, Tags::default()));
            assert_eq!(bytes(&again), chunks.concat());
            assert!(stored.weight() >= chunks.concat().len() + OVERHEAD);
        }
    }

    #[test]
    fn an_age_may_be_longer_than_the_epoch() {
        let mut headers = HeaderMap::new();
        headers.insert("age", HeaderValue::from_static("2147483648"));
        headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
        let head = head(&headers);
        let stored = stored(&head, Vec::new());
        let now = SystemTime::now();
        assert_eq!(stored.freshness().age(now).as_secs(), head.freshness.age(now).as_secs());
        assert!(!stored.freshness().is_fresh(now));
    }

    #[test]
    fn a_stored_response_is_small() {
        assert!(size_of::<Stored>() <= 112, "{}", size_of::<Stored>());
    }
}
