//! Several parts of a file as one `multipart/byteranges`, read one after the other.

use std::task::{Context, Poll};

use bytes::Bytes;
use common::http::range::Multipart;
use common::http::range::multipart::Step;

use super::file_body::{Readable, Version};
use super::{FileBody, FileBodyError};
use crate::docroot::Wait;

/// The body of a multipart response from a file.
#[derive(Debug)]
pub struct FileParts {
    steps: Multipart,
    /// The part that is being read.
    content: FileBody,
    /// What comes before it, once that is read ahead.
    head: Option<Bytes>,
    left: u64,
}

impl FileParts {
    /// Of what is in this state.
    pub(super) fn new(content: Readable, version: Version, steps: Multipart) -> Self {
        let left = steps.length();
        Self { steps, content: FileBody::new(content, version, 0, 0), head: None, left }
    }

    /// Reads the first piece of the first part ahead.
    pub async fn prime(&mut self, wait: Wait) -> Result<(), FileBodyError> {
        while self.content.left() == 0 {
            match self.steps.next() {
                Some(Step::Text(text)) if self.head.is_none() => self.head = Some(text),
                Some(Step::Content(part)) => self.content.seek(part.start, part.end),
                // No multipart body has two texts in front, or no part.
                Some(Step::Text(_)) | None => return Ok(()),
            }
        }
        self.content.prime(wait).await
    }

    pub const fn left(&self) -> u64 {
        self.left
    }

    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, FileBodyError>>> {
        let piece = loop {
            if let Some(head) = self.head.take() {
                break head;
            }
            if self.content.left() > 0 {
                match self.content.poll_piece(cx) {
                    Poll::Ready(Some(Ok(piece))) => break piece,
                    Poll::Ready(None) => return Poll::Ready(None),
                    failed_or_pending => return failed_or_pending,
                }
            }
            match self.steps.next() {
                Some(Step::Text(text)) => break text,
                Some(Step::Content(part)) => self.content.seek(part.start, part.end),
                None => return Poll::Ready(None),
            }
        };
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::future::poll_fn;
    use std::io::Write as _;

    use common::http::range::Part;

    use super::super::file_body::Stored;
    use super::*;

    /// From a file, and from memory.
    fn parts_of(content: &[u8], steps: impl Fn() -> Multipart) -> [FileParts; 2] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let version = Version::of(&file.metadata().unwrap());
        let kept = Readable::Kept(Bytes::copy_from_slice(content), version);
        [Readable::File(Stored { file, in_memory: false }.into()), kept]
            .map(|content| FileParts::new(content, version, steps()))
    }

    #[tokio::test]
    async fn part_by_part() {
        let content: Vec<u8> = (0..400_000_u32).map(|number| (number / 7) as u8).collect();
        let parts = [Part { start: 390_000, end: 400_000 }, Part { start: 1, end: 300_001 }];
        for mut body in parts_of(&content, || Multipart::new(&parts, 400_000, None)) {
            let length = body.left();
            body.prime(Wait::Allowed).await.unwrap();
            let mut sent = Vec::new();
            while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
                sent.extend_from_slice(&piece.unwrap());
                assert_eq!(body.left(), length - sent.len() as u64);
            }
            assert_eq!(body.left(), 0);
            let heads: Vec<usize> = sent
                .windows(4)
                .enumerate()
                .filter(|(_, four)| four == b"\r\n\r\n")
                .map(|(at, _)| at + 4)
                .collect();
            assert_eq!(sent[heads[0]..][..10_000], content[390_000..]);
            assert_eq!(sent[heads[1]..][..300_000], content[1..300_001]);
        }
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error() {
        let parts = [Part { start: 0, end: 2 }, Part { start: 5, end: 9 }];
        for mut body in parts_of(b"abc", || Multipart::new(&parts, 10, None)) {
            let mut sent = 0;
            let failure = loop {
                match poll_fn(|cx| body.poll_piece(cx)).await {
                    Some(Ok(piece)) => sent += piece.len(),
                    end => break end,
                }
            };
            assert!(matches!(failure, Some(Err(FileBodyError::Shrunk))), "{failure:?} after {sent}");
            assert!(poll_fn(|cx| body.poll_piece(cx)).await.is_none());
            assert!(body.left() > 0);
        }
    }
}
