//! How the result changes with what is uncertain: one value after another is varied, the others stay.

use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use peerage::manifest::Entry;
use peerage::sim::{Arm, Outcome, Scenario, Simulation, Summary};
use rayon::prelude::*;
use serde::Serialize;

/// One variation.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    /// What was varied.
    pub(super) what: &'static str,
    /// To what.
    pub(super) value: f64,
    /// What it came to for those who consent.
    pub(super) consenting: Outcome,
    /// For everyone.
    pub(super) all: Outcome,
}

/// What is varied: its name, its values, and how it is set.
type Axis = (&'static str, &'static [f64], fn(&mut Scenario, f64));

const AXES: [Axis; 4] = [
    ("consent", &[1.0, 0.5, 0.25, 0.1], |s, v| s.visitors.consent = v),
    ("uplink ×", &[0.1, 0.25, 0.5, 1.0, 2.0], |s, v| s.network.uplink *= v),
    ("length of visits ×", &[0.1, 0.25, 0.5, 1.0, 2.0], |s, v| s.visitors.pace *= v),
    ("visitors ×", &[0.05, 0.25, 0.5, 1.0, 2.0], |s, v| {
        s.visitors.count = ((f64::from(s.visitors.count) * v) as u32).max(1);
    }),
];

/// Every variation of a scenario, several at a time.
pub(super) fn sweep(scenario: &Scenario, published: Option<&[Entry]>, seed: u64, progress: bool) -> Vec<Point> {
    let points = AXES.iter().flat_map(|axis| axis.1.iter().map(move |&value| (axis, value)));
    let points: Vec<_> = points.collect();
    let bar = if progress { ProgressBar::new(points.len() as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} variations  {elapsed}") {
        bar.set_style(style);
    }
    bar.tick();
    let done = AtomicUsize::new(0);
    let run = |&((what, _, set), value): &(&Axis, f64)| {
        let mut varied = scenario.clone();
        set(&mut varied, value);
        let figures = [Arm::Http, Arm::Peerage].map(|arm| Simulation::new(&varied, published, seed, arm).finish());
        let summary = Summary::of(&varied, seed, &figures[0], &figures[1]);
        bar.set_position(done.fetch_add(1, Ordering::Relaxed) as u64 + 1);
        Point { what, value, consenting: summary.consenting, all: summary.all }
    };
    let points = points.par_iter().map(run).collect();
    bar.finish_and_clear();
    points
}
