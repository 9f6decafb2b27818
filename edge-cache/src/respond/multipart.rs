//! Several parts of a stored body as one `multipart/byteranges` (RFC 9110, section 15.3.7.2).

use bytes::Bytes;
use common::http::decimal;
use common::http::range::multipart::Step;
use common::http::range::{Multipart, Part};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::Body;

/// The body with `parts` of a representation of `length` bytes that is kept in `pieces`, and its fields.
/// Nothing of `pieces` is copied.
pub fn body(headers: &mut HeaderMap, parts: &[Part], pieces: &[Bytes], length: u64) -> Body {
    let multipart = Multipart::new(parts, length, headers.get(CONTENT_TYPE));
    headers.insert(CONTENT_TYPE, multipart.content_type());
    headers.insert(CONTENT_LENGTH, decimal(multipart.length()));
    let left = multipart.length();
    let mut frames = Vec::with_capacity(3 * parts.len() + 1);
    for step in multipart {
        match step {
            Step::Text(text) => frames.push(text),
            Step::Content(part) => slice(pieces, part, &mut frames),
        }
    }
    Body::frames(frames, left)
}

fn slice(pieces: &[Bytes], part: Part, frames: &mut Vec<Bytes>) {
    let mut at = 0;
    for piece in pieces {
        let end = at + piece.len() as u64;
        let (from, to) = (part.start.max(at), part.end.min(end));
        if from < to {
            frames.push(piece.slice((from - at) as usize..(to - at) as usize));
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use http_body_util::BodyExt as _;

    use http::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn parts_of_a_body_in_pieces() {
        let pieces: Vec<Bytes> = ["012", "345", "", "6789"].into_iter().map(Bytes::from).collect();
        let parts = [Part { start: 8, end: 10 }, Part { start: 1, end: 8 }, Part { start: 3, end: 6 }];
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let mut body = body(&mut headers, &parts, &pieces, 10);
        let (mut sent, mut contents) = (0, Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.unwrap().into_data().unwrap();
            sent += frame.len();
            // The stored bytes themselves, not a copy of them.
            if pieces.iter().any(|piece| piece.as_ptr_range().contains(&frame.as_ptr())) {
                contents.push(frame);
            }
        }
        assert_eq!(contents, ["89", "12", "345", "67", "345"]);
        assert_eq!(headers[CONTENT_LENGTH], sent.to_string());
        assert!(headers[CONTENT_TYPE].to_str().unwrap().starts_with("multipart/byteranges; boundary="));
    }
}
