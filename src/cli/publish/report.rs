//! What a publication says of itself: a table for people, JSON for scripts.

use std::fmt;
use std::path::PathBuf;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

/// The outcome of publishing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Whether anything was new; if not, the version is the one before.
    pub(crate) changed: bool,
    /// The version that the folder now holds.
    pub(crate) version: u64,
    /// The version before, where there was one.
    pub(crate) previous_version: Option<u64>,
    /// The site id.
    pub(crate) site: String,
    /// Whether visitors are told to remove the worker.
    pub(crate) retired: bool,
    /// Files listed.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// How many are labelled `share`.
    pub(crate) share: u64,
    /// How many are labelled `cache`.
    pub(crate) cache: u64,
    /// How many are labelled `precache` on top.
    pub(crate) precache: u64,
    /// Files that were read; the others look as they did when they were last read.
    pub(crate) read: u64,
    /// Files in the folder that no rule selects.
    pub(crate) unlisted: u64,
    /// Pieces, each file's counted.
    pub(crate) pieces: u64,
    /// Shards.
    pub(crate) shards: u64,
    /// Size of what leads from the manifest before to this one, where there is such a thing.
    pub(crate) delta_bytes: Option<u32>,
    /// Size of the signed root.
    pub(crate) root_bytes: u64,
    /// Distinct pieces that the version before does not have.
    pub(crate) new_pieces: u64,
    /// Their bytes: what a visitor of the version before has to fetch at most.
    pub(crate) new_bytes: u64,
    /// Kept files of older versions.
    pub(crate) old_files: u64,
    /// Their bytes.
    pub(crate) old_bytes: u64,
    /// The key that signed.
    pub(crate) key: PathBuf,
    /// Its number in the site's chain of keys, from 1.
    pub(crate) key_number: u32,
    /// Whether it was made just now.
    pub(crate) key_created: bool,
    /// The site that was here before, where its first key was replaced.
    pub(crate) replaced_site: Option<String>,
    /// What the owner should know.
    pub(crate) warnings: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, .. } = self;
        match (self.changed, self.retired) {
            (true, false) => writeln!(f, "published version {version}")?,
            (true, true) => writeln!(f, "retired the site with version {version}")?,
            (false, false) => writeln!(f, "nothing changed: still version {version}")?,
            (false, true) => writeln!(f, "nothing changed: retired with version {version}")?,
        }
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<9}{value}");
        row(
            "files",
            format!(
                "{} ({} share, {} cache; {} of them precache; {} not listed; {} read)",
                HumanCount(self.files),
                HumanCount(self.share),
                HumanCount(self.cache),
                HumanCount(self.precache),
                HumanCount(self.unlisted),
                HumanCount(self.read)
            ),
        )?;
        row("bytes", format!("{} ({})", HumanCount(self.bytes), HumanBytes(self.bytes)))?;
        row(
            "pieces",
            format!(
                "{} in {} shards, root {} bytes{}",
                HumanCount(self.pieces),
                HumanCount(self.shards),
                self.root_bytes,
                self.delta_bytes.map(|bytes| format!(", delta {bytes} bytes")).unwrap_or_default()
            ),
        )?;
        row(
            "new",
            match self.previous_version {
                None => "all of it: the first version".into(),
                Some(before) => format!(
                    "{} in {} pieces that version {before} does not have",
                    HumanBytes(self.new_bytes),
                    HumanCount(self.new_pieces)
                ),
            },
        )?;
        row(
            "old",
            format!("{} kept files of older versions, {}", HumanCount(self.old_files), HumanBytes(self.old_bytes)),
        )?;
        let replaced = self.replaced_site.as_ref().map(|site| format!(" (in place of {site})")).unwrap_or_default();
        row("site", format!("{}{replaced}", self.site))?;
        let made = if self.key_created { " (made just now: keep it safe)" } else { "" };
        write!(f, "  {:<9}{}{made}", "key", self.key.display())?;
        match self.key_number {
            1 => Ok(()),
            number => write!(f, ", number {number} of the site's"),
        }
    }
}
