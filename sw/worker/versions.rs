//! Versions: fetching a newer root, getting what makes a version whole, and switching to it.

use std::cell::RefCell;
use std::rc::Rc;

use futures::channel::oneshot;
use js_sys::Promise;
use peerage::digest::Digest;
use peerage::manifest::{BadRoot, Entry, Index, Label, Root, Shard};
use peerage::site::{Hint, Pin, Site, Verdict, Word};
use peerage::sorted::{self, Map};
use peerage::verify::{SignedRoot, UnverifiedRoot, Verified};
use wasm_bindgen::prelude::*;

use super::parts::is_read_whole;
use super::{Inner, describe};
use crate::js::{self, Js};

/// One version of the site, as far as it has been read.
pub(super) struct Version {
    pub(super) root: Rc<Verified<SignedRoot>>,
    pub(super) top: Rc<Verified<Index>>,
    pub(super) pages: RefCell<Map<Digest, Rc<Verified<Index>>>>,
    pub(super) shards: RefCell<Map<Digest, Rc<Verified<Shard>>>>,
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

/// A version that is being taken up.
pub(super) struct Taking {
    root: Rc<Verified<SignedRoot>>,
    word: Word,
    /// Others who wait for its end.
    waiting: Vec<oneshot::Sender<()>>,
}

/// How long the origin may take over a root or a link, which are small: one that falls silent in the middle must not keep
/// later questions, and with them updates, waiting for as long as a browser has patience (minutes).
const PATIENCE_MS: u32 = 10_000;

/// How the worker asks the origin for a root or a link.
pub(super) fn question(cache: &str) -> JsValue {
    let init = js::Fields::new().text("cache", cache).text("credentials", "same-origin").done();
    js::set(init.unchecked_ref(), "signal", web_sys::AbortSignal::timeout_with_u32(PATIENCE_MS));
    init
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
                let number = self.questions.get() + 1;
                self.questions.set(number);
                if self.leisurely.get() == 0 {
                    self.hurried.set(false);
                }
                js::promise(async move {
                    let end = self.ask_for_root().await;
                    if self.questions.get() == number {
                        self.refreshing.take();
                        self.navigations.take();
                    }
                    if let (Err(e), Some(_)) = (&end, self.current()) {
                        self.note_error(&format!("the origin's version is not taken up: {}", describe(e)));
                    }
                    end.map(|refreshed| JsValue::from(refreshed as u32))
                })
            })
            .clone()
    }

    async fn ask_for_root(&'static self) -> Js<Refreshed> {
        let mut why = match self.fetch_root("no-cache").await? {
            Fetched::Root(root, verdict) => return self.follow(root, verdict).await,
            Fetched::Nothing => return self.unreachable(),
            Fetched::Gone => return self.ask_whether_gone().await,
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

    /// A root that isn't there ends the site's use of Peerage: one answer of some server in between is not enough for that.
    async fn ask_whether_gone(&'static self) -> Js<Refreshed> {
        match self.fetch_root("reload").await? {
            Fetched::Gone => self.retire().await,
            Fetched::Root(root, verdict) => self.follow(root, verdict).await,
            Fetched::Bad(_) | Fetched::Nothing => self.unreachable(),
        }
    }

    async fn fetch_root(&'static self, mode: &str) -> Js<Fetched> {
        let ask = || js::fetch(&self.url("peerage/root.jws"), &question(mode));
        let asked = self.asked.take().filter(|_| mode == "no-cache").unwrap_or_else(ask);
        let Ok(response) = js::wait(asked).await else { return Ok(Fetched::Nothing) };
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
                    self.take_up(root, Word::Origin).await?;
                }
                self.site.borrow_mut().confirm();
                Ok(Refreshed::Confirmed)
            }
            Verdict::Newer => {
                self.take_up(root, Word::Origin).await?;
                Ok(Refreshed::Confirmed)
            }
            Verdict::Retired => self.retire().await,
        }
    }

    fn unreachable(&self) -> Js<Refreshed> {
        if self.site.borrow().current.is_none() {
            return Err(js::error(&format!("{} cannot be fetched", self.url("peerage/root.jws"))));
        }
        if self.current().is_some_and(|version| version.root.root.expires <= js::unix_time()) {
            self.note_error("the origin cannot be reached, and the root has expired: what is stored is served");
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

    /// Gets what makes a version whole, then switches to it; `word`: whose word it is that it is the newest. Where that is
    /// under way it is waited for, and the origin's word counts there, too.
    async fn take_up(&'static self, root: Rc<Verified<SignedRoot>>, word: Word) -> Js<()> {
        let under_way =
            self.taking.borrow_mut().iter_mut().find(|taking| taking.root.text == root.text).map(|taking| {
                if word == Word::Origin {
                    taking.word = word;
                }
                let (waiting, end) = oneshot::channel();
                taking.waiting.push(waiting);
                end
            });
        if let Some(end) = under_way {
            if self.leisurely.get() > 0 {
                self.take_time();
            }
            // It comes when the senders are dropped.
            let _ = end.await;
            let site = self.site.borrow();
            let is_done = site.is_late(&root.root) || site.current == Some(root.root.version);
            return if is_done { Ok(()) } else { Err(js::error("it could not be fetched")) };
        }
        self.taking.borrow_mut().push(Taking { root: root.clone(), word, waiting: Vec::new() });
        let end = self.take_up_once(root.clone()).await;
        self.taking.borrow_mut().retain(|taking| taking.root.text != root.text);
        end
    }

    /// An update waits for neighbours: no navigation waits for it, and the origin may be asked whether there is a newer one.
    pub(super) fn take_time(&self) {
        self.refreshing.take();
        self.navigations.take();
    }

    /// Somebody waits for the end of an update.
    pub(super) async fn refresh_now(&'static self) -> Js<Refreshed> {
        let question = self.refreshing();
        self.hurried.set(true);
        Self::refreshed(question).await
    }

    /// The versions that are being taken up.
    pub(super) fn under_way(&self) -> Vec<u64> {
        self.taking.borrow().iter().map(|taking| taking.root.root.version).collect()
    }

    /// Whether the origin has not said yet that a version which is being taken up is the newest.
    fn is_hearsay(&self, root: &SignedRoot) -> bool {
        self.taking.borrow().iter().any(|taking| taking.root.text == root.text && taking.word == Word::Peer)
    }

    async fn take_up_once(&'static self, root: Rc<Verified<SignedRoot>>) -> Js<()> {
        if self.current().is_some() {
            self.site.borrow_mut().begin(root.root.version, js::unix_time());
            js::spawn(async move {
                self.write_memory().await;
            });
        }
        // Without it, parts are fetched.
        let _ = self.follow_deltas(&root.root).await;
        let version = self.open(root).await?;
        let shards = self.whole(&version).await?;
        if self.site.borrow().is_late(&version.root.root) {
            return Ok(());
        }
        self.relabel(&shards);
        let mut precache = Vec::new();
        for shard in &shards {
            precache.extend(shard.iter().filter(|entry| entry.precache).map(Rc::new));
        }
        let Root { version: number, .. } = version.root.root;
        let shell = super::ahead::prefetch(self, &version, precache).await?;
        let is_over =
            |site: &Site| site.is_late(&version.root.root) || self.is_hearsay(&version.root) && !site.suffices(true);
        if is_over(&self.site.borrow()) {
            return Ok(());
        }
        let had = self.current();
        self.versions.borrow_mut().insert(number, version.clone());
        self.switch(version.root.clone()).await;
        if self.site.borrow().current != Some(number) {
            return Ok(());
        }
        // This one has come to its end, and any older one.
        self.taking.borrow_mut().retain(|taking| {
            let root = &taking.root.root;
            root.version != number && !self.site.borrow().is_late(root)
        });
        self.store.borrow_mut().switch(&shell, &self.under_way());
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
        ids.retain(|id| self.meeting.borrow().iter().all(|meeting| meeting.client != *id));
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
        let offline_updates = self.current().is_some_and(|version| version.root.root.policy.offline_updates);
        if self.site.borrow().suffices(offline_updates) {
            self.take_up(root, Word::Peer).await?;
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
        let shards = self.shards_apart(had, version).await.unwrap_or_default();
        let (mut changed, mut kept) = (Vec::new(), Vec::new());
        for old in shards.iter().flat_map(|shard| shard.iter()) {
            let holds = |entry: &Entry| {
                let store = self.store.borrow();
                entry.pieces.iter().any(|piece| store.place(&piece.digest).is_some())
            };
            if !holds(&old) {
                continue;
            }
            match self.lookup(version, &old.path).await {
                Ok(Some(new)) if new.label != Label::Share => kept.extend(new.pieces.iter().map(|piece| piece.digest)),
                Ok(Some(new)) if new.integrity != old.integrity => changed.push(new),
                Ok(_) | Err(_) => {}
            }
        }
        // Of a large site, whose shards are not all read. Bytes that another file shares stay here, too, then.
        if !kept.is_empty() && !is_read_whole(&version.top) {
            self.store.borrow_mut().relabel(&[], &sorted::sort(kept));
            self.link.hold_all(self);
        }
        super::ahead::follow(self, version.root.root.version, changed).await;
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
}
