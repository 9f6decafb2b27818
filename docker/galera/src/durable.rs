//! Small files that are there whole or not at all, also after a crash.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a write to the shared folder may take. A thread that hangs in it is left behind.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes, syncs, and renames into place.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (folder, file) = written(path, content)?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// The same, for a file that must not exist: of several who try, one succeeds. False when there is one already.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<bool> {
    let (folder, file) = written(path, content)?;
    // A link is exclusive, on a shared file system too, and the content is whole from the first moment.
    match fs::hard_link(file.path(), path) {
        Ok(()) => File::open(folder)?.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn written<'a>(path: &'a Path, content: &[u8]) -> io::Result<(&'a Path, tempfile::NamedTempFile)> {
    let folder = path.parent().ok_or_else(|| io::Error::other("no folder"))?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok((folder, file))
}

/// Runs what may hang off the async threads, for a bounded time.
pub(crate) async fn within<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let outcome = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(work)).await;
    match outcome {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => Err(io::Error::other(panicked)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the file system does not answer")),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_file_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("founded");
        assert!(create(&path, b"one").unwrap());
        assert!(!create(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        // Nothing is left of the attempts.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_many_one_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("founded");
        let made = std::thread::scope(|scope| {
            let path = &path;
            let all: Vec<_> =
                (0..8).map(|n: u8| scope.spawn(move || create(path, &[n; 100]).unwrap())).collect();
            all.into_iter().map(|one| one.join().unwrap()).filter(|made| *made).count()
        });
        assert_eq!(made, 1);
        assert_eq!(fs::read(&path).unwrap().len(), 100);
    }
}
