//! What leaves the store other than by an invalidation, counted as it leaves.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use moka::notification::RemovalCause;

use super::Stored;

/// Counts of variants, and of their bytes by weight.
///
/// moka's eviction listener is the one place that learns of an eviction when it happens: a value's `Drop` comes
/// only when moka's garbage is collected, which takes further operations, and when its last reader is through.
/// The locks that it adds are taken by insertions and removals of a key and not by look-ups: measured with
/// 50,000 keys and two threads, a hit costs the same, an insertion that evicts one to two microseconds more.
#[derive(Debug, Default)]
pub struct Turnover {
    variants: AtomicI64,
    left: [Left; Cause::ALL.len()],
}

#[derive(Debug, Default)]
struct Left {
    objects: AtomicU64,
    bytes: AtomicU64,
}

/// Why a stored response is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Others needed the room, or it was asked for too seldom to get any.
    Size,
    /// It was kept as long as it may be.
    Expired,
    /// A newer response has its place.
    Replaced,
    /// Its URL has more variants than are kept.
    Variants,
}

impl Cause {
    pub const ALL: [Self; 4] = [Self::Size, Self::Expired, Self::Replaced, Self::Variants];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Variants => "variants",
        }
    }
}

impl Turnover {
    /// Variants held.
    pub fn variants(&self) -> u64 {
        u64::try_from(self.variants.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Objects and bytes that have left for `cause`.
    pub fn left(&self, cause: Cause) -> (u64, u64) {
        let left = &self.left[cause as usize];
        (left.objects.load(Ordering::Relaxed), left.bytes.load(Ordering::Relaxed))
    }

    /// These many variants have gone in under a key.
    pub(super) fn put(&self, variants: usize) {
        self.variants.fetch_add(i64::try_from(variants).unwrap_or(0), Ordering::Relaxed);
    }

    /// Everything under a key has gone, be it to make room for the same and one more.
    pub(super) fn removed<'a>(
        &self,
        variants: impl ExactSizeIterator<Item = &'a Stored>,
        cause: RemovalCause,
    ) {
        self.variants.fetch_sub(i64::try_from(variants.len()).unwrap_or(0), Ordering::Relaxed);
        let cause = match cause {
            RemovalCause::Size => Cause::Size,
            RemovalCause::Expired => Cause::Expired,
            // Whoever replaces or removes knows better what becomes of each variant.
            RemovalCause::Replaced | RemovalCause::Explicit => return,
        };
        // Those that are invalidated were counted as such.
        for stored in variants.filter(|stored| !stored.is_gone()) {
            self.count(stored, cause);
        }
    }

    pub(super) fn count(&self, stored: &Stored, cause: Cause) {
        let left = &self.left[cause as usize];
        left.objects.fetch_add(1, Ordering::Relaxed);
        left.bytes.fetch_add(stored.weight() as u64, Ordering::Relaxed);
    }
}
