//! What a page must look like: its bytes follow from its path, its version and its variant.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// Far more than fits into the cache's memory, with their variants.
pub(crate) const COUNT: usize = 600;
pub(crate) const GROUPS: usize = 12;
/// What `X-Variant` may say.
pub(crate) const VARIANTS: [&str; 3] = ["a", "b", "c"];
/// Of a page that is larger than what may be stored.
pub(crate) const LARGE: u64 = 900 << 10;

pub(crate) struct Pages {
    pages: Vec<Page>,
    /// The origin misbehaves no more.
    pub(crate) calm: AtomicBool,
}

/// Versions only grow.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) version: AtomicU64,
    /// Nothing older may be seen at all since a hard purge was answered.
    pub(crate) hard: AtomicU64,
    /// Nothing older may be seen, but as a stale answer that says so, since a soft purge was answered.
    pub(crate) soft: AtomicU64,
}

impl Pages {
    pub(crate) fn new() -> Self {
        let pages = std::iter::repeat_with(Page::default).take(COUNT).collect();
        Self { pages, calm: AtomicBool::new(false) }
    }

    pub(crate) fn page(&self, number: usize) -> &Page {
        &self.pages[number]
    }

    /// Publishes new versions of these pages; each with its version.
    pub(crate) fn publish(&self, numbers: impl Iterator<Item = usize>) -> Vec<(usize, u64)> {
        numbers.map(|number| (number, self.page(number).version.fetch_add(1, Ordering::SeqCst) + 1)).collect()
    }
}

pub(crate) fn path(number: usize) -> String {
    format!("/g{}/p{number}", number % GROUPS)
}

/// The number of the page under a path.
pub(crate) fn number(path: &str) -> Option<usize> {
    path.rsplit_once("/p")?.1.parse().ok().filter(|number| *number < COUNT)
}

pub(crate) const fn varies(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// The origin sends it compressed to those that take it.
pub(crate) const fn is_text(number: usize) -> bool {
    number % 5 == 1
}

pub(crate) fn seed(path: &str, version: u64, variant: &str) -> u64 {
    // FNV-1a.
    let text = format!("{path} {version} {variant}");
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The length of a page: most are small, some large, a few too large to be stored.
pub(crate) fn length(number: usize, version: u64) -> u64 {
    let base = match number % 50 {
        0 => 0,
        1..30 => 200 + 97 * (number as u64 % 50),
        30..45 => 20_000 + 1777 * (number as u64 % 50),
        45..49 => 300_000,
        _ => 1_400_000,
    };
    if base == 0 { 0 } else { base + version % 19 }
}

/// The bytes of a page from `start` on.
pub(crate) fn bytes(seed: u64, start: u64, length: u64) -> Vec<u8> {
    let first = start / 8;
    let mut all = Vec::with_capacity(length as usize + 16);
    for block in first..=(start + length) / 8 {
        // SplitMix64.
        let mut word = seed.wrapping_add(block.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        all.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    let skip = (start % 8) as usize;
    all.drain(..skip);
    all.truncate(length as usize);
    all
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What can be decoded of it: all, or as far as it came.
pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut decoded = Vec::new();
    let _ = GzDecoder::new(bytes).read_to_end(&mut decoded);
    decoded
}
