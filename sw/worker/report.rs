//! What pages may ask and are told: figures, where a request's bytes came from, consent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::{Array, Object};
use peerage::Millis;
use peerage::digest::Digest;
use peerage::manifest::IceServer;
use peerage::observed::Observed;
use peerage::port::Stats;
use peerage::route;
use peerage::site::{Answer, Site};
use peerage::text::hex;
use wasm_bindgen::prelude::*;

use super::{Inner, link};
use crate::js::{self, Js};

/// Requests, errors and points in time that are remembered.
const RECENT: usize = 200;
const ERRORS: usize = 50;
const POINTS: usize = 300;

/// What pages may ask about.
#[derive(Default)]
pub(super) struct Report {
    recent: VecDeque<Rc<RefCell<Record>>>,
    errors: VecDeque<Noted>,
    timeline: VecDeque<Point>,
    told: Option<Millis>,
    telling: bool,
}

struct Noted {
    /// Unix time in seconds.
    at: u64,
    text: String,
}

struct Point {
    /// Unix time in seconds.
    t: u64,
    cache: u64,
    peer: u64,
    origin: u64,
    uploaded: u64,
}

/// One answered request.
pub(super) struct Record {
    url: String,
    pub(super) id: u32,
    listed: bool,
    version: u64,
    pub(super) bytes: Sources,
    verified: bool,
    ms: Option<u64>,
    /// Unix time in seconds.
    at: u64,
    reason: Option<String>,
    began: Millis,
}

/// Bytes by source.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) cache: u64,
    pub(super) peer: u64,
    pub(super) origin: u64,
}

impl Record {
    pub(super) fn new(url: String, id: u32, version: u64, began: Millis) -> Self {
        let at = js::unix_time();
        let bytes = Sources::default();
        Self { url, id, listed: true, version, bytes, verified: false, ms: None, at, reason: None, began }
    }

    pub(super) fn finish(&mut self, now: Millis) {
        self.verified = true;
        self.ms = Some(now.since(self.began));
    }

    pub(super) fn fail(&mut self, reason: &str, now: Millis) {
        self.reason = Some(reason.to_owned());
        self.ms = Some(now.since(self.began));
    }

    fn fields(&self) -> js::Fields {
        let Sources { cache, peer, origin } = self.bytes;
        let bytes = js::Fields::new().number("cache", cache).number("peer", peer).number("origin", origin);
        js::Fields::new()
            .text("url", &self.url)
            .number("id", self.id.into())
            .flag("listed", self.listed)
            .number("version", self.version)
            .value("bytes", bytes.done())
            .flag("verified", self.verified)
            .optional("ms", self.ms)
            .number("at", self.at)
            .value("reason", self.reason.as_deref().map_or(JsValue::NULL, JsValue::from))
    }
}

impl Report {
    pub(super) fn add(&mut self, record: Rc<RefCell<Record>>) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }

    /// Notes an error; `false` where it is the last one over again.
    pub(super) fn error(&mut self, text: &str) -> bool {
        let at = js::unix_time();
        if let Some(last) = self.errors.back_mut().filter(|last| last.text == text) {
            last.at = at;
            return false;
        }
        if self.errors.len() >= ERRORS {
            self.errors.pop_front();
        }
        self.errors.push_back(Noted { at, text: text.to_owned() });
        true
    }
}

/// Takes up what the shim answered out of its own table, and checks that table against the manifest.
pub(super) fn answered(inner: &'static Inner, notes: &Array) {
    let mut claims = Vec::new();
    for note in notes.iter() {
        let field = |at: u32| js_sys::Reflect::get_u32(&note, at).unwrap_or(JsValue::UNDEFINED);
        let number = |at: u32| field(at).as_f64().unwrap_or(0.0) as u64;
        let url = field(0).as_string().unwrap_or_default();
        let (id, bytes, segment, version) = (number(1) as u32, number(2), number(3), number(4));
        let claim = (version, url.clone(), field(5).as_string().unwrap_or_default());
        if !claims.contains(&claim) {
            claims.push(claim);
        }
        let mut record = Record::new(url, id, version, js::now());
        record.bytes.cache = bytes;
        record.finish(js::now());
        inner.report.borrow_mut().add(Rc::new(RefCell::new(record)));
        inner.site.borrow_mut().bytes.cache += bytes;
        inner.store.borrow_mut().touch(segment);
    }
    inner.save_soon();
    js::spawn(check_claims(inner, claims));
}

