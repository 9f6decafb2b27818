//! What the kernel sends of a file without a copy through this process (sendfile(2)).
//!
//! 1. Only what is in memory: a thread that serves others must not wait for a disk. It is asked for a byte here and there
//!    ([`is_in_memory`]); what is not there is read as always, on a thread that may wait.
//! 2. Behind each piece it is asked whether the file is still the one that was opened.
//! 3. The last bytes go through this process in any case: they are read, then it is asked once more, and only then are they
//!    sent. So no response looks complete in which something else was found by then.
//!
//! What the kernel was given is a reference to the file's pages. Who overwrites them in place, without making the file
//! shorter first, in the moment in which they are on their way, changes what is on its way, and nobody can tell.

use std::io;
use std::task::{Context, Poll, ready};

use common::net::{Stream, WriteDeadline};

use super::{Content as _, FileBody, FileBodyError, Readable, Reading, Stored};
use crate::docroot::Wait;

/// Why the kernel did not send.
#[derive(Debug)]
pub enum SendError {
    File(FileBodyError),
    /// The client is gone.
    Client(io::Error),
}

/// What is sent through this process at the end.
const LAST: u64 = 16 << 10;
/// Below that one copy costs less than what is asked beside it.
const WORTH_IT: u64 = 64 << 10;
/// The most in one call: some 100 µs, if the client takes all of it.
const MOST: u64 = 1 << 20;
/// After that others have their turn.
const TURN: u64 = 2 << 20;
/// Between two places that are asked for. The kernel reads ahead in steps of that size.
const STEP: usize = 128 << 10;

impl FileBody<Readable> {
    /// Whether the rest is worth it.
    pub fn is_for_the_kernel(&self) -> bool {
        self.left > WORTH_IT
            && !self.is_read
            && self.primed.is_none()
            && matches!(self.reading, Reading::Idle(Readable::File(_)))
    }

    /// Sends what comes next; how many bytes that were. `None`: it has to be read.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut WriteDeadline<Stream>,
    ) -> Poll<Option<Result<usize, SendError>>> {
        let Reading::Idle(Readable::File(stored)) = &self.reading else { return Poll::Ready(None) };
        if !self.is_for_the_kernel() {
            return Poll::Ready(None);
        }
        if self.turn >= TURN {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = usize::try_from((self.left - LAST).min(MOST)).unwrap_or(usize::MAX);
        if !is_in_memory(stored, self.offset, most) {
            return Poll::Ready(None);
        }
        let sent = match ready!(stream.poll_send_file(cx, &stored.file, self.offset, most)) {
            Ok(sent) => sent,
            Err(error) if is_of_the_file(&error) => return self.fail(error.into()),
            Err(error) if is_unable(&error) => {
                self.is_read = true;
                return Poll::Ready(None);
            }
            Err(error) => return Poll::Ready(Some(Err(SendError::Client(error)))),
        };
        match stored.version(Wait::Never) {
            Ok(version) if version != self.opened => return self.fail(FileBodyError::Changed),
            Ok(_) if sent == 0 => return self.fail(FileBodyError::Shrunk),
            Ok(_) => {}
            Err(error) => return self.fail(error.into()),
        }
        let bytes = sent as u64;
        (self.offset, self.left, self.turn) =
            (self.offset + bytes, self.left.saturating_sub(bytes), self.turn + bytes);
        Poll::Ready(Some(Ok(sent)))
    }

    fn fail(&mut self, error: FileBodyError) -> Poll<Option<Result<usize, SendError>>> {
        self.reading = Reading::Failed;
        Poll::Ready(Some(Err(SendError::File(error))))
    }
}

/// Whether all of this is in memory, as far as a few questions tell: the kernel takes and gives memory in long stretches.
fn is_in_memory(stored: &Stored, offset: u64, length: usize) -> bool {
    let is_there = |at: usize| stored.read_cached(offset + at as u64, &mut [0]).is_some();
    stored.in_memory || ((0..length).step_by(STEP).all(is_there) && is_there(length.saturating_sub(1)))
}

/// What reading from a disk or a file server may end in, and sending may not.
fn is_of_the_file(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::STALE))
}

/// A file system that does not know how, or a sandbox that does not let the kernel.
fn is_unable(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let unable = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM, Errno::OVERFLOW];
    Errno::from_io_error(error).is_some_and(|error| unable.contains(&error))
}

#[cfg(test)]
mod tests;
