//! Files of older versions, for tabs that are still on them.
//!
//! A tab is pinned to the version it was opened with. When it asks for a file that has been replaced or removed since,
//! the worker finds the old bytes at `peerage/old/<the file's integrity in hexadecimal>`. They must come from somewhere:
//!
//! * **Edited in place** (`edit files in DIR; peerage publish DIR`): at publication the old bytes are gone. So each
//!   publication remembers the files that it lists in a folder beside the key (the one place that is sure not to be
//!   served), `<name of the key>.kept/<integrity>`: as copies up to `[old] max_bytes`, the smallest first, since
//!   editors, `cp` and build tools write into files as they are; the rest as hard links, which cost nothing and survive
//!   tools that replace files (a build that empties its output folder, `rsync`, `git`). What is taken from there is
//!   hashed again, so a link that was written through is noticed.
//! * **A fresh folder and `--url`** (a build machine): what the live site still serves is fetched from it, before it is
//!   replaced, by its path or from its own `peerage/old/`.
//!
//! `peerage/old/list.json` names the versions that are kept, so their shards and index pages stay too: a tab may not
//! have loaded all of them. `[old] versions` (default 3) and `max_bytes` (default 256 MiB) bound it; of too much, the
//! newest version's and the smallest files come first.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use peerage::digest::Digest;
use peerage::manifest::{Entry, Index, Root, Shard, Tree};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::delta::Deltas;
use super::write::Batch;
use super::{Previous, replaced};
use crate::cli::bundle::Built;
use crate::cli::config::Old;
use crate::cli::site::{Parts, Place, delta_path, index_path, old_path, shard_path};

/// Where the list of kept versions lies.
const LIST: &str = "peerage/old/list.json";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct List {
    versions: Vec<Kept>,
}

/// An older version whose files are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    version: u64,
    index: Digest,
    wasm: String,
}

/// What is kept of older versions, and where it comes from.
#[derive(Debug)]
pub(super) struct OldFiles<'a> {
    dir: PathBuf,
    /// The folder in which current files are remembered.
    pool: PathBuf,
    config: Old,
    /// The version before, where it was found.
    before: Option<Place>,
    /// Where the site is live.
    live: Option<Place>,
    /// The current version, then the kept ones, newest first.
    list: List,
    wanted: Vec<Entry>,
    /// Paths of shards and index pages that only kept versions have.
    parts: BTreeSet<String>,
    /// The current version's files by what is in them, in that order, each content once.
    current: Vec<(Digest, &'a Entry)>,
    /// What was remembered when this run began; `None`: nobody looked.
    remembered: Option<Vec<Digest>>,
    /// Contents to whose files this run has made links.
    linked: BTreeSet<Digest>,
    kept: (u64, u64),
    warnings: Vec<String>,
}

/// The version that is to be published.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) root: &'a Root,
    /// In order of path.
    pub(super) entries: &'a [Entry],
    pub(super) tree: &'a Tree,
    pub(super) built: &'a Built,
}

impl<'a> OldFiles<'a> {
    /// Decides what to keep once `new` is the current version.
    pub(super) fn plan(dir: &Path, key: &Path, config: Old, previous: Option<&Previous>, new: &New<'a>) -> Self {
        let New { root, built, .. } = new;
        let mut current: Vec<_> = new.entries.iter().map(|entry| (entry.integrity, entry)).collect();
        current.par_sort_unstable_by_key(|&(integrity, _)| integrity);
        current.dedup_by_key(|&mut (integrity, _)| integrity);
        let mut plan = Self {
            dir: dir.to_owned(),
            pool: key.with_extension("kept"),
            config,
            before: previous.map(|p| p.place.clone()),
            live: previous.and_then(|p| p.live.clone()),
            list: List { versions: vec![Kept { version: root.version, index: root.index, wasm: built.wasm().into() }] },
            wanted: Vec::new(),
            parts: BTreeSet::new(),
            current,
            remembered: None,
            linked: BTreeSet::new(),
            kept: (0, 0),
            warnings: Vec::new(),
        };
        if let Some(previous) = previous {
            plan.add_versions(previous, new);
        }
        plan
    }

