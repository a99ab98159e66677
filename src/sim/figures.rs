//! What a simulation counts.

use serde::Serialize;

use super::queue::Micros;
use super::release::Release;
use crate::port::{Reason, Stats};

/// Whose figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Visitors who exchange files with others.
    Consenting,
    /// Visitors who don't.
    Declining,
    /// Visitors who don't keep to the rules; their own figures are of no interest.
    Misbehaving,
}

/// Why the origin was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// No worker stood before the page yet: the first load of a first visit, and what is asked for until it is installed.
    Uncontrolled,
    /// The visitor had no neighbour, or the file is not shared.
    Alone,
    /// No neighbour held it, or none would give it.
    NotHeld,
    /// It was on its way from a neighbour, late.
    Late,
}

/// Figures of one group of visitors, in bytes where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Visits begun.
    pub visits: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that could not be answered.
    pub failed: u64,
    /// What pages asked for, as far as it was answered.
    pub asked: u64,
    /// What of it a browser's own cache would have had to fetch: files that this visitor had not asked for before, or
    /// that had changed since.
    pub fetched: u64,
    /// What of that was asked for when there was a neighbour.
    pub eligible: u64,
    /// What came from the visitor's own store or cache.
    pub cache: u64,
    /// What came from neighbours.
    pub peer: u64,
    /// What was taken from neighbours, or found in the store, for a new version before a page asked for it.
    pub ahead: u64,
    /// What the origin sent of the site's files, used or not.
    pub origin: u64,
    /// What the origin was asked for, by [`Cause`].
    pub causes: [u64; 4],
    /// What the origin sent of Peerage's own: the worker, its bundle, manifests.
    pub overhead: u64,
    /// What was received and could not be used.
    pub wasted: u64,
    /// What was given to others.
    pub uploaded: u64,
    /// Milliseconds from a request to its last byte, of requests that a browser's own cache would have had to fetch.
    pub delays: Vec<f32>,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.visits += other.visits;
        self.requests += other.requests;
        self.failed += other.failed;
        self.asked += other.asked;
        self.fetched += other.fetched;
        self.eligible += other.eligible;
        self.cache += other.cache;
        self.peer += other.peer;
        self.ahead += other.ahead;
        self.origin += other.origin;
        self.overhead += other.overhead;
        for (sum, more) in self.causes.iter_mut().zip(other.causes) {
            *sum += more;
        }
        self.wasted += other.wasted;
        self.uploaded += other.uploaded;
        self.delays.extend(&other.delays);
    }

    /// The delay that this share of the requests did not exceed; `None` where there were none.
    pub fn delay(&self, share: f64) -> Option<f32> {
        let mut sorted = self.delays.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        sorted.get(((sorted.len() as f64 - 1.0) * share).round() as usize).copied()
    }
}

/// One stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stretch {
    /// Bytes of pages' files from neighbours.
    pub peer: u64,
    /// Bytes that the origin sent.
    pub origin: u64,
    /// Bytes that browsers' own caches would have had to fetch.
    pub fetched: u64,
    /// Visitors there, at the end of the stretch.
    pub online: u32,
    /// Those of them whose pages are of the newest version.
    pub newest: u32,
    /// Those of them whose workers know of the newest version.
    pub informed: u32,
    /// Those of them who have a mesh.
    pub meshed: u32,
    /// Neighbours of all meshes together.
    pub neighbours: u32,
}

/// All figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    groups: [Tally; 3],
    /// Equal stretches of the time.
    pub timeline: Vec<Stretch>,
    /// How long each is, in microseconds.
    stretch: Micros,
    /// Connections that both sides tried to make, and those of them that no address translation let through.
    pub connections: (u64, u64),
    /// Peers dropped, by [`Reason::ALL`].
    pub dropped: [u64; Reason::ALL.len()],
    /// Pieces that did not match.
    pub rejected: u64,
    /// Meshes started.
    pub meshes: u64,
    /// Bytes given by each browser, and its class of link; of those that gave or took part in a mesh.
    pub uploads: Vec<(u64, usize)>,
    /// The versions published.
    pub releases: Vec<Release>,
    /// Most visitors there at one time.
    pub most_online: u32,
    /// Events of the simulation.
    pub events: u64,
}

impl Figures {
    pub(super) fn new(end: Micros, stretches: usize) -> Self {
        Self {
            timeline: vec![Stretch::default(); stretches],
            stretch: (end / stretches as u64).max(1),
            ..Self::default()
        }
    }

    /// A group's figures.
    pub fn of(&self, group: Group) -> &Tally {
        &self.groups[group as usize]
    }

    /// The figures of everyone who keeps to the rules.
    pub fn all(&self) -> Tally {
        let mut all = self.of(Group::Consenting).clone();
        all.add(self.of(Group::Declining));
        all
    }

    pub(super) fn tally(&mut self, group: Group) -> &mut Tally {
        &mut self.groups[group as usize]
    }

    pub(super) fn at(&mut self, now: Micros) -> &mut Stretch {
        let last = self.timeline.len() - 1;
        &mut self.timeline[((now / self.stretch) as usize).min(last)]
    }

    pub(super) fn stretch(&self) -> Micros {
        self.stretch
    }

    /// A mesh has ended.
    pub(super) fn mesh_ended(&mut self, group: Group, stats: &Stats) {
        let tally = self.tally(group);
        tally.wasted += stats.wasted;
        tally.uploaded += stats.up;
        for (sum, dropped) in self.dropped.iter_mut().zip(stats.dropped) {
            *sum += u64::from(dropped);
        }
    }
}
