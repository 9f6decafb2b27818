//! A file in memory or open, with all that a response says of it.

use std::fs::Metadata;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::http::coding::is_compressible;
use http::HeaderValue;

use super::super::content_type::Kind;
use super::super::file_body::{Content as _, Readable, Stored, Version};
use super::super::prepared::Heads;
use super::super::siblings::Times;
use super::super::{Coding, Settings, Validators, http_date};
use super::policy::{Seen, State};
use crate::docroot::Wait;
use crate::rules::OfThePath;

/// A file, and its compressed forms where somebody has asked for them.
#[derive(Debug)]
pub struct Kept {
    pub(in super::super) plain: Content,
    /// By its name.
    pub(in super::super) kind: Kind,
    /// That kind compresses well.
    pub(in super::super) is_compressible: bool,
    /// In the order of the configuration; `None` where nobody has looked for them.
    pub(in super::super) forms: Option<Vec<(Coding, Content)>>,
    pub(in super::super) heads: Heads,
    /// What rules have to do with its path.
    rules: OfThePath,
    seen: Seen,
    /// When the file system was asked last, in nanoseconds of the cache's age.
    looked: AtomicU64,
}

/// The bytes of one file.
#[derive(Debug, Clone)]
pub(in super::super) struct Content {
    pub(in super::super) readable: Readable,
    pub(in super::super) version: Version,
    pub(in super::super) length: u64,
    pub(in super::super) validators: Validators,
    pub(in super::super) last_modified: HeaderValue,
    /// The Content-Length of all of it.
    pub(in super::super) announced: HeaderValue,
    state: State,
}

/// What an entry takes beside the bytes of its files: this struct, the values of header fields, two prepared heads, and what
/// moka needs for each (about 320 bytes), rounded up.
const OVERHEAD: usize = 4096;

impl Kept {
    pub(super) fn new(
        plain: Content,
        kind: Kind,
        forms: Option<Vec<(Coding, Content)>>,
        looked: Duration,
    ) -> Self {
        let states = |forms: &Vec<(Coding, Content)>| {
            forms.iter().map(|(coding, content)| (*coding, content.state)).collect()
        };
        let seen = Seen { plain: plain.state, forms: forms.as_ref().map(states) };
        let is_compressible = is_compressible(kind.media_type.as_bytes());
        let heads = Heads::new(forms.as_ref().map_or(0, Vec::len));
        Self {
            plain,
            kind,
            is_compressible,
            forms,
            heads,
            rules: OfThePath::default(),
            seen,
            looked: AtomicU64::new(nanoseconds(looked)),
        }
    }

    /// Whether compressed forms of it are looked for, unless a rule makes something else of it.
    pub(in super::super) const fn has_forms(&self, settings: &Settings) -> bool {
        !settings.precompressed.is_empty() && self.kind.coding.is_none() && self.is_compressible
    }

    /// The first of the `wanted` forms that there is.
    pub(in super::super) fn best(&self, wanted: &[Coding]) -> Option<usize> {
        let forms = self.forms.as_deref().unwrap_or_default();
        wanted.iter().find_map(|wanted| forms.iter().position(|(coding, _)| coding == wanted))
    }

    /// Its plain form, where none is named.
    pub(in super::super) fn content(&self, form: Option<usize>) -> &Content {
        let form = form.and_then(|form| self.forms.as_ref()?.get(form));
        form.map_or(&self.plain, |(_, content)| content)
    }

    pub(in super::super) fn coding(&self, form: usize) -> Option<Coding> {
        self.forms.as_ref()?.get(form).map(|(coding, _)| *coding)
    }

    pub const fn rules(&self) -> &OfThePath {
        &self.rules
    }

    pub(super) const fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn looked(&self) -> Duration {
        Duration::from_nanos(self.looked.load(Ordering::Relaxed))
    }

    /// Somebody has looked `at` this time, and it is still what there is.
    pub(super) fn confirm(&self, at: Duration) {
        self.looked.fetch_max(nanoseconds(at), Ordering::Relaxed);
    }

    /// The bytes of memory that it takes.
    pub(super) fn weight(&self) -> usize {
        let forms = self.forms.iter().flatten().map(|(_, content)| content.in_memory() + OVERHEAD / 2);
        OVERHEAD + self.plain.in_memory() + forms.sum::<usize>()
    }

    /// Whether what is open is still in the state in which it was opened. Does not wait.
    pub(super) fn is_untouched(&self) -> bool {
        let forms = self.forms.iter().flatten().map(|(_, content)| content);
        std::iter::once(&self.plain).chain(forms).all(Content::is_untouched)
    }
}

impl Content {
    /// `bytes` are those of a file in the state of `metadata`, in this `coding`.
    pub(super) fn new(bytes: Bytes, metadata: &Metadata, coding: Option<Coding>, now: SystemTime) -> Self {
        Self::of(Readable::Kept(bytes, Version::of(metadata)), metadata, coding, now)
    }

    /// Those of a file that stays open.
    pub(super) fn open(file: Stored, metadata: &Metadata, coding: Option<Coding>, now: SystemTime) -> Self {
        Self::of(Readable::File(Arc::new(file)), metadata, coding, now)
    }

    fn of(readable: Readable, metadata: &Metadata, coding: Option<Coding>, now: SystemTime) -> Self {
        let validators = Validators::of(metadata, coding, now);
        Self {
            readable,
            version: Version::of(metadata),
            length: metadata.len(),
            announced: metadata.len().into(),
            last_modified: http_date(validators.modified),
            state: State::of(metadata),
            validators,
        }
    }

    fn in_memory(&self) -> usize {
        match &self.readable {
            Readable::Kept(bytes, _) => bytes.len(),
            Readable::File(_) => 0,
        }
    }

    fn is_untouched(&self) -> bool {
        self.readable.version(Wait::Never).is_ok_and(|version| version == self.version)
    }

    pub(in super::super) const fn times(&self) -> Times {
        Times::new(self.state.modified)
    }
}

/// The age of a process fits for 584 years.
fn nanoseconds(age: Duration) -> u64 {
    u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
}
