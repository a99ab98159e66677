//! The service worker: a thin driver of the core.
//!
//! ```text
//!   fetch ─ guards (sw.js) ─ answered lately? (hot.js) ── yes ─► again, without wasm
//!                                 └ route::decide ─┬─ pass ───────────────────────────────► network
//!                                                  └─ versions: which version, which entry
//!                                                       └─ files: one transfer a file ─┬─ cache   Cache Storage
//!                                                                                      ├─ link    the mesh worker
//!                                                                                      └─ origin  plain GET or Range
//! ```
//!
//! It keeps nothing that it can't rebuild: browsers stop it after half a minute of rest.

mod ahead;
mod body;
mod cache;
mod files;
mod keys;
mod link;
mod origin;
mod parts;
mod report;
mod respond;
mod versions;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures::channel::oneshot;
use js_sys::{Array, Function, Promise};
use peerage::digest::Digest;
use peerage::keys::Chain;
use peerage::observed::Observed;
use peerage::route::Elsewhere;
use peerage::site::{Answer, Site};
use peerage::sorted::Map;
use peerage::store::Store;
use peerage::text;
use peerage::verify::{SignedRoot, Verified};
use wasm_bindgen::prelude::*;

use crate::js::{self, Js};

/// What `peerage publish` writes into the worker script: the site id, and the site-relative URLs of the bundle's files.
struct Constants {
    site: String,
    wasm: String,
    page: String,
    mesh: String,
    inspector: String,
    /// The worker is the site's own, and imports the script.
    is_guest: bool,
    /// Hosts from which listed files come, too.
    elsewhere: Vec<Elsewhere>,
    /// The origin answers for `about.html` at `about`.
    clean_urls: bool,
}

impl Constants {
    fn read(constants: &JsValue) -> Self {
        let file = |name| js::text(&js::get(constants, name), "url");
        let scope = js::get(constants, "scope");
        Self {
            site: js::text(constants, "site"),
            wasm: file("wasm"),
            page: file("page"),
            mesh: file("mesh"),
            inspector: file("inspector"),
            is_guest: js::get(constants, "guest").is_truthy(),
            elsewhere: Array::from(&js::get(&scope, "cross_origin"))
                .iter()
                .map(|pair| Elsewhere { prefix: js::text(&pair, "0"), folder: js::text(&pair, "1") })
                .collect(),
            clean_urls: js::get(&scope, "clean_urls").is_truthy(),
        }
    }
}

/// One worker's life: made once in a wasm instance, and never freed before it.
struct Inner {
    constants: Constants,
    /// Directory URL of the worker script, with a slash at the end.
    scope: String,
    /// Its path.
    scope_path: String,
    global: web_sys::ServiceWorkerGlobalScope,
    /// Whether a body that is streamed by a worker which the browser stops ends in an error. Not in Firefox.
    streams_break_loudly: bool,
    cache: cache::Cache,
    /// Makes void what the shim answers by itself.
    cool: Function,
    /// The site's keys that have been checked in this life.
    keys: RefCell<Chain<JsValue>>,
    site: RefCell<Site>,
    store: RefCell<Store>,
    versions: RefCell<Map<u64, Rc<versions::Version>>>,
    files: RefCell<Map<Digest, files::File>>,
    paths: RefCell<peerage::transfer::Paths>,
    /// Settle when parts of the manifest that were fetched are stored.
    parts: RefCell<Vec<Promise>>,
    taking: RefCell<Vec<versions::Taking>>,
    /// What fetches the changes of a new version ahead of need.
    following: RefCell<Option<Promise>>,
    /// What waits to be written: pieces that stay here, and pieces that are shared.
    packs: RefCell<[files::Pack; 2]>,
    link: link::Link,
    report: RefCell<report::Report>,
    observed: RefCell<Observed>,
    /// Headers were observed since they were last written.
    observed_more: Cell<bool>,
    refreshing: RefCell<Option<Promise>>,
    /// Which question that is.
    questions: Cell<u32>,
    /// Somebody waits for the end of an update: it is the origin's at once.
    hurried: Cell<bool>,
    /// What is useless will be looked for again.
    tidies_later: Cell<bool>,
    /// Updates that leave neighbours time, for which no navigation waits.
    leisurely: Cell<u32>,
    /// Navigations that wait for an update.
    navigations: RefCell<Vec<oneshot::Sender<()>>>,
    /// The answer to a question for the origin's root that was asked before the wasm was there.
    asked: Cell<Option<Promise>>,
    /// Clients about which the origin is being asked: which version they see is not known yet.
    meeting: RefCell<Vec<respond::Meeting>>,
    /// How many there were.
    meetings: Cell<u32>,
    /// Files that the origin had otherwise than it signed when they were on their way to a page already: they are the
    /// network's for as long as this worker lives.
    unfit: RefCell<Vec<Digest>>,
    /// Goes on with the update that an earlier life broke off.
    resuming: RefCell<Option<Promise>>,
    /// What is remembered is being written.
    writing: RefCell<Option<Promise>>,
    saving: Cell<bool>,
    /// Segments read lately.
    open_segments: RefCell<VecDeque<(u64, Promise)>>,
    /// Most bytes to keep.
    budget: Cell<u64>,
    /// How often something could not be kept.
    unkept: Cell<u32>,
    readers: Cell<u32>,
}

