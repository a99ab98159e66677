//! Update: when a visitor who has an older version asks the origin for the files that make a newer one whole.
//!
//! Nobody waits for them: pages go on with the older version. Whoever comes back has no neighbour yet, since the mesh comes
//! and goes with a page, and would ask the origin at once, as would everyone else who comes back after a release. So for some
//! seconds neighbours alone are asked, over and over, for what they hold.
//!
//! Just after a release they hold nothing: somebody has to ask the origin, and not all who have waited, but few, before what
//! those took is everywhere. How many wait nobody knows. So each draws a lot: few are to ask in the first seconds, and in each
//! step twice as many as in the one before. In a swarm of whatever size the first one to ask is then far ahead of most, and
//! what it took passes from neighbour to neighbour while a step or two go by (the timers of RFC 5401, section 3.2, by
//! which of many receivers few complain; Nonnenmacher and Biersack, "Scalable feedback for large groups", IEEE/ACM
//! Transactions on Networking 7(3), 1999).

use crate::Millis;

/// How often neighbours are asked for what is still missing, in milliseconds: often against [`STEP_MS`], since pieces spread
/// by it from one neighbour to the next.
pub const LOOK_MS: u64 = 1_000;

/// For how long a visitor looks among neighbours for what a version has changed of the other files that it holds, in
/// milliseconds. What none of them has by then is left until it is needed.
pub const FOLLOW_MS: u64 = 120_000;

/// How long everybody has neighbours alone asked, and waits for the first of them, in milliseconds: a mesh has some after one
/// to three seconds, and as many as it wants after a few more. Who has none by then will hardly get one.
const MEET_MS: u64 = 10_000;

/// In each step of so many milliseconds twice as many visitors turn to the origin as in the one before. While pieces pass
/// through a swarm of thousands (six or seven neighbours in a row, about a second each) about twice as many ask as must.
const STEP_MS: u64 = 8_000;

/// Neighbours that a mesh has in a swarm larger than it needs to know.
const FULL: u16 = 5;

/// Steps in a swarm of unknown size: enough for 2^12 visitors who wait at the same time. In a larger one a few more ask first.
const STEPS: u64 = 12;

/// One visitor's part in taking up one version.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// For how long it was being taken up before, in other lives of the worker, in milliseconds.
    waited: u64,
    from: Millis,
    /// The lot: by how many milliseconds before the last one this visitor turns to the origin.
    before: u64,
}

impl Update {
    /// A version has been taken up for so many milliseconds, until `now`. `chance`: 64 random bits.
    pub fn new(waited: u64, chance: u64, now: Millis) -> Self {
        // The negative logarithm of chance to base 2, as a straight line between its whole numbers: as likely to be in one
        // step as in all later ones together.
        let steps = u64::from(chance.leading_zeros());
        let rest = chance.checked_shl(chance.leading_zeros() + 1).unwrap_or_default() >> 32;
        let before = (steps + 1) * STEP_MS - ((rest * STEP_MS) >> 32);
        Self { waited, from: now, before }
    }

    /// Whether the origin is asked for what is missing now, and not only neighbours.
    pub fn is_due(&self, neighbours: u16, now: Millis) -> bool {
        // Few neighbours are all there are: so few visitors are soon done with, or are all that come.
        let steps = if neighbours < FULL { u64::from(neighbours) } else { STEPS };
        let wait = MEET_MS + (steps * STEP_MS).saturating_sub(self.before);
        self.waited.saturating_add(now.since(self.from)) >= wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// When a visitor with so many neighbours asks the origin, in milliseconds.
    fn due(update: &Update, neighbours: u16) -> u64 {
        (0..).step_by(100).find(|&ms| update.is_due(neighbours, Millis(ms))).unwrap()
    }

    #[test]
    fn who_gets_no_neighbour_asks_the_origin_after_some_seconds() {
        for chance in [0, 1, u64::MAX] {
            assert_eq!(due(&Update::new(0, chance, Millis(0)), 0), MEET_MS);
        }
    }

    #[test]
    fn whoever_has_neighbours_asks_within_bounds_at_last() {
        let mut rng = Rng::new(1);
        for neighbours in 1..20 {
            let last = MEET_MS + STEP_MS * if neighbours < FULL { u64::from(neighbours) } else { STEPS };
            for _ in 0..100 {
                let due = due(&Update::new(0, rng.next_u64(), Millis(0)), neighbours);
                assert!((MEET_MS..=last).contains(&due), "{due} ms with {neighbours}");
            }
        }
    }

    #[test]
    fn what_was_waited_in_an_earlier_life_counts() {
        let update = Update::new(MEET_MS + STEPS * STEP_MS, 0, Millis(7));
        assert!(update.is_due(FULL, Millis(7)));
        assert!(!Update::new(MEET_MS - 1, u64::MAX, Millis(7)).is_due(0, Millis(7)));
    }

    /// However many wait, few ask before what the first of them took has passed through the swarm.
    #[test]
    fn of_swarms_of_all_sizes_about_as_many_ask_first() {
        const SPREAD_MS: u64 = 8_000;
        for visitors in [10, 100, 1_000, 4_000] {
            let mut asked = 0;
            for seed in 0..20 {
                let mut rng = Rng::new(seed);
                let times: Vec<_> =
                    (0..visitors).map(|_| due(&Update::new(0, rng.next_u64(), Millis(0)), FULL)).collect();
                let first = *times.iter().min().unwrap();
                asked += times.iter().filter(|&&time| time < first + SPREAD_MS).count();
            }
            let mean = asked as f64 / 20.0;
            assert!((1.0..4.0).contains(&mean), "{mean} of {visitors}");
        }
    }
}
