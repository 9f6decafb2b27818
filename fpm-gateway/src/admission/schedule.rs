//! Which lane gets the next worker. Pure.
//!
//! - Interactive requests come first, and part of all workers is theirs alone.
//! - Once they have three quarters, anonymous ones come first up to one quarter: neither can starve the other.
//! - Background requests come last and never have more than their part.
//! - What a lane does not use, the others may: only the reserve stays free.

use crate::lanes::Lane;

/// Parts of all workers, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Of interactive requests alone, rounded down: of few workers none is left idle.
    pub interactive_reserve: u32,
    /// What background requests have at most, rounded up.
    pub background_limit: u32,
}

/// Workers that are busy, by lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Busy([u32; 3]);

impl Busy {
    pub const fn get(self, lane: Lane) -> u32 {
        self.0[lane as usize]
    }

    pub(super) const fn add(&mut self, lane: Lane) {
        self.0[lane as usize] += 1;
    }

    pub(super) const fn remove(&mut self, lane: Lane) {
        self.0[lane as usize] = self.0[lane as usize].saturating_sub(1);
    }
}

impl Shares {
    /// Whether `lane` may have one more of `total` workers.
    pub fn permit(self, lane: Lane, busy: Busy, total: u32) -> bool {
        let reserve = part(total, self.interactive_reserve);
        let others = busy.get(Lane::Anonymous) + busy.get(Lane::Background);
        let background = (u64::from(total) * u64::from(self.background_limit)).div_ceil(100).max(1);
        match lane {
            Lane::Interactive => true,
            Lane::Anonymous => others < total.saturating_sub(reserve).max(1),
            Lane::Background => {
                others < total.saturating_sub(reserve).max(1) && u64::from(busy.get(lane)) < background
            }
        }
    }
}

fn part(total: u32, percent: u32) -> u32 {
    (u64::from(total) * u64::from(percent) / 100) as u32
}

/// The order in which lanes are asked who waits.
pub(super) fn preference(busy: Busy, total: u32) -> [Lane; 3] {
    let has = |lane, quarters: u64| u64::from(busy.get(lane)) * 4 >= u64::from(total) * quarters;
    if has(Lane::Interactive, 3) && !has(Lane::Anonymous, 1) {
        [Lane::Anonymous, Lane::Interactive, Lane::Background]
    } else {
        Lane::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Lane::{Anonymous, Background, Interactive};

    const SHARES: Shares = Shares { interactive_reserve: 10, background_limit: 25 };

    #[test]
    fn who_may_have_one_more() {
        // Busy workers (interactive, anonymous, background) of all, the lane, and whether.
        let table = [
            ([0, 0, 0], 8, Anonymous, true),
            ([0, 7, 0], 8, Anonymous, true),
            // A tenth of twenty is interactive requests' own.
            ([0, 17, 0], 20, Anonymous, true),
            ([0, 18, 0], 20, Anonymous, false),
            ([0, 15, 3], 20, Anonymous, false),
            ([0, 18, 0], 20, Interactive, true),
            ([19, 0, 0], 20, Anonymous, true),
            ([0, 0, 1], 8, Background, true),
            ([0, 0, 2], 8, Background, false),
            ([0, 0, 0], 1, Background, true),
            ([0, 18, 0], 20, Background, false),
        ];
        for (busy, total, lane, expected) in table {
            assert_eq!(SHARES.permit(lane, Busy(busy), total), expected, "{lane:?} with {busy:?} of {total}");
        }
        let all = Shares { interactive_reserve: 100, background_limit: 100 };
        assert!(all.permit(Anonymous, Busy([0, 0, 0]), 4), "nobody is shut out for ever");
    }

    #[test]
    fn who_comes_first() {
        let table = [
            ([0, 0, 0], 8, Interactive),
            ([5, 0, 0], 8, Interactive),
            ([6, 0, 0], 8, Anonymous),
            ([6, 1, 0], 8, Anonymous),
            ([6, 2, 0], 8, Interactive),
            ([8, 0, 0], 8, Anonymous),
            ([0, 8, 0], 8, Interactive),
        ];
        for (busy, total, first) in table {
            assert_eq!(preference(Busy(busy), total)[0], first, "{busy:?} of {total}");
        }
    }
}
