//! How much of a file is read at once, and into which memory.
//!
//! 1. The longer the pieces, the fewer the system calls and the times that the client is woken up for one; but each slow
//!    client holds one. So a client that takes pieces quickly gets longer ones ([`next`]).
//! 2. A piece is read into the memory of the one before, once that has been written out: fresh memory would have to be
//!    mapped and cleared first.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

/// The first piece: large enough that reading from a disk pays, small enough for many clients at once.
pub(super) const SHORTEST: usize = 128 << 10;
/// Longer ones were worth another 4 % at most.
pub(super) const LONGEST: usize = 512 << 10;
/// A client that takes the shortest piece in this time takes 50 Mbit/s.
const QUICK: Duration = Duration::from_millis(20);

/// The pieces of one body.
#[derive(Debug)]
pub(super) struct Pieces {
    length: usize,
    /// The memory of the last one, which may be in use still, and when it was handed on.
    last: Option<(Bytes, Instant)>,
}

/// How long a piece is after one of `length` bytes that the client took `within` this time.
fn next(length: usize, within: Duration) -> usize {
    let next = if within <= QUICK { length * 2 } else { length / 2 };
    next.clamp(SHORTEST, LONGEST)
}

impl Pieces {
    pub(super) const fn new() -> Self {
        Self { length: SHORTEST, last: None }
    }

    /// Memory for the next piece, of which `most` bytes are wanted at most.
    pub(super) fn memory(&mut self, most: u64) -> BytesMut {
        let mut spare = None;
        if let Some((memory, handed)) = self.last.take() {
            self.length = next(self.length, handed.elapsed());
            // Nobody reads from it any more, and it is not longer than what this client is to hold.
            spare = memory.try_into_mut().ok().filter(|memory| memory.len() == self.length);
        }
        let wanted = usize::try_from(most).map_or(self.length, |most| most.min(self.length));
        match spare {
            Some(mut spare) => {
                spare.truncate(wanted);
                spare
            }
            None => BytesMut::zeroed(wanted),
        }
    }

    /// The first `read` bytes of `memory`, to be handed on; with the `last` piece nothing is kept.
    pub(super) fn filled(&mut self, mut memory: BytesMut, read: usize, is_last: bool) -> Bytes {
        if is_last {
            memory.truncate(read);
            return memory.freeze();
        }
        let memory = memory.freeze();
        let filled = memory.slice(..read);
        self.last = Some((memory, Instant::now()));
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_quick_gets_longer_pieces() {
        let cases = [
            (SHORTEST, 0, 256 << 10),
            (SHORTEST, 20, 256 << 10),
            (SHORTEST, 21, SHORTEST),
            (256 << 10, 20, LONGEST),
            (LONGEST, 20, LONGEST),
            (LONGEST, 21, 256 << 10),
            (256 << 10, 60_000, SHORTEST),
        ];
        for (length, millis, expected) in cases {
            assert_eq!(next(length, Duration::from_millis(millis)), expected, "{length} {millis}");
        }
    }

    /// The address of the memory of a piece that is let go, or `held`.
    fn piece(pieces: &mut Pieces, held: &mut Vec<Bytes>, holds: bool) -> (usize, usize) {
        let memory = pieces.memory(10 << 20);
        let (place, length) = (memory.as_ptr().addr(), memory.len());
        let piece = pieces.filled(memory, length, false);
        if holds {
            held.push(piece);
        }
        (place, length)
    }

    #[test]
    fn memory_is_used_again_once_it_is_free() {
        let mut held = Vec::new();
        let mut pieces = Pieces { length: LONGEST, last: None };
        // A test may be interrupted between two pieces: what it sees then is a slow client.
        let mut again = 0;
        let mut before = piece(&mut pieces, &mut held, false);
        for _ in 0..10 {
            let after = piece(&mut pieces, &mut held, false);
            again += usize::from(before == after);
            before = after;
        }
        assert!(again > 0);
        for _ in 0..10 {
            let after = piece(&mut pieces, &mut held, true);
            assert!(held.iter().rev().skip(1).all(|held| held.as_ptr().addr() != after.0), "it is in use");
        }
        // No more than is left, and then nothing is kept.
        let memory = pieces.memory(5);
        assert_eq!(memory.len(), 5);
        assert_eq!(pieces.filled(memory, 3, true).len(), 3);
        assert!(pieces.last.is_none());
    }

    #[test]
    fn a_slow_client_does_not_go_on_holding_a_long_piece() {
        let mut pieces = Pieces { length: LONGEST, last: None };
        let memory = pieces.memory(10 << 20);
        drop(pieces.filled(memory, LONGEST, false));
        let Some((_, handed)) = &mut pieces.last else { unreachable!("there are more") };
        let Some(long_ago) = handed.checked_sub(QUICK * 2) else { return };
        *handed = long_ago;
        let memory = pieces.memory(10 << 20);
        assert_eq!((memory.len(), memory.capacity()), (256 << 10, 256 << 10));
    }
}
