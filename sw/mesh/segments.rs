//! Pieces for others, read from the segments in Cache Storage and checked before they may leave.
//!
//! A segment is read whole, since its other pieces are likely wanted next, and the last few are kept in memory. Every
//! piece is hashed before it is first given out from a segment that was read.

use std::collections::VecDeque;

use js_sys::Uint8Array;
use peerage::digest::Digest;
use peerage::mesh::Input;
use peerage::port::Held;
use peerage::sorted::{Map, Set};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{CacheQueryOptions, Response};

use super::{scope_of_worker, with};
use crate::js;

/// Segments kept in memory, in bytes: eight of the largest.
const KEPT_BYTES: u32 = 32 * 1024 * 1024;

/// See the module.
pub(super) struct Segments {
    cache: String,
    /// Where segments are, up to the number.
    base: String,
    /// The last used at the end.
    kept: VecDeque<Segment>,
    /// Uploads that wait for a segment to be read.
    waiting: Map<u64, Vec<(u32, Held)>>,
    /// Checked pieces, by upload.
    pieces: Map<u32, Uint8Array>,
    /// Uploads that the mesh has not given up.
    open: Set<u32>,
}

struct Segment {
    number: u64,
    bytes: Uint8Array,
    /// The pieces in it that were found right, by their digests.
    checked: Set<Digest>,
}

impl Segments {
    pub(super) fn new(cache: String, base: String) -> Self {
        Self {
            cache,
            base,
            kept: VecDeque::new(),
            waiting: Map::default(),
            pieces: Map::default(),
            open: Set::default(),
        }
    }

    /// The bytes of an upload that was read and found right.
    pub(super) fn piece(&self, upload: u32) -> Option<&Uint8Array> {
        self.pieces.get(&upload)
    }

    /// Begins to read a piece. `Some`: it is there at once. Else [`Input::Loaded`] follows.
    pub(super) fn read(&mut self, upload: u32, held: Held) -> Option<bool> {
        self.open.insert(upload);
        if let Some(at) = self.kept.iter().position(|s| s.number == held.segment)
            && let Some(segment) = self.kept.remove(at)
        {
            let piece = part(&segment.bytes, &held);
            let checked = segment.checked.contains(&held.digest);
            self.kept.push_back(segment);
            let Some(piece) = piece else { return Some(false) };
            if checked {
                self.pieces.insert(upload, piece);
                return Some(true);
            }
            js::spawn(check(upload, held, piece));
            return None;
        }
        if let Some(waiting) = self.waiting.get_mut(&held.segment) {
            waiting.push((upload, held));
        } else {
            self.waiting.insert(held.segment, vec![(upload, held)]);
            let url = format!("{}{:016x}", self.base, held.segment);
            js::spawn(load(held.segment, url, self.cache.clone()));
        }
        None
    }

    pub(super) fn unload(&mut self, upload: u32) {
        self.open.remove(&upload);
        self.pieces.remove(&upload);
    }

    /// A segment was read, or is not there.
    fn loaded(&mut self, number: u64, bytes: Option<Uint8Array>) -> Vec<Input> {
        let waiting = self.waiting.remove(&number).unwrap_or_default();
        let mut failed = Vec::new();
        for (upload, held) in waiting {
            if !self.open.contains(&upload) {
                continue;
            }
            match bytes.as_ref().and_then(|b| part(b, &held)) {
                Some(piece) => js::spawn(check(upload, held, piece)),
                None => failed.push(Input::Loaded { upload, right: false }),
            }
        }
        if let Some(bytes) = bytes {
            self.kept.push_back(Segment { number, bytes, checked: Set::default() });
            while self.kept.len() > 1 && self.kept.iter().map(|s| s.bytes.length()).sum::<u32>() > KEPT_BYTES {
                self.kept.pop_front();
            }
        }
        failed
    }

    /// A piece was hashed.
    fn checked(&mut self, upload: u32, held: Held, piece: Uint8Array, right: bool) -> Option<Input> {
        if let Some(segment) = self.kept.iter_mut().find(|s| s.number == held.segment)
            && right
        {
            segment.checked.insert(held.digest);
        }
        if !right {
            // Should the number have been given to other bytes, they are read anew.
            self.kept.retain(|s| s.number != held.segment);
        }
        if !self.open.contains(&upload) {
            return None;
        }
        if right {
            self.pieces.insert(upload, piece);
        }
        Some(Input::Loaded { upload, right })
    }
}

/// The piece's place in its segment, if it fits.
fn part(segment: &Uint8Array, held: &Held) -> Option<Uint8Array> {
    let end = held.offset.checked_add(held.len).filter(|&end| held.len > 0 && end <= segment.length())?;
    Some(segment.subarray(held.offset, end))
}

async fn load(number: u64, url: String, cache: String) {
    let bytes = stored(&url, &cache).await.ok();
    with(|d| {
        for input in d.segments.loaded(number, bytes) {
            d.handle(input, None);
        }
    });
}

async fn stored(url: &str, cache: &str) -> Result<Uint8Array, JsValue> {
    let options = CacheQueryOptions::new();
    options.set_cache_name(cache);
    let found = JsFuture::from(scope_of_worker().caches()?.match_with_str_and_options(url, &options)).await?;
    let response: Response = found.dyn_into()?;
    let buffer = JsFuture::from(response.array_buffer()?).await?;
    Ok(Uint8Array::new(&buffer))
}

async fn check(upload: u32, held: Held, piece: Uint8Array) {
    let right = matches(&piece, &held.digest).await.unwrap_or(false);
    with(|d| {
        if let Some(input) = d.segments.checked(upload, held, piece, right) {
            d.handle(input, None);
        }
    });
}

async fn matches(piece: &Uint8Array, digest: &Digest) -> Result<bool, JsValue> {
    let subtle = scope_of_worker().crypto()?.subtle();
    let hashed = JsFuture::from(subtle.digest_with_str_and_buffer_source("SHA-256", piece)?).await?;
    Ok(Uint8Array::new(&hashed).to_vec() == digest.0)
}