/// The worker as `sw.js` sees it.
#[wasm_bindgen]
pub struct Worker(&'static Inner);

/// Wakes a worker with what it remembers, and checks the chain from the constant key to the root. `memory`: the site's cache
/// and what lies there of [`cache::Memory`]; `root`: the answer to a question for the origin's root, where one was asked.
#[wasm_bindgen]
pub async fn start_worker(
    constants: JsValue,
    scope: String,
    cache: String,
    memory: js_sys::Array,
    root: Option<Promise>,
    on_trap: Function,
    cool: Function,
) -> Js<Worker> {
    js::report_traps(on_trap);
    let global: web_sys::ServiceWorkerGlobalScope = js_sys::global().unchecked_into();
    let key = keys::import(&js::get(&constants, "key"));
    let (cache, memory) = cache::load(cache, &scope, &memory);
    let key = js::wait(key).await?;
    let scope_path = js::text(&web_sys::Url::new(&scope)?.into(), "pathname");
    let constants = Constants::read(&constants);
    let inner: &'static Inner = Box::leak(Box::new(Inner {
        scope,
        scope_path,
        streams_break_loudly: !global.navigator().user_agent().is_ok_and(|name| text::contains(&name, "Gecko/")),
        global,
        keys: RefCell::new(Chain::new(constants.site.clone(), key)),
        constants,
        site: RefCell::new(memory.site),
        store: RefCell::new(memory.store),
        cache,
        cool,
        versions: RefCell::default(),
        files: RefCell::default(),
        paths: RefCell::default(),
        following: RefCell::default(),
        parts: RefCell::default(),
        packs: RefCell::default(),
        link: link::Link::default(),
        report: RefCell::default(),
        observed: RefCell::new(memory.observed),
        observed_more: Cell::new(false),
        refreshing: RefCell::default(),
        questions: Cell::new(0),
        hurried: Cell::new(false),
        leisurely: Cell::new(0),
        navigations: RefCell::default(),
        tidies_later: Cell::new(false),
        asked: Cell::new(root),
        meeting: RefCell::default(),
        meetings: Cell::new(0),
        unfit: RefCell::default(),
        resuming: RefCell::default(),
        writing: RefCell::default(),
        saving: Cell::new(false),
        open_segments: RefCell::default(),
        budget: Cell::new(peerage::room::DEFAULT_BUDGET),
        taking: RefCell::default(),
        unkept: Cell::new(0),
        readers: Cell::new(0),
    }));
    if memory.dirty {
        recover(inner).await;
    }
    inner.load_current().await;
    js::spawn(async move {
        inner.measure_room().await;
        js::sleep(TIDY_MS).await;
        let pins = inner.site.borrow().pins();
        if pins > TIDY_PINS || inner.site.borrow().roots.len() > 1 {
            inner.tidy(false).await;
        }
    });
    inner.paths.borrow_mut().remember(inner.site.borrow().origin, js::now());
    origin::measure(inner);
    if inner.may_mesh() {
        js::spawn(link::call(inner));
    }
    if inner.site.borrow().is_updating() && inner.current().is_some() {
        // What fails is tried again by the next start or navigation.
        *inner.resuming.borrow_mut() = Some(respond::settled(inner.refreshing()));
    }
    Ok(Worker(inner))
}

/// A worker that wakes looks for clients that are gone after so many milliseconds, when its pages have what they need,
const TIDY_MS: u64 = 10_000;
/// if it knows of more than this, or of an older version.
const TIDY_PINS: usize = 16;

/// Takes up the segments that a stopped worker had written after its last snapshot. Before anything is asked for or
/// written: what is here is not fetched again, and no segment gets a number that another has.
async fn recover(inner: &'static Inner) {
    for (number, line, bytes) in inner.cache.lines(|number| inner.store.borrow().contains(number)).await {
        if !inner.store.borrow_mut().recover(number, &line, bytes) {
            inner.cache.delete_segment(number).await;
        }
    }
    inner.link.hold_all(inner);
    inner.save_soon();
}

