//! The operator's own error pages: `404.html`, `50x.html`, `5xx.html` in a folder.
//!
//! 1. All of them are read at the start, so that a page about a full disk does not need the disk.
//! 2. The most specific name for a status wins; without one the built-in page is sent.
//! 3. Each [`INTERVAL`] the folder is looked at, and read again if a name, a size or a time in it has changed. What
//!    cannot be used then is said, and the last pages stay.

use std::fs;
use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use common::shutdown::Shutdown;
use http::StatusCode;

/// None, or those of a folder.
#[derive(Debug, Clone, Default)]
pub struct ErrorPages(Option<Arc<Folder>>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    table: ArcSwap<Table>,
}

/// What the folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Table {
    /// The most specific first.
    pages: Vec<Page>,
    listing: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    statuses: RangeInclusive<u16>,
    content: Bytes,
}

/// One file, as far as it shows without being read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    path: PathBuf,
    modified: (i64, i64),
    length: u64,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    #[error("{}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{}: its name is no status; expected names such as 404.html, 50x.html or 5xx.html", path.display())]
    Name { path: PathBuf },
    #[error("{}: more than {} KiB", path.display(), LARGEST >> 10)]
    TooLarge { path: PathBuf },
}

const INTERVAL: Duration = Duration::from_secs(2);
/// Pages are held in memory.
const LARGEST: u64 = 256 << 10;

impl ErrorPages {
    pub fn open(path: &Path) -> Result<Self, PagesError> {
        let table = Table::read(listing(path)?)?;
        Ok(Self(Some(Arc::new(Folder { path: path.to_owned(), table: ArcSwap::from_pointee(table) }))))
    }

    /// The page for a status; `None` where the built-in one is to be sent.
    pub fn of(&self, status: StatusCode) -> Option<Bytes> {
        self.0.as_ref()?.table.load().of(status)
    }

    /// Reads the folder again when it has changed, until the drain.
    pub fn follow(&self, shutdown: &Shutdown) {
        let Some(folder) = self.0.clone() else { return };
        shutdown.spawn_until_drain(async move {
            let mut said = String::new();
            loop {
                tokio::time::sleep(INTERVAL).await;
                let looked = tokio::task::spawn_blocking({
                    let folder = Arc::clone(&folder);
                    move || folder.look()
                });
                let outcome = looked.await.map_err(|error| error.to_string());
                match outcome.and_then(|looked| looked.map_err(|error| error.to_string())) {
                    Ok(true) => tracing::info!(error_pages = %folder.path.display(), "read again"),
                    Ok(false) => {}
                    Err(error) if error == said => continue,
                    Err(error) => {
                        tracing::warn!(error, "error-pages: the last ones stay");
                        said = error;
                        continue;
                    }
                }
                said.clear();
            }
        });
    }
}

impl Folder {
    /// Whether there was something new.
    fn look(&self) -> Result<bool, PagesError> {
        let listing = listing(&self.path)?;
        if listing == self.table.load().listing {
            return Ok(false);
        }
        self.table.store(Arc::new(Table::read(listing)?));
        Ok(true)
    }
}

impl Table {
    fn read(listing: Vec<Entry>) -> Result<Self, PagesError> {
        let mut pages = Vec::with_capacity(listing.len());
        for Entry { path, length, .. } in &listing {
            let unreadable = |cause| PagesError::Unreadable { path: path.clone(), cause };
            let statuses = statuses(path).ok_or_else(|| PagesError::Name { path: path.clone() })?;
            if *length > LARGEST {
                return Err(PagesError::TooLarge { path: path.clone() });
            }
            let mut content = Vec::new();
            let file = fs::File::open(path).map_err(unreadable)?;
            file.take(LARGEST).read_to_end(&mut content).map_err(unreadable)?;
            pages.push(Page { statuses, content: content.into() });
        }
        pages.sort_by_key(|page| page.statuses.end() - page.statuses.start());
        Ok(Self { pages, listing })
    }

