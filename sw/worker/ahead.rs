//! What is fetched ahead of need: the files that make a version whole, and what a newer version has changed of what is here.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use peerage::digest::Digest;
use peerage::manifest::{Entry, Piece};
use peerage::room::Plan;
use peerage::sorted;
use peerage::transfer::AHEAD_MS;
use wasm_bindgen::prelude::*;

use super::Inner;
use super::files::Reading;
use super::versions::Version;
use crate::js::{self, Js};

/// Files fetched at once ahead of need.
const PREFETCHES: usize = 6;

/// Gets the files that make a version whole into the store, some at a time; what is there already costs nothing. Where the
/// browser has no room for them now it is an error, unless nothing older is here that is whole: a navigation tries again
/// when there may be room ([`peerage::room`]), and fetches only what is still missing. Files that could never fit are not fetched at all. Returns the digests of
/// what is to be kept, sorted.
pub(super) async fn prefetch(inner: &'static Inner, version: &Version, entries: Vec<Entry>) -> Js<Vec<Digest>> {
    let number = version.root.root.version;
    let pieces: Vec<Piece> = entries.iter().flat_map(|entry| entry.pieces.iter().copied()).collect();
    let need = || inner.store.borrow().need(&pieces);
    let shell = sorted::sort(pieces.iter().map(|piece| piece.digest).collect());
    inner.store.borrow_mut().prepare(number, shell.clone(), &inner.under_way());
    if shell.is_empty() {
        return Ok(shell);
    }
    let (room, refused) = (inner.measure_room().await, inner.site.borrow().refused);
    match need().plan(room, refused, js::unix_time()) {
        Plan::TooLarge => {
            inner.store.borrow_mut().prepare(number, Vec::new(), &inner.under_way());
            let (bytes, budget) = (need().whole, room.budget);
            inner.note_error(&format!(
                "the files to fetch ahead have {bytes} bytes, and the browser gives {budget}: they are not fetched ahead"
            ));
            return Ok(Vec::new());
        }
        Plan::Fetch => {
            fetch_all(inner, entries, number).await?;
            // What came is kept, and counts as used from now on.
            let refused = need().tried(inner.measure_room().await, refused, js::unix_time());
            inner.site.borrow_mut().refused = refused;
            if refused.is_none() {
                return Ok(shell);
            }
        }
        Plan::Wait => {}
    }
    if inner.current().is_some_and(|current| current.root.root.version != number) {
        // A worker that wakes would go on with it by itself.
        inner.site.borrow_mut().updating = false;
        inner.save_soon();
        return Err(js::error(&format!(
            "the browser has no room for the files that make version {number} whole: the older one stays"
        )));
    }
    Ok(shell)
}

/// Fetches the files that are not here, some at a time, until one fails or there is no room for it.
async fn fetch_all(inner: &'static Inner, entries: Vec<Entry>, version: u64) -> Js<()> {
    let mut missing = entries;
    missing.retain(|entry| inner.store.borrow().need(&entry.pieces).missing > 0);
    // Taken off the end.
    missing.reverse();
    let queue = Rc::new(RefCell::new(missing));
    let stored = Rc::new(RefCell::new(Vec::new()));
    for fetches in [(); PREFETCHES].map(|()| js::promise(fetch_queue(inner, queue.clone(), stored.clone(), version))) {
        js::wait(fetches).await?;
    }
    // Small files are written together, so none is waited for before the next is asked for.
    for done in stored.take() {
        js::wait(done).await?;
    }
    Ok(())
}

/// Fetches whole files until the queue is empty, and leaves the promises that they are stored; one that fails, or for which
/// there is no room, empties it.
async fn fetch_queue(
    inner: &'static Inner,
    queue: Rc<RefCell<Vec<Entry>>>,
    stored: Rc<RefCell<Vec<Promise>>>,
    version: u64,
) -> Js<JsValue> {
    let unkept = inner.unkept.get();
    loop {
        if inner.unkept.get() != unkept {
            queue.borrow_mut().clear();
        }
        let Some(entry) = queue.borrow_mut().pop() else { return Ok(JsValue::UNDEFINED) };
        let entry = Rc::new(entry);
        let mut reading = Reading::later(inner, &entry);
        loop {
            match reading.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    queue.borrow_mut().clear();
                    let path = &entry.path;
                    return Err(js::error(&format!("{path} of version {version} could not be fetched ahead")));
                }
            }
        }
        stored.borrow_mut().push(reading.done.clone());
    }
}

/// Takes what a version has changed from neighbours, as they come to hold it.
pub(super) async fn follow(inner: &'static Inner, version: u64, mut entries: Vec<Rc<Entry>>) {
    for wait in AHEAD_MS {
        {
            let store = inner.store.borrow();
            entries.retain(|entry| entry.pieces.iter().any(|piece| store.place(&piece.digest).is_none()));
        }
        if entries.is_empty() || inner.site.borrow().current != Some(version) {
            return;
        }
        js::sleep(wait).await;
        let queue = Rc::new(RefCell::new(entries.clone()));
        for taking in [(); PREFETCHES].map(|()| js::promise(take_queue(inner, queue.clone()))) {
            // It never rejects.
            let _ = js::wait(taking).await;
        }
    }
}

/// Takes files from neighbours until the queue is empty.
async fn take_queue(inner: &'static Inner, queue: Rc<RefCell<Vec<Rc<Entry>>>>) -> Js<JsValue> {
    loop {
        let next = queue.borrow_mut().pop();
        let Some(entry) = next.filter(|_| inner.link.neighbours() > 0) else { return Ok(JsValue::UNDEFINED) };
        let mut reading = Reading::ahead(inner, &entry);
        while let Ok(Some(_)) = reading.next().await {}
        let done = reading.done.clone();
        drop(reading);
        // Small files are written together: a moment later.
        let _ = js::wait(done).await;
    }
}
