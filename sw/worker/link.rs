//! The link to the mesh worker: a MessagePort that a page forwards, made again whenever either side restarts.

use std::cell::{Cell, RefCell};

use js_sys::Uint8Array;
use peerage::digest::Digest;
use peerage::manifest::Piece;
use peerage::port::{Held, Limits, MAX_HOLDINGS, Priority, Stats, ToMesh, ToWorker};
use peerage::transfer::Input;
use peerage::verify;
use peerage::wants::Wants;
use wasm_bindgen::prelude::*;

use super::Inner;
use crate::js;

/// What a mesh that lives answers a want within. One that doesn't is treated as gone until it speaks again.
const ALIVE_MS: u64 = 1000;
/// How long the first requests of a worker's life wait for a mesh that may be there.
const GREET_MS: u64 = 120;

/// The worker's end.
#[derive(Default)]
pub(super) struct Link {
    port: RefCell<Option<Port>>,
    neighbours: Cell<u16>,
    /// The mesh left a want unanswered, and has said nothing since.
    silent: Cell<bool>,
    /// By the file's integrity.
    wants: RefCell<Wants<Digest>>,
    /// Settles when the mesh has greeted, or has had its time.
    greeting: RefCell<Option<js_sys::Promise>>,
    heard: Cell<bool>,
    stats: RefCell<Option<Stats>>,
}

struct Port {
    port: web_sys::MessagePort,
    _on_message: Closure<dyn FnMut(web_sys::MessageEvent)>,
}

impl Link {
    /// Connected neighbours of the mesh, as far as it is known to live.
    pub(super) fn neighbours(&self) -> u16 {
        if self.silent.get() { 0 } else { self.neighbours.get() }
    }

    /// The mesh's latest figures.
    pub(super) fn stats(&self) -> Option<Stats> {
        self.stats.borrow().clone()
    }

    fn send(&self, message: &ToMesh) {
        if let Some(port) = &*self.port.borrow() {
            let h = Uint8Array::from(&message.encode()[..]);
            // A port whose other end is gone swallows what is sent.
            let _ = port.port.post_message(&js::object(&[("h", h.into())]));
        }
    }

    /// Pieces that were stored and may be shared.
    pub(super) fn hold(&self, inner: &Inner, pieces: &[Piece]) {
        let store = inner.store.borrow();
        let held = pieces.iter().filter_map(|piece| {
            let place = store.place(&piece.digest)?;
            Some(Held { digest: piece.digest, segment: place.segment, offset: place.offset, len: place.len })
        });
        self.send(&ToMesh::Holdings { full: false, pieces: held.collect() });
    }

    /// Everything that may be shared.
    pub(super) fn hold_all(&self, inner: &Inner) {
        let held: Vec<_> = inner
            .store
            .borrow()
            .shared()
            .map(|(digest, place)| Held { digest, segment: place.segment, offset: place.offset, len: place.len })
            .collect();
        let mut full = true;
        for part in held.chunks(MAX_HOLDINGS) {
            self.send(&ToMesh::Holdings { full, pieces: part.to_vec() });
            full = false;
        }
        if full {
            self.send(&ToMesh::Holdings { full, pieces: Vec::new() });
        }
    }

    /// Pieces that are no longer stored.
    pub(super) fn drop_pieces(&self, pieces: Vec<Digest>) {
        if !pieces.is_empty() {
            self.send(&ToMesh::Dropped(pieces));
        }
    }

    /// What the owner and the visitor allow.
    pub(super) fn limit(&self, inner: &Inner) {
        let Some(version) = inner.current() else { return };
        let policy = &version.root.root.policy;
        self.send(&ToMesh::Limits(Limits {
            upload_rate: policy.upload_rate,
            upload_budget: policy.upload_budget,
            paused: inner.site.borrow().paused || !inner.may_mesh(),
        }));
    }

    /// The version that is current, for neighbours that lack it.
    pub(super) fn tell_root(&'static self, inner: &'static Inner) {
        let parts = inner.parts.take();
        js::spawn(async move {
            // They ask for its manifest next, which must be stored before they can have it.
            for stored in parts {
                let _ = js::wait(stored).await;
            }
            if let Some(version) = inner.current()
                && inner.site.borrow().passing.is_none()
            {
                self.send(&ToMesh::Root(version.root.text.clone()));
            }
        });
    }

    /// This peer sent what no honest one does.
    pub(super) fn bad(&self, digest: Digest, peer: u32) {
        self.send(&ToMesh::Bad { digest, peer });
    }

    /// The mesh is gone, or the visitor revoked consent.
    pub(super) fn close(&self, inner: &'static Inner) {
        if let Some(port) = self.port.borrow_mut().take() {
            port.port.close();
        }
        self.neighbours.set(0);
        self.silent.set(false);
        self.wants.borrow_mut().clear();
        inner.feed_all(|| Input::Mesh(false));
    }
}

