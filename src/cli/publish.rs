//! `peerage publish DIR`: makes a folder of files into a site whose visitors serve it to each other.
//!
//! In this order, so that nothing is written unless everything could be read:
//!
//! 1. the configuration, the version before (in DIR, or live at `--url`), and the key that must sign (`signing`);
//! 2. the files: found (`walk`), labelled (`peerage.toml`), cut and hashed (`hash`);
//! 3. what a tab on an older version may still ask for (`old`);
//! 4. writing (`write`): what is addressed by its content, then copies for when this version is the old one, then the
//!    worker and its scripts, then the root;
//! 5. what no kept version needs any more is removed.
//!
//! Where entries, policy and bundle are what they were, nothing is written and the version stays.

mod delta;
mod hash;
mod old;
mod report;
mod signing;
mod stamps;
mod walk;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use peerage::digest::Digest;
use peerage::headers::Headers;
use peerage::keys::{self as chain, FIRST};
use peerage::manifest::{Entry, FORMAT, Label, MAX_ROOT_BYTES, Root, build_tree, integrity_of};
use peerage::route::short_name;
use peerage::sign::Key;
use peerage::verify::SignedRoot;
use rayon::prelude::*;

use self::delta::Deltas;
use self::hash::{Hashed, Job, hash_all};
use self::old::OldFiles;
pub(crate) use self::report::Report;
use self::signing::{Plan, Signer};
use self::stamps::{Seen, Stamps};
use self::walk::Found;
use self::write::{Batch, remove_leftovers};
use super::bundle::{self, Bundle};
use super::config::{Config, HEADERS, Rules};
use super::media::media_type;
use super::site::{self, Keys, Parts, Place, ROOT, Site};
use super::{Misuse, keys, say};

/// Hash, label and sign a folder's files, and write the worker, its scripts and the manifest into it
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
What is published: every regular file that is not hidden. HTML is cached by visitors but not shared between them,
everything else is shared; peerage.toml (beside DIR or in it) says otherwise.

The key: made on first use beside DIR, as <DIR>.peerage-key.pem. Keep it: whoever lost it cannot publish a new version
of the site to those who have visited it. Beside the key, in a folder of the same name that ends in .kept, files are
remembered until the next version replaces them.

Another key: --new-key FILE lets the present key say that the one in FILE takes over. Visitors follow, however many such
changes they missed; from then on publish with --key FILE, and keep peerage/keys/ in DIR or say --url. Where the key is lost
or stolen, --replace-key begins anew with another first key: to visitors' browsers it is another site, which they come to by
the worker script. docs/keys.md has more.")]
pub(crate) struct Args {
    /// The folder to publish
    dir: PathBuf,
    /// The site's private key (PKCS#8 PEM); made if the site is new and there is none
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A key that takes over from the present one; made if there is none
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,
    /// The site's key is lost or stolen: begin anew with the one in --key, made if there is none
    #[arg(long, conflicts_with = "new_key")]
    replace_key: bool,
    /// The configuration [default: peerage.toml beside DIR or in it]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the site is live: its version is succeeded and its replaced files are kept
    #[arg(long)]
    url: Option<String>,
    /// Sign a root that tells visitors' browsers to remove the worker and all that it stored
    #[arg(long)]
    retire: bool,
    /// Read every file, also those that look as they did when they were last read
    #[arg(long)]
    rehash: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What to publish, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublishOptions {
    /// The folder.
    pub(crate) dir: PathBuf,
    /// The key's file; without it, beside the folder.
    pub(crate) key: Option<PathBuf>,
    /// The file of a key that takes over.
    pub(crate) new_key: Option<PathBuf>,
    /// Whether to begin anew with another first key.
    pub(crate) replace_key: bool,
    /// The configuration's file; without it, beside the folder or in it.
    pub(crate) config: Option<PathBuf>,
    /// Where the site is live.
    pub(crate) url: Option<String>,
    /// Whether to sign a root that ends it.
    pub(crate) retire: bool,
    /// Whether to read files that look as they did.
    pub(crate) rehash: bool,
    /// Whether a progress bar may be drawn on a terminal.
    pub(crate) progress: bool,
}

/// Publishes and prints what was done.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Args { dir, key, new_key, replace_key, config, url, retire, rehash, json } = args;
    let progress = !json;
    let report = publish(&PublishOptions { dir, key, new_key, replace_key, config, url, retire, rehash, progress })?;
    for warning in &report.warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    if json {
        say(serde_json::to_string_pretty(&report)?)?;
    } else {
        say(report)?;
    }
    Ok(())
}

