//! Versions: fetching a newer root, getting what makes a version whole, and looking entries up.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Promise, Uint8Array};
use peerage::digest::Digest;
use peerage::manifest::{BadRoot, Child, Entry, Index, Label, Piece, Root, Shard};
use peerage::site::{Hint, Pin, Verdict, Word};
use peerage::sorted::{self, Map};
use peerage::transfer::Fault;
use peerage::verify::{self, SignedRoot, UnverifiedRoot, Verified};
use wasm_bindgen::prelude::*;

use super::{Inner, describe};
use crate::js::{self, Js};

/// A manifest of up to this many shards is fetched whole before its version is switched to; of a larger one, what the
/// pages need is fetched when they need it.
const WHOLE_SHARDS: usize = 64;

/// No more bytes than about this are made by deltas at a time.
const MADE: u64 = 4 << 20;

/// Where parts of the manifest lie.
const PARTS: [&str; 3] = ["index", "shard", "delta"];

/// One version of the site, as far as it has been read.
pub(super) struct Version {
    pub(super) root: Rc<Verified<SignedRoot>>,
    top: Rc<Verified<Index>>,
    pages: RefCell<Map<Digest, Rc<Verified<Index>>>>,
    shards: RefCell<Map<Digest, Rc<Verified<Shard>>>>,
}

/// What asking the origin for its root led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// The origin's root is the current version now.
    Confirmed,
    /// The origin did not answer: what is current stays.
    Unreachable,
    /// The origin's root can't be accepted: everything passes through.
    Refused,
    /// The site is retired.
    Retired,
}

/// What the origin answered when it was asked for its root.
enum Fetched {
    Root(Rc<Verified<SignedRoot>>, Verdict),
    /// A root that cannot be accepted.
    Bad(BadRoot),
    /// No answer, or one that says nothing of the root.
    Nothing,
    /// There is none any more.
    Gone,
}

pub(super) fn same_origin(cache: &str) -> JsValue {
    js::Fields::new().text("cache", cache).text("credentials", "same-origin").done()
}

/// Site-relative URL of a part of the manifest.
fn part_path(kind: &str, digest: &Digest) -> String {
    ["peerage/", kind, "/", &digest.hex()].concat()
}

impl Inner {
    /// The version that navigations open, if it has been read in this life.
    pub(super) fn current(&self) -> Option<Rc<Version>> {
        let version = self.site.borrow().current?;
        self.versions.borrow().get(&version).cloned()
    }

    /// Reads the current version. One that can't be read is forgotten: requests go to the network until a newer comes.
    pub(super) async fn load_current(&'static self) {
        let Some(number) = self.site.borrow().current else { return };
        if self.version(number).await.is_none() {
            let mut site = self.site.borrow_mut();
            site.roots.remove(&number);
            site.current = None;
        }
    }

    /// A version by number, read and checked again where this life hasn't yet.
    pub(super) async fn version(&'static self, number: u64) -> Option<Rc<Version>> {
        if let Some(version) = self.versions.borrow().get(&number) {
            return Some(version.clone());
        }
        let text = self.site.borrow().roots.get(&number).cloned()?;
        let opened = match self.check_root(text.as_bytes()).await {
            Ok(Some(root)) => self.open(root).await,
            Ok(None) => Err(js::error("its key is not here")),
            Err(e) => Err(js::error(&e.to_string())),
        };
        match opened {
            Ok(version) => {
                self.versions.borrow_mut().insert(number, version.clone());
                Some(version)
            }
            Err(e) => {
                self.note_error(&format!("version {number} cannot be read: {}", describe(&e)));
                None
            }
        }
    }

    /// Asks the origin for its root and takes up what is newer. One such question at a time, however many wait for it.
    pub(super) async fn refresh(&'static self) -> Js<Refreshed> {
        Self::refreshed(self.refreshing()).await
    }

