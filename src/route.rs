//! Routing: what to do with a request, from facts about it and from the manifest, without IO.
//!
//! Whatever is not plainly a read of a listed file passes to the network untouched (promise 2): a proxy that guesses
//! breaks sites.

use std::borrow::Cow;

use crate::manifest::{path_from_url, url_from_path};

/// What a driver knows of a request, all of it as the Fetch standard names it.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// Method, upper case.
    pub method: &'a str,
    /// The URL's path below the site's root, percent-encoded, without the leading slash; `None` outside of it.
    pub path: Option<&'a str>,
    /// The query with its `?`; empty where there is none.
    pub query: &'a str,
    /// The owner says that the query doesn't change the answer.
    pub ignores_query: bool,
    /// The origin answers for a page by its name without the ending: [`clean_path`].
    pub clean_urls: bool,
    /// `Request.cache`.
    pub cache: &'a str,
    /// `Request.mode` is `navigate`.
    pub navigation: bool,
    /// The `Range` header.
    pub range: Option<&'a str>,
    /// `Authorization` or a conditional header (RFC 9110, section 13.1) set by the page.
    pub conditional: bool,
    /// A request with CORS and cookies for another host. (Without CORS, as an `img` asks, cookies go along anyway.)
    pub credentialed: bool,
}

/// Why a request goes to the network as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Not GET or HEAD.
    Method,
    /// Outside the site, or a URL that no listed path can have.
    Elsewhere,
    /// A query: the answer may depend on it.
    Query,
    /// A page by its full name, on a site with clean URLs: the origin may redirect or answer.
    FullName,
    /// The page asks the origin explicitly (`no-store`, `reload`, `only-if-cached`).
    CacheMode,
    /// Authorization or a condition of the page's own.
    Conditional,
    /// The answer may be one visitor's, or refused: that other host decides.
    Credentials,
    /// A multiple or unreadable range.
    Range,
}

/// A request that the manifest may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The canonical path to look up.
    pub path: String,
    /// Only the header section is wanted.
    pub head: bool,
    /// The range asked for.
    pub range: Option<ByteRange>,
}

/// One byte range as asked for (RFC 9110, section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=a-` or `bytes=a-b`: first and last, inclusive.
    From(u64, Option<u64>),
    /// `bytes=-n`: the last n bytes.
    Suffix(u64),
}

impl ByteRange {
    /// Reads a `Range` header with a single byte range.
    pub fn parse(header: &str) -> Option<Self> {
        let spec = header.strip_prefix("bytes=")?.trim();
        let (first, last) = spec.split_once('-')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if digits { text.parse::<u64>().ok() } else { None }
        };
        match (first.trim(), last.trim()) {
            ("", last) => number(last).map(Self::Suffix),
            (first, "") => number(first).map(|first| Self::From(first, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The half-open span of a representation of `size` bytes; `None` where it cannot be satisfied (416).
    pub fn resolve(self, size: u64) -> Option<(u64, u64)> {
        let (start, end) = match self {
            Self::From(first, last) => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
            Self::Suffix(n) => (size.saturating_sub(n), size),
        };
        (start < end).then_some((start, end))
    }
}

/// A host of the site's own from which listed files come too: what lies below a URL is what the manifest lists below a
/// folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// An absolute URL that ends in a slash.
    pub prefix: String,
    /// A path below the site's root, percent-encoded, that ends in a slash; or nothing, for the root itself.
    pub folder: String,
}

/// The path below the site's root that an absolute URL stands for, percent-encoded; `None` where it is not the site's.
/// `scope` is the root's own URL.
pub fn site_path<'a>(url: &'a str, scope: &str, elsewhere: &[Elsewhere]) -> Option<Cow<'a, str>> {
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    if let Some(path) = url.strip_prefix(scope) {
        return Some(path.into());
    }
    elsewhere
        .iter()
        .find_map(|Elsewhere { prefix, folder }| Some([folder, url.strip_prefix(&**prefix)?].concat().into()))
}

/// The URL from which a listed file comes: the other way round. A folder's index and, with clean URLs, a page are asked
/// for by the name that no origin redirects.
pub fn site_url(path: &str, scope: &str, elsewhere: &[Elsewhere], clean_urls: bool) -> String {
    let path = url_from_path(short_name(path, clean_urls));
    let host = elsewhere.iter().find_map(|e| Some((&*e.prefix, path.strip_prefix(&*e.folder)?)));
    let (prefix, rest) = host.unwrap_or((scope, &path));
    [prefix, rest].concat()
}

