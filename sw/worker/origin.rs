//! The origin: fetches a run of pieces, cuts the body where the manifest says, verifies each piece.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use js_sys::Uint8Array;
use peerage::digest::Digest;
use peerage::manifest::{Entry, Label, Piece};
use peerage::text;
use peerage::transfer::{Fault, Input, RunId, Via};
use peerage::verify;
use wasm_bindgen::prelude::*;

use super::Inner;
use crate::js::{self, Js};

/// Listens to the browser's Resource Timing of what this worker fetches: how far away the origin is, and how fast.
pub(super) fn measure(inner: &'static Inner) {
    /// What a page reads slowly says nothing about the origin; up to so many bytes are read ahead of it.
    const READ_AHEAD: f64 = (4 << 20) as f64;
    let seen = move |list: web_sys::PerformanceObserverEntryList| {
        for entry in list.get_entries_by_type("resource") {
            let number = |key| js::get(&entry, key).as_f64().unwrap_or_default();
            let (sent, encoded, bytes) = (number("transferSize"), number("encodedBodySize"), number("decodedBodySize"));
            // Anything less came out of the HTTP cache, was only confirmed, or is another host's.
            let is_whole = encoded > 0.0 && sent > encoded && bytes <= READ_AHEAD;
            if is_whole && js::text(&entry, "name").starts_with(&inner.scope) {
                let began = number("responseStart");
                let (delay, span) = (began - number("startTime"), number("responseEnd") - began);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most READ_AHEAD")]
                inner.paths.borrow_mut().origin_answered(delay, bytes as u64, span, js::now());
            }
        }
    };
    let seen = Closure::<dyn FnMut(web_sys::PerformanceObserverEntryList)>::new(seen).into_js_value();
    // A browser without Resource Timing in workers leaves the origin unmeasured.
    if let Ok(observer) = web_sys::PerformanceObserver::new(seen.unchecked_ref()) {
        let types = js_sys::Array::of1(&"resource".into());
        observer.observe(&web_sys::PerformanceObserverInit::new(&types.into()));
    }
}

/// What a run is of.
pub(super) struct Order {
    /// The file.
    pub(super) file: Digest,
    pub(super) run: RunId,
    pub(super) pieces: Range<usize>,
    pub(super) via: Via,
    pub(super) is_beside: bool,
    /// The URL that was asked for.
    pub(super) url: String,
    pub(super) entry: Rc<Entry>,
    pub(super) signal: web_sys::AbortSignal,
}

/// Carries a run out, and tells the transfer of each piece and of the end.
pub(super) async fn run(inner: &'static Inner, order: Order) {
    let end = fetch(inner, &order).await;
    inner.feed(order.file, Input::Ended(order.run, end));
}

async fn fetch(inner: &'static Inner, order: &Order) -> Result<(), Fault> {
    let offset: u64 = order.entry.pieces[..order.pieces.start].iter().map(|p| u64::from(p.len)).sum();
    let len: u64 = order.entry.pieces[order.pieces.clone()].iter().map(|p| u64::from(p.len)).sum();
    let whole = order.pieces == (0..order.entry.pieces.len());
    let response = ask(inner, order, (!whole).then_some((offset, len))).await.map_err(|_| Fault::Unreachable)?;
    let skip = match response.status() {
        206 if !whole && may_start_at(&response, offset) => 0,
        // It ends before, or has other parts: another file.
        206 | 416 if !whole => return Err(Fault::Mismatch),
        200 => offset,
        status => return Err(Fault::Status(status)),
    };
    if order.entry.label == Label::Cache && is_private(&response) {
        return Err(Fault::Private);
    }
    let body = response.body().ok_or(Fault::Mismatch)?;
    read_pieces(inner, order, &response, &mut Chunks::of(&body), skip).await
}

async fn read_pieces(
    inner: &'static Inner,
    order: &Order,
    response: &web_sys::Response,
    chunks: &mut Chunks,
    mut skip: u64,
) -> Result<(), Fault> {
    while skip > 0 {
        let step = u32::try_from(skip.min(1 << 20)).unwrap_or(u32::MAX);
        chunks.take(step).await?;
        skip -= u64::from(step);
    }
    for at in order.pieces.clone() {
        inner.until_wanted(order.file, order.run).await;
        let piece = order.entry.pieces[at];
        let body = chunks.take(piece.len).await?;
        let found = js::sha256(&body).await.map_err(|_| Fault::Unreachable)?;
        let body = verify::piece(body, piece.len as usize, found, &piece).map_err(|_| Fault::Mismatch)?;
        if at == order.pieces.start && order.via != Via::Old && !is_part(&order.entry) {
            inner.observe_headers(&order.entry.path, order.file, response);
        }
        if !is_part(&order.entry) {
            inner.site.borrow_mut().bytes.origin += u64::from(piece.len);
        }
        inner.feed(order.file, Input::Fetched(order.run, at, body));
    }
    Ok(())
}

