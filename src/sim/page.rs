//! The simulated page and its visitor: a first load, then steps that each load files, then an end.
//!
//! The steps of a visit and the times between them are drawn when it begins, from the visitor's own chance, so that a
//! visitor asks for the same files with and without Peerage. A step begins a time after the one before has loaded.

use std::collections::VecDeque;

use serde::Serialize;

use super::browser::{Request, Visit};
use super::chance::{self, stream};
use super::figures::Cause;
use super::link::{End, Load, Parcel};
use super::origin::Purpose;
use super::queue::Micros;
use super::scenario::Visitors;
use super::site::{Site, key};
use super::world::{Event, World, open_conns};
use super::{Arm, secs};
use crate::mesh;
use crate::rng::Rng;
use crate::store::Store;
use crate::wire::Message;

/// What a browser's own cache takes for an answer.
const CACHED: Micros = 2_000;

/// The steps of a visit, each with the time before it, and how long the tab stays open after them.
fn draw(
    visitors: &Visitors,
    site: &Site,
    mut last: Option<usize>,
    rng: &mut Rng,
) -> (VecDeque<(Micros, usize)>, Micros) {
    let count = chance::geometric(rng, visitors.steps);
    let steps = (0..count).map(|at| {
        let mean = if at == 0 { visitors.start_s } else { visitors.think_s * visitors.pace };
        let step = site.next_step(last, rng);
        last = Some(step);
        (secs(chance::exponential(rng, mean)), step)
    });
    let steps = steps.collect();
    (steps, secs(chance::exponential(rng, visitors.linger_s * visitors.pace)))
}

/// How long after the worker is there a visitor answers the question for consent.
fn consents_after(seed: u64, number: u32, visitors: &Visitors) -> Micros {
    secs(chance::exponential(&mut stream(seed, 8, u64::from(number)), visitors.consent_s))
}

/// A first visit, as it will go: for real browsers to do the same. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// When the visitor comes, from the beginning.
    pub at_s: f64,
    /// The answer to the question for consent.
    pub consents: bool,
    /// How long after the worker is there it is given.
    pub consent_s: f64,
    /// What is loaded after the first load: how long after what came before, and the numbers of the files, as the
    /// manifest has them in order (empty ones left out).
    pub steps: Vec<(f64, Vec<u32>)>,
    /// How long the tab stays open after that.
    pub linger_s: f64,
}

impl World {
    /// The first visit of each browser, in the order in which they come.
    pub(super) fn plan(mut self) -> Vec<Planned> {
        let mut plan = Vec::new();
        while let Some((at, event)) = self.queue.next(self.end) {
            let Event::Arrive(number) = event else { continue };
            let visitors = &self.scenario.visitors;
            let mut rng = stream(self.seed, 3, u64::from(number) << 32 | 1);
            let (steps, linger) = draw(visitors, &self.site, None, &mut rng);
            let in_s = |us: Micros| us as f64 / 1e6;
            plan.push(Planned {
                at_s: in_s(at),
                consents: self.browsers[number as usize].traits.consents,
                consent_s: in_s(consents_after(self.seed, number, visitors)),
                steps: steps.iter().map(|(think, step)| (in_s(*think), self.site.step(*step).to_vec())).collect(),
                linger_s: in_s(linger),
            });
        }
        plan
    }

    pub(super) fn arrive(&mut self, number: u32) {
        let (newest, visitors) = (self.newest(), &self.scenario.visitors);
        let browser = &mut self.browsers[number as usize];
        if browser.visit.is_some() {
            return;
        }
        browser.epoch += 1;
        browser.rng = stream(self.seed, 3, u64::from(number) << 32 | u64::from(browser.epoch));
        let (steps, linger) = draw(visitors, &self.site, browser.last_step, &mut browser.rng);
        browser.last_step = steps.back().map(|(_, step)| *step).or(browser.last_step);
        let controlled = self.arm == Arm::Peerage && browser.installed;
        let known = browser.manifest;
        let is_whole = !controlled || self.lacking(number, newest).is_empty();
        // Until a version is whole, pages see the one before.
        let version = known.filter(|_| !is_whole).unwrap_or(newest);
        let browser = &mut self.browsers[number as usize];
        let shell = self.site.shell.clone();
        browser.visit = Some(Visit { version, controlled, steps, linger, waiting: shell.len() as u32, in_shell: true });
        let group = browser.group();
        let tally = self.figures.tally(group);
        tally.visits += 1;
        let browser = &mut self.browsers[number as usize];
        if controlled {
            let cost = &self.scenario.peerage;
            let changed = known != Some(newest);
            browser.manifest = Some(version);
            let bytes = if changed { cost.manifest_bytes } else { cost.unchanged_bytes } as u64;
            tally.overhead += bytes;
            self.figures.at(self.now).origin += bytes;
            browser.asked = None;
            if browser.answered && browser.traits.consents {
                let start = self.now + secs(cost.mesh_start_ms / 1000.0);
                self.queue.at(start, Event::StartMesh(number, browser.epoch));
                if changed && is_whole {
                    self.look_ahead(number, newest);
                }
            }
        }
        if !is_whole {
            self.take_up(number, newest);
        }
        self.online += 1;
        self.figures.most_online = self.figures.most_online.max(self.online);
        for &file in shell.iter() {
            self.request(number, file);
        }
        self.drive(number);
    }

