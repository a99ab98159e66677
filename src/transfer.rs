//! Transfer: one file on its way to whoever reads it, from the store, from the mesh and from the origin.
//!
//! There is one transfer for a file, however many requests want it: each request is a **reader** with a span of pieces
//! and a demand, so concurrent requests share one download. Pieces within a window ahead of a reader are obtained, each
//! from the first place that has it:
//!
//! ```text
//!   in the store?      Read      verified again on the way
//!   a neighbour's?     Ask       where the mesh should bring it in time; late or stalled, the origin is asked as well
//!   otherwise          Fetch     a run of consecutive pieces: the whole file by plain GET, less by Range
//! ```
//!
//! What is in time is said by [`Paths`]. For pieces that nobody waits for, any time is. A reader that seeks far past where a
//! run is gets a run of its own, which the earlier one then goes no further than: it waits for no other reader.
//!
//! What was fetched is stored in spans of a few megabytes (see [`crate::store`]) and let go when no reader needs it, so
//! memory is bounded by the window however large the file and however slow the reader. Bodies are of any type `B`: in a
//! browser they stay JavaScript buffers, and only [`Verified`] ones are taken.
//!
//! Where the origin's bytes don't match, the manifest and the origin are of different versions, or a cache between is
//! stale: the newest root is asked for, then the kept old file, then the origin past the HTTP cache; after that the
//! readers fail, and the driver passes the origin's own answer through.

mod doors;
mod hedges;
mod paths;
mod reader;
mod slot;

use std::collections::VecDeque;
use std::ops::Range;

use crate::Millis;
use crate::manifest::Piece;
use crate::port::Priority;
use crate::sorted::Map;
use crate::verify::Verified;

pub use self::doors::{Expected, Fault, Input, Output, ReaderId, RunId, Source, Via};
pub use self::paths::Paths;
use self::reader::{Hurry, Reader, ahead};
use self::slot::{Slot, spans};

/// How far ahead of a reader pieces are obtained, in bytes: enough to keep several neighbours busy.
const WINDOW: u64 = 8 << 20;
/// How much of what is longer than the window the store is asked for at first, in bytes: what is read beside a reader's first
/// piece delays it.
const FIRST: u64 = 1 << 20;
/// A run this many bytes before what a reader waits for brings it about as soon as a run of its own would.
const NEAR: u64 = 512 << 10;
/// A piece that came so many milliseconds ago is stored with the next that comes, though its segment is not whole, where peers
/// may have it.
const SLOW_MS: u64 = 500;
const NEVER: Millis = Millis(u64::MAX);
/// A mesh that has sent nothing of this file for this long is given up for what was asked of it.
const PATIENCE_MS: u64 = 10_000;

/// How much of what the mesh owes is fetched as well.
struct Hedge {
    room: u64,
    /// The mesh is silent; otherwise what is late alone.
    stalled: bool,
    now: Millis,
}

impl Hedge {
    fn covers<B>(&self, slot: &Slot<B>) -> bool {
        self.room > 0 && (self.stalled || slot.late <= self.now)
    }
}

#[derive(Debug)]
struct Run {
    id: RunId,
    /// Who needed it. Others may read what it brings.
    reader: ReaderId,
    pieces: Range<usize>,
    next: usize,
    /// Another run brings what is after `pieces`: it is stopped there.
    cut: bool,
    via: Via,
    asked: Millis,
    /// When it is late against what was predicted of the origin.
    late: Millis,
}

impl Run {
    /// Pieces that it will bring soon.
    fn near(&self, pieces: &[Piece]) -> Range<usize> {
        ahead(pieces, self.next..self.pieces.end, NEAR)
    }

    /// Whether a reader for whom it was started had better wait for it, or for its end.
    fn serves(&self, reader: ReaderId, window: &Range<usize>) -> bool {
        self.reader == reader && (window.contains(&self.next) || self.next == self.pieces.end)
    }
}

/// A piece that a reader misses.
struct Miss {
    reader: ReaderId,
    /// Where the reader is.
    from: usize,
    at: usize,
    end: usize,
}