/// The shim's table lies where other scripts of the site can write: what it said must be what the manifest says.
async fn check_claims(inner: &'static Inner, claims: Vec<(u64, String, String)>) {
    for (number, url, sha256) in claims {
        let Some(version) = inner.version(number).await else { continue };
        let path = route::site_path(&url, &inner.scope, &inner.constants.elsewhere);
        let Some(path) = path.as_deref().and_then(route::listed_path) else { continue };
        let Ok(entry) = super::respond::look_up(inner, &version, &path).await else { continue };
        let is_true =
            entry.is_some_and(|entry| matches!(&entry.pieces[..], [only] if only.digest.to_string() == sha256));
        if !is_true {
            inner.cool();
            inner.site.borrow_mut().rejected += 1;
            return inner
                .note_error("what was kept of earlier answers is not what the manifest says, and is thrown away");
        }
    }
}

/// Answers a page's message.
pub(super) async fn message(inner: &'static Inner, event: &web_sys::ExtendableMessageEvent) -> Js<JsValue> {
    let data = event.data();
    let value = js::get(&data, "value").is_truthy();
    match js::text(&data, "peerage").as_str() {
        "hello" => hello(inner),
        "consent" => {
            inner.site.borrow_mut().consent = if value { Answer::Granted } else { Answer::Denied };
            inner.save_soon();
            consent_changed(inner);
            hello(inner)
        }
        "pause" => {
            inner.site.borrow_mut().paused = value;
            inner.save_soon();
            inner.link.limit(inner);
            hello(inner)
        }
        "port" => {
            let port = js::get(&event.ports(), "0");
            match port.dyn_into::<web_sys::MessagePort>() {
                Ok(port) if inner.may_mesh() => link::connect(inner, port),
                Ok(port) => port.close(),
                Err(_) => {}
            }
            Ok(JsValue::UNDEFINED)
        }
        "root" => {
            if inner.may_mesh() {
                inner
                    .heard_root(&js::text(&data, "text"), js::get(&data, "peer").as_f64().unwrap_or(0.0) as u32)
                    .await?;
            }
            Ok(JsValue::UNDEFINED)
        }
        // Who wants neighbours and has none is told by nobody.
        "news" if !inner.may_mesh() || inner.link.neighbours() > 0 => Ok(JsValue::UNDEFINED),
        "refresh" => inner.refresh_now().await.map(|_| JsValue::UNDEFINED),
        "news" | "renew" => inner.refresh().await.map(|_| JsValue::UNDEFINED),
        "explain" => Ok(explain(inner, &js::text(&data, "url"))),
        "stats" => Ok(stats(inner)),
        "inspect" => Ok(inspect(inner)),
        "forget" => forget(inner).await,
        _ => Err(js::error("not a question that this worker knows")),
    }
}

fn consent_changed(inner: &'static Inner) {
    if !inner.may_mesh() {
        inner.link.close(inner);
    }
    inner.link.limit(inner);
    let consent = inner.site.borrow().consent.name();
    broadcast(inner, "consent", js::Fields::new().text("consent", consent).done());
}

fn hello(inner: &'static Inner) -> Js<JsValue> {
    let version = inner.current().ok_or_else(|| js::error("no version of the site is here yet"))?;
    let root = &version.root.root;
    let own = ["peerage/tracker".to_owned()];
    let trackers = if root.policy.trackers.is_empty() { &own[..] } else { &root.policy.trackers };
    let trackers = trackers.iter().filter_map(|url| socket_url(url, &inner.scope)).map(JsValue::from);
    let policy = js::Fields::new()
        .text("consent", root.policy.consent.name())
        .text("mode", root.policy.mode.name())
        .number("upload_rate", root.policy.upload_rate)
        .number("upload_budget", root.policy.upload_budget)
        .value("trackers", js::list(trackers))
        .value("ice", js::list(root.policy.ice.iter().map(ice_server)));
    let site = inner.site.borrow();
    let hello = js::Fields::new()
        .number("version", root.version)
        .text("site", &root.site)
        .text("consent", site.consent.name())
        .value("policy", policy.done())
        .text("wasm", &inner.url(&inner.constants.wasm))
        .text("infoHash", &info_hash(&root.site))
        .flag("paused", site.paused)
        .value("stats", figures(inner, &site));
    Ok(hello.done())
}