#[wasm_bindgen]
impl Worker {
    /// The install event: the newest root, the manifest, what is to be there before the first request.
    pub fn install(&self) -> Promise {
        let inner = self.0;
        js::promise(async move {
            inner.refresh_now().await?;
            inner.write_memory().await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// The activate event: pages that were there before are on the version that was installed, and what older workers left
    /// and nobody uses goes.
    pub fn activate(&self) -> Promise {
        let inner = self.0;
        js::promise(async move {
            inner.pin_strangers().await;
            inner.tidy(true).await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// A navigation that the guards left to the network: what its document loads is decided now.
    pub fn left(&self, event: web_sys::FetchEvent) -> Promise {
        let inner = self.0;
        inner.hold(&event);
        respond::left(inner, crate::js::text(&event, "resultingClientId"), inner.refreshing())
    }

    /// A request that the guards let through. Resolves to what the response is made of, or to `undefined`: the network.
    pub fn fetch(&self, event: web_sys::FetchEvent, number: u32, ignores_query: bool) -> Promise {
        let inner = self.0;
        inner.hold(&event);
        js::promise(async move {
            let said = respond::respond(inner, &event, number, ignores_query).await;
            Ok(said.map_or(JsValue::UNDEFINED, |said| said.into_js(inner)))
        })
    }

    /// What the shim answered by itself: `[url, number, bytes, segment, version, sha256]` each.
    pub fn answered(&self, notes: &js_sys::Array) {
        report::answered(self.0, notes);
    }

    /// A message from a page: see `docs/protocol.md`.
    pub fn message(&self, event: web_sys::ExtendableMessageEvent) -> Promise {
        let inner = self.0;
        inner.hold(&event);
        js::promise(async move { report::message(inner, &event).await })
    }
}

impl Inner {
    /// An absolute URL of a site-relative one.
    fn url(&self, relative: &str) -> String {
        format!("{}{relative}", self.scope)
    }

    /// Whether peers may be used at all: the policy and the visitor agree.
    fn may_mesh(&self) -> bool {
        use peerage::manifest::Consent;
        let policy = self.current().map(|v| v.root.root.policy.consent);
        match (policy, self.site.borrow().consent) {
            (Some(Consent::Never), _) | (_, Answer::Denied) => false,
            (Some(Consent::Granted), Answer::Unasked) | (_, Answer::Granted) => true,
            (_, Answer::Unasked) => false,
        }
    }

    /// Writes what is to be remembered, a little later, once for many changes.
    fn save_soon(&'static self) {
        const LATER_MS: u64 = 400;
        report::tell(self);
        if self.saving.replace(true) {
            return;
        }
        js::spawn(async move {
            js::sleep(LATER_MS).await;
            self.saving.set(false);
            self.write_memory().await;
        });
    }

    /// Whether it could be written.
    async fn write_memory(&'static self) -> bool {
        self.write(None).await
    }

    /// Writes what is to be remembered, after what is being written. A version to switch to is the current one from the
    /// moment that it is written.
    async fn write(&'static self, switch: Option<Rc<Verified<SignedRoot>>>) -> bool {
        let before = self.writing.take();
        let done = js::promise(async move {
            if let Some(before) = before {
                // It never rejects.
                let _ = js::wait(before).await;
            }
            self.site.borrow_mut().origin = self.paths.borrow().origin();
            let site = match &switch {
                Some(root) => self.site.borrow_mut().encode_switched(&root.root, &root.text),
                None => self.site.borrow().encode(),
            };
            let (table, mark) = (self.store.borrow().snapshot(), self.cache.mark());
            let saved = self.cache.save(&site, &table, mark).await;
            if let Err(e) = &saved {
                self.note_error(&format!("what the worker remembers could not be written: {}", describe(e)));
            }
            if let Some(root) = switch {
                self.site.borrow_mut().switch(&root.root, root.text.clone());
            }
            self.write_observed().await;
            Ok(saved.is_ok().into())
        });
        *self.writing.borrow_mut() = Some(done.clone());
        js::wait(done).await.is_ok_and(|saved| saved.is_truthy())
    }

    /// Writes the headers that answers came with, where there are new ones.
    async fn write_observed(&self) {
        if self.observed_more.replace(false) {
            let observed = self.observed.borrow().encode();
            // A full quota: they are observed again.
            let _ = self.cache.remember(cache::Memo::Headers, &observed).await;
        }
    }

    /// An event keeps the worker alive for as long as an update that was broken off takes.
    fn hold(&self, event: &web_sys::ExtendableEvent) {
        if let Some(resuming) = self.resuming.take() {
            // Where the event has ended by now, the next one does.
            let _ = event.wait_until(&resuming);
        }
    }

    /// What the shim answers by itself is void.
    fn cool(&self) {
        // It returns a promise that never rejects.
        let _ = self.cool.call0(&JsValue::NULL);
    }

    /// Something went wrong that a person may want to know.
    fn note_error(&self, text: &str) {
        if !self.report.borrow_mut().error(text) {
            return;
        }
        js::warn(&format!("peerage: {text}"));
        let detail = js::object(&[("text", text.into())]);
        report::broadcast(self, "error", detail.into());
    }
}

/// A JavaScript error in words.
fn describe(error: &JsValue) -> String {
    let message = js::text(error, "message");
    if message.is_empty() { format!("{error:?}") } else { message }
}