/// The machine. One for each file that is being read.
#[derive(Debug)]
pub struct Transfer<B> {
    pieces: Vec<Piece>,
    share: bool,
    slots: Vec<Slot<B>>,
    spans: Vec<Range<usize>>,
    readers: Map<ReaderId, Reader>,
    runs: Vec<Run>,
    last_run: RunId,
    via: Via,
    fault: Option<Fault>,
    mesh: bool,
    /// Since when the mesh owes what was asked of it; `None` while nothing is.
    waiting: Option<Millis>,
    /// A piece has come since the store was last thought of.
    came: bool,
    /// When it is looked at again.
    due: Option<Millis>,
    /// When the mesh last did something for this file.
    heard: Millis,
    /// Bytes fetched of what is late now.
    overdue: u64,
    /// The mesh was asked again for what it would have brought too late, since the origin can't be reached.
    resorted: bool,
    /// The origin sent other bytes than it signed: whatever else fails then, that is what is said.
    differs: bool,
    out: VecDeque<Output<B>>,
}

impl<B: Clone> Transfer<B> {
    /// A transfer of a file with these pieces. `share`: the mesh may be asked. `local`: what the store has.
    pub fn new(pieces: Vec<Piece>, share: bool, mesh: bool, local: impl Fn(&Piece) -> bool) -> Self {
        Self {
            spans: spans(&pieces),
            slots: pieces.iter().map(|piece| Slot::new(local(piece))).collect(),
            share,
            pieces,
            readers: Map::default(),
            runs: Vec::new(),
            last_run: 0,
            via: Via::Plain,
            fault: None,
            mesh,
            waiting: None,
            came: false,
            due: None,
            heard: Millis(0),
            overdue: 0,
            resorted: false,
            differs: false,
            out: VecDeque::new(),
        }
    }

    /// Takes what happened, and decides. `paths` is shared by the transfers of a worker.
    pub fn handle(&mut self, input: Input<B>, now: Millis, paths: &mut Paths) {
        match input {
            Input::Open(id, span) => self.open(id, span, Hurry::Page),
            Input::Prefetch(id, span) => self.open(id, span, Hurry::Later),
            Input::Ahead(id, span) => self.open(id, span, Hurry::Ahead),
            Input::Pull(id) => {
                if let Some(reader) = self.readers.get_mut(&id) {
                    reader.demand = reader.demand.saturating_add(1);
                }
            }
            Input::Close(id) => {
                self.readers.remove(&id);
            }
            Input::Read(at, body) => self.read(at, body),
            Input::Stored(span, kept) => {
                for slot in self.slots.get_mut(span).into_iter().flatten() {
                    slot.storing = false;
                    slot.local = kept;
                    if !kept && let Some((source, _)) = &mut slot.body {
                        // It can't be kept: from now on it counts as read, so that it is not written again.
                        *source = Source::Cache;
                    }
                }
            }
            Input::Expect(etas) => self.expect(&etas, now, paths),
            Input::Piece(at, body) => {
                paths.mesh_progressed(now);
                self.heard = now;
                self.arrived(at, Source::Peer, body, now);
            }
            Input::Gone(at) => {
                if let Some(slot) = self.slots.get_mut(at) {
                    (slot.asked, slot.refused) = (false, true);
                }
                paths.mesh_progressed(now);
                self.heard = now;
            }
            Input::Mesh(up) => {
                self.mesh = up;
                for slot in &mut self.slots {
                    slot.asked = slot.asked && up;
                    slot.refused = slot.refused && !up;
                }
            }
            Input::Fetched(run, at, body) => {
                let run = self.runs.iter_mut().find(|r| r.id == run && r.pieces.contains(&at));
                if let Some(run) = run {
                    run.next = at + 1;
                    paths.origin_reached();
                    paths.settled(self.bytes(at..at + 1));
                    self.resorted = false;
                    self.arrived(at, Source::Origin, body, now);
                } else {
                    self.waste(Source::Origin, at);
                }
            }
            Input::Ended(run, end) => self.ended(run, end, now, paths),
            Input::Tick => {}
        }
        self.plan(now, paths);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output<B>> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Millis> {
        self.due.filter(|_| !self.readers.is_empty())
    }

    /// Whether a run should read on: back-pressure from the readers to the origin.
    pub fn may_fetch(&self, run: RunId) -> bool {
        let run = self.runs.iter().find(|r| r.id == run);
        run.is_some_and(|run| run.near(&self.pieces).any(|at| self.wanted(at)))
    }

    /// Whether nothing is left to do: no reader, nothing on its way to the store.
    pub fn is_done(&self) -> bool {
        self.readers.is_empty() && self.out.is_empty() && !self.slots.iter().any(|s| s.storing)
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn open(&mut self, id: ReaderId, span: Range<usize>, hurry: Hurry) {
        let (next, end) = (span.start.min(self.pieces.len()), span.end.min(self.pieces.len()));
        self.readers.insert(id, Reader { start: next, next, end, demand: 0, hurry });
    }

    fn read(&mut self, at: usize, body: Option<Verified<B>>) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.reading = false;
        match body {
            Some(body) if slot.body.is_none() => slot.body = Some((Source::Cache, body)),
            Some(_) => {}
            // Evicted, or damaged on disk: obtained anew.
            None => slot.local = false,
        }
    }

    fn expect(&mut self, etas: &[(usize, Option<u32>)], now: Millis, paths: &mut Paths) {
        self.heard = now;
        for &(at, eta) in etas {
            let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.asked) else { continue };
            if let Some(ms) = eta {
                slot.late = if slot.page { paths.late(ms, now) } else { NEVER };
            } else {
                (slot.asked, slot.refused) = (false, true);
                paths.mesh_progressed(now);
            }
        }
    }

