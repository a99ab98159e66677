//! The delta from the version before ([`peerage::manifest::Delta`]), and the earlier ones that it leads to.

use std::collections::BTreeSet;

use peerage::digest::Digest;
use peerage::manifest::{Delta, DeltaName, MAX_CHAIN, MAX_DELTA_BYTES, MAX_SHARD_BYTES, Patch, Tree};
use peerage::verify;

use super::Previous;
use crate::cli::site::{Place, delta_path, index_path, shard_path};

/// A delta without its patches, about, in bytes.
const HEAD: usize = 48 + 8 * MAX_CHAIN;

/// What a root pays for naming a delta, in bytes.
const NAMED: usize = 120;

/// The deltas of a publication.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    /// What the root names.
    pub(super) name: Option<DeltaName>,
    /// The files that belong to it, newest first.
    pub(super) files: Vec<(DeltaName, Vec<u8>)>,
}

impl Deltas {
    /// What leads from `previous` to `tree`.
    pub(super) fn since(previous: Option<&Previous>, tree: &Tree) -> Self {
        let Some(previous) = previous else { return Self::default() };
        let mut kept = kept(&previous.place, previous.signed.root.delta);
        let index = previous.signed.root.index;
        let files = |kept: Vec<Kept>| kept.into_iter().map(|kept| (kept.name, kept.bytes)).collect();
        if index == tree.top.digest() {
            // What led to this manifest then still does.
            return Self { name: kept.first().map(|kept| kept.name), files: files(kept) };
        }
        let Some(Patches { patches, saved }) = Patches::between(previous, tree) else { return Self::default() };
        // Those that the chain has room for: what leads nowhere would be followed for nothing.
        let own = HEAD + patches.iter().map(Patch::bytes).sum::<usize>();
        let mut sum = own;
        let reached = kept.iter().take(MAX_CHAIN - 1).take_while(|kept| {
            sum += kept.bytes.len();
            sum <= MAX_DELTA_BYTES
        });
        let reached = reached.count();
        kept.truncate(reached);
        let older = kept.iter().filter_map(|kept| kept.delta.versions.first().copied());
        let versions = [index.prefix()].into_iter().chain(older).collect();
        let bytes = Delta { before: kept.first().map(|kept| kept.name), versions, patches }.encode();
        if bytes.len() > MAX_DELTA_BYTES || bytes.len() + NAMED > saved {
            return Self::default();
        }
        let name = DeltaName { digest: Digest::of(&bytes), bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX) };
        let mut files: Vec<_> = files(kept);
        files.insert(0, (name, bytes));
        Self { name: Some(name), files }
    }
}

/// A delta of an earlier publication.
struct Kept {
    name: DeltaName,
    delta: Delta,
    bytes: Vec<u8>,
}

/// The deltas that `newest` leads to, as far as they are there.
fn kept(place: &Place, newest: Option<DeltaName>) -> Vec<Kept> {
    let mut all: Vec<Kept> = Vec::new();
    let mut next = newest;
    while let Some(name) = next.filter(|_| all.len() < MAX_CHAIN)
        && let Ok(Some(bytes)) = place.read(&delta_path(&name.digest), MAX_DELTA_BYTES)
        && let Ok(delta) = verify::delta(&bytes, Digest::of(&bytes), name.digest)
    {
        // Those further back are not spoken of.
        next = delta.before.filter(|_| delta.versions.len() > 1);
        all.push(Kept { name, delta: delta.into_inner(), bytes });
    }
    all
}

/// How parts that are new are made of those that had their places.
struct Patches {
    patches: Vec<Patch>,
    /// Bytes of the parts that need not be fetched.
    saved: usize,
}

impl Patches {
    /// The top page's, and those that are shorter than what they make; `None` where there would be more of them than a
    /// delta takes, or what they are made of can't be read.
    fn between(previous: &Previous, tree: &Tree) -> Option<Self> {
        let parts = previous.parts.as_ref()?;
        let mut all = Self { patches: Vec::new(), saved: 0 };
        let mut room = MAX_DELTA_BYTES;
        let mut add = |path: String, target: &[u8], is_top: bool| {
            let source = previous.place.read(&path, MAX_SHARD_BYTES).ok().flatten()?;
            let patch = Patch::between(&source, target);
            if is_top || patch.bytes() < target.len() {
                room = room.checked_sub(patch.bytes())?;
                all.patches.push(patch);
                all.saved += target.len();
            }
            Some(())
        };
        let old: BTreeSet<Digest> = parts.pages.iter().map(|page| page.digest).collect();
        let top = tree.top.digest();
        for page in tree.pages.iter().filter(|page| !old.contains(&page.digest())) {
            let first = page.children().next().map(|child| child.first).unwrap_or_default();
            let is_top = page.digest() == top;
            // Visitors follow deltas back to the one that starts from the top page that they have.
            let source = if is_top {
                parts.pages.iter().find(|old| old.digest == previous.signed.root.index)
            } else {
                place_of(parts.pages.iter().filter(|old| old.level == page.level()), &first, |old| &old.first)
            };
            let Some(source) = source else { continue };
            add(index_path(&source.digest), page.as_bytes(), is_top)?;
        }
        let old: BTreeSet<Digest> = parts.shards.iter().map(|shard| shard.digest).collect();
        for shard in tree.shards.iter().filter(|shard| !old.contains(&shard.digest())) {
            let first = shard.iter().next().map(|entry| entry.path).unwrap_or_default();
            let Some(source) = place_of(parts.shards.iter(), &first, |old| &old.first) else { continue };
            add(shard_path(&source.digest), shard.as_bytes(), false)?;
        }
        Some(all)
    }
}

/// Of parts in order of their first paths, the one in which a path would be.
fn place_of<'a, T>(parts: impl Iterator<Item = &'a T>, path: &str, first: impl Fn(&'a T) -> &'a str) -> Option<&'a T> {
    let mut parts = parts.peekable();
    let mut found = *parts.peek()?;
    while let Some(next) = parts.next_if(|part| first(part) <= path) {
        found = next;
    }
    Some(found)
}
