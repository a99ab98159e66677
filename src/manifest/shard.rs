//! A shard: entries sorted by path, read in place.
//!
//! ```text
//!   "PGS1"  entries u32  pieces u32  strings u32          16 bytes, all fields little-endian
//!   entries × 40 bytes, sorted by path
//!       path (offset u32, len u32)  size u64
//!       type (offset u32, len u16)  label u8  flags u8  headers (offset u32, len u32)  pieces (first u32, count u32)
//!   pieces × 36 bytes: SHA-256 32, len u32
//!   strings, UTF-8; headers are lines `name: value\n`
//! ```

use std::collections::BTreeMap;

use super::bytes::{Fields, field, need};
use super::entry::integrity_of;
use super::{BadManifest, Entry, Label, Piece, check_path};
use crate::digest::Digest;
use crate::text;

/// The largest shard that a reader accepts, in bytes.
pub const MAX_SHARD_BYTES: usize = 4 << 20;

/// A shard ends before a path whose digest's first byte is below this: one path in 128, about 40 KiB of entries.
const BORDER: u8 = 2;
/// Fewer entries than this never make a shard of their own, more always end one (some paths never draw a border).
const MIN_ENTRIES: usize = 32;
const MAX_ENTRIES: usize = 1024;
/// Pieces count too: a shard of a few very large files would grow past what a visit should load.
const MAX_PIECES: usize = 16_384;

const MAGIC: &[u8; 4] = b"PGS1";
const HEAD: usize = 16;
const RECORD: usize = 40;
const PIECE: usize = 36;
const PRECACHE: u8 = 1;

/// The borders of shards over entries sorted by path: the ranges of indices, in order. They depend on the paths alone
/// (and on the size limits), so one changed file changes one shard.
pub fn split_into_shards(entries: &[Entry]) -> Vec<std::ops::Range<usize>> {
    let mut borders = Vec::new();
    let (mut start, mut pieces) = (0, 0);
    for (at, entry) in entries.iter().enumerate() {
        let len = at - start;
        let full = len >= MAX_ENTRIES || pieces + entry.pieces.len() > MAX_PIECES;
        let border = len >= MIN_ENTRIES && Digest::of(entry.path.as_bytes()).0[0] < BORDER;
        if len > 0 && (full || border) {
            borders.push(start..at);
            (start, pieces) = (at, 0);
        }
        pieces += entry.pieces.len();
    }
    if start < entries.len() || entries.is_empty() {
        borders.push(start..entries.len());
    }
    borders
}

/// A shard's bytes, checked.
#[derive(Clone, Debug)]
pub struct Shard {
    bytes: Vec<u8>,
    entries: usize,
    pieces: usize,
}

impl Shard {
    /// Writes a shard of entries, which must be sorted by path.
    pub fn build(entries: &[Entry]) -> Result<Self, BadManifest> {
        let mut records = Vec::with_capacity(entries.len() * RECORD);
        let mut pieces = Vec::new();
        let mut strings = Strings::default();
        for entry in entries {
            let headers: String = entry.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            records.extend(strings.add(&entry.path));
            records.extend(entry.size.to_le_bytes());
            let media_type = strings.add(&entry.media_type);
            records.extend(&media_type[..6]);
            records.push(u8::from(entry.label == Label::Share));
            records.push(if entry.precache { PRECACHE } else { 0 });
            records.extend(strings.add(&headers));
            records.extend(field(pieces.len() / PIECE));
            records.extend(field(entry.pieces.len()));
            for piece in &entry.pieces {
                pieces.extend(piece.digest.0);
                pieces.extend(piece.len.to_le_bytes());
            }
        }
        let mut bytes = Vec::with_capacity(HEAD + records.len() + pieces.len() + strings.text.len());
        bytes.extend(MAGIC);
        bytes.extend(field(entries.len()));
        bytes.extend(field(pieces.len() / PIECE));
        bytes.extend(field(strings.text.len()));
        bytes.extend(records);
        bytes.extend(pieces);
        bytes.extend(strings.text.as_bytes());
        Self::open(bytes)
    }

