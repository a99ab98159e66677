//! What pages may ask and are told: figures, where a request's bytes came from, consent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::{Array, Object};
use peerage::Millis;
use peerage::digest::Digest;
use peerage::port::Stats;
use peerage::site::{Answer, Site};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

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

#[derive(Serialize)]
struct Noted {
    /// Unix time in seconds.
    at: u64,
    text: String,
}

#[derive(Clone, Serialize)]
struct Point {
    /// Unix time in seconds.
    t: u64,
    cache: u64,
    peer: u64,
    origin: u64,
    uploaded: u64,
}

/// One answered request.
#[derive(Serialize)]
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
    #[serde(skip)]
    began: Millis,
}

/// Bytes by source.
#[derive(Default, Serialize)]
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
}

impl Report {
    pub(super) fn add(&mut self, record: Rc<RefCell<Record>>) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }

    pub(super) fn error(&mut self, text: &str) {
        if self.errors.len() >= ERRORS {
            self.errors.pop_front();
        }
        self.errors.push_back(Noted { at: js::unix_time(), text: text.to_owned() });
    }
}

/// Answers a page's message.
pub(super) async fn message(inner: &Rc<Inner>, event: &web_sys::ExtendableMessageEvent) -> Js<JsValue> {
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
        "explain" => Ok(explain(inner, &js::text(&data, "url"))),
        "stats" => Ok(stats(inner).into()),
        "inspect" => Ok(inspect(inner)),
        "forget" => forget(inner).await,
        _ => Err(js::error("not a question that this worker knows")),
    }
}

fn consent_changed(inner: &Rc<Inner>) {
    if !inner.may_mesh() {
        inner.link.close(inner);
    }
    inner.link.limit(inner);
    let consent = js::to_js(&inner.site.borrow().consent);
    broadcast(inner, "consent", js::object(&[("consent", consent)]).into());
}

fn hello(inner: &Rc<Inner>) -> Js<JsValue> {
    let version = inner.current().ok_or_else(|| js::error("no version of the site is here yet"))?;
    let root = &version.root.root;
    let policy: Object = js::to_js(&root.policy).unchecked_into();
    let trackers = match root.policy.trackers.is_empty() {
        true => vec!["peerage/tracker".to_owned()],
        false => root.policy.trackers.clone(),
    };
    let trackers = trackers.iter().filter_map(|url| socket_url(url, &inner.scope));
    js::set(&policy, "trackers", trackers.map(JsValue::from).collect::<Array>());
    js::set(&policy, "ice", js::to_js(&root.policy.ice));
    js::set(&policy, "consent", js::to_js(&root.policy.consent));
    js::set(&policy, "mode", js::to_js(&root.policy.mode));
    js::set(&policy, "upload_rate", number(root.policy.upload_rate));
    js::set(&policy, "upload_budget", number(root.policy.upload_budget));
    let site = inner.site.borrow();
    Ok(js::object(&[
        ("version", number(root.version)),
        ("site", root.site.as_str().into()),
        ("consent", js::to_js(&site.consent)),
        ("policy", policy.into()),
        ("wasm", inner.url(&inner.constants.wasm.url).into()),
        ("infoHash", info_hash(&root.site).into()),
        ("paused", site.paused.into()),
        ("stats", figures(inner, &site).into()),
    ])
    .into())
}

/// The swarm's name at a tracker: the first 20 bytes of SHA-256 over `peerage/1 ` and the site id.
fn info_hash(site: &str) -> String {
    Digest::of(format!("peerage/1 {site}").as_bytes()).hex()[..40].to_owned()
}

