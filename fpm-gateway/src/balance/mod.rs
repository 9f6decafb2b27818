//! Which replica gets the next request. Pure.

/// A replica that could take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Workers of it that are busy for us.
    pub busy: u32,
    /// Workers of it that we may use.
    pub workers: u32,
    /// When it was last chosen: a number that grows.
    pub turn: u64,
}

/// The index of the candidate with the smallest part of its workers busy; among equals, the one that was
/// not chosen for the longest time. `None` if all are full.
pub fn least_outstanding(candidates: impl Iterator<Item = (usize, Candidate)>) -> Option<usize> {
    candidates
        .filter(|(_, candidate)| candidate.busy < candidate.workers)
        .min_by(|(_, a), (_, b)| {
            let load = |one: &Candidate, other: &Candidate| u64::from(one.busy) * u64::from(other.workers);
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
                .map(|(busy, workers, turn)| Candidate { busy: *busy, workers: *workers, turn: *turn })
                .enumerate();
            assert_eq!(
                least_outstanding(candidates.clone()),
                expected,
                "{:?}",
                candidates.collect::<Vec<_>>()
            );
        }
    }
}
