//! Cutting and hashing: one pass over every byte, on all cores, with memory that depends on neither the size of a file
//! nor the number of files.
//!
//! Every byte is hashed once, in its piece. Large files are read one at a time, all cores at work on one (the next block
//! is read and cut while this one's pieces are hashed); then small ones are shared out, a core to each.

use std::fs::File;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, anyhow, bail};
use fastcdc::v2020::{Normalization, cut, select_masks};
use peerage::digest::Digest;
use peerage::manifest::Piece;
use peerage::pieces::{AVERAGE_PIECE, MAX_PIECE, MIN_PIECE};
use rayon::prelude::*;

use super::walk::{Found, Stamp};

/// A file to hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    /// The file.
    pub(super) found: &'a Found,
    /// Whether to look for its encoding.
    pub(super) is_text: bool,
}

/// What the manifest says of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hashed {
    /// Its pieces in order.
    pub(super) pieces: Vec<Piece>,
    /// Whether it is a text that is UTF-8 throughout (not looked for in large ones).
    pub(super) is_utf8: bool,
}

/// Bytes that are read, cut and hashed in one go.
const BLOCK: usize = 4 << 20;
/// From this length on all cores work on one file.
const LARGE: u64 = 2 * BLOCK as u64;

/// Hashes all files; the result is in the same order. `progress` is told of bytes as they are done. The first file
/// that cannot be read, or that changes meanwhile, is the error.
pub(super) fn hash_all(jobs: &[Job<'_>], progress: impl Fn(u64) + Sync) -> anyhow::Result<Vec<Hashed>> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    // Longest first: what is left at the end is short, and no core waits long for another.
    order.sort_by_key(|&at| std::cmp::Reverse(jobs[at].found.stamp.len));
    let small = order.partition_point(|&at| jobs[at].found.stamp.len >= LARGE);
    let mut hashed: Vec<Option<Hashed>> = vec![None; jobs.len()];
    for &at in &order[..small] {
        hashed[at] = Some(hash_large(jobs[at].found, &progress)?);
    }
    for (at, done) in hash_small(jobs, &order[small..], &progress)? {
        hashed[at] = Some(done);
    }
    Ok(hashed.into_iter().flatten().collect())
}

fn hash_small(
    jobs: &[Job<'_>],
    order: &[usize],
    progress: &(impl Fn(u64) + Sync),
) -> anyhow::Result<Vec<(usize, Hashed)>> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let worker = || {
        let mut done = Vec::new();
        let mut buffer = Vec::new();
        while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            match hash_one(jobs[at], &mut buffer) {
                Ok(hashed) => done.push((at, hashed)),
                Err(e) => {
                    next.store(order.len(), Ordering::Relaxed);
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(e);
                    }
                    break;
                }
            }
            progress(jobs[at].found.stamp.len);
        }
        done
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_default()).collect()
    });
    match failure.into_inner() {
        Ok(Some(e)) => Err(e),
        Ok(None) => Ok(done),
        Err(_) => bail!("a thread that hashes files ended early"),
    }
}

/// A whole file in memory, which `buffer` is for.
fn hash_one(Job { found, is_text }: Job<'_>, buffer: &mut Vec<u8>) -> anyhow::Result<Hashed> {
    let mut file = open(found)?;
    let len = usize::try_from(found.stamp.len).context("a file too large for this machine")?;
    // One byte more, so that a file that grew is seen.
    if buffer.len() <= len {
        buffer.resize(len + 1, 0);
    }
    let read = fill(&mut file, &mut buffer[..=len]).with_context(|| cannot_read(found))?;
    unchanged(found, &file, read as u64)?;
    let bytes = &buffer[..len];
    let pieces = cut_all(bytes);
    let is_utf8 = is_text && std::str::from_utf8(bytes).is_ok();
    Ok(Hashed { pieces, is_utf8 })
}

/// A file block by block, all cores at work on it.
fn hash_large(found: &Found, progress: &(impl Fn(u64) + Sync)) -> anyhow::Result<Hashed> {
    let mut file = open(found)?;
    let mut pieces = Vec::new();
    let mut total = 0;
    let (mut block, mut next) = (Block::default(), Block::default());
    block.read_after(&[], &mut file).with_context(|| cannot_read(found))?;
    while block.end > 0 {
        let now: &Block = &block;
        let (read, hashed) = rayon::join(|| next.read_after(now.rest(), &mut file), || now.hash_pieces());
        read.with_context(|| cannot_read(found))?;
        pieces.extend(hashed);
        total += block.end as u64;
        progress(block.end as u64);
        std::mem::swap(&mut block, &mut next);
    }
    unchanged(found, &file, total)?;
    Ok(Hashed { pieces, is_utf8: false })
}

/// A stretch of a file, cut.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// Bytes that were read.
    len: usize,
    /// Where the last cut is: what follows belongs to the next block.
    end: usize,
    cuts: Vec<std::ops::Range<usize>>,
}

impl Block {
    /// Reads on after `rest`, which the block before left over.
    fn read_after(&mut self, rest: &[u8], file: &mut File) -> std::io::Result<()> {
        self.bytes.resize(BLOCK + MAX_PIECE, 0);
        self.bytes[..rest.len()].copy_from_slice(rest);
        self.len = rest.len() + fill(file, &mut self.bytes[rest.len()..])?;
        let at_end = self.len < self.bytes.len();
        self.end = 0;
        self.cuts.clear();
        // A cut is only certain where the longest piece would have fitted.
        while self.len - self.end >= if at_end { 1 } else { MAX_PIECE } {
            let len = first_cut(&self.bytes[self.end..self.len]);
            self.cuts.push(self.end..self.end + len);
            self.end += len;
        }
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.end..self.len]
    }

    fn hash_pieces(&self) -> Vec<Piece> {
        self.cuts.par_iter().map(|cut| piece(&self.bytes[cut.clone()])).collect()
    }
}

/// The pieces of a file that is in memory as a whole.
fn cut_all(mut bytes: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (first, rest) = bytes.split_at(first_cut(bytes));
        pieces.push(piece(first));
        bytes = rest;
    }
    pieces
}

/// Length of the first piece of `bytes`, which go on for at least [`MAX_PIECE`] bytes or to the end of the file.
fn first_cut(bytes: &[u8]) -> usize {
    let (strict, loose) = select_masks(AVERAGE_PIECE, Normalization::Level1);
    cut(bytes, MIN_PIECE, AVERAGE_PIECE, MAX_PIECE, strict, loose, strict << 1, loose << 1).1
}

fn piece(bytes: &[u8]) -> Piece {
    Piece { digest: Digest::of(bytes), len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
}

fn open(found: &Found) -> anyhow::Result<File> {
    let file = File::open(&found.file).with_context(|| cannot_read(found))?;
    let metadata = file.metadata().with_context(|| cannot_read(found))?;
    if Stamp::of(&metadata) != found.stamp { Err(changed(found)) } else { Ok(file) }
}

/// After the last byte was read: still the file that was opened, with as many bytes as it had.
fn unchanged(found: &Found, file: &File, read: u64) -> anyhow::Result<()> {
    let metadata = file.metadata().with_context(|| cannot_read(found))?;
    if read != found.stamp.len || Stamp::of(&metadata) != found.stamp { Err(changed(found)) } else { Ok(()) }
}

fn changed(found: &Found) -> anyhow::Error {
    anyhow!("{} changed while it was being read; publish again when nothing writes to it", found.file.display())
}

fn cannot_read(found: &Found) -> String {
    format!("cannot read {}", found.file.display())
}

/// Reads until `buffer` is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
