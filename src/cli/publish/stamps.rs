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

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::iter::Peekable;
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

/// Bytes of the list that are read in one go.
const BLOCK: u64 = 4 << 20;

/// Lines of the list that are made in one go.
const FILES: usize = 1 << 16;

/// A line of the list: path, stamp, whether it is a UTF-8 text, and the integrity of its bytes.
type Line<P> = (P, Stamp, bool, Digest);

/// A file that is published.
#[derive(Debug)]
pub(super) struct Seen {
    /// The file.
    pub(super) found: Found,
    /// Whether it is a UTF-8 text.
    pub(super) is_utf8: bool,
    /// What its bytes are called.
    pub(super) integrity: Digest,
    /// It looked as the list says, and was not read.
    pub(super) was_known: bool,
}

/// Files that were read before, in order of path.
#[derive(Debug)]
pub(super) struct Stamps<'a> {
    known: Peekable<std::vec::IntoIter<(&'a Entry, Stamp, bool)>>,
}

fn place(key: &Path) -> PathBuf {
    key.with_extension("kept").join(LIST)
}

impl<'a> Stamps<'a> {
    /// No file is known.
    pub(super) fn none() -> Self {
        Self { known: Vec::new().into_iter().peekable() }
    }

    /// Those whose bytes the version before has.
    pub(super) fn read(key: &Path, previous: Option<&'a Previous>) -> Self {
        let parts = previous.and_then(|previous| previous.parts.as_ref());
        let known = parts.and_then(|parts| known(&place(key), &parts.entries).ok()).unwrap_or_default();
        Self { known: known.into_iter().peekable() }
    }

    /// What the manifest says of a file that looks as it did. Files must be asked for in order of path.
    pub(super) fn find(&mut self, found: &Found) -> Option<Hashed> {
        while self.known.next_if(|(entry, ..)| entry.path < found.path).is_some() {}
        let (entry, stamp, is_utf8) = self.known.next_if(|(entry, ..)| entry.path == found.path)?;
        let same = stamp == found.stamp && entry.size == found.stamp.len;
        same.then(|| Hashed { pieces: entry.pieces.clone(), is_utf8 })
    }
}

/// The lines of the list that speak of `entries`, which are in order of path as the lines are.
fn known<'a>(list: &Path, entries: &'a [Entry]) -> io::Result<Vec<(&'a Entry, Stamp, bool)>> {
    let mut list = BufReader::new(File::open(list)?);
    let mut known = Vec::new();
    let mut block = Vec::new();
    list.read_until(b'\n', &mut block)?;
    if block.trim_ascii_end() != FORM.as_bytes() {
        return Ok(known);
    }
    let mut entries = entries.iter().peekable();
    loop {
        block.clear();
        list.by_ref().take(BLOCK).read_to_end(&mut block)?;
        list.read_until(b'\n', &mut block)?;
        if block.is_empty() {
            return Ok(known);
        }
        let lines = block.par_split(|&byte| byte == b'\n');
        let lines: Vec<Line<String>> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        for (path, stamp, is_utf8, integrity) in lines {
            while entries.next_if(|entry| entry.path < path).is_some() {}
            if let Some(entry) = entries.next_if(|entry| entry.path == path && entry.integrity == integrity) {
                known.push((entry, stamp, is_utf8));
            }
        }
    }
}

/// Remembers what the files look like now. `files`: those of the version that was just published, in order of path;
/// `linked`: to whose bytes links were made meanwhile; `began`: when the first of them was read.
pub(super) fn write(key: &Path, files: &[Seen], linked: &BTreeSet<Digest>, began: SystemTime) -> anyhow::Result<()> {
    let list = place(key);
    let folder = list.parent().context("the list lies in a folder")?;
    let Some(before) = began.checked_sub(RACY) else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let stamp = |Seen { found, integrity, was_known, .. }: &Seen| {
        if *was_known && !linked.contains(integrity) {
            return Some(found.stamp);
        }
        // A link to the file moves its change time.
        let metadata = fs::metadata(&found.file).ok()?;
        let now = Stamp::of(&metadata);
        let is_old = metadata.modified().is_ok_and(|modified| modified < before);
        (is_old && now.is_same_file(&found.stamp)).then_some(now)
    };
    let lines = |files: &[Seen]| -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for seen in files {
            if let Some(stamp) = stamp(seen) {
                let line: Line<&str> = (&seen.found.path, stamp, seen.is_utf8, seen.integrity);
                serde_json::to_writer(&mut lines, &line)?;
                lines.push(b'\n');
            }
        }
        Ok(lines)
    };
    let half = list.with_extension("half");
    let written = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(&half)?);
        writeln!(out, "{FORM}")?;
        for block in files.chunks(FILES) {
            let parts: Vec<Vec<u8>> = block.par_chunks(FILES >> 6).map(lines).collect::<io::Result<_>>()?;
            parts.iter().try_for_each(|part| out.write_all(part))?;
        }
        // Not forced to disk: a list that a power cut damages costs reading and no more.
        out.into_inner()?;
        fs::rename(&half, &list)
    };
    written().with_context(|| format!("cannot write {}", list.display()))
}
