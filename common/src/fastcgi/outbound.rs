//! Buffering: records on their way out.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};

use super::{Header, MAX_SENT, RecordType};

/// Encoded records that wait to be written, as a [`Buf`]: `stream.write_all_buf(&mut outbound)` writes
/// them with `writev` and is safe to cancel, since what was written is gone from the buffer.
///
/// Whoever fills it looks at [`remaining`](Buf::remaining) and waits for the writer when there is much.
#[derive(Debug, Default)]
pub struct Outbound {
    /// Whole pieces, before `tail`.
    queue: VecDeque<Bytes>,
    /// Headers, padding and small contents, gathered.
    tail: BytesMut,
    queued: usize,
}

/// Contents from this size on are queued as they are; copying fewer bytes is cheaper than another piece.
const GATHER_BELOW: usize = 4096;

impl Outbound {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `content` as records of `kind`, cut where it is longer than a record can be.
    /// Empty content gives one empty record, which ends a stream (section 3.3).
    pub fn record(&mut self, kind: RecordType, request_id: u16, mut content: Bytes) {
        loop {
            let piece = content.split_to(content.len().min(MAX_SENT));
            let padding = self.header(kind, request_id, piece.len());
            if piece.len() < GATHER_BELOW {
                self.tail.put_slice(&piece);
            } else {
                self.seal();
                self.queued += piece.len();
                self.queue.push_back(piece);
            }
            self.tail.put_bytes(0, padding);
            if content.is_empty() {
                return;
            }
        }
    }

    /// Appends the header of a record whose content the caller writes next, followed by as many zero
    /// bytes as the answer says.
    pub(super) fn header(&mut self, kind: RecordType, request_id: u16, length: usize) -> usize {
        let header = Header::padded(kind, request_id, length);
        self.tail.put_slice(&header.encode());
        header.padding_length.into()
    }

    pub(super) const fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let piece = self.tail.split().freeze();
            self.queued += piece.len();
            self.queue.push_back(piece);
        }
    }
}

impl Buf for Outbound {
    fn remaining(&self) -> usize {
        self.queued + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&self.tail, |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.queue.iter().map(|piece| &piece[..]).chain([&self.tail[..]]);
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.queue.front_mut() {
            let taken = front.len().min(count);
            front.advance(taken);
            self.queued -= taken;
            count -= taken;
            if !front.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
        self.tail.advance(count);
    }
}