    fn add_versions(&mut self, previous: &Previous, &New { root, entries, tree, .. }: &New<'_>) {
        let pages = tree.pages.iter().map(Index::digest);
        let now: BTreeSet<Digest> = pages.chain(tree.shards.iter().map(Shard::digest)).collect();
        let mut wanted = BTreeSet::new();
        for kept in older(previous, root.version).into_iter().take(self.config.versions) {
            // In what the current version has, too, nothing was replaced.
            let Ok(parts) = previous.place.tree_without(kept.index, &now) else {
                self.warnings
                    .push(format!("the manifest of version {} is incomplete; its files are not kept", kept.version));
                continue;
            };
            let mut replaced = replaced(&parts.entries, entries);
            replaced.sort_by_key(|e| e.size);
            for entry in replaced {
                if wanted.insert(entry.integrity) && self.kept.1 + entry.size <= self.config.max_bytes {
                    self.kept = (self.kept.0 + 1, self.kept.1 + entry.size);
                    self.wanted.push(entry.clone());
                }
            }
            self.parts.extend(paths_of(&parts));
            self.list.versions.push(kept);
        }
    }

    /// Stages what is not there yet. What cannot be had any more is left out, and said.
    pub(super) fn stage(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        let mut lost = 0_usize;
        let mut first_lost = None;
        for wanted in &self.wanted {
            let place = self.dir.join(old_path(&wanted.integrity));
            if place.metadata().is_ok_and(|m| m.is_file() && m.len() == wanted.size) {
                continue;
            }
            if !self.stage_one(batch, wanted, &place)? {
                lost += 1;
                first_lost.get_or_insert(&wanted.path);
                self.kept = (self.kept.0 - 1, self.kept.1 - wanted.size);
            }
        }
        if let Some(path) = first_lost {
            self.warnings.push(format!(
                "{lost} files of older versions could not be kept, since their old bytes are gone ({path} is one): a tab \
                 that is still on an older version will get the new ones"
            ));
        }
        for path in &self.parts {
            if !self.dir.join(path).is_file()
                && let Some(before) = &self.before
                && let Ok(Some(bytes)) = before.read(path, usize::MAX >> 1)
            {
                batch.add(self.dir.join(path), &bytes)?;
            }
        }
        let list = serde_json::to_vec_pretty(&self.list)?;
        batch.add(self.dir.join(LIST), &list)
    }

