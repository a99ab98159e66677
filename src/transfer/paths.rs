//! What a worker knows of the two ways to a piece that it lacks, the mesh and the origin, and which of them the site's
//! mode prefers.
//!
//! The mesh predicts for itself when it should bring a piece; here is what that is compared with. A piece may come from
//! the mesh where it should be there within:
//!
//! ```text
//!   speed       the origin's time
//!   balanced    twice the origin's time and a quarter of a second: what a visitor hardly notices
//!   offload     any time
//! ```
//!
//! The origin's time is a mean delay and a mean pace over what its answers took, as the browser's Resource Timing has
//! them (W3C Resource Timing, section 3); answers out of the HTTP cache are no measure of it. Where it could not be
//! reached of late, any time will do.

use super::NEVER;
use super::hedges::Hedges;
use crate::Millis;
use crate::manifest::Mode;
use crate::rate::{UNKNOWN_DELAY, UNKNOWN_RATE, aged, mean};

/// An origin that has not been measured is taken for as fast as a neighbour that has not been.
const UNKNOWN_PACE: f64 = 1000.0 / UNKNOWN_RATE;

/// Answers shorter than this say nothing about the rate, in bytes.
const RATED: u64 = 32 << 10;

/// A sample of the rate is at least this long, in milliseconds, or this large: clocks are coarse.
const SAMPLE: (f64, u64) = (20.0, 512 << 10);

/// For this long after it could not be reached, the origin is not counted on.
const GONE_MS: u64 = 30_000;

/// Any time.
const EVER: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Default)]
pub struct Paths {
    /// What the site's owner prefers.
    pub mode: Mode,
    pub(super) hedges: Hedges,
    /// Mean time to the first byte of an answer, in milliseconds.
    delay: Option<f64>,
    /// Mean time that a byte took after it, in milliseconds: of times, so that one slow answer weighs as much as it cost.
    pace: Option<f64>,
    /// When that was last measured.
    measured: Millis,
    /// Bytes and milliseconds that do not make a sample yet.
    sample: (u64, f64),
    /// Bytes asked of the origin that have not come.
    owed: u64,
    /// When it could not be reached, if that is the last that was heard.
    gone: Option<Millis>,
}

