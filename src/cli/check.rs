//! `peerage check URL|DIR`: verifies a deployed site against its manifest, as a visitor's browser would find it.
//!
//! From the root down: signature, index, shards, then every file's bytes, piece by piece; the worker script and
//! what it names; and, of a live site, whatever would make browsers see something else than what was signed: media
//! types, declared headers, redirects, policies that block the tag or the workers, caches that keep the root or the worker stale.

use std::fmt;
use std::io::{self, Read};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use peerage::digest::Digest;
use peerage::inject::{self, LOOK, Plan, allows_own_scripts};
use peerage::manifest::{Entry, MAX_DELTA_BYTES, Root};
use peerage::route::{clean_path, short_name};
use peerage::verify;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bundle::{INSPECTOR, MESH, PAGE, WORKER};
use super::publish::bar;
use super::say;
use super::site::{Opened, Place, ROOT, delta_path};

/// Verify a deployed site against its signed manifest: bytes, headers, types, policies, caches
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The site's URL, or a published folder
    #[arg(value_name = "URL|DIR")]
    place: String,
    /// Fetch only this many files, spread over the site
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Checks, prints, and fails where anything differs.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let place = Place::parse(&args.place)?;
    let checked = check(&place, args.sample, !args.json)?;
    if args.json {
        say(serde_json::to_string_pretty(&checked)?)?;
    } else {
        say(&checked)?;
    }
    match checked.problems.len() {
        0 => Ok(()),
        1 => bail!("{place} is not what was published: 1 problem"),
        count => bail!("{place} is not what was published: {count} problems"),
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Checked {
    /// The site id.
    pub(crate) site: String,
    /// The version that the place holds.
    pub(crate) version: u64,
    /// Whether visitors are told to remove the worker.
    pub(crate) retired: bool,
    /// Files listed.
    pub(crate) files: u64,
    /// Files whose bytes were read.
    pub(crate) read: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Everything that differs from what was signed, or keeps it from working.
    pub(crate) problems: Vec<Problem>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Problem {
    /// The file below the site.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) problem: String,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem { path, problem } in &self.problems {
            writeln!(f, "{path}: {problem}")?;
        }
        let retired = if self.retired { ", retired" } else { "" };
        writeln!(f, "site {}, version {}{retired}", self.site, self.version)?;
        write!(
            f,
            "{} of {} files read, {}, {} problems",
            HumanCount(self.read),
            HumanCount(self.files),
            HumanBytes(self.bytes),
            HumanCount(self.problems.len() as u64)
        )
    }
}