/// A listed path as its URL has it: without `index.html`, and with clean URLs without `.html`.
pub fn short_name(path: &str, clean_urls: bool) -> &str {
    let folder = path.strip_suffix("index.html").filter(|folder| folder.is_empty() || folder.ends_with('/'));
    let page = || path.strip_suffix(PAGE).filter(|_| clean_urls);
    folder.or_else(page).unwrap_or(path)
}

const PAGE: &str = ".html";

/// What a path that isn't listed stands for with clean URLs: a page without its ending; and the index that, where there
/// is one, hosts differ about. Names with a dot are left to the origin.
pub fn clean_path(path: &str) -> Option<(String, String)> {
    let name = path.rsplit('/').next()?;
    (!name.contains('.')).then(|| ([path, PAGE].concat(), [path, "/index.html"].concat()))
}

/// The path to look up for a URL's path below the site's root: a folder stands for its index.
pub fn listed_path(url_path: &str) -> Option<String> {
    let mut path = path_from_url(url_path)?;
    if path.is_empty() || path.ends_with('/') {
        path.push_str("index.html");
    }
    Some(path)
}

/// Decides from the request alone. Synchronous and without the manifest, so that it can run before anything is loaded.
pub fn decide(facts: &Facts<'_>) -> Result<Candidate, Pass> {
    let head = match facts.method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Pass::Method),
    };
    let url_path = facts.path.ok_or(Pass::Elsewhere)?;
    let path = listed_path(url_path).ok_or(Pass::Elsewhere)?;
    if !facts.query.is_empty() && !facts.ignores_query {
        return Err(Pass::Query);
    }
    if facts.clean_urls && path.ends_with(PAGE) && !(url_path.is_empty() || url_path.ends_with('/')) {
        return Err(Pass::FullName);
    }
    // A navigation's `reload` and `no-cache` come with the user's reload button, which the manifest answers freshly.
    let explicit = matches!(facts.cache, "no-store" | "reload" | "only-if-cached");
    if explicit && !facts.navigation {
        return Err(Pass::CacheMode);
    }
    if facts.conditional {
        return Err(Pass::Conditional);
    }
    if facts.credentialed {
        return Err(Pass::Credentials);
    }
    let range = match facts.range {
        Some(header) => Some(ByteRange::parse(header).ok_or(Pass::Range)?),
        None => None,
    };
    Ok(Candidate { path, head, range })
}

/// Whether what loads a response of this destination (`Request.destination`) may refuse it for a missing header, or be
/// less guarded without one (CSP, COEP, CORP): such a file is not taken from a peer before its headers are known. A
/// worker is loaded without them on a site that is not `guarded`: none of its documents carries such a header.
pub fn needs_headers(destination: &str, guarded: bool) -> bool {
    match destination {
        "document" | "iframe" | "frame" | "embed" | "object" => true,
        "worker" | "sharedworker" => guarded,
        _ => false,
    }
}