    /// What a question that [`Inner::refreshing`] gave led to.
    pub(super) async fn refreshed(question: Promise) -> Js<Refreshed> {
        let code = js::wait(question).await?.as_f64();
        Ok(match code {
            Some(0.0) => Refreshed::Confirmed,
            Some(1.0) => Refreshed::Unreachable,
            Some(2.0) => Refreshed::Refused,
            _ => Refreshed::Retired,
        })
    }

    /// The question under way, or a new one. Resolves to a [`Refreshed`] by number.
    pub(super) fn refreshing(&'static self) -> Promise {
        let mut refreshing = self.refreshing.borrow_mut();
        refreshing
            .get_or_insert_with(|| {
                js::promise(async move {
                    let end = self.ask_for_root().await;
                    self.refreshing.borrow_mut().take();
                    end.map(|refreshed| JsValue::from(refreshed as u32))
                })
            })
            .clone()
    }

    async fn ask_for_root(&'static self) -> Js<Refreshed> {
        let mut why = match self.fetch_root("no-cache").await? {
            Fetched::Root(root, verdict) => return self.follow(root, verdict).await,
            Fetched::Nothing => return self.unreachable(),
            Fetched::Gone => return self.retire().await,
            Fetched::Bad(why) => why,
        };
        // A cache between may hold a bad answer under the good one's ETag.
        match self.fetch_root("reload").await? {
            Fetched::Root(root, verdict) => return self.follow(root, verdict).await,
            Fetched::Bad(again) => why = again,
            Fetched::Nothing | Fetched::Gone => {}
        }
        if self.site.borrow().current.is_none() {
            return Err(js::error(&format!("{}: {why}", self.url("peerage/root.jws"))));
        }
        self.note_error(&format!("the origin's root is not accepted, requests pass through: {why}"));
        self.site.borrow_mut().pass(&why);
        self.cool();
        self.save_soon();
        Ok(Refreshed::Refused)
    }

    async fn fetch_root(&'static self, mode: &str) -> Js<Fetched> {
        let Ok(response) = js::wait(js::fetch(&self.url("peerage/root.jws"), &same_origin(mode))).await else {
            return Ok(Fetched::Nothing);
        };
        let response: web_sys::Response = response.unchecked_into();
        match response.status() {
            200 => self.heed_phrase(&response),
            // The owner took the site out of our hands.
            404 | 410 if self.site.borrow().current.is_some() => return Ok(Fetched::Gone),
            _ => return Ok(Fetched::Nothing),
        }
        let Ok(bytes) = super::keys::body(response, peerage::manifest::MAX_ROOT_BYTES).await else {
            return Ok(Fetched::Nothing);
        };
        Ok(match self.check_root(&bytes).await {
            Ok(Some(root)) => match self.site.borrow().judge(&root.root, Word::Origin, js::unix_time()) {
                Ok(verdict) => Fetched::Root(root, verdict),
                Err(why) => Fetched::Bad(why),
            },
            Ok(None) => Fetched::Nothing,
            Err(why) => Fetched::Bad(why),
        })
    }

    /// Other answers are repeated with a reason phrase if this one has it.
    fn heed_phrase(&'static self, response: &web_sys::Response) {
        let is_wordless = response.status_text().is_empty();
        let was_wordless = std::mem::replace(&mut self.site.borrow_mut().is_wordless, is_wordless);
        if was_wordless != is_wordless {
            self.cool();
            self.save_soon();
        }
    }

    async fn follow(&'static self, root: Rc<Verified<SignedRoot>>, verdict: Verdict) -> Js<Refreshed> {
        match verdict {
            Verdict::Current => {
                let known = self.site.borrow().roots.get(&root.root.version) == Some(&root.text);
                if !known {
                    // The same version signed anew: another policy, or another expiry.
                    self.take_up(root).await?;
                }
                self.site.borrow_mut().confirm();
                Ok(Refreshed::Confirmed)
            }
            Verdict::Newer => {
                self.take_up(root).await?;
                Ok(Refreshed::Confirmed)
            }
            Verdict::Retired => self.retire().await,
        }
    }