    /// Checks the form of a whole shard: lengths, order, paths, and that each entry's pieces add up to its size.
    pub fn open(bytes: Vec<u8>) -> Result<Self, BadManifest> {
        if bytes.len() > MAX_SHARD_BYTES {
            return Err(BadManifest::TooLarge(MAX_SHARD_BYTES));
        }
        let fields = Fields(&bytes);
        if fields.slice(0, 4) != Some(MAGIC) {
            return Err(BadManifest::WrongMagic("shard"));
        }
        let (entries, pieces) = (need(fields.size(4))?, need(fields.size(8))?);
        let strings = need(fields.size(12))?;
        let records = entries.checked_mul(RECORD).and_then(|r| r.checked_add(pieces.checked_mul(PIECE)?));
        let total = records.and_then(|r| r.checked_add(HEAD + strings));
        if total != Some(bytes.len()) {
            return Err(BadManifest::Truncated);
        }
        let shard = Self { entries, pieces, bytes };
        let mut last: Option<&str> = None;
        for at in 0..entries {
            let path = need(shard.path(at))?;
            check_path(path)?;
            if last.is_some_and(|last| last >= path) {
                return Err(BadManifest::Inconsistent("paths out of order"));
            }
            last = Some(path);
            let record = need(shard.record(at))?;
            let (mut sum, mut has_empty) = (0_u64, false);
            for piece in record.first..record.first + record.count {
                let len = need(shard.piece_len(piece))?;
                if len > crate::wire::MAX_PIECE {
                    return Err(BadManifest::Inconsistent("a piece is larger than any may be"));
                }
                has_empty |= len == 0;
                sum = sum.saturating_add(u64::from(len));
            }
            if has_empty || sum != record.size {
                return Err(BadManifest::Inconsistent("pieces do not add up to the file's size"));
            }
        }
        Ok(shard)
    }

    /// The bytes, as they lie on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The address: SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it has no entries: only an empty site's shard.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The entry of a path, by binary search.
    pub fn find(&self, path: &str) -> Option<Entry> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.path(middle)?.cmp(path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.entry(middle),
            }
        }
        None
    }

    /// All entries, in order of path.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..self.entries).filter_map(|at| self.entry(at))
    }

    fn strings(&self) -> usize {
        HEAD + self.entries * RECORD + self.pieces * PIECE
    }

    fn string(&self, offset: usize, len: usize) -> Option<&str> {
        Fields(&self.bytes).text(self.strings().checked_add(offset)?, len)
    }

    fn path(&self, at: usize) -> Option<&str> {
        let (fields, record) = (Fields(&self.bytes), HEAD + at * RECORD);
        self.string(fields.size(record)?, fields.size(record + 4)?)
    }

    /// An entry's fixed part, its references checked.
    fn record(&self, at: usize) -> Option<Record<'_>> {
        let (fields, record) = (Fields(&self.bytes), HEAD + at * RECORD);
        let type_len = usize::from(u16::from_le_bytes([fields.u8(record + 20)?, fields.u8(record + 21)?]));
        let (first, count) = (fields.size(record + 32)?, fields.size(record + 36)?);
        if first.checked_add(count)? > self.pieces {
            return None;
        }
        Some(Record {
            size: fields.u64(record + 8)?,
            media_type: self.string(fields.size(record + 16)?, type_len)?,
            label: if fields.u8(record + 22)? == 1 { Label::Share } else { Label::Cache },
            precache: fields.u8(record + 23)? & PRECACHE != 0,
            headers: self.string(fields.size(record + 24)?, fields.size(record + 28)?)?,
            first,
            count,
        })
    }

    fn piece_at(&self, n: usize) -> usize {
        HEAD + self.entries * RECORD + n * PIECE
    }

    fn piece_len(&self, n: usize) -> Option<u32> {
        Fields(&self.bytes).u32(self.piece_at(n) + 32)
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let Record { size, media_type, label, precache, headers, first, count } = self.record(at)?;
        let piece =
            |n: usize| Some(Piece { digest: Fields(&self.bytes).digest(self.piece_at(n))?, len: self.piece_len(n)? });
        let pieces: Vec<Piece> = (first..first + count).map(piece).collect::<Option<_>>()?;
        Some(Entry {
            path: self.path(at)?.to_owned(),
            size,
            integrity: integrity_of(&pieces),
            media_type: media_type.to_owned(),
            label,
            precache,
            headers: headers
                .lines()
                .filter_map(|l| text::split_once(l, ": "))
                .map(|(n, v)| (n.into(), v.into()))
                .collect(),
            pieces,
        })
    }
}

