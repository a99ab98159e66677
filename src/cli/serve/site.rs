//! The static origin: the answer to a request for a file of the site.
//!
//! tower-http reads the file, answers ranges and conditions, and compresses; this module decides which file a URL means
//! and what its answer says beside the bytes.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, LOCATION, RANGE, VARY,
};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use peerage::headers::Headers;
use peerage::route::short_name;
use tower_http::services::ServeFile;

use super::place::{Found, Place, locate, locate_clean};
use crate::cli::media::{is_compressible, media_type};
use crate::cli::warn;

/// Bodies below this are not compressed on the fly: one packet is one packet.
const MIN_COMPRESSED: u64 = 860;

/// A folder that is served under a path.
#[derive(Debug)]
pub(super) struct Site {
    /// Canonical.
    root: PathBuf,
    /// Starts and ends with a slash.
    prefix: String,
    /// `about` names `about.html`.
    clean_urls: bool,
    rules: Mutex<Rules>,
}

/// The `_headers` file as it was last read.
#[derive(Debug, Default)]
struct Rules {
    /// When it was changed last, and its size; `None` where there is none.
    state: Option<(SystemTime, u64)>,
    headers: Arc<Headers>,
}

impl Site {
    /// Opens the folder `dir`. Fails where it cannot be read or its `_headers` file is wrong.
    pub(super) fn open(dir: &std::path::Path, prefix: String, clean_urls: bool) -> anyhow::Result<Self> {
        let shown = dir.display();
        let root = dir.canonicalize().with_context(|| {
            format!("cannot serve the folder {shown}: give the path of an existing folder, such as ./public")
        })?;
        anyhow::ensure!(root.is_dir(), "cannot serve {shown}: it is a file; give the folder that it is in");
        std::fs::read_dir(&root).with_context(|| format!("cannot read the folder {shown}: check its permissions"))?;
        let site = Self { root, prefix, clean_urls, rules: Mutex::default() };
        site.reread_headers().with_context(|| format!("cannot use {}", site.headers_file().display()))?;
        Ok(site)
    }