/// Publishes a folder. Whatever fails, the version that was there before is whole.
pub(crate) fn publish(options: &PublishOptions) -> anyhow::Result<Report> {
    let dir = &options.dir;
    ensure!(dir.is_dir(), Misuse(format!("cannot publish {}: it is not a folder", dir.display())));
    let dir = &dir.canonicalize().with_context(|| format!("cannot read {}", dir.display()))?;
    let embedded = Bundle::embedded()?;
    let config = Config::find(dir, options.config.as_deref())?;
    let rules = config.rules()?;
    let headers = read_headers(dir)?;
    let _alone = lock(dir)?;

    let previous = Previous::find(dir, options)?;
    ensure!(
        previous.is_some() || !options.retire,
        "nothing is published in {} yet, so there is nothing to retire",
        dir.display()
    );
    let plan = Plan::find(dir, options, previous.as_ref())?;
    let kept_with = plan.kept_with().to_owned();

    let walked = walk::walk(dir)?;
    let mut warnings: Vec<String> = Vec::new();
    if !walked.skipped.is_empty() {
        let names = walked.skipped.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        warnings.push(format!(
            "{} links that lead to folders, nowhere, or out of what is published were left out: {names}",
            walked.skipped.len()
        ));
    }
    let labelled = label_all(walked.files, &rules, &headers);
    warnings.extend(labelled.warning());
    let unlisted = labelled.unlisted + labelled.personal;
    let began = SystemTime::now();
    let known = if options.rehash { Stamps::none() } else { Stamps::read(&kept_with, previous.as_ref()) };
    let Read { mut entries, files, read } = read_all(labelled.files, known, options.progress)?;
    if let Some(huge) = entries.iter().find(|e| e.pieces.len() > MAX_PIECES) {
        bail!("{} is too large to be published: {} pieces, of at most {MAX_PIECES}", huge.path, huge.pieces.len());
    }
    let tree = build_tree(&mut entries)?;
    let deltas = Deltas::since(previous.as_ref(), &tree);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let signer = plan.carry_out(now)?;
    warnings.extend(keys::warning(&signer.file));
    let scope = rules.scope();
    let listed = bundle::Listed::of(&entries, scope.clean_urls, previous.as_ref().map(|p| &p.place));
    let built = embedded.build(&signer.first, &scope, &listed)?;

    let unsigned = Root {
        format: FORMAT,
        site: signer.site.clone(),
        version: now,
        issued: now,
        expires: now + LIFETIME,
        index: tree.top.digest(),
        index_bytes: u32::try_from(tree.top.as_bytes().len())?,
        delta: deltas.name,
        key: signer.number,
        files: entries.len() as u64,
        bytes: entries.iter().map(|e| e.size).sum(),
        policy: config.policy(),
        retired: options.retire,
    };
    let kept = previous.as_ref().filter(|p| p.says_the_same(&unsigned, now) && built.same_as(&p.place));
    let root = match (&previous, kept) {
        (_, Some(same)) => same.signed.clone(),
        (before, None) => {
            let version = before.as_ref().map_or(now, |p| p.next_version(&unsigned, now));
            sign(&signer.key, Root { version, ..unsigned })?
        }
    };
    let changed = kept.is_none();
    let jwk = serde_json::to_vec_pretty(&signer.first)?;

    let new = old::New { root: &root.root, entries: &entries, tree: &tree, built: &built };
    let mut old = OldFiles::plan(dir, &kept_with, config.old, previous.as_ref(), &new);
    for folder in ["", "peerage", "peerage/shard", "peerage/index", "peerage/delta", "peerage/keys", "peerage/old"] {
        remove_leftovers(&dir.join(folder));
    }
    let mut addressed = Batch::default();
    for (path, link) in &signer.links {
        addressed.add(dir.join(path), link)?;
    }
    let there = previous.as_ref().map(|p| p.parts_in(dir)).unwrap_or_default();
    for page in tree.pages.iter().filter(|page| !there.contains(&page.digest())) {
        addressed.add(dir.join(site::index_path(&page.digest())), page.as_bytes())?;
    }
    for shard in tree.shards.iter().filter(|shard| !there.contains(&shard.digest())) {
        addressed.add(dir.join(site::shard_path(&shard.digest())), shard.as_bytes())?;
    }
    for (name, bytes) in &deltas.files {
        addressed.add(dir.join(site::delta_path(&name.digest)), bytes)?;
    }
    old.stage(&mut addressed)?;
    let mut scripts = Batch::default();
    for file in built.files() {
        let batch = if file.is_addressed { &mut addressed } else { &mut scripts };
        batch.add(dir.join(&file.path), &file.bytes)?;
    }
    addressed.commit()?;
    old.remember();
    scripts.commit()?;
    let mut last = Batch::default();
    // A root is read by way of the first key: that of another site goes with its root.
    last.add(dir.join(chain::path(FIRST)), &jwk)?;
    last.add(dir.join(ROOT), root.text.as_bytes())?;
    last.commit()?;
    old.finish(&tree, &deltas);
    if read > 0
        && let Err(e) = stamps::write(&kept_with, &files, old.linked(), began)
    {
        warnings.push(format!("the next publication will read every file again: {e:#}"));
    }
    warnings.extend(old.warnings());
    signer.tidy(dir);

    let new = New::since(previous.as_ref(), &entries);
    let before = previous.as_ref().map(|p| &p.signed.root);
    let replaced_site = before.map(|root| root.site.clone()).filter(|site| *site != signer.site);
    let Signer { file, number, created, .. } = signer;
    Ok(Report {
        changed,
        version: root.root.version,
        previous_version: before.map(|root| root.version),
        site: root.root.site.clone(),
        retired: root.root.retired,
        files: root.root.files,
        bytes: root.root.bytes,
        share: count(&entries, |e| e.label == Label::Share),
        cache: count(&entries, |e| e.label == Label::Cache),
        precache: count(&entries, |e| e.precache),
        read,
        unlisted,
        pieces: entries.iter().map(|e| e.pieces.len() as u64).sum(),
        shards: tree.shards.len() as u64,
        delta_bytes: root.root.delta.map(|delta| delta.bytes),
        root_bytes: root.text.len() as u64,
        new_pieces: new.pieces,
        new_bytes: new.bytes,
        old_files: old.files(),
        old_bytes: old.bytes(),
        key: file,
        key_number: number,
        key_created: created,
        replaced_site,
        warnings,
    })
}

