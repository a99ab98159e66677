//! The index: a tree of pages over the shards, read in place like them.
//!
//! ```text
//!   "PGI1"  level u8  0 0 0  children u32  strings u32     16 bytes; level 0: the children are shards
//!   children × 48 bytes, sorted: first path (offset u32, len u32)  SHA-256 32  bytes u32  flags u32
//!   strings, UTF-8
//! ```

use super::bytes::{Fields, field, need};
use super::{BadManifest, Entry, Shard, split_into_shards};
use crate::digest::Digest;

/// The largest index page that a reader accepts, in bytes.
pub const MAX_PAGE_BYTES: usize = 1 << 20;

/// Children of one page: at most this many, about 20 KiB.
const PAGE: usize = 256;
/// Fewer don't make a page of their own.
const MIN_PAGE: usize = 64;
/// From then on a page ends before a child whose first path's digest begins with less than this: one in 64.
const BORDER: u8 = 4;
/// More levels than a site of any size needs: a page has about 125 children.
const MAX_LEVEL: u8 = 4;

const MAGIC: &[u8; 4] = b"PGI1";
const HEAD: usize = 16;
const RECORD: usize = 48;
const PRECACHE: u32 = 1;

/// A shard or a lower page, as its parent lists it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Child {
    /// The first path in it.
    pub first: String,
    /// Its address.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u32,
    /// Whether an entry below is labelled `precache`.
    pub precache: bool,
}

/// An index page's bytes, checked.
#[derive(Clone, Debug)]
pub struct Index {
    bytes: Vec<u8>,
    level: u8,
    children: usize,
}

impl Index {
    /// Writes a page. `level` is 0 where the children are shards. Children must be sorted by first path.
    pub fn build(level: u8, children: &[Child]) -> Result<Self, BadManifest> {
        let mut strings: Vec<u8> = Vec::new();
        let mut bytes = Vec::with_capacity(HEAD + children.len() * (RECORD + 32));
        bytes.extend(MAGIC);
        bytes.extend([level, 0, 0, 0]);
        bytes.extend(field(children.len()));
        bytes.extend(field(children.iter().map(|c| c.first.len()).sum()));
        for child in children {
            bytes.extend(field(strings.len()));
            bytes.extend(field(child.first.len()));
            bytes.extend(child.digest.0);
            bytes.extend(child.bytes.to_le_bytes());
            bytes.extend(if child.precache { PRECACHE } else { 0 }.to_le_bytes());
            strings.extend(child.first.as_bytes());
        }
        bytes.extend(strings);
        Self::open(bytes)
    }

    /// Checks the form of a whole page.
    pub fn open(bytes: Vec<u8>) -> Result<Self, BadManifest> {
        if bytes.len() > MAX_PAGE_BYTES {
            return Err(BadManifest::TooLarge(MAX_PAGE_BYTES));
        }
        let fields = Fields(&bytes);
        if fields.slice(0, 4) != Some(MAGIC) {
            return Err(BadManifest::WrongMagic("index page"));
        }
        let (level, children) = (need(fields.u8(4))?, need(fields.size(8))?);
        let total = children.checked_mul(RECORD).and_then(|r| r.checked_add(HEAD + need(fields.size(12)).ok()?));
        if total != Some(bytes.len()) {
            return Err(BadManifest::Truncated);
        }
        if level > MAX_LEVEL || children == 0 {
            return Err(BadManifest::Inconsistent("an index page without children, or too deep"));
        }
        let index = Self { level, children, bytes };
        let mut last: Option<&str> = None;
        for at in 0..children {
            let first = need(index.first(at))?;
            if last.is_some_and(|last| last >= first) {
                return Err(BadManifest::Inconsistent("children out of order"));
            }
            last = Some(first);
        }
        Ok(index)
    }

    /// The bytes, as they lie on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The address: SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Height above the shards; 0: the children are shards.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The child in which `path` would be.
    pub fn find(&self, path: &str) -> Option<Child> {
        let (mut low, mut high) = (0, self.children);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.first(middle)? <= path { low = middle + 1 } else { high = middle }
        }
        self.child(low.checked_sub(1)?)
    }

    /// All children, in order.
    pub fn children(&self) -> impl Iterator<Item = Child> + '_ {
        (0..self.children).filter_map(|at| self.child(at))
    }

    fn first(&self, at: usize) -> Option<&str> {
        let (fields, record) = (Fields(&self.bytes), HEAD + at * RECORD);
        let strings = HEAD + self.children * RECORD;
        fields.text(strings.checked_add(fields.size(record)?)?, fields.size(record + 4)?)
    }

    fn child(&self, at: usize) -> Option<Child> {
        let (fields, record) = (Fields(&self.bytes), HEAD + at * RECORD);
        Some(Child {
            first: self.first(at)?.to_owned(),
            digest: fields.digest(record + 8)?,
            bytes: fields.u32(record + 40)?,
            precache: fields.u32(record + 44)? & PRECACHE != 0,
        })
    }
}

