//! Files on their way: carries out what each file's [`Transfer`] asks for.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::channel::{mpsc, oneshot};
use js_sys::{ArrayBuffer, Promise, Uint8Array};
use peerage::Millis;
use peerage::digest::Digest;
use peerage::manifest::{Entry, Label, Piece};
use peerage::room::Room;
use peerage::route;
use peerage::sorted::Map;
use peerage::store::{PACK_BYTES, PACK_MS, SMALL_BYTES};
use peerage::transfer::{Fault, Input, Output, ReaderId, RunId, Source, Transfer};
use peerage::verify::{self, Verified};
use wasm_bindgen::prelude::*;

use super::{Inner, describe, origin};
use crate::js;

/// Segments whose bytes are kept for the pieces that follow in them.
const OPEN_SEGMENTS: usize = 4;
/// An estimate of the browser's storage that takes longer, in ms, is done without.
const ESTIMATE_MS: u64 = 1000;

/// A file that is being read.
pub(super) struct File {
    transfer: Transfer<Uint8Array>,
    entry: Rc<Entry>,
    /// The URL to ask the origin for.
    url: String,
    readers: Map<ReaderId, mpsc::UnboundedSender<Told>>,
    aborts: Map<RunId, web_sys::AbortController>,
    paused: Vec<oneshot::Sender<()>>,
    tick: Option<Millis>,
    done: Vec<oneshot::Sender<()>>,
}

/// What a request is told.
pub(super) enum Told {
    Piece(usize, Source, Verified<Uint8Array>),
    Finished,
    Failed(Fault),
}

/// Pieces of small files that wait to be written as one segment.
#[derive(Default)]
pub(super) struct Pack {
    pieces: Vec<Piece>,
    bodies: Vec<Verified<Uint8Array>>,
    /// Which pieces of which files they are.
    files: Vec<(Digest, Range<usize>)>,
}

impl Pack {
    /// A part of the manifest that was made here, if it is the one that it was to be.
    pub(super) fn add(&mut self, want: Digest, body: Uint8Array, found: Digest) -> Option<Verified<Uint8Array>> {
        let piece = Piece { digest: want, len: body.length() };
        let body = verify::piece(body, piece.len as usize, found, &piece).ok()?;
        self.pieces.push(piece);
        self.bodies.push(body.clone());
        Some(body)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.len)).sum()
    }
}

/// A request's end of a file.
pub(super) struct Reading {
    inner: &'static Inner,
    pub(super) file: Digest,
    id: ReaderId,
    told: mpsc::UnboundedReceiver<Told>,
    ended: bool,
    /// Settles when the file has been read and stored.
    pub(super) done: Promise,
}

impl Reading {
    /// Starts reading pieces of a listed file. `url` is asked for where the origin must help; `peers`: they may.
    pub(super) fn open(inner: &'static Inner, entry: &Rc<Entry>, url: String, span: Range<usize>, peers: bool) -> Self {
        Self::begin(inner, entry, url, peers, |id| Input::Open(id, span))
    }

    /// Starts to fetch a file that nobody waits for yet.
    pub(super) fn later(inner: &'static Inner, entry: &Rc<Entry>) -> Self {
        let all = 0..entry.pieces.len();
        Self::begin(inner, entry, inner.file_url(&entry.path), true, |id| Input::Prefetch(id, all))
    }

    /// Starts to take a file from neighbours, for whom nobody waits.
    pub(super) fn ahead(inner: &'static Inner, entry: &Rc<Entry>) -> Self {
        let all = 0..entry.pieces.len();
        Self::begin(inner, entry, inner.file_url(&entry.path), true, |id| Input::Ahead(id, all))
    }

