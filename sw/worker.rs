//! The service worker: a thin driver of the core.
//!
//! ```text
//!   fetch ─ guards in sw.js ─ route::decide ─┬─ pass ───────────────────────────────► network
//!                                            └─ versions: which version, which entry
//!                                                 └─ files: one transfer a file ─┬─ cache   Cache Storage
//!                                                                                ├─ link    the mesh worker
//!                                                                                └─ origin  plain GET or Range
//! ```
//!
//! It keeps nothing that it can't rebuild: browsers stop it after half a minute of rest.

mod cache;
mod files;
mod link;
mod origin;
mod report;
mod respond;
mod versions;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::{Function, Promise};
use peerage::digest::Digest;
use peerage::site::{Answer, Site};
use peerage::sorted::Map;
use peerage::store::Store;
use serde::Deserialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{future_to_promise, spawn_local};

use crate::js::{self, Js};

/// What `peerage publish` writes into the worker script.
#[derive(Debug, Deserialize)]
struct Constants {
    site: String,
    key: serde_json::Value,
    wasm: BundleFile,
    page: BundleFile,
    mesh: BundleFile,
    inspector: BundleFile,
}

#[derive(Debug, Deserialize)]
struct BundleFile {
    url: String,
}

/// One worker's life.
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
    key: JsValue,
    site: RefCell<Site>,
    store: RefCell<Store>,
    versions: RefCell<Map<u64, Rc<versions::Version>>>,
    files: RefCell<Map<Digest, files::File>>,
    link: link::Link,
    report: RefCell<report::Report>,
    observed: RefCell<respond::Observed>,
    refreshing: RefCell<Option<Promise>>,
    saving: Cell<bool>,
    /// Segments read lately.
    open_segments: RefCell<VecDeque<(u64, Promise)>>,
    /// Most bytes to keep.
    budget: Cell<u64>,
    readers: Cell<u32>,
    requests: Cell<u32>,
}

/// The worker as `sw.js` sees it.
#[wasm_bindgen]
pub struct Worker(Rc<Inner>);

/// Wakes a worker: reads what it remembers, and checks the chain from the constant key to the root.
#[wasm_bindgen]
pub async fn start_worker(constants: JsValue, scope: String, cache: String, on_trap: Function) -> Js<Worker> {
    js::report_traps(on_trap);
    let constants: Constants = serde_wasm_bindgen::from_value(constants)?;
    let global: web_sys::ServiceWorkerGlobalScope = js_sys::global().unchecked_into();
    let cache = cache::Cache::open(&cache, &scope).await?;
    let (key, memory) = futures::join!(versions::import_key(&constants.key), cache.load());
    let observed = respond::Observed::read(&cache).await;
    let scope_path = js::text(&web_sys::Url::new(&scope)?.into(), "pathname");
    let inner = Rc::new(Inner {
        constants,
        scope,
        scope_path,
        streams_break_loudly: !global.navigator().user_agent().is_ok_and(|name| name.contains("Gecko/")),
        global,
        key: key?,
        site: RefCell::new(memory.site),
        store: RefCell::new(memory.store),
        cache,
        versions: RefCell::default(),
        files: RefCell::default(),
        link: link::Link::default(),
        report: RefCell::default(),
        observed: RefCell::new(observed),
        refreshing: RefCell::default(),
        saving: Cell::new(false),
        open_segments: RefCell::default(),
        budget: Cell::new(files::default_budget()),
        readers: Cell::new(0),
        requests: Cell::new(0),
    });
    inner.load_current().await;
    let measured = inner.clone();
    spawn_local(async move { measured.measure_budget().await });
    if memory.dirty {
        spawn_local(recover(inner.clone()));
    }
    if inner.may_mesh() {
        spawn_local(link::call(inner.clone()));
    }
    Ok(Worker(inner))
}

/// Takes up the segments that a stopped worker had written after its last snapshot.
async fn recover(inner: Rc<Inner>) {
    for (number, line) in inner.cache.lines().await {
        let mut store = inner.store.borrow_mut();
        if !store.contains(number) {
            store.recover(number, &line);
        }
    }
    inner.link.hold_all(&inner);
    inner.save_soon();
}

#[wasm_bindgen]
impl Worker {
    /// The install event: the newest root, the manifest, what is to be there before the first request.
    pub fn install(&self) -> Promise {
        let inner = self.0.clone();
        future_to_promise(async move {
            inner.refresh().await?;
            inner.write_memory().await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// The activate event: what older workers left and nobody uses goes.
    pub fn activate(&self) -> Promise {
        let inner = self.0.clone();
        future_to_promise(async move {
            inner.tidy().await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// A request that the guards let through. Resolves to what the response is made of, or to `undefined`: the network.
    pub fn fetch(&self, event: web_sys::FetchEvent) -> Promise {
        let inner = self.0.clone();
        future_to_promise(async move {
            Ok(match respond::respond(&inner, &event).await {
                Some(answer) => answer.into_js(),
                None => JsValue::UNDEFINED,
            })
        })
    }

    /// A message from a page: see `docs/protocol.md`.
    pub fn message(&self, event: web_sys::ExtendableMessageEvent) -> Promise {
        let inner = self.0.clone();
        future_to_promise(async move { report::message(&inner, &event).await })
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
    fn save_soon(self: &Rc<Self>) {
        const LATER_MS: u64 = 400;
        report::tell(self);
        if self.saving.replace(true) {
            return;
        }
        let inner = self.clone();
        spawn_local(async move {
            js::sleep(LATER_MS).await;
            inner.saving.set(false);
            inner.write_memory().await;
        });
    }

    async fn write_memory(&self) {
        let (site, table) = (serde_json::to_vec(&*self.site.borrow()), self.store.borrow().snapshot());
        if let Ok(site) = site
            && let Err(e) = self.cache.save(&site, &table).await
        {
            self.note_error(&format!("what the worker remembers could not be written: {}", describe(&e)));
        }
        respond::Observed::write(self).await;
    }

    /// Something went wrong that a person may want to know.
    fn note_error(&self, text: &str) {
        js::warn(&format!("peerage: {text}"));
        self.report.borrow_mut().error(text);
        let detail = js::object(&[("text", text.into())]);
        report::broadcast(self, "error", detail.into());
    }
}

/// A JavaScript error in words.
fn describe(error: &JsValue) -> String {
    let message = js::text(error, "message");
    if message.is_empty() { format!("{error:?}") } else { message }
}
