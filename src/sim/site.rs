//! The simulated site: files, pieces and versions, whose bytes are stand-ins.
//!
//! A piece's content is a **token**, eight bytes that stand for all of it, and its digest is the SHA-256 of the token. So
//! a body is 12 bytes in memory however long the piece, and still passes through [`verify::piece`] like any other: what
//! a misbehaving peer sends is another token, has another digest, and is found out in the same place as in a browser.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::chance::{self, cumulative, log_normal, stream};
use super::scenario::{Order, Scenario};
use crate::digest::Digest;
use crate::manifest::{Entry, Label, Piece};
use crate::pieces::{AVERAGE_PIECE, MAX_PIECE, MIN_PIECE};
use crate::rng::Rng;
use crate::verify::{self, Mismatch, Verified};

/// A file's revision as a number: a browser may read two of one file at a time.
pub(super) fn key(file: u32, revision: u32) -> u32 {
    revision << FILE_BITS | file
}

/// The file that a revision is of.
pub(super) fn file_of(key: u32) -> u32 {
    key & ((1 << FILE_BITS) - 1)
}

/// Which revision of it.
pub(super) fn revision_of(key: u32) -> u32 {
    key >> FILE_BITS
}

/// A scenario has at most 200 new versions, and at most so many files.
const FILE_BITS: u32 = 24;

/// Stands for the bytes of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) token: u64,
    pub(super) len: u32,
}

impl Body {
    /// The body, if it is the piece that was wanted.
    pub(super) fn verify(self, want: &Piece) -> Result<Verified<Self>, Mismatch> {
        verify::piece(self, self.len as usize, digest(self.token), want)
    }
}

fn digest(token: u64) -> Digest {
    Digest::of(&token.to_le_bytes())
}

/// A file in all of its versions.
#[derive(Debug)]
struct File {
    bytes: u64,
    /// The pieces from a version on, oldest first.
    revisions: Vec<(u32, Rc<[Piece]>)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Site {
    files: Vec<File>,
    /// The first load.
    pub(super) shell: Rc<[u32]>,
    /// Files of each step.
    steps: Vec<Rc<[u32]>>,
    order: Order,
    popularity: Vec<f64>,
    tokens: BTreeMap<Digest, u64>,
}

impl Site {
    /// The site of a scenario; `published` replaces its files: the first load is what is precached or a document, a
    /// script or a style, every other file is a step of its own.
    pub(super) fn new(scenario: &Scenario, published: Option<&[Entry]>, seed: u64) -> Self {
        let shape = &scenario.site;
        let mut site = Self {
            files: Vec::new(),
            shell: Rc::from([]),
            steps: Vec::new(),
            order: shape.order,
            popularity: Vec::new(),
            tokens: BTreeMap::new(),
        };
        let mut rng = stream(seed, 1, 0);
        match published {
            Some(entries) => site.take(entries),
            None => {
                let mean = shape.shell_bytes / f64::from(shape.shell_files);
                site.shell = (0..shape.shell_files).map(|_| site.file(mean, shape.spread, &mut rng)).collect();
                let mean = shape.bytes_a_step / f64::from(shape.files_a_step);
                for _ in 0..shape.steps {
                    let files = (0..shape.files_a_step).map(|_| site.file(mean, shape.spread, &mut rng)).collect();
                    site.steps.push(files);
                }
            }
        }
        site.popularity = cumulative((1..=site.steps.len()).map(|rank| (rank as f64).powf(-shape.zipf)));
        for (at, update) in scenario.updates.iter().enumerate() {
            site.change(at as u32 + 1, update.files, update.pieces, &mut rng);
        }
        for (number, file) in site.files.iter().enumerate() {
            for (revision, (_, pieces)) in file.revisions.iter().enumerate() {
                // The others are an earlier revision's.
                let new = (0..).zip(pieces.iter()).map(|(at, piece)| (piece, token(number, at, revision)));
                site.tokens.extend(new.filter(|(p, token)| digest(*token) == p.digest).map(|(p, t)| (p.digest, t)));
            }
        }
        site
    }

    fn take(&mut self, entries: &[Entry]) {
        let mut shell = Vec::new();
        for entry in entries.iter().filter(|e| e.size > 0) {
            let number = self.files.len();
            let piece = |(at, p): (usize, &Piece)| Piece { digest: digest(token(number, at, 0)), len: p.len };
            let pieces = entry.pieces.iter().enumerate().map(piece).collect();
            self.files.push(File { bytes: entry.size, revisions: vec![(0, pieces)] });
            let kind = entry.media_type.split(';').next().unwrap_or_default();
            let first = ["text/html", "text/css", "text/javascript", "application/javascript"].contains(&kind);
            if entry.precache || first || entry.label == Label::Cache {
                shell.push(number as u32);
            } else {
                self.steps.push(Rc::from([number as u32]));
            }
        }
        if self.steps.is_empty() {
            self.steps = shell.iter().map(|&file| Rc::from([file])).collect();
            shell.truncate(1);
        }
        self.shell = shell.into();
    }

