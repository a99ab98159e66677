//! How the result changes with what is uncertain: one value after another is varied, the others stay.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use peerage::manifest::{Entry, Mode};
use peerage::sim::{Arm, Outcome, Scenario, Simulation, Summary};
use rayon::prelude::*;
use serde::Serialize;

/// One variation.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    /// What was varied.
    pub(super) what: &'static str,
    /// To what.
    pub(super) value: Value,
    /// What it came to for those who consent.
    pub(super) consenting: Outcome,
    /// For everyone.
    pub(super) all: Outcome,
}

/// A number, or a name.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Number(f64),
    Mode(Mode),
}

impl Value {
    fn number(self) -> f64 {
        if let Self::Number(number) = self { number } else { 1.0 }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Mode(mode) => f.write_str(mode.name()),
        }
    }
}

/// What is varied: its name, its values, and how one is set.
type Axis = (&'static str, Vec<Value>, fn(&mut Scenario, Value));

fn axes() -> [Axis; 5] {
    let numbers = |of: &[f64]| of.iter().copied().map(Value::Number).collect();
    [
        ("mode", [Mode::Speed, Mode::Balanced, Mode::Offload].map(Value::Mode).to_vec(), |s, v| {
            if let Value::Mode(mode) = v {
                s.peerage.mode = mode;
            }
        }),
        ("consent", numbers(&[1.0, 0.5, 0.25, 0.1]), |s, v| s.visitors.consent = v.number()),
        ("uplink ×", numbers(&[0.1, 0.25, 0.5, 1.0, 2.0]), |s, v| s.network.uplink *= v.number()),
        ("length of visits ×", numbers(&[0.1, 0.25, 0.5, 1.0, 2.0]), |s, v| s.visitors.pace *= v.number()),
        ("visitors ×", numbers(&[0.05, 0.25, 0.5, 1.0, 2.0]), |s, v| {
            s.visitors.count = ((f64::from(s.visitors.count) * v.number()) as u32).max(1);
        }),
    ]
}

/// Every variation of a scenario, several at a time.
pub(super) fn sweep(scenario: &Scenario, published: Option<&[Entry]>, seed: u64, progress: bool) -> Vec<Point> {
    let axes = axes();
    let points = axes.iter().flat_map(|axis| axis.1.iter().map(move |&value| (axis, value)));
    let points: Vec<_> = points.collect();
    let bar = if progress { ProgressBar::new(points.len() as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} variations  {elapsed}") {
        bar.set_style(style);
    }
    bar.tick();
    let done = AtomicUsize::new(0);
    let run = |&((what, _, set), value): &(&Axis, Value)| {
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
