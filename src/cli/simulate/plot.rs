//! Line plots as SVG, drawn in the colours of the page they stand in.

use std::fmt::Write as _;

/// Size of the drawing, and the room for labels on its left and below it.
const SIZE: (f64, f64) = (440.0, 250.0);
const LEFT: f64 = 52.0;
const BELOW: f64 = 34.0;
const ABOVE: f64 = 10.0;
const RIGHT: f64 = 12.0;

/// One direction.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) log: bool,
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) label: &'static str,
}

impl Axis {
    /// From 0 to at least `most`, with round ticks.
    pub(super) fn linear(most: f64, label: &'static str, say: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let rough = most / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|n| n * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let count = (most / step).ceil();
        let ticks = (0..=count as usize).map(|n| (n as f64 * step, say(n as f64 * step))).collect();
        Self { from: 0.0, to: count * step, log: false, ticks, label }
    }

    /// Powers of ten that hold all of these.
    pub(super) fn log(values: impl Iterator<Item = f64>, label: &'static str, say: impl Fn(f64) -> String) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0f64);
        for value in values.filter(|v| *v > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        if most <= 0.0 {
            (least, most) = (1.0, 10.0);
        }
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        let to = if to > from { to } else { from + 1.0 };
        let ticks = (from as i32..=to as i32).map(|n| (10f64.powi(n), say(10f64.powi(n)))).collect();
        Self { from: 10f64.powf(from), to: 10f64.powf(to), log: true, ticks, label }
    }

    /// These places, evenly apart.
    pub(super) fn places(names: Vec<String>, label: &'static str) -> Self {
        let to = names.len().saturating_sub(1).max(1) as f64;
        Self { from: 0.0, to, log: false, ticks: (0..).map(f64::from).zip(names).collect(), label }
    }

    /// Where a value lies, from 0 to 1.
    fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0)
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    /// A class of the page's style: `peer`, `origin`, `plain`.
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
    /// The space below is filled.
    pub(super) filled: bool,
    /// Each point is marked.
    pub(super) dotted: bool,
}

/// A plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// What is to be seen in it.
    pub(super) note: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// Moments worth a line of their own.
    pub(super) marks: Vec<f64>,
}

impl Plot {
    /// A figure with its legend and caption.
    pub(super) fn html(&self) -> String {
        let mut out = format!("<figure><h2>{}</h2><p class=\"legend\">", self.title);
        for series in &self.series {
            let _ = write!(out, "<span class=\"{}\">{}</span>", series.class, series.name);
        }
        let (width, height) = SIZE;
        let _ = write!(
            out,
            "</p><svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\"><g class=\"grid\">",
            self.title
        );
        let (right, floor) = (width - RIGHT, height - BELOW);
        let x = |value: f64| LEFT + self.x.at(value) * (right - LEFT);
        let y = |value: f64| floor - self.y.at(value) * (floor - ABOVE);
        for (value, name) in &self.y.ticks {
            let at = y(*value);
            let _ = write!(
                out,
                "<path d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"end\">{name}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        for (value, name) in &self.x.ticks {
            let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" class=\"mid\">{name}</text>", x(*value), floor + 16.0);
        }
        let _ =
            write!(out, "<text x=\"{right}\" y=\"{:.1}\" class=\"end axis\">{}</text></g>", height - 3.0, self.x.label);
        for mark in &self.marks {
            let _ = write!(out, "<path class=\"mark\" d=\"M{:.1} {ABOVE}V{floor}\"/>", x(*mark));
        }
        for series in &self.series {
            let place = |&(a, b): &(f64, f64)| format!("{:.1} {:.1}", x(a), y(b));
            let line: Vec<String> = series.points.iter().map(place).collect();
            let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else { continue };
            let (class, line) = (series.class, line.join("L"));
            if series.filled {
                let (from, to) = (x(first.0), x(last.0));
                let _ = write!(out, "<path class=\"area {class}\" d=\"M{from:.1} {floor}L{line}L{to:.1} {floor}Z\"/>");
            }
            let _ = write!(out, "<path class=\"line {class}\" d=\"M{line}\"/>");
            for point in series.points.iter().filter(|_| series.dotted) {
                let _ = write!(
                    out,
                    "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                    x(point.0),
                    y(point.1)
                );
            }
        }
        let _ = write!(out, "</svg><figcaption>{}</figcaption></figure>", self.note);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_everything() {
        let names = |axis: &Axis| axis.ticks.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
        let axis = Axis::linear(73.0, "", |v| v.to_string());
        assert_eq!(names(&axis), ["0", "20", "40", "60", "80"]);
        let axis = Axis::log([0.0, 3.0, 240.0].into_iter(), "", |v| v.to_string());
        assert_eq!(names(&axis), ["1", "10", "100", "1000"]);
        assert_eq!(axis.at(1000.0), 1.0);
        assert_eq!(axis.at(0.0), 0.0);
        assert_eq!(Axis::linear(0.0, "", |v| v.to_string()).to, 1.0);
    }
}