/// A tracker's URL as a WebSocket's.
fn socket_url(url: &str, scope: &str) -> Option<String> {
    let url = web_sys::Url::new_with_base(url, scope).ok()?;
    let scheme = url.protocol();
    match scheme.as_str() {
        "http:" | "ws:" => Some(url.href().replacen(&scheme, "ws:", 1)),
        "https:" | "wss:" => Some(url.href().replacen(&scheme, "wss:", 1)),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers are exact to 2^53")]
fn number(value: u64) -> JsValue {
    (value as f64).into()
}

fn stats(inner: &Inner) -> Object {
    figures(inner, &inner.site.borrow())
}

fn figures(inner: &Inner, site: &Site) -> Object {
    let bytes = &site.bytes;
    let bytes = js::object(&[
        ("cache", number(bytes.cache)),
        ("peer", number(bytes.peer)),
        ("origin", number(bytes.origin)),
        ("uploaded", number(bytes.uploaded)),
        ("wasted", number(bytes.wasted)),
    ]);
    js::object(&[
        ("version", site.current.map_or(JsValue::NULL, number)),
        ("peers", u32::from(inner.link.neighbours()).into()),
        ("bytes", bytes.into()),
        ("rejected", number(site.rejected)),
        ("consent", js::to_js(&site.consent)),
    ])
}

fn explain(inner: &Inner, url: &str) -> JsValue {
    let report = inner.report.borrow();
    let of_url = |record: &&Rc<RefCell<Record>>| record.borrow().url == url;
    let Some(last) = report.recent.iter().rev().find(of_url) else { return JsValue::NULL };
    let out: Object = js::to_js(&*last.borrow()).unchecked_into();
    let all = report.recent.iter().filter(of_url).map(|record| js::to_js(&*record.borrow()));
    js::set(&out, "requests", all.collect::<Array>());
    out.into()
}

fn inspect(inner: &Inner) -> JsValue {
    let report = inner.report.borrow();
    let store = inner.store.borrow();
    let root = inner.current().map_or(JsValue::NULL, |version| {
        let root = &version.root.root;
        js::object(&[
            ("version", number(root.version)),
            ("issued", number(root.issued)),
            ("expires", number(root.expires)),
            ("files", number(root.files)),
            ("bytes", number(root.bytes)),
        ])
        .into()
    });
    let neighbours = inner.link.stats().map_or_else(Array::new, |stats| {
        let one = |n: &peerage::port::Neighbour| {
            js::object(&[
                ("id", hex(&n.node.0).into()),
                ("since", number(n.age_ms)),
                ("have", n.have.into()),
                ("down", number(n.down)),
                ("up", number(n.up)),
                ("rtt", n.rtt_ms.into()),
                ("rate", number(n.rate)),
                ("choking", n.choking.into()),
            ])
        };
        stats.neighbours.iter().map(one).collect()
    });
    let recent = report.recent.iter().rev().take(50).map(|record| js::to_js(&*record.borrow()));
    let segments = store.segments().count();
    let stored = js::object(&[
        ("bytes", number(store.bytes())),
        ("pieces", number(store.pieces() as u64)),
        ("segments", number(segments as u64)),
        ("budget", number(inner.budget.get())),
    ]);
    js::object(&[
        ("stats", stats(inner).into()),
        ("root", root),
        ("neighbours", neighbours.into()),
        ("recent", recent.collect::<Array>().into()),
        ("timeline", js::to_js(&report.timeline)),
        ("errors", js::to_js(&report.errors)),
        ("store", stored.into()),
        ("passing", inner.site.borrow().passing.as_deref().map_or(JsValue::NULL, JsValue::from)),
    ])
    .into()
}

/// Deletes the files and figures, and asks anew for consent; what makes the site's version known stays.
async fn forget(inner: &Rc<Inner>) -> Js<JsValue> {
    inner.link.close(inner);
    let segments: Vec<_> = inner.store.borrow().segments().map(|(number, _)| number).collect();
    for number in segments {
        inner.lose_segment(number).await;
    }
    {
        let mut site = inner.site.borrow_mut();
        (site.consent, site.paused, site.rejected) = (Answer::Unasked, false, 0);
        site.bytes = peerage::site::Bytes::default();
        let mut report = inner.report.borrow_mut();
        report.recent.clear();
        report.timeline.clear();
        report.errors.clear();
    }
    inner.write_memory().await;
    consent_changed(inner);
    hello(inner)
}

/// Takes up the mesh's figures, which count since the mesh began.
pub(super) fn mesh_stats(inner: &Rc<Inner>, stats: Stats, last: &RefCell<Option<Stats>>) {
    let counted = inner.site.borrow_mut().count(&stats);
    last.replace(Some(stats));
    if counted {
        inner.save_soon();
    }
    tell(inner);
}

/// Tells the pages the figures, at most once a second.
pub(super) fn tell(inner: &Rc<Inner>) {
    const EVERY_MS: u64 = 1000;
    let now = js::now();
    let mut report = inner.report.borrow_mut();
    if report.telling {
        return;
    }
    let due = report.told.map_or(now, |told| told + EVERY_MS);
    report.telling = true;
    drop(report);
    let inner = inner.clone();
    spawn_local(async move {
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
        broadcast(&inner, "stats", stats(&inner).into());
    });
}

/// Sends an event to every page.
pub(super) fn broadcast(inner: &Inner, kind: &str, detail: JsValue) {
    let message = js::object(&[("peerage", "event".into()), ("type", kind.into()), ("detail", detail)]);
    let clients = inner.global.clients();
    spawn_local(async move {
        let _ = send_all(&clients, &message).await;
    });
}

/// Sends a message to every page of the site; how many there are.
pub(super) async fn broadcast_now(inner: &Inner, message: &Object) -> usize {
    send_all(&inner.global.clients(), message).await
}

async fn send_all(clients: &web_sys::Clients, message: &Object) -> usize {
    let list = list(clients, web_sys::ClientType::Window).await;
    for client in &list {
        // A page that is closing takes no message.
        let _ = client.unchecked_ref::<web_sys::Client>().post_message(message);
    }
    list.len()
}

/// All pages and workers of the site.
pub(super) async fn clients(inner: &Inner) -> Vec<JsValue> {
    list(&inner.global.clients(), web_sys::ClientType::All).await
}

async fn list(clients: &web_sys::Clients, kind: web_sys::ClientType) -> Vec<JsValue> {
    let options = web_sys::ClientQueryOptions::new();
    options.set_include_uncontrolled(true);
    options.set_type(kind);
    let found = js::wait(clients.match_all_with_options(&options)).await;
    found.map(|list| Array::from(&list).iter().collect()).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
