//! The store: which pieces lie where in Cache Storage.
//!
//! A look-up there costs about a millisecond and a write two, whatever the size, so pieces lie together: a **segment** is
//! one cache entry with a run of verified pieces, at most [`SEGMENT_BYTES`]. Small files, up to [`SMALL_BYTES`], share
//! segments of about [`PACK_BYTES`]: one look-up then serves a page's many small files, and reads little that is not
//! wanted. A large file has several, since a browser reads the whole of an entry to give a part of it, and a small one first
//! ([`FIRST_SEGMENT_BYTES`]). The table of what lies where is kept in memory and written as one small snapshot. It may be
//! older than the segments, so each segment also carries its own line of the table ([`Segment::describe`]), and a worker
//! that finds itself started without a clean snapshot reads those.

use crate::digest::Digest;
use crate::manifest::Piece;
use crate::room::Need;
use crate::sorted::{self, Map, Set};

/// Most bytes in a segment, unless a single piece is larger.
pub const SEGMENT_BYTES: u64 = 4 << 20;

/// Most bytes in the first segment of a file of several.
pub const FIRST_SEGMENT_BYTES: u64 = 1 << 20;

/// What a file has at most that is written together with others, in bytes.
pub const SMALL_BYTES: u64 = 64 << 10;

/// A segment of small files is written when it has this many bytes, or none came for [`PACK_MS`].
pub const PACK_BYTES: u64 = 256 << 10;

/// How long a small file waits for others, in milliseconds.
pub const PACK_MS: u64 = 100;

const MAGIC: &[u8; 4] = b"PGH2";
/// A snapshot of more segments than this is not believed.
const MAX_SEGMENTS: u32 = 1 << 20;
const MAX_PIECES_A_SEGMENT: u32 = 1 << 16;

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the segment.
    pub segment: u64,
    /// First byte in it.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

/// Whether a snapshot of the table has every segment that was written. One that is being written while the snapshot is
/// taken is not in it, and must still be looked for by the next worker when the snapshot has been stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsaved {
    writing: u32,
    written: u64,
}

impl Unsaved {
    /// A segment is about to be written.
    pub fn begin(&mut self) {
        self.writing += 1;
    }

    /// It was written, and goes to the table now, or could not be.
    pub fn end(&mut self) {
        self.writing = self.writing.saturating_sub(1);
        self.written += 1;
    }

    /// What a snapshot that is taken now has.
    pub fn mark(&self) -> u64 {
        self.written
    }

    /// Whether the snapshot taken at `mark` has every segment that may be in the cache by now.
    pub fn none_since(&self, mark: u64) -> bool {
        self.writing == 0 && self.written == mark
    }
}

/// One cache entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The pieces in it, end to end.
    pub pieces: Vec<Piece>,
    /// Whether they may be sent to peers.
    pub share: bool,
    /// Whether the current version is whole only with them: they are not deleted to make room.
    pub shell: bool,
    /// The same of a version that is being taken up.
    pub coming: bool,
    /// When it was last read or written, on the store's own count of uses.
    pub used: u64,
}

impl Segment {
    /// Bytes in it.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|p| u64::from(p.len)).sum()
    }

    /// The segment's own line of the table, as it is kept with its bytes.
    pub fn describe(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.share) | u8::from(self.shell) << 1 | u8::from(self.coming) << 2];
        out.extend(self.used.to_le_bytes());
        out.extend(u32::try_from(self.pieces.len()).unwrap_or(u32::MAX).to_le_bytes());
        for piece in &self.pieces {
            out.extend(piece.digest.0);
            out.extend(piece.len.to_le_bytes());
        }
        out
    }

    /// Where its pieces lie, it being this segment.
    fn places(&self, number: u64) -> impl Iterator<Item = (Digest, Place)> {
        self.pieces.iter().scan(0, move |next: &mut u32, piece| {
            let offset = *next;
            *next = offset.saturating_add(piece.len);
            Some((piece.digest, Place { segment: number, offset, len: piece.len }))
        })
    }

    /// Reads what [`Segment::describe`] wrote; the rest of the bytes comes along.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (flags, rest) = bytes.split_first()?;
        let (used, rest) = rest.split_first_chunk()?;
        let (count, mut rest) = rest.split_first_chunk()?;
        let count = u32::from_le_bytes(*count);
        if count > MAX_PIECES_A_SEGMENT {
            return None;
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            let (digest, after) = rest.split_first_chunk()?;
            let (len, after) = after.split_first_chunk()?;
            pieces.push(Piece { digest: Digest(*digest), len: u32::from_le_bytes(*len) });
            rest = after;
        }
        let flag = |bit: u8| flags & bit != 0;
        Some((Self { pieces, share: flag(1), shell: flag(2), coming: flag(4), used: u64::from_le_bytes(*used) }, rest))
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Store {
    segments: Map<u64, Segment>,
    places: Map<Digest, Place>,
    /// The pieces without which the versions that are being taken up are not whole, sorted, by version.
    coming: Map<u64, Vec<Digest>>,
    /// The pieces without which the current version is not whole and that are not here: what was lost and comes again is not
    /// deleted to make room either.
    lost: Set<Digest>,
    /// Pieces that were shared, of files that no version in use lists any more: they are given to nobody.
    withheld: Set<Digest>,
    next: u64,
    uses: u64,
    bytes: u64,
}

