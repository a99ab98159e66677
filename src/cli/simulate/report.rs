//! The page with plots: one file, without scripts, for wide and narrow, light and dark.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};
use peerage::sim::{Outcome, Scenario, Stretch, Summary};

use super::plot::{Axis, Plot, Series};
use super::sweep::Point;
use super::table::{percent, rows, seconds};

const PAGE: &str = include_str!("report.html");

/// The whole page.
pub(super) fn page(name: &str, scenario: &Scenario, summary: &Summary, sweep: &[Point]) -> String {
    let plots =
        [origin_over_time(summary), offload_over_time(summary), delays(summary), uploads(summary), neighbours(summary)];
    let mut plots: String = plots.iter().map(Plot::html).collect();
    plots.push_str(&causes(summary));
    if !scenario.updates.is_empty() {
        plots.push_str(&propagation(scenario, summary).html());
    }
    let fill = [
        ("name", escape(name)),
        ("about", escape(&summary.about)),
        ("visitors", HumanCount(u64::from(summary.visitors)).to_string()),
        ("hours", summary.hours.to_string()),
        ("seed", summary.seed.to_string()),
        ("tiles", tiles(summary)),
        ("plots", plots),
        ("sensitivity", sensitivity(sweep)),
        ("rows", all_rows(summary)),
    ];
    let mut page = PAGE.to_owned();
    for (key, value) in fill {
        page = page.replace(&format!("{{{{{key}}}}}"), &value);
    }
    page
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn tiles(summary: &Summary) -> String {
    let (own, all) = (&summary.consenting, &summary.all);
    let mut tiles = vec![
        (percent(own.offload), "taken off the origin, of visitors who consent".to_owned()),
        (percent(all.offload), "of all visitors".to_owned()),
        (seconds(own.delay_ms.p50), format!("median delay; {} without", seconds(own.http_delay_ms.p50))),
        (seconds(own.delay_ms.p95), format!("95 % took no longer; {} without", seconds(own.http_delay_ms.p95))),
        (percent(own.waste), "of what came, came for nothing".to_owned()),
        (HumanBytes(summary.uploads.p50).to_string(), "given by the median visitor".to_owned()),
    ];
    if own.visits == 0 || own.visits == all.visits {
        tiles.remove(1);
    }
    let tile = |(value, what): (String, String)| format!("<div><dt>{what}</dt><dd>{value}</dd></div>");
    tiles.into_iter().map(tile).collect()
}

/// The middle of each stretch in hours, with something of it.
fn over_time(summary: &Summary, timeline: &[Stretch], of: impl Fn(&Stretch) -> f64) -> Vec<(f64, f64)> {
    let hours = summary.hours / timeline.len() as f64;
    timeline.iter().enumerate().map(|(at, stretch)| ((at as f64 + 0.5) * hours, of(stretch))).collect()
}

fn time(summary: &Summary) -> Axis {
    if summary.hours > 2.0 {
        let mut axis = Axis::linear(summary.hours, "hours", |h| h.to_string());
        if summary.hours == 24.0 {
            axis.ticks = (0..=24).step_by(4).map(|h| (f64::from(h), h.to_string())).collect();
        }
        axis.to = summary.hours;
        axis.ticks.retain(|(at, _)| *at <= summary.hours);
        axis
    } else {
        let minutes = summary.hours * 60.0;
        let mut axis = Axis::linear(minutes, "minutes", |m| m.to_string());
        axis.ticks = axis.ticks.into_iter().filter(|(m, _)| *m <= minutes).map(|(m, name)| (m / 60.0, name)).collect();
        axis.to = summary.hours;
        axis
    }
}

fn origin_over_time(summary: &Summary) -> Plot {
    let stretch = summary.hours * 3600.0 / summary.timeline.len() as f64;
    let rate = |bytes: u64| bytes as f64 * 8.0 / stretch / 1e6;
    let plain = over_time(summary, &summary.http_timeline, |s| rate(s.origin));
    let with = over_time(summary, &summary.timeline, |s| rate(s.origin));
    let peer = over_time(summary, &summary.timeline, |s| rate(s.peer));
    let most = plain.iter().chain(&peer).chain(&with).map(|p| p.1).fold(0.0, f64::max);
    Plot {
        title: "Who sends, over the time",
        note: "Megabits a second: what the origin sends with browsers' own caches alone, what it sends with Peerage, and what visitors \
               send each other."
            .to_owned(),
        x: time(summary),
        y: Axis::linear(most, "", short),
        series: vec![
            Series { name: "origin, without Peerage", class: "plain", points: plain, filled: false, dotted: false },
            Series { name: "peers", class: "peer", points: peer, filled: false, dotted: false },
            Series { name: "origin, with Peerage", class: "origin", points: with, filled: true, dotted: false },
        ],
        marks: Vec::new(),
    }
}

fn offload_over_time(summary: &Summary) -> Plot {
    // A stretch in which little was asked for says little: it is told together with those before.
    let mut points = Vec::new();
    let (mut with, mut without) = (0, 0);
    let enough = summary.all.http_origin / 400;
    for ((at, _), (a, b)) in over_time(summary, &summary.timeline, |_| 0.0)
        .into_iter()
        .zip(summary.timeline.iter().zip(&summary.http_timeline))
    {
        (with, without) = (with + a.origin, without + b.origin);
        if without > enough {
            points.push((at, (1.0 - with as f64 / without as f64).max(0.0) * 100.0));
            (with, without) = (0, 0);
        }
    }
    Plot {
        title: "Offload, over the time",
        note: "Share of what the origin would have sent that it did not have to send, for all visitors; less than nothing is drawn as \
               nothing."
            .to_owned(),
        x: time(summary),
        y: Axis::linear(100.0, "", |v| format!("{v} %")),
        series: vec![Series { name: "taken off the origin", class: "peer", points, filled: true, dotted: false }],
        marks: Vec::new(),
    }
}

fn delays(summary: &Summary) -> Plot {
    let own = if summary.consenting.visits > 0 { &summary.consenting } else { &summary.all };
    let points = |curve: &Vec<f32>| (0..).map(f64::from).zip(curve.iter().map(|ms| f64::from(*ms) / 1000.0)).collect();
    let [with, plain]: [Vec<(f64, f64)>; 2] = [points(&own.curves[0]), points(&own.curves[1])];
    Plot {
        title: "Delay",
        note: "Seconds from a request to its last byte, by the share of requests that took no longer: files that a browser's own cache \
               could not answer."
            .to_owned(),
        x: Axis {
            from: 0.0,
            to: 100.0,
            log: false,
            ticks: [0, 25, 50, 75, 95].map(|p| (f64::from(p), format!("{p} %"))).to_vec(),
            label: "share of requests",
        },
        y: Axis::log(with.iter().chain(&plain).map(|p| p.1), "", |v| format!("{v} s")),
        series: vec![
            Series { name: "without Peerage", class: "plain", points: plain, filled: false, dotted: false },
            Series { name: "with Peerage", class: "peer", points: with, filled: false, dotted: false },
        ],
        marks: Vec::new(),
    }
}

fn uploads(summary: &Summary) -> Plot {
    let sorted = &summary.uploads.sorted;
    let last = sorted.len().saturating_sub(1).max(1);
    let step = (sorted.len() / 200).max(1);
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let points: Vec<(f64, f64)> = (0..sorted.len())
        .step_by(step)
        .chain(sorted.len().checked_sub(1))
        .map(|at| (at as f64 * 100.0 / last as f64, mebibytes(sorted[at])))
        .collect();
    let by_link = summary.uploads.by_link.iter().filter(|(_, count, _)| *count > 0);
    let by_link: Vec<String> = by_link
        .map(|(name, count, bytes)| format!("{} {} each", escape(name), HumanBytes(bytes / *count as u64)))
        .collect();
    Plot {
        title: "Given by each visitor",
        note: format!(
            "MiB given in all visits, by the share of visitors who gave no more. The tenth that gave most gave {}. By link: {}.",
            percent(summary.uploads.top_tenth),
            by_link.join(", ")
        ),
        x: Axis {
            from: 0.0,
            to: 100.0,
            log: false,
            ticks: [0, 25, 50, 75, 90].map(|p| (f64::from(p), format!("{p} %"))).to_vec(),
            label: "share of visitors",
        },
        y: Axis::linear(points.iter().map(|p| p.1).fold(0.0, f64::max), "", short),
        series: vec![Series { name: "MiB given", class: "peer", points, filled: true, dotted: false }],
        marks: Vec::new(),
    }
}

fn neighbours(summary: &Summary) -> Plot {
    let online = over_time(summary, &summary.timeline, |s| f64::from(s.online));
    let meshed = over_time(summary, &summary.timeline, |s| f64::from(s.meshed));
    let most = online.iter().map(|p| p.1).fold(0.0, f64::max);
    let (links, meshes) =
        summary.timeline.iter().fold((0u64, 0u64), |(l, m), s| (l + u64::from(s.neighbours), m + u64::from(s.meshed)));
    let (tried, prevented) = summary.connections;
    Plot {
        title: "Visitors there",
        note: format!(
            "{:.1} neighbours a mesh on average. Of {} connections tried, address translation prevented {}.",
            links as f64 / meshes.max(1) as f64,
            HumanCount(tried),
            HumanCount(prevented)
        ),
        x: time(summary),
        y: Axis::linear(most, "", short),
        series: vec![
            Series { name: "visitors", class: "plain", points: online, filled: false, dotted: false },
            Series { name: "with a mesh", class: "peer", points: meshed, filled: true, dotted: false },
        ],
        marks: Vec::new(),
    }
}

/// Why the origin was asked, as bars.
fn causes(summary: &Summary) -> String {
    let own = if summary.consenting.visits > 0 { &summary.consenting } else { &summary.all };
    let names = ["before the worker was there", "without a neighbour", "no neighbour held it", "late from a neighbour"];
    let bars = names.into_iter().zip(own.causes).chain([("Peerage's own", own.overhead)]);
    let share = |bytes: u64| bytes as f64 / own.http_origin.max(1) as f64;
    let most = own.causes.iter().chain([&own.overhead]).map(|b| share(*b)).fold(0.01, f64::max);
    let mut out = "<figure><h2>Why the origin was asked</h2><table class=\"bars\">".to_owned();
    for (name, bytes) in bars {
        let width = share(bytes) * 100.0 / most;
        let _ = write!(
            out,
            "<tr><td>{name}<div style=\"width:{width:.1}%\"></div></td><td>{}</td></tr>",
            percent(share(bytes))
        );
    }
    out.push_str(
        "</table><figcaption>In per cent of what the origin sends with browsers' own caches alone, for visitors who \
         consent.</figcaption></figure>",
    );
    out
}

fn propagation(scenario: &Scenario, summary: &Summary) -> Plot {
    let share = |count: u32, s: &Stretch| f64::from(count) * 100.0 / f64::from(s.online.max(1));
    Plot {
        title: "Propagation of a version",
        note: "Share of the visitors there. Neighbours pass a version on to workers; a page keeps its own until the next navigation. \
               Dotted: a version is published."
            .to_owned(),
        x: time(summary),
        y: Axis::linear(100.0, "", |v| format!("{v} %")),
        series: vec![
            Series {
                name: "worker knows the newest",
                class: "peer",
                points: over_time(summary, &summary.timeline, |s| share(s.informed, s)),
                filled: true,
                dotted: false,
            },
            Series {
                name: "page is of it",
                class: "origin",
                points: over_time(summary, &summary.timeline, |s| share(s.newest, s)),
                filled: false,
                dotted: false,
            },
        ],
        marks: scenario.updates.iter().map(|u| u.at_s / 3600.0).collect(),
    }
}

fn sensitivity(sweep: &[Point]) -> String {
    if sweep.is_empty() {
        return String::new();
    }
    let mut out =
        "<h3>What it depends on</h3><p class=\"soft\">One value is varied, the others stay.</p><div class=\"plots\">"
            .to_owned();
    for axis in sweep.chunk_by(|a, b| a.what == b.what) {
        let Some(first) = axis.first() else { continue };
        let points = |of: fn(&Point) -> f64| (0..).map(f64::from).zip(axis.iter().map(of)).collect();
        let title = match first.what {
            "mode" => "What the site prefers",
            "consent" => "Share of visitors who consent",
            "uplink ×" => "Uplinks, times as fast",
            "length of visits ×" => "Visits, times as long",
            _ => "Visitors, times as many",
        };
        let best = axis.iter().filter(|p| p.consenting.offload <= 0.0).map(|p| p.value.to_string()).collect::<Vec<_>>();
        let note = if best.is_empty() {
            let delays = axis.iter().map(|p| format!("{}: {}", p.value, seconds(p.consenting.delay_ms.p50)));
            format!("Median delay: {}.", delays.collect::<Vec<_>>().join(", "))
        } else {
            format!("It does not pay at {}.", best.join(", "))
        };
        let all = Series {
            name: "all visitors",
            class: "origin",
            points: points(|p| p.all.offload.max(0.0) * 100.0),
            filled: false,
            dotted: true,
        };
        let mut series = vec![Series {
            name: "offload, with consent",
            class: "peer",
            points: points(|p| p.consenting.offload.max(0.0) * 100.0),
            filled: false,
            dotted: true,
        }];
        if all.points != series[0].points {
            series.push(all);
        }
        let plot = Plot {
            title,
            note,
            x: Axis::places(axis.iter().map(|p| p.value.to_string()).collect(), ""),
            y: Axis::linear(100.0, "", |v| format!("{v} %")),
            series,
            marks: Vec::new(),
        };
        out.push_str(&plot.html());
    }
    out.push_str("</div>");
    out
}

fn all_rows(summary: &Summary) -> String {
    let groups = [("with consent", &summary.consenting), ("without", &summary.declining), ("all", &summary.all)];
    let groups: Vec<(&str, &Outcome)> = groups.into_iter().filter(|(_, o)| o.visits > 0).collect();
    let mut out = "<tr><th></th>".to_owned();
    for (name, _) in &groups {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("</tr>");
    for (what, cell) in rows() {
        let class = if what.starts_with(' ') { " class=\"sub\"" } else { "" };
        let _ = write!(out, "<tr{class}><td>{}</td>", what.trim());
        for (_, outcome) in &groups {
            let _ = write!(out, "<td>{}</td>", cell(outcome));
        }
        out.push_str("</tr>");
    }
    out
}

/// A number in as few signs as it needs.
fn short(value: f64) -> String {
    if value >= 10_000.0 { format!("{}k", value / 1000.0) } else { format!("{}", (value * 1000.0).round() / 1000.0) }
}
