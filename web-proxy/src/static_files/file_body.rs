//! A file's bytes on their way to the client, one piece at a time, as fast as the client takes them.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

/// `left` bytes of a file from `offset` on.
#[derive(Debug)]
pub struct FileBody {
    state: State,
    offset: u64,
    left: u64,
}

#[derive(Debug)]
enum State {
    Idle(File),
    Reading(JoinHandle<(File, io::Result<Bytes>)>),
    Failed,
}

#[derive(Debug, thiserror::Error)]
pub enum FileBodyError {
    /// It was cut off while it was being sent: its length was promised already.
    #[error("the file has become shorter")]
    Shrunk,
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A piece: large enough that reading from a disk pays, small enough for many clients at once.
const PIECE: u64 = 128 << 10;

impl FileBody {
    /// The bytes of `file` from `start` up to, without, `end`.
    pub const fn new(file: File, start: u64, end: u64) -> Self {
        Self { state: State::Idle(file), offset: start, left: end.saturating_sub(start) }
    }

    /// Goes on with other bytes of the same file, once the last of these are read.
    pub(super) const fn seek(&mut self, start: u64, end: u64) {
        self.offset = start;
        self.left = end.saturating_sub(start);
    }

    pub const fn left(&self) -> u64 {
        self.left
    }

    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, FileBodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(PIECE) as usize;
        let read = match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(file) => {
                if let Some(piece) = read_cached(&file, self.offset, length) {
                    self.state = State::Idle(file);
                    Ok(piece)
                } else {
                    let offset = self.offset;
                    let mut reading = tokio::task::spawn_blocking(move || {
                        let piece = read(&file, offset, length);
                        (file, piece)
                    });
                    let polled = Pin::new(&mut reading).poll(cx);
                    self.state = State::Reading(reading);
                    match polled {
                        Poll::Ready(done) => self.take(done),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
            State::Reading(mut reading) => {
                let polled = Pin::new(&mut reading).poll(cx);
                self.state = State::Reading(reading);
                let done = ready!(polled);
                self.take(done)
            }
            State::Failed => return Poll::Ready(None),
        };
        let piece = match read {
            Ok(piece) if piece.is_empty() => Err(FileBodyError::Shrunk),
            Ok(piece) => Ok(piece),
            Err(error) => Err(error.into()),
        };
        match &piece {
            Ok(piece) => {
                self.offset += piece.len() as u64;
                self.left -= piece.len() as u64;
            }
            Err(_) => self.state = State::Failed,
        }
        Poll::Ready(Some(piece))
    }

    fn take(&mut self, done: Result<(File, io::Result<Bytes>), tokio::task::JoinError>) -> io::Result<Bytes> {
        match done {
            Ok((file, piece)) => {
                self.state = State::Idle(file);
                piece
            }
            Err(error) => {
                self.state = State::Failed;
                Err(io::Error::other(error))
            }
        }
    }
}

/// What the kernel has in memory, without waiting for a disk; `None` if that is nothing, or not known.
fn read_cached(file: &File, offset: u64, length: usize) -> Option<Bytes> {
    let mut piece = BytesMut::zeroed(length);
    let read = preadv2(file, &mut [IoSliceMut::new(&mut piece)], offset, ReadWriteFlags::NOWAIT).ok()?;
    // At the end of the file nothing is read: the thread that may wait finds out for sure.
    if read == 0 {
        return None;
    }
    piece.truncate(read);
    Some(piece.freeze())
}

fn read(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut piece = BytesMut::zeroed(length);
    loop {
        match file.read_at(&mut piece, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(read) => {
                piece.truncate(read);
                return Ok(piece.freeze());
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::future::poll_fn;
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn sends_its_part_in_pieces() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        file.write_all(&content).unwrap();
        let mut body = FileBody::new(file, 5, 299_990);
        let mut sent = Vec::new();
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
            let piece = piece.unwrap();
            assert!(piece.len() <= PIECE as usize);
            sent.extend_from_slice(&piece);
        }
        assert_eq!(sent, content[5..299_990]);
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error_and_not_an_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        let mut body = FileBody::new(file, 0, 10);
        assert_eq!(poll_fn(|cx| body.poll_piece(cx)).await.unwrap().unwrap(), "abc");
        let end = poll_fn(|cx| body.poll_piece(cx)).await.unwrap();
        assert!(matches!(end, Err(FileBodyError::Shrunk)), "{end:?}");
        assert!(poll_fn(|cx| body.poll_piece(cx)).await.is_none());
    }
}