    fn begin(
        inner: &'static Inner,
        entry: &Rc<Entry>,
        url: String,
        peers: bool,
        input: impl FnOnce(ReaderId) -> Input<Uint8Array>,
    ) -> Self {
        let file = entry.integrity;
        let id = inner.readers.get().wrapping_add(1);
        inner.readers.set(id);
        if let Some(version) = inner.current() {
            inner.paths.borrow_mut().mode = version.root.root.policy.mode;
        }
        let (sender, told) = mpsc::unbounded();
        let (done, is_done) = oneshot::channel();
        {
            let mut files = inner.files.borrow_mut();
            let open = files.get_or_insert_with(file, || {
                let store = inner.store.borrow();
                let share = entry.label == Label::Share && peers;
                let local = |piece: &Piece| store.place(&piece.digest).is_some();
                File {
                    transfer: Transfer::new(entry.pieces.clone(), share, inner.link.neighbours() > 0, local),
                    entry: entry.clone(),
                    url,
                    readers: Map::default(),
                    aborts: Map::default(),
                    paused: Vec::new(),
                    tick: None,
                    done: Vec::new(),
                }
            });
            open.readers.insert(id, sender);
            open.done.push(done);
        }
        inner.feed(file, input(id));
        let done = js::promise(async move {
            // A dropped sender is an end, too.
            let _ = is_done.await;
            Ok(JsValue::UNDEFINED)
        });
        Self { inner, file, id, told, ended: false, done }
    }

    /// The next piece, verified; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<(usize, Source, Verified<Uint8Array>)>, Fault> {
        if self.ended {
            return Ok(None);
        }
        self.inner.feed(self.file, Input::Pull(self.id));
        match self.told.next().await {
            Some(Told::Piece(at, source, body)) => Ok(Some((at, source, body))),
            Some(Told::Finished) => {
                self.ended = true;
                Ok(None)
            }
            Some(Told::Failed(fault)) => {
                self.ended = true;
                Err(fault)
            }
            None => Err(Fault::Unreachable),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if !self.ended {
            self.inner.feed(self.file, Input::Close(self.id));
        }
    }
}

impl Inner {
    /// Tells a file's transfer what happened, and carries out what it asks for.
    pub(super) fn feed(&'static self, file: Digest, input: Input<Uint8Array>) {
        let outputs = {
            let mut files = self.files.borrow_mut();
            let Some(open) = files.get_mut(&file) else { return };
            if let Input::Close(id) = input {
                open.readers.remove(&id);
            }
            open.transfer.handle(input, js::now(), &mut self.paths.borrow_mut());
            let mut outputs = VecDeque::new();
            while let Some(output) = open.transfer.poll() {
                outputs.push_back(output);
            }
            // Runs that wait for room look again.
            open.paused.clear();
            outputs
        };
        for output in outputs {
            self.carry_out(file, output);
        }
        self.settle(file);
    }

    /// The same input for every file.
    pub(super) fn feed_all(&'static self, input: impl Fn() -> Input<Uint8Array>) {
        let open: Vec<_> = self.files.borrow().keys().copied().collect();
        for file in open {
            self.feed(file, input());
        }
    }

    /// The mesh is at work, for whichever file.
    pub(super) fn mesh_progressed(&self) {
        self.paths.borrow_mut().mesh_progressed(js::now());
    }

    fn settle(&'static self, file: Digest) {
        let mut files = self.files.borrow_mut();
        let Some(open) = files.get_mut(&file) else { return };
        if open.transfer.is_done() {
            // Its `done` senders go with it.
            files.remove(&file);
            return;
        }
        let Some(due) = open.transfer.deadline() else { return };
        if open.tick.is_none_or(|tick| tick > due) {
            open.tick = Some(due);
            js::spawn(async move {
                js::sleep(due.since(js::now()) + 1).await;
                if let Some(open) = self.files.borrow_mut().get_mut(&file)
                    && open.tick == Some(due)
                {
                    open.tick = None;
                }
                self.feed(file, Input::Tick);
            });
        }
    }

