//! What becomes of a new version among the visitors who are there: who learns of it, who takes what it has changed of what
//! they hold, and what the origin sends for that.

use std::collections::BTreeSet;

use serde::Serialize;

use super::browser::{Browser, Conduct, Nat};
use super::chance::{self, stream};
use super::queue::Micros;
use super::secs;
use super::site::{file_of, key, revision_of};
use super::world::{Event, World};
use crate::manifest::Piece;
use crate::transfer::Input;
use crate::update::{FOLLOW_MS, LOOK_MS, Update};

/// How often a page that stays open asks for news, in seconds (`sw/page.js`).
const NEWS_S: [f64; 2] = [180.0, 300.0];

/// The newest version, on its way.
#[derive(Debug, Default)]
pub(super) struct Pending {
    version: u32,
    /// Who had a mesh when it was published, and is still there.
    present: BTreeSet<u32>,
    /// Who had a mesh when it was published, is still there, and has not heard of it,
    unaware: BTreeSet<u32>,
    /// or has not all that it changed of what they hold.
    behind: BTreeSet<u32>,
}

/// What became of one version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Release {
    /// When it was published.
    at: Micros,
    /// Visitors with a mesh then.
    present: u32,
    /// Those of them who left before they had what it changed,
    left: u32,
    /// and those who left before they had heard of it.
    unaware: u32,
    /// How long each took to hear of it.
    heard: Vec<Micros>,
    /// How long each took to hold what it changed of what they hold.
    held: Vec<Micros>,
    /// Bytes that are new in it, of files that are shared.
    changed: u64,
    /// Bytes of those that workers of those present asked of the origin.
    origin: u64,
    /// The same for visitors who came back with an older version.
    returned: u64,
    /// Bytes of both that were asked for by those whom a firewall lets connect to nobody.
    cut_off: u64,
    /// Bytes of roots that it sent.
    roots: u64,
}

/// Seconds until so many of the visitors were there, those who left before left out; `None` where they never were, before
/// the next version or the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half.
    pub p50: Option<f64>,
    /// Nine in ten.
    pub p90: Option<f64>,
    /// Ninety-nine in a hundred.
    pub p99: Option<f64>,
}

/// How one version spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Spreading {
    /// When it was published, in seconds.
    pub at_s: f64,
    /// Visitors with a mesh then.
    pub present: u32,
    /// Those of them who left before they had what it changed.
    pub left: u32,
    /// Until visitors had heard of it, and the origin had confirmed it.
    pub heard_s: Spread,
    /// Until they held what it changed of what they had.
    pub held_s: Spread,
    /// Bytes that are new in it, of files that are shared.
    pub changed: u64,
    /// Bytes of those that the workers of those visitors asked of the origin, until the next version or the end.
    pub origin: u64,
    /// The same for visitors who came back with an older version.
    pub returned: u64,
    /// Bytes of both that were asked for by those whom a firewall lets connect to nobody.
    pub cut_off: u64,
    /// Bytes of roots that it sent.
    pub roots: u64,
}

impl Release {
    pub(super) fn spreading(&self) -> Spreading {
        let spread = |times: &[Micros], of: u32| {
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            let at = |share: f64| {
                let place = (f64::from(of) * share).ceil().max(1.0) as usize - 1;
                sorted.get(place).map(|&time| time as f64 / 1e6)
            };
            Spread { p50: at(0.5), p90: at(0.9), p99: at(0.99) }
        };
        Spreading {
            at_s: self.at as f64 / 1e6,
            present: self.present,
            left: self.left,
            heard_s: spread(&self.heard, self.present - self.unaware),
            held_s: spread(&self.held, self.present - self.left),
            changed: self.changed,
            origin: self.origin,
            returned: self.returned,
            cut_off: self.cut_off,
            roots: self.roots,
        }
    }

    pub(super) fn count_root(&mut self, bytes: usize) {
        self.roots += bytes as u64;
    }
}

impl World {
    /// The origin has a new version.
    pub(super) fn released(&mut self, version: u32) {
        let takes_part = |browser: &&Browser| {
            browser.visit.is_some() && browser.node.is_some() && browser.traits.conduct == Conduct::Honest
        };
        let numbered = (0..).zip(&self.browsers).filter(|(_, browser)| takes_part(browser));
        let present: BTreeSet<u32> = numbered.map(|(number, _)| number).collect();
        let files = (0..self.site.len() as u32).filter(|&file| super::worker::is_shared(file));
        let new = files.flat_map(|file| {
            let (revision, pieces) = self.site.pieces(file, version);
            let before = self.site.pieces(file, version - 1);
            let is_new = |piece: &&Piece| revision != before.0 && !before.1.contains(piece);
            pieces.iter().filter(is_new).map(|piece| u64::from(piece.len)).collect::<Vec<_>>()
        });
        self.figures.releases.push(Release {
            at: self.now,
            present: present.len() as u32,
            changed: new.sum(),
            ..Release::default()
        });
        self.pending = Pending { version, unaware: present.clone(), behind: present.clone(), present };
    }

    /// A visitor's worker has a version: what has changed of what it holds is taken from neighbours.
    pub(super) fn learned(&mut self, number: u32, version: u32) {
        if version == self.pending.version && self.pending.unaware.remove(&number) {
            let now = self.now;
            if let Some(release) = self.figures.releases.last_mut() {
                release.heard.push(now - release.at);
            }
        }
        self.look_ahead(number, version);
        self.caught_up(number);
    }

