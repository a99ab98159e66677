//! `peerage.toml`: which files are published and how, and the policy that is signed with them.
//!
//! ```toml
//! [share]                       # may be sent to peers
//! include = ["**"]
//! exclude = ["drafts/**"]
//! [cache]                       # verified and cached, never sent to peers
//! include = ["members/**"]
//! [precache]                    # on top of either: fetched when the worker installs
//! include = ["index.html", "app.js"]
//! [policy]
//! mode = "balanced"             # speed, balanced or offload
//! consent = "ask"               # ask, granted or never
//! upload_rate = 0               # bytes a second, 0: no limit
//! upload_budget = 0             # bytes a session, 0: no limit
//! integrity = "report"          # report or strict
//! fresh_ms = 300
//! offline_updates = false
//! inject = true
//! [cross_origin]                # listed files that pages load from another host: URL prefix = folder
//! "https://cdn.example.org/assets/" = "assets/"
//! [ignore_query]                # files that are the same whatever their URL's query
//! include = ["assets/**"]
//! [site]
//! clean_urls = false            # the host answers for about.html at /about
//! [trackers]
//! urls = []                     # none: the site's own peerage/tracker
//! [ice]
//! servers = [{ urls = ["stun:stun.example.org"] }]
//! [old]                         # files that tabs on an older version may still ask for
//! versions = 3
//! max_bytes = 268435456
//! ```
//!
//! The file is the one named with `--config`, else `peerage.toml` beside the published folder or in it (one of both,
//! not both). A key that is not known is refused: a misspelt `exclude` must not share what it was to keep.
//!
//! Patterns are globs over the path below the folder: `*` stays within a part, `**` crosses them, a pattern without `/`
//! holds at any depth (as in `.gitignore`), one that ends in `/` means everything below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use axum::http::Uri;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use peerage::manifest::{Consent, IceServer, Integrity, Label, Mode, Policy, check_path, url_from_path};
use serde::{Deserialize, Serialize};

/// The name of the configuration file.
pub(crate) const FILE: &str = "peerage.toml";

/// The name of the file that declares response headers, in the published folder.
pub(crate) const HEADERS: &str = "_headers";

