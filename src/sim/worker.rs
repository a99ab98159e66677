//! Drives a browser's transfers, as its service worker does.

use std::rc::Rc;

use super::browser::{Open, Request};
use super::figures::Cause;
use super::origin::Purpose;
use super::site::{Body, file_of, revision_of};
use super::world::World;
use crate::digest::Digest;
use crate::manifest::Piece;
use crate::mesh;
use crate::port::{Held, Priority, ToMesh, ToWorker};
use crate::sorted::Map;
use crate::transfer::{Input, Output, ReaderId, Source, Transfer};

/// The document itself is not shared, all else is. The number may be that of a revision ([`site::key`](super::site::key)).
pub(super) fn is_shared(file: u32) -> bool {
    file_of(file) != 0
}

impl World {
    /// A request reaches the worker.
    pub(super) fn open(&mut self, number: u32, file: u32, pieces: Rc<[Piece]>, request: Request) {
        let span = 0..pieces.len();
        let reader = self.read(number, file, pieces);
        let browser = &mut self.browsers[number as usize];
        if let Some(open) = browser.files.get_mut(&file) {
            open.readers.insert(reader, request);
        }
        browser.work.push_back((file, Input::Open(reader, span)));
        browser.work.push_back((file, Input::Pull(reader)));
    }

    /// A file that is to be read, and the number of a new reader.
    pub(super) fn read(&mut self, number: u32, file: u32, pieces: Rc<[Piece]>) -> ReaderId {
        let browser = &mut self.browsers[number as usize];
        let (store, neighbours) = (&browser.store, browser.node.as_ref().map_or(0, |n| n.neighbours));
        let share = is_shared(file) && browser.traits.consents;
        browser.files.entry(file).or_insert_with(|| {
            let local = |piece: &Piece| store.place(&piece.digest).is_some();
            let transfer = Transfer::new(pieces.to_vec(), share, neighbours > 0, local);
            Open { transfer, pieces, readers: Map::default(), runs: Map::default() }
        });
        browser.last_reader += 1;
        browser.last_reader
    }

    /// Tells a transfer what happened, and carries out what it asks for.
    pub(super) fn feed(&mut self, number: u32, file: u32, input: Input<Body>) {
        let now = self.millis();
        let browser = &mut self.browsers[number as usize];
        let Some(open) = browser.files.get_mut(&file) else { return };
        open.transfer.handle(input, now, &mut browser.paths);
        while let Some(output) =
            self.browsers[number as usize].files.get_mut(&file).and_then(|open| open.transfer.poll())
        {
            self.obtain(number, file, output);
        }
        let browser = &mut self.browsers[number as usize];
        if browser.files.get(&file).is_some_and(|open| open.transfer.is_done() && open.readers.is_empty())
            && !browser.work.iter().any(|(f, _)| *f == file)
        {
            browser.files.remove(&file);
        }
    }

    fn obtain(&mut self, number: u32, file: u32, output: Output<Body>) {
        let group = self.browsers[number as usize].group();
        let browser = &mut self.browsers[number as usize];
        let Some(open) = browser.files.get_mut(&file) else { return };
        match output {
            Output::Read(at) => {
                let piece = open.pieces.get(at).copied();
                let place = piece.and_then(|p| browser.store.place(&p.digest));
                let body = piece.zip(place).and_then(|(piece, place)| {
                    browser.store.touch(place.segment);
                    let token = self.site.token(&piece.digest)?;
                    Body { token, len: place.len }.verify(&piece).ok()
                });
                browser.work.push_back((file, Input::Read(at, body)));
            }
            Output::Ask(priority, pieces) => self.want(number, file, priority, &pieces),
            Output::Cancel(pieces) => self.cancel(number, file, &pieces),
            Output::Fetch { run, pieces, .. } => {
                let bytes = open.pieces[pieces.clone()].iter().map(|p| u64::from(p.len)).sum();
                if browser.plain.contains(&(file_of(file), revision_of(file))) {
                    // The worker's own fetch goes through the browser's cache.
                    self.figures.tally(group).cache += bytes;
                    for at in pieces {
                        let piece = open.pieces[at];
                        let token = self.site.token(&piece.digest).unwrap_or_default();
                        if let Ok(body) = (Body { token, len: piece.len }).verify(&piece) {
                            browser.work.push_back((file, Input::Fetched(run, at, body)));
                        }
                    }
                    browser.work.push_back((file, Input::Ended(run, Ok(()))));
                    return;
                }
                let asked = open.pieces[pieces.clone()].to_vec();
                let node = browser.node.as_ref().filter(|node| node.neighbours > 0 && is_shared(file));
                let causes = &mut self.figures.tally(group).causes;
                for piece in &open.pieces[pieces.clone()] {
                    let cause = match node {
                        None => Cause::Alone,
                        Some(node) if node.wants.contains(file, &piece.digest) => Cause::Late,
                        Some(_) => Cause::NotHeld,
                    };
                    causes[cause as usize] += u64::from(piece.len);
                }
                self.count_changed(number, file, &asked);
                let answer = self.ask_origin(number, bytes, Purpose::Run { file, run, pieces, arrived: 0 });
                if let Some(open) = self.browsers[number as usize].files.get_mut(&file) {
                    open.runs.insert(run, answer);
                }
            }
            Output::Stop(run) => {
                if let Some(answer) = open.runs.remove(&run) {
                    self.cancel_answer(answer);
                }
            }
            Output::Emit(reader, _, source, body) => {
                browser.work.push_back((file, Input::Pull(reader)));
                let bytes = u64::from(body.len);
                let is_asked = open.readers.contains_key(&reader);
                let tally = self.figures.tally(group);
                match source {
                    _ if !is_asked => tally.ahead += bytes,
                    Source::Cache => tally.cache += bytes,
                    Source::Peer => {
                        tally.peer += bytes;
                        self.figures.at(self.now).peer += bytes;
                    }
                    // Counted as it leaves the origin.
                    Source::Origin => {}
                }
            }
            Output::Finished(reader) | Output::Failed(reader, _) => {
                let request = open.readers.remove(&reader);
                if matches!(output, Output::Failed(..)) {
                    self.figures.tally(group).failed += 1;
                }
                if let Some(request) = request {
                    self.answered(number, request);
                }
            }
            Output::Store(from, bodies) => {
                let span = from..from + bodies.len();
                let pieces = open.pieces[span.clone()].to_vec();
                browser.work.push_back((file, Input::Stored(span, true)));
                self.keep(number, file, pieces);
            }
            Output::Stale => {}
            Output::Wasted(_, bytes) => self.figures.tally(group).wasted += bytes,
        }
    }