/// Asks the pages for a port, and waits a moment for the mesh behind it: an awakened worker has lost the one it had.
pub(super) async fn call(inner: &'static Inner) {
    let greeting = {
        let mut greeting = inner.link.greeting.borrow_mut();
        greeting
            .get_or_insert_with(|| {
                js::promise(async move {
                    if super::report::broadcast_now(inner, &js::object(&[("peerage", "port?".into())])).await == 0 {
                        return Ok(JsValue::UNDEFINED);
                    }
                    let until = js::now() + GREET_MS;
                    while !inner.link.heard.get() && js::now() < until {
                        js::sleep(5).await;
                    }
                    Ok(JsValue::UNDEFINED)
                })
            })
            .clone()
    };
    let _ = js::wait(greeting).await;
}

/// Waits for the mesh's greeting, where one may come.
pub(super) async fn greeted(inner: &'static Inner) {
    if inner.may_mesh() && !inner.link.heard.get() {
        call(inner).await;
    }
}

/// Takes up a port that a page forwarded.
pub(super) fn connect(inner: &'static Inner, port: web_sys::MessagePort) {
    inner.link.close(inner);
    let on_message = Closure::new(move |event: web_sys::MessageEvent| {
        heard(inner, &event.data());
    });
    port.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    inner.link.port.replace(Some(Port { port, _on_message: on_message }));
}

/// Asks the mesh for pieces of a file, in the order they are needed.
pub(super) fn want(inner: &'static Inner, file: Digest, priority: Priority, wanted: &[(usize, Piece, u32)]) {
    let said = inner.link.wants.borrow_mut().add(file, priority, wanted);
    for (id, want) in said {
        inner.link.send(&want);
        js::spawn(async move {
            js::sleep(ALIVE_MS).await;
            let silent = inner.link.wants.borrow().is_unanswered(id);
            if silent && !inner.link.silent.replace(true) {
                // What it sends all the same is still taken.
                inner.feed_all(|| Input::Mesh(false));
            }
        });
    }
}

/// Takes back what was asked for.
pub(super) fn cancel(inner: &'static Inner, file: Digest, places: &[usize]) {
    let said = inner.link.wants.borrow_mut().cancel(file, places);
    for cancel in said {
        inner.link.send(&cancel);
    }
}

fn heard(inner: &'static Inner, data: &JsValue) {
    let header: Uint8Array = js::get(data, "h").unchecked_into();
    let message = match ToWorker::decode(&header.to_vec()) {
        Ok(message) => message,
        Err(e) => return inner.note_error(&format!("the mesh said something that cannot be read: {e}")),
    };
    if inner.link.silent.replace(false) && inner.link.neighbours() > 0 {
        inner.feed_all(|| Input::Mesh(true));
    }
    match message {
        ToWorker::Ready { neighbours, fresh } => {
            if fresh {
                inner.link.limit(inner);
                inner.link.hold_all(inner);
                inner.link.tell_root(inner);
            }
            inner.link.heard.set(true);
            let had = inner.link.neighbours.replace(neighbours);
            if (had > 0) != (neighbours > 0) {
                inner.feed_all(|| Input::Mesh(neighbours > 0));
            }
        }
        ToWorker::Available { id, etas } => {
            let expected = inner.link.wants.borrow_mut().available(id, &etas);
            if let Some((file, expected)) = expected {
                inner.feed(file, Input::Expect(expected));
            }
        }
        ToWorker::Piece { id, digest, peer } => {
            inner.mesh_progressed();
            let body = Uint8Array::new(&js::get(data, "b"));
            js::spawn(arrived(inner, id, digest, peer, body));
        }
        ToWorker::Gone { id, digest, .. } => {
            let taken = inner.link.wants.borrow_mut().take(id, &digest);
            if let Some((file, _, places)) = taken {
                for at in places {
                    inner.feed(file, Input::Gone(at));
                }
            }
        }
        ToWorker::Stats(stats) => super::report::mesh_stats(inner, stats, &inner.link.stats),
        ToWorker::Arriving => inner.mesh_progressed(),
        ToWorker::Evicted(digest) => {
            let place = inner.store.borrow().place(&digest);
            if let Some(place) = place {
                js::spawn(async move { inner.lose_segment(place.segment).await });
            }
        }
    }
}

/// The one place where a peer's bytes come in: they are a piece once they match.
async fn arrived(inner: &'static Inner, id: u32, digest: Digest, peer: u32, body: Uint8Array) {
    let len = body.length();
    let found = js::sha256(&body).await;
    let taken = inner.link.wants.borrow_mut().take(id, &digest);
    let Some((file, piece, places)) = taken else {
        inner.site.borrow_mut().bytes.wasted += u64::from(len);
        return;
    };
    let checked = found.ok().and_then(|found| verify::piece(body, len as usize, found, &piece).ok());
    let Some(body) = checked else {
        inner.site.borrow_mut().rejected += 1;
        inner.note_error(&format!("peer {peer} sent a piece that does not match the manifest, and is dropped"));
        inner.link.bad(digest, peer);
        for at in places {
            inner.feed(file, Input::Gone(at));
        }
        return;
    };
    inner.site.borrow_mut().bytes.peer += u64::from(len);
    for at in places {
        inner.feed(file, Input::Piece(at, body.clone()));
    }
}
