//! Parts of the manifest: where they lie, how they are got, and when they go.

use std::rc::Rc;

use js_sys::Uint8Array;
use peerage::digest::Digest;
use peerage::manifest::{
    Child, Entry, Index, Label, MAX_DELTA_BYTES, MAX_PAGE_BYTES, MAX_SHARD_BYTES, Piece, Root, Shard,
};
use peerage::parts;
use peerage::sorted;
use peerage::transfer::Fault;
use peerage::verify::{self, Verified};
use wasm_bindgen::prelude::*;

use super::versions::Version;
use super::{Inner, describe};
use crate::js::{self, Js};

/// A manifest of up to this many shards is fetched whole before its version is switched to; of a larger one, what the
/// pages need is fetched when they need it.
const WHOLE_SHARDS: usize = 64;

/// No more bytes than about this are made by deltas at a time.
const MADE: u64 = 4 << 20;

/// What pages lead to, sorted.
fn digests(pages: &[Rc<Verified<Index>>]) -> Vec<Digest> {
    sorted::sort(pages.iter().flat_map(|page| page.children()).map(|child| child.digest).collect())
}

impl Inner {
    /// Makes what a version has anew in its manifest out of the parts that are here, where deltas lead from the current
    /// version to it. What they don't is fetched when it is needed.
    pub(super) async fn follow_deltas(&'static self, root: &Root) -> Js<()> {
        let Some(had) = self.current().map(|version| version.root.root.index).filter(|&had| had != root.index) else {
            return Ok(());
        };
        let mut patches = Vec::new();
        let (mut next, mut left) = (root.delta, usize::MAX);
        while let Some(name) = next {
            let mut delta = None;
            let mut check = |bytes: Vec<u8>, found| {
                delta = Some(verify::delta(&bytes, found, name.digest)?.into_inner());
                Ok(())
            };
            self.part("delta", name.digest, name.bytes, &mut check).await?;
            let delta = delta.ok_or(JsValue::UNDEFINED)?;
            let Some(far) = delta.leads_from(had).filter(|far| *far < left) else { return Ok(()) };
            left = far;
            next = delta.before.filter(|_| far > 0);
            let mut newer = std::mem::replace(&mut patches, delta.patches);
            patches.append(&mut newer);
        }
        let mut made = super::files::Pack::default();
        for patch in &patches {
            if made.bytes() > MADE {
                break;
            }
            for kind in ["index", "shard"] {
                let Some(source) = self.cache.read(&self.url(&parts::path(kind, &patch.source))).await else {
                    continue;
                };
                let Some(target) = patch.apply(&source.to_vec()) else { break };
                let body = Uint8Array::from(&target[..]);
                let found = js::sha256(&body).await?;
                if let Some(body) = made.add(patch.target, body, found) {
                    // What can't be kept is fetched when it is needed.
                    let _ = self.cache.write(&self.url(&parts::path(kind, &found)), &body).await;
                }
                break;
            }
        }
        if !made.is_empty() {
            self.write_pack(true, made).await;
        }
        Ok(())
    }

    /// The shards of a version: all of a small one, of a large one those that are precached.
    pub(super) async fn whole(&'static self, version: &Version) -> Js<Vec<Rc<Verified<Shard>>>> {
        let mut pages = vec![version.top.clone()];
        let mut shards = Vec::new();
        while let Some(page) = pages.pop() {
            let all = is_read_whole(&version.top);
            for child in page.children().filter(|child| all || child.precache) {
                if page.level() == 0 {
                    shards.push(self.shard(version, &child).await?);
                } else {
                    pages.push(self.child_page(version, &child).await?);
                }
            }
        }
        Ok(shards)
    }

    /// The shards of a version that another has not, as far as they are here: those of what this visitor opened, in
    /// whichever life of the worker.
    pub(super) async fn shards_apart(
        &'static self,
        version: &Version,
        other: &Version,
    ) -> Js<Vec<Rc<Verified<Shard>>>> {
        let (mut pages, mut others) = (vec![version.top.clone()], vec![other.top.clone()]);
        loop {
            let (own, known) = (digests(&pages), digests(&others));
            if pages.iter().any(|page| page.level() > 0) {
                pages = self.pages_apart(version, &pages, &known).await?;
                others = self.pages_apart(other, &others, &own).await?;
                continue;
            }
            let mut shards = Vec::new();
            for child in pages.iter().flat_map(|page| page.children()) {
                if known.binary_search(&child.digest).is_err() && self.is_here("shard", &child).await {
                    shards.push(self.shard(version, &child).await?);
                }
            }
            return Ok(shards);
        }
    }