    /// The page asks for a file.
    fn request(&mut self, number: u32, file: u32) {
        let browser = &mut self.browsers[number as usize];
        let Some(visit) = &browser.visit else { return };
        let (revision, pieces) = self.site.pieces(file, visit.version);
        let controlled = visit.controlled;
        let bytes = self.site.bytes(file);
        let is_new = browser.seen.insert(file, revision) != Some(revision);
        let request = Request {
            asked: self.now,
            fetched: if is_new { bytes } else { 0 },
            eligible: controlled && browser.neighbours() > 0,
        };
        let group = browser.group();
        let is_plain = browser.plain.contains(&(file, revision));
        let tally = self.figures.tally(group);
        tally.asked += bytes;
        tally.fetched += request.fetched;
        tally.eligible += if request.eligible { request.fetched } else { 0 };
        self.figures.at(self.now).fetched += request.fetched;
        if controlled {
            self.open(number, key(file, revision), pieces, request);
        } else if is_plain {
            self.figures.tally(group).cache += bytes;
            let epoch = self.browsers[number as usize].epoch;
            self.queue.at(self.now + CACHED, Event::Done(number, epoch, request));
        } else {
            self.figures.tally(group).causes[Cause::Uncontrolled as usize] += bytes;
            self.ask_origin(number, bytes, Purpose::Plain { request, file, revision });
        }
    }

    /// A request has its answer.
    pub(super) fn answered(&mut self, number: u32, request: Request) {
        let group = self.browsers[number as usize].group();
        let tally = self.figures.tally(group);
        tally.requests += 1;
        if request.fetched > 0 {
            tally.delays.push((self.now - request.asked) as f32 / 1000.0);
        }
        let browser = &mut self.browsers[number as usize];
        let Some(visit) = &mut browser.visit else { return };
        visit.waiting = visit.waiting.saturating_sub(1);
        if visit.waiting > 0 {
            return;
        }
        let epoch = browser.epoch;
        let was_shell = std::mem::take(&mut visit.in_shell);
        let next = match visit.steps.front() {
            Some((think, _)) => (self.now + think, Event::Step(number, epoch)),
            None => (self.now + visit.linger, Event::Leave(number, epoch)),
        };
        self.queue.at(next.0, next.1);
        if was_shell && self.arm == Arm::Peerage && !browser.installed {
            let bytes = self.scenario.peerage.bundle_bytes + self.scenario.peerage.manifest_bytes;
            self.ask_origin(number, bytes as u64, Purpose::Bundle);
        }
    }

    pub(super) fn step(&mut self, number: u32) {
        let Some(visit) = &mut self.browsers[number as usize].visit else { return };
        let Some((_, step)) = visit.steps.pop_front() else { return };
        let files = self.site.step(step);
        visit.waiting = files.len() as u32;
        for &file in files.iter() {
            self.request(number, file);
        }
        self.drive(number);
    }

    /// The worker is there: it controls the page, has stored the first load (which it took from the browser's own cache),
    /// and the visitor is asked for consent.
    pub(super) fn installed(&mut self, number: u32) {
        let shell = self.site.shell.clone();
        let browser = &mut self.browsers[number as usize];
        let Some(visit) = &mut browser.visit else { return };
        browser.installed = true;
        browser.manifest = Some(visit.version);
        visit.controlled = true;
        for &file in shell.iter() {
            let (_, pieces) = self.site.pieces(file, visit.version);
            let segment = browser.store.reserve();
            browser.store.insert(segment, pieces.to_vec(), super::worker::is_shared(file));
        }
        if !browser.answered {
            let after = consents_after(self.seed, number, &self.scenario.visitors);
            self.queue.at(self.now + after, Event::Consent(number, browser.epoch));
        }
    }

    pub(super) fn consent(&mut self, number: u32) {
        let browser = &mut self.browsers[number as usize];
        browser.answered = true;
        if browser.traits.consents {
            let start = self.now + secs(self.scenario.peerage.mesh_start_ms / 1000.0);
            self.queue.at(start, Event::StartMesh(number, browser.epoch));
        }
    }

    /// The tab is closed.
    pub(super) fn leave(&mut self, number: u32) {
        let visitors = &self.scenario.visitors;
        let browser = &mut self.browsers[number as usize];
        let is_clean = chance::happens(&mut browser.rng, visitors.clean_exit);
        let comes_back = chance::happens(&mut browser.rng, visitors.returns);
        let after = secs(chance::exponential(&mut browser.rng, visitors.away_h * 3600.0));
        if is_clean && let Some(node) = &mut browser.node {
            // What waited in the channels is lost; the goodbyes are not.
            for (conn, to, delay) in open_conns(&node.conns) {
                let from = End { browser: number, epoch: browser.epoch, conn };
                for load in [Load::Message(Message::Goodbye.encode()), Load::Fin] {
                    self.queue.at(self.now + delay, Event::Edge(Box::new(Parcel { from, to, load })));
                }
            }
        }
        self.disconnect_tracker(number);
        self.close_books(number);
        let browser = &mut self.browsers[number as usize];
        if browser.visit.take().is_some() {
            self.online -= 1;
            self.gone(number);
        }
        let browser = &mut self.browsers[number as usize];
        browser.files.clear();
        browser.files_due = None;
        browser.tick = Micros::MAX;
        if comes_back {
            self.queue.at(self.now + after, Event::Arrive(number));
        } else {
            // It never comes back: what it has is of no use any more.
            browser.store = Store::default();
            browser.seen.clear();
            browser.plain.clear();
        }
    }

    /// Counts what a mesh has done, and ends it.
    pub(super) fn close_books(&mut self, number: u32) {
        let now = self.millis();
        let browser = &mut self.browsers[number as usize];
        let Some(mut node) = browser.node.take() else { return };
        let (group, stats) = (browser.group(), node.mesh.stats(now));
        node.mesh.handle(mesh::Input::Stop, now);
        browser.uploaded += stats.up;
        browser.inbox.clear();
        browser.work.clear();
        self.figures.mesh_ended(group, &stats);
    }
}