/// Checks a site. An error is what keeps from checking at all: nothing published, a root or an index that cannot be
/// verified.
pub(crate) fn check(place: &Place, sample: Option<usize>, progress: bool) -> anyhow::Result<Checked> {
    let root =
        place.root()?.ok_or_else(|| anyhow!("nothing is published at {place}: {} is missing", place.locate(ROOT)))?;
    let root = &root.root;
    let parts = place.tree(root.index).context("the manifest is not whole")?;
    let (constants, mut problems) = match worker_constants(place) {
        Ok(constants) => (Some(constants), Vec::new()),
        Err(e) => (None, vec![Problem::new(WORKER, format!("{e:#}"))]),
    };
    let clean_urls = constants.as_ref().is_some_and(|constants| constants.scope.clean_urls);
    problems.extend(constants.map(|constants| bundle_problems(place, root, constants)).into_iter().flatten());
    problems.extend(stale_problems(place));
    problems.extend(delta_problem(place, root));
    let listed = (parts.entries.len() as u64, parts.entries.iter().map(|e| e.size).sum::<u64>());
    if listed != (root.files, root.bytes) {
        problems.push(Problem::new(ROOT, format!("it counts {} files, its shards {}", root.files, listed.0)));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if root.expires <= now {
        problems.push(Problem::new(ROOT, "it has expired, so visitors do not take it from each other; publish again"));
    }
    let wanted = spread(&parts.entries, sample);
    let bar = bar(wanted.iter().map(|e| e.size).sum(), progress);
    let found = Mutex::new(problems);
    let threads = match place {
        Place::Folder(_) => 0,
        Place::Url(_) => CONNECTIONS,
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads).build()?.install(|| {
        wanted.par_iter().for_each(|entry| {
            let name = if clean_urls { clean_name(&entry.path, &parts.entries) } else { &entry.path };
            let problems = entry_problems(place, root, entry, name, &bar);
            if let Ok(mut all) = found.lock() {
                all.extend(problems.into_iter().map(|problem| Problem::new(&entry.path, problem)));
            }
        });
    });
    bar.finish_and_clear();
    let mut problems = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    problems.sort();
    Ok(Checked {
        site: root.site.clone(),
        version: root.version,
        retired: root.retired,
        files: root.files,
        read: wanted.len() as u64,
        bytes: wanted.iter().map(|e| e.size).sum(),
        problems,
    })
}

/// Visitors do without a delta; but one that is named and isn't there costs them a request that fails.
fn delta_problem(place: &Place, root: &Root) -> Option<Problem> {
    let want = root.delta?;
    let path = delta_path(&want.digest);
    let why = match place.read(&path, MAX_DELTA_BYTES) {
        Ok(Some(bytes)) if bytes.len() != want.bytes as usize => format!("{} bytes, not {}", bytes.len(), want.bytes),
        Ok(Some(bytes)) => verify::delta(&bytes, Digest::of(&bytes), want.digest).err()?.to_string(),
        Ok(None) => "it is missing".to_owned(),
        Err(e) => format!("{e:#}"),
    };
    Some(Problem::new(&path, why))
}

/// Requests at once to a live site.
const CONNECTIONS: usize = 8;

impl Problem {
    fn new(path: &str, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }
}

/// `count` entries, evenly over the paths.
fn spread(entries: &[Entry], count: Option<usize>) -> Vec<&Entry> {
    let count = count.unwrap_or(entries.len()).min(entries.len());
    (0..count).filter_map(|n| entries.get(n * entries.len() / count)).collect()
}

/// The constants of a worker script, as far as they are checked.
#[derive(Deserialize)]
struct Constants {
    site: String,
    wasm: Part,
    page: Part,
    mesh: Part,
    inspector: Part,
    scope: Scope,
}

#[derive(Deserialize)]
struct Scope {
    clean_urls: bool,
}

#[derive(Deserialize)]
struct Part {
    url: String,
    sha256: Digest,
}

/// The worker script must be this site's, and everything it names must be there with the hash that it says.
fn bundle_problems(place: &Place, root: &Root, constants: Constants) -> Vec<Problem> {
    let mut problems = Vec::new();
    if constants.site != root.site {
        problems.push(Problem::new(
            WORKER,
            format!("it is made for site {}, and the root is of {}", constants.site, root.site),
        ));
    }
    let Constants { wasm, page, mesh, inspector, .. } = constants;
    for (part, types) in [
        (wasm, &["application/wasm"][..]),
        (Part { url: PAGE.into(), ..page }, &JAVASCRIPT),
        (Part { url: MESH.into(), ..mesh }, &JAVASCRIPT),
        (Part { url: INSPECTOR.into(), ..inspector }, &["text/html"]),
    ] {
        let opened = match place.open(&part.url) {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                problems.push(Problem::new(&part.url, "it is missing"));
                continue;
            }
            Err(e) => {
                problems.push(Problem::new(&part.url, format!("{e:#}")));
                continue;
            }
        };
        problems.extend(type_problem(&opened, types).map(|problem| Problem::new(&part.url, problem)));
        let mut sha256 = Sha256::new();
        match io::copy(&mut { opened.body }, &mut DigestWriter(&mut sha256)) {
            Ok(_) if Digest(sha256.finalize().into()) == part.sha256 => {}
            Ok(_) => problems.push(Problem::new(&part.url, format!("its bytes are not those that {WORKER} names"))),
            Err(e) => problems.push(Problem::new(&part.url, format!("it cannot be read: {e}"))),
        }
    }
    problems
}

/// Types under which browsers run a script (WHATWG MIME Sniffing, section 4.6), as far as servers send them.
const JAVASCRIPT: [&str; 3] = ["text/javascript", "application/javascript", "application/x-javascript"];

fn worker_constants(place: &Place) -> anyhow::Result<Constants> {
    let opened = place.open(WORKER)?.ok_or_else(|| anyhow!("it is missing"))?;
    if let Some(problem) = type_problem(&opened, &JAVASCRIPT) {
        bail!("{problem}: browsers do not register it");
    }
    let mut script = String::new();
    opened.body.take(16 << 20).read_to_string(&mut script).context("it cannot be read")?;
    let json = script.lines().find_map(|line| line.strip_prefix("const PEERAGE = ")?.strip_suffix(';'));
    serde_json::from_str(json.unwrap_or_default()).map_err(|_| anyhow!("it is not a worker script that peerage wrote"))
}