    fn carry_out(&'static self, file: Digest, output: Output<Uint8Array>) {
        match output {
            Output::Read(at) => js::spawn(self.read_piece(file, at)),
            Output::Ask(priority, pieces) => {
                let wanted: Option<Vec<_>> = self.with(file, |open| {
                    let all = open.transfer.pieces();
                    pieces.iter().filter_map(|&(at, within)| all.get(at).map(|p| (at, *p, within))).collect()
                });
                super::link::want(self, file, priority, &wanted.unwrap_or_default());
            }
            Output::Cancel(pieces) => super::link::cancel(self, file, &pieces),
            Output::Fetch { run, pieces, via, is_beside } => {
                let Ok(abort) = web_sys::AbortController::new() else { return };
                let order = self.with(file, |open| {
                    open.aborts.insert(run, abort.clone());
                    origin::Order {
                        file,
                        run,
                        pieces,
                        via,
                        is_beside,
                        url: open.url.clone(),
                        entry: open.entry.clone(),
                        signal: abort.signal(),
                    }
                });
                if let Some(order) = order {
                    js::spawn(origin::run(self, order));
                }
            }
            Output::Stop(run) => {
                self.with(file, |open| {
                    if let Some(abort) = open.aborts.remove(&run) {
                        abort.abort();
                    }
                });
            }
            Output::Emit(id, at, source, body) => self.tell(file, id, Told::Piece(at, source, body)),
            Output::Finished(id) => self.tell(file, id, Told::Finished),
            Output::Failed(id, fault) => self.tell(file, id, Told::Failed(fault)),
            Output::Store(from, bodies) => js::spawn(self.store_pieces(file, from, bodies)),
            Output::Stale => {
                let refreshing = self.refreshing();
                js::spawn(async move {
                    // What it leads to is seen by the next navigation.
                    let _ = js::wait(refreshing).await;
                });
            }
            Output::Wasted(_, bytes) => self.site.borrow_mut().bytes.wasted += bytes,
        }
    }

    fn with<T>(&self, file: Digest, then: impl FnOnce(&mut File) -> T) -> Option<T> {
        self.files.borrow_mut().get_mut(&file).map(then)
    }

    fn tell(&self, file: Digest, id: ReaderId, told: Told) {
        let last = !matches!(told, Told::Piece(..));
        self.with(file, |open| {
            if let Some(reader) = open.readers.get(&id) {
                // A request that went away closes its reader by itself.
                let _ = reader.unbounded_send(told);
            }
            if last {
                open.readers.remove(&id);
            }
        });
    }

    /// Waits until a run's next piece has room in a reader's window; at once where the run is over.
    pub(super) async fn until_wanted(&self, file: Digest, run: RunId) {
        loop {
            let wait = self.with(file, |open| {
                let stopped = !open.aborts.contains_key(&run);
                if stopped || open.transfer.may_fetch(run) {
                    return None;
                }
                let (sender, receiver) = oneshot::channel();
                open.paused.push(sender);
                Some(receiver)
            });
            match wait.flatten() {
                Some(receiver) => drop(receiver.await),
                None => return,
            }
        }
    }

    async fn read_piece(&'static self, file: Digest, at: usize) {
        let Some(Some(piece)) = self.with(file, |open| open.transfer.pieces().get(at).copied()) else { return };
        let place = self.store.borrow().place(&piece.digest);
        let mut body = None;
        if let Some(place) = place {
            self.store.borrow_mut().touch(place.segment);
            if let Some(buffer) = self.segment(place.segment).await
                && place.offset.saturating_add(place.len) <= buffer.byte_length()
            {
                let view = Uint8Array::new_with_byte_offset_and_length(&buffer, place.offset, place.len);
                let found = js::sha256(&view).await;
                body = found.ok().and_then(|found| verify::piece(view, place.len as usize, found, &piece).ok());
            }
            if body.is_some() {
                self.site.borrow_mut().bytes.cache += u64::from(piece.len);
            } else {
                self.lose_segment(place.segment).await;
            }
        }
        self.feed(file, Input::Read(at, body));
    }

    /// A segment's bytes; several pieces of it are one read.
    async fn segment(&self, number: u64) -> Option<ArrayBuffer> {
        let promise = {
            let mut open = self.open_segments.borrow_mut();
            match open.iter().position(|(n, _)| *n == number) {
                Some(at) => open[at].1.clone(),
                None => {
                    if open.len() >= OPEN_SEGMENTS {
                        open.pop_front();
                    }
                    let promise = self.cache.segment(number);
                    open.push_back((number, promise.clone()));
                    promise
                }
            }
        };
        js::wait(promise).await.ok()?.dyn_into().ok()
    }

