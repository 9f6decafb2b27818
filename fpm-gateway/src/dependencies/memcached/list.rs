//! Which servers PHP is told, and how much of the cache is gone. Pure.
//!
//! Clients find a key's server by hashing it over the list (consistently, if they are told to): whoever changes
//! the list sends a part of all keys elsewhere, where they are missing, or where what is found is older than what
//! was last written. So the list is sorted, and changes as seldom as may be: a server that is gone keeps its place
//! for the hold time, for which its keys are misses; then it goes. Where another one has come in its place, as when
//! an orchestrator replaces a task, it goes at once: one change instead of two.

use std::time::Duration;

use common::net::Endpoint;

/// A server as the decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub endpoint: Endpoint,
    /// How long it has been of no use, or not been listed by discovery.
    pub absence: Option<Duration>,
    /// Discovery lists it.
    pub listed: bool,
}

/// What follows from the servers' states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// Sorted. Empty when all have been gone for long.
    pub servers: Vec<Endpoint>,
    /// Servers that answer, and how many there should be.
    pub up: usize,
    pub expected: usize,
    /// Servers that are to be forgotten: no longer listed, and their time is over.
    pub forgotten: Vec<Endpoint>,
}

/// Decides anew; `expected` servers were there before.
pub(super) fn decide(views: &[View], expected: usize, hold: Duration) -> Decision {
    let listed = views.iter().filter(|view| view.listed).count();
    let replaced = listed >= expected;
    let is_over = |view: &View| view.absence.is_some_and(|absence| absence >= hold);
    let is_forgotten = |view: &View| !view.listed && (replaced || is_over(view));
    let mut servers: Vec<Endpoint> = views
        .iter()
        .filter(|view| !is_over(view) && !is_forgotten(view))
        .map(|view| view.endpoint.clone())
        .collect();
    servers.sort();
    let known = views.iter().filter(|view| !is_forgotten(view));
    Decision {
        servers,
        up: known.clone().filter(|view| view.absence.is_none()).count(),
        expected: known.count(),
        forgotten: views.iter().filter(|view| is_forgotten(view)).map(|view| view.endpoint.clone()).collect(),
    }
}

/// Percent of the workers that may be busy: all while every server is up, `lost` percent while none is, and
/// between them in proportion, since every server that is gone takes its part of the keys along.
pub(super) fn workers(decision: &Decision, lost: u8) -> u8 {
    let (up, expected) = (decision.up, decision.expected);
    if expected == 0 {
        return 100;
    }
    let lost = usize::from(lost);
    let percent = lost + (100 - lost) * up.min(expected) / expected;
    u8::try_from(percent).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_mins(1);

    fn endpoint(number: u16) -> Endpoint {
        Endpoint::Tcp(([10, 0, 0, 1], number).into())
    }

    fn up(number: u16) -> View {
        View { endpoint: endpoint(number), absence: None, listed: true }
    }

    fn down(number: u16, seconds: u64) -> View {
        View { absence: Some(Duration::from_secs(seconds)), ..up(number) }
    }

    fn gone(number: u16, seconds: u64) -> View {
        View { listed: false, ..down(number, seconds) }
    }

    #[test]
    fn lists() {
        // Servers, how many there were, and then: the list, up, expected, forgotten, and workers at 50 %.
        type Row<'a> = (&'a [View], usize, &'a [u16], (usize, usize), &'a [u16], u8);
        let table: &[Row<'_>] = &[
            (&[], 0, &[], (0, 0), &[], 100),
            (&[up(3), up(1), up(2)], 3, &[1, 2, 3], (3, 3), &[], 100),
            // A short absence changes nothing but the cap.
            (&[up(1), down(2, 0), up(3)], 3, &[1, 2, 3], (2, 3), &[], 83),
            (&[up(1), down(2, 59), up(3)], 3, &[1, 2, 3], (2, 3), &[], 83),
            (&[up(1), down(2, 60), up(3)], 3, &[1, 3], (2, 3), &[], 83),
            (&[down(1, 1), down(2, 1)], 2, &[1, 2], (0, 2), &[], 50),
            // All of them for long: PHP is told to do without.
            (&[down(1, 60), down(2, 61)], 2, &[], (0, 2), &[], 50),
            // Discovery does not list one any more.
            (&[up(1), gone(2, 5)], 2, &[1, 2], (1, 2), &[], 75),
            (&[up(1), gone(2, 60)], 2, &[1], (1, 1), &[2], 100),
            (&[up(1), gone(2, 5), up(4)], 2, &[1, 4], (2, 2), &[2], 100),
            // More of them than before.
            (&[up(1), up(2), up(3)], 2, &[1, 2, 3], (3, 3), &[], 100),
        ];
        for (views, expected, list, counts, forgotten, percent) in table {
            let decision = decide(views, *expected, HOLD);
            let endpoints = |numbers: &[u16]| numbers.iter().map(|n| endpoint(*n)).collect::<Vec<_>>();
            assert_eq!(decision.servers, endpoints(list), "{views:?}");
            assert_eq!((decision.up, decision.expected), *counts, "{views:?}");
            assert_eq!(decision.forgotten, endpoints(forgotten), "{views:?}");
            assert_eq!(workers(&decision, 50), *percent, "{views:?}");
            assert_eq!(workers(&decision, 100), 100, "{views:?}");
        }
    }
}