/// The most pieces that one entry may have, about 30 GiB: it must fit into a shard with its other fields.
const MAX_PIECES: usize = 100_000;

/// How long a root is good without the origin's word, in seconds: a year.
const LIFETIME: u64 = 365 * DAY;

/// A day in seconds.
const DAY: u64 = 24 * 3600;

/// The version that is there already.
#[derive(Debug)]
struct Previous {
    /// Where it was found.
    place: Place,
    /// Where the site is live, if that was said and something is there.
    live: Option<Place>,
    signed: SignedRoot,
    /// The keys up to the one that signed it.
    keys: Keys,
    /// What is live is of another site, whose first key was replaced in the folder.
    is_replaced: bool,
    /// Everything below its root; `None` where that cannot be read.
    parts: Option<Parts>,
}

impl Previous {
    /// The newest of what the folder holds and what is live.
    fn find(dir: &Path, options: &PublishOptions) -> anyhow::Result<Option<Self>> {
        let here = Place::Folder(dir.to_owned());
        let local = here.published().context(
            "what was published here before cannot be read; restore it, or remove the folder peerage/ to start anew",
        )?;
        let live = match &options.url {
            None => None,
            Some(url) => {
                let place = Place::Url(Site::new(url)?);
                place
                    .published()
                    .context("the live site's version must be known before a new one is made")?
                    .map(|live| (place, live))
            }
        };
        let mut is_replaced = false;
        if let (Some((local, _)), Some((place, (live, _)))) = (&local, &live) {
            is_replaced = local.root.site != live.root.site;
            ensure!(
                !is_replaced || options.replace_key,
                "{} is published as site {} and {place} is site {}: is this the right folder for that URL?",
                dir.display(),
                local.root.site,
                live.root.site
            );
        }
        let age = |root: &SignedRoot| (root.root.key, root.root.version);
        let (place, live, (signed, keys)) = match (local, live) {
            (None, None) => return Ok(None),
            (Some(local), Some((place, live))) if is_replaced || age(&live.0) <= age(&local.0) => {
                (here, Some(place), local)
            }
            (_, Some((place, live))) => (place.clone(), Some(place), live),
            (Some(local), None) => (here, None, local),
        };
        let parts = place.tree(signed.root.index).ok();
        Ok(Some(Self { place, live, signed: signed.into_inner(), keys, is_replaced, parts }))
    }