    /// Writes pieces to the store, tells the mesh, and makes room.
    fn keep(&mut self, number: u32, file: u32, pieces: Vec<Piece>) {
        let budget = self.scenario.peerage.store_bytes as u64;
        let browser = &mut self.browsers[number as usize];
        let (segment, share) = (browser.store.reserve(), is_shared(file));
        let mut offset = 0;
        let held = pieces.iter().map(|piece| {
            let held = Held { digest: piece.digest, segment, offset, len: piece.len };
            offset += piece.len;
            held
        });
        let held: Vec<Held> = held.collect();
        browser.store.insert(segment, pieces, share);
        let mut told = Vec::new();
        if share {
            told.push(ToMesh::Holdings { full: false, pieces: held });
        }
        for number in browser.store.over(budget) {
            told.push(ToMesh::Dropped(browser.store.remove(number)));
        }
        if browser.node.is_some() {
            browser.inbox.extend(told.into_iter().map(mesh::Input::Worker));
        }
        self.caught_up(number);
        self.stored(number);
    }

    /// Asks the mesh for pieces of a file, in the order they are needed.
    fn want(&mut self, number: u32, file: u32, priority: Priority, places: &[(usize, u32)]) {
        let browser = &mut self.browsers[number as usize];
        let (Some(open), Some(node)) = (browser.files.get(&file), browser.node.as_mut()) else {
            let gone = places.iter().map(|&(at, _)| (file, Input::Gone(at)));
            return browser.work.extend(gone);
        };
        let wanted: Vec<_> = places.iter().map(|&(at, within)| (at, open.pieces[at], within)).collect();
        let said = node.wants.add(file, priority, &wanted);
        browser.inbox.extend(said.into_iter().map(|(_, want)| mesh::Input::Worker(want)));
    }

    /// Takes back what was asked for.
    fn cancel(&mut self, number: u32, file: u32, places: &[usize]) {
        let browser = &mut self.browsers[number as usize];
        let Some(node) = &mut browser.node else { return };
        browser.inbox.extend(node.wants.cancel(file, places).into_iter().map(mesh::Input::Worker));
    }

    /// The mesh says something.
    pub(super) fn heard(&mut self, number: u32, message: ToWorker) {
        let now = self.millis();
        let browser = &mut self.browsers[number as usize];
        let Some(node) = &mut browser.node else { return };
        match message {
            ToWorker::Ready { neighbours, fresh } => {
                let had = std::mem::replace(&mut node.neighbours, neighbours);
                if (had > 0) != (neighbours > 0) {
                    let told = browser.files.keys().map(|&file| (file, Input::Mesh(neighbours > 0)));
                    browser.work.extend(told);
                }
                if fresh {
                    self.hold_all(number);
                }
            }
            ToWorker::Available { id, etas } => {
                let Some((file, expected)) = node.wants.available(id, &etas) else { return };
                browser.work.push_back((file, Input::Expect(expected)));
            }
            ToWorker::Gone { id, digest, .. } => {
                if let Some((file, _, places)) = self.take(number, id, &digest) {
                    let gone = places.into_iter().map(|at| (file, Input::Gone(at)));
                    self.browsers[number as usize].work.extend(gone);
                }
            }
            ToWorker::Arriving => browser.paths.mesh_progressed(now),
            ToWorker::Evicted(digest) => {
                if let Some(place) = browser.store.place(&digest) {
                    browser.store.remove(place.segment);
                }
            }
            // The piece itself comes by `piece_arrived`.
            ToWorker::Piece { .. } | ToWorker::Stats(_) => {}
        }
    }

    /// The one place where a peer's bytes come in: they are a piece once they match.
    pub(super) fn piece_arrived(&mut self, number: u32, id: u32, digest: Digest, peer: u32, token: u64) {
        let now = self.millis();
        let group = self.browsers[number as usize].group();
        self.browsers[number as usize].paths.mesh_progressed(now);
        let Some((file, piece, places)) = self.take(number, id, &digest) else { return };
        let browser = &mut self.browsers[number as usize];
        match (Body { token, len: piece.len }).verify(&piece) {
            Ok(body) => {
                browser.work.extend(places.into_iter().map(|at| (file, Input::Piece(at, body))));
            }
            Err(_) => {
                browser.inbox.push_back(mesh::Input::Worker(ToMesh::Bad { digest, peer }));
                browser.work.extend(places.into_iter().map(|at| (file, Input::Gone(at))));
                self.figures.rejected += 1;
                self.figures.tally(group).wasted += u64::from(piece.len);
            }
        }
    }

    fn take(&mut self, number: u32, id: u32, digest: &Digest) -> Option<(u32, Piece, Vec<usize>)> {
        let node = self.browsers[number as usize].node.as_mut()?;
        node.wants.take(id, digest)
    }
}
