//! Transfer: one file on its way to whoever reads it, from the store, from the mesh and from the origin.
//!
//! There is one transfer for a file, however many requests want it: each request is a **reader** with a span of pieces
//! and a demand, so concurrent requests share one download. Pieces within a window ahead of a reader are obtained, each
//! from the first place that has it:
//!
//! ```text
//!   in the store?      Read      verified again on the way
//!   a neighbour's?     Ask       the mesh answers, or says that it won't, or stalls: then the origin is asked as well
//!   otherwise          Fetch     a run of consecutive pieces: the whole file by plain GET, less by Range
//! ```
//!
//! What was fetched is stored in spans of a few megabytes (see [`crate::store`]) and let go when no reader needs it, so
//! memory is bounded by the window however large the file and however slow the reader. Bodies are of any type `B`: in a
//! browser they stay JavaScript buffers, and only [`Verified`] ones are taken.
//!
//! Where the origin's bytes don't match, the manifest and the origin are of different versions, or a cache between is
//! stale: the newest root is asked for, then the kept old file, then the origin past the HTTP cache; after that the
//! readers fail, and the driver passes the origin's own answer through.

mod hedges;

use std::collections::VecDeque;
use std::ops::Range;

use crate::Millis;
use crate::manifest::Piece;
use crate::port::Priority;
use crate::sorted::Map;
use crate::store::{FIRST_SEGMENT_BYTES, SEGMENT_BYTES};
use crate::verify::Verified;

pub use self::hedges::Hedges;

/// How far ahead of a reader pieces are obtained, in bytes: enough to keep several neighbours busy.
const WINDOW: u64 = 8 << 20;
/// A mesh that has sent nothing of this file for this long is given up for what was asked of it.
const PATIENCE_MS: u64 = 10_000;

/// A request's number, chosen by the driver.
pub type ReaderId = u32;
/// A fetch's number, chosen here.
pub type RunId = u32;

/// Where bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Cache Storage.
    Cache,
    /// A neighbour.
    Peer,
    /// The origin.
    Origin,
}

/// How the origin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// The file's own URL.
    Plain,
    /// `peerage/old/<integrity>`: the file as it was when this version was published.
    Old,
    /// The file's own URL, past the HTTP cache.
    Reload,
}

/// Why the origin gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No answer: offline, refused, reset.
    #[error("Unreachable")]
    Unreachable,
    /// An answer that is not the file: another status, or opaque.
    #[error("Status({0})")]
    Status(u16),
    /// Bytes that do not match the manifest.
    #[error("Mismatch")]
    Mismatch,
    /// An answer made for one visitor (`private`, `no-store`, `Vary: Cookie`).
    #[error("Private")]
    Private,
}

/// What happened.
#[derive(Debug)]
pub enum Input<B> {
    /// A request wants these pieces, in order.
    Open(ReaderId, Range<usize>),
    /// Nobody waits for these pieces yet, but the mesh may bring them: an update of what is held. The origin is not
    /// asked, and what no neighbour has is passed over.
    Ahead(ReaderId, Range<usize>),
    /// It can take one more piece.
    Pull(ReaderId),
    /// It was aborted.
    Close(ReaderId),
    /// The store gave a piece, or could not.
    Read(usize, Option<Verified<B>>),
    /// Pieces were written to the store, or could not be.
    Stored(Range<usize>, bool),
    /// A piece came from the mesh.
    Piece(usize, Verified<B>),
    /// The mesh won't send this piece.
    Gone(usize),
    /// Whether a mesh with a neighbour is there.
    Mesh(bool),
    /// A piece of a run came from the origin.
    Fetched(RunId, usize, Verified<B>),
    /// A run ended: all of it came, or a fault.
    Ended(RunId, Result<(), Fault>),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug)]
