//! Small files in memory and large ones open, so that most requests for one need neither open nor read it.
//!
//! 1. [`FileCache::find`]: what is kept of a path. If the file system was asked within `--file-cache-valid`, it takes
//!    the place of that look, and of nothing else: the rules are asked for each request. What is open is asked for its
//!    state all the same.
//! 2. Else the file is looked at like any other, and [`FileCache::settle`] compares: device, inode, length, and both
//!    times, of the file and of each compressed form. The same: what is kept is good for another while.
//! 3. Otherwise they are read and kept, if they are small and have been left alone for a while ([`policy`]). What is not
//!    read whole and in one state is not kept. Larger ones stay open with their forms: a bounded number of them, and only
//!    for so long after the last look ([`FileCache::close_old`]).
//! 4. Of scripts and directories it is kept only that they are there ([`FileCache::place`]).
//!
//! That there is no file is never kept: the application may make one at any moment, and the next request must get it.
//! Nobody is told of changes: between machines no file system tells of them.

mod kept;
mod policy;

use std::fs::{File, Metadata};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use equivalent::Equivalent;
use moka::sync::Cache;

use super::file_body::{FileBodyError, Stored, read_whole};
use super::pieces;
use super::siblings::{self, Form, NotCached};
use super::{Coding, Settings};
use crate::docroot::{Docroot, Wait};
use crate::route::path::UrlPath;

pub(super) use kept::Content;
pub use kept::Kept;
use policy::{Seen, State, Unfit, Verdict, fitness, is_good, judge};

/// What is kept of a site's files.
#[derive(Debug)]
pub struct FileCache {
    /// `None`: nothing is kept.
    kept: Option<Tables>,
    valid: Duration,
    born: Instant,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

#[derive(Debug)]
struct Tables {
    /// Files of at most [`LIMIT`] bytes, within a bound of memory.
    files: Table<Arc<Kept>>,
    /// Larger ones, open; at most [`MOST_OPEN`].
    open: Table<Arc<Kept>>,
    /// At most [`MOST_PLACES`], each with the cache's age at the last look.
    places: Table<(Found, Duration)>,
}

type Table<T> = Cache<Key, T, ahash::RandomState>;

/// What there is at a path that is no file to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Script,
    Directory,
}

/// Where a file is.
#[derive(Debug)]
pub enum Source {
    /// In memory or open, as it was a short while ago.
    Kept(Arc<Kept>),
    Opened(Box<Opened>),
}

/// A file, opened.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
    pub metadata: Metadata,
    pub look: Look,
}

/// That the file system is asked, and since when.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The cache's age before the look; `None` where nothing is to be kept.
    at: Option<Duration>,
    /// What is kept, and may be old.
    kept: Option<Arc<Kept>>,
}

/// What a request wants of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Its compressed forms count.
    pub(super) has_forms: bool,
    /// Its bytes may be sent, and not its head alone.
    pub(super) is_read: bool,
    pub(super) now: SystemTime,
    pub(super) wait: Wait,
}

/// What became of a request for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Kept, and looked at a short while ago.
    Hit,
    /// Kept, and still what there is.
    Unchanged,
    /// Read, and kept from now on.
    Stored,
    /// Changed too short a while ago to be kept.
    Young,
    /// Larger than what is kept in memory.
    Large,
    /// It, or a compressed form of it, could not be read in one piece.
    Unread,
    /// Only its head was asked for, and nothing was kept yet.
    Head,
}

/// The largest file that is kept in memory: the first piece of what is sent from the disk, so that it is read at once.
const LIMIT: u64 = pieces::SHORTEST as u64;
/// Files that stay open, each with up to three forms.
const MOST_OPEN: u64 = 128;
const MOST_PLACES: u64 = 4096;
/// A file that is open takes room on the disk after it was removed: that long at most nobody looks whether it was.
const LONGEST_OPEN: Duration = Duration::from_mins(1);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    docroot: u64,
    path: Box<[u8]>,
}

#[derive(Hash)]
struct KeyRef<'a> {
    docroot: u64,
    path: &'a [u8],
}

impl<'a> KeyRef<'a> {
    fn of(docroot: &Docroot, path: &'a UrlPath) -> Self {
        Self { docroot: docroot.id(), path: path.as_bytes() }
    }

    fn to_owned(&self) -> Key {
        Key { docroot: self.docroot, path: self.path.into() }
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.docroot == key.docroot && *self.path == *key.path
    }
}

