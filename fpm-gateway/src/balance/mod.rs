//! Which replica gets the next request. Pure.

use std::time::Duration;

/// A replica that could take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Workers of it that are busy for us.
    pub busy: u32,
    /// Workers of it that we may use.
    pub workers: u32,
    /// How warm it is: see [`warmth`].
    pub warmth: u32,
    /// When it was last chosen: a number that grows.
    pub turn: u64,
}

/// Thousandths.
pub const WARM: u32 = 1000;
const COLD: u32 = WARM / 10;

/// What share of its part a replica gets so long after it appeared: its opcache is cold, so it begins with a tenth and
/// grows evenly (slow start). When all others are full it is used like them.
pub fn warmth(age: Duration, slow_start: Duration) -> u32 {
    if age >= slow_start {
        return WARM;
    }
    // Less than one, and not by zero: a slow start of nothing is over at once.
    let part = age.as_millis() * u128::from(WARM) / slow_start.as_millis().max(1);
    u32::try_from(part).unwrap_or(WARM).clamp(COLD, WARM)
}

/// The index of the candidate with the smallest part of its workers busy; among equals, the one that was
/// not chosen for the longest time. `None` if all are full.
pub fn least_outstanding(candidates: impl Iterator<Item = (usize, Candidate)>) -> Option<usize> {
    candidates
        .filter(|(_, candidate)| candidate.busy < candidate.workers)
        .min_by(|(_, a), (_, b)| {
            // Of one that is not warm each busy worker counts for more, and so does the first.
            let weight = |one: &Candidate| u64::from(one.workers) * u64::from(one.warmth);
            let cold = |one: &Candidate| u64::from(one.warmth < WARM);
            let load = |one: &Candidate, other: &Candidate| (u64::from(one.busy) + cold(one)) * weight(other);
            load(a, b).cmp(&load(b, a)).then(a.turn.cmp(&b.turn))
        })
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        // (busy, workers, turn) of each candidate, and the choice.
        type Row<'a> = (&'a [(u32, u32, u64)], Option<usize>);
        let table: [Row<'_>; 7] = [
            (&[], None),
            (&[(4, 4, 0), (2, 2, 0)], None),
            (&[(1, 4, 0), (0, 4, 9)], Some(1)),
            (&[(0, 4, 2), (0, 4, 1), (0, 4, 3)], Some(1)),
            (&[(4, 4, 0), (3, 4, 9)], Some(1)),
            (&[(3, 8, 0), (1, 2, 0)], Some(0)),
            (&[(4, 8, 5), (1, 2, 4)], Some(1)),
        ];
        for (candidates, expected) in table {
            let candidates = candidates
                .iter()
                .map(|(busy, workers, turn)| Candidate {
                    busy: *busy,
                    workers: *workers,
                    warmth: WARM,
                    turn: *turn,
                })
                .enumerate();
            assert_eq!(
                least_outstanding(candidates.clone()),
                expected,
                "{:?}",
                candidates.collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_replica_that_has_just_appeared_gets_little() {
        let second = Duration::from_secs(1);
        let table =
            [(0, 100), (500, 100), (1000, 100), (2500, 250), (5000, 500), (9999, 999), (10_000, 1000)];
        for (millis, expected) in table {
            assert_eq!(warmth(Duration::from_millis(millis), 10 * second), expected, "{millis} ms");
        }
        assert_eq!(warmth(Duration::ZERO, Duration::ZERO), WARM);

        let shared = |warmth: u32, busy: u32| {
            let mut candidates = [
                Candidate { busy: 0, workers: 10, warmth: WARM, turn: 1 },
                Candidate { busy: 0, workers: 10, warmth, turn: 0 },
            ];
            for turn in 0..busy {
                let index = least_outstanding(candidates.into_iter().enumerate()).unwrap_or_default();
                candidates[index].busy += 1;
                candidates[index].turn = u64::from(turn) + 2;
            }
            candidates.map(|candidate| candidate.busy)
        };
        assert_eq!(shared(WARM, 10), [5, 5]);
        assert_eq!(shared(COLD, 10), [10, 0]);
        assert_eq!(shared(500, 9), [6, 3]);
        assert_eq!(shared(COLD, 20), [10, 10], "when the others are full");
    }
}
