//! Finding the files of a site.
//!
//! Published are regular files whose path has no part that starts with a dot (`.well-known` neither: what is there is
//! asked for by machines and changed by others), without Peerage's own files, `_headers` and `peerage.toml`. A link to
//! a published file is published like a file, as a web server would serve it. Links to folders (there may be circles)
//! and links that lead out of the folder or to something hidden are left out, and reported.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow, bail};
use peerage::manifest::check_path;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use walkdir::{DirEntry, WalkDir};

use crate::cli::config;

/// A file to publish.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its canonical path below the folder.
    pub(super) path: String,
    /// Where it lies; of a link, where the link leads.
    pub(super) file: PathBuf,
    /// What it looked like.
    pub(super) stamp: Stamp,
}

/// What changes when a file is written to or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Fields", into = "Fields")]
pub(super) struct Stamp {
    /// Length in bytes.
    pub(super) len: u64,
    /// Modification time since 1970, in nanoseconds; 0 where there is none.
    modified: u64,
    /// Device and inode; 0 where there are none.
    inode: (u64, u64),
    /// When the inode was last changed, in seconds and nanoseconds: it also moves where a writer sets the modification
    /// time back.
    changed: (i64, i64),
}

/// A stamp as it is written.
type Fields = (u64, u64, (u64, u64), (i64, i64));

impl From<Fields> for Stamp {
    fn from((len, modified, inode, changed): Fields) -> Self {
        Self { len, modified, inode, changed }
    }
}

impl From<Stamp> for Fields {
    fn from(Stamp { len, modified, inode, changed }: Stamp) -> Self {
        (len, modified, inode, changed)
    }
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|modified| modified.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        #[cfg(unix)]
        let (inode, changed) = {
            use std::os::unix::fs::MetadataExt as _;
            ((metadata.dev(), metadata.ino()), (metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (inode, changed) = ((0, 0), (0, 0));
        Self { len: metadata.len(), modified, inode, changed }
    }

    /// Whether nothing but the inode was changed: a link to it was made, say.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }
}

/// What a folder has in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    /// Files, sorted by path.
    pub(super) files: Vec<Found>,
    /// Links that were left out.
    pub(super) skipped: Vec<String>,
}

/// What an entry of a folder is to a publication.
enum Kind {
    File(Found),
    /// A link that is left out.
    Skipped(String),
    /// A folder, a socket and the like.
    Other,
}

/// Walks `dir`, which must be canonical.
pub(super) fn walk(dir: &Path) -> anyhow::Result<Walk> {
    let all = WalkDir::new(dir).min_depth(1).sort_by_file_name().into_iter().filter_entry(|entry| {
        let is_hidden = entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_own = entry.depth() == 1 && is_own(entry.file_name());
        !is_hidden && !is_own
    });
    let listed = |entry: walkdir::Result<DirEntry>| {
        entry.map_err(|e| {
            let place = e.path().unwrap_or(dir).display().to_string();
            anyhow!(e.into_io_error().map_or_else(|| "a circle of links".into(), |e| e.to_string()))
                .context(format!("cannot read {place}"))
        })
    };
    let all: Vec<DirEntry> = all.map(listed).collect::<anyhow::Result<_>>()?;
    // Folders are listed quickly; what takes long is asking for each file what it looks like.
    let all: Vec<Kind> = all.into_par_iter().map(|entry| look(dir, entry)).collect::<anyhow::Result<_>>()?;
    let mut walk = Walk::default();
    for kind in all {
        match kind {
            Kind::File(found) => walk.files.push(found),
            Kind::Skipped(link) => walk.skipped.push(link),
            Kind::Other => {}
        }
    }
    // Nearly so already: `a/b` comes before `a-b` where folders are sorted one by one.
    walk.files.par_sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk)
}

fn look(dir: &Path, entry: DirEntry) -> anyhow::Result<Kind> {
    let kind = entry.file_type();
    if kind.is_dir() {
        return Ok(Kind::Other);
    }
    let below = entry.path().strip_prefix(dir).unwrap_or(entry.path()).to_owned();
    let (file, metadata) = if kind.is_symlink() {
        match follow(dir, entry.path())? {
            Some(target) => target,
            None => return Ok(Kind::Skipped(below.display().to_string())),
        }
    } else {
        let metadata = entry.metadata().with_context(|| format!("cannot read {}", entry.path().display()))?;
        (entry.into_path(), metadata)
    };
    if !metadata.is_file() {
        return Ok(Kind::Other);
    }
    Ok(Kind::File(Found { path: canonical(&below)?, file, stamp: Stamp::of(&metadata) }))
}

/// Whether a name in the top folder is one of those that publishing writes or reads.
fn is_own(name: &std::ffi::OsStr) -> bool {
    name == "peerage-sw.js" || name == "peerage" || name == config::HEADERS || name == config::FILE
}

/// The regular, visible file below `dir` that a link leads to.
fn follow(dir: &Path, link: &Path) -> anyhow::Result<Option<(PathBuf, Metadata)>> {
    let Ok(target) = link.canonicalize() else { return Ok(None) };
    let Ok(below) = target.strip_prefix(dir) else { return Ok(None) };
    let mut parts = below.iter();
    let is_hidden = below.iter().any(|part| part.as_encoded_bytes().starts_with(b"."));
    if is_hidden || parts.next().is_some_and(is_own) {
        return Ok(None);
    }
    let metadata = target.metadata().with_context(|| format!("cannot read {}", target.display()))?;
    Ok(metadata.is_file().then_some((target, metadata)))
}

/// The manifest's form of a path below the folder.
fn canonical(below: &Path) -> anyhow::Result<String> {
    let mut path = String::new();
    for part in below {
        let Some(part) = part.to_str() else {
            bail!("the name of {} is not UTF-8, so no URL can be sure to mean it; rename the file", below.display());
        };
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    check_path(&path).map_err(|why| anyhow!("the path {path:?} cannot be published: {why}; rename the file"))?;
    Ok(path)
}