impl FileCache {
    /// Of `memory` bytes, 0 for none; what is kept is good for the time of `valid` without a look.
    pub fn new(memory: u64, valid: Duration) -> Self {
        let kept = (memory > 0).then(|| Tables {
            files: Cache::builder()
                .max_capacity(memory)
                .weigher(|key: &Key, kept: &Arc<Kept>| {
                    u32::try_from(key.path.len() + kept.weight()).unwrap_or(u32::MAX)
                })
                .build_with_hasher(ahash::RandomState::new()),
            open: Cache::builder().max_capacity(MOST_OPEN).build_with_hasher(ahash::RandomState::new()),
            places: Cache::builder().max_capacity(MOST_PLACES).build_with_hasher(ahash::RandomState::new()),
        });
        Self { kept, valid, born: Instant::now(), outcomes: [const { AtomicU64::new(0) }; _] }
    }

    /// What is kept of the file at `path`, if no look is due; or what a look has to know.
    pub fn find(&self, docroot: &Docroot, path: &UrlPath) -> Result<Arc<Kept>, Look> {
        let Some(Tables { files, open, .. }) = &self.kept else { return Err(Look::default()) };
        let now = self.born.elapsed();
        let key = KeyRef::of(docroot, path);
        let is_fresh =
            |kept: &Kept| judge(kept.seen(), kept.looked(), self.valid, now, None) == Verdict::Fresh;
        let kept = match files.get(&key) {
            Some(kept) if is_fresh(&kept) => return Ok(kept),
            kept => kept,
        };
        match open.get(&key) {
            Some(open) if is_fresh(&open) && open.is_untouched() => Ok(open),
            open => Err(Look { at: Some(now), kept: open.or(kept) }),
        }
    }

    /// The `look` has found no file there.
    pub fn gone(&self, docroot: &Docroot, path: &UrlPath, look: &Look) {
        if let (Some(Tables { files, open, .. }), Some(_)) = (&self.kept, &look.kept) {
            let key = KeyRef::of(docroot, path);
            files.invalidate(&key);
            open.invalidate(&key);
        }
    }

    /// What there is at `path` beside files to be sent, if no look is due; or when it was looked for.
    pub fn place(&self, docroot: &Docroot, path: &UrlPath) -> Result<Found, Look> {
        let Some(Tables { places, .. }) = &self.kept else { return Err(Look::default()) };
        let now = self.born.elapsed();
        match places.get(&KeyRef::of(docroot, path)) {
            Some((found, looked)) if is_good(looked, self.valid, now) => Ok(found),
            _ => Err(Look { at: Some(now), kept: None }),
        }
    }

    /// The `look` has found this.
    pub fn is_there(&self, docroot: &Docroot, path: &UrlPath, look: &Look, found: Found) {
        if let (Some(Tables { places, .. }), Some(at)) = (&self.kept, look.at) {
            places.insert(KeyRef::of(docroot, path).to_owned(), (found, at));
        }
    }

    /// Closes what was not looked at for a while. Blocks for as long as that takes.
    pub fn close_old(&self) {
        let Some(Tables { open, .. }) = &self.kept else { return };
        let (now, valid) = (self.born.elapsed(), self.valid.min(LONGEST_OPEN));
        for (key, kept) in open {
            if !is_good(kept.looked(), valid, now) {
                open.invalidate(&*key);
            }
        }
        open.run_pending_tasks();
    }