    /// Answers a request.
    pub(super) async fn answer(self: Arc<Self>, request: Parts) -> Response {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let allow = [(ALLOW, "GET, HEAD")];
            return (StatusCode::METHOD_NOT_ALLOWED, allow, "this is a static site\n").into_response();
        }
        let path = request.uri.path();
        let Some(below) = path.strip_prefix(self.prefix.as_str()) else {
            return self.outside(path, request.uri.query());
        };
        let (site, below) = (Arc::clone(&self), below.to_owned());
        let find = if self.clean_urls { locate_clean } else { locate };
        let place = tokio::task::spawn_blocking(move || (find(&site.root, &below), site.headers())).await;
        let (place, headers) = match place {
            Ok(looked_up) => looked_up,
            Err(e) => return failed(&self.root, &io::Error::other(e)),
        };
        match place {
            Place::File(found) => self.send(found, &headers, &request).await,
            Place::Folder => redirect(StatusCode::MOVED_PERMANENTLY, &format!("{path}/"), request.uri.query()),
            Place::Page(short) => {
                redirect(StatusCode::PERMANENT_REDIRECT, &format!("{}{short}", self.prefix), request.uri.query())
            }
            Place::Nothing => self.not_found(&headers, &request).await,
            Place::Unreadable(at, e) => failed(&at, &e),
        }
    }

    fn outside(&self, path: &str, query: Option<&str>) -> Response {
        if self.prefix.strip_suffix('/') == Some(path) {
            redirect(StatusCode::MOVED_PERMANENTLY, &self.prefix, query)
        } else if path == "/" {
            redirect(StatusCode::FOUND, &self.prefix, None)
        } else {
            (StatusCode::NOT_FOUND, format!("the site is at {}\n", self.prefix)).into_response()
        }
    }

    async fn send(&self, found: Found, headers: &Headers, request: &Parts) -> Response {
        let mut asked = request.headers.clone();
        if asked.contains_key(RANGE) {
            // A range counts bytes of the file, never of a compressed form of it.
            asked.remove(ACCEPT_ENCODING);
            let applies = request.method == Method::GET
                && found.size > 0
                && asked.get(RANGE).is_some_and(is_one_range)
                && self.range_is_of_this_version(&found, &asked).await;
            if !applies {
                asked.remove(RANGE);
                if let Some(encodings) = request.headers.get(ACCEPT_ENCODING) {
                    asked.insert(ACCEPT_ENCODING, encodings.clone());
                }
            }
        }
        let mut response = match read(&found, &request.method, asked).await {
            Ok(response) => response,
            Err(e) => return failed(&found.file, &e),
        };
        self.dress(response.headers_mut(), &found, headers);
        response
    }

    async fn not_found(&self, headers: &Headers, request: &Parts) -> Response {
        let root = self.root.clone();
        let place = tokio::task::spawn_blocking(move || locate(&root, "404.html")).await;
        let Ok(Place::File(found)) = place else {
            return (StatusCode::NOT_FOUND, "not found\n").into_response();
        };
        let mut asked = HeaderMap::new();
        if let Some(encodings) = request.headers.get(ACCEPT_ENCODING) {
            asked.insert(ACCEPT_ENCODING, encodings.clone());
        }
        let mut response = match read(&found, &request.method, asked).await {
            Ok(response) => response,
            Err(e) => return failed(&found.file, &e),
        };
        self.dress(response.headers_mut(), &found, headers);
        // They would make caches take this page for the file that is missing.
        response.headers_mut().remove(ETAG);
        response.headers_mut().remove(LAST_MODIFIED);
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }

    /// Whether `If-Range`, if there is one, names the file as it is now (RFC 9110, section 13.1.5): by its strong ETag,
    /// or by exactly its date.
    async fn range_is_of_this_version(&self, found: &Found, asked: &HeaderMap) -> bool {
        let Some(version) = asked.get(IF_RANGE) else { return true };
        let Ok(now) = read(found, &Method::HEAD, HeaderMap::new()).await else { return false };
        now.headers().get(ETAG) == Some(version) || now.headers().get(LAST_MODIFIED) == Some(version)
    }

    /// Says what the file's bytes don't: how long they keep, whom they may be shown to, and what the site's owner adds.
    fn dress(&self, response: &mut HeaderMap, found: &Found, headers: &Headers) {
        response.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control(&found.path)));
        if found.br || found.gz || is_compressible(media_type(&found.path).as_ref()) {
            response.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if found.path == "peerage/mesh.js" {
            // A page that is cross-origin isolated starts a worker only if the worker's script says the same of itself.
            response.insert("cross-origin-embedder-policy", HeaderValue::from_static("require-corp"));
            response.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
        }
        let mut set: Vec<HeaderName> = Vec::new();
        for (name, value) in headers.for_path(&format!("/{}", short_name(&found.path, self.clean_urls))) {
            let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
            else {
                continue;
            };
            if set.contains(&name) || name == VARY {
                response.append(&name, value);
            } else {
                response.insert(&name, value);
            }
            set.push(name);
        }
    }

    fn headers_file(&self) -> PathBuf {
        self.root.join("_headers")
    }

    /// The rules of the `_headers` file as it is now. While it is wrong, those that it had before stay in force.
    fn headers(&self) -> Arc<Headers> {
        match self.reread_headers() {
            Ok(headers) => headers,
            Err(e) => {
                warn(format_args!("{}: {e:#}; its earlier rules stay in force", self.headers_file().display()));
                Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner).headers)
            }
        }
    }

    fn reread_headers(&self) -> anyhow::Result<Arc<Headers>> {
        let file = self.headers_file();
        let state = match file.metadata() {
            Ok(now) => Some((now.modified()?, now.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e.into()),
        };
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if rules.state != state {
            // Noted first, so that a mistake is reported once and not with each request.
            rules.state = state;
            rules.headers = match state {
                Some(_) => Arc::new(Headers::parse(&std::fs::read_to_string(&file)?)?),
                None => Arc::default(),
            };
        }
        Ok(Arc::clone(&rules.headers))
    }
}

/// Has tower-http answer for a file: conditions, range, precompressed forms.
async fn read(found: &Found, method: &Method, asked: HeaderMap) -> io::Result<Response> {
    let media_type = media_type(&found.path);
    let mut file = ServeFile::new_with_mime(&found.file, &media_type).ignore_multi_range_requests(true);
    if found.br {
        file = file.precompressed_br();
    }
    if found.gz {
        file = file.precompressed_gzip();
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.clone();
    *request.headers_mut() = asked;
    request.headers_mut().remove(HOST);
    Ok(file.try_call(request).await?.map(Body::new))
}

/// How long an answer keeps. Files of the manifest that are named by their hash never change; everything else is asked
/// for again, which costs a 304.
fn cache_control(path: &str) -> &'static str {
    let is_hash = |name: &str| name.len() >= 16 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let named_by_hash = path.strip_prefix("peerage/").is_some_and(|below| match below.split_once('/') {
        Some(("index" | "shard" | "delta" | "old", name)) => is_hash(name.split('.').next().unwrap_or_default()),
        Some(_) => false,
        None => below.strip_suffix(".wasm").and_then(|name| name.rsplit_once('.')).is_some_and(|(_, h)| is_hash(h)),
    });
    if named_by_hash { "public, max-age=31536000, immutable" } else { "no-cache" }
}

