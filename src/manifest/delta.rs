//! A delta: what makes the parts of the version before into those of this one, so that an edit of one page costs a visitor
//! some hundred bytes and not an index page and a shard.
//!
//! Each part of the manifest (an index page or a shard) that a version has anew may have a **patch**: the address of a part
//! of the version before, the source, and instructions in the manner of VCDIFF (RFC 3284, section 3) that make the target of
//! it. A target is checked by its own address as if it had been fetched, so a patch need not be trusted. A delta names the
//! one before it, and the versions from which that chain leads: a visitor who missed some follows it back to the one that it
//! has, and who missed more sees from the newest delta that it does not lead there.
//!
//! ```text
//!   "PGD1"  patches u32  delta before: SHA-256 32, bytes u32 (all zero: there is none)  versions u32     48 bytes
//!   versions × 8 bytes: the beginning of the address of the top index page; the one that this delta starts from first
//!   patches × 72 bytes: source SHA-256 32, target SHA-256 32, target's len u32, instructions' len u32
//!   the instructions, one patch's after the other's; numbers are LEB128
//!       COPY  len × 2      then where in the source, as the distance (zigzag) from the end of the last COPY, moved on by
//!                          what was added since
//!       ADD   len × 2 + 1  then so many bytes
//! ```

use super::BadManifest;
use super::bytes::{Fields, field, need};
use crate::digest::Digest;

/// The largest delta that a reader accepts, in bytes, and the most in a chain. A release that changes more has none: of a
/// large site, visitors need a few of the parts that are new.
pub const MAX_DELTA_BYTES: usize = 16 << 10;

/// The most deltas in a chain.
pub const MAX_CHAIN: usize = 16;

/// A target that is larger is not made, in bytes.
const MAX_TARGET_BYTES: usize = super::MAX_SHARD_BYTES;

const MAGIC: &[u8; 4] = b"PGD1";
const HEAD: usize = 48;
const VERSION: usize = 8;
const RECORD: usize = 72;

/// A delta's address and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DeltaName {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Their number.
    pub bytes: u32,
}

/// The changes from one version's manifest to the next one's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The delta that made the sources of this one.
    pub before: Option<DeltaName>,
    /// The versions from which it and those before it lead, by [`Digest::prefix`] of their top index pages: the one that
    /// this delta starts from first.
    pub versions: Vec<u64>,
    /// One for each part that is made of one before.
    pub patches: Vec<Patch>,
}

/// How one part is made of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The part that is there.
    pub source: Digest,
    /// The part that is wanted.
    pub target: Digest,
    len: u32,
    instructions: Vec<u8>,
}

impl Delta {
    /// Checks the form of a whole delta.
    pub fn open(bytes: &[u8]) -> Result<Self, BadManifest> {
        if bytes.len() > MAX_DELTA_BYTES {
            return Err(BadManifest::TooLarge(MAX_DELTA_BYTES));
        }
        let fields = Fields(bytes);
        if fields.slice(0, 4) != Some(MAGIC) {
            return Err(BadManifest::WrongMagic("delta"));
        }
        let count = need(fields.size(4))?;
        let before = DeltaName { digest: need(fields.digest(8))?, bytes: need(fields.u32(40))? };
        if need(fields.size(44))? > MAX_CHAIN {
            return Err(BadManifest::Inconsistent("a chain of deltas that is too long"));
        }
        let records = need(need(fields.size(44))?.checked_mul(VERSION).and_then(|len| len.checked_add(HEAD)))?;
        let mut at = need(count.checked_mul(RECORD).and_then(|len| len.checked_add(records)))?;
        // Before memory is set aside for so many.
        need(fields.slice(0, at))?;
        let versions = (HEAD..records).step_by(VERSION).map(|at| need(fields.u64(at))).collect::<Result<_, _>>()?;
        let mut patches = Vec::with_capacity(count);
        for record in (records..at).step_by(RECORD) {
            let len = need(fields.size(record + 68))?;
            patches.push(Patch {
                source: need(fields.digest(record))?,
                target: need(fields.digest(record + 32))?,
                len: need(fields.u32(record + 64))?,
                instructions: need(fields.slice(at, len))?.to_vec(),
            });
            at += len;
        }
        if at != bytes.len() {
            return Err(BadManifest::Truncated);
        }
        Ok(Self { before: Some(before).filter(|before| before.bytes > 0), versions, patches })
    }

    /// How many deltas lie between this one and the version with this top index page; `None` where none leads there.
    pub fn leads_from(&self, index: Digest) -> Option<usize> {
        self.versions.iter().position(|&version| version == index.prefix())
    }

