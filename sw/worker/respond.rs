//! Answering a request: from facts to a response's parts.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use futures::channel::oneshot;
use js_sys::{Array, Promise, Uint8Array};
use peerage::Millis;
use peerage::digest::Digest;
use peerage::inject;
use peerage::manifest::{Entry, Integrity, Label};
use peerage::replay;
use peerage::route::{self, ByteRange, Facts};
use peerage::site::Pin;
use peerage::store::Place;
use peerage::transfer::{Fault, Source};
use wasm_bindgen::prelude::*;

use super::body::{Cut, Reader, assemble, covering};
use super::files::Reading;
use super::report::Record;
use super::versions::{Refreshed, Version};
use super::{Inner, describe};
use crate::js::{self, Js};

/// The part of an open range that a media element gets at once where bodies can't be streamed, in bytes; it asks on.
const MEDIA_PART: u64 = 4 << 20;
/// The largest body that is held whole where it can't be streamed, in bytes; a larger one is the network's.
const MOST_WHOLE: u64 = 256 << 20;

/// What is said of a request.
pub(super) enum Said {
    Answer(Answer),
    /// This version, which the client is on, doesn't list it: it is the network's.
    Unlisted(u64),
}

impl Said {
    pub(super) fn into_js(self, inner: &Inner) -> JsValue {
        match self {
            Self::Answer(answer) => answer.into_js(inner.site.borrow().is_wordless),
            Self::Unlisted(version) => js::object(&[("unlisted", (version as f64).into())]).into(),
        }
    }
}

/// What a response is made of.
pub(super) struct Answer {
    status: u16,
    /// As it is where the origin's answers have one.
    status_text: &'static str,
    headers: Vec<(String, String)>,
    body: Body,
    /// What the worker must stay alive for.
    done: Option<Promise>,
    /// The network's answer says more, where it has one.
    is_second: bool,
    /// What the shim needs to answer like it by itself.
    of: Option<Of>,
}

/// Which version an answer is from, and of a small whole file out of the store the place.
struct Of {
    version: u64,
    place: Option<(Place, Digest)>,
}

enum Body {
    None,
    Whole(JsValue),
    Stream(Reader),
    /// `Response.error()`.
    Refused,
}

impl Answer {
    fn into_js(self, is_wordless: bool) -> JsValue {
        let status_text = if is_wordless { "" } else { self.status_text };
        let pairs = |(name, value): &(String, String)| Array::of2(&name.into(), &value.into());
        let out = js::object(&[
            ("status", self.status.into()),
            ("statusText", status_text.into()),
            ("headers", self.headers.iter().map(pairs).collect::<Array>().into()),
        ]);
        match self.body {
            Body::None => {}
            Body::Whole(body) => js::set(&out, "body", body),
            Body::Stream(reader) => js::set(&out, "reader", reader),
            Body::Refused => js::set(&out, "refused", true),
        }
        if let Some(done) = self.done {
            js::set(&out, "done", done);
        }
        if self.is_second {
            js::set(&out, "second", true);
        }
        if let Some(Of { version, place }) = self.of {
            js::set(&out, "version", version as f64);
            if let Some((place, digest)) = place {
                let fields = [
                    ("segment", JsValue::from(place.segment as f64)),
                    ("offset", place.offset.into()),
                    ("length", place.len.into()),
                    ("sha256", digest.to_string().into()),
                ];
                js::set(&out, "place", js::object(&fields));
            }
        }
        out.into()
    }
}