    /// What is sent for a file that was opened: what is kept if that is the same, or can be kept from now on; else the
    /// file. And what is to be counted once it is sent.
    pub(super) async fn settle(
        &self,
        settings: &Settings,
        docroot: &Arc<Docroot>,
        path: &UrlPath,
        opened: Box<Opened>,
        wanted: Wanted,
    ) -> Result<(Source, Option<Outcome>), FileBodyError> {
        let Wanted { has_forms, is_read, now, wait } = wanted;
        let (Some(Tables { files, open, .. }), Some(at)) = (&self.kept, opened.look.at) else {
            return Ok((Source::Opened(opened), None));
        };
        let unkept = |outcome, opened| Ok((Source::Opened(opened), Some(outcome)));
        let is_large = opened.metadata.len() > LIMIT;
        // Any length is good enough for staying open.
        let limit = if is_large { u64::MAX } else { LIMIT };
        if let Err(unfit) = fitness(&State::of(&opened.metadata), limit, now) {
            return unkept(if is_large { Outcome::Large } else { unfit.into() }, opened);
        }
        let kept = opened.look.kept.as_deref();
        let forms = if has_forms || kept.is_some_and(|kept| kept.forms.is_some()) {
            match siblings::all(docroot, path, &opened.metadata, settings.precompressed.clone(), wait).await {
                Ok(Some(forms)) => Some(forms),
                Ok(None) => return unkept(Outcome::Unread, opened),
                Err(not_cached @ NotCached) => return Err(not_cached.into()),
            }
        } else {
            None
        };
        let seen = seen(&opened.metadata, forms.as_deref());
        if let Some(kept) = &opened.look.kept
            && judge(kept.seen(), kept.looked(), self.valid, at, Some(&seen)) == Verdict::Unchanged
        {
            kept.confirm(at);
            return Ok((Source::Kept(Arc::clone(kept)), Some(Outcome::Unchanged)));
        }
        if !is_read {
            return unkept(Outcome::Head, opened);
        }
        let unfit = seen.forms.iter().flatten().find_map(|(_, state)| fitness(state, limit, now).err());
        if let Some(unfit) = unfit {
            return unkept(unfit.into(), opened);
        }
        let (key, kind) = (KeyRef::of(docroot, path), settings.types.of(path.as_bytes()));
        if is_large {
            let Opened { file, metadata, .. } = *opened;
            let stored = |file, metadata: &Metadata| Stored::of(docroot, file, metadata);
            let of_form = |Form { file, metadata, coding }| {
                (coding, Content::open(stored(file, &metadata), &metadata, Some(coding), now))
            };
            let forms = forms.map(|forms| forms.into_iter().map(of_form).collect());
            let kept = Arc::new(Kept::new(
                Content::open(stored(file, &metadata), &metadata, None, now),
                kind,
                forms,
                at,
            ));
            files.invalidate(&key);
            open.insert(key.to_owned(), Arc::clone(&kept));
            return Ok((Source::Kept(kept), Some(Outcome::Large)));
        }
        let Opened { file, metadata, look } = *opened;
        let (file, bytes) = read_whole(docroot, file, &metadata, wait).await?;
        let read = match (bytes, forms) {
            (Some(bytes), Some(forms)) => {
                contents(docroot, forms, now, wait).await?.map(|forms| (bytes, Some(forms)))
            }
            (Some(bytes), None) => Some((bytes, None)),
            (None, _) => None,
        };
        let Some((bytes, forms)) = read else {
            return unkept(Outcome::Unread, Box::new(Opened { file, metadata, look }));
        };
        let kept = Arc::new(Kept::new(Content::new(bytes, &metadata, None, now), kind, forms, at));
        open.invalidate(&key);
        files.insert(key.to_owned(), Arc::clone(&kept));
        Ok((Source::Kept(kept), Some(Outcome::Stored)))
    }

    /// It came to this.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it came to this.
    pub fn counted(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// How many files are kept in memory, their compressed forms not counted.
    pub fn files(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.files.entry_count())
    }

    /// The memory that they take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.files.weighted_size())
    }
}

fn seen(plain: &Metadata, forms: Option<&[Form]>) -> Seen {
    let state = |form: &Form| (form.coding, State::of(&form.metadata));
    Seen { plain: State::of(plain), forms: forms.map(|forms| forms.iter().map(state).collect()) }
}

/// `None` if one of them cannot be read, or not in one piece.
async fn contents(
    docroot: &Docroot,
    forms: Vec<Form>,
    now: SystemTime,
    wait: Wait,
) -> Result<Option<Vec<(Coding, Content)>>, FileBodyError> {
    let mut contents = Vec::with_capacity(forms.len());
    for Form { file, metadata, coding } in forms {
        match read_whole(docroot, file, &metadata, wait).await {
            Ok((_, Some(bytes))) => {
                contents.push((coding, Content::new(bytes, &metadata, Some(coding), now)));
            }
            Err(FileBodyError::NotCached) => return Err(FileBodyError::NotCached),
            Ok((_, None)) | Err(_) => return Ok(None),
        }
    }
    Ok(Some(contents))
}

impl Outcome {
    pub const ALL: [Self; 7] =
        [Self::Hit, Self::Unchanged, Self::Stored, Self::Young, Self::Large, Self::Unread, Self::Head];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Unchanged => "unchanged",
            Self::Stored => "stored",
            Self::Young => "young",
            Self::Large => "large",
            Self::Unread => "unread",
            Self::Head => "head",
        }
    }
}

impl From<Unfit> for Outcome {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Large => Self::Large,
            Unfit::Young => Self::Young,
        }
    }
}