    /// The bytes, as they lie on disk.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(field(self.patches.len()));
        bytes.extend(self.before.map_or([0; 32], |before| before.digest.0));
        bytes.extend(self.before.map_or(0, |before| before.bytes).to_le_bytes());
        bytes.extend(field(self.versions.len()));
        for version in &self.versions {
            bytes.extend(version.to_le_bytes());
        }
        for patch in &self.patches {
            bytes.extend(patch.source.0);
            bytes.extend(patch.target.0);
            bytes.extend(patch.len.to_le_bytes());
            bytes.extend(field(patch.instructions.len()));
        }
        for patch in &self.patches {
            bytes.extend(&patch.instructions);
        }
        bytes
    }
}

impl Patch {
    /// Its bytes in a delta.
    pub fn bytes(&self) -> usize {
        RECORD + self.instructions.len()
    }

    /// The target that the source's bytes make, not yet checked; `None` where the instructions can't be followed.
    pub fn apply(&self, source: &[u8]) -> Option<Vec<u8>> {
        let len = usize::try_from(self.len).ok().filter(|&len| len <= MAX_TARGET_BYTES)?;
        let mut target = Vec::with_capacity(len);
        let mut rest = &self.instructions[..];
        let mut expected = 0_usize;
        while !rest.is_empty() {
            let word = number(&mut rest)?;
            let run = word >> 1;
            let from = if word & 1 == 1 {
                let (added, after) = rest.split_at_checked(run)?;
                rest = after;
                added
            } else {
                let distance = number(&mut rest)?;
                let back = distance & 1 == 1;
                let start = if back {
                    expected.checked_sub((distance >> 1) + 1)?
                } else {
                    expected.checked_add(distance >> 1)?
                };
                expected = start;
                source.get(start..start.checked_add(run)?)?
            };
            expected = expected.checked_add(run)?;
            if target.len() + from.len() > len {
                return None;
            }
            target.extend_from_slice(from);
        }
        (target.len() == len).then_some(target)
    }

    /// The instructions that make `target` of `source`: short where the two have long runs of bytes in common.
    pub fn between(source: &[u8], target: &[u8]) -> Self {
        let mut instructions = Vec::new();
        let (mut added, mut at, mut expected) = (0, 0, 0);
        let windows = windows(source);
        // `added..at` is what no COPY has brought.
        while at < target.len() {
            let (start, run) = longest(source, &windows, target, at, expected + (at - added));
            if run < WORTH {
                at += 1;
                continue;
            }
            if added < at {
                put(&mut instructions, (at - added) << 1 | 1);
                instructions.extend(&target[added..at]);
                expected += at - added;
            }
            put(&mut instructions, run << 1);
            put(
                &mut instructions,
                if start < expected { (expected - start - 1) << 1 | 1 } else { (start - expected) << 1 },
            );
            (at, expected) = (at + run, start + run);
            added = at;
        }
        if added < at {
            put(&mut instructions, (at - added) << 1 | 1);
            instructions.extend(&target[added..at]);
        }
        Self {
            source: Digest::of(source),
            target: Digest::of(target),
            len: u32::try_from(target.len()).unwrap_or(u32::MAX),
            instructions,
        }
    }
}

/// A run that is shorter is not worth a COPY.
const WORTH: usize = 6;
/// Bytes by which runs are found.
const WINDOW: usize = 8;
/// Places of one window that are tried.
const TRIES: usize = 8;

/// Every window of `source` with its place, in order.
fn windows(source: &[u8]) -> Vec<([u8; WINDOW], usize)> {
    let mut all: Vec<_> =
        source.windows(WINDOW).enumerate().filter_map(|(at, window)| Some((window.try_into().ok()?, at))).collect();
    all.sort_unstable();
    all
}

/// Where in `source` the longest run is that `target` has at `at`, and its length. What is `expected` is preferred: it
/// costs a byte to say.
fn longest(
    source: &[u8],
    windows: &[([u8; WINDOW], usize)],
    target: &[u8],
    at: usize,
    expected: usize,
) -> (usize, usize) {
    let run = |start: usize| {
        let pairs = source.get(start..).unwrap_or_default().iter().zip(&target[at..]);
        pairs.take_while(|(a, b)| a == b).count()
    };
    let mut best = (expected, run(expected));
    if best.1 >= 4 * WINDOW {
        return best;
    }
    if let Some(window) = target.get(at..at + WINDOW) {
        let first = windows.partition_point(|(have, _)| have[..] < *window);
        for (_, start) in windows[first..].iter().take_while(|(have, _)| have[..] == *window).take(TRIES) {
            let found = (*start, run(*start));
            if found.1 > best.1 + WORTH {
                best = found;
            }
        }
    }
    best
}

