//! Cache Storage: segments, the manifest, the bundle, and what the worker remembers.
//!
//! Everything lies in one cache of the site's own, under URLs below `peerage/`: manifest and bundle files under their
//! own, the rest below `peerage/store/`, which the origin never answers. A full quota is an error of a write, never of a
//! read: what is there stays. What is written again and again has two entries ([`peerage::twice`]).

use std::cell::Cell;

use js_sys::{Array, Promise, Uint8Array};
use peerage::observed::Observed;
use peerage::site::Site;
use peerage::store::{Segment, Store, Unsaved};
use peerage::text::Base64;
use peerage::twice;
use peerage::verify::Verified;
use wasm_bindgen::prelude::*;

use crate::js::{self, Js};

/// What a worker remembers.
#[derive(Clone, Copy)]
pub(super) enum Memo {
    State,
    Table,
    Headers,
}

/// A segment's own line of the store's table, in base64.
const LINE: &str = "x-peerage-line";

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = Response, extends = web_sys::Response)]
    type AnyResponse;
    /// A response of any kind of body.
    #[wasm_bindgen(constructor, js_class = Response, catch)]
    fn new(body: &JsValue, init: &JsValue) -> Js<AnyResponse>;
}

fn new_response(body: &JsValue, init: &JsValue) -> Js<web_sys::Response> {
    Ok(AnyResponse::new(body, init)?.into())
}

/// The site's cache.
pub(super) struct Cache {
    name: String,
    store_url: String,
    cache: web_sys::Cache,
    /// The snapshot is older than the segments, and the cache says so.
    dirty: Cell<bool>,
    unsaved: Cell<Unsaved>,
    /// The number of the newest copy of each [`Memo`].
    written: [Cell<u64>; 3],
}

/// What a worker reads when it wakes.
pub(super) struct Memory {
    pub(super) site: Site,
    pub(super) store: Store,
    pub(super) observed: Observed,
    /// Segments were written after the table.
    pub(super) dirty: bool,
}

/// The cache of this name, and what was remembered: `read` is the cache, and the bodies of `dirty`, and of each [`Memo`]'s
/// two entries, `undefined` where there is none. Anything damaged is as good as nothing: it is rebuilt.
pub(super) fn load(name: String, scope: &str, read: &Array) -> (Cache, Memory) {
    let found = |at: u32| {
        let value = read.get(1 + at);
        (!value.is_undefined()).then(|| Uint8Array::new(&value).to_vec())
    };
    let written: [Cell<u64>; 3] = Default::default();
    let copies = |memo: Memo| {
        let at = 1 + 2 * memo as u32;
        let copies = twice::newest_first([found(at), found(at + 1)]);
        written[memo as usize].set(copies.first().map_or(0, |(number, _)| *number));
        copies
    };
    let site = copies(Memo::State).iter().find_map(|(_, bytes)| Site::read(bytes));
    let store = copies(Memo::Table).iter().find_map(|(_, bytes)| Store::from_snapshot(bytes));
    let observed = copies(Memo::Headers).iter().find_map(|(_, bytes)| Observed::read(bytes));
    let is_dirty = found(0).is_some();
    let memory = Memory {
        site: site.unwrap_or_default(),
        observed: observed.unwrap_or_default(),
        dirty: is_dirty || store.is_none(),
        store: store.unwrap_or_default(),
    };
    let cache = Cache {
        name,
        store_url: [scope, "peerage/store/"].concat(),
        cache: read.get(0).unchecked_into(),
        dirty: Cell::new(is_dirty),
        unsaved: Default::default(),
        written,
    };
    (cache, memory)
}

impl Cache {
    /// Writes a memo. One write at a time: two at once could take both copies with them.
    pub(super) async fn remember(&self, memo: Memo, bytes: &[u8]) -> Js<()> {
        let written = &self.written[memo as usize];
        let number = written.get() + 1;
        let name = ["state", "table", "headers"][memo as usize];
        self.put_stored(&twice::place(name, number), &twice::number(number, bytes)).await?;
        // One that failed is tried again in the same place: the other copy is the only one that is whole.
        written.set(number);
        Ok(())
    }

    /// Which segments a table has that is taken now.
    pub(super) fn mark(&self) -> u64 {
        self.unsaved.get().mark()
    }

    /// Writes what the next worker must know. The table was taken at `mark`.
    pub(super) async fn save(&self, site: &[u8], table: &[u8], mark: u64) -> Js<()> {
        self.remember(Memo::State, site).await?;
        self.remember(Memo::Table, table).await?;
        if self.unsaved.get().none_since(mark) && self.dirty.replace(false) {
            js::wait(self.cache.delete_with_str(&format!("{}dirty", self.store_url))).await?;
        }
        Ok(())
    }

    /// The bytes of a file of the manifest or the bundle.
    pub(super) async fn read(&self, url: &str) -> Option<Uint8Array> {
        taken(self.body(url)).await
    }

    /// Keeps the bytes of a file of the manifest.
    pub(super) async fn write(&self, url: &str, bytes: &Uint8Array) -> Js<()> {
        self.put(url, bytes, None).await
    }

