//! What is fetched ahead of need: the files that make a version whole, and what a newer version has changed of what is here.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use peerage::digest::Digest;
use peerage::manifest::{Entry, Label, Piece, Root};
use peerage::room::Plan;
use peerage::sorted;
use peerage::update::{FOLLOW_MS, LOOK_MS, Update};
use wasm_bindgen::prelude::*;

use super::Inner;
use super::files::Reading;
use super::versions::Version;
use crate::js::{self, Js};

/// For how long neighbours are taken from before what they hold is looked at anew, in milliseconds.
const MOST_MS: u64 = 120_000;
/// Files fetched at once ahead of need.
const PREFETCHES: usize = 6;

/// Gets the files that make a version whole into the store, some at a time; what is there already costs nothing. Where the
/// browser has no room for them now it is an error, unless nothing older is here that is whole: a navigation tries again
/// when there may be room ([`peerage::room`]), and fetches only what is still missing. Files that could never fit are not fetched at all. Returns the digests of
/// what is to be kept, sorted.
pub(super) async fn prefetch(inner: &'static Inner, version: &Version, entries: Vec<Rc<Entry>>) -> Js<Vec<Digest>> {
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
            let passing = inner.site.borrow().passing.is_some();
            let is_full = await_neighbours(inner, &version.root.root, &entries).await;
            let (is_late, passes) = {
                let site = inner.site.borrow();
                (site.is_late(&version.root.root), site.passing.is_some())
            };
            if is_late {
                return Ok(shell);
            }
            if passes && !passing {
                return Err(js::error("the origin says otherwise by now"));
            }
            // What could not be kept of neighbours' could not be of the origin's.
            if !is_full {
                fetch_all(inner, &entries, number, false).await?;
            }
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
        inner.site.borrow_mut().give_up(number);
        inner.save_soon();
        return Err(js::error(&format!(
            "the browser has no room for the files that make version {number} whole: the older one stays"
        )));
    }
    Ok(shell)
}

/// Takes from neighbours what they hold of the files that make a version whole, while an older one is current and nobody is
/// in a hurry, until the rest is the origin's to give ([`peerage::update`]), or there is no room for it: then it is true.
async fn await_neighbours(inner: &'static Inner, root: &Root, entries: &[Rc<Entry>]) -> bool {
    if inner.current().is_none() {
        return false;
    }
    let version = root.version;
    let since = inner.site.borrow_mut().begin(version, js::unix_time());
    let update = lot(js::unix_time().saturating_sub(since) * 1000);
    let mut entries = entries.to_vec();
    entries.retain(|entry| entry.label == Label::Share);
    let mut is_full = false;
    inner.leisurely.set(inner.leisurely.get() + 1);
    inner.take_time();
    loop {
        retain_missing(inner, &mut entries);
        let is_over = {
            let site = inner.site.borrow();
            // What there is no room for would be taken again with each look.
            site.is_late(root) || site.passing.is_some() || inner.hurried.get() || is_full
        };
        let is_due = update.is_due(inner.link.neighbours(), js::now());
        if entries.is_empty() || !inner.may_mesh() || is_over || is_due {
            break;
        }
        // One that is superseded leaves the word to the newer one.
        if !inner.under_way().iter().any(|&other| other > version) {
            let unkept = inner.unkept.get();
            let _ = fetch_all(inner, &entries, version, true).await;
            is_full = inner.unkept.get() != unkept;
        }
        js::sleep(LOOK_MS).await;
    }
    inner.leisurely.set(inner.leisurely.get() - 1);
    is_full
}

/// This visitor's part in taking up a version for which it has waited so many milliseconds.
fn lot(waited: u64) -> Update {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "any 64 bits will do")]
    let chance = (js_sys::Math::random() * 2f64.powi(64)) as u64;
    Update::new(waited, chance, js::now())
}

fn retain_missing(inner: &Inner, entries: &mut Vec<Rc<Entry>>) {
    let store = inner.store.borrow();
    entries.retain(|entry| store.need(&entry.pieces).missing > 0);
}

/// Fetches the files that are not here, some at a time, until one fails or there is no room for it; `ahead`: from neighbours
/// alone, what they hold.
async fn fetch_all(inner: &'static Inner, entries: &[Rc<Entry>], version: u64, ahead: bool) -> Js<()> {
    let mut missing = entries.to_vec();
    retain_missing(inner, &mut missing);
    // Taken off the end.
    missing.reverse();
    let queue = Rc::new(RefCell::new(missing));
    let stored = Rc::new(RefCell::new(Vec::new()));
    for fetches in
        [(); PREFETCHES].map(|()| js::promise(fetch_queue(inner, queue.clone(), stored.clone(), version, ahead)))
    {
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
    queue: Rc<RefCell<Vec<Rc<Entry>>>>,
    stored: Rc<RefCell<Vec<Promise>>>,
    version: u64,
    ahead: bool,
) -> Js<JsValue> {
    let unkept = inner.unkept.get();
    let began = js::now();
    let is_hurried = || inner.hurried.get() && inner.leisurely.get() > 0;
    loop {
        if inner.unkept.get() != unkept || ahead && inner.link.neighbours() == 0 {
            queue.borrow_mut().clear();
        }
        let Some(entry) = queue.borrow_mut().pop() else { return Ok(JsValue::UNDEFINED) };
        let mut reading = if ahead { Reading::ahead(inner, &entry) } else { Reading::later(inner, &entry) };
        loop {
            match reading.next().await {
                // A slow neighbour doesn't keep whoever waits for the end of it all, nor all for ever.
                Ok(Some(_)) if ahead && (is_hurried() || js::now().since(began) > MOST_MS) => {
                    queue.borrow_mut().clear();
                    break;
                }
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
    let until = js::now() + FOLLOW_MS;
    let mut is_full = false;
    loop {
        retain_missing(inner, &mut entries);
        let is_over = js::now() > until || inner.site.borrow().current != Some(version) || is_full;
        if entries.is_empty() || is_over {
            return;
        }
        // What nobody holds is fetched when it is needed.
        let unkept = inner.unkept.get();
        let _ = fetch_all(inner, &entries, version, true).await;
        is_full = inner.unkept.get() != unkept;
        js::sleep(LOOK_MS).await;
    }
}