/// Writes a number in LEB128.
fn put(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Reads a number of at most 28 bits in LEB128.
fn number(from: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::shard::tests::entry;
    use super::super::{Entry, Tree, build_tree};
    use super::*;
    use crate::rng::Rng;

    fn made(source: &[u8], target: &[u8]) -> usize {
        let patch = Patch::between(source, target);
        assert_eq!(patch.apply(source).as_deref(), Some(target));
        assert_eq!((patch.source, patch.target), (Digest::of(source), Digest::of(target)));
        patch.instructions.len()
    }

    fn site(change: impl Fn(&mut Vec<Entry>)) -> Tree {
        let mut entries: Vec<_> = (0..20_000).map(|n| entry(&format!("wiki/Article {n}.html"), &[n + 1, 7])).collect();
        change(&mut entries);
        build_tree(&mut entries).unwrap()
    }

    /// The bytes that one release's parts cost as patches of those that they replace.
    fn cost(old: &Tree, new: &Tree) -> usize {
        let pages = |tree: &Tree| tree.pages.iter().map(|p| p.as_bytes().to_vec()).collect::<Vec<_>>();
        let shards = |tree: &Tree| tree.shards.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut bytes = HEAD;
        for (old, new) in [(pages(old), pages(new)), (shards(old), shards(new))] {
            for part in new.iter().filter(|part| !old.contains(part)) {
                bytes += RECORD + old.iter().map(|source| made(source, part)).min().unwrap_or(part.len());
            }
        }
        bytes
    }

    #[test]
    fn what_an_edit_changes_in_the_manifest_is_some_hundred_bytes() {
        let old = site(|_| {});
        let edited = cost(&old, &site(|entries| entries[9_000] = entry("wiki/Article 9000.html", &[1, 2])));
        assert!(edited < 450, "{edited}");
        let longer = cost(&old, &site(|entries| entries[9_000] = entry("wiki/Article 9000.html", &[1, 2, 3])));
        assert!(longer < 4096, "{longer}");
        let added = cost(&old, &site(|entries| entries.push(entry("wiki/Article 9000b.html", &[1]))));
        assert!(added < 6144, "{added}");
    }

    #[test]
    fn any_bytes_are_made_of_any_others() {
        let mut rng = Rng::new(11);
        for _ in 0..200 {
            let mut bytes = |max: u64, of: u64| (0..rng.below(max)).map(|_| rng.below(of) as u8).collect::<Vec<u8>>();
            let (a, b, c) = (bytes(300, 256), bytes(300, 3), bytes(40, 256));
            made(&a, &b);
            made(&[], &a);
            made(&a, &[]);
            let moved = [&b[..], &c, &a].concat();
            let len = made(&[&a[..], &b].concat(), &moved);
            assert!(len <= c.len() + 24 || b.len() < 40 || a.len() < 40, "{len} for {}", c.len());
        }
    }

    #[test]
    fn a_delta_is_read_as_it_was_written() {
        let patches = vec![Patch::between(b"what was there", b"what is there"), Patch::between(b"", b"new")];
        for before in [None, Some(DeltaName { digest: Digest::of(b"before"), bytes: 7 })] {
            let versions = vec![7, Digest::of(b"top").prefix()];
            let delta = Delta { before, versions, patches: patches.clone() };
            assert_eq!((delta.leads_from(Digest::of(b"top")), delta.leads_from(Digest::of(b""))), (Some(1), None));
            assert_eq!(Delta::open(&delta.encode()), Ok(delta));
        }
        assert_eq!(Delta::open(&Delta::default().encode()), Ok(Delta::default()));
    }

    #[test]
    fn damaged_deltas_are_refused_or_make_nothing_and_never_panic() {
        let source = b"a shard of which some bytes are changed, and the others stay as they are";
        let target = b"a shard of which four bytes are changed, and all others stay as they are";
        let bytes = Delta { before: None, versions: vec![1], patches: vec![Patch::between(source, target)] }.encode();
        for cut in 0..bytes.len() {
            assert!(Delta::open(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                for patch in Delta::open(&bytes).iter().flat_map(|delta| &delta.patches) {
                    assert!(patch.apply(source).is_none_or(|made| made.len() <= MAX_TARGET_BYTES));
                }
            }
        }
        let long = Delta { versions: vec![1; MAX_CHAIN + 1], ..Delta::default() };
        assert!(matches!(Delta::open(&long.encode()), Err(BadManifest::Inconsistent(_))));
        assert_eq!(Delta::open(&[0; MAX_DELTA_BYTES + 1]), Err(BadManifest::TooLarge(MAX_DELTA_BYTES)));
    }

    #[test]
    fn a_target_is_not_larger_than_its_patch_says() {
        let mut patch = Patch::between(b"12345678", &b"12345678".repeat(100));
        patch.len -= 1;
        assert_eq!(patch.apply(b"12345678"), None);
        patch.len = u32::MAX;
        assert_eq!(patch.apply(b"12345678"), None);
    }
}