    fn arrived(&mut self, at: usize, source: Source, body: Verified<B>, now: Millis) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let was_asked = std::mem::take(&mut slot.asked);
        slot.fetching = slot.fetching && source != Source::Origin;
        if slot.body.is_some() || slot.local {
            self.waste(source, at);
            return;
        }
        (slot.body, slot.came) = (Some((source, body)), now);
        self.came = true;
        if source == Source::Origin && was_asked {
            self.out.push_back(Output::Cancel(vec![at]));
        }
    }

    fn waste(&mut self, source: Source, at: usize) {
        self.out.push_back(Output::Wasted(source, self.bytes(at..at + 1)));
    }

    fn bytes(&self, span: Range<usize>) -> u64 {
        self.pieces.get(span).into_iter().flatten().map(|p| u64::from(p.len)).sum()
    }

    fn ended(&mut self, id: RunId, end: Result<(), Fault>, now: Millis, paths: &mut Paths) {
        let Some(at) = self.runs.iter().position(|run| run.id == id) else { return };
        let run = self.runs.remove(at);
        self.forget(run.next..run.pieces.end, paths);
        let Err(fault) = end else { return };
        if run.via != self.via {
            // Another run has found out before.
            return;
        }
        if fault == Fault::Unreachable {
            paths.origin_lost(now);
            if !std::mem::replace(&mut self.resorted, true) && self.ask_again() {
                return;
            }
        }
        self.differs |= fault == Fault::Mismatch;
        if fault == Fault::Mismatch && self.via == Via::Plain {
            self.out.push_back(Output::Stale);
        }
        match (fault, self.via) {
            // An origin that wants a password for the file wants it for an older copy, too.
            (Fault::Unreachable | Fault::Private, _) | (Fault::Status(401), Via::Plain) | (_, Via::Reload) => {
                self.fault = Some(if self.differs { Fault::Mismatch } else { fault });
            }
            (_, Via::Plain) => self.via = Via::Old,
            (_, Via::Old) => self.via = Via::Reload,
        }
    }

    /// What the mesh would have brought too late may be asked of it without a limit. False where there is nothing such.
    fn ask_again(&mut self) -> bool {
        let mut found = false;
        for slot in self.slots.iter_mut().filter(|slot| slot.refused && slot.limited) {
            (slot.refused, slot.limited) = (false, false);
            found = true;
        }
        found && self.share && self.mesh
    }

    /// A run won't bring what was left of it.
    fn forget(&mut self, left: Range<usize>, paths: &mut Paths) {
        for slot in &mut self.slots[left.clone()] {
            slot.fetching = false;
        }
        paths.settled(self.bytes(left));
    }

    fn plan(&mut self, now: Millis, paths: &mut Paths) {
        self.emit();
        self.give_up(now);
        self.rescue(now, paths);
        self.obtain(now, paths);
        self.fail();
        self.drop_runs(paths);
        self.store(now);
        self.release();
        let owed = || self.slots.iter().filter(|slot| slot.is_owed());
        if owed().next().is_none() {
            self.waiting = None;
        }
        let late = owed().filter(|slot| !slot.fetching).map(|slot| slot.late).min();
        let late = late.map(|late| if late <= now { hedges::next_step(late, now) } else { late });
        let late = late.into_iter().chain(self.runs.iter().map(|run| run.late)).filter(|&late| late != NEVER).min();
        self.due = self.waiting.map(|since| paths.hedges.due(since, now)).into_iter().chain(late).min();
    }

    fn emit(&mut self) {
        let (slots, out) = (&self.slots, &mut self.out);
        let can_ask = self.share && self.mesh;
        self.readers.retain(|&id, reader| {
            while reader.demand > 0 && reader.next < reader.end {
                let slot = &slots[reader.next];
                if let Some((source, body)) = &slot.body {
                    out.push_back(Output::Emit(id, reader.next, *source, body.clone()));
                    reader.demand -= 1;
                } else if reader.hurry != Hurry::Ahead
                    || slot.local
                    || slot.asked
                    || !slot.is_idle()
                    || can_ask && !slot.refused
                {
                    break;
                }
                // What nobody has is passed over by a reader ahead.
                reader.next += 1;
            }
            let open = reader.next < reader.end;
            if !open {
                out.push_back(Output::Finished(id));
            }
            open
        });
    }

    /// A mesh that has been silent for too long owes nothing any more.
    fn give_up(&mut self, now: Millis) {
        if self.waiting.is_none() || now.since(self.heard) < PATIENCE_MS {
            return;
        }
        let asked: Vec<_> = (0..self.slots.len()).filter(|&at| self.slots[at].asked).collect();
        for &at in &asked {
            (self.slots[at].asked, self.slots[at].refused) = (false, true);
        }
        self.waiting = None;
        if !asked.is_empty() {
            self.out.push_back(Output::Cancel(asked));
        }
    }

    /// Where the origin is late, the mesh may bring what it was not given the time for.
    fn rescue(&mut self, now: Millis, paths: &mut Paths) {
        let can_ask = self.share && self.mesh;
        let mut ask = Vec::new();
        for n in 0..self.runs.len() {
            let run = &mut self.runs[n];
            if run.late > now {
                continue;
            }
            run.late = NEVER;
            let (came, left, asked) = (run.pieces.start..run.next, run.next..run.pieces.end, run.asked);
            let came = self.bytes(came);
            if came >= WINDOW || !self.wanted(left.start) {
                // It waits, or has waited, for its reader: that says nothing of the origin.
                continue;
            }
            paths.origin_late(came, now.since(asked), now);
            let slots = self.slots[left.clone()].iter_mut().zip(left);
            for (slot, at) in slots.filter(|(slot, _)| can_ask && slot.limited && slot.refused && slot.body.is_none()) {
                (slot.asked, slot.refused, slot.limited) = (true, false, false);
                slot.late = NEVER;
                ask.push((at, u32::MAX));
            }
        }
        if !ask.is_empty() {
            self.ask(Priority::Page, ask, now);
        }
    }

    fn ask(&mut self, priority: Priority, pieces: Vec<(usize, u32)>, now: Millis) {
        if self.waiting.is_none() {
            (self.waiting, self.heard) = (Some(now), now);
        }
        self.out.push_back(Output::Ask(priority, pieces));
    }

    /// Looks at each piece in a reader's window that nobody is getting yet.
    fn obtain(&mut self, now: Millis, paths: &mut Paths) {
        let stalled = self.waiting.map_or(0, |since| paths.hedges.room(since, now));
        let late = self.slots.iter().filter(|slot| slot.is_owed() && slot.late <= now).map(|slot| slot.late).min();
        self.overdue = late.map_or(0, |_| self.overdue);
        let overdue = late.map_or(0, |late| hedges::room(now.since(late)).saturating_sub(self.overdue));
        let mut hedge = Hedge { room: stalled.max(overdue), stalled: stalled > 0, now };
        let (mut ask, mut ask_later) = (Vec::new(), Vec::new());
        let mut misses = Vec::new();
        let mut bytes = 0;
        let windows = self.readers.iter().map(|(&id, r)| (id, self.window(r), self.first(r), r.end, r.hurry));
        for (reader, window, first, end, hurry) in windows.collect::<Vec<_>>() {
            let is_page = hurry == Hurry::Page;
            let from = window.start;
            let may_start = self.fault.is_none() && !self.runs.iter().any(|run| run.serves(reader, &window));
            let mut missing = None;
            for at in window {
                let is_far = self.far(at, from).is_some();
                let slot = &mut self.slots[at];
                if is_far && slot.body.is_none() {
                    missing = missing.or(Some(at));
                }
                if !slot.is_idle() {
                    continue;
                }
                if slot.local && at >= first {
                    continue;
                }
                if slot.local {
                    slot.reading = true;
                    self.out.push_back(Output::Read(at));
                } else if slot.asked && (slot.page || !is_page) {
                    if hedge.covers(slot) && hurry != Hurry::Ahead {
                        missing = missing.or(Some(at));
                    }
                } else if self.share && self.mesh && !slot.refused {
                    (slot.asked, slot.page) = (true, is_page);
                    if is_page {
                        bytes += u64::from(self.pieces[at].len);
                        slot.late = paths.answer_due(now);
                        let within = paths.within(bytes, now);
                        slot.limited = within != u32::MAX;
                        ask.push((at, within));
                    } else {
                        slot.late = NEVER;
                        ask_later.push((at, u32::MAX));
                    }
                } else if hurry != Hurry::Ahead {
                    missing = missing.or(Some(at));
                }
            }
            let missing = missing.filter(|_| may_start && hurry != Hurry::Ahead);
            misses.extend(missing.map(|at| Miss { reader, from, at, end }));
        }
        for (priority, list) in [(Priority::Page, ask), (Priority::Background, ask_later)] {
            if !list.is_empty() {
                self.ask(priority, list, now);
            }
        }
        for miss in misses {
            if self.may_start(&miss, &hedge, paths) {
                let hedged = self.fetch(&miss, &hedge, paths);
                paths.hedges.spend(hedged);
                self.overdue += hedged;
                hedge.room = hedge.room.saturating_sub(hedged);
            }
        }
    }

    /// Whether a miss is still one after those before it. A run that would come to it too late ends there.
    fn may_start(&mut self, miss: &Miss, hedge: &Hedge, paths: &mut Paths) -> bool {
        let at = miss.at;
        if let Some(n) = self.far(at, miss.from) {
            let run = &mut self.runs[n];
            let rest = at..std::mem::replace(&mut run.pieces.end, at);
            run.cut = true;
            self.forget(rest, paths);
            self.drop_runs(paths);
        }
        let slot = &self.slots[at];
        slot.is_idle() && (!slot.asked || hedge.covers(slot))
    }

    /// Starts a run from what is missed: to the next piece that comes from elsewhere, or as far as the reader goes; of what the
    /// mesh owes, as much as is hedged (the last piece whole). Returns how much of it the mesh owes.
    fn fetch(&mut self, &Miss { reader, at: from, end, .. }: &Miss, hedge: &Hedge, paths: &mut Paths) -> u64 {
        let mut hedged = 0;
        let mut to = from;
        while to < end {
            let slot = &self.slots[to];
            let from_mesh = self.share && self.mesh && !slot.refused;
            let limit = if slot.asked { !hedge.covers(slot) || hedged >= hedge.room } else { from_mesh };
            if to > from && (!slot.is_idle() || slot.local || limit) {
                break;
            }
            hedged += if slot.asked { u64::from(self.pieces[to].len) } else { 0 };
            to += 1;
        }
        for slot in &mut self.slots[from..to] {
            slot.fetching = true;
        }
        let is_beside = !self.runs.is_empty();
        self.last_run += 1;
        let (id, via, next) = (self.last_run, self.via, from);
        let late = paths.late(paths.origin_ms(self.bytes(from..to).min(WINDOW), hedge.now), hedge.now);
        self.runs.push(Run { id, reader, pieces: from..to, next, cut: false, via, asked: hedge.now, late });
        self.out.push_back(Output::Fetch { run: id, pieces: from..to, via, is_beside });
        paths.asked(self.bytes(from..to));
        hedged
    }

    /// Readers whose next piece nobody can give.
    fn fail(&mut self) {
        let Some(fault) = self.fault else { return };
        let (slots, out) = (&self.slots, &mut self.out);
        self.readers.retain(|&id, reader| {
            let slot = &slots[reader.next];
            let lost = slot.is_idle() && !slot.asked && !slot.local;
            if lost {
                out.push_back(Output::Failed(id, fault));
            }
            !lost
        });
        if self.readers.is_empty() {
            // The next reader tries afresh: the network may be back.
            (self.fault, self.via, self.differs) = (None, Via::Plain, false);
        }
    }

    fn drop_runs(&mut self, paths: &mut Paths) {
        for n in (0..self.runs.len()).rev() {
            let run = &self.runs[n];
            let wants = |r: &Reader| r.hurry != Hurry::Ahead && r.next < run.pieces.end && run.next < r.end;
            let is_through = run.next == run.pieces.end;
            if if is_through { run.cut } else { !self.readers.values().any(wants) } {
                let run = self.runs.remove(n);
                self.forget(run.next..run.pieces.end, paths);
                self.out.push_back(Output::Stop(run.id));
            }
        }
        if self.readers.is_empty() {
            let asked: Vec<_> = (0..self.slots.len()).filter(|&at| self.slots[at].asked).collect();
            for &at in &asked {
                self.slots[at].asked = false;
            }
            if !asked.is_empty() {
                self.out.push_back(Output::Cancel(asked));
            }
        }
    }

    /// Hands spans to the store when they are whole; when nobody reads any more, whatever has come; and what comes slowly
    /// before, where neighbours may have it then.
    fn store(&mut self, now: Millis) {
        let last = self.readers.is_empty();
        let came = std::mem::take(&mut self.came);
        let is_overdue = |slot: &Slot<B>| slot.is_fresh() && now.since(slot.came) >= SLOW_MS;
        for span in self.spans.clone() {
            let whole = self.slots[span.clone()].iter().all(|slot| slot.local || slot.storing || slot.body.is_some());
            let slow = came && self.share && self.mesh && self.slots[span.clone()].iter().any(is_overdue);
            if !whole && !last && !slow {
                continue;
            }
            let mut at = span.start;
            while at < span.end {
                let end = (at..span.end).find(|&n| !self.slots[n].is_fresh()).unwrap_or(span.end);
                let mut bodies = Vec::with_capacity(end - at);
                for slot in &mut self.slots[at..end] {
                    slot.storing = true;
                    bodies.extend(slot.body.as_ref().map(|(_, body)| body.clone()));
                }
                if !bodies.is_empty() {
                    self.out.push_back(Output::Store(at, bodies));
                }
                at = end.max(at + 1);
            }
        }
    }

    /// Lets go of bodies that no reader will want soon and that the store has.
    fn release(&mut self) {
        let windows: Vec<_> = self.readers.values().map(|reader| self.window(reader)).collect();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if slot.body.is_some() && !slot.storing && !slot.is_fresh() && !windows.iter().any(|w| w.contains(&at)) {
                slot.body = None;
            }
        }
    }

    /// The run that is to bring a piece, where a reader that is at `from` had better not wait for it.
    fn far(&self, at: usize, from: usize) -> Option<usize> {
        self.runs.iter().position(|run| {
            let is_its = (run.next..run.pieces.end).contains(&at);
            is_its && run.next < from && !run.near(&self.pieces).contains(&from)
        })
    }

    fn wanted(&self, at: usize) -> bool {
        self.readers.values().any(|reader| reader.hurry != Hurry::Ahead && self.window(reader).contains(&at))
    }

    fn window(&self, reader: &Reader) -> Range<usize> {
        reader.ahead(&self.pieces, WINDOW)
    }

    /// Up to which piece the store is asked for a reader.
    fn first(&self, reader: &Reader) -> usize {
        let waits = self.slots.get(reader.start).is_some_and(|slot| slot.local && slot.body.is_none());
        let is_long = || self.window(reader).end < reader.end;
        if waits && reader.next == reader.start && is_long() {
            reader.ahead(&self.pieces, FIRST).end
        } else {
            reader.end
        }
    }
}

#[cfg(test)]
mod tests;
