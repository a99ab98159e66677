//! What is to happen when: events in the order of their time, those of one time in the order in which they were made.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds since the simulation began.
pub(super) type Micros = u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue<E> {
    order: BinaryHeap<Reverse<(Micros, u64, u32)>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    made: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { order: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), made: 0 }
    }
}

impl<E> Queue<E> {
    /// Has something happen.
    pub(super) fn at(&mut self, time: Micros, event: E) {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.events.push(None);
                self.events.len() as u32 - 1
            }
        };
        self.events[place as usize] = Some(event);
        self.made += 1;
        self.order.push(Reverse((time, self.made, place)));
    }

    /// The next thing that happens, not later than `end`.
    pub(super) fn next(&mut self, end: Micros) -> Option<(Micros, E)> {
        let &Reverse((time, _, place)) = self.order.peek()?;
        if time > end {
            return None;
        }
        self.order.pop();
        self.free.push(place);
        self.events[place as usize].take().map(|event| (time, event))
    }

    /// Events so far.
    pub(super) fn made(&self) -> u64 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_equals_as_they_were_made() {
        let mut queue = Queue::default();
        for (time, name) in [(5, 'a'), (3, 'b'), (5, 'c'), (9, 'd')] {
            queue.at(time, name);
        }
        let mut came = Vec::new();
        while let Some((time, name)) = queue.next(8) {
            came.push(name);
            if name == 'b' {
                queue.at(time + 1, 'e');
            }
        }
        assert_eq!(came, ['b', 'e', 'a', 'c']);
        assert_eq!(queue.next(9), Some((9, 'd')));
    }
}