    fn unreachable(&self) -> Js<Refreshed> {
        if self.site.borrow().current.is_none() {
            return Err(js::error(&format!("{} cannot be fetched", self.url("peerage/root.jws"))));
        }
        Ok(Refreshed::Unreachable)
    }

    /// Checks a root with the key that it names; `None` where the way to that key can't be had now.
    async fn check_root(&self, text: &[u8]) -> Result<Option<Rc<Verified<SignedRoot>>>, BadRoot> {
        let root = UnverifiedRoot::parse(text)?;
        let Some(key) = self.key(root.claims().key).await? else { return Ok(None) };
        let matches = super::keys::signed(&key, root.signed()).await;
        root.accept(matches, &self.constants.site).map(|root| Some(Rc::new(root)))
    }

    /// Gets what makes a version whole, then switches to it.
    async fn take_up(&'static self, root: Rc<Verified<SignedRoot>>) -> Js<()> {
        if self.current().is_some() {
            self.site.borrow_mut().updating = true;
            js::spawn(self.write_memory());
        }
        // Without it, parts are fetched.
        let _ = self.follow_deltas(&root.root).await;
        let version = self.open(root).await?;
        let shards = self.whole(&version).await?;
        self.relabel(&shards);
        let mut precache = Vec::new();
        for shard in &shards {
            precache.extend(shard.iter().filter(|entry| entry.precache));
        }
        let Root { version: number, .. } = version.root.root;
        super::files::prefetch(self, &version, precache).await?;
        let had = self.current();
        self.versions.borrow_mut().insert(number, version.clone());
        self.switch(version.root.clone()).await;
        self.cool();
        self.save_soon();
        self.link.tell_root(self);
        if let Some(had) = had.filter(|had| had.root.root.version != number) {
            super::report::broadcast(self, "update", js::Fields::new().number("version", number).done());
            *self.following.borrow_mut() = Some(js::promise(async move {
                self.follow_ahead(&had, &version).await;
                self.tidy(false).await;
                Ok(JsValue::UNDEFINED)
            }));
        }
        Ok(())
    }

    /// Makes a version the current one, first in what is remembered, then here: no document is opened with a version that
    /// the next worker doesn't know to be current.
    async fn switch(&'static self, root: Rc<Verified<SignedRoot>>) {
        self.pin_strangers().await;
        self.write(Some(root)).await;
    }

    /// Pins the clients that nobody remembers to the current version, but for those about which the origin is being asked.
    pub(super) async fn pin_strangers(&self) {
        if self.constants.is_guest {
            return;
        }
        let clients = super::report::clients(self).await.unwrap_or_default();
        let mut ids: Vec<_> = clients.iter().map(|client| js::text(client, "id")).collect();
        ids.retain(|id| !self.meeting.borrow().contains(id));
        self.site.borrow_mut().pin_strangers(&ids, js::unix_time());
    }

    /// A neighbour says that there is a newer version. The origin is asked for a word on it, unless its owner has said
    /// that the signature alone is enough.
    pub(super) async fn heard_root(&'static self, text: &str, peer: u32) -> Js<()> {
        let hint = match UnverifiedRoot::parse(text.as_bytes()) {
            Ok(root) => self.site.borrow_mut().hear(root.claims(), js::unix_time()),
            Err(_) => Hint::Check,
        };
        match hint {
            Hint::Check => {}
            Hint::Ask => return self.refresh().await.map(drop),
            Hint::Ignore => return Ok(()),
        }
        let root = match self.check_root(text.as_bytes()).await {
            Ok(Some(root)) => root,
            Ok(None) => return Ok(()),
            Err(why) => {
                self.site.borrow_mut().rejected += 1;
                self.note_error(&format!("peer {peer} sent a root that is not accepted, and is dropped: {why}"));
                super::link::greeted(self).await;
                self.link.bad(Digest::of(text.as_bytes()), peer);
                return Ok(());
            }
        };
        let verdict = self.site.borrow().judge(&root.root, Word::Peer, js::unix_time());
        if verdict != Ok(Verdict::Newer) {
            return Ok(());
        }
        if self.current().is_some_and(|version| version.root.root.policy.offline_updates) {
            self.take_up(root).await?;
        } else {
            self.refresh().await?;
        }
        // The browser lets the worker live for as long as this takes.
        let following = self.following.borrow_mut().take();
        if let Some(following) = following {
            js::wait(following).await?;
        }
        Ok(())
    }