    fn file(&mut self, mean: f64, spread: f64, rng: &mut Rng) -> u32 {
        let number = self.files.len();
        let bytes = (log_normal(rng, mean, spread) as u64).clamp(64, 4 << 30);
        let pieces = cut(bytes, rng).into_iter().enumerate();
        let pieces = pieces.map(|(at, len)| Piece { digest: digest(token(number, at, 0)), len }).collect();
        self.files.push(File { bytes, revisions: vec![(0, pieces)] });
        number as u32
    }

    fn change(&mut self, version: u32, files: f64, pieces: f64, rng: &mut Rng) {
        for (number, file) in self.files.iter_mut().enumerate() {
            if !chance::happens(rng, files) {
                continue;
            }
            let revision = file.revisions.len();
            let Some((_, last)) = file.revisions.last() else { continue };
            let mut changed: Vec<Piece> = last.to_vec();
            let sure = rng.below(changed.len() as u64) as usize;
            for (at, piece) in changed.iter_mut().enumerate() {
                if at == sure || chance::happens(rng, pieces) {
                    piece.digest = digest(token(number, at, revision));
                }
            }
            file.revisions.push((version, changed.into()));
        }
    }

    /// The newest revision of a file that a version has, and its pieces.
    pub(super) fn pieces(&self, file: u32, version: u32) -> (u32, Rc<[Piece]>) {
        let revisions = &self.files[file as usize].revisions;
        let at = revisions.partition_point(|(since, _)| *since <= version).max(1) - 1;
        (at as u32, Rc::clone(&revisions[at].1))
    }

    /// A file's length in bytes.
    pub(super) fn bytes(&self, file: u32) -> u64 {
        self.files[file as usize].bytes
    }

    /// All bytes of the site.
    pub(super) fn total(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The files of a step.
    pub(super) fn step(&self, step: usize) -> Rc<[u32]> {
        Rc::clone(&self.steps[step % self.steps.len()])
    }

    /// The step that follows `last`.
    pub(super) fn next_step(&self, last: Option<usize>, rng: &mut Rng) -> usize {
        match self.order {
            Order::Sequential => last.map_or(0, |last| (last + 1) % self.steps.len()),
            Order::Zipf => chance::pick(rng, &self.popularity),
        }
    }

    /// What stands for a piece's bytes.
    pub(super) fn token(&self, digest: &Digest) -> Option<u64> {
        self.tokens.get(digest).copied()
    }

    /// Every piece there is.
    pub(super) fn all_pieces(&self) -> impl Iterator<Item = Piece> {
        self.files.iter().flat_map(|f| &f.revisions).flat_map(|(_, pieces)| pieces.iter().copied())
    }
}

fn token(file: usize, piece: usize, revision: usize) -> u64 {
    (file as u64) << 32 | (piece as u64) << 8 | revision as u64
}

/// Lengths of the pieces of a file: at least and at most what the format says, in between as content-defined cuts fall,
/// memoryless.
fn cut(bytes: u64, rng: &mut Rng) -> Vec<u32> {
    let mut left = bytes;
    let mut lens = Vec::new();
    while left > 0 {
        let more = chance::exponential(rng, (AVERAGE_PIECE - MIN_PIECE) as f64) as u64;
        let len = (MIN_PIECE as u64 + more).min(MAX_PIECE as u64).min(left);
        lens.push(len as u32);
        left -= len;
    }
    lens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::BUILT_IN;

    #[test]
    fn a_stand_in_is_verified_as_bytes_are() {
        let scenario = Scenario::parse(BUILT_IN[0].1, &[]).unwrap();
        let site = Site::new(&scenario, None, 1);
        let (_, pieces) = site.pieces(0, 0);
        let token = site.token(&pieces[0].digest).unwrap();
        let len = pieces[0].len;
        assert!(Body { token, len }.verify(&pieces[0]).is_ok());
        assert!(Body { token: token ^ 1, len }.verify(&pieces[0]).is_err());
        assert!(Body { token, len: len + 1 }.verify(&pieces[0]).is_err());
    }

    #[test]
    fn a_version_keeps_most_pieces_and_knows_all_of_them() {
        let text = Scenario::built_in("version").unwrap();
        let site = Site::new(&Scenario::parse(text, &[]).unwrap(), None, 1);
        let (mut kept, mut changed) = (0, 0);
        for file in 0..site.len() as u32 {
            let ((_, old), (_, new)) = (site.pieces(file, 0), site.pieces(file, 1));
            assert_eq!(old.len(), new.len());
            let same = old.iter().zip(new.iter()).filter(|(a, b)| a == b).count();
            kept += same;
            changed += old.len() - same;
            assert!(new.iter().all(|p| digest(site.token(&p.digest).unwrap()) == p.digest));
        }
        assert!(changed > 0 && kept > changed, "{changed} of {}", kept + changed);
    }
}