/// The fixed part of an entry.
struct Record<'a> {
    size: u64,
    media_type: &'a str,
    label: Label,
    precache: bool,
    headers: &'a str,
    first: usize,
    count: usize,
}

/// The strings of a shard under construction, each distinct one kept once.
#[derive(Default)]
struct Strings {
    text: String,
    known: BTreeMap<String, usize>,
}

impl Strings {
    fn add(&mut self, text: &str) -> [u8; 8] {
        let offset = match self.known.get(text) {
            Some(&offset) => offset,
            None => {
                let offset = self.text.len();
                self.text.push_str(text);
                self.known.insert(text.to_owned(), offset);
                offset
            }
        };
        let mut out = [0; 8];
        out[..4].copy_from_slice(&field(offset));
        out[4..].copy_from_slice(&field(text.len()));
        out
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn entry(path: &str, lens: &[u32]) -> Entry {
        let pieces: Vec<_> = lens.iter().map(|&len| Piece { digest: Digest::of(&len.to_le_bytes()), len }).collect();
        Entry {
            path: path.into(),
            size: lens.iter().map(|&l| u64::from(l)).sum(),
            integrity: integrity_of(&pieces),
            media_type: "text/plain; charset=utf-8".into(),
            label: Label::Share,
            precache: path.ends_with('1'),
            headers: vec![("X-A".into(), "b: c".into())],
            pieces,
        }
    }

    #[test]
    fn entries_are_found_as_they_were_put() {
        let mut entries: Vec<_> =
            (0..300_u32).map(|n| entry(&format!("dir {}/ü{n}", n % 7), &[n + 1, 70_000])).collect();
        entries.push(entry("empty", &[]));
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let shard = Shard::build(&entries).unwrap();
        assert_eq!(shard.iter().collect::<Vec<_>>(), entries);
        for entry in &entries {
            assert_eq!(shard.find(&entry.path).as_ref(), Some(entry));
        }
        assert_eq!(shard.find("dir"), None);
        assert_eq!(shard.find("zzz"), None);
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_panic() {
        let shard = Shard::build(&[entry("a", &[1, 2]), entry("b", &[3])]).unwrap();
        for cut in 0..shard.bytes.len() {
            assert!(Shard::open(shard.bytes[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        for at in 0..shard.bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = shard.bytes.clone();
                bytes[at] = value;
                if let Ok(opened) = Shard::open(bytes) {
                    assert_eq!(opened.iter().count(), 2);
                }
            }
        }
        assert_eq!(Shard::open(b"PGS2".to_vec()).unwrap_err(), BadManifest::WrongMagic("shard"));
    }

    #[test]
    fn one_more_file_changes_one_shard() {
        let mut entries: Vec<_> = (0..5000).map(|n| entry(&format!("wiki/{n:05}"), &[9])).collect();
        let shards = |entries: &[Entry]| -> std::collections::BTreeSet<_> {
            split_into_shards(entries).into_iter().map(|r| Shard::build(&entries[r]).unwrap().digest()).collect()
        };
        let before = shards(&entries);
        entries.insert(2500, entry("wiki/02499x", &[9]));
        let after = shards(&entries);
        assert!(before.len() > 10);
        assert_eq!(after.difference(&before).count(), 1);
    }
}