    /// The pages below these that are here, without those in `known`.
    async fn pages_apart(
        &'static self,
        version: &Version,
        pages: &[Rc<Verified<Index>>],
        known: &[Digest],
    ) -> Js<Vec<Rc<Verified<Index>>>> {
        let mut below = Vec::new();
        for child in pages.iter().filter(|page| page.level() > 0).flat_map(|page| page.children()) {
            if known.binary_search(&child.digest).is_err() && self.is_here("index", &child).await {
                below.push(self.child_page(version, &child).await?);
            }
        }
        Ok(below)
    }

    async fn is_here(&self, kind: &str, child: &Child) -> bool {
        self.cache.read(&self.url(&parts::path(kind, &child.digest))).await.is_some()
    }

    /// The entry of a path in a version.
    pub(super) async fn lookup(&'static self, version: &Version, path: &str) -> Js<Option<Rc<Entry>>> {
        let mut page = version.top.clone();
        loop {
            let Some(child) = page.find(path) else { return Ok(None) };
            if page.level() == 0 {
                return Ok(self.shard(version, &child).await?.find(path).map(Rc::new));
            }
            page = self.child_page(version, &child).await?;
        }
    }

    async fn child_page(&'static self, version: &Version, child: &Child) -> Js<Rc<Verified<Index>>> {
        if let Some(page) = version.pages.borrow().get(&child.digest) {
            return Ok(page.clone());
        }
        let page = self.page(child.digest, child.bytes).await?;
        version.pages.borrow_mut().insert(child.digest, page.clone());
        Ok(page)
    }

    pub(super) async fn page(&'static self, want: Digest, len: u32) -> Js<Rc<Verified<Index>>> {
        let mut page = None;
        let mut check = |bytes, found| {
            page = Some(Rc::new(verify::index(bytes, found, want)?));
            Ok(())
        };
        self.part("index", want, len, &mut check).await?;
        page.ok_or(JsValue::UNDEFINED)
    }

    pub(super) async fn shard(&'static self, version: &Version, child: &Child) -> Js<Rc<Verified<Shard>>> {
        if let Some(shard) = version.shards.borrow().get(&child.digest) {
            return Ok(shard.clone());
        }
        let mut shard = None;
        let mut check = |bytes, found| {
            shard = Some(Rc::new(verify::shard(bytes, found, child)?));
            Ok(())
        };
        self.part("shard", child.digest, child.bytes, &mut check).await?;
        let shard = shard.ok_or(JsValue::UNDEFINED)?;
        version.shards.borrow_mut().insert(child.digest, shard.clone());
        Ok(shard)
    }

    /// A part of the manifest by its address: from the cache, else as a file is: from peers or the origin. `check` takes
    /// it up. It is kept twice, under its own name for this visitor, who needs it offline, and in a segment for peers.
    async fn part(
        &'static self,
        kind: &str,
        want: Digest,
        len: u32,
        check: &mut dyn FnMut(Vec<u8>, Digest) -> Result<(), verify::BadPart>,
    ) -> Js<()> {
        let most = match kind {
            "index" => MAX_PAGE_BYTES,
            "delta" => MAX_DELTA_BYTES,
            _ => MAX_SHARD_BYTES,
        };
        if len as usize > most {
            return Err(js::error(&format!("a part of the manifest of {len} bytes is too large")));
        }
        let path = parts::path(kind, &want);
        let url = self.url(&path);
        if let Some(bytes) = self.cache.read(&url).await
            && check(bytes.to_vec(), js::sha256(&bytes).await?).is_ok()
        {
            return Ok(());
        }
        let entry = Rc::new(Entry {
            path,
            size: len.into(),
            integrity: want,
            media_type: String::new(),
            label: Label::Share,
            precache: false,
            headers: Vec::new(),
            pieces: vec![Piece { digest: want, len }],
        });
        let mut reading = super::files::Reading::open(self, &entry, url.clone(), 0..1, true);
        {
            let mut parts = self.parts.borrow_mut();
            if parts.len() >= WHOLE_SHARDS {
                drop(parts.remove(0));
            }
            parts.push(reading.done.clone());
        }
        let bytes = match reading.next().await {
            Ok(Some((_, _, body))) => body,
            Ok(None) | Err(Fault::Mismatch | Fault::Private) => {
                return Err(js::error(&format!("{url} is not what the manifest says")));
            }
            Err(Fault::Unreachable) => return Err(js::error(&format!("{url} cannot be fetched"))),
            Err(Fault::Status(status)) => return Err(js::error(&format!("{url}: the origin answers {status}"))),
        };
        if let Err(why) = check(bytes.to_vec(), want) {
            return Err(js::error(&format!("{url}: {why}")));
        }
        if let Err(e) = self.cache.write(&url, &bytes).await {
            self.note_error(&format!("{url} could not be kept: {}", describe(&e)));
        }
        Ok(())
    }