impl Paths {
    /// Of a site whose owner prefers this.
    pub fn new(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// The mesh is at work, for whichever file: it is not stalled, only busy.
    pub fn mesh_progressed(&mut self, now: Millis) {
        self.hedges.mesh_progressed(now);
    }

    /// An answer of the origin, read as fast as it came: milliseconds to its first byte, its bytes, and milliseconds from
    /// the first to the last.
    pub fn origin_answered(&mut self, delay_ms: f64, bytes: u64, span_ms: f64, now: Millis) {
        if !delay_ms.is_finite() || !span_ms.is_finite() || delay_ms < 0.0 || span_ms < 0.0 {
            return;
        }
        self.delay = Some(mean(self.delay, delay_ms, 0.25));
        self.measured = now;
        if bytes < RATED {
            return;
        }
        self.sample = (self.sample.0 + bytes, self.sample.1 + span_ms);
        if self.sample.1 >= SAMPLE.0 || self.sample.0 >= SAMPLE.1 {
            let (bytes, ms) = std::mem::take(&mut self.sample);
            self.pace = Some(mean(self.pace, ms.max(1.0) / bytes as f64, 0.3));
        }
    }

    /// An answer is late: so many bytes of it have come in so many milliseconds. It may never come to its end.
    pub(super) fn origin_late(&mut self, bytes: u64, ms: u64, now: Millis) {
        self.measured = now;
        if bytes == 0 {
            self.delay = Some(mean(self.delay, ms as f64, 0.5));
        } else {
            self.pace = Some(mean(self.pace, ms as f64 / bytes as f64, 0.5));
        }
    }

    /// The origin's measured delay in milliseconds and rate in bytes a second, 0 where there is none: what a worker
    /// remembers between its lives.
    pub fn origin(&self) -> (u64, u64) {
        (self.delay.unwrap_or(0.0).ceil() as u64, self.pace.map_or(0.0, |pace| 1000.0 / pace).ceil() as u64)
    }

    /// What [`Paths::origin`] gave, in an earlier life.
    pub fn remember(&mut self, (delay, rate): (u64, u64), now: Millis) {
        self.delay = Some(delay as f64).filter(|&delay| delay > 0.0);
        self.pace = Some(1000.0 / rate as f64).filter(|pace| pace.is_finite());
        self.measured = now;
    }

    pub(super) fn asked(&mut self, bytes: u64) {
        self.owed += bytes;
    }

    /// So many bytes of what was asked for came, or will not.
    pub(super) fn settled(&mut self, bytes: u64) {
        self.owed = self.owed.saturating_sub(bytes);
    }

    pub(super) fn origin_reached(&mut self) {
        self.gone = None;
    }

    pub(super) fn origin_lost(&mut self, now: Millis) {
        self.gone = Some(now);
    }

    /// How long the mesh may take to bring what ends so many bytes from here, in milliseconds.
    pub(super) fn within(&self, bytes: u64, now: Millis) -> u32 {
        if self.gone.is_some_and(|since| now.since(since) < GONE_MS) {
            return EVER;
        }
        let origin = self.origin_ms(bytes, now);
        match self.mode {
            Mode::Speed => origin,
            Mode::Balanced => origin.saturating_mul(2).saturating_add(250),
            Mode::Offload => EVER,
        }
    }

    /// When the origin should have brought so many bytes more, in milliseconds from now.
    pub(super) fn origin_ms(&self, bytes: u64, now: Millis) -> u32 {
        let pace = aged(self.pace, UNKNOWN_PACE, self.measured, now);
        let delay = aged(self.delay, UNKNOWN_DELAY, self.measured, now);
        (delay + (self.owed + bytes) as f64 * pace) as u32
    }

    /// When what should be there in `eta` milliseconds is late. In the mode that prefers peers, only silence is.
    pub(super) fn late(&self, eta: u32, now: Millis) -> Millis {
        let eta = u64::from(eta);
        match self.mode {
            Mode::Speed => now + (eta * 3 / 2 + 100),
            Mode::Balanced => now + (eta * 2 + 300),
            Mode::Offload => NEVER,
        }
    }

    /// When a mesh is late that has not even said what it will bring.
    pub(super) fn answer_due(&self, now: Millis) -> Millis {
        match self.mode {
            Mode::Speed => now + 50,
            Mode::Balanced => now + 200,
            Mode::Offload => NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(mode: Mode) -> Paths {
        let mut paths = Paths::new(mode);
        paths.origin_answered(50.0, 100_000, 100.0, Millis(0));
        paths
    }

    #[test]
    fn the_mode_says_how_much_later_than_the_origin_the_mesh_may_be() {
        let within = |mode, bytes| measured(mode).within(bytes, Millis(0));
        assert_eq!(within(Mode::Speed, 200_000), 250);
        assert_eq!(within(Mode::Balanced, 200_000), 750);
        assert_eq!(within(Mode::Offload, 200_000), EVER);
    }

    #[test]
    fn an_awakened_worker_knows_what_it_knew() {
        let mut paths = Paths::new(Mode::Speed);
        assert_eq!(paths.origin(), (0, 0));
        paths.remember((0, 0), Millis(0));
        assert_eq!(paths.within(1_048_576, Millis(0)), 1_100);
        paths.remember(measured(Mode::Speed).origin(), Millis(0));
        assert_eq!(paths.within(200_000, Millis(0)), 250);
    }

    #[test]
    fn what_the_origin_owes_comes_first() {
        let mut paths = measured(Mode::Speed);
        paths.asked(300_000);
        assert_eq!(paths.within(1_000, Millis(0)), 351);
        paths.settled(100_000);
        assert_eq!(paths.within(1_000, Millis(0)), 251);
        paths.settled(1_000_000);
        assert_eq!(paths.within(1_000, Millis(0)), 51);
    }

    #[test]
    fn small_answers_tell_the_delay_and_not_the_rate() {
        let mut paths = measured(Mode::Speed);
        for _ in 0..100 {
            paths.origin_answered(10.0, 500, 5.0, Millis(0));
        }
        assert_eq!(paths.within(100_000, Millis(0)), 110);
    }

    #[test]
    fn figures_that_make_no_sense_are_left_out() {
        let mut paths = measured(Mode::Speed);
        for (delay, span) in [(f64::NAN, 1.0), (-1.0, 1.0), (1.0, f64::INFINITY), (1.0, -5.0)] {
            paths.origin_answered(delay, 100_000, span, Millis(0));
        }
        assert_eq!(paths.within(100_000, Millis(0)), 150);
    }

    #[test]
    fn a_late_answer_counts_before_its_end_and_is_forgotten_with_time() {
        let mut paths = measured(Mode::Speed);
        paths.origin_late(0, 1_050, Millis(0));
        assert_eq!(paths.within(100_000, Millis(0)), 650);
        paths.origin_late(10_000, 1_000, Millis(0));
        assert!(paths.within(100_000, Millis(0)) > 5_000);
        assert_eq!(paths.within(100_000, Millis(1 << 40)), 195, "as if never measured");
    }

    #[test]
    fn an_origin_that_cannot_be_reached_is_not_waited_for() {
        let mut paths = measured(Mode::Speed);
        paths.origin_lost(Millis(0));
        assert_eq!(paths.within(1, Millis(GONE_MS - 1)), EVER);
        assert_eq!(paths.within(1_000, Millis(GONE_MS)), 51);
        paths.origin_lost(Millis(GONE_MS));
        paths.origin_reached();
        assert_eq!(paths.within(1_000, Millis(GONE_MS)), 51);
    }
}