pub enum Output<B> {
    /// Read a piece from the store and verify it.
    Read(usize),
    /// Ask the mesh for these pieces, wanted in this order.
    Ask(Priority, Vec<usize>),
    /// These are no longer wanted from the mesh.
    Cancel(Vec<usize>),
    /// Fetch consecutive pieces from the origin.
    Fetch {
        /// Number of this run.
        run: RunId,
        /// The pieces.
        pieces: Range<usize>,
        /// By which URL.
        via: Via,
    },
    /// A run is no longer wanted.
    Stop(RunId),
    /// Hand a piece to a request.
    Emit(ReaderId, usize, Source, Verified<B>),
    /// A request has all it asked for.
    Finished(ReaderId),
    /// A request can't be given what it asked for.
    Failed(ReaderId, Fault),
    /// Write consecutive pieces, from this index, to the store.
    Store(usize, Vec<Verified<B>>),
    /// The origin has other bytes than the manifest: ask for its newest root.
    Stale,
    /// This many bytes came twice.
    Wasted(Source, u64),
}

#[derive(Debug)]
struct Slot<B> {
    body: Option<(Source, Verified<B>)>,
    /// In the store.
    local: bool,
    /// Being read from the store.
    reading: bool,
    /// Being written to the store.
    storing: bool,
    /// Wanted from the mesh.
    asked: bool,
    /// Wanted for a reader ahead alone.
    ahead: bool,
    /// The mesh won't, or was too slow.
    refused: bool,
    /// Part of the run under way.
    fetching: bool,
}

impl<B> Slot<B> {
    fn is_idle(&self) -> bool {
        self.body.is_none() && !self.reading && !self.fetching
    }

    /// Came from outside and is not yet on its way to the store.
    fn is_fresh(&self) -> bool {
        !self.local && !self.storing && self.body.as_ref().is_some_and(|(source, _)| *source != Source::Cache)
    }
}

#[derive(Debug)]
struct Reader {
    next: usize,
    end: usize,
    demand: u32,
    /// Opened by [`Input::Ahead`].
    ahead: bool,
}

#[derive(Debug)]
struct Run {
    id: RunId,
    pieces: Range<usize>,
    next: usize,
}

/// The machine. One for each file that is being read.
#[derive(Debug)]
pub struct Transfer<B> {
    pieces: Vec<Piece>,
    share: bool,
    slots: Vec<Slot<B>>,
    spans: Vec<Range<usize>>,
    readers: Map<ReaderId, Reader>,
    run: Option<Run>,
    runs: RunId,
    via: Via,
    fault: Option<Fault>,
    mesh: bool,
    /// Since when the mesh owes what was asked of it; `None` while nothing is.
    waiting: Option<Millis>,
    /// When it is looked at again.
    due: Option<Millis>,
    /// When the mesh last did something for this file.
    heard: Millis,
    out: VecDeque<Output<B>>,
}

impl<B: Clone> Transfer<B> {
    /// A transfer of a file with these pieces. `share`: the mesh may be asked. `local`: what the store has.
    pub fn new(pieces: Vec<Piece>, share: bool, mesh: bool, local: impl Fn(&Piece) -> bool) -> Self {
        let slots = pieces
            .iter()
            .map(|piece| Slot {
                body: None,
                local: local(piece),
                reading: false,
                storing: false,
                asked: false,
                ahead: false,
                refused: false,
                fetching: false,
            })
            .collect();
        Self {
            spans: spans(&pieces),
            slots,
            share,
            pieces,
            readers: Map::default(),
            run: None,
            runs: 0,
            via: Via::Plain,
            fault: None,
            mesh,
            waiting: None,
            due: None,
            heard: Millis(0),
            out: VecDeque::new(),
        }
    }

