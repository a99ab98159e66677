//! Writing so that a folder always holds one whole version.
//!
//! A file is written beside its place under a temporary name, forced to disk, then renamed. Files go in batches: all of
//! one are in place before the next one's first. What is addressed by its content comes first, the worker and its
//! scripts next, the root last; so a process that is killed anywhere leaves the older root with everything that it
//! names. The next run removes what the killed one left.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use peerage::digest::Digest;
use peerage::manifest::Piece;
use rayon::prelude::*;
use tempfile::{NamedTempFile, TempPath};

const PREFIX: &str = ".peerage-tmp-";

/// Files to be put in place together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    // Closed again: a large site has more shards than a process may have open files.
    staged: Vec<(TempPath, PathBuf)>,
}

impl Batch {
    /// Stages `bytes` for `place`, unless they are there already.
    pub(super) fn add(&mut self, place: PathBuf, bytes: &[u8]) -> anyhow::Result<()> {
        if holds(&place, bytes) {
            return Ok(());
        }
        let mut file = Self::begin(&place)?;
        file.write_all(bytes).with_context(|| cannot_write(&place))?;
        self.staged.push((file.into_temp_path(), place));
        Ok(())
    }

    /// Stages what `from` gives for `place`, if those are the bytes of `pieces` and nothing follows.
    pub(super) fn copy_verified(
        &mut self,
        place: &Path,
        from: &mut impl io::Read,
        pieces: &[Piece],
    ) -> anyhow::Result<bool> {
        let mut file = Self::begin(place)?;
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.clear();
            let read = from.take(u64::from(piece.len)).read_to_end(&mut bytes);
            if read.is_err() || Digest::of(&bytes) != piece.digest {
                return Ok(false);
            }
            file.write_all(&bytes).with_context(|| cannot_write(place))?;
        }
        let is_whole = matches!(from.read(&mut [0]), Ok(0));
        if is_whole {
            self.staged.push((file.into_temp_path(), place.to_owned()));
        }
        Ok(is_whole)
    }

    fn begin(place: &Path) -> anyhow::Result<NamedTempFile> {
        let folder = place.parent().unwrap_or(place);
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        // Others must be able to read what is published: the umask decides, as for any file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(folder).with_context(|| cannot_write(place))
    }

    /// Puts everything in place, and on disk.
    pub(super) fn commit(self) -> anyhow::Result<()> {
        self.staged.par_iter().try_for_each(|(file, place)| {
            File::open(file).and_then(|f| f.sync_all()).with_context(|| cannot_write(place))
        })?;
        let mut folders: Vec<PathBuf> = Vec::new();
        for (file, place) in self.staged {
            folders.extend(place.parent().map(Path::to_owned));
            file.persist(&place).map_err(|e| e.error).with_context(|| cannot_write(&place))?;
        }
        folders.sort();
        folders.dedup();
        for folder in folders {
            sync_folder(&folder);
        }
        Ok(())
    }
}

/// Removes temporary files that a killed run left in `folder`.
pub(super) fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            // One that cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a file is there with exactly these bytes.
pub(super) fn holds(place: &Path, bytes: &[u8]) -> bool {
    let same_len = fs::metadata(place).is_ok_and(|m| m.is_file() && m.len() == bytes.len() as u64);
    same_len && fs::read(place).is_ok_and(|found| found == bytes)
}

/// Makes renames durable. Not every file system can; the order of renames holds all the same.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|f| f.sync_all());
}

fn cannot_write(place: &Path) -> String {
    format!("cannot write {}; what was published before is untouched", place.display())
}