impl Store {
    /// Where a piece lies, if it does.
    pub fn place(&self, digest: &Digest) -> Option<Place> {
        self.places.get(digest).copied()
    }

    /// What a version needs that is whole only with these pieces.
    pub fn need(&self, pieces: &[Piece]) -> Need {
        let mut need = Need { whole: 0, missing: 0 };
        for piece in pieces {
            let len = u64::from(piece.len);
            need.whole += len;
            need.missing += if self.places.contains_key(&piece.digest) { 0 } else { len };
        }
        need
    }

    /// Bytes in all segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that can be deleted to make room: no version is whole by them.
    pub fn loose(&self) -> u64 {
        self.loose_segments().map(|(_, segment)| segment.bytes()).sum()
    }

    fn loose_segments(&self) -> impl Iterator<Item = (u64, &Segment)> {
        self.segments().filter(|(_, segment)| !segment.shell && !segment.coming)
    }

    /// Distinct pieces.
    pub fn pieces(&self) -> usize {
        self.places.len()
    }

    /// All segments by number.
    pub fn segments(&self) -> impl Iterator<Item = (u64, &Segment)> {
        self.segments.iter().map(|(&n, s)| (n, s))
    }

    /// Pieces that may be sent to peers, and where they lie.
    pub fn shared(&self) -> impl Iterator<Item = (Digest, Place)> + '_ {
        self.places
            .iter()
            .map(|(d, p)| (*d, *p))
            .filter(|(d, p)| self.segments.get(&p.segment).is_some_and(|s| s.share) && !self.withheld.contains(d))
    }

    /// A number for a segment about to be written. Numbers are never used twice.
    pub fn reserve(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A segment of these pieces, as it is to be written.
    pub fn segment(&self, pieces: Vec<Piece>, share: bool) -> Segment {
        // What lies elsewhere already is found here from now on.
        let replaced = |piece: &Piece| self.place(&piece.digest).and_then(|place| self.segments.get(&place.segment));
        let is_shell =
            |piece: &Piece| self.lost.contains(&piece.digest) || replaced(piece).is_some_and(|old| old.shell);
        let (shell, coming) = (pieces.iter().any(is_shell), is_coming(&self.coming, &pieces));
        Segment { pieces, share, shell, coming, used: 0 }
    }

    /// Puts a segment that was written into the table. A piece that lies elsewhere already is found here from now on.
    pub fn insert(&mut self, number: u64, pieces: Vec<Piece>, share: bool) {
        self.uses += 1;
        let segment = self.segment(pieces, share);
        for piece in &segment.pieces {
            self.lost.remove(&piece.digest);
            self.withheld.remove(&piece.digest);
        }
        self.put(number, Segment { used: self.uses, ..segment });
    }

    fn put(&mut self, number: u64, segment: Segment) {
        self.remove(number);
        for (digest, place) in segment.places(number) {
            self.places.insert(digest, place);
        }
        self.list(number, segment);
    }

    fn list(&mut self, number: u64, segment: Segment) {
        self.next = self.next.max(number);
        self.uses = self.uses.max(segment.used);
        self.bytes += segment.bytes();
        self.segments.insert(number, segment);
    }

    /// A segment that is gone; returns the pieces that are now nowhere.
    pub fn remove(&mut self, number: u64) -> Vec<Digest> {
        let Some(segment) = self.segments.remove(&number) else { return Vec::new() };
        self.bytes -= segment.bytes();
        let mut gone = Vec::new();
        for piece in &segment.pieces {
            if self.places.get(&piece.digest).is_some_and(|p| p.segment == number) {
                self.places.remove(&piece.digest);
                self.withheld.remove(&piece.digest);
                gone.push(piece.digest);
                if segment.shell {
                    self.lost.insert(piece.digest);
                }
            }
        }
        gone
    }

    /// A version's labels, as sorted digests: what it lets peers have, and what it lists but keeps from them. A segment
    /// with a kept piece is shared no longer; one of shared pieces only is shared. What is in neither stays as it is.
    pub fn relabel(&mut self, shared: &[Digest], kept: &[Digest]) {
        let is_in = |list: &[Digest], piece: &Piece| list.binary_search(&piece.digest).is_ok();
        for digest in shared {
            self.withheld.remove(digest);
        }
        for segment in self.segments.values_mut() {
            // A piece of both a shared and a kept file is public.
            let is_kept = |piece: &Piece| is_in(kept, piece) && !is_in(shared, piece);
            if segment.pieces.iter().any(is_kept) {
                segment.share = false;
            } else if segment.pieces.iter().all(|piece| is_in(shared, piece)) {
                segment.share = true;
            }
        }
    }

    /// Versions went that let peers have the pieces that `were` shared: those that the versions in use do not list, as far as
    /// is known here (`are`, sorted), are given to nobody from now on. A segment's other pieces are.
    pub fn withhold(&mut self, were: &[Digest], are: &[Digest]) {
        for digest in were {
            if self.places.contains_key(digest) && are.binary_search(digest).is_err() {
                self.withheld.insert(*digest);
            }
        }
    }

    /// A version in use lists these pieces, and lets peers have them; whether any was withheld.
    pub fn relist(&mut self, pieces: &[Piece]) -> bool {
        let before = self.withheld.len();
        for piece in pieces {
            self.withheld.remove(&piece.digest);
        }
        self.withheld.len() < before
    }

    /// A version is being taken up that is whole only with these pieces, sorted: none of them is deleted to make room from
    /// now on, nor one of the version that is current, or of another that is `under_way`.
    pub fn prepare(&mut self, version: u64, coming: Vec<Digest>, under_way: &[u64]) {
        self.coming.insert(version, coming);
        self.mark_coming(under_way);
    }

    /// The version that is whole only with these pieces, sorted, is the current one; others may be `under_way`.
    pub fn switch(&mut self, shell: &[Digest], under_way: &[u64]) {
        for segment in self.segments.values_mut() {
            segment.shell = is_any_in(shell, &segment.pieces);
        }
        self.lost = Set::default();
        for digest in shell {
            if !self.places.contains_key(digest) {
                self.lost.insert(*digest);
            }
        }
        self.mark_coming(under_way);
    }

    /// What is not under way any more was given up, or became current.
    fn mark_coming(&mut self, under_way: &[u64]) {
        self.coming.retain(|version, _| under_way.contains(version));
        for segment in self.segments.values_mut() {
            segment.coming = is_coming(&self.coming, &segment.pieces);
        }
    }

    /// Notes that a segment was read.
    pub fn touch(&mut self, number: u64) {
        self.uses += 1;
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.used = self.uses;
        }
    }

    /// The segments to delete, least recently used first, so that `budget` bytes are kept at most; none of those that make a
    /// version whole.
    pub fn over(&self, budget: u64) -> Vec<u64> {
        let mut excess = self.bytes.saturating_sub(budget);
        let by_use = sorted::sort(self.loose_segments().map(|(n, s)| (s.used, n, s.bytes())).collect());
        let mut out = Vec::new();
        for (_, number, bytes) in by_use {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(bytes);
            out.push(number);
        }
        out
    }

    /// The whole table in bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.next.to_le_bytes());
        out.extend(u32::try_from(self.segments.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (number, segment) in self.segments.iter() {
            out.extend(number.to_le_bytes());
            out.extend(segment.describe());
        }
        out.extend(u32::try_from(self.lost.len()).unwrap_or(u32::MAX).to_le_bytes());
        for digest in self.lost.iter().chain(self.withheld.iter()) {
            out.extend(digest.0);
        }
        out
    }

    /// Reads a snapshot; `None` where it is damaged: the segments' own lines are read instead.
    pub fn from_snapshot(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (next, rest) = rest.split_first_chunk()?;
        let (count, mut rest) = rest.split_first_chunk()?;
        let count = u32::from_le_bytes(*count);
        if magic != MAGIC || count > MAX_SEGMENTS {
            return None;
        }
        let mut places = Vec::new();
        let mut store = Self { next: u64::from_le_bytes(*next), ..Self::default() };
        for _ in 0..count {
            let (number, after) = rest.split_first_chunk()?;
            let (number, (segment, after)) = (u64::from_le_bytes(*number), Segment::read(after)?);
            if store.segments.contains_key(&number) {
                return None;
            }
            places.extend(segment.places(number));
            store.list(number, segment);
            rest = after;
        }
        store.places = Map::of(places);
        let (lost, mut rest) = rest.split_first_chunk()?;
        let mut lost = u32::from_le_bytes(*lost);
        while let Some((digest, after)) = rest.split_first_chunk() {
            let list = if lost > 0 { &mut store.lost } else { &mut store.withheld };
            list.insert(Digest(*digest));
            lost = lost.saturating_sub(1);
            rest = after;
        }
        (rest.is_empty() && lost == 0).then_some(store)
    }

    /// Takes up a segment found in the cache by its own line, where all its `bytes` are there.
    pub fn recover(&mut self, number: u64, line: &[u8], bytes: u64) -> bool {
        match Segment::read(line) {
            Some((segment, [])) if segment.bytes() == bytes => {
                self.put(number, segment);
                true
            }
            _ => false,
        }
    }

    /// Whether a segment is in the table.
    pub fn contains(&self, number: u64) -> bool {
        self.segments.contains_key(&number)
    }
}

fn is_coming(coming: &Map<u64, Vec<Digest>>, pieces: &[Piece]) -> bool {
    coming.values().any(|coming| is_any_in(coming, pieces))
}

fn is_any_in(sorted: &[Digest], pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| sorted.binary_search(&piece.digest).is_ok())
}

#[cfg(test)]
mod tests;
