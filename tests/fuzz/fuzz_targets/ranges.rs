//! What the range target holds to be true of any `Range` and any length: no panic, no more bytes than there
//! are, and a multipart body that says of itself how long it is.

use common::http::range::multipart::Step;
use common::http::range::{self, ByteRange, MAX_RANGES, Multipart, Part};
use http::header::{HeaderMap, HeaderValue, RANGE};

/// The first eight bytes are the length, the next one how many bits of it count, the rest is the field.
pub(crate) fn range(data: &[u8]) {
    let Some((number, data)) = data.split_first_chunk() else { return };
    let Some((bits, field)) = data.split_first() else { return };
    let length = u64::from_be_bytes(*number) >> (bits % 64);
    let Ok(field) = HeaderValue::from_bytes(field) else { return };
    let headers = HeaderMap::from_iter([(RANGE, field)]);
    let planned = range::of(&headers, length);
    assert_eq!(planned, range::of(&headers, length), "the same every time");
    match planned {
        ByteRange::Whole | ByteRange::Unsatisfiable => {}
        ByteRange::Part { start, end } => assert!(start < end && end <= length),
        ByteRange::Parts(parts) => several(&parts, length),
    }
}

fn several(parts: &[Part], length: u64) {
    assert!((2..=MAX_RANGES).contains(&parts.len()));
    assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
    let total: u128 = parts.iter().map(|part| u128::from(part.length())).sum();
    assert!(total <= u128::from(length));
    // Beyond that no body can be, and the sum of parts and heads is no u64 any more.
    if length > 1 << 62 {
        return;
    }
    let body = Multipart::new(parts, length, Some(&HeaderValue::from_static("text/plain")));
    let promised = body.length();
    let (mut sent, mut texts) = (0, Vec::new());
    let mut contents = Vec::new();
    for step in body {
        match step {
            Step::Text(text) => {
                sent += text.len() as u64;
                texts.push(text);
            }
            Step::Content(part) => {
                sent += part.length();
                contents.push(part);
            }
        }
    }
    assert_eq!(sent, promised);
    assert_eq!(contents, parts);
    assert_eq!(texts.len(), parts.len() + 1);
    for (text, part) in texts.iter().zip(parts) {
        let range = range::content_range(Some((part.start, part.end)), length);
        assert!(text.ends_with(&[range.as_bytes(), b"\r\n\r\n"].concat()));
    }
}