/// Answers a request, or leaves it to the network. `ignores_query`: the owner says that of its path.
pub(super) async fn respond(
    inner: &'static Inner,
    event: &web_sys::FetchEvent,
    number: u32,
    ignores_query: bool,
) -> Option<Said> {
    let request = event.request();
    let url = web_sys::Url::new(&request.url()).ok()?;
    let (href, query) = (url.href(), url.search());
    let path = route::site_path(&href, &inner.scope, &inner.constants.elsewhere);
    let path = path.as_deref();
    if let Some(path) = path.filter(|path| path.starts_with("peerage/")) {
        return bundled(inner, path).await.map(Said::Answer);
    }
    let header = |name: &str| request.headers().get(name).ok().flatten();
    let (method, cache, mode) = (request.method(), js::text(&request, "cache"), js::text(&request, "mode"));
    let range = header("range");
    let conditional =
        ["authorization", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"];
    let facts = Facts {
        method: &method,
        path,
        query: &query,
        ignores_query,
        clean_urls: inner.constants.clean_urls,
        cache: &cache,
        navigation: mode == "navigate",
        range: range.as_deref(),
        conditional: conditional.iter().any(|name| header(name).is_some()),
        credentialed: !href.starts_with(&inner.scope)
            && mode == "cors"
            && js::text(&request, "credentials") == "include",
    };
    let decided = route::decide(&facts);
    let resulting = js::text(event, "resultingClientId");
    if facts.navigation {
        return navigate(inner, event, number, decided.ok(), &resulting).await.map(Said::Answer);
    }
    let candidate = decided.ok()?;
    let client = event.client_id().unwrap_or_default();
    let is_new = {
        let site = inner.site.borrow();
        let may_ask = inner.constants.is_guest || site.version_for("").is_some();
        may_ask && !client.is_empty() && (!site.knows(&client) || inner.met(&client).is_some())
    };
    if is_new {
        meet(inner, event, &client).await;
        if !inner.site.borrow().knows(&client) {
            return None;
        }
    }
    let known = inner.site.borrow().version_for(&client)?;
    if !resulting.is_empty() {
        // A worker sees the version that the document which starts it sees.
        inner.pin(&resulting, Pin::Version(known));
    }
    let version = inner.version(known).await?;
    match find(inner, &version, &candidate.path).await? {
        None => Some(Said::Unlisted(known)),
        Some(entry) => serve(inner, Asked { request: &request, number, version: &version, entry, candidate })
            .await
            .map(Said::Answer),
    }
}

/// What a version lists for the path of a candidate.
pub(super) async fn look_up(inner: &'static Inner, version: &Version, path: &str) -> Js<Option<Rc<Entry>>> {
    let listed = inner.lookup(version, path).await?;
    if listed.is_some() || !inner.constants.clean_urls {
        return Ok(listed);
    }
    let Some((page, index)) = route::clean_path(path) else { return Ok(None) };
    if inner.lookup(version, &index).await?.is_some() {
        return Ok(None);
    }
    inner.lookup(version, &page).await
}

/// The same, where the manifest can be read.
async fn find(inner: &'static Inner, version: &Version, path: &str) -> Option<Option<Rc<Entry>>> {
    match look_up(inner, version, path).await {
        Ok(entry) => Some(entry),
        Err(e) => {
            inner.note_error(&format!("{path} cannot be looked up: {}", describe(&e)));
            None
        }
    }
}

/// A navigation asks the origin for its root, waits for it a moment, and opens the newest version that is whole.
async fn navigate(
    inner: &'static Inner,
    event: &web_sys::FetchEvent,
    number: u32,
    candidate: Option<route::Candidate>,
    resulting: &str,
) -> Option<Answer> {
    // What was asked about the document that led here is not for this one.
    inner.forget_meeting(|meeting| meeting.client == resulting);
    let refreshing = inner.refreshing();
    // The rest of a longer update goes on beside the page.
    event.wait_until(&settled(refreshing.clone())).ok()?;
    if let Some(candidate) = candidate {
        let (waits, until) = oneshot::channel::<()>();
        inner.navigations.borrow_mut().push(waits);
        let leisure = js::promise(async move {
            // It comes when the sender is dropped.
            let _ = until.await;
            Ok(JsValue::UNDEFINED)
        });
        let race = Array::of3(&settled(refreshing.clone()), &settled(after(fresh_ms(inner))), &leisure);
        js::wait(Promise::race(&race)).await.ok()?;
        let known = inner.site.borrow().version_for("")?;
        // Before anything is waited for: a version that nobody is pinned to may be forgotten.
        inner.pin(resulting, Pin::Version(known));
        let version = inner.version(known).await?;
        if let Some(Some(entry)) = find(inner, &version, &candidate.path).await {
            let request = &event.request();
            let answer = serve(inner, Asked { request, number, version: &version, entry, candidate }).await;
            if answer.is_none() {
                // The network's document may be of any version: what it loads is the network's, too.
                inner.pin(resulting, Pin::Pass);
            }
            return answer;
        }
    }
    // Not ours.
    event.wait_until(&left(inner, resulting.to_owned(), refreshing)).ok()?;
    None
}

/// A document that is the network's: what it loads is answered from the version that the origin confirms now (`question`), or
/// not at all. Until the answer is there its requests wait a moment, and then pass.
pub(super) fn left(inner: &'static Inner, client: String, question: Promise) -> Promise {
    inner.pin(&client, Pin::Pass);
    meeting(inner, client, question, |refreshed| matches!(refreshed, Refreshed::Confirmed)).0
}

/// A client about which the origin is being asked.
pub(super) struct Meeting {
    pub(super) client: String,
    number: u32,
    verdict: Promise,
    /// Until when its requests wait for that.
    until: Millis,
}

impl Inner {
    /// When it will be known what a client sees that is being asked about, and until when its requests wait for that.
    fn met(&self, client: &str) -> Option<(Promise, Millis)> {
        let meeting = self.meeting.borrow();
        meeting.iter().find(|meeting| meeting.client == client).map(|meeting| (meeting.verdict.clone(), meeting.until))
    }

    /// Whether a client was being asked about that is not any more.
    fn forget_meeting(&self, is_it: impl Fn(&Meeting) -> bool) -> bool {
        let mut meeting = self.meeting.borrow_mut();
        let before = meeting.len();
        meeting.retain(|meeting| !is_it(meeting));
        meeting.len() < before
    }
}

/// Pins a client to the current version if what the origin says of it `will_do`, or else to the network; unless it has gone on
/// to another document by then, as a redirect does.
fn meeting(
    inner: &'static Inner,
    client: String,
    question: Promise,
    will_do: fn(Refreshed) -> bool,
) -> (Promise, Millis) {
    inner.hurried.set(true);
    inner.forget_meeting(|meeting| meeting.client == client);
    let number = inner.meetings.replace(inner.meetings.get() + 1);
    let who = client.clone();
    let verdict = js::promise(async move {
        let is_good = Inner::refreshed(question).await.is_ok_and(will_do);
        let current = inner.site.borrow().current;
        if inner.forget_meeting(|meeting| meeting.number == number) {
            inner.pin(&who, current.filter(|_| is_good).map_or(Pin::Pass, Pin::Version));
        }
        Ok(JsValue::UNDEFINED)
    });
    let until = js::now() + fresh_ms(inner);
    inner.meeting.borrow_mut().push(Meeting { client, number, verdict: verdict.clone(), until });
    (verdict, until)
}

/// How long the owner lets a document wait for news, in milliseconds.
fn fresh_ms(inner: &Inner) -> u64 {
    inner.current().map_or(0, |version| u64::from(version.root.root.policy.fresh_ms))
}

/// A document that did not come through here, since a handler of the site's own answered it, or since it answers what was
/// sent (a `POST` is the network's), sees what it would see of the network: the origin's version of now, and the one that
/// is here where the origin can't be reached. Until that is known its requests pass.
async fn meet(inner: &'static Inner, event: &web_sys::FetchEvent, client: &str) {
    if inner.met(client).is_none() && !inner.constants.is_guest && !was_fetched(inner, client.to_owned()).await {
        let current = inner.site.borrow().current;
        if let Some(current) = current {
            inner.pin(client, Pin::Version(current));
        }
        return;
    }
    let will_do = |refreshed| matches!(refreshed, Refreshed::Confirmed | Refreshed::Unreachable);
    let (verdict, until) =
        inner.met(client).unwrap_or_else(|| meeting(inner, client.to_owned(), inner.refreshing(), will_do));
    if event.wait_until(&verdict).is_ok() {
        // Neither rejects.
        let _ = js::wait(Promise::race(&Array::of2(&verdict, &after(until.since(js::now()))))).await;
    }
}

/// Whether a client is a document that was opened by a URL. What a document makes out of its own text (a frame, a worker)
/// never comes through here, and is of the version that is current; so is what the browser doesn't tell of in time: it waits
/// for a module worker to be ready, which waits for its imports.
async fn was_fetched(inner: &'static Inner, client: String) -> bool {
    const TOLD_MS: u64 = 500;
    let told = js::promise(async move { Ok(super::report::was_fetched(inner, &client).await.into()) });
    let first = js::wait(Promise::race(&Array::of2(&told, &after(TOLD_MS)))).await;
    first.is_ok_and(|told| told.is_truthy())
}

fn after(ms: u64) -> Promise {
    js::promise(async move {
        js::sleep(ms).await;
        Ok(JsValue::UNDEFINED)
    })
}

/// The same promise, never rejected.
pub(super) fn settled(promise: Promise) -> Promise {
    js::promise(async move {
        let _ = js::wait(promise).await;
        Ok(JsValue::UNDEFINED)
    })
}

/// Files of the bundle come from the cache, so that the site works offline. They carry what an isolated page demands of
/// a worker's script (WHATWG HTML, section 7.1.4).
async fn bundled(inner: &'static Inner, path: &str) -> Option<Answer> {
    let constants = &inner.constants;
    let (url, media_type) = match path {
        "peerage/inspector" => (&constants.inspector, "text/html; charset=utf-8"),
        path if path == constants.page => (&constants.page, "text/javascript; charset=utf-8"),
        path if path == constants.mesh => (&constants.mesh, "text/javascript; charset=utf-8"),
        path if path == constants.wasm => (&constants.wasm, "application/wasm"),
        _ => return None,
    };
    let bytes = inner.cache.read(&inner.url(url)).await?;
    let headers = [
        ("content-type", media_type),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Some(Answer {
        status: 200,
        status_text: "OK",
        headers,
        body: Body::Whole(bytes.into()),
        done: None,
        is_second: false,
        of: None,
    })
}

struct Asked<'a> {
    request: &'a web_sys::Request,
    /// The request's number in this worker's life.
    number: u32,
    version: &'a Rc<Version>,
    entry: Rc<Entry>,
    candidate: route::Candidate,
}

/// Answers with a listed file.
async fn serve(inner: &'static Inner, asked: Asked<'_>) -> Option<Answer> {
    let Asked { request, number, version, entry, candidate } = asked;
    let mut of = Of { version: version.root.root.version, place: None };
    let record = Rc::new(RefCell::new(Record::new(request.url(), number, of.version, js::now())));
    inner.report.borrow_mut().add(record.clone());
    let destination = js::text(request, "destination");
    let mut span = match candidate.range {
        Some(range) => match range.resolve(entry.size) {
            Some(span) => span,
            None => return Some(unsatisfiable(&entry)),
        },
        None => (0, entry.size),
    };
    if !inner.streams_break_loudly {
        if matches!(candidate.range, Some(ByteRange::From(_, None))) && is_media(&destination) {
            span.1 = span.1.min(span.0 + MEDIA_PART);
        }
        if span.1 - span.0 > MOST_WHOLE && !is_stored(inner, &entry, covering(&entry, span)) {
            return None;
        }
    }
    let pieces = covering(&entry, span);
    // What broke off once would do so again.
    if inner.unfit.borrow().contains(&entry.integrity) && !is_stored(inner, &entry, pieces.clone()) {
        record.borrow_mut().fail("the origin has another version of it", js::now());
        return None;
    }
    // Of a large site nobody looked whether a release lists again what another had dropped.
    if entry.label == Label::Share && inner.store.borrow_mut().relist(&entry.pieces) {
        inner.link.hold_all(inner);
    }
    let is_observed = inner.observed.borrow().of(&entry).is_some();
    let mut has_headers = is_observed || !entry.headers.is_empty();
    // A worker or a frame on an isolated page is refused without its headers, which bytes from peers don't bring along.
    let needs_headers = route::needs_headers(&destination, inner.observed.borrow().guards());
    if needs_headers && !has_headers && !candidate.head && is_stored(inner, &entry, pieces.clone()) {
        // Offline they are missed less than the file would be.
        if let Some(is_same) = learn_headers(inner, request, &entry).await {
            if !is_same {
                record.borrow_mut().fail("the network has another version of it", js::now());
                return None;
            }
            has_headers = true;
        }
    }
    let peers = has_headers || !needs_headers;
    if peers && !is_stored(inner, &entry, pieces.clone()) {
        super::link::greeted(inner).await;
    }
    if candidate.head || entry.size == 0 {
        let headers = headers(inner, &entry, &record, replay::Body::Whole);
        let is_second = candidate.head && !is_observed;
        return Some(Answer {
            status: 200,
            status_text: "OK",
            headers,
            body: Body::None,
            done: None,
            is_second,
            of: Some(of),
        });
    }
    let mut url = request.url();
    url.truncate(url.find('#').unwrap_or(url.len()));
    let is_foreign = !url.starts_with(&inner.scope);
    let mut reading = Reading::open(inner, &entry, url, pieces.clone(), peers);
    let done = reading.done.clone();
    let first = match reading.next().await {
        Ok(Some(first)) => first,
        Ok(None) => return None,
        Err(fault) => return failed(inner, version, &entry, &record, fault, is_foreign),
    };
    let mut cut = Cut::new(entry, pieces.start, span);
    let (at, source, body) = first;
    let mut chunk = cut.part(at, &body);
    record.borrow_mut().count(source, u64::from(chunk.length()));
    let mut form = candidate.range.map_or(replay::Body::Whole, |_| replay::Body::Part(span.0, span.1));
    let is_document = cut.entry.media_type.starts_with("text/html") && candidate.range.is_none();
    if is_document && version.root.root.policy.inject {
        match inject(inner, &chunk, &headers(inner, &cut.entry, &record, form), &destination) {
            Ok(Some(injected)) => (chunk, form) = (injected, replay::Body::Changed),
            Ok(None) => {}
            Err(why) => inner.note_error(&format!("page.js is not added to {}: blocked by {why}", cut.entry.path)),
        }
    }
    let headers = headers(inner, &cut.entry, &record, form);
    let is_single = pieces.len() == 1;
    let body = if is_single {
        // Lets the transfer know that all was taken.
        if reading.next().await.is_err() {
            return None;
        }
        record.borrow_mut().finish(js::now());
        if let ([only], replay::Body::Whole, Source::Cache) = (&cut.entry.pieces[..], form, source) {
            of.place = inner.store.borrow().place(&only.digest).map(|place| (place, only.digest));
        }
        Body::Whole(chunk.into())
    } else if !inner.streams_break_loudly {
        match assemble(chunk, &mut reading, &mut cut, &record).await {
            Ok(blob) => Body::Whole(blob.into()),
            Err(fault) => return failed(inner, version, &cut.entry, &record, fault, is_foreign),
        }
    } else {
        // A document's tab is on a version, which the origin's file of now need not be of.
        let goes_on = candidate.range.is_none() && js::text(request, "mode") != "navigate";
        let passes = !is_foreign && version.root.root.policy.integrity != Integrity::Strict;
        let own = (passes && goes_on).then(|| Clone::clone(request));
        Body::Stream(Reader::new(inner, reading, cut, chunk, record, passes, own))
    };
    let (status, status_text) = if candidate.range.is_some() { (206, "Partial Content") } else { (200, "OK") };
    Some(Answer { status, status_text, headers, body, done: Some(done), is_second: false, of: Some(of) })
}

/// Asks the network for a stored file whose headers are not known, and remembers them where it has the same bytes; whether
/// it has. `None`: it can't be reached.
async fn learn_headers(inner: &'static Inner, request: &web_sys::Request, entry: &Entry) -> Option<bool> {
    let response = js::wait(inner.global.fetch_with_request(request)).await.ok()?;
    let response: web_sys::Response = response.unchecked_into();
    if response.status() != 200 || super::origin::is_private(&response) {
        return Some(false);
    }
    let body = Uint8Array::new(&js::wait(response.array_buffer().ok()?).await.ok()?);
    let is_same = js::sha256(&body).await.ok()? == entry.integrity;
    if is_same {
        inner.observe_headers(&entry.path, entry.integrity, &response);
        inner.save_soon();
    }
    Some(is_same)
}

fn is_media(destination: &str) -> bool {
    matches!(destination, "audio" | "video")
}

/// The file can't be had as it is listed: the origin's own answer, unless the owner wants none. Another host is not
/// trusted with more than the bytes that the origin signed, as with Subresource Integrity.
fn failed(
    inner: &'static Inner,
    version: &Version,
    entry: &Entry,
    record: &RefCell<Record>,
    fault: Fault,
    is_foreign: bool,
) -> Option<Answer> {
    note_failure(inner, entry, record, fault);
    let is_refused = is_foreign || version.root.root.policy.integrity == Integrity::Strict;
    (fault == Fault::Mismatch && is_refused).then(|| Answer {
        status: 0,
        status_text: "",
        headers: Vec::new(),
        body: Body::Refused,
        done: None,
        is_second: false,
        of: None,
    })
}

/// That a file can't be had as it is listed.
pub(super) fn note_failure(inner: &'static Inner, entry: &Entry, record: &RefCell<Record>, fault: Fault) {
    record.borrow_mut().fail(&fault.to_string(), js::now());
    if fault == Fault::Mismatch {
        inner.site.borrow_mut().rejected += 1;
        inner.note_error(&format!("the origin's bytes of {} do not match the manifest", entry.path));
    }
}

fn unsatisfiable(entry: &Entry) -> Answer {
    let headers = vec![("content-range".to_owned(), format!("bytes */{}", entry.size))];
    let status_text = "Range Not Satisfiable";
    Answer { status: 416, status_text, headers, body: Body::None, done: None, is_second: true, of: None }
}

fn is_stored(inner: &Inner, entry: &Entry, pieces: Range<usize>) -> bool {
    let store = inner.store.borrow();
    entry.pieces[pieces].iter().all(|piece| store.place(&piece.digest).is_some())
}

fn inject(
    inner: &Inner,
    chunk: &Uint8Array,
    headers: &[(String, String)],
    destination: &str,
) -> Result<Option<Uint8Array>, &'static str> {
    if destination != "document" {
        return Ok(None);
    }
    let html = chunk.to_vec();
    match inject::plan(&html[..html.len().min(inject::LOOK)], headers, "peerage/page.js") {
        inject::Plan::At(at) => {
            let tag = format!("<script src=\"{}{}\" async></script>", inner.scope_path, inner.constants.page);
            Ok(Some(Uint8Array::from(&[&html[..at], tag.as_bytes(), &html[at..]].concat()[..])))
        }
        inject::Plan::Blocked(why) => Err(why),
        inject::Plan::There | inject::Plan::NoPlace => Ok(None),
    }
}

fn headers(inner: &Inner, entry: &Entry, record: &RefCell<Record>, body: replay::Body) -> replay::Pairs {
    let mut headers = replay::headers(entry, inner.observed.borrow().of(entry), body);
    headers.push(("server-timing".to_owned(), format!("peerage;desc=\"{}\"", record.borrow().id)));
    headers
}

impl Inner {
    /// Remembers the headers that came with a listed file.
    pub(super) fn observe_headers(&self, path: &str, file: Digest, response: &web_sys::Response) {
        let headers = replay::kept(read_headers(response));
        if self.observed.borrow_mut().note(path, file, headers, response.status() == 206) {
            self.observed_more.set(true);
        }
    }
}

fn read_headers(response: &web_sys::Response) -> replay::Pairs {
    let pairs = Array::from(&response.headers().entries());
    pairs.iter().map(|pair| (js::text(&pair, "0"), js::text(&pair, "1"))).collect()
}
