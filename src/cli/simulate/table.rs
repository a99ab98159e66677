//! What a simulation came to, for people.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, HumanDuration};
use peerage::sim::{Outcome, Spread, Spreading, Summary};

use super::sweep::Point;

/// The table at the end.
pub(super) fn table(name: &str, summary: &Summary, took: Duration) -> String {
    let mut out = format!("{name}: {}\n", summary.about);
    let line = |out: &mut String, what: &str, said: &str| {
        let _ = write!(out, "\n{what:<34}{said}");
    };
    let said = format!(
        "{} in {} h, {} at most at one time; seed {}",
        HumanCount(u64::from(summary.visitors)),
        summary.hours,
        HumanCount(u64::from(summary.most_online)),
        summary.seed
    );
    line(&mut out, "visitors", &said);
    let (tried, prevented) = summary.connections;
    let said = format!("{} tried, {} prevented by address translation", HumanCount(tried), HumanCount(prevented));
    line(&mut out, "connections", &said);
    let dropped: Vec<String> =
        summary.dropped.iter().filter(|(_, n)| *n > 0).map(|(why, n)| format!("{n} {why}")).collect();
    if summary.rejected > 0 || !dropped.is_empty() {
        let said = format!("{} wrong pieces found out; peers dropped: {}", summary.rejected, dropped.join(", "));
        line(&mut out, "misbehaviour", &said);
    }
    for release in &summary.releases {
        let Spreading { at_s, present, left, heard_s, held_s, changed, origin, returned, cut_off, roots } = *release;
        let times = |spread: Spread| {
            let said = |time: Option<f64>| time.map_or_else(|| "never".to_owned(), |s| seconds(s as f32 * 1000.0));
            format!("{} / {} / {}", said(spread.p50), said(spread.p90), said(spread.p99))
        };
        let said = format!(
            "{} with a mesh, {} left before it came; {} new, the origin sent them {:.2} copies and {} of roots each, and {:.2} \
             copies to who came back, {:.2} copies of all those to who can connect to nobody",
            HumanCount(u64::from(present)),
            HumanCount(u64::from(left)),
            HumanBytes(changed),
            origin as f64 / changed.max(1) as f64,
            HumanBytes(roots / u64::from(present.max(1))),
            returned as f64 / changed.max(1) as f64,
            cut_off as f64 / changed.max(1) as f64
        );
        line(&mut out, &format!("version after {}", seconds(at_s as f32 * 1000.0)), &said);
        line(&mut out, "  heard of by 50 / 90 / 99 %", &times(heard_s));
        line(&mut out, "  its changes held by", &times(held_s));
    }
    let uploads = &summary.uploads;
    let said = format!(
        "median {}, 95 % at most {}, most {}; the busiest tenth {}",
        HumanBytes(uploads.p50),
        HumanBytes(uploads.p95),
        HumanBytes(uploads.most),
        percent(uploads.top_tenth)
    );
    line(&mut out, "given by a visitor", &said);
    let groups = [("with consent", &summary.consenting), ("without", &summary.declining), ("all", &summary.all)];
    let groups: Vec<_> = groups.into_iter().filter(|(_, o)| o.visits > 0).collect();
    let _ = write!(out, "\n\n{:<34}", "");
    for (name, _) in &groups {
        let _ = write!(out, "{name:>16}");
    }
    for (what, cell) in rows() {
        let _ = write!(out, "\n{what:<34}");
        for (_, outcome) in &groups {
            let _ = write!(out, "{:>16}", cell(outcome));
        }
    }
    let failed = summary.all.failed;
    if failed > 0 {
        let _ = write!(out, "\n{failed} requests failed");
    }
    let rate = summary.events as f64 / took.as_secs_f64().max(0.001);
    let _ = write!(
        out,
        "\n\nDelays are of files that a browser's own cache could not answer: with Peerage / without.\n{} events in {} ({} a second)",
        HumanCount(summary.events),
        if took.as_secs() < 60 { format!("{:.1} s", took.as_secs_f64()) } else { HumanDuration(took).to_string() },
        HumanCount(rate as u64),
    );
    out
}

/// What is said of each group of visitors; what belongs to the row before begins with spaces.
pub(super) fn rows() -> Vec<Row> {
    vec![
        ("visits", |o| HumanCount(o.visits).to_string()),
        ("origin, browsers' caches alone", |o| HumanBytes(o.http_origin).to_string()),
        ("origin, with Peerage", |o| HumanBytes(o.origin + o.overhead).to_string()),
        ("  of it Peerage's own", |o| HumanBytes(o.overhead).to_string()),
        ("  before the worker was there", |o| HumanBytes(o.causes[0]).to_string()),
        ("  without a neighbour", |o| HumanBytes(o.causes[1]).to_string()),
        ("  no neighbour held it", |o| HumanBytes(o.causes[2]).to_string()),
        ("  late from a neighbour", |o| HumanBytes(o.causes[3]).to_string()),
        ("from peers", |o| HumanBytes(o.peer).to_string()),
        ("for nothing", |o| percent(o.waste)),
        ("asked for with a neighbour", |o| percent(o.eligible)),
        ("taken off the origin", |o| percent(o.offload)),
        ("delay, median", |o| delays(o.delay_ms.p50, o.http_delay_ms.p50)),
        ("delay, 95 % at most", |o| delays(o.delay_ms.p95, o.http_delay_ms.p95)),
        ("delay, 99 % at most", |o| delays(o.delay_ms.p99, o.http_delay_ms.p99)),
    ]
}

/// A row's name, and its cell for a group.
type Row = (&'static str, fn(&Outcome) -> String);

/// What varies with what.
pub(super) fn sweep(points: &[Point]) -> String {
    let mut out = format!(
        "\n{:<34}{:>16}{:>16}{:>16}{:>16}{:>8}",
        "sensitivity", "offload, cons.", "offload, all", "median", "95 %", "waste"
    );
    for point in points {
        let o = &point.consenting;
        let _ = write!(
            out,
            "\n{:<34}{:>16}{:>16}{:>16}{:>16}{:>8}",
            format!("{} {}", point.what, point.value),
            percent(o.offload),
            percent(point.all.offload),
            delays(o.delay_ms.p50, o.http_delay_ms.p50),
            delays(o.delay_ms.p95, o.http_delay_ms.p95),
            percent(o.waste)
        );
    }
    out
}

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn delays(with: f32, without: f32) -> String {
    format!("{} / {}", seconds(with), seconds(without))
}

/// Milliseconds as people say them.
pub(super) fn seconds(ms: f32) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}