async fn ask(inner: &Inner, order: &Order, range: Option<(u64, u64)>) -> Js<web_sys::Response> {
    let url = match order.via {
        Via::Plain | Via::Reload => order.url.clone(),
        Via::Old => inner.url(&format!("peerage/old/{}", order.file.hex())),
    };
    let is_file = !is_part(&order.entry);
    let cache = match order.via {
        Via::Reload => "reload",
        Via::Plain | Via::Old if order.is_beside => "no-store",
        Via::Plain | Via::Old => "default",
    };
    let init = js::object(&[
        // What may be shared is fetched as a stranger would get it.
        ("credentials", if is_file && order.entry.label == Label::Share { "omit" } else { "same-origin" }.into()),
        ("cache", cache.into()),
        ("signal", order.signal.clone().into()),
    ]);
    if let Some((offset, len)) = range {
        let range = format!("bytes={offset}-{}", offset + len - 1);
        js::set(&init, "headers", js::object(&[("range", range.into())]));
    }
    Ok(js::wait(js::fetch(&url, &init)).await?.unchecked_into())
}

/// Whether it is a part of the manifest, which lies where no listed file can.
fn is_part(entry: &Entry) -> bool {
    entry.path.starts_with("peerage/")
}

/// Another host need not let us read the header; then the bytes tell.
fn may_start_at(response: &web_sys::Response, offset: u64) -> bool {
    let Some(range) = response.headers().get("content-range").ok().flatten() else { return true };
    range.strip_prefix("bytes ").and_then(|r| r.split('-').next()).and_then(|r| r.parse().ok()) == Some(offset)
}

/// A document that the origin made for one visitor is never kept.
pub(super) fn is_private(response: &web_sys::Response) -> bool {
    let header = |name| response.headers().get(name).ok().flatten().unwrap_or_default().to_ascii_lowercase();
    let cache = header("cache-control");
    ["private", "no-store"].iter().any(|d| text::contains(&cache, d))
        || text::contains(&header("vary"), "cookie")
        || header("vary") == "*"
}

/// The origin's own file of now past the pieces that were `given`, where it begins with those, as the page asked for it.
/// `cancelled`: the page reads no more.
pub(super) async fn beyond(request: &web_sys::Request, given: &[Piece], cancelled: &Cell<bool>) -> Option<Chunks> {
    let init = js::object(&[("cache", "reload".into())]);
    let response: web_sys::Response = js::wait(js::fetch_like(request, &init)).await.ok()?.unchecked_into();
    let mut chunks = Chunks::of(&response.body()?);
    if response.status() != 200 {
        return None;
    }
    for piece in given {
        let found = js::sha256(&chunks.take(piece.len).await.ok()?).await.ok()?;
        if found != piece.digest || cancelled.get() {
            return None;
        }
    }
    Some(chunks)
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let cancelled = self.reader.cancel();
        js::spawn(async move {
            // A body that broke off is as good as cancelled.
            let _ = js::wait(cancelled).await;
        });
    }
}

/// A body's chunks, to be taken in pieces. Whether it is read to its end or not: when this goes nobody reads on.
pub(super) struct Chunks {
    reader: web_sys::ReadableStreamDefaultReader,
    held: Vec<Uint8Array>,
    bytes: u32,
}

impl Chunks {
    fn of(body: &web_sys::ReadableStream) -> Self {
        Self { reader: body.get_reader().unchecked_into(), held: Vec::new(), bytes: 0 }
    }

    /// The next bytes as they come; `None` at the end.
    pub(super) async fn next(&mut self) -> Js<Option<Uint8Array>> {
        if !self.held.is_empty() {
            let chunk = self.held.remove(0);
            self.bytes -= chunk.length();
            return Ok(Some(chunk));
        }
        let read = js::wait(self.reader.read()).await?;
        Ok(js::get(&read, "value").dyn_into().ok())
    }

    /// The next `len` bytes in a buffer of their own.
    async fn take(&mut self, len: u32) -> Result<Uint8Array, Fault> {
        while self.bytes < len {
            let read = js::wait(self.reader.read()).await.map_err(|_| Fault::Unreachable)?;
            if js::get(&read, "done").is_truthy() {
                // A clean end before the manifest's: another file.
                return Err(Fault::Mismatch);
            }
            let chunk: Uint8Array = js::get(&read, "value").unchecked_into();
            self.bytes = self.bytes.saturating_add(chunk.length());
            self.held.push(chunk);
        }
        let piece = Uint8Array::new_with_length(len);
        let (mut at, mut used) = (0, 0);
        for chunk in &mut self.held {
            let part = chunk.length().min(len - at);
            piece.set(&chunk.subarray(0, part), at);
            at += part;
            if part < chunk.length() {
                *chunk = chunk.subarray(part, chunk.length());
                break;
            }
            used += 1;
            if at == len {
                break;
            }
        }
        self.held.drain(..used);
        self.bytes -= len;
        Ok(piece)
    }
}