    /// A segment that is gone from the cache, or damaged.
    pub(super) async fn lose_segment(&'static self, number: u64) {
        self.open_segments.borrow_mut().retain(|(n, _)| *n != number);
        let gone = self.store.borrow_mut().remove(number);
        self.link.drop_pieces(gone);
        self.cache.delete_segment(number).await;
        self.save_soon();
    }

    async fn store_pieces(&'static self, file: Digest, from: usize, bodies: Vec<Verified<Uint8Array>>) {
        let span = from..from + bodies.len();
        let found = self.with(file, |open| {
            (open.entry.label == Label::Share, open.transfer.pieces().get(span.clone()).map(<[_]>::to_vec))
        });
        let Some((share, Some(pieces))) = found else { return };
        let mut pack = Pack { pieces, bodies, files: vec![(file, span)] };
        if pack.bytes() <= SMALL_BYTES {
            let (bytes, is_first) = {
                let waiting = &mut self.packs.borrow_mut()[usize::from(share)];
                let is_first = waiting.files.is_empty();
                waiting.pieces.append(&mut pack.pieces);
                waiting.bodies.append(&mut pack.bodies);
                waiting.files.append(&mut pack.files);
                (waiting.bytes(), is_first)
            };
            if bytes < PACK_BYTES {
                if !is_first {
                    return;
                }
                js::sleep(PACK_MS).await;
            }
            pack = std::mem::take(&mut self.packs.borrow_mut()[usize::from(share)]);
        }
        if !pack.files.is_empty() {
            self.write_pack(share, pack).await;
        }
    }

    /// Writes a segment.
    pub(super) async fn write_pack(&'static self, share: bool, Pack { pieces, bodies, files }: Pack) {
        // First, or a worker killed in between would have a file without its headers for as long as the file stays.
        self.write_observed().await;
        let number = self.store.borrow_mut().reserve();
        let line = self.store.borrow().segment(pieces, share);
        let mut written = self.cache.write_segment(number, &bodies, &line).await;
        if written.is_err() {
            // The quota is full: make room for what is wanted now, once.
            self.shrink(line.bytes() * 2).await;
            written = self.cache.write_segment(number, &bodies, &line).await;
        }
        let kept = written.is_ok();
        match written {
            Ok(()) => {
                let held = line.pieces.clone();
                self.store.borrow_mut().insert(number, line.pieces, share);
                if share {
                    self.link.hold(self, &held);
                }
            }
            Err(e) => {
                self.unkept.set(self.unkept.get() + 1);
                self.note_error(&format!("a file could not be kept: {}", describe(&e)));
            }
        }
        for (file, span) in files {
            self.feed(file, Input::Stored(span, kept));
        }
        self.enforce_budget().await;
        self.save_soon();
    }

    async fn enforce_budget(&'static self) {
        let over = self.store.borrow().over(self.budget.get());
        for number in over {
            self.lose_segment(number).await;
        }
    }

    async fn shrink(&'static self, by: u64) {
        let keep = self.store.borrow().bytes().saturating_sub(by);
        let over = self.store.borrow().over(keep);
        for number in over {
            self.lose_segment(number).await;
        }
    }

    /// Reads how much room the browser gives the site.
    pub(super) async fn measure_room(&'static self) -> Room {
        let estimate = async {
            let promise = self.global.navigator().storage().estimate()?;
            let time = js::promise(async {
                js::sleep(ESTIMATE_MS).await;
                Ok(JsValue::UNDEFINED)
            });
            js::wait(Promise::race(&js_sys::Array::of2(&promise, &time))).await
        };
        let estimate = estimate.await.unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
        let told = |name| js::get(&estimate, name).as_f64().unwrap_or_default() as u64;
        let room = Room::told(told("quota"), told("usage"), self.store.borrow().loose());
        self.budget.set(room.budget);
        room
    }

    /// The URL that a file is asked for by, where no request gives one.
    pub(super) fn file_url(&self, path: &str) -> String {
        route::site_url(path, &self.scope, &self.constants.elsewhere, self.constants.clean_urls)
    }
}
