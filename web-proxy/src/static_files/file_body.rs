//! A file's bytes on their way to the client, one piece at a time, as fast as the client takes them.
//!
//! 1. What the kernel has in memory is read at once, anything else on a thread that may wait, for
//!    [`READ_TIMEOUT`].
//! 2. [`FileBody::prime`] reads the first piece before anything is sent: what fails until then can still be
//!    answered properly.
//! 3. What is large and in the kernel's memory it sends itself where it can ([`by_kernel`]).
//! 4. With the last piece it is asked whether the file is still the one that was opened. If it was written to
//!    meanwhile, the response breaks off before its end, since it may be a mixture.

use std::fs::{File, Metadata};
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use super::pieces::{Pieces, SHORTEST};
use crate::docroot::{Docroot, Wait};

mod by_kernel;

pub use by_kernel::SendError;

/// `left` bytes of a file from `offset` on.
#[derive(Debug)]
pub struct FileBody<C = Readable> {
    reading: Reading<C>,
    /// The state that is being sent.
    opened: Version,
    offset: u64,
    left: u64,
    /// Read already, not yet handed on.
    primed: Option<Bytes>,
    pieces: Pieces,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Bytes that the kernel has sent since somebody else had a turn.
    turn: u64,
    /// The kernel cannot send it: it is read.
    is_read: bool,
}

#[derive(Debug)]
enum Reading<C> {
    Idle(C),
    Waiting(JoinHandle<(C, Result<Filled, FileBodyError>)>),
    Failed,
}

/// What reading without waiting has come to.
enum Cached<C> {
    Read(Result<Bytes, FileBodyError>),
    /// The kernel does not have it; the memory is for whoever waits.
    Unknown(C, BytesMut),
}

/// A piece of memory, and how many bytes of it were read.
type Filled = (BytesMut, usize);

/// What is read from: a file, or in tests one that fails on command.
pub trait Content: std::fmt::Debug + Send + Sync + 'static {
    /// What the kernel has in memory, without waiting for a disk, and how many bytes; `None` if that is nothing, or not
    /// known.
    fn read_cached(&self, offset: u64, piece: &mut [u8]) -> Option<usize>;
    /// At most as many bytes as `piece` has, none at the end of the file.
    fn read(&self, offset: u64, piece: &mut [u8]) -> io::Result<usize>;
    fn version(&self, wait: Wait) -> io::Result<Version>;
}

/// Where a response's bytes are.
#[derive(Debug, Clone)]
pub enum Readable {
    File(Arc<Stored>),
    /// All of them in memory, of this state of the file.
    Kept(Bytes, Version),
}

/// A file on some file system.
#[derive(Debug)]
pub struct Stored {
    pub(super) file: File,
    /// Its file system is in memory: nothing waits for a disk. Such a file system may not know how to read without waiting.
    pub(super) in_memory: bool,
}

/// Changes with the content. Not the time of the inode's change: that a name of the file is taken away, as
/// when another is put in its place, leaves the content as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    modified: (i64, i64),
    length: u64,
}

/// What is to be read next.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    offset: u64,
    left: u64,
    opened: Version,
}

#[derive(Debug, thiserror::Error)]
pub enum FileBodyError {
    /// It was cut off while it was being sent: its length was promised already.
    #[error("the file has become shorter")]
    Shrunk,
    /// What was sent may be of two states of it.
    #[error("the file was written to while it was being sent")]
    Changed,
    #[error("the file was not read within {READ_TIMEOUT:?}")]
    TimedOut,
    /// The kernel would have to read from the disk first, and nobody was to wait.
    #[error("not in the kernel's cache")]
    NotCached,
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A disk or a file server that takes longer will not answer. Its thread goes on waiting, the client does not.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// All bytes of `file`, opened in the state of `metadata`, if they come in one piece.
pub(super) async fn read_whole(
    docroot: &Docroot,
    file: File,
    metadata: &Metadata,
    wait: Wait,
) -> Result<(File, Option<Bytes>), FileBodyError> {
    let file = Stored::of(docroot, file, metadata);
    let mut body = FileBody::new(file, Version::of(metadata), 0, metadata.len());
    body.prime(wait).await?;
    let FileBody { reading: Reading::Idle(file), primed, left, .. } = body else {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
    };
    let read = primed.unwrap_or_default();
    Ok((file.file, (read.len() as u64 == left).then_some(read)))
}

impl<C: Content> FileBody<C> {
    /// The bytes of a file, opened in this state, from `start` up to, without, `end`.
    pub(super) fn new(content: C, opened: Version, start: u64, end: u64) -> Self {
        Self {
            reading: Reading::Idle(content),
            opened,
            offset: start,
            left: end.saturating_sub(start),
            primed: None,
            pieces: Pieces::new(),
            deadline: None,
            turn: 0,
            is_read: false,
        }
    }