    fn of(&self, status: StatusCode) -> Option<Bytes> {
        let page = self.pages.iter().find(|page| page.statuses.contains(&status.as_u16()))?;
        Some(page.content.clone())
    }
}

/// The folder's files, without hidden ones: Kubernetes keeps `..data` beside what it mounts.
fn listing(folder: &Path) -> Result<Vec<Entry>, PagesError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |cause| PagesError::Unreadable { path, cause }
    };
    let mut listing = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(unreadable(&path))?;
        // A pipe would wait for its other end.
        if !metadata.is_file() {
            return Err(unreadable(&path)(io::Error::other("not a regular file")));
        }
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        listing.push(Entry { path, modified, length: metadata.len() });
    }
    listing.sort();
    Ok(listing)
}

/// `404.html`, `50x.html` or `5xx.html`: which statuses a page is for.
fn statuses(path: &Path) -> Option<RangeInclusive<u16>> {
    let name = path.file_name()?.to_str()?.strip_suffix(".html")?;
    let digits = name.trim_end_matches('x');
    let span = match (digits.len(), name.len()) {
        (3, 3) => 1,
        (2, 3) => 10,
        (1, 3) => 100,
        _ => return None,
    };
    let first = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok())?? * span;
    (400..600).contains(&first).then(|| first..=first + span - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), name).unwrap();
        }
        folder
    }

    #[test]
    fn the_most_specific_name_wins() {
        let folder = folder(&["5xx.html", "503.html", "50x.html", "404.html", ".gitkeep", "..data"]);
        let pages = ErrorPages::open(folder.path()).unwrap();
        let cases = [
            (503, Some("503.html")),
            (500, Some("50x.html")),
            (509, Some("50x.html")),
            (511, Some("5xx.html")),
            (404, Some("404.html")),
            (403, None),
        ];
        for (status, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(pages.of(status).as_deref(), expected.map(str::as_bytes), "{status}");
            assert_eq!(ErrorPages::default().of(status), None);
        }
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for name in [
            "404.htm",
            "4o4.html",
            "x04.html",
            "4x4.html",
            "40.html",
            "4040.html",
            "xxx.html",
            "301.html",
            "600.html",
            "error.html",
            "404.css",
            "+40.html",
        ] {
            let error = ErrorPages::open(folder(&["404.html", name]).path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("expected names such as 404.html"), "{error}");
        }
        let large = folder(&[]);
        fs::write(large.path().join("404.html"), vec![b'x'; LARGEST as usize + 1]).unwrap();
        assert!(ErrorPages::open(large.path()).unwrap_err().to_string().contains("more than 256 KiB"));
        assert!(ErrorPages::open(Path::new("/none/such")).unwrap_err().to_string().contains("/none/such"));
        let nested = folder(&[]);
        fs::create_dir(nested.path().join("404.html")).unwrap();
        assert!(matches!(ErrorPages::open(nested.path()), Err(PagesError::Unreadable { .. })));
    }

    #[test]
    fn changes_are_found() {
        let folder = folder(&["404.html"]);
        let pages = ErrorPages::open(folder.path()).unwrap();
        let look = || pages.0.as_ref().unwrap().look();
        assert!(!look().unwrap());
        fs::write(folder.path().join("404.html"), "changed").unwrap();
        assert!(look().unwrap());
        assert!(!look().unwrap());
        assert_eq!(pages.of(StatusCode::NOT_FOUND).unwrap(), "changed");
        // A mistake leaves what there was.
        fs::write(folder.path().join("oops.html"), "").unwrap();
        assert!(look().is_err());
        assert_eq!(pages.of(StatusCode::NOT_FOUND).unwrap(), "changed");
        fs::rename(folder.path().join("oops.html"), folder.path().join("4xx.html")).unwrap();
        fs::remove_file(folder.path().join("404.html")).unwrap();
        assert!(look().unwrap());
        assert_eq!(pages.of(StatusCode::NOT_FOUND).unwrap(), "");
    }
}