    /// Takes what happened, and decides. `hedges` is shared by the transfers of a worker.
    pub fn handle(&mut self, input: Input<B>, now: Millis, hedges: &mut Hedges) {
        match input {
            Input::Open(id, span) => self.open(id, span, false),
            Input::Ahead(id, span) => self.open(id, span, true),
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
            Input::Piece(at, body) => {
                hedges.mesh_progressed(now);
                self.heard = now;
                self.arrived(at, Source::Peer, body);
            }
            Input::Gone(at) => {
                if let Some(slot) = self.slots.get_mut(at) {
                    (slot.asked, slot.refused) = (false, true);
                }
                hedges.mesh_progressed(now);
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
                if self.run.as_ref().is_some_and(|r| r.id == run) {
                    self.arrived(at, Source::Origin, body);
                } else {
                    self.waste(Source::Origin, at);
                }
            }
            Input::Ended(run, end) => self.ended(run, end),
            Input::Tick => {}
        }
        self.plan(now, hedges);
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
        self.run.as_ref().is_some_and(|r| r.id == run && self.wanted(r.next))
    }

    /// Whether nothing is left to do: no reader, nothing on its way to the store.
    pub fn is_done(&self) -> bool {
        self.readers.is_empty() && self.out.is_empty() && !self.slots.iter().any(|s| s.storing)
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn open(&mut self, id: ReaderId, span: Range<usize>, ahead: bool) {
        let (next, end) = (span.start.min(self.pieces.len()), span.end.min(self.pieces.len()));
        self.readers.insert(id, Reader { next, end, demand: 0, ahead });
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

    fn arrived(&mut self, at: usize, source: Source, body: Verified<B>) {
        if let Some(run) = self.run.as_mut().filter(|run| source == Source::Origin && run.pieces.contains(&at)) {
            run.next = at + 1;
        }
        let Some(slot) = self.slots.get_mut(at) else { return };
        let was_asked = std::mem::take(&mut slot.asked);
        slot.fetching = slot.fetching && source != Source::Origin;
        if slot.body.is_some() || slot.local {
            self.waste(source, at);
            return;
        }
        slot.body = Some((source, body));
        if source == Source::Origin && was_asked {
            self.out.push_back(Output::Cancel(vec![at]));
        }
    }

    fn waste(&mut self, source: Source, at: usize) {
        let bytes = self.pieces.get(at).map_or(0, |p| u64::from(p.len));
        self.out.push_back(Output::Wasted(source, bytes));
    }

    fn ended(&mut self, id: RunId, end: Result<(), Fault>) {
        let Some(run) = self.run.take_if(|run| run.id == id) else { return };
        for slot in &mut self.slots[run.pieces] {
            slot.fetching = false;
        }
        let Err(fault) = end else { return };
        if fault == Fault::Mismatch && self.via == Via::Plain {
            self.out.push_back(Output::Stale);
        }
        match (fault, self.via) {
            (Fault::Unreachable | Fault::Private, _) | (_, Via::Reload) => self.fault = Some(fault),
            (_, Via::Plain) => self.via = Via::Old,
            (_, Via::Old) => self.via = Via::Reload,
        }
    }

    fn plan(&mut self, now: Millis, hedges: &mut Hedges) {
        self.emit();
        self.give_up(now);
        self.obtain(now, hedges);
        self.fail();
        self.drop_run();
        self.store();
        self.release();
        if !self.slots.iter().any(|slot| slot.asked && slot.body.is_none()) {
            self.waiting = None;
        }
        self.due = self.waiting.map(|since| hedges.due(since, now));
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
                } else if !reader.ahead || slot.local || slot.asked || !slot.is_idle() || can_ask && !slot.refused {
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

    /// Looks at each piece in a reader's window that nobody is getting yet.
    fn obtain(&mut self, now: Millis, hedges: &mut Hedges) {
        let room = self.waiting.map_or(0, |since| hedges.room(since, now));
        let (mut ask, mut ask_ahead) = (Vec::new(), Vec::new());
        let mut missing: Option<(usize, usize)> = None;
        let windows: Vec<_> =
            self.readers.values().map(|reader| (self.window(reader), reader.end, reader.ahead)).collect();
        for (window, end, ahead) in windows {
            for at in window {
                let slot = &mut self.slots[at];
                if !slot.is_idle() {
                    continue;
                }
                if slot.local {
                    slot.reading = true;
                    self.out.push_back(Output::Read(at));
                } else if slot.asked && (ahead || !slot.ahead) {
                    if room > 0 && !ahead {
                        missing = missing.or(Some((at, end)));
                    }
                } else if self.share && self.mesh && !slot.refused {
                    (slot.asked, slot.ahead) = (true, ahead);
                    if ahead { ask_ahead.push(at) } else { ask.push(at) }
                } else if !ahead {
                    missing = missing.or(Some((at, end)));
                }
            }
        }
        for (priority, list) in [(Priority::Page, ask), (Priority::Background, ask_ahead)] {
            if list.is_empty() {
                continue;
            }
            if self.waiting.is_none() {
                (self.waiting, self.heard) = (Some(now), now);
            }
            self.out.push_back(Output::Ask(priority, list));
        }
        if let Some((from, end)) = missing.filter(|_| self.run.is_none() && self.fault.is_none()) {
            hedges.spend(self.fetch(from, end, room));
        }
    }

    /// Starts a run from `from`: to the next piece that comes from elsewhere, or as far as the reader goes; of what the
    /// mesh owes, `room` bytes (the last piece whole). Returns how much of it the mesh owes.
    fn fetch(&mut self, from: usize, end: usize, room: u64) -> u64 {
        let mut hedged = 0;
        let mut to = from;
        while to < end {
            let slot = &self.slots[to];
            let from_mesh = self.share && self.mesh && !slot.refused;
            let limit = if room > 0 && slot.asked { hedged >= room } else { from_mesh };
            if to > from && (!slot.is_idle() || slot.local || limit) {
                break;
            }
            hedged += if slot.asked { u64::from(self.pieces[to].len) } else { 0 };
            to += 1;
        }
        for slot in &mut self.slots[from..to] {
            slot.fetching = true;
        }
        self.runs += 1;
        self.run = Some(Run { id: self.runs, pieces: from..to, next: from });
        self.out.push_back(Output::Fetch { run: self.runs, pieces: from..to, via: self.via });
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
            (self.fault, self.via) = (None, Via::Plain);
        }
    }

    fn drop_run(&mut self) {
        let wanted = |at: usize| self.readers.values().any(|r| !r.ahead && r.next <= at && at < r.end);
        if self.run.as_ref().is_some_and(|run| !(run.next..run.pieces.end).any(wanted))
            && let Some(run) = self.run.take_if(|run| run.next < run.pieces.end)
        {
            for slot in &mut self.slots[run.pieces] {
                slot.fetching = false;
            }
            self.out.push_back(Output::Stop(run.id));
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

    /// Hands spans to the store when they are whole; when nobody reads any more, whatever has come.
    fn store(&mut self) {
        let last = self.readers.is_empty();
        for span in self.spans.clone() {
            let whole = self.slots[span.clone()].iter().all(|slot| slot.local || slot.storing || slot.body.is_some());
            if !whole && !last {
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

    fn wanted(&self, at: usize) -> bool {
        self.readers.values().any(|reader| !reader.ahead && self.window(reader).contains(&at))
    }

    fn window(&self, reader: &Reader) -> Range<usize> {
        let mut bytes = 0;
        let ahead = self.pieces[reader.next..reader.end].iter().take_while(|piece| {
            let within = bytes < WINDOW;
            bytes += u64::from(piece.len);
            within
        });
        reader.next..reader.next + ahead.count()
    }
}

/// How a file's pieces are grouped into segments: in order, each at most one piece or [`FIRST_SEGMENT_BYTES`], then twice
/// as much as the one before, up to [`SEGMENT_BYTES`]. A segment is read whole, so a small first one means an early first
/// byte.
fn spans(pieces: &[Piece]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, piece) in pieces.iter().enumerate() {
        let len = u64::from(piece.len);
        let most = (FIRST_SEGMENT_BYTES << spans.len().min(8)).min(SEGMENT_BYTES);
        if at > start && bytes + len > most {
            spans.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += len;
    }
    if start < pieces.len() {
        spans.push(start..pieces.len());
    }
    spans
}

#[cfg(test)]
mod tests;