    /// Goes on with other bytes of the same file, once the last of these are read.
    pub(super) fn seek(&mut self, start: u64, end: u64) {
        self.offset = start;
        self.left = end.saturating_sub(start);
    }

    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Reads the first piece ahead. Of what is longer than a piece it is only looked at, where nobody waits, whether it
    /// could be.
    pub async fn prime(&mut self, wait: Wait) -> Result<(), FileBodyError> {
        if wait == Wait::Never && self.left > SHORTEST as u64 {
            return self.check_cached();
        }
        if self.left > 0 && self.primed.is_none() {
            let piece = match wait {
                Wait::Never => match self.read_cached() {
                    Cached::Read(piece) => piece,
                    Cached::Unknown(..) => Err(FileBodyError::NotCached),
                },
                Wait::Allowed => poll_fn(|cx| self.poll_read(cx)).await,
            };
            self.primed = Some(piece?);
        }
        Ok(())
    }

    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, FileBodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match self.primed.take() {
            Some(piece) => Ok(piece),
            None if matches!(self.reading, Reading::Failed) => return Poll::Ready(None),
            None => ready!(self.poll_read(cx)),
        };
        if let Ok(piece) = &piece {
            self.offset += piece.len() as u64;
            self.left = self.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(Some(piece))
    }

    fn check_cached(&self) -> Result<(), FileBodyError> {
        let Reading::Idle(content) = &self.reading else { return Err(FileBodyError::NotCached) };
        if content.version(Wait::Never)? != self.opened {
            return Err(FileBodyError::Changed);
        }
        content.read_cached(self.offset, &mut [0]).map(drop).ok_or(FileBodyError::NotCached)
    }

    /// The piece at `offset`, if that takes no waiting. After an error there is nothing more.
    fn read_cached(&mut self) -> Cached<C> {
        let wanted = Wanted { offset: self.offset, left: self.left, opened: self.opened };
        match std::mem::replace(&mut self.reading, Reading::Failed) {
            Reading::Idle(content) => {
                let mut piece = self.pieces.memory(wanted.left);
                let Some(read) = content.read_cached(wanted.offset, &mut piece) else {
                    return Cached::Unknown(content, piece);
                };
                Cached::Read(wanted.check(&content, piece.len(), read, Wait::Never).map(|()| {
                    self.reading = Reading::Idle(content);
                    self.pieces.filled(piece, read, read as u64 >= wanted.left)
                }))
            }
            // Somebody waits for it already.
            waiting_or_failed => {
                self.reading = waiting_or_failed;
                Cached::Read(Err(io::Error::from(io::ErrorKind::BrokenPipe).into()))
            }
        }
    }

    /// The piece at `offset`. After an error there is nothing more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, FileBodyError>> {
        let wanted = Wanted { offset: self.offset, left: self.left, opened: self.opened };
        if matches!(self.reading, Reading::Idle(_)) {
            let (content, mut piece) = match self.read_cached() {
                Cached::Read(piece) => return Poll::Ready(piece),
                Cached::Unknown(content, piece) => (content, piece),
            };
            self.deadline = Some(Box::pin(tokio::time::sleep(READ_TIMEOUT)));
            self.reading = Reading::Waiting(tokio::task::spawn_blocking(move || {
                let read = content.read(wanted.offset, &mut piece).map_err(FileBodyError::from);
                let read = read
                    .and_then(|read| wanted.check(&content, piece.len(), read, Wait::Allowed).map(|()| read));
                (content, read.map(|read| (piece, read)))
            }));
        }
        let mut waiting = match std::mem::replace(&mut self.reading, Reading::Failed) {
            Reading::Waiting(waiting) => waiting,
            Reading::Idle(_) | Reading::Failed => {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe).into()));
            }
        };
        let Poll::Ready(done) = Pin::new(&mut waiting).poll(cx) else {
            let late = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
            if late {
                return Poll::Ready(Err(FileBodyError::TimedOut));
            }
            self.reading = Reading::Waiting(waiting);
            return Poll::Pending;
        };
        self.deadline = None;
        let (content, piece) = done.map_err(io::Error::other)?;
        let (piece, read) = piece?;
        self.reading = Reading::Idle(content);
        Poll::Ready(Ok(self.pieces.filled(piece, read, read as u64 >= self.left)))
    }
}

