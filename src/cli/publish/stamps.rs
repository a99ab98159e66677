//! What the files looked like when they were last read, so that those that look the same need not be read again.
//!
//! As git's index does: a file whose length, modification time, inode and change time are what they were is taken to have
//! the bytes it had. A file that was written to within two seconds before it was read is not remembered, since a write
//! that follows at once can leave every one of these as it is. What is remembered is only a hint: a file's pieces are
//! those of the version before, whose manifest is checked from its signature down, and where that has another
//! `integrity` for the path, the file is read. `publish --rehash` reads everything.
//!
//! The list lies beside the key, in the folder that ends in `.kept`: one line of JSON a file, after a line that names the
//! form. What cannot be read of it is as good as not there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use peerage::digest::Digest;
use peerage::manifest::Entry;
use rayon::prelude::*;

use super::Previous;
use super::hash::Hashed;
use super::walk::{Found, Stamp};

/// The list's name, and its first line.
const LIST: &str = "stamps";
const FORM: &str = "peerage stamps 1";

/// A file that was written to this shortly before it was read may have changed since without a trace.
const RACY: Duration = Duration::from_secs(2);

/// A line of the list: path, stamp, whether it is a UTF-8 text, and the integrity of its bytes.
type Line<'a> = (&'a str, Stamp, bool, Digest);

/// Files that were read before.
#[derive(Debug, Default)]
pub(super) struct Stamps<'a> {
    known: HashMap<&'a str, (Stamp, bool, &'a Entry)>,
}

fn place(key: &Path) -> PathBuf {
    key.with_extension("kept").join(LIST)
}

impl<'a> Stamps<'a> {
    /// Those whose bytes the version before has.
    pub(super) fn read(key: &Path, previous: Option<&'a Previous>) -> Self {
        let mut stamps = Self::default();
        let Some(parts) = previous.and_then(|previous| previous.parts.as_ref()) else { return stamps };
        let Ok(list) = File::open(place(key)) else { return stamps };
        let mut lines = BufReader::new(list).lines().map_while(Result::ok);
        if lines.next().as_deref() != Some(FORM) {
            return stamps;
        }
        let entries: HashMap<&str, &Entry> = parts.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        for line in lines {
            let Ok((path, stamp, is_utf8, integrity)) = serde_json::from_str::<(String, Stamp, bool, Digest)>(&line)
            else {
                continue;
            };
            if let Some(&entry) = entries.get(path.as_str())
                && entry.integrity == integrity
            {
                stamps.known.insert(&entry.path, (stamp, is_utf8, entry));
            }
        }
        stamps
    }

    /// What the manifest says of a file that looks as it did.
    pub(super) fn find(&self, found: &Found) -> Option<Hashed> {
        let (stamp, is_utf8, entry) = self.known.get(found.path.as_str())?;
        let same = *stamp == found.stamp && entry.size == found.stamp.len;
        same.then(|| Hashed { pieces: entry.pieces.clone(), is_utf8: *is_utf8 })
    }
}

/// Remembers what the files look like now. `files`: those of the version that was just published, and whether each is
/// a UTF-8 text, beside its integrity; `began`: when the first of them was read.
pub(super) fn write(key: &Path, files: &[(Found, bool, Digest)], began: SystemTime) -> anyhow::Result<()> {
    let list = place(key);
    let folder = list.parent().context("the list lies in a folder")?;
    let Some(before) = began.checked_sub(RACY) else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    // Links to the files have been made since, which moves their change times.
    let stamps: Vec<Option<Stamp>> = files
        .par_iter()
        .map(|(found, ..)| {
            let metadata = fs::metadata(&found.file).ok()?;
            let now = Stamp::of(&metadata);
            let is_old = metadata.modified().is_ok_and(|modified| modified < before);
            (is_old && now.is_same_file(&found.stamp)).then_some(now)
        })
        .collect();
    let half = list.with_extension("half");
    let written = || -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(&half)?);
        writeln!(out, "{FORM}")?;
        for ((found, is_utf8, integrity), stamp) in files.iter().zip(stamps) {
            if let Some(stamp) = stamp {
                let line: Line<'_> = (&found.path, stamp, *is_utf8, *integrity);
                serde_json::to_writer(&mut out, &line)?;
                writeln!(out)?;
            }
        }
        out.into_inner()?.sync_all()?;
        fs::rename(&half, &list)
    };
    written().with_context(|| format!("cannot write {}", list.display()))
}
