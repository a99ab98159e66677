//! A response's body: the parts of a file's pieces that a request gets, as a stream or as a whole.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use js_sys::{Array, Promise, Uint8Array};
use peerage::manifest::Entry;
use peerage::transfer::{Fault, Source};
use peerage::verify::Verified;
use wasm_bindgen::prelude::*;

use super::Inner;
use super::files::Reading;
use super::origin::{Chunks, beyond};
use super::report::Record;
use super::respond::note_failure;
use crate::js::{self, Js};

/// Which part of each piece a request gets.
pub(super) struct Cut {
    pub(super) entry: Rc<Entry>,
    first: usize,
    offset: u64,
    start: u64,
    end: u64,
}

impl Cut {
    /// The bytes from `start` up to `end` of a file whose pieces come from the one numbered `first` on.
    pub(super) fn new(entry: Rc<Entry>, first: usize, (start, end): (u64, u64)) -> Self {
        Self { first, offset: offset(&entry, first), start, end, entry }
    }

    /// How many of the file's first pieces were taken, where it was from its beginning.
    fn taken(&self) -> usize {
        self.entry.offsets().take_while(|&at| at < self.offset).count()
    }

    /// The part of the next piece, in order, that lies within the span.
    pub(super) fn part(&mut self, at: usize, body: &Verified<Uint8Array>) -> Uint8Array {
        debug_assert!(at >= self.first);
        let len = u64::from(body.length());
        let from = self.start.saturating_sub(self.offset).min(len);
        let to = self.end.saturating_sub(self.offset).min(len);
        self.offset += len;
        if (from, to) == (0, len) {
            return (**body).clone();
        }
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        body.subarray(narrow(from), narrow(to))
    }
}

/// The pieces that a span of bytes touches.
pub(super) fn covering(entry: &Entry, (start, end): (u64, u64)) -> Range<usize> {
    let starts: Vec<u64> = entry.offsets().collect();
    let first = starts.partition_point(|&at| at <= start).saturating_sub(1);
    first..starts.partition_point(|&at| at < end)
}

fn offset(entry: &Entry, piece: usize) -> u64 {
    entry.offsets().nth(piece).unwrap_or(entry.size)
}

/// The whole of a response in a blob. Firefox ends the body of a worker that it stops as if that were its end, so there a
/// body is handed over when it is whole: a worker that is stopped before leaves an error.
pub(super) async fn assemble(
    first: Uint8Array,
    reading: &mut Reading,
    cut: &mut Cut,
    record: &RefCell<Record>,
) -> Result<web_sys::Blob, Fault> {
    let parts = Array::of1(&first);
    while let Some((at, source, body)) = reading.next().await? {
        let chunk = cut.part(at, &body);
        record.borrow_mut().count(source, u64::from(chunk.length()));
        parts.push(&chunk);
    }
    record.borrow_mut().finish(js::now());
    web_sys::Blob::new_with_u8_array_sequence(&parts).map_err(|_| Fault::Unreachable)
}

/// A response's body, pulled piece by piece.
#[wasm_bindgen]
pub struct Reader(Rc<Stream>);

struct Stream {
    inner: &'static Inner,
    /// Out while a pull is under way; gone at the end.
    state: RefCell<Option<State>>,
    record: Rc<RefCell<Record>>,
    passes: bool,
    own: Option<web_sys::Request>,
    cancelled: Cell<bool>,
}

struct State {
    reading: Reading,
    cut: Cut,
    first: Option<Uint8Array>,
    /// What the origin has in the place of the rest.
    rest: Option<Chunks>,
}

impl Reader {
    /// `passes`: the page may get what it would get without us; `own`: what it asked for, where it may go on with that.
    pub(super) fn new(
        inner: &'static Inner,
        reading: Reading,
        cut: Cut,
        first: Uint8Array,
        record: Rc<RefCell<Record>>,
        passes: bool,
        own: Option<web_sys::Request>,
    ) -> Self {
        let state = RefCell::new(Some(State { reading, cut, first: Some(first), rest: None }));
        Self(Rc::new(Stream { inner, state, record, passes, own, cancelled: Cell::new(false) }))
    }
}

impl Stream {
    async fn next(&self, state: &mut State) -> Js<Option<Uint8Array>> {
        if let Some(first) = state.first.take() {
            return Ok(Some(first));
        }
        if state.rest.is_some() {
            return self.beyond(state).await;
        }
        match state.reading.next().await {
            Ok(Some((at, source, body))) => {
                let chunk = state.cut.part(at, &body);
                self.record.borrow_mut().count(source, u64::from(chunk.length()));
                Ok(Some(chunk))
            }
            Ok(None) => {
                self.record.borrow_mut().finish(js::now());
                Ok(None)
            }
            Err(fault) => {
                let entry = &state.cut.entry;
                note_failure(self.inner, entry, &self.record, fault);
                let error = js::error(&format!("{} could not be read to its end: {fault}", entry.path));
                if fault == Fault::Unreachable || !self.passes {
                    return Err(error);
                }
                // The page has some of it already: it gets the origin's file where that begins with the same, and the
                // whole of that the next time.
                self.inner.unfit.borrow_mut().push(entry.integrity);
                let Some(own) = &self.own else { return Err(error) };
                state.rest = beyond(own, &entry.pieces[..state.cut.taken()], &self.cancelled).await;
                if state.rest.is_none() {
                    return Err(error);
                }
                self.beyond(state).await
            }
        }
    }

    async fn beyond(&self, state: &mut State) -> Js<Option<Uint8Array>> {
        let Some(rest) = &mut state.rest else { return Ok(None) };
        let chunk = rest.next().await?;
        if let Some(chunk) = &chunk {
            self.record.borrow_mut().count(Source::Origin, chunk.length().into());
        }
        Ok(chunk)
    }
}

#[wasm_bindgen]
impl Reader {
    /// Resolves to the next chunk, to `undefined` at the end; rejects where the rest can't be had.
    pub fn pull(&self) -> Promise {
        let stream = self.0.clone();
        js::promise(async move {
            let Some(mut state) = stream.state.borrow_mut().take() else { return Ok(JsValue::UNDEFINED) };
            let Some(chunk) = stream.next(&mut state).await? else { return Ok(JsValue::UNDEFINED) };
            if !stream.cancelled.get() {
                stream.state.borrow_mut().replace(state);
            }
            Ok(chunk.into())
        })
    }

    /// Nobody reads on.
    pub fn cancel(&self) {
        self.0.cancelled.set(true);
        self.0.state.borrow_mut().take();
    }
}

impl Record {
    /// So many bytes came from there.
    pub(super) fn count(&mut self, source: Source, bytes: u64) {
        match source {
            Source::Cache => self.bytes.cache += bytes,
            Source::Peer => self.bytes.peer += bytes,
            Source::Origin => self.bytes.origin += bytes,
        }
    }
}