    /// Gets from neighbours what a new version has changed in the files that this visitor holds.
    async fn follow_ahead(&'static self, had: &Version, version: &Rc<Version>) {
        let shards = self.whole(had).await.unwrap_or_default();
        let loaded = had.shards.borrow().values().cloned().collect::<Vec<_>>();
        let mut changed = Vec::new();
        for old in shards.iter().chain(&loaded).flat_map(|shard| shard.iter()) {
            let holds = |entry: &Entry| {
                let store = self.store.borrow();
                entry.pieces.iter().any(|piece| store.place(&piece.digest).is_some())
            };
            if !holds(&old) || changed.iter().any(|entry: &Rc<Entry>| entry.path == old.path) {
                continue;
            }
            if let Ok(Some(new)) = self.lookup(version, &old.path).await
                && new.integrity != old.integrity
                && new.label == Label::Share
            {
                changed.push(new);
            }
        }
        super::files::follow(self, version.root.root.version, changed).await;
    }

    /// What the owner no longer lets peers have goes to none from now on.
    fn relabel(&self, shards: &[Rc<Verified<Shard>>]) {
        let (mut shared, mut kept) = (Vec::new(), Vec::new());
        for entry in shards.iter().flat_map(|shard| shard.iter()) {
            let list = if entry.label == Label::Share { &mut shared } else { &mut kept };
            list.extend(entry.pieces.iter().map(|piece| piece.digest));
        }
        self.store.borrow_mut().relabel(&sorted::sort(shared), &sorted::sort(kept));
        self.link.hold_all(self);
    }

    async fn open(&'static self, root: Rc<Verified<SignedRoot>>) -> Js<Rc<Version>> {
        let top = self.page(root.root.index, root.root.index_bytes).await?;
        Ok(Rc::new(Version { root, top, pages: RefCell::default(), shards: RefCell::default() }))
    }