/// Whether these headers of a document guard what it loads.
pub fn guards(headers: &[(String, String)]) -> bool {
    let guarding = ["content-security-policy", "cross-origin-embedder-policy", "cross-origin-opener-policy"];
    headers.iter().any(|(name, _)| guarding.iter().any(|guard| name.eq_ignore_ascii_case(guard)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Facts<'_> {
        Facts { method: "GET", path: Some(path), ..Facts::default() }
    }

    #[test]
    fn a_file_comes_from_the_site_or_from_a_host_that_its_owner_named() {
        let cdn = |prefix: &str, folder: &str| Elsewhere { prefix: prefix.into(), folder: folder.into() };
        let hosts = [cdn("https://cdn.example/v1/", "assets/"), cdn("https://img.example/", "a%20b/")];
        let scope = "https://site.example/app/";
        let path = |url| site_path(url, scope, &hosts).map(Cow::into_owned);
        assert_eq!(path("https://site.example/app/x.js?q#f").as_deref(), Some("x.js"));
        assert_eq!(path("https://cdn.example/v1/x/y.js#f").as_deref(), Some("assets/x/y.js"));
        assert_eq!(path("https://img.example/1.png").as_deref(), Some("a%20b/1.png"));
        for other in ["https://site.example/", "https://cdn.example/v2/x.js", "https://cdn.example.evil/v1/x.js", ""] {
            assert_eq!(path(other), None, "{other}");
        }
        for url in ["https://cdn.example/v1/x/y.js", "https://img.example/1.png", "https://site.example/app/z%20z"] {
            let path = listed_path(&path(url).unwrap()).unwrap();
            assert_eq!(site_url(&path, scope, &hosts, false), url);
        }
    }

    #[test]
    fn with_clean_urls_a_page_goes_by_its_name_without_the_ending() {
        let short = |path| (short_name(path, false), short_name(path, true));
        assert_eq!(short("docs/about.html"), ("docs/about.html", "docs/about"));
        assert_eq!(short("docs/index.html"), ("docs/", "docs/"));
        assert_eq!(short("index.html"), ("", ""));
        assert_eq!(short("myindex.html"), ("myindex.html", "myindex"));
        assert_eq!(short("about.htm"), ("about.htm", "about.htm"));
        assert_eq!(clean_path("docs/about"), Some(("docs/about.html".into(), "docs/about/index.html".into())));
        assert_eq!(clean_path("v1.2/about").map(|(page, _)| page).as_deref(), Some("v1.2/about.html"));
        assert_eq!(clean_path("missing.js"), None);
        let clean = |path| decide(&Facts { clean_urls: true, ..get(path) }).map(|c| c.path);
        assert_eq!(clean("about"), Ok("about".into()));
        assert_eq!(clean("docs/"), Ok("docs/index.html".into()));
        for full in ["about.html", "index.html", "docs/index.html", "%61bout%2Ehtml"] {
            assert_eq!(clean(full), Err(Pass::FullName), "{full}");
        }
    }

    #[test]
    fn reads_of_files_are_candidates() {
        let path = |facts: &Facts<'_>| decide(facts).map(|c| c.path);
        assert_eq!(path(&get("a%20b.js")), Ok("a b.js".into()));
        assert_eq!(path(&get("")), Ok("index.html".into()));
        assert_eq!(path(&get("docs/")), Ok("docs/index.html".into()));
        assert!(decide(&Facts { method: "HEAD", ..get("x") }).unwrap().head);
        assert!(decide(&Facts { cache: "reload", navigation: true, ..get("") }).is_ok());
        assert_eq!(path(&Facts { query: "?v=1", ignores_query: true, ..get("x") }), Ok("x".into()));
    }

    #[test]
    fn everything_else_passes() {
        let why = |facts: Facts<'_>| decide(&facts).unwrap_err();
        assert_eq!(why(Facts { method: "POST", ..get("x") }), Pass::Method);
        assert_eq!(why(Facts { path: None, ..get("") }), Pass::Elsewhere);
        assert_eq!(why(get("a%2Fb")), Pass::Elsewhere);
        assert_eq!(why(Facts { query: "?v=1", ..get("x") }), Pass::Query);
        assert_eq!(why(Facts { cache: "no-store", ..get("x") }), Pass::CacheMode);
        assert_eq!(why(Facts { conditional: true, ..get("x") }), Pass::Conditional);
        assert_eq!(why(Facts { credentialed: true, ..get("x") }), Pass::Credentials);
        assert_eq!(why(Facts { range: Some("bytes=0-1,3-4"), ..get("x") }), Pass::Range);
        assert_eq!(why(Facts { range: Some("lines=0-1"), ..get("x") }), Pass::Range);
    }

    #[test]
    fn ranges_resolve_as_rfc_9110_says() {
        let span = |header: &str, size| ByteRange::parse(header).and_then(|r| r.resolve(size));
        assert_eq!(span("bytes=0-499", 1000), Some((0, 500)));
        assert_eq!(span("bytes=500-", 1000), Some((500, 1000)));
        assert_eq!(span("bytes=-200", 1000), Some((800, 1000)));
        assert_eq!(span("bytes=-2000", 1000), Some((0, 1000)));
        assert_eq!(span("bytes=900-5000", 1000), Some((900, 1000)));
        assert_eq!(span("bytes=1000-", 1000), None);
        assert_eq!(span("bytes=-0", 1000), None);
        assert_eq!(span("bytes=0-", 0), None);
        assert_eq!(ByteRange::parse("bytes=5-4"), None);
        assert_eq!(ByteRange::parse("bytes=+5-"), None);
        assert_eq!(ByteRange::parse("bytes=-"), None);
    }

    #[test]
    fn a_worker_of_a_guarded_site_waits_for_its_headers() {
        assert!(needs_headers("iframe", false));
        assert!(needs_headers("worker", true));
        assert!(!needs_headers("worker", false));
        assert!(!needs_headers("image", true));
        assert!(guards(&[("Cross-Origin-Embedder-Policy".into(), "require-corp".into())]));
        assert!(!guards(&[("etag".into(), "1".into())]));
    }
}