    /// The version that follows. Where another key takes over, one that is further ahead than the clock (whoever stole the
    /// key may have signed it) need not be outdone: visitors don't compare versions of different keys.
    fn next_version(&self, new: &Root, now: u64) -> u64 {
        let Root { version, key, site, .. } = &self.signed.root;
        if (key, site) != (&new.key, &new.site) && *version > now + DAY {
            return now;
        }
        now.max(version.saturating_add(1))
    }

    /// The parts of its manifest that lie in `dir`, and were read from there.
    fn parts_in(&self, dir: &Path) -> BTreeSet<Digest> {
        let here = matches!(&self.place, Place::Folder(folder) if folder == dir);
        let Some(parts) = self.parts.as_ref().filter(|_| here) else { return BTreeSet::new() };
        let pages = parts.pages.iter().map(|page| page.digest);
        pages.chain(parts.shards.iter().map(|shard| shard.digest)).collect()
    }

    /// Whether a new root would only have another date. One that has lived half its time is replaced.
    fn says_the_same(&self, new: &Root, now: u64) -> bool {
        let Root { version, issued, expires, .. } = self.signed.root;
        self.signed.root == Root { version, issued, expires, ..new.clone() } && expires > now + LIFETIME / 2
    }
}

/// A file that a rule selects.
struct Labelled {
    found: Found,
    media_type: String,
    /// The name of the file alone says that type.
    is_guessed: bool,
    label: Label,
    precache: bool,
    headers: Vec<(String, String)>,
}

/// Which files are published and how, and how many are not.
struct AllLabelled {
    files: Vec<Labelled>,
    unlisted: u64,
    personal: u64,
}

impl AllLabelled {
    fn warning(&self) -> Option<String> {
        (self.personal > 0).then(|| {
            format!(
                "{} files are left out since {HEADERS} marks their answers as personal or not to be stored (Set-Cookie, \
                 Cache-Control: private or no-store, Vary: Cookie)",
                self.personal
            )
        })
    }
}

fn label_all(files: Vec<Found>, rules: &Rules, declared: &Headers) -> AllLabelled {
    let (unlisted, personal) = (AtomicU64::new(0), AtomicU64::new(0));
    let label = |found: Found| {
        let mut headers = declared.for_path(&format!("/{}", short_name(&found.path, rules.has_clean_urls())));
        let guessed = || media_type(&found.path).to_string();
        let typed = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let media_type = typed.map_or_else(guessed, |at| headers.remove(at).1);
        let Some((label, precache)) = rules.label(&found.path, &media_type) else {
            unlisted.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if headers.iter().any(is_personal) {
            personal.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Labelled { found, media_type, is_guessed: typed.is_none(), label, precache, headers })
    };
    let files = files.into_par_iter().filter_map(label).collect();
    AllLabelled { files, unlisted: unlisted.into_inner(), personal: personal.into_inner() }
}

/// Whether a header says that an answer is for one visitor, or not for keeping (RFC 9111, section 5.2.2).
fn is_personal((name, value): &(String, String)) -> bool {
    let has = |words: &[&str]| {
        value
            .split(',')
            .any(|part| words.iter().any(|w| part.split('=').next().unwrap_or(part).trim().eq_ignore_ascii_case(w)))
    };
    match name.to_ascii_lowercase().as_str() {
        "set-cookie" => true,
        "cache-control" => has(&["private", "no-store"]),
        "vary" => has(&["cookie", "authorization", "*"]),
        _ => false,
    }
}

fn read_headers(dir: &Path) -> anyhow::Result<Headers> {
    let file = dir.join(HEADERS);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Headers::default()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
    };
    Headers::parse(&text).with_context(|| format!("in {}", file.display()))
}

/// The files' entries, and what is to be remembered of the files.
struct Read {
    entries: Vec<Entry>,
    files: Vec<Seen>,
    /// How many had to be read.
    read: u64,
}

