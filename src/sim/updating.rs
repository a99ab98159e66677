//! Taking up a newer version where the first load is precached: it becomes current when all of that is here, by the rule of
//! [`crate::update`], and pages go on with the older one until then.

use std::rc::Rc;

use super::queue::Micros;
use super::site::key;
use super::worker::is_shared;
use super::world::{Event, World};
use crate::manifest::Piece;
use crate::transfer::Input;
use crate::update::{LOOK_MS, Update};

/// A version that a browser is taking up.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) version: u32,
    /// When that began, in whichever visit.
    since: Micros,
    /// The rule, as far as this visit goes.
    update: Update,
    /// The origin was asked.
    asked: bool,
}

impl World {
    /// The origin has confirmed a version that the worker of a browser has not: it takes it up.
    pub(super) fn take_up(&mut self, number: u32, version: u32) {
        let browser = &self.browsers[number as usize];
        if browser.manifest >= Some(version) {
            return;
        }
        if self.lacking(number, version).is_empty() {
            return self.informed(number, version);
        }
        let before = browser.coming.as_ref().filter(|coming| coming.version == version);
        let since = before.map_or(self.now, |coming| coming.since);
        let update = self.lot(number, (self.now - since) / 1000);
        let epoch = browser.epoch;
        self.browsers[number as usize].coming = Some(Coming { version, since, update, asked: false });
        self.queue.at(self.now, Event::Update(number, epoch, version));
    }

    /// Whether a version that the origin confirms now is being taken up in this visit.
    pub(super) fn is_coming(&self, number: u32, version: u32) -> bool {
        self.browsers[number as usize].coming.as_ref().is_some_and(|coming| coming.version == version)
    }

    /// Files of the first load of which a version has pieces that a browser lacks; none where that isn't precached.
    pub(super) fn lacking(&self, number: u32, version: u32) -> Vec<(u32, Rc<[Piece]>)> {
        let browser = &self.browsers[number as usize];
        if !self.scenario.site.precache || browser.manifest.is_none() {
            return Vec::new();
        }
        let files = self.site.shell.iter().map(|&file| (file, self.site.pieces(file, version)));
        let lacks = |pieces: &[Piece]| pieces.iter().any(|piece| browser.store.place(&piece.digest).is_none());
        files
            .filter(|(_, (_, pieces))| lacks(pieces))
            .map(|(file, (revision, pieces))| (key(file, revision), pieces))
            .collect()
    }

    /// Takes from neighbours what they hold of a version, or all that is missing from whoever has it; or all is here.
    pub(super) fn update(&mut self, number: u32, version: u32) {
        let lacking = self.lacking(number, version);
        let now = self.millis();
        let browser = &mut self.browsers[number as usize];
        let neighbours = browser.neighbours();
        let Some(coming) = browser.coming.as_mut().filter(|coming| coming.version == version) else { return };
        if lacking.is_empty() {
            browser.coming = None;
            return self.informed(number, version);
        }
        if coming.asked {
            return;
        }
        // What peers may not give is the origin's, once all that they may is here.
        let may_help = browser.answered && browser.traits.consents && lacking.iter().any(|(file, _)| is_shared(*file));
        coming.asked = !may_help || coming.update.is_due(neighbours, now);
        let (asked, epoch) = (coming.asked, browser.epoch);
        for (file, pieces) in lacking {
            let browser = &self.browsers[number as usize];
            let is_ahead = is_shared(file) && neighbours > 0 && !browser.files.contains_key(&file);
            if !asked && !is_ahead {
                continue;
            }
            let span = 0..pieces.len();
            let reader = self.read(number, file, pieces);
            let input = if asked { Input::Prefetch(reader, span) } else { Input::Ahead(reader, span) };
            let work = &mut self.browsers[number as usize].work;
            work.extend([(file, input), (file, Input::Pull(reader))]);
        }
        if !asked {
            self.queue.at(self.now + LOOK_MS * 1000, Event::Update(number, epoch, version));
        }
        self.drive(number);
    }

    /// Something was stored: a version that was waiting for it may be whole.
    pub(super) fn stored(&mut self, number: u32) {
        let browser = &self.browsers[number as usize];
        let Some(version) = browser.coming.as_ref().map(|coming| coming.version) else { return };
        if browser.visit.is_some() && !self.lacking(number, version).iter().any(|(file, _)| is_shared(*file)) {
            self.queue.at(self.now, Event::Update(number, self.browsers[number as usize].epoch, version));
        }
    }
}
