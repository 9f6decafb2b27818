//! Several parts of a body in one: `multipart/byteranges` (RFC 9110, section 14.6).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use super::{Part, content_range};

/// A `multipart/byteranges` body whose length is known before its first byte is read.
#[derive(Debug)]
pub struct Multipart {
    boundary: String,
    steps: VecDeque<Step>,
    length: u64,
}

/// What is sent next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A part's head, or the end.
    Text(Bytes),
    /// These bytes of the representation.
    Content(Part),
}

impl Multipart {
    /// `parts` of a representation of `total` bytes that would have `content_type` as a whole.
    pub fn new(parts: &[Part], total: u64, content_type: Option<&HeaderValue>) -> Self {
        // 128 random bits: by no chance is it in the content.
        let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut steps = VecDeque::with_capacity(2 * parts.len() + 1);
        for (at, part) in parts.iter().enumerate() {
            let mut head = BytesMut::with_capacity(160);
            // The line break in front of a boundary belongs to it (RFC 2046, section 5.1.1).
            head.extend_from_slice(if at == 0 { b"--" } else { b"\r\n--" });
            head.extend_from_slice(boundary.as_bytes());
            if let Some(content_type) = content_type {
                head.extend_from_slice(b"\r\nContent-Type: ");
                head.extend_from_slice(content_type.as_bytes());
            }
            head.extend_from_slice(b"\r\nContent-Range: ");
            head.extend_from_slice(content_range(Some((part.start, part.end)), total).as_bytes());
            head.extend_from_slice(b"\r\n\r\n");
            steps.extend([Step::Text(head.freeze()), Step::Content(*part)]);
        }
        steps.push_back(Step::Text(format!("\r\n--{boundary}--\r\n").into()));
        let length = steps.iter().map(Step::length).sum();
        Self { boundary, steps, length }
    }

    /// The response's `Content-Type`.
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::from_str(&format!("multipart/byteranges; boundary={}", self.boundary))
            .unwrap_or_else(|_| HeaderValue::from_static("multipart/byteranges"))
    }

    /// The response's `Content-Length`.
    pub const fn length(&self) -> u64 {
        self.length
    }
}

impl Iterator for Multipart {
    type Item = Step;
    fn next(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }
}

impl Step {
    const fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Content(part) => part.length(),
        }
    }
}
