//! What two runs of a scenario come to.

use serde::Serialize;

use super::figures::{Figures, Group, Stretch, Tally};
use super::release::{Release, Spreading};
use super::scenario::Scenario;
use crate::port::Reason;

/// Milliseconds from a request to its last byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delays {
    /// Half of the requests took no longer.
    pub p50: f32,
    /// Nine in ten.
    pub p90: f32,
    /// Nineteen in twenty.
    pub p95: f32,
    /// Ninety-nine in a hundred.
    pub p99: f32,
}

impl Delays {
    fn of(tally: &Tally) -> Self {
        let at = |share| tally.delay(share).unwrap_or_default();
        Self { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) }
    }
}

/// What a group of visitors had with Peerage, beside what it had with its browsers' own caches.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Visits.
    pub visits: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that could not be.
    pub failed: u64,
    /// Bytes that pages asked for.
    pub asked: u64,
    /// Bytes that the browsers' own caches fetched from the origin.
    pub http_origin: u64,
    /// Bytes of the site's files that the origin sent with Peerage.
    pub origin: u64,
    /// Why it was asked for bytes, by [`Cause`](super::Cause): before the worker was there, without a neighbour, what no
    /// neighbour held, what came late from one.
    pub causes: [u64; 4],
    /// Bytes of Peerage's own that the origin sent.
    pub overhead: u64,
    /// Bytes from neighbours.
    pub peer: u64,
    /// Bytes from the visitor's own store or cache.
    pub cache: u64,
    /// Bytes that came for nothing.
    pub wasted: u64,
    /// Bytes given to others.
    pub uploaded: u64,
    /// Share of `http_origin` that the origin did not have to send, Peerage's own counted against it.
    pub offload: f64,
    /// Share of the bytes to be fetched that were asked for when there was a neighbour: the most that peers could have
    /// given.
    pub eligible: f64,
    /// Share of what came over the network that came for nothing.
    pub waste: f64,
    /// With Peerage, of requests that a browser's own cache could not answer.
    pub delay_ms: Delays,
    /// The same requests with the browsers' own caches.
    pub http_delay_ms: Delays,
    /// Delays at each hundredth of the requests, with Peerage and without, for plots.
    #[serde(skip)]
    pub curves: [Vec<f32>; 2],
}

impl Outcome {
    fn of(http: &Tally, with: &Tally) -> Self {
        let share = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        let fetched = http.origin;
        Self {
            visits: with.visits,
            requests: with.requests,
            failed: with.failed,
            asked: with.asked,
            http_origin: fetched,
            origin: with.origin,
            causes: with.causes,
            overhead: with.overhead,
            peer: with.peer,
            cache: with.cache,
            wasted: with.wasted,
            uploaded: with.uploaded,
            offload: 1.0 - share(with.origin + with.overhead, fetched),
            eligible: share(with.eligible, with.fetched),
            waste: share(with.wasted, with.peer + with.origin + with.wasted),
            delay_ms: Delays::of(with),
            http_delay_ms: Delays::of(http),
            curves: [with, http].map(curve),
        }
    }
}

fn curve(tally: &Tally) -> Vec<f32> {
    let mut sorted = tally.delays.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |share: usize| sorted.get((sorted.len().saturating_sub(1)) * share / 100).copied();
    (0..=100).filter_map(at).collect()
}

/// What visitors gave, of those who could.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Uploads {
    /// Visitors who could give.
    pub visitors: usize,
    /// Median bytes given.
    pub p50: u64,
    /// Nineteen in twenty gave no more.
    pub p95: u64,
    /// The most that one gave.
    pub most: u64,
    /// Share of all that was given by the tenth of visitors who gave most.
    pub top_tenth: f64,
    /// Bytes by class of link: its name, visitors of it, what they gave.
    pub by_link: Vec<(String, usize, u64)>,
    /// What each gave, sorted, for plots.
    #[serde(skip)]
    pub sorted: Vec<u64>,
}

impl Uploads {
    fn of(scenario: &Scenario, figures: &Figures) -> Self {
        let mut sorted: Vec<u64> = figures.uploads.iter().map(|(bytes, _)| *bytes).collect();
        sorted.sort_unstable();
        let at = |share: f64| sorted.get(((sorted.len() as f64 - 1.0) * share).round() as usize).copied();
        let total: u64 = sorted.iter().sum();
        let tenth: u64 = sorted.iter().rev().take(sorted.len().div_ceil(10)).sum();
        let by_link = scenario.links.iter().enumerate().map(|(class, link)| {
            let of = figures.uploads.iter().filter(|(_, c)| *c == class);
            (link.name.clone(), of.clone().count(), of.map(|(bytes, _)| bytes).sum())
        });
        Self {
            visitors: sorted.len(),
            p50: at(0.5).unwrap_or_default(),
            p95: at(0.95).unwrap_or_default(),
            most: sorted.last().copied().unwrap_or_default(),
            top_tenth: if total == 0 { 0.0 } else { tenth as f64 / total as f64 },
            by_link: by_link.collect(),
            sorted,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The scenario.
    pub about: String,
    /// Where its chance began.
    pub seed: u64,
    /// Hours simulated.
    pub hours: f64,
    /// Different visitors.
    pub visitors: u32,
    /// Most visitors at one time.
    pub most_online: u32,
    /// Everyone who keeps to the rules.
    pub all: Outcome,
    /// Those who exchange files with others.
    pub consenting: Outcome,
    /// Those who don't.
    pub declining: Outcome,
    /// What was given.
    pub uploads: Uploads,
    /// Meshes started.
    pub meshes: u64,
    /// Connections tried, and those of them that address translation prevented.
    pub connections: (u64, u64),
    /// Peers dropped, by reason.
    pub dropped: Vec<(String, u64)>,
    /// Pieces whose digest was wrong.
    pub rejected: u64,
    /// How each new version spread.
    pub releases: Vec<Spreading>,
    /// Equal stretches of the time, with Peerage.
    pub timeline: Vec<Stretch>,
    /// The same with browsers' own caches.
    pub http_timeline: Vec<Stretch>,
    /// Events of both runs.
    pub events: u64,
}

impl Summary {
    /// What the two runs come to.
    pub fn of(scenario: &Scenario, seed: u64, http: &Figures, with: &Figures) -> Self {
        let group = |group| Outcome::of(http.of(group), with.of(group));
        let named = Reason::ALL.iter().zip(with.dropped).map(|(r, n)| (format!("{r:?}").to_lowercase(), n));
        Self {
            about: scenario.about.clone(),
            seed,
            hours: scenario.hours,
            visitors: scenario.visitors.count,
            most_online: with.most_online,
            all: Outcome::of(&http.all(), &with.all()),
            consenting: group(Group::Consenting),
            declining: group(Group::Declining),
            uploads: Uploads::of(scenario, with),
            meshes: with.meshes,
            connections: with.connections,
            dropped: named.collect(),
            rejected: with.rejected,
            releases: with.releases.iter().map(Release::spreading).collect(),
            timeline: with.timeline.clone(),
            http_timeline: http.timeline.clone(),
            events: http.events + with.events,
        }
    }
}