    /// Forgets clients that are gone and versions that nobody uses, with their part of the cache. When a worker activates,
    /// whatever else no version names goes, too; before that, and beside an update, it may be what that is about to use.
    pub(super) async fn tidy(&'static self, activates: bool) {
        let Ok(alive) = super::report::clients(self).await else { return };
        let alive: Vec<String> = alive.iter().map(|client| js::text(client, "id")).collect();
        let registration = self.global.registration();
        let other = ["installing", "waiting"].iter().any(|state| js::get(&registration, state).is_truthy());
        let updates =
            || self.refreshing.borrow().is_some() || self.site.borrow().is_updating() || !self.under_way().is_empty();
        if !activates && (other || updates()) {
            self.tidy_later();
            return;
        }
        let going = self.site.borrow_mut().unused(&alive, js::unix_time());
        self.save_soon();
        if going.is_empty() && !activates {
            return;
        }
        let urls = self.cache.urls().await;
        let (mut keep, mut were, mut are) = (Vec::new(), Vec::new(), Vec::new());
        let numbers: Vec<_> = self.site.borrow().roots.keys().copied().collect();
        for number in numbers {
            // One that goes and can't be read any more, here or at the origin, goes nevertheless.
            let goes = going.contains(&number);
            let listed = match self.version(number).await {
                Some(version) if goes => self.walk(&version, &mut Vec::new(), &mut were).await,
                Some(version) => self.walk(&version, &mut keep, &mut are).await,
                None => Err(JsValue::UNDEFINED),
            };
            if listed.is_err() && !goes {
                return;
            }
        }
        // What only versions that go let peers have is given to nobody from now on.
        self.store.borrow_mut().withhold(&were, &sorted::sort(are));
        self.link.hold_all(self);
        // That is found out by the version and its manifest alone: neither goes before it is written down.
        if !self.write_memory().await {
            return;
        }
        // One of them may have been opened or taken up anew meanwhile.
        let unused = self.site.borrow_mut().unused(&alive, js::unix_time());
        let going: Vec<u64> = going.into_iter().filter(|version| unused.contains(version)).collect();
        self.site.borrow_mut().forget(&going);
        for version in &going {
            self.versions.borrow_mut().remove(version);
        }
        self.save_soon();
        for url in urls {
            if updates() {
                return;
            }
            let relative = url.strip_prefix(&self.scope).unwrap_or_default();
            if parts::is_useless(relative, &keep, activates.then_some(&self.constants.wasm)) {
                self.cache.delete(&url).await;
            }
        }
    }

    /// Tidies when an update may be done with.
    fn tidy_later(&'static self) {
        if !self.tidies_later.replace(true) {
            js::spawn(async move {
                js::sleep(super::TIDY_MS).await;
                self.tidies_later.set(false);
                self.tidy(false).await;
            });
        }
    }

    /// The manifest's files of a version, and the pieces that it lets peers have, as far as it is here. Of a large site the
    /// shards of what the visitor opened are, and so of what it could give.
    async fn walk(&'static self, version: &Version, files: &mut Vec<String>, shared: &mut Vec<Digest>) -> Js<()> {
        files.push(parts::path("index", &version.root.root.index));
        let mut pages = vec![version.top.clone()];
        while let Some(page) = pages.pop() {
            let kind = if page.level() == 0 { "shard" } else { "index" };
            for child in page.children() {
                files.push(parts::path(kind, &child.digest));
                // What lies below a page that is not here is not here either.
                if !self.is_here(kind, &child).await {
                    continue;
                }
                if page.level() > 0 {
                    pages.push(self.child_page(version, &child).await?);
                    continue;
                }
                for entry in self.shard(version, &child).await?.iter().filter(|entry| entry.label == Label::Share) {
                    shared.extend(entry.pieces.iter().map(|piece| piece.digest));
                }
            }
        }
        Ok(())
    }
}

/// Whether all shards of a version with this index are read when it is taken up.
pub(super) fn is_read_whole(top: &Index) -> bool {
    top.level() == 0 && top.children().count() <= WHOLE_SHARDS
}