/// A whole manifest below the root.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The top page.
    pub top: Index,
    /// All pages, the top among them.
    pub pages: Vec<Index>,
    /// All shards, in order of path.
    pub shards: Vec<Shard>,
}

/// The borders of pages over children: they depend on the first paths alone, so a further child changes one page and not
/// all that follow.
fn split_into_pages(children: &[Child]) -> Vec<std::ops::Range<usize>> {
    let mut borders = Vec::new();
    let mut start = 0;
    for (at, child) in children.iter().enumerate() {
        let is_border = || Digest::of(child.first.as_bytes()).0[0] < BORDER;
        if at - start >= PAGE || at - start >= MIN_PAGE && is_border() {
            borders.push(start..at);
            start = at;
        }
    }
    borders.push(start..children.len());
    borders
}

/// Writes the shards and index pages of a site. Sorts `entries` by path; two of the same path are an error.
pub fn build_tree(entries: &mut [Entry]) -> Result<Tree, BadManifest> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut shards = Vec::new();
    let mut level = Vec::new();
    for range in split_into_shards(entries) {
        let part = &entries[range];
        let shard = Shard::build(part)?;
        level.push(Child {
            first: part.first().map(|e| e.path.clone()).unwrap_or_default(),
            digest: shard.digest(),
            bytes: u32::try_from(shard.as_bytes().len()).unwrap_or(u32::MAX),
            precache: part.iter().any(|e| e.precache),
        });
        shards.push(shard);
    }
    let mut pages = Vec::new();
    for height in 0.. {
        let mut above = Vec::new();
        for range in split_into_pages(&level) {
            let children = &level[range];
            let page = Index::build(height, children)?;
            above.push(Child {
                first: children[0].first.clone(),
                digest: page.digest(),
                bytes: u32::try_from(page.as_bytes().len()).unwrap_or(u32::MAX),
                precache: children.iter().any(|c| c.precache),
            });
            pages.push(page);
        }
        if above.len() == 1 {
            break;
        }
        level = above;
    }
    let top = pages.last().cloned().ok_or(BadManifest::Inconsistent("an index without pages"))?;
    Ok(Tree { top, pages, shards })
}

#[cfg(test)]
mod tests {
    use super::super::shard::tests::entry;
    use super::*;

    #[test]
    fn a_path_leads_through_the_pages_to_its_shard() {
        let mut entries: Vec<_> = (0..60_000).map(|n| entry(&format!("p/{n}"), &[5])).collect();
        let tree = build_tree(&mut entries).unwrap();
        assert!(tree.pages.len() > 1, "more than one level: {}", tree.pages.len());
        for path in ["p/0", "p/59999", "p/31337"] {
            let mut page = &tree.top;
            let shard = loop {
                let child = page.find(path).unwrap();
                if page.level() == 0 {
                    break tree.shards.iter().find(|s| s.digest() == child.digest).unwrap();
                }
                page = tree.pages.iter().find(|p| p.digest() == child.digest).unwrap();
            };
            assert_eq!(shard.find(path).unwrap().path, path);
        }
        assert!(tree.top.find("a").is_none());
    }

    #[test]
    fn a_further_shard_changes_one_page_and_those_above() {
        let child = |n: u32| Child {
            first: format!("p/{n:06}"),
            digest: Digest::of(&n.to_le_bytes()),
            bytes: 1,
            precache: false,
        };
        let mut children: Vec<_> = (0..40_000).step_by(2).map(child).collect();
        let pages = |children: &[Child]| {
            split_into_pages(children).into_iter().map(|r| children[r].to_vec()).collect::<Vec<_>>()
        };
        let before = pages(&children);
        assert!(before.iter().all(|page| page.len() <= PAGE));
        assert!(before.len() > children.len() / PAGE && before.len() < children.len() / MIN_PAGE);
        for at in [0, 9_999, 19_999] {
            children.insert(at + 1, child(2 * at as u32 + 1));
            let after = pages(&children);
            let new = after.iter().filter(|page| !before.contains(page)).count();
            assert!((1..=3).contains(&new), "{new} pages are new");
            children.remove(at + 1);
        }
    }

    #[test]
    fn an_empty_site_has_a_page_and_a_shard() {
        let tree = build_tree(&mut []).unwrap();
        assert_eq!((tree.pages.len(), tree.shards.len()), (1, 1));
        assert!(tree.top.find("index.html").is_some());
    }

    #[test]
    fn damaged_pages_are_refused_and_never_panic() {
        let page = build_tree(&mut [entry("a", &[1]), entry("b", &[2])]).unwrap().top;
        for cut in 0..page.bytes.len() {
            assert!(Index::open(page.bytes[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        for at in 0..page.bytes.len() {
            let mut bytes = page.bytes.clone();
            bytes[at] = 0xff;
            if let Ok(opened) = Index::open(bytes) {
                assert!(opened.children().count() <= 1);
            }
        }
    }

    #[test]
    fn two_files_of_one_path_are_an_error() {
        assert!(build_tree(&mut [entry("a", &[1]), entry("a", &[2])]).is_err());
    }
}