    /// Makes what a version has anew in its manifest out of the parts that are here, where deltas lead from the current
    /// version to it. What they don't is fetched when it is needed.
    async fn follow_deltas(&'static self, root: &Root) -> Js<()> {
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
                let Some(source) = self.cache.read(&self.url(&part_path(kind, &patch.source))).await else { continue };
                let Some(target) = patch.apply(&source.to_vec()) else { break };
                let body = Uint8Array::from(&target[..]);
                let found = js::sha256(&body).await?;
                if let Some(body) = made.add(patch.target, body, found) {
                    // What can't be kept is fetched when it is needed.
                    let _ = self.cache.write(&self.url(&part_path(kind, &found)), &body).await;
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
    async fn whole(&'static self, version: &Version) -> Js<Vec<Rc<Verified<Shard>>>> {
        let mut pages = vec![version.top.clone()];
        let mut shards = Vec::new();
        while let Some(page) = pages.pop() {
            let all = page.level() == 0 && version.top.level() == 0 && page.children().count() <= WHOLE_SHARDS;
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

    async fn page(&'static self, want: Digest, len: u32) -> Js<Rc<Verified<Index>>> {
        let mut page = None;
        let mut check = |bytes, found| {
            page = Some(Rc::new(verify::index(bytes, found, want)?));
            Ok(())
        };
        self.part("index", want, len, &mut check).await?;
        page.ok_or(JsValue::UNDEFINED)
    }

    async fn shard(&'static self, version: &Version, child: &Child) -> Js<Rc<Verified<Shard>>> {
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
        let path = part_path(kind, &want);
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

    /// Deletes what was stored, and unregisters this worker where it is no other's.
    async fn retire(&self) -> Js<Refreshed> {
        /// A page that registers the worker as it loads takes the unregistration back: it is said again after that.
        const AGAIN_MS: [u64; 3] = [0, 2_000, 8_000];
        if self.site.borrow().current.is_none() {
            return Err(js::error("the site is retired"));
        }
        self.site.borrow_mut().passing = Some("the site is retired".to_owned());
        self.cache.clear().await?;
        // Not before: deleting the shim's table could make the cache anew.
        self.cool();
        if self.constants.is_guest {
            return Ok(Refreshed::Retired);
        }
        let registration = self.global.registration();
        js::spawn(async move {
            for ms in AGAIN_MS {
                js::sleep(ms).await;
                if let Ok(unregistered) = registration.unregister() {
                    // Not while the page is still loading: the next navigation tries again.
                    let _ = js::wait(unregistered).await;
                }
            }
        });
        Ok(Refreshed::Retired)
    }

    /// Pins a document or worker, and remembers it.
    pub(super) fn pin(&'static self, client: &str, pin: Pin) {
        self.site.borrow_mut().pin(client, pin, js::unix_time());
        self.save_soon();
    }

    /// Forgets clients that are gone and versions that nobody uses, with their part of the cache. When a worker activates,
    /// whatever else no version names goes, too; before that, and beside an update, it may be what that is about to use.
    pub(super) async fn tidy(&'static self, activates: bool) {
        let Ok(alive) = super::report::clients(self).await else { return };
        let alive: Vec<String> = alive.iter().map(|client| js::text(client, "id")).collect();
        let registration = self.global.registration();
        let other = ["installing", "waiting"].iter().any(|state| js::get(&registration, state).is_truthy());
        let updates = || self.refreshing.borrow().is_some() || self.site.borrow().updating;
        if !activates && (other || updates()) {
            return;
        }
        let gone = self.site.borrow_mut().tidy(&alive, js::unix_time());
        for version in &gone {
            self.versions.borrow_mut().remove(version);
        }
        self.save_soon();
        if gone.is_empty() && !activates {
            return;
        }
        let urls = self.cache.urls().await;
        let Ok(keep) = self.parts_in_use().await else { return };
        for url in urls {
            if updates() {
                return;
            }
            let relative = url.strip_prefix(&self.scope).unwrap_or_default();
            let is_part = PARTS.iter().any(|kind| relative.starts_with(&["peerage/", kind, "/"].concat()));
            let is_old_wasm = activates && relative.ends_with(".wasm") && relative != self.constants.wasm;
            if (is_part && !keep.iter().any(|path| path == relative)) || is_old_wasm {
                self.cache.delete(&url).await;
            }
        }
    }

    /// Manifest files of all versions that are remembered.
    async fn parts_in_use(&'static self) -> Js<Vec<String>> {
        let numbers: Vec<_> = self.site.borrow().roots.keys().copied().collect();
        let mut keep = Vec::new();
        for number in numbers {
            let version = self.version(number).await.ok_or_else(|| js::error("a version in use cannot be read"))?;
            keep.push(part_path("index", &version.root.root.index));
            let mut pages = vec![version.top.clone()];
            while let Some(page) = pages.pop() {
                for child in page.children() {
                    if page.level() == 0 {
                        keep.push(part_path("shard", &child.digest));
                        continue;
                    }
                    let path = part_path("index", &child.digest);
                    // What lies below a page that is not here is not here either.
                    if self.cache.read(&self.url(&path)).await.is_some() {
                        pages.push(self.child_page(&version, &child).await?);
                    }
                    keep.push(path);
                }
            }
        }
        Ok(keep)
    }
}
