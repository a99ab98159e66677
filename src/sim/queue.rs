//! What is to happen when: events in the order of their time, those of one time in the order in which they were made.
//!
//! A radix heap (Ahuja, Mehlhorn, Orlin and Tarjan, "Faster algorithms for the shortest path problem", JACM 1990): time only
//! goes forward, so an event lies in the bucket of the highest bit in which its time differs from the present, and moves to
//! lower ones as the present comes nearer. A bucket is read from its beginning to its end, so that however many events wait,
//! memory is not jumped about in, and those of one time stay in their order.

use std::collections::VecDeque;

/// Microseconds since the simulation began.
pub(super) type Micros = u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue<E> {
    /// The time of the last event that happened.
    now: Micros,
    /// What happens at that time.
    due: VecDeque<E>,
    /// What happens later, by the highest bit that differs.
    buckets: [Vec<(Micros, E)>; Micros::BITS as usize],
    made: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { now: 0, due: VecDeque::new(), buckets: std::array::from_fn(|_| Vec::new()), made: 0 }
    }
}

impl<E> Queue<E> {
    /// Has something happen, now at the earliest.
    pub(super) fn at(&mut self, time: Micros, event: E) {
        self.made += 1;
        self.put(time.max(self.now), event);
    }

    fn put(&mut self, time: Micros, event: E) {
        match (time ^ self.now).checked_ilog2() {
            None => self.due.push_back(event),
            Some(bit) => self.buckets[bit as usize].push((time, event)),
        }
    }

    /// The next thing that happens, not later than `end`.
    pub(super) fn next(&mut self, end: Micros) -> Option<(Micros, E)> {
        if self.due.is_empty() {
            let first = self.buckets.iter().position(|bucket| !bucket.is_empty())?;
            let time = self.buckets[first].iter().map(|(time, _)| *time).min().filter(|time| *time <= end)?;
            self.now = time;
            let mut bucket = std::mem::take(&mut self.buckets[first]);
            for (time, event) in bucket.drain(..) {
                self.put(time, event);
            }
            // What it has room for is of use again.
            self.buckets[first] = bucket;
        }
        if self.now > end {
            return None;
        }
        self.due.pop_front().map(|event| (self.now, event))
    }

    /// Events so far.
    pub(super) fn made(&self) -> u64 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn many_events_come_as_a_sorted_list_has_them() {
        let mut rng = Rng::new(9);
        let (mut queue, mut list, mut now) = (Queue::default(), Vec::new(), 1);
        for made in 0..20_000 {
            let time = now + (rng.next_u64() >> (44 + rng.below(20))) / 7 * 7;
            queue.at(time, made);
            list.push((time, made));
            while rng.below(3) == 0 && !list.is_empty() {
                let at = (0..list.len()).min_by_key(|&at| list[at]).unwrap();
                let next = list.remove(at);
                now = next.0;
                assert_eq!(queue.next(now.saturating_sub(1)), None);
                assert_eq!(queue.next(now), Some(next));
            }
        }
        list.sort_unstable();
        assert!(list.into_iter().eq(std::iter::from_fn(|| queue.next(Micros::MAX))));
        assert_eq!((queue.next(Micros::MAX), queue.made()), (None, 20_000));
    }

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
