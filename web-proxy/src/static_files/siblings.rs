//! Files that were compressed beforehand: `style.css.br`, `style.css.zst` and `style.css.gz` beside `style.css`.
//!
//! 1. [`preferred`](super::coding::preferred): which of them the client would rather have.
//! 2. Each of these is opened, best first, until one is there and [`is_current`] ([`find`]). For what is to be kept in
//!    memory all are, whatever the client accepts ([`all`]).
//!
//! On a shared volume another machine may write one at any time: each look begins anew.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use super::Coding;
use crate::docroot::{Docroot, MapError, Wait};
use crate::route::path::UrlPath;

/// The bytes that stand for a file.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) file: File,
    pub(super) metadata: Metadata,
    pub(super) coding: Coding,
}

/// The first of the `wanted` forms of the file at `path` that there is.
pub(super) async fn find(
    docroot: &Arc<Docroot>,
    path: &UrlPath,
    plain: Times,
    wanted: Vec<Coding>,
    wait: Wait,
) -> Result<Option<Form>, NotCached> {
    // Without an answer the plain file does.
    Ok(look(docroot, path, plain, wanted, 1, wait).await?.and_then(|mut forms| forms.pop()))
}

/// All forms, in the order of `codings`; `None` if the file system does not answer.
pub(super) async fn all(
    docroot: &Arc<Docroot>,
    path: &UrlPath,
    plain: &Metadata,
    codings: Vec<Coding>,
    wait: Wait,
) -> Result<Option<Vec<Form>>, NotCached> {
    look(docroot, path, Times::of(plain), codings, usize::MAX, wait).await
}

/// At most `most` forms.
async fn look(
    docroot: &Arc<Docroot>,
    path: &UrlPath,
    plain: Times,
    codings: Vec<Coding>,
    most: usize,
    wait: Wait,
) -> Result<Option<Vec<Form>>, NotCached> {
    match open(docroot, path, plain, &codings, most, Wait::Never) {
        Err(NotCached) if wait == Wait::Allowed => {}
        known => return known.map(Some),
    }
    let (docroot, path) = (Arc::clone(docroot), path.clone());
    let looking =
        tokio::task::spawn_blocking(move || open(&docroot, &path, plain, &codings, most, Wait::Allowed));
    let looked = tokio::time::timeout(super::READ_TIMEOUT, looking).await;
    Ok(looked.ok().and_then(|looked| looked.ok()?.ok()))
}

/// The kernel would have to read from the disk first, and nobody was to wait.
#[derive(Debug)]
pub(super) struct NotCached;

fn open(
    docroot: &Docroot,
    path: &UrlPath,
    plain: Times,
    codings: &[Coding],
    most: usize,
    wait: Wait,
) -> Result<Vec<Form>, NotCached> {
    let mut forms = Vec::new();
    for coding in codings {
        if forms.len() >= most {
            break;
        }
        match docroot.open_file(&path.with_suffix(coding.suffix()), wait) {
            Ok(Some((file, metadata))) if is_current(plain, Times::of(&metadata), metadata.len()) => {
                forms.push(Form { file, metadata, coding: *coding });
            }
            Err(MapError::NotCached) => return Err(NotCached),
            // One that may not be read is as good as none.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(forms)
}

/// When a file was last changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    seconds: i64,
    nanoseconds: i64,
}

impl Times {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() }
    }

    pub(super) const fn new((seconds, nanoseconds): (i64, i64)) -> Self {
        Self { seconds, nanoseconds }
    }
}

/// Whether a compressed form is of what the plain file holds: written after it, or given its time by a
/// compressor or by what unpacked both, which may keep whole seconds or microseconds only. Empty ones are what
/// a full disk leaves behind.
const fn is_current(plain: Times, coded: Times, length: u64) -> bool {
    let cut_off = coded.nanoseconds == 0 || coded.nanoseconds == plain.nanoseconds / 1000 * 1000;
    length > 0
        && (coded.seconds > plain.seconds
            || coded.seconds == plain.seconds && (coded.nanoseconds >= plain.nanoseconds || cut_off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_current() {
        // Seconds and nanoseconds of the plain file and of the compressed one.
        let cases = [
            ((100, 5_500), (100, 5_500), true),
            ((100, 5_500), (100, 5_501), true),
            ((100, 5_500), (101, 0), true),
            // Drupal writes the compressed one right behind the plain one.
            ((100, 999_999_999), (101, 1), true),
            ((100, 5_500), (100, 5_499), false),
            ((100, 5_500), (99, 999_999_999), false),
            ((100, 5_500), (99, 5_500), false),
            // The time of the plain one, in whole seconds or microseconds.
            ((100, 5_500), (100, 0), true),
            ((100, 5_500), (100, 5_000), true),
            ((100, 5_500), (100, 4_000), false),
        ];
        for (plain, coded, expected) in cases {
            let times = |(seconds, nanoseconds)| Times { seconds, nanoseconds };
            assert_eq!(is_current(times(plain), times(coded), 1), expected, "{plain:?} {coded:?}");
            assert!(!is_current(times(plain), times(coded), 0), "an empty one");
        }
    }
}