    /// Deletes a file of the manifest.
    pub(super) async fn delete(&self, url: &str) {
        // What is not there need not be deleted.
        let _ = js::wait(self.cache.delete_with_str(url)).await;
    }

    /// URLs of everything in the cache.
    pub(super) async fn urls(&self) -> Vec<String> {
        let Ok(keys) = js::wait(self.cache.keys()).await else { return Vec::new() };
        Array::from(&keys).iter().map(|request| js::text(&request, "url")).collect()
    }

    /// Writes a segment, which then goes to the table at once.
    pub(super) async fn write_segment(&self, number: u64, bodies: &[Verified<Uint8Array>], line: &Segment) -> Js<()> {
        let count = |event: fn(&mut Unsaved)| {
            let mut unsaved = self.unsaved.get();
            event(&mut unsaved);
            self.unsaved.set(unsaved);
        };
        count(Unsaved::begin);
        let written = self.write_marked(number, bodies, line).await;
        count(Unsaved::end);
        written
    }

    async fn write_marked(&self, number: u64, bodies: &[Verified<Uint8Array>], line: &Segment) -> Js<()> {
        if !self.dirty.replace(true) {
            let marked = self.put_stored("dirty", b"1").await;
            if marked.is_err() {
                self.dirty.set(false);
            }
            marked?;
        }
        let parts = bodies.iter().map(|body| JsValue::from((**body).clone())).collect::<Array>();
        let blob = web_sys::Blob::new_with_u8_array_sequence(&parts)?;
        let line = Base64::Standard.encode(&line.describe());
        self.put(&self.segment_url(number), &blob.into(), Some(&line)).await
    }

    /// The bytes of a segment: an ArrayBuffer, or `undefined` where it is gone.
    pub(super) fn segment(&self, number: u64) -> Promise {
        self.body(&self.segment_url(number))
    }

    /// The body under a URL: an ArrayBuffer, or `undefined` where there is none. It is read whether it is waited for or
    /// not, so that several are read at once.
    fn body(&self, url: &str) -> Promise {
        let found = self.cache.match_with_str(url);
        js::promise(async move {
            match js::wait(found).await?.dyn_into::<web_sys::Response>() {
                Ok(response) => js::wait(response.array_buffer()?).await,
                Err(_) => Ok(JsValue::UNDEFINED),
            }
        })
    }

    /// Deletes a segment.
    pub(super) async fn delete_segment(&self, number: u64) {
        self.delete(&self.segment_url(number)).await;
    }

    /// The own lines of the segments that are not `known`, with the number of bytes that each has: a browser that is killed
    /// may leave less than it was given.
    pub(super) async fn lines(&self, known: impl Fn(u64) -> bool) -> Vec<(u64, Vec<u8>, u64)> {
        let mut lines = Vec::new();
        for url in self.urls().await {
            let number = url.strip_prefix(&self.store_url).filter(|hex| hex.len() == 16);
            let number = number.and_then(|hex| u64::from_str_radix(hex, 16).ok());
            let Some(number) = number.filter(|&number| !known(number)) else { continue };
            let Ok(found) = js::wait(self.cache.match_with_str(&url)).await else { continue };
            let Ok(response) = found.dyn_into::<web_sys::Response>() else { continue };
            let line = response.headers().get(LINE).ok().flatten().unwrap_or_default();
            if let Some(line) = Base64::Standard.decode(&line) {
                let bytes = taken(self.segment(number)).await.map_or(0, |bytes| bytes.length());
                lines.push((number, line, bytes.into()));
            }
        }
        lines
    }

    /// Deletes the whole cache.
    pub(super) async fn clear(&self) -> Js<()> {
        js::wait(caches()?.delete(&self.name)).await.map(drop)
    }

    fn segment_url(&self, number: u64) -> String {
        format!("{}{number:016x}", self.store_url)
    }

    fn stored_url(&self, name: &str) -> String {
        format!("{}{name}", self.store_url)
    }

    async fn put_stored(&self, name: &str, bytes: &[u8]) -> Js<()> {
        self.put(&self.stored_url(name), &Uint8Array::from(bytes).into(), None).await
    }

    async fn put(&self, url: &str, body: &JsValue, line: Option<&str>) -> Js<()> {
        let headers = web_sys::Headers::new()?;
        headers.set("content-type", "application/octet-stream")?;
        if let Some(line) = line {
            headers.set(LINE, line)?;
        }
        let response = new_response(body, &js::object(&[("headers", headers.into())]))?;
        js::wait(self.cache.put_with_str(url, &response)).await.map(drop)
    }
}

/// What [`Cache::body`] found.
async fn taken(body: Promise) -> Option<Uint8Array> {
    let buffer = js::wait(body).await.ok().filter(|buffer| !buffer.is_undefined())?;
    Some(Uint8Array::new(&buffer))
}

fn caches() -> Js<web_sys::CacheStorage> {
    Ok(js::get(&js_sys::global(), "caches").unchecked_into())
}
