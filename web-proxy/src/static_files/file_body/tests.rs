#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::io::Write as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use super::super::pieces::{LONGEST, SHORTEST};
use super::*;

fn file(content: &[u8]) -> (File, Metadata) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    let metadata = file.metadata().unwrap();
    (file, metadata)
}

async fn all<C: Content>(body: &mut FileBody<C>) -> Result<Vec<u8>, (usize, FileBodyError)> {
    let mut sent = Vec::new();
    while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
        let piece = piece.map_err(|error| (sent.len(), error))?;
        assert!(!piece.is_empty() && piece.len() <= LONGEST);
        sent.extend_from_slice(&piece);
    }
    Ok(sent)
}

fn numbers(length: u32) -> Vec<u8> {
    (0..length).map(|number| number as u8).collect()
}

#[tokio::test]
async fn sends_its_part_in_pieces() {
    let content = numbers(300_000);
    for primed in [false, true] {
        let (file, metadata) = file(&content);
        let mut body = FileBody::new(file, Version::of(&metadata), 5, 299_990);
        if primed {
            body.prime(Wait::Allowed).await.unwrap();
        }
        assert_eq!(body.left(), 299_985);
        assert_eq!(all(&mut body).await.unwrap(), content[5..299_990]);
    }
}

#[tokio::test]
async fn a_file_that_is_shorter_than_it_says_is_an_error_and_not_an_end() {
    let (file, metadata) = file(b"abc");
    let version = Version::of(&metadata);
    let mut body = FileBody::new(file, version, 0, 10);
    body.prime(Wait::Allowed).await.unwrap();
    let end = all(&mut body).await;
    assert!(matches!(end, Err((3, FileBodyError::Shrunk))), "{end:?}");
    assert!(poll_fn(|cx| body.poll_piece(cx)).await.is_none());
    assert!(body.left() > 0);
}

#[tokio::test]
async fn a_file_that_is_written_to_does_not_end_well() {
    type Change = fn(&File);
    let changes: [Change; 4] = [
        |file| file.set_len(200_000).unwrap(),
        |file| file.write_all_at(b"other", 7).unwrap(),
        |file| file.set_len(400_000).unwrap(),
        |file| {
            file.set_len(0).unwrap();
            file.write_all_at(&numbers(300_000), 0).unwrap();
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (file, _) = file(&numbers(300_000));
        // Long ago, so that the change cannot fall into the same tick of the clock.
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let metadata = file.metadata().unwrap();
        let other = file.try_clone().unwrap();
        let mut body = FileBody::new(file, Version::of(&metadata), 0, 300_000);
        body.prime(Wait::Allowed).await.unwrap();
        change(&other);
        let end = all(&mut body).await;
        assert!(matches!(end, Err((at, FileBodyError::Changed)) if at < 300_000), "{number}: {end:?}");
        assert!(poll_fn(|cx| body.poll_piece(cx)).await.is_none());
    }
}

#[tokio::test]
async fn a_small_file_that_was_written_to_is_found_out_before_anything_is_sent() {
    for length in [0, 50, 100, 200] {
        let (file, _) = file(&numbers(100));
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let metadata = file.metadata().unwrap();
        file.set_len(length).unwrap();
        file.write_all_at(b"x", 0).unwrap();
        let told = FileBody::new(file, Version::of(&metadata), 0, 100).prime(Wait::Allowed).await;
        assert!(matches!(told, Err(FileBodyError::Changed)), "{length}: {told:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_is_sent_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (path, next) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&path, numbers(300_000)).unwrap();
    let file = File::open(&path).unwrap();
    let metadata = file.metadata().unwrap();
    let mut body = FileBody::new(file, Version::of(&metadata), 0, 300_000);
    body.prime(Wait::Allowed).await.unwrap();
    std::fs::write(&next, "other").unwrap();
    std::fs::rename(&next, &path).unwrap();
    assert_eq!(all(&mut body).await.unwrap(), numbers(300_000));
}

/// A file on a disk or a file server that fails when it is read the `fails_at`th time.
#[derive(Debug)]
struct Faulty {
    reads: AtomicUsize,
    fails_at: usize,
    errno: rustix::io::Errno,
    /// A read waits for this.
    held: Option<Arc<Mutex<Receiver<()>>>>,
    version_fails: bool,
}

const AT_OPEN: Version = Version { modified: (1, 2), length: 300_000 };

impl Content for Faulty {
    fn read_cached(&self, _: u64, _: &mut [u8]) -> Option<usize> {
        None
    }

    fn read(&self, _: u64, piece: &mut [u8]) -> io::Result<usize> {
        if let Some(held) = &self.held {
            // Ends when the test drops its side.
            let _ = held.lock().unwrap().recv();
        }
        if self.reads.fetch_add(1, Ordering::Relaxed) == self.fails_at {
            return Err(self.errno.into());
        }
        piece.fill(b'x');
        Ok(piece.len())
    }

    fn version(&self, _: Wait) -> io::Result<Version> {
        if self.version_fails { Err(self.errno.into()) } else { Ok(AT_OPEN) }
    }
}

fn faulty(fails_at: usize, errno: rustix::io::Errno) -> FileBody<Faulty> {
    let content = Faulty { reads: AtomicUsize::new(0), fails_at, errno, held: None, version_fails: false };
    FileBody::new(content, AT_OPEN, 0, 300_000)
}

#[tokio::test]
async fn errors_of_the_disk() {
    use rustix::io::Errno;
    for errno in [Errno::IO, Errno::STALE, Errno::NXIO] {
        let mut body = faulty(0, errno);
        let told = body.prime(Wait::Allowed).await;
        assert!(
            matches!(&told, Err(FileBodyError::Io(error)) if error.raw_os_error() == Some(errno.raw_os_error())),
            "{told:?}"
        );
        // There are two pieces, or three for a client that looks slow.
        for at in 0..2 {
            let mut body = faulty(at, errno);
            let end = all(&mut body).await;
            assert!(matches!(end, Err((sent, FileBodyError::Io(_))) if sent == at * SHORTEST), "{end:?}");
            assert!(poll_fn(|cx| body.poll_piece(cx)).await.is_none());
            assert!(body.left() > 0, "not at its end");
        }
        // All was read, but whether it is of one state cannot be known.
        let mut body = faulty(9, errno);
        let Reading::Idle(content) = &mut body.reading else { unreachable!() };
        content.version_fails = true;
        let end = all(&mut body).await;
        assert!(
            matches!(end, Err((sent, FileBodyError::Io(_))) if (SHORTEST..300_000).contains(&sent)),
            "{end:?}"
        );
    }
    assert_eq!(all(&mut faulty(9, Errno::IO)).await.unwrap().len(), 300_000);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_is_not_waited_for() {
    let (answer, held) = std::sync::mpsc::channel();
    let mut body = faulty(9, rustix::io::Errno::IO);
    let Reading::Idle(content) = &mut body.reading else { unreachable!() };
    content.held = Some(Arc::new(Mutex::new(held)));
    let mut reading = Box::pin(body.prime(Wait::Allowed));
    assert!(futures_util::poll!(reading.as_mut()).is_pending());
    tokio::time::advance(READ_TIMEOUT / 2).await;
    assert!(futures_util::poll!(reading.as_mut()).is_pending());
    tokio::time::advance(READ_TIMEOUT).await;
    let end = reading.await;
    assert!(matches!(end, Err(FileBodyError::TimedOut)), "{end:?}");
    // The thread may go.
    drop(answer);
}