    /// Looks among neighbours for what a version has changed, from now on.
    pub(super) fn look_ahead(&mut self, number: u32, version: u32) {
        let until = self.now + FOLLOW_MS * 1000;
        self.queue.at(self.now, Event::Follow(number, self.browsers[number as usize].epoch, version, until));
    }

    /// A visitor's part in taking up a version for which it has waited so many milliseconds.
    pub(super) fn lot(&self, number: u32, waited: u64) -> Update {
        let visit = u64::from(number) << 32 | u64::from(self.browsers[number as usize].epoch);
        Update::new(waited, stream(self.seed, 9, visit).next_u64(), self.millis())
    }

    /// One round of taking what a version has changed.
    pub(super) fn follow(&mut self, number: u32, version: u32, until: Micros) {
        let browser = &self.browsers[number as usize];
        let changed = self.missing(browser, version);
        if browser.manifest != Some(version) || changed.is_empty() || self.now > until {
            return;
        }
        if browser.neighbours() > 0 {
            for (file, pieces) in changed {
                let span = 0..pieces.len();
                if self.browsers[number as usize].files.contains_key(&file) {
                    // The round before, or the page, is still at it.
                    continue;
                }
                let reader = self.read(number, file, pieces);
                let work = &mut self.browsers[number as usize].work;
                work.push_back((file, Input::Ahead(reader, span)));
                work.push_back((file, Input::Pull(reader)));
            }
            self.drive(number);
        }
        let epoch = self.browsers[number as usize].epoch;
        self.queue.at(self.now + LOOK_MS * 1000, Event::Follow(number, epoch, version, until));
    }

    /// Files that a visitor has of which a version has other pieces, some of which it lacks.
    fn missing(&self, browser: &Browser, version: u32) -> Vec<(u32, std::rc::Rc<[Piece]>)> {
        let mut missing = Vec::new();
        for (&file, &had) in browser.seen.iter().filter(|(file, _)| super::worker::is_shared(**file)) {
            let (revision, pieces) = self.site.pieces(file, version);
            let holds = |piece: &Piece| browser.store.place(&piece.digest).is_some();
            if revision == had || pieces.iter().all(holds) {
                continue;
            }
            let (_, before) = self.site.pieces(file, version - 1);
            if before.iter().any(holds) {
                missing.push((key(file, revision), pieces));
            }
        }
        missing
    }

    /// Looks whether a visitor holds all that the newest version has changed.
    pub(super) fn caught_up(&mut self, number: u32) {
        let Pending { version, unaware, behind, .. } = &self.pending;
        if !behind.contains(&number) || unaware.contains(&number) {
            return;
        }
        if self.missing(&self.browsers[number as usize], *version).is_empty() {
            self.pending.behind.remove(&number);
            let now = self.now;
            if let Some(release) = self.figures.releases.last_mut() {
                release.held.push(now - release.at);
            }
        }
    }

    /// A page that stays open asks for news now and then; who has no neighbour passes the question on to the origin.
    pub(super) fn ask_for_news(&mut self, number: u32) {
        let newest = self.newest();
        let browser = &self.browsers[number as usize];
        let [least, most] = NEWS_S;
        let wait = secs(least + (most - least) * chance::unit(&mut self.noise));
        self.queue.at(self.now + wait, Event::News(number, browser.epoch));
        if browser.node.is_none()
            || browser.neighbours() > 0
            || browser.manifest == Some(newest)
            || self.is_coming(number, newest)
        {
            return;
        }
        self.confirm(number, newest);
    }

    /// A visitor goes.
    pub(super) fn gone(&mut self, number: u32) {
        self.pending.present.remove(&number);
        let Some(release) = self.figures.releases.last_mut() else { return };
        release.unaware += u32::from(self.pending.unaware.remove(&number));
        release.left += u32::from(self.pending.behind.remove(&number));
    }

    /// The origin is asked for pieces of a file of which an older revision is held: those that the newest version has anew are
    /// counted.
    pub(super) fn count_changed(&mut self, number: u32, file: u32, pieces: &[Piece]) {
        let store = &self.browsers[number as usize].store;
        let (file, revision) = (file_of(file), revision_of(file));
        let version = self.pending.version;
        if version == 0 || !super::worker::is_shared(file) || self.site.pieces(file, version).0 != revision {
            return;
        }
        let before = self.site.pieces(file, version - 1);
        let is_cut_off = self.browsers[number as usize].traits.nat == Nat::Blocked;
        // Who never had the file takes it whole.
        if before.0 == revision || before.1.iter().all(|piece| store.place(&piece.digest).is_none()) {
            return;
        }
        let new = pieces.iter().filter(|piece| !before.1.contains(piece)).map(|piece| u64::from(piece.len));
        if let Some(release) = self.figures.releases.last_mut() {
            let stayed = self.pending.present.contains(&number);
            let bytes = new.sum::<u64>();
            *if stayed { &mut release.origin } else { &mut release.returned } += bytes;
            release.cut_off += if is_cut_off { bytes } else { 0 };
        }
    }
}

/// The events that publish a scenario's versions.
pub(super) fn releases(world: &World) -> Vec<(Micros, Event)> {
    let updates = world.scenario.updates.iter().zip(1..);
    updates.map(|(update, version)| (secs(update.at_s), Event::Released(version))).collect()
}
