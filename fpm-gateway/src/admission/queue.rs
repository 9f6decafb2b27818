use std::collections::BTreeMap;

/// Those who wait, in the order of their tickets: first in, first out, also for one who comes back.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: BTreeMap<u64, T>,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { waiting: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nobody who waits came before this ticket.
    pub(super) fn is_first(&self, ticket: u64) -> bool {
        self.waiting.first_key_value().is_none_or(|(first, _)| ticket < *first)
    }

    pub(super) fn insert(&mut self, ticket: u64, waiting: T) {
        self.waiting.insert(ticket, waiting);
    }

    pub(super) fn remove(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.waiting.pop_first().map(|(_, waiting)| waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ticket_goes_first() {
        let mut queue = Queue::new();
        assert!(queue.is_first(7));
        for ticket in [5, 6, 8, 7] {
            queue.insert(ticket, ticket);
        }
        assert!(queue.is_first(4) && !queue.is_first(6));
        queue.remove(6);
        assert_eq!([queue.pop(), queue.pop(), queue.pop(), queue.pop()], [Some(5), Some(7), Some(8), None]);
    }
}
