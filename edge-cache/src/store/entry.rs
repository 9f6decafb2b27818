use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{HeaderMap as Headers, StatusCode};

use crate::invalidate::Mode;
use crate::key::CacheKey;
use crate::policy::cache_control::CacheControl;
use crate::policy::freshness::Freshness;
use crate::policy::reuse::StoredTerms;
use crate::policy::vary::Selector;

/// A response's head with all that policy needs to know of it, worked out once.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: StatusCode,
    fields: Arc<[(HeaderName, HeaderValue)]>,
    pub directives: CacheControl,
    pub freshness: Freshness,
    pub selector: Selector,
}

/// A whole stored response.
#[derive(Debug)]
pub struct Stored {
    pub key: CacheKey,
    pub head: Head,
    /// Sorted, each once.
    pub tags: Box<[Box<str>]>,
    /// In pieces of at most [`PIECE`] bytes.
    pub body: Arc<[Bytes]>,
    pub length: u64,
    /// 0 while nobody has invalidated it, [`GONE`], or the time since when it counts as stale, in
    /// milliseconds of the Unix epoch.
    invalidated: AtomicU64,
}

const GONE: u64 = u64::MAX;

/// A body is kept in pieces, so that storing a large one needs no second copy of all of it.
const PIECE: usize = 1 << 20;
/// What moka, the variant list and the allocator need beside the bytes that are counted.
const OVERHEAD: usize = 400;

impl Head {
    pub fn new(
        status: StatusCode,
        headers: &Headers,
        directives: CacheControl,
        freshness: Freshness,
        selector: Selector,
    ) -> Self {
        Self { status, fields: pack(headers), directives, freshness, selector }
    }

    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields.iter().find(|(stored, _)| stored == name).map(|(_, value)| value)
    }

    /// The fields as hyper takes them, with room for those that a response adds.
    pub fn to_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.fields.len() + 8);
        for (name, value) in self.fields.iter() {
            headers.append(name.clone(), value.clone());
        }
        headers
    }

    fn weight(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(_, value)| value.len()).sum();
        fields + self.fields.len() * size_of::<(HeaderName, HeaderValue)>() + self.selector.weight()
    }
}

impl Stored {
    /// Copies the body out of the buffers that it was read into, which may be far larger than it is.
    pub fn new(key: CacheKey, head: Head, tags: Vec<Box<str>>, chunks: &[Bytes]) -> Self {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self {
            key,
            head,
            tags: tags.into(),
            body: compact(chunks, length),
            length,
            invalidated: AtomicU64::new(0),
        }
    }

    /// The same body under a head that a 304 has freshened.
    #[must_use]
    pub fn freshened(&self, head: Head, tags: Vec<Box<str>>) -> Self {
        Self {
            key: self.key.clone(),
            head,
            // A 304 without tags says nothing of them.
            tags: if tags.is_empty() { self.tags.clone() } else { tags.into() },
            body: Arc::clone(&self.body),
            length: self.length,
            invalidated: AtomicU64::new(0),
        }
    }

    /// What policy looks at, with an invalidation taken into account.
    pub fn terms(&self) -> StoredTerms<'_> {
        StoredTerms { freshness: self.freshness(), directives: &self.head.directives }
    }

    pub fn freshness(&self) -> Freshness {
        match self.invalidated.load(Ordering::Acquire) {
            0 | GONE => self.head.freshness,
            millis => self.head.freshness.until(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)),
        }
    }

    /// Whether this changed anything.
    pub fn invalidate(&self, mode: Mode, now: SystemTime) -> bool {
        let value = match mode {
            Mode::Hard => GONE,
            Mode::Soft => {
                now.duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_millis() as u64)
            }
        };
        let change = |old: u64| (old != GONE && (old == 0 || mode == Mode::Hard)).then_some(value);
        self.invalidated.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    pub fn is_gone(&self) -> bool {
        self.invalidated.load(Ordering::Acquire) == GONE
    }

    /// Bytes held in all.
    pub fn weight(&self) -> usize {
        // A tag's text, its box, and a link in the index.
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16 + 16).sum();
        OVERHEAD + self.head.weight() + tags + self.length as usize
    }
}

/// Copies the values into one allocation: as they came, they pin the origin connection's read buffer.
fn pack(headers: &Headers) -> Arc<[(HeaderName, HeaderValue)]> {
    let total = headers.values().map(HeaderValue::len).sum();
    let mut block = Vec::with_capacity(total);
    for value in headers.values() {
        block.extend_from_slice(value.as_bytes());
    }
    let mut block = Bytes::from(block);
    headers
        .iter()
        .map(|(name, value)| {
            let bytes = block.split_to(value.len());
            // A value that was valid stays valid; the original is as good, only larger in memory.
            let packed = HeaderValue::from_maybe_shared(bytes).unwrap_or_else(|_| value.clone());
            (name.clone(), packed)
        })
        .collect()
}

fn compact(chunks: &[Bytes], length: u64) -> Arc<[Bytes]> {
    let mut left = length as usize;
    let mut pieces = Vec::with_capacity(left.div_ceil(PIECE));
    let mut piece = Vec::with_capacity(left.min(PIECE));
    for chunk in chunks {
        let mut chunk = &chunk[..];
        while !chunk.is_empty() {
            let (now, later) = chunk.split_at(chunk.len().min(PIECE - piece.len()));
            piece.extend_from_slice(now);
            left -= now.len();
            chunk = later;
            if piece.len() == PIECE {
                pieces.push(Bytes::from(std::mem::replace(&mut piece, Vec::with_capacity(left.min(PIECE)))));
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(Bytes::from(piece));
    }
    pieces.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_keeps_its_bytes_and_no_more_room_than_they_need() {
        for sizes in [vec![], vec![1], vec![PIECE], vec![PIECE - 1, 3, PIECE * 2, 7], vec![PIECE, PIECE]] {
            let mut next = 0_u8;
            let chunks: Vec<Bytes> = sizes
                .iter()
                .map(|size| {
                    next += 1;
                    Bytes::from(vec![next; *size])
                })
                .collect();
            let length = sizes.iter().sum::<usize>() as u64;
            let pieces = compact(&chunks, length);
            assert_eq!(pieces.concat(), chunks.concat());
            assert!(pieces.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
        }
    }

    #[test]
    fn packed_headers_are_the_same_headers() {
        let mut headers = Headers::new();
        headers.append("vary", HeaderValue::from_static("a"));
        headers.append("link", HeaderValue::from_static("<b>"));
        headers.append(
            "vary",
            HeaderValue::from_bytes(b"\xe9").unwrap_or_else(|_| HeaderValue::from_static("")),
        );
        let fields = pack(&headers);
        let mut back = HeaderMap::new();
        for (name, value) in fields.iter() {
            back.append(name.clone(), value.clone());
        }
        assert_eq!(back, headers);
    }
}