    fn stage_one(&self, batch: &mut Batch, wanted: &Entry, place: &Path) -> anyhow::Result<bool> {
        let Entry { integrity, path, pieces, .. } = wanted;
        let elsewhere = self.now(integrity).map(|current| self.dir.join(&current.path));
        for file in elsewhere.into_iter().chain([self.pool.join(integrity.hex())]) {
            if let Ok(mut from) = File::open(file)
                && batch.copy_verified(place, &mut from, pieces)?
            {
                return Ok(true);
            }
        }
        let Some(live) = &self.live else { return Ok(false) };
        for path in [path.clone(), old_path(integrity)] {
            if let Ok(Some(mut opened)) = live.open(&path)
                && batch.copy_verified(place, &mut opened.body, pieces)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Once the new root is in place: removes what no kept version needs.
    pub(super) fn finish(&mut self, tree: &Tree, deltas: &Deltas) {
        let mut needed = self.parts.clone();
        needed.extend(tree.pages.iter().map(|page| index_path(&page.digest())));
        needed.extend(tree.shards.iter().map(|shard| shard_path(&shard.digest())));
        needed.extend(deltas.files.iter().map(|(name, _)| delta_path(&name.digest)));
        needed.extend(self.wanted.iter().map(|wanted| old_path(&wanted.integrity)));
        needed.extend(self.list.versions.iter().map(|kept| kept.wasm.clone()));
        for folder in ["peerage", "peerage/index", "peerage/shard", "peerage/delta", "peerage/old"] {
            for entry in fs::read_dir(self.dir.join(folder)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if is_addressed(&name) && !needed.contains(&format!("{folder}/{name}")) {
                    // One that cannot be removed does no harm.
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        let remembered = self.remembered.take().or_else(|| self.look().ok()).unwrap_or_default();
        for digest in remembered.iter().filter(|digest| self.now(digest).is_none()) {
            let _ = fs::remove_file(self.pool.join(digest.hex()));
        }
    }

    /// A file of the current version with these bytes.
    fn now(&self, integrity: &Digest) -> Option<&'a Entry> {
        let at = self.current.binary_search_by_key(integrity, |&(digest, _)| digest).ok()?;
        self.current.get(at).map(|&(_, entry)| entry)
    }

    /// Contents that are remembered, in order. What a killed run left of a copy is removed.
    fn look(&self) -> std::io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for entry in fs::read_dir(&self.pool)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            digests.extend(Digest::from_hex(&name));
            if name.ends_with(HALF) {
                let _ = fs::remove_file(entry.path());
            }
        }
        digests.par_sort_unstable();
        Ok(digests)
    }

    /// Contents to whose files links were made, which moves the files' change times.
    pub(super) fn linked(&self) -> &BTreeSet<Digest> {
        &self.linked
    }

    /// How many files are kept.
    pub(super) fn files(&self) -> u64 {
        self.kept.0
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.1
    }

    /// What the owner should know.
    pub(super) fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Remembers the current version's files for the time when they are replaced. Before its root is in place: from then
    /// on tabs are pinned to it, whatever becomes of this run.
    pub(super) fn remember(&mut self) {
        if let Err(e) = self.fill_pool() {
            self.warnings.push(format!("files that the next version replaces cannot be kept for open tabs: {e:#}"));
        }
    }

    fn fill_pool(&mut self) -> anyhow::Result<()> {
        let pool = &self.pool;
        if self.config.versions == 0 || self.live.is_some() {
            return Ok(());
        }
        fs::create_dir_all(pool).with_context(|| format!("cannot make the folder {}", pool.display()))?;
        let ignore = pool.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").with_context(|| format!("cannot write {}", ignore.display()))?;
        }
        let there = self.look().with_context(|| format!("cannot read {}", pool.display()))?;
        let mut files: Vec<_> = self.current.iter().map(|&(digest, entry)| (entry.size, digest, entry)).collect();
        files.par_sort_unstable_by_key(|&(size, digest, _)| (size, digest));
        let mut copied = 0;
        let mut jobs: Vec<(&Entry, bool)> = Vec::new();
        for (size, digest, entry) in files {
            copied += size;
            if there.binary_search(&digest).is_err() {
                jobs.push((entry, copied <= self.config.max_bytes));
            }
        }
        jobs.par_iter().try_for_each(|&(entry, copy)| {
            let (from, to) = (self.dir.join(&entry.path), pool.join(entry.integrity.hex()));
            let done = if copy { copy_whole(&from, &to) } else { link(&from, &to) };
            done.with_context(|| format!("cannot remember {} in {}", from.display(), pool.display()))
        })?;
        self.linked = jobs.iter().filter(|(_, copy)| !copy).map(|(entry, _)| entry.integrity).collect();
        self.remembered = Some(there);
        Ok(())
    }
}

/// The ending of a copy that is not finished.
const HALF: &str = ".half";

fn copy_whole(from: &Path, to: &Path) -> std::io::Result<()> {
    let half = to.with_extension(&HALF[1..]);
    fs::copy(from, &half)?;
    fs::rename(&half, to)
}

/// A hard link. Where the file system has none, such large files are not kept.
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    let _ = fs::hard_link(from, to);
    Ok(())
}

/// The versions before `version` that are still listed, newest first. A killed run may have listed one that never came
/// to be: such are newer than the root that was found.
fn older(previous: &Previous, version: u64) -> Vec<Kept> {
    let newest = &previous.signed.root;
    let listed: List = previous
        .place
        .read(LIST, 1 << 20)
        .ok()
        .flatten()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let mut versions: Vec<Kept> = listed.versions.into_iter().filter(|kept| kept.version <= newest.version).collect();
    if !versions.iter().any(|kept| kept.version == newest.version) {
        versions.push(Kept { version: newest.version, index: newest.index, wasm: String::new() });
    }
    versions.retain(|kept| kept.version < version);
    versions.sort_by_key(|kept| std::cmp::Reverse(kept.version));
    versions
}

fn paths_of(parts: &Parts) -> impl Iterator<Item = String> + '_ {
    parts
        .pages
        .iter()
        .map(|page| index_path(&page.digest))
        .chain(parts.shards.iter().map(|child| shard_path(&child.digest)))
}

/// Whether a file's name is a hash as publishing gives it.
fn is_addressed(name: &str) -> bool {
    let wasm = name.strip_prefix("sw.").and_then(|rest| rest.strip_suffix(".wasm"));
    Digest::from_hex(name).is_some() || wasm.is_some_and(|hash| hash.len() == 16)
}
