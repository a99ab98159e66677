//! What is known of the way to a neighbour: its delay and its rate, measured from what comes anyway, and what follows
//! from them: how much to ask for ahead, and when a piece should be here.
//!
//! Both are exponentially weighted means. A rate sample is taken over at least [`SAMPLE_MS`] during which something was
//! always owed to us, so that idle time does not look like a slow neighbour.

use crate::Millis;
use crate::rate::{UNKNOWN_DELAY, UNKNOWN_RATE, aged, mean};

/// Samples of a rate are at least this long: single frames come in bursts.
const SAMPLE_MS: u64 = 100;

/// What is asked for ahead beyond rate × delay, in milliseconds of the rate: the neighbour's own reads and our
/// scheduling take time, and a path that fills its window must be able to show that it is faster.
const SLACK_MS: f64 = 250.0;

/// Bounds of what one neighbour owes us at once, in bytes: two pieces of average size, and a quarter of all memory that
/// downloads may take.
const WINDOW: (f64, f64) = (512.0 * 1024.0, 8.0 * 1024.0 * 1024.0);

/// The measured way from a neighbour to us.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// Mean time from a question to the first of its answer, in milliseconds.
    delay: Option<f64>,
    /// Mean rate of payload while something was owed, in bytes a second.
    rate: Option<f64>,
    /// When the present sample began, and its bytes so far.
    sample: Option<(Millis, u64)>,
    /// When the rate was last measured.
    measured: Millis,
}

impl Path {
    /// A question was answered (or the first part of the answer came) after `ms`.
    pub(super) fn answered(&mut self, ms: u64) {
        self.delay = Some(mean(self.delay, ms as f64, 0.25));
    }

    /// `bytes` of payload came.
    pub(super) fn received(&mut self, bytes: u64, now: Millis) {
        let Some((began, so_far)) = self.sample else {
            // The first frame ends the delay; the rate is measured from it on.
            self.sample = Some((now, 0));
            return;
        };
        let (bytes, span) = (so_far + bytes, now.since(began));
        if span < SAMPLE_MS {
            self.sample = Some((began, bytes));
            return;
        }
        self.rate = Some(mean(self.rate, bytes as f64 * 1000.0 / span as f64, 0.3));
        self.sample = Some((now, 0));
        self.measured = now;
    }

    /// Nothing is owed any longer: time from now on says nothing about the rate.
    pub(super) fn idle(&mut self) {
        self.sample = None;
    }

    /// How many bytes to have asked for at once.
    pub(super) fn window(&self) -> u64 {
        let window = match (self.rate, self.delay) {
            (Some(rate), delay) => WINDOW.0 / 2.0 + rate * (delay.unwrap_or(UNKNOWN_DELAY) + SLACK_MS) / 1000.0,
            (None, _) => 2.0 * WINDOW.0,
        };
        window.clamp(WINDOW.0, WINDOW.1) as u64
    }

    /// How long `bytes` in all should take from now, in milliseconds.
    pub(super) fn predict(&self, bytes: u64, now: Millis) -> u64 {
        let pace = aged(self.rate.map(|rate| 1000.0 / rate.max(1.0)), 1000.0 / UNKNOWN_RATE, self.measured, now);
        (self.delay.unwrap_or(UNKNOWN_DELAY) + bytes as f64 * pace) as u64
    }

    /// The measured delay in milliseconds, 0 where there is none yet.
    pub(super) fn delay_ms(&self) -> u32 {
        self.delay.unwrap_or(0.0) as u32
    }

    /// The measured rate in bytes a second, 0 where there is none yet.
    pub(super) fn rate(&self) -> u64 {
        self.rate.unwrap_or(0.0) as u64
    }

    /// The rate to reckon with, measured or not.
    pub(super) fn expected_rate(&self) -> u64 {
        self.rate.unwrap_or(UNKNOWN_RATE) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::FRESH_MS;

    #[test]
    fn a_steady_rate_is_measured_and_idle_time_is_not() {
        let mut path = Path::default();
        for frame in 0..100 {
            path.received(10_000, Millis(frame * 10));
        }
        assert_eq!(path.rate(), 1_000_000);
        path.idle();
        path.received(10_000, Millis(60_000));
        path.received(100_000, Millis(60_100));
        assert_eq!(path.rate(), 1_000_000);
    }

    #[test]
    fn the_window_grows_with_rate_and_delay_within_its_bounds() {
        let window = |rate: f64, delay: f64| Path { delay: Some(delay), rate: Some(rate), ..Path::default() }.window();
        assert_eq!(window(0.0, 0.0), 512 * 1024);
        assert!(window(4e6, 200.0) > window(4e6, 20.0));
        assert!(window(4e6, 20.0) > window(2e6, 20.0));
        assert_eq!(window(1e9, 1000.0), 8 * 1024 * 1024);
        assert!(window(4e6, 200.0) as f64 > 4e6 * 0.2, "the path is filled");
    }

    #[test]
    fn a_prediction_is_delay_and_bytes_over_rate() {
        let path = Path { delay: Some(50.0), rate: Some(1_000_000.0), ..Path::default() };
        assert_eq!(path.predict(200_000, Millis(FRESH_MS)), 250);
    }

    #[test]
    fn an_old_measure_counts_for_less_and_less() {
        let path = Path { delay: Some(0.0), rate: Some(1024.0), ..Path::default() };
        let predict = |after| path.predict(1024, Millis(after));
        assert_eq!(predict(2 * FRESH_MS - 1), 1_000);
        assert_eq!(predict(2 * FRESH_MS), 500);
        assert_eq!(predict(40 * FRESH_MS), 0);
        let fast = Path { delay: Some(0.0), rate: Some(1e7), ..Path::default() };
        assert_eq!(fast.predict(1_000_000, Millis(80 * FRESH_MS)), 100);
    }
}