fn ice_server(server: &IceServer) -> JsValue {
    let mut fields = js::Fields::new().value("urls", js::list(server.urls.iter().map(JsValue::from)));
    if let Some(username) = &server.username {
        fields = fields.text("username", username);
    }
    if let Some(credential) = &server.credential {
        fields = fields.text("credential", credential);
    }
    fields.done()
}

/// The swarm's name at a tracker: the first 20 bytes of SHA-256 over `peerage/1 ` and the site id.
fn info_hash(site: &str) -> String {
    hex(&Digest::of(format!("peerage/1 {site}").as_bytes()).0[..20])
}

/// A tracker's URL as a WebSocket's.
fn socket_url(url: &str, scope: &str) -> Option<String> {
    let url = web_sys::Url::new_with_base(url, scope).ok()?;
    match url.protocol().as_str() {
        "http:" | "ws:" => url.set_protocol("ws:"),
        "https:" | "wss:" => url.set_protocol("wss:"),
        _ => return None,
    }
    Some(url.href())
}

fn stats(inner: &Inner) -> JsValue {
    figures(inner, &inner.site.borrow())
}

fn figures(inner: &Inner, site: &Site) -> JsValue {
    let bytes = js::Fields::new()
        .number("cache", site.bytes.cache)
        .number("peer", site.bytes.peer)
        .number("origin", site.bytes.origin)
        .number("uploaded", site.bytes.uploaded)
        .number("wasted", site.bytes.wasted);
    js::Fields::new()
        .optional("version", site.current)
        .number("peers", inner.link.neighbours().into())
        .value("bytes", bytes.done())
        .number("rejected", site.rejected)
        .text("consent", site.consent.name())
        .done()
}

fn explain(inner: &Inner, url: &str) -> JsValue {
    let report = inner.report.borrow();
    let of_url = |record: &&Rc<RefCell<Record>>| record.borrow().url == url;
    let Some(last) = report.recent.iter().rev().find(of_url) else { return JsValue::NULL };
    let all = report.recent.iter().filter(of_url).map(|record| record.borrow().fields().done());
    last.borrow().fields().value("requests", js::list(all)).done()
}

fn inspect(inner: &Inner) -> JsValue {
    let report = inner.report.borrow();
    let store = inner.store.borrow();
    let root = inner.current().map_or(JsValue::NULL, |version| {
        let root = &version.root.root;
        js::Fields::new()
            .number("version", root.version)
            .number("issued", root.issued)
            .number("expires", root.expires)
            .flag("expired", root.expires <= js::unix_time())
            .number("files", root.files)
            .number("bytes", root.bytes)
            .done()
    });
    let neighbours = inner.link.stats().map(|stats| stats.neighbours).unwrap_or_default();
    let neighbours = neighbours.iter().map(|n| {
        js::Fields::new()
            .text("id", &hex(&n.node.0))
            .number("since", n.age_ms)
            .number("have", n.have.into())
            .number("down", n.down)
            .number("up", n.up)
            .number("rtt", n.rtt_ms.into())
            .number("rate", n.rate)
            .flag("choking", n.choking)
            .done()
    });
    let (delay, rate) = inner.paths.borrow().origin();
    let known = |figure| Some(figure).filter(|&figure| figure > 0);
    let origin = js::Fields::new().optional("rtt", known(delay)).optional("rate", known(rate));
    let recent = report.recent.iter().rev().take(50).map(|record| record.borrow().fields().done());
    let timeline = report.timeline.iter().map(|point| {
        js::Fields::new()
            .number("t", point.t)
            .number("cache", point.cache)
            .number("peer", point.peer)
            .number("origin", point.origin)
            .number("uploaded", point.uploaded)
            .done()
    });
    let errors = report.errors.iter().map(|e| js::Fields::new().number("at", e.at).text("text", &e.text).done());
    let stored = js::Fields::new()
        .number("bytes", store.bytes())
        .number("pieces", store.pieces() as u64)
        .number("segments", store.segments().count() as u64)
        .number("budget", inner.budget.get());
    js::Fields::new()
        .value("stats", stats(inner))
        .value("root", root)
        .value("neighbours", js::list(neighbours))
        .value("origin", origin.done())
        .value("recent", js::list(recent))
        .value("timeline", js::list(timeline))
        .value("errors", js::list(errors))
        .value("store", stored.done())
        .value("passing", inner.site.borrow().passing.as_deref().map_or(JsValue::NULL, JsValue::from))
        .done()
}