impl Wanted {
    /// Whether a piece of which so many bytes were `read` can be trusted, and what came before it. It is asked with the
    /// last one, and with one that is shorter than it should be.
    fn check(
        self,
        content: &impl Content,
        length: usize,
        read: usize,
        wait: Wait,
    ) -> Result<(), FileBodyError> {
        let is_last = read as u64 >= self.left;
        if (is_last || read < length) && content.version(wait)? != self.opened {
            return Err(FileBodyError::Changed);
        }
        // Its length has not changed and yet it is not that long: the kernel's own files are like that.
        if read == 0 { Err(FileBodyError::Shrunk) } else { Ok(()) }
    }
}

impl Version {
    pub fn of(metadata: &Metadata) -> Self {
        Self { modified: (metadata.mtime(), metadata.mtime_nsec()), length: metadata.len() }
    }
}

impl Content for Readable {
    fn read_cached(&self, offset: u64, piece: &mut [u8]) -> Option<usize> {
        match self {
            Self::File(file) => file.read_cached(offset, piece),
            Self::Kept(..) => self.read(offset, piece).ok(),
        }
    }

    fn read(&self, offset: u64, piece: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(offset, piece),
            Self::Kept(bytes, _) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
                let rest = rest.unwrap_or_default();
                let read = rest.len().min(piece.len());
                piece[..read].copy_from_slice(&rest[..read]);
                Ok(read)
            }
        }
    }

    fn version(&self, wait: Wait) -> io::Result<Version> {
        match self {
            Self::File(file) => file.version(wait),
            Self::Kept(_, version) => Ok(*version),
        }
    }
}

impl Stored {
    pub(super) fn of(docroot: &Docroot, file: File, metadata: &Metadata) -> Self {
        Self { file, in_memory: docroot.is_in_memory(metadata) }
    }
}

impl Content for Stored {
    fn read_cached(&self, offset: u64, piece: &mut [u8]) -> Option<usize> {
        if !self.in_memory {
            return self.file.read_cached(offset, piece);
        }
        self.file.read(offset, piece).ok().filter(|read| *read > 0)
    }

    fn read(&self, offset: u64, piece: &mut [u8]) -> io::Result<usize> {
        self.file.read(offset, piece)
    }

    fn version(&self, wait: Wait) -> io::Result<Version> {
        self.file.version(wait)
    }
}

impl Content for File {
    fn read_cached(&self, offset: u64, piece: &mut [u8]) -> Option<usize> {
        let read = preadv2(self, &mut [IoSliceMut::new(piece)], offset, ReadWriteFlags::NOWAIT).ok()?;
        // At the end of the file nothing is read: the thread that may wait finds out for sure.
        (read > 0).then_some(read)
    }

    fn read(&self, offset: u64, piece: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_at(piece, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Without waiting: what the kernel knows, without asking a file server (whose files are read only where
    /// waiting is allowed).
    fn version(&self, wait: Wait) -> io::Result<Version> {
        if wait == Wait::Allowed {
            return Ok(Version::of(&self.metadata()?));
        }
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let known = statx(self, c"", flags, StatxFlags::MTIME | StatxFlags::SIZE)?;
        Ok(Version {
            modified: (known.stx_mtime.tv_sec, i64::from(known.stx_mtime.tv_nsec)),
            length: known.stx_size,
        })
    }
}

#[cfg(test)]
mod tests;