struct DigestWriter<'a>(&'a mut Sha256);

impl io::Write for DigestWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Caches that may answer for the origin with an older root or worker.
fn stale_problems(place: &Place) -> Vec<Problem> {
    let kept = |path: &str| {
        let opened = place.open(path).ok()??;
        let value = opened.header("cache-control")?.to_ascii_lowercase();
        let has = |word: &str| value.split(',').any(|part| part.trim().starts_with(word));
        let seconds = |name: &str| {
            value
                .split(',')
                .filter_map(|part| part.trim().strip_prefix(name)?.trim_matches('"').parse::<u64>().ok())
                .max()
        };
        let age = seconds("max-age=").max(seconds("s-maxage="));
        let is_kept = has("immutable") || age.is_some_and(|age| age > FRESH);
        (is_kept && !has("no-cache") && !has("no-store")).then(|| {
            Problem::new(path, format!("its Cache-Control ({value}) lets caches keep an old one; send no-cache for it"))
        })
    };
    [ROOT, WORKER].into_iter().filter_map(kept).collect()
}

/// Caching that delays an update by no more than this is the owner's business, in seconds.
const FRESH: u64 = 300;

/// The path by which a host with clean URLs answers for a file. Where a folder's index takes a page's name it is its own.
fn clean_name<'a>(path: &'a str, entries: &[Entry]) -> &'a str {
    let short = short_name(path, true);
    let index = clean_path(short).map(|(_, index)| index).unwrap_or_default();
    let is_taken = |name: &str| entries.binary_search_by(|entry| entry.path.as_str().cmp(name)).is_ok();
    if short != path && (is_taken(short) || is_taken(&index)) { path } else { short }
}

/// What is wrong with a file, which a live site answers with by the path `name`.
fn entry_problems(place: &Place, root: &Root, entry: &Entry, name: &str, bar: &ProgressBar) -> Vec<String> {
    let (name, is_clean) = match place {
        Place::Folder(_) => (&*entry.path, false),
        Place::Url(_) => (name, name != entry.path),
    };
    let opened = match place.open(name) {
        Ok(Some(opened)) => opened,
        Ok(None) if is_clean => return vec![format!("it is missing at /{name}, which clean_urls promises")],
        Ok(None) => return vec!["it is missing".into()],
        Err(e) => return vec![format!("{e:#}")],
    };
    let mut problems = header_problems(&opened, entry);
    if let Some(to) = &opened.moved {
        let hint =
            if entry.path.ends_with(".html") && !is_clean { "; perhaps [site] clean_urls is true here" } else { "" };
        problems.push(format!("/{name} is redirected to {to}, and visitors get it without that{hint}"));
    }
    let is_html = essence(&entry.media_type) == "text/html";
    let headers = opened.headers.clone();
    match read_entry(opened.body, entry, bar) {
        Ok(start) if is_html && opened.is_live => problems.extend(policy_problems(&start, &headers, root)),
        Ok(_) => {}
        Err(problem) => problems.push(problem),
    }
    problems
}

/// Reads a file against its pieces; gives its first bytes back.
fn read_entry(mut body: impl Read, entry: &Entry, bar: &ProgressBar) -> Result<Vec<u8>, String> {
    let unreadable = |e: io::Error| format!("it cannot be read: {e}");
    let mut start = Vec::new();
    let mut piece = Vec::new();
    let mut at = 0;
    for want in &entry.pieces {
        piece.clear();
        (&mut body).take(u64::from(want.len)).read_to_end(&mut piece).map_err(unreadable)?;
        bar.inc(piece.len() as u64);
        if piece.len() as u64 != u64::from(want.len) {
            return Err(format!("it ends after {} of {} bytes", at + piece.len() as u64, entry.size));
        }
        if Digest::of(&piece) != want.digest {
            return Err(format!("its bytes differ from those published, from somewhere after byte {at}"));
        }
        if start.len() < LOOK {
            start.extend_from_slice(&piece[..piece.len().min(LOOK - start.len())]);
        }
        at += piece.len() as u64;
    }
    match body.read(&mut [0]) {
        Ok(0) => Ok(start),
        Ok(_) => Err(format!("it goes on after its {} bytes", entry.size)),
        Err(e) => Err(unreadable(e)),
    }
}