/// Deletes the files and figures, and asks anew for consent; what makes the site's version known stays.
async fn forget(inner: &'static Inner) -> Js<JsValue> {
    inner.link.close(inner);
    inner.cool();
    let segments: Vec<_> = inner.store.borrow().segments().map(|(number, _)| number).collect();
    for number in segments {
        inner.lose_segment(number).await;
    }
    {
        let mut site = inner.site.borrow_mut();
        (site.consent, site.paused, site.rejected) = (Answer::Unasked, false, 0);
        site.bytes = peerage::site::Bytes::default();
        let mut report = inner.report.borrow_mut();
        *inner.observed.borrow_mut() = Observed::default();
        inner.observed_more.set(true);
        inner.packs.take();
        report.recent.clear();
        report.timeline.clear();
        report.errors.clear();
    }
    inner.write_memory().await;
    consent_changed(inner);
    hello(inner)
}

/// Takes up the mesh's figures, which count since the mesh began.
pub(super) fn mesh_stats(inner: &'static Inner, stats: Stats, last: &RefCell<Option<Stats>>) {
    let counted = inner.site.borrow_mut().count(&stats);
    last.replace(Some(stats));
    if counted {
        inner.save_soon();
    }
    tell(inner);
}

/// Tells the pages the figures, at most once a second.
pub(super) fn tell(inner: &'static Inner) {
    const EVERY_MS: u64 = 1000;
    let now = js::now();
    let mut report = inner.report.borrow_mut();
    if report.telling {
        return;
    }
    let due = report.told.map_or(now, |told| told + EVERY_MS);
    report.telling = true;
    drop(report);
    js::spawn(async move {
        js::sleep(due.since(now)).await;
        {
            let bytes = inner.site.borrow().bytes;
            let mut report = inner.report.borrow_mut();
            (report.telling, report.told) = (false, Some(js::now()));
            if report.timeline.len() >= POINTS {
                report.timeline.pop_front();
            }
            let t = js::unix_time();
            let (cache, peer, origin, uploaded) = (bytes.cache, bytes.peer, bytes.origin, bytes.uploaded);
            report.timeline.push_back(Point { t, cache, peer, origin, uploaded });
        }
        broadcast(inner, "stats", stats(inner));
    });
}

/// Sends an event to every page.
pub(super) fn broadcast(inner: &Inner, kind: &str, detail: JsValue) {
    let message = js::object(&[("peerage", "event".into()), ("type", kind.into()), ("detail", detail)]);
    let (clients, scope) = (inner.global.clients(), inner.scope.clone());
    js::spawn(async move {
        let _ = send_all(&clients, &scope, &message).await;
    });
}

/// Sends a message to every page of the site; how many there are.
pub(super) async fn broadcast_now(inner: &Inner, message: &Object) -> usize {
    send_all(&inner.global.clients(), &inner.scope, message).await
}

async fn send_all(clients: &web_sys::Clients, scope: &str, message: &Object) -> usize {
    let mut list = list(clients, web_sys::ClientType::Window).await.unwrap_or_default();
    // Those that it doesn't control may belong to another site on the same host.
    list.retain(|client| js::text(client, "url").starts_with(scope));
    for client in &list {
        // A page that is closing takes no message.
        let _ = client.unchecked_ref::<web_sys::Client>().post_message(message);
    }
    list.len()
}

/// All pages and workers of the site. Firefox lists service workers, too, this one among them: they open no version.
pub(super) async fn clients(inner: &Inner) -> Js<Vec<JsValue>> {
    let mut clients = list(&inner.global.clients(), web_sys::ClientType::All).await?;
    clients.retain(|client| js::text(client, "type") != "serviceworker");
    Ok(clients)
}

/// Whether a client is a document that was opened by a URL.
pub(super) async fn was_fetched(inner: &Inner, id: &str) -> bool {
    let client = js::wait(inner.global.clients().get(id)).await.unwrap_or_default();
    js::text(&client, "type") == "window" && js::text(&client, "url").starts_with("http")
}

async fn list(clients: &web_sys::Clients, kind: web_sys::ClientType) -> Js<Vec<JsValue>> {
    let options = web_sys::ClientQueryOptions::new();
    options.set_include_uncontrolled(true);
    options.set_type(kind);
    let found = js::wait(clients.match_all_with_options(&options)).await?;
    Ok(Array::from(&found).iter().collect())
}