/// Reads the files that are not `known`; `labelled` is in order of path.
fn read_all(labelled: Vec<Labelled>, mut known: Stamps<'_>, progress: bool) -> anyhow::Result<Read> {
    let guessed_text = |l: &Labelled| l.is_guessed && l.media_type.starts_with("text/");
    // One that was no text when it was read was not looked at for its encoding.
    let mut find = |l: &Labelled| known.find(&l.found).filter(|hashed| hashed.is_utf8 || !guessed_text(l));
    let mut hashed: Vec<Option<Hashed>> = labelled.iter().map(&mut find).collect();
    let unread: Vec<usize> = (0..labelled.len()).filter(|&at| hashed[at].is_none()).collect();
    let job = |&at: &usize| Job { found: &labelled[at].found, is_text: guessed_text(&labelled[at]) };
    let jobs: Vec<Job<'_>> = unread.iter().map(job).collect();
    let bar = bar(jobs.iter().map(|job| job.found.stamp.len).sum(), progress);
    let new = hash_all(&jobs, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    for (at, new) in unread.iter().zip(new?) {
        hashed[*at] = Some(new);
    }
    let mut files = Vec::with_capacity(labelled.len());
    let mut next_unread = unread.iter().copied().peekable();
    let mut entry = |(at, (labelled, hashed)): (usize, (Labelled, Hashed))| {
        let was_known = next_unread.next_if_eq(&at).is_none();
        let is_other_text = guessed_text(&labelled) && !hashed.is_utf8;
        let Labelled { found, mut media_type, label, precache, headers, .. } = labelled;
        if is_other_text {
            // The document or the file says in which encoding it is; a parameter would overrule it.
            media_type.truncate(media_type.find(';').unwrap_or(media_type.len()));
        }
        let (size, pieces) = (found.stamp.len, hashed.pieces);
        let integrity = integrity_of(&pieces);
        let path = found.path.clone();
        files.push(Seen { found, is_utf8: hashed.is_utf8, integrity, was_known });
        Entry { path, size, integrity, media_type, label, precache, headers, pieces }
    };
    let entries = labelled.into_iter().zip(hashed.into_iter().flatten()).enumerate().map(&mut entry).collect();
    Ok(Read { entries, files, read: unread.len() as u64 })
}

/// A progress bar over `total` bytes, where one may be drawn.
pub(crate) fn bar(total: u64, progress: bool) -> ProgressBar {
    if !progress {
        return ProgressBar::hidden();
    }
    // Drawn on stderr, and only where that is a terminal.
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template("{bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn sign(key: &Key, root: Root) -> anyhow::Result<SignedRoot> {
    let text = key.sign(&root)?;
    ensure!(
        text.len() <= MAX_ROOT_BYTES,
        "the signed root would be {} bytes, of at most {MAX_ROOT_BYTES}: name fewer trackers or ICE servers",
        text.len()
    );
    Ok(SignedRoot { root, text })
}

/// Keeps a second `publish` out of the folder while this one runs. The system lets go when the process ends.
fn lock(dir: &Path) -> anyhow::Result<Option<File>> {
    // Not every file system can lock a folder: then two at once are the owner's to avoid.
    let Ok(folder) = File::open(dir) else { return Ok(None) };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(std::fs::TryLockError::WouldBlock) => bail!("{} is being published by another process", dir.display()),
        Err(std::fs::TryLockError::Error(_)) => Ok(None),
    }
}

fn count(entries: &[Entry], which: impl Fn(&Entry) -> bool) -> u64 {
    entries.iter().filter(|e| which(e)).count() as u64
}

/// Those of `entries` that `others` has not, or with other bytes; both are in order of path.
fn replaced<'a>(entries: &'a [Entry], others: &[Entry]) -> Vec<&'a Entry> {
    let mut others = others.iter().peekable();
    let mut has = |entry: &Entry| {
        while others.next_if(|other| other.path < entry.path).is_some() {}
        others.peek().is_some_and(|other| other.path == entry.path && other.integrity == entry.integrity)
    };
    entries.iter().filter(|entry| !has(entry)).collect()
}

/// What the version before did not have.
struct New {
    pieces: u64,
    bytes: u64,
}

impl New {
    fn since(previous: Option<&Previous>, entries: &[Entry]) -> Self {
        let before = previous.and_then(|p| p.parts.as_ref()).map(|parts| &parts.entries[..]).unwrap_or_default();
        let others = replaced(entries, before);
        let mut new: BTreeMap<Digest, u32> = others.iter().flat_map(|e| &e.pieces).map(|p| (p.digest, p.len)).collect();
        for piece in before.iter().flat_map(|e| &e.pieces) {
            new.remove(&piece.digest);
        }
        Self { pieces: new.len() as u64, bytes: new.values().map(|&len| u64::from(len)).sum() }
    }
}
