//! A docroot by its path, which may lead to another folder tomorrow: sites are deployed by swapping a link such as
//! `current -> releases/42`.
//!
//! 1. Each [`INTERVAL`] the path is looked at, on a thread that may wait; no file system between replicas tells.
//! 2. Where it leads elsewhere, or where another folder has its name, that is opened, and whoever asks from then
//!    on gets it. A request keeps the one that it began with, with everything in it.
//! 3. While the path leads nowhere, as between the two steps of a careless deployment, the last one stays.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use common::shutdown::Shutdown;

use super::{Docroot, identity};

#[derive(Debug)]
pub struct Followed {
    /// As it was configured.
    path: PathBuf,
    follow_symlinks: bool,
    current: ArcSwap<Docroot>,
    /// The path leads nowhere, and that was said.
    lost: AtomicBool,
}

/// A deployment keeps the last release for longer.
const INTERVAL: Duration = Duration::from_secs(1);

impl Followed {
    pub fn open(path: &Path, follow_symlinks: bool) -> io::Result<Self> {
        let current = ArcSwap::from_pointee(Docroot::open(path, follow_symlinks)?);
        Ok(Self { path: path.to_owned(), follow_symlinks, current, lost: AtomicBool::new(false) })
    }

    /// The docroot for one request.
    pub fn current(&self) -> Arc<Docroot> {
        self.current.load_full()
    }

    /// Looks where the path leads now; whether that is elsewhere. Blocks for as long as the disk does.
    fn look(&self) -> io::Result<bool> {
        let real = self.path.canonicalize()?;
        let current = self.current();
        if real == **current.path() && identity(&rustix::fs::stat(&real)?) == current.identity {
            return Ok(false);
        }
        self.current.store(Arc::new(Docroot::open(&self.path, self.follow_symlinks)?));
        Ok(true)
    }

    fn look_and_tell(&self) {
        let path = self.path.display();
        match self.look() {
            Ok(swapped) => {
                let was_lost = self.lost.swap(false, Ordering::Relaxed);
                if swapped {
                    tracing::info!(docroot = %path, now = %self.current().path().display(), "leads elsewhere");
                } else if was_lost {
                    tracing::info!(docroot = %path, "is there again");
                }
            }
            Err(error) => {
                if !self.lost.swap(true, Ordering::Relaxed) {
                    tracing::warn!(docroot = %path, %error, "leads nowhere; the last one stays");
                }
            }
        }
    }
}

/// Looks at each of them, until the drain.
pub fn follow(docroots: Vec<Arc<Followed>>, shutdown: &Shutdown) {
    shutdown.spawn_until_drain(async move {
        loop {
            tokio::time::sleep(INTERVAL).await;
            for docroot in &docroots {
                let docroot = Arc::clone(docroot);
                // However long it takes: while a disk hangs, one thread waits for it and not one each second.
                if let Err(error) = tokio::task::spawn_blocking(move || docroot.look_and_tell()).await {
                    tracing::error!(%error, "cannot look at a docroot");
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_is_swapped_and_a_folder_that_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let path = |name: &str| folder.join(name);
        for release in ["1", "2"] {
            fs::create_dir_all(path(release).join("web")).unwrap();
        }
        symlink("1", path("current")).unwrap();
        let docroot = Followed::open(&path("current/web"), false).unwrap();
        let before = docroot.current();
        assert_eq!(**before.path(), path("1/web"));
        assert!(!docroot.look().unwrap());

        symlink("2", path("next")).unwrap();
        fs::rename(path("next"), path("current")).unwrap();
        assert!(docroot.look().unwrap());
        assert_eq!(**docroot.current().path(), path("2/web"));
        assert!(!docroot.look().unwrap());
        assert_eq!(**before.path(), path("1/web"), "who has it keeps it");

        // Another folder under the same name.
        fs::rename(path("2"), path("old")).unwrap();
        assert!(docroot.look().is_err(), "it leads nowhere");
        assert_eq!(**docroot.current().path(), path("2/web"));
        fs::create_dir_all(path("2/web")).unwrap();
        assert!(docroot.look().unwrap());
        // The same folder under another name: PHP must be told the new one.
        fs::rename(path("2"), path("3")).unwrap();
        symlink("3", path("next")).unwrap();
        fs::rename(path("next"), path("current")).unwrap();
        assert!(docroot.look().unwrap());
        assert_eq!(**docroot.current().path(), path("3/web"));
        assert!(!docroot.look().unwrap());

        // A file is no docroot.
        fs::remove_dir_all(path("3/web")).unwrap();
        fs::write(path("3/web"), "").unwrap();
        assert!(docroot.look().is_err());
    }
}
