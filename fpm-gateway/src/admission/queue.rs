use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::lanes::{Lane, Route};

/// Those who wait, by lane and kind, each in the order of their tickets: first in, first out, also for one who comes back.
#[derive(Debug)]
pub(super) struct Queue<T> {
    kinds: BTreeMap<(usize, Option<usize>), BTreeMap<u64, Waiting<T>>>,
    lengths: [usize; 3],
}

#[derive(Debug)]
struct Waiting<T> {
    since: Instant,
    waiting: T,
}

/// A lane's queue as `/status` shows it.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub length: usize,
    /// Since when the first of it has waited.
    pub oldest: Option<Instant>,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { kinds: BTreeMap::new(), lengths: [0; 3] }
    }

    pub(super) fn len(&self) -> usize {
        self.lengths.iter().sum()
    }

    pub(super) const fn length_of(&self, lane: Lane) -> usize {
        self.lengths[lane as usize]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn insert(&mut self, route: Route, ticket: u64, since: Instant, waiting: T) {
        let kind = self.kinds.entry((route.lane as usize, route.cap)).or_default();
        if kind.insert(ticket, Waiting { since, waiting }).is_none() {
            self.lengths[route.lane as usize] += 1;
        }
    }

    pub(super) fn remove(&mut self, route: Route, ticket: u64) {
        let kind = self.kinds.get_mut(&(route.lane as usize, route.cap));
        if kind.is_some_and(|kind| kind.remove(&ticket).is_some()) {
            self.lengths[route.lane as usize] -= 1;
        }
    }

    /// The first of the lane whose kind has room.
    pub(super) fn pop(&mut self, lane: Lane, has_room: impl Fn(usize) -> bool) -> Option<(Route, T)> {
        let kinds = self.kinds.range_mut((lane as usize, None)..=(lane as usize, Some(usize::MAX)));
        let first = kinds
            .filter(|((_, cap), _)| cap.is_none_or(&has_room))
            .filter_map(|((_, cap), kind)| Some((*kind.first_key_value()?.0, *cap, kind)))
            .min_by_key(|(ticket, ..)| *ticket);
        let (_, cap, kind) = first?;
        let (_, Waiting { waiting, .. }) = kind.pop_first()?;
        self.lengths[lane as usize] -= 1;
        Some((Route { lane, cap }, waiting))
    }

    pub(super) fn line(&self, lane: Lane) -> Line {
        let kinds = self.kinds.range((lane as usize, None)..=(lane as usize, Some(usize::MAX)));
        let oldest = kinds.filter_map(|(_, kind)| Some(kind.first_key_value()?.1.since)).min();
        Line { length: self.length_of(lane), oldest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Lane::{Anonymous, Interactive};

    fn route(lane: Lane, cap: Option<usize>) -> Route {
        Route { lane, cap }
    }

    #[test]
    fn the_first_ticket_of_a_lane_goes_first() {
        let mut queue = Queue::new();
        let now = Instant::now();
        for ticket in [5, 6, 8, 7] {
            queue.insert(route(Anonymous, None), ticket, now, ticket);
        }
        queue.insert(route(Interactive, None), 9, now, 9);
        queue.remove(route(Anonymous, None), 6);
        queue.remove(route(Anonymous, None), 99);
        assert_eq!((queue.len(), queue.length_of(Anonymous)), (4, 3));
        let mut pop = |lane| queue.pop(lane, |_| true).map(|(_, ticket)| ticket);
        assert_eq!([pop(Anonymous), pop(Anonymous)], [Some(5), Some(7)]);
        assert_eq!([pop(Interactive), pop(Interactive), pop(Anonymous)], [Some(9), None, Some(8)]);
        assert!(queue.is_empty() && queue.line(Anonymous).oldest.is_none());
    }

    #[test]
    fn a_kind_without_room_holds_nobody_else_up() {
        let mut queue = Queue::new();
        let now = Instant::now();
        queue.insert(route(Anonymous, Some(0)), 1, now, 1);
        queue.insert(route(Anonymous, None), 2, now, 2);
        queue.insert(route(Anonymous, Some(1)), 3, now, 3);
        assert_eq!(queue.pop(Anonymous, |cap| cap != 0), Some((route(Anonymous, None), 2)));
        assert_eq!(queue.pop(Anonymous, |cap| cap != 0), Some((route(Anonymous, Some(1)), 3)));
        assert_eq!(queue.pop(Anonymous, |cap| cap != 0), None);
        assert_eq!(queue.pop(Anonymous, |_| true), Some((route(Anonymous, Some(0)), 1)));
    }
}