/// Whether an answer is to be compressed on its way.
pub(super) fn compresses(status: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let length = text(CONTENT_LENGTH).parse::<u64>();
    matches!(status, StatusCode::OK | StatusCode::NOT_FOUND)
        && length.is_ok_and(|length| length >= MIN_COMPRESSED)
        && is_compressible(text(CONTENT_TYPE))
        && !text(CACHE_CONTROL).contains("no-transform")
}

/// Weakens the ETag of what was compressed on its way: those bytes are not the file's, and another build of the
/// compressor makes others. A client that has them is told so by the same ETag in its 304.
pub(super) fn weaken(response: &mut HeaderMap, compressed_here: bool, if_none_match: Option<&HeaderValue>) {
    let Some(etag) = response.get(ETAG).and_then(|etag| etag.to_str().ok()).filter(|etag| etag.starts_with('"')) else {
        return;
    };
    let weak = format!("W/{etag}");
    let known = || {
        if_none_match.and_then(|tags| tags.to_str().ok()).is_some_and(|tags| tags.split(',').any(|t| t.trim() == weak))
    };
    if (compressed_here || response.contains_key(VARY) && known())
        && let Ok(weak) = HeaderValue::try_from(weak)
    {
        response.insert(ETAG, weak);
    }
}

/// `If-None-Match`, kept from the request for [`weaken`].
pub(super) fn known_etags(request: &HeaderMap) -> Option<HeaderValue> {
    request.get(IF_NONE_MATCH).cloned()
}

/// Whether a `Range` header asks for one range of bytes (RFC 9110, section 14.1.2). Others may be ignored.
fn is_one_range(range: &HeaderValue) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let range =
        range.to_str().ok().and_then(|r| r.trim().strip_prefix("bytes=")).and_then(|r| r.trim().split_once('-'));
    match range {
        Some(("", last)) => is_number(last),
        Some((first, "")) => is_number(first),
        Some((first, last)) => {
            is_number(first) && is_number(last) && first.parse::<u64>().ok() <= last.parse::<u64>().ok()
        }
        None => false,
    }
}

fn redirect(status: StatusCode, path: &str, query: Option<&str>) -> Response {
    let to = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    (status, [(LOCATION, to), (CACHE_CONTROL, "no-cache".to_owned())]).into_response()
}

fn failed(file: &std::path::Path, e: &io::Error) -> Response {
    warn(format_args!("cannot read {}: {e}", file.display()));
    let (status, what) = if e.kind() == io::ErrorKind::PermissionDenied {
        (StatusCode::FORBIDDEN, "this file cannot be read\n")
    } else if e.kind() == io::ErrorKind::NotFound {
        (StatusCode::NOT_FOUND, "not found\n")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "this file cannot be read\n")
    };
    (status, what).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_by_its_hash_keeps_for_ever() {
        let hash = "0123456789abcdef";
        for path in [
            format!("peerage/index/{hash}"),
            format!("peerage/shard/{hash}.json"),
            format!("peerage/delta/{hash}"),
            format!("peerage/old/{hash}"),
            format!("peerage/sw.{hash}.wasm"),
        ] {
            assert!(cache_control(&path).contains("immutable"), "{path}");
        }
        for path in [
            "index.html",
            "a.js",
            "peerage-sw.js",
            "peerage/root.jws",
            "peerage/page.js",
            "peerage/keys/1.json",
            "peerage/sw.wasm",
            "peerage/index/latest",
            "other/index/0123456789abcdef",
            "index/0123456789abcdef",
        ] {
            assert_eq!(cache_control(path), "no-cache", "{path}");
        }
    }

    #[test]
    fn single_ranges_are_told_from_the_rest() {
        for (text, single) in [
            ("bytes=0-", true),
            ("bytes=0-9", true),
            ("bytes=-5", true),
            ("bytes= 3-4", true),
            ("bytes=9-3", false),
            ("bytes=0-1,3-4", false),
            ("bytes=-", false),
            ("bytes=a-b", false),
            ("lines=1-2", false),
            ("0-9", false),
        ] {
            assert_eq!(is_one_range(&HeaderValue::from_static(text)), single, "{text}");
        }
    }
}