/// A whole `peerage.toml`, as typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    share: Share,
    cache: Patterns,
    precache: Patterns,
    ignore_query: Patterns,
    site: SiteTable,
    policy: PolicyTable,
    cross_origin: BTreeMap<String, String>,
    trackers: Trackers,
    ice: Ice,
    /// Keeping replaced files.
    pub(crate) old: Old,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Share {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Default for Share {
    fn default() -> Self {
        Self { include: vec!["**".into()], exclude: Vec::new() }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Patterns {
    include: Vec<String>,
    exclude: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SiteTable {
    clean_urls: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PolicyTable {
    mode: Mode,
    consent: Consent,
    upload_rate: u64,
    upload_budget: u64,
    integrity: Integrity,
    fresh_ms: u32,
    offline_updates: bool,
    inject: bool,
}

impl Default for PolicyTable {
    fn default() -> Self {
        let Policy { mode, consent, upload_rate, upload_budget, integrity, fresh_ms, offline_updates, inject, .. } =
            Policy::default();
        Self { mode, consent, upload_rate, upload_budget, integrity, fresh_ms, offline_updates, inject }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Trackers {
    urls: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ice {
    servers: Vec<IceServer>,
}

/// How much is kept of what a new version replaces or removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Old {
    /// Versions before the current one whose files are kept; 0: none.
    pub(crate) versions: usize,
    /// Most bytes of kept files.
    pub(crate) max_bytes: u64,
}

impl Default for Old {
    fn default() -> Self {
        Self { versions: 3, max_bytes: 256 << 20 }
    }
}

impl Config {
    /// The configuration for a folder: from `named`, else from beside or in the folder, else the defaults.
    pub(crate) fn find(dir: &Path, named: Option<&Path>) -> anyhow::Result<Self> {
        match named {
            Some(file) => Self::read(file),
            None => match Self::beside_or_in(dir)? {
                Some(file) => Self::read(&file),
                None => Ok(Self::default()),
            },
        }
    }

    fn beside_or_in(dir: &Path) -> anyhow::Result<Option<PathBuf>> {
        let inside = dir.join(FILE);
        let beside = dir.parent().map(|parent| parent.join(FILE)).filter(|file| file.is_file());
        match (beside, inside.is_file()) {
            (Some(beside), true) => bail!(
                "there are two configurations, {} and {}; say which with --config, or remove one",
                beside.display(),
                inside.display()
            ),
            (Some(beside), false) => Ok(Some(beside)),
            (None, true) => Ok(Some(inside)),
            (None, false) => Ok(None),
        }
    }

    fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the configuration {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        // toml's own message shows line, column and the line itself, and lists the keys that are known.
        let config: Self = toml::from_str(text)?;
        config.rules()?;
        for url in &config.trackers.urls {
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            ensure!(
                matches!(scheme, None | Some("ws" | "wss")) && !url.is_empty(),
                "[trackers] urls: {url:?} is neither a ws:// or wss:// URL nor one relative to the site"
            );
        }
        for url in config.ice.servers.iter().flat_map(|server| &server.urls) {
            ensure!(
                ["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme)),
                "[ice] servers: {url:?} does not start with stun:, stuns:, turn: or turns:"
            );
        }
        Ok(config)
    }

    /// The policy to sign.
    pub(crate) fn policy(&self) -> Policy {
        let PolicyTable { mode, consent, upload_rate, upload_budget, integrity, fresh_ms, offline_updates, inject } =
            self.policy;
        Policy {
            mode,
            consent,
            upload_rate,
            upload_budget,
            integrity,
            fresh_ms,
            offline_updates,
            inject,
            trackers: self.trackers.urls.clone(),
            ice: self.ice.servers.clone(),
        }
    }

    fn cross_origin(&self) -> anyhow::Result<Vec<(String, String)>> {
        self.cross_origin.iter().map(cross_origin).collect()
    }

    /// The rules that label files.
    pub(crate) fn rules(&self) -> anyhow::Result<Rules> {
        let html = |pattern: &&String| HTML.iter().any(|extension| pattern.ends_with(extension));
        let html_include: Vec<String> = self.share.include.iter().filter(html).cloned().collect();
        Ok(Rules {
            share: Set::new("share", &self.share.include, &self.share.exclude)?,
            share_html: Set::new("share", &html_include, &self.share.exclude)?,
            cache: Set::new("cache", &self.cache.include, &self.cache.exclude)?,
            precache: Set::new("precache", &self.precache.include, &self.precache.exclude)?,
            ignore_query: Set::new("ignore_query", &self.ignore_query.include, &self.ignore_query.exclude)?,
            cross_origin: self.cross_origin()?,
            clean_urls: self.site.clean_urls,
        })
    }
}

/// A URL prefix and the folder below the site's root that it stands for, percent-encoded, both with a slash at the end.
fn cross_origin((prefix, folder): (&String, &String)) -> anyhow::Result<(String, String)> {
    let not_absolute = || format!("[cross_origin] {prefix:?} is not an absolute URL");
    let url: Uri = prefix.parse().with_context(not_absolute)?;
    let (scheme, host) = url.scheme_str().zip(url.authority()).with_context(not_absolute)?;
    ensure!(
        matches!(scheme, "https" | "http") && url.query().is_none() && !prefix.contains(['#', '@']),
        "[cross_origin] {prefix:?} must be an https: URL without a user, query or fragment"
    );
    ensure!(url.path().ends_with('/'), "[cross_origin] {prefix:?} must end in a slash: it stands for a folder");
    let host = host.as_str().to_ascii_lowercase();
    // As a browser writes it.
    let host = host.strip_suffix(if scheme == "https" { ":443" } else { ":80" }).unwrap_or(&host);
    let url = format!("{scheme}://{host}{}", url.path());
    let path = folder.strip_prefix("./").unwrap_or(folder).trim_end_matches('/');
    if path.is_empty() {
        return Ok((url, String::new()));
    }
    if let Err(why) = check_path(path) {
        bail!("[cross_origin] {folder:?} is not a folder below the site's root: {why}");
    }
    ensure!(path.split('/').next() != Some("peerage"), "[cross_origin] the folder peerage/ is Peerage's own");
    Ok((url, format!("{}/", url_from_path(path))))
}

/// Endings of a pattern that names HTML files.
const HTML: [&str; 3] = [".html", ".htm", ".xhtml"];

/// Which label a path gets.
///
/// What `[cache]` selects is `cache`; else what `[share]` selects is `share`, but an HTML document is `cache` unless a
/// pattern of `[share] include` names HTML by its ending (`**/*.html`): what a visitor reads is more than its assets
/// tell. What neither selects is not in the manifest.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    share: Set,
    share_html: Set,
    cache: Set,
    precache: Set,
    ignore_query: Set,
    cross_origin: Vec<(String, String)>,
    clean_urls: bool,
}

impl Rules {
    /// The host answers for `about.html` at `about`.
    pub(crate) fn has_clean_urls(&self) -> bool {
        self.clean_urls
    }

    /// The label of a file and whether it is precached; `None`: it is not published.
    pub(crate) fn label(&self, path: &str, media_type: &str) -> Option<(Label, bool)> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let is_html =
            essence.eq_ignore_ascii_case("text/html") || essence.eq_ignore_ascii_case("application/xhtml+xml");
        let label = if self.cache.selects(path) {
            Label::Cache
        } else if self.share.selects(path) {
            if is_html && !self.share_html.selects(path) { Label::Cache } else { Label::Share }
        } else {
            return None;
        };
        Some((label, self.precache.selects(path)))
    }

    /// What the worker's guard may let in: everything that a rule can select, and what no rule can.
    pub(crate) fn scope(&self) -> Scope {
        let union = |a: &[Pattern], b: &[Pattern]| {
            let mut all = a.to_vec();
            all.extend(b.iter().filter(|p| !a.contains(p)).cloned());
            all
        };
        let include = union(&self.share.include, &self.cache.include);
        // A path that one rule excludes may still be selected by the other.
        let exclude: Vec<Pattern> = if self.cache.include.is_empty() {
            self.share.exclude.clone()
        } else {
            self.share.exclude.iter().filter(|p| self.cache.exclude.contains(p)).cloned().collect()
        };
        let globs = |patterns: &[Pattern]| patterns.iter().map(|p| p.glob.clone()).collect();
        let regexes = |patterns: &[Pattern]| patterns.iter().map(|p| p.regex.clone()).collect();
        Scope {
            include: globs(&include),
            exclude: globs(&exclude),
            regex: ScopeRegex { include: regexes(&include), exclude: regexes(&exclude) },
            cross_origin: self.cross_origin.clone(),
            ignore_query: ScopeRegex {
                include: regexes(&self.ignore_query.include),
                exclude: regexes(&self.ignore_query.exclude),
            },
            clean_urls: self.clean_urls,
        }
    }
}

/// The published scope, as a constant of the worker script. A path is in it where an include pattern matches and no
/// exclude pattern does; patterns are over the decoded path relative to the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Scope {
    include: Vec<String>,
    exclude: Vec<String>,
    regex: ScopeRegex,
    /// URL prefixes on other hosts, and the folders (percent-encoded paths below the site) that they stand for.
    cross_origin: Vec<(String, String)>,
    /// Files that are the same whatever the query of their URL.
    ignore_query: ScopeRegex,
    /// The host answers for `about.html` at `about`; at its full name it may redirect.
    pub(crate) clean_urls: bool,
}

/// The same patterns as sources for JavaScript's `RegExp`, without flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ScopeRegex {
    include: Vec<String>,
    exclude: Vec<String>,
}

#[derive(Clone, Debug)]
struct Set {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    included: GlobSet,
    excluded: GlobSet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    glob: String,
    regex: String,
}

impl Set {
    fn new(table: &str, include: &[String], exclude: &[String]) -> anyhow::Result<Self> {
        let (include, included) = compile(include).with_context(|| format!("[{table}] include"))?;
        let (exclude, excluded) = compile(exclude).with_context(|| format!("[{table}] exclude"))?;
        Ok(Self { include, exclude, included, excluded })
    }

    fn selects(&self, path: &str) -> bool {
        self.included.is_match(path) && !self.excluded.is_match(path)
    }
}

fn compile(patterns: &[String]) -> anyhow::Result<(Vec<Pattern>, GlobSet)> {
    let mut set = GlobSetBuilder::new();
    let mut compiled = Vec::new();
    for pattern in patterns {
        let glob = normal_form(pattern);
        let built = GlobBuilder::new(&glob)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .with_context(|| format!("pattern {pattern:?}"))?;
        compiled.push(Pattern { regex: regex_for_javascript(built.regex()), glob });
        set.add(built);
    }
    Ok((compiled, set.build()?))
}

fn normal_form(pattern: &str) -> String {
    let below = if pattern.ends_with('/') { format!("{pattern}**") } else { pattern.to_owned() };
    match below.strip_prefix('/') {
        Some(rooted) => rooted.to_owned(),
        None if below.contains('/') || below.starts_with("**") => below,
        None => format!("**/{below}"),
    }
}

/// globset writes regular expressions over bytes; JavaScript's are over UTF-16. Only the flag in front and the escapes
/// of bytes beyond ASCII differ.
fn regex_for_javascript(regex: &str) -> String {
    let mut rest = regex.strip_prefix("(?-u)").unwrap_or(regex);
    let mut out = String::with_capacity(rest.len());
    let mut bytes = Vec::new();
    while let Some(c) = rest.chars().next() {
        let escape = rest.strip_prefix(r"\x").and_then(|r| r.get(..2)).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = escape {
            bytes.push(byte);
            rest = &rest[4..];
            if let Ok(text) = std::str::from_utf8(&bytes) {
                out.push_str(text);
                bytes.clear();
            }
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
        // An escaped backslash does not begin another escape.
        if c == '\\'
            && let Some(escaped) = rest.chars().next()
        {
            out.push(escaped);
            rest = &rest[escaped.len_utf8()..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(config: &str, path: &str) -> Option<Label> {
        let media_type = mime_guess::from_path(path).first_or_octet_stream();
        Config::parse(config).unwrap().rules().unwrap().label(path, media_type.as_ref()).map(|(label, _)| label)
    }

    #[test]
    fn by_default_everything_is_shared_but_html_is_only_cached() {
        assert_eq!(label("", "a/b.png"), Some(Label::Share));
        assert_eq!(label("", "no-extension"), Some(Label::Share));
        assert_eq!(label("", "index.html"), Some(Label::Cache));
        assert_eq!(label("", "a/b.htm"), Some(Label::Cache));
    }

    #[test]
    fn html_is_shared_only_where_a_pattern_names_it() {
        assert_eq!(label("[share]\ninclude = ['**']\nexclude = ['x/**']", "index.html"), Some(Label::Cache));
        assert_eq!(label("[share]\ninclude = ['**', 'docs/**/*.html']", "docs/a.html"), Some(Label::Share));
        assert_eq!(label("[share]\ninclude = ['**', 'docs/**/*.html']", "index.html"), Some(Label::Cache));
    }

    #[test]
    fn what_is_excluded_is_not_listed_and_cache_wins_over_share() {
        let config = "[share]\nexclude = ['private/', '*.map']\n[cache]\ninclude = ['members/**']";
        assert_eq!(label(config, "private/a.png"), None);
        assert_eq!(label(config, "private/index.html"), None);
        assert_eq!(label(config, "deep/down/app.js.map"), None);
        assert_eq!(label(config, "members/photo.jpg"), Some(Label::Cache));
        assert_eq!(label(config, "other/photo.jpg"), Some(Label::Share));
    }

    #[test]
    fn precache_comes_on_top() {
        let rules = Config::parse("[precache]\ninclude = ['/index.html']").unwrap().rules().unwrap();
        assert_eq!(rules.label("index.html", "text/html"), Some((Label::Cache, true)));
        assert_eq!(rules.label("a/index.html", "text/html"), Some((Label::Cache, false)));
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_line_and_the_known_ones() {
        let error = format!("{:#}", Config::parse("[share]\ninclude = ['**']\nexlude = ['x']\n").unwrap_err());
        assert!(error.contains("line 3") && error.contains("exlude") && error.contains("`exclude`"), "{error}");
        for (text, part) in [
            ("[share]\ninclude = ['a{b']", "[share] include"),
            ("[policy]\nmode = 'fast'", "`speed`"),
            ("[trackers]\nurls = ['https://x.example/']", "wss://"),
            ("[ice]\nservers = [{ urls = ['x.example'] }]", "stun:"),
            ("share = 1", "line 1"),
        ] {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn policy_is_what_was_typed() {
        let policy = Config::parse("[policy]\nmode = 'offload'\ninject = false\n").unwrap().policy();
        assert_eq!(policy, Policy { mode: Mode::Offload, inject: false, ..Policy::default() });
    }

    #[test]
    fn another_host_stands_for_a_folder() {
        let scope =
            |text: &str| Config::parse(text).and_then(|config| config.rules()).map(|rules| rules.scope().cross_origin);
        let one = |prefix: &str, folder: &str| scope(&format!("[cross_origin]\n{prefix:?} = {folder:?}"));
        let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
        assert_eq!(one("https://cdn.example/a/", "b c").unwrap(), pair("https://cdn.example/a/", "b%20c/"));
        assert_eq!(one("https://CDN.example", "./").unwrap(), pair("https://cdn.example/", ""));
        for (prefix, folder, says) in [
            ("cdn/", "a", "not an absolute URL"),
            ("ftp://cdn.example/", "a", "must be an https: URL"),
            ("https://cdn.example/a", "a", "must end in a slash"),
            ("https://cdn.example/?a/", "a", "without a user, query"),
            ("https://cdn.example/", "../a", "not a folder below"),
            ("https://cdn.example/", "/a", "not a folder below"),
            ("https://cdn.example/", "peerage/old", "Peerage's own"),
        ] {
            let error = format!("{:#}", one(prefix, folder).unwrap_err());
            assert!(error.contains(says), "{prefix} {folder}: {error}");
        }
    }

    #[test]
    fn the_scope_has_sources_that_javascript_reads() {
        let regex = |glob: &str| compile(&[glob.to_owned()]).unwrap().0.remove(0).regex;
        assert_eq!(regex("**"), "^.*$");
        assert_eq!(regex("a b/*.{js,css}"), r"^a b/[^/]*\.(?:js|css)$");
        assert_eq!(regex("ü/日本.txt"), r"^ü/日本\.txt$");
        assert_eq!(regex(r"a\\x41/b"), r"^a\\x41/b$");
        let scope = Config::parse("[share]\nexclude = ['api/**']").unwrap().rules().unwrap().scope();
        assert_eq!((scope.include, scope.exclude), (vec!["**".to_owned()], vec!["api/**".to_owned()]));
    }

    #[test]
    fn queries_matter_but_where_the_owner_says_otherwise() {
        let scope = |text: &str| Config::parse(text).unwrap().rules().unwrap().scope();
        assert_eq!(scope("").ignore_query, ScopeRegex { include: vec![], exclude: vec![] });
        let some = scope("[ignore_query]\ninclude = ['assets/**']\nexclude = ['*.json']").ignore_query;
        assert_eq!((&*some.include[0], &*some.exclude[0]), ("^assets/.*$", r"^(?:/?|.*/)[^/]*\.json$"));
        assert!(!scope("").clean_urls && scope("[site]\nclean_urls = true").clean_urls);
    }

    #[test]
    fn the_scope_excludes_only_what_no_rule_selects() {
        let config = "[share]\nexclude = ['a/**', 'b/**']\n[cache]\ninclude = ['a/**']\nexclude = ['b/**']";
        let scope = Config::parse(config).unwrap().rules().unwrap().scope();
        assert_eq!((scope.include, scope.exclude), (vec!["**".to_owned(), "a/**".to_owned()], vec!["b/**".to_owned()]));
    }
}