/// Declared headers and media type against those that came.
fn header_problems(opened: &Opened, entry: &Entry) -> Vec<String> {
    let mut problems: Vec<String> = type_problem(opened, &[&essence(&entry.media_type)]).into_iter().collect();
    if !opened.is_live {
        return problems;
    }
    for (name, signed) in &entry.headers {
        match opened.header(&name.to_ascii_lowercase()) {
            None => problems.push(format!("the signed header {name}: {signed} is not sent")),
            Some(live) if live.trim() != signed.trim() => {
                problems.push(format!("the header {name} is {live:?}, and {signed:?} was signed"));
            }
            Some(_) => {}
        }
    }
    problems
}

fn type_problem(opened: &Opened, wanted: &[&str]) -> Option<String> {
    if !opened.is_live {
        return None;
    }
    let found = essence(opened.header("content-type").unwrap_or_default());
    let alike = |want: &&str| found == **want || (JAVASCRIPT.contains(&found.as_str()) && JAVASCRIPT.contains(want));
    if wanted.iter().any(alike) || wanted == ["application/octet-stream"] {
        return None;
    }
    let found = if found.is_empty() { "none" } else { &found };
    Some(format!("its media type is {found}, not {}", wanted.first().unwrap_or(&"")))
}

/// A media type without its parameters.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a document's policies let Peerage work in it.
fn policy_problems(html: &[u8], headers: &[(String, String)], root: &Root) -> Vec<String> {
    let mut problems = Vec::new();
    if root.policy.inject
        && let Plan::Blocked(what) = inject::plan(html, headers, PAGE)
    {
        problems.push(format!("{what} blocks the page.js tag; let scripts of 'self' in, or load {PAGE} yourself"));
    }
    let policies = headers.iter().filter(|(name, _)| name == "content-security-policy").flat_map(|(_, v)| v.split(','));
    if policies.into_iter().any(|policy| !allows_own_workers(policy)) {
        problems.push("its Content-Security-Policy blocks workers of the site's own; add worker-src 'self'".into());
    }
    problems
}

/// CSP Level 3, section 6.1.17: worker-src, else child-src, else what scripts may do.
fn allows_own_workers(policy: &str) -> bool {
    let policy = policy.to_ascii_lowercase();
    let sources = |wanted: &str| {
        policy.split(';').map(str::trim).find_map(|directive| {
            let (name, sources) = directive.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((directive, ""));
            (name == wanted).then(|| sources.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
        })
    };
    match sources("worker-src").or_else(|| sources("child-src")) {
        Some(list) => list.iter().any(|source| source == "'self'" || source == "*" || source == "https:"),
        None => policy.contains("'strict-dynamic'") || allows_own_scripts(&policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bundle;

    #[test]
    fn a_sample_is_spread_over_all() {
        let entries: Vec<Entry> = (0..100).map(|n| bundle::empty_entry(format!("{n:03}"))).collect();
        let paths = |count| spread(&entries, count).iter().map(|e| e.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(Some(4)), ["000", "025", "050", "075"]);
        assert_eq!(paths(Some(1000)).len(), 100);
        assert_eq!(paths(None).len(), 100);
        assert!(paths(Some(0)).is_empty());
    }

    #[test]
    fn a_page_is_looked_for_by_its_clean_name_unless_that_is_taken() {
        let paths = ["about.html", "blog/index.html", "blog.html", "index.html", "new", "new.html"];
        let mut entries: Vec<Entry> = paths.map(|path| bundle::empty_entry(path.to_owned())).into();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let names = paths.map(|path| clean_name(path, &entries));
        assert_eq!(names, ["about", "blog/", "blog.html", "", "new", "new.html"]);
    }

    #[test]
    fn policies_that_block_workers_are_known() {
        for (policy, allowed) in [
            ("img-src 'none'", true),
            ("default-src 'self'", true),
            ("default-src 'none'", false),
            ("worker-src 'none'", false),
            ("script-src 'none'; worker-src 'self'", true),
            ("child-src blob:", false),
            ("script-src 'nonce-x' 'strict-dynamic'", true),
        ] {
            assert_eq!(allows_own_workers(policy), allowed, "{policy}");
        }
    }
}
