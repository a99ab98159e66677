//! A crowd: neighbours who take the same pieces at the same time, from the same who hold them.
//!
//! Each of them would ask for the same next piece, and who holds the file would send it as often as there are takers. So
//! among neighbours who were heard to come by a piece that is wanted here, too, each piece has one whose it is to fetch it
//! (by rendezvous hashing: the highest of the hashes of the piece with each name, Thaler and Ravishankar 1998), which all
//! of them know without a word; the others have it from that one. It holds for what nobody is in a hurry for, and for as
//! long as a piece can wait: what took too long is asked of anybody.

use super::neighbour::Neighbour;
use crate::Millis;
use crate::digest::Digest;
use crate::sorted::Map;
use crate::wire::NodeId;

/// A neighbour is one of the crowd for this long after it came by a piece that is wanted here, in milliseconds.
pub(super) const FELLOW_MS: u64 = 5_000;

/// A piece waits for another to fetch it for as long as those before it should take, and where many are wanted so much
/// longer; the second at most. In milliseconds.
const PATIENCE_MS: (u64, u64) = (1_000, 5_000);

/// So many are many: whoever wants fewer has nothing else to do meanwhile.
const MANY: usize = 12;

/// Smaller pieces are files of their own, or their ends: whoever waits for those has them soonest by asking, in bytes.
const SMALL: u32 = 128 << 10;

/// From whom a piece is taken, in the order in which pieces are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// From any who holds it: somebody waits for it.
    Next,
    /// From any who holds it: the others have it from here.
    Ours,
    /// From one of the crowd, who has it already.
    Fellows,
    /// From any who holds it: the one who was to fetch it is late.
    Late,
    /// From nobody yet: another fetches it.
    Theirs,
}

impl Turn {
    pub(super) const ALL: [Self; 5] = [Self::Next, Self::Ours, Self::Fellows, Self::Late, Self::Theirs];
}

/// The crowd at one moment.
pub(super) struct Crowd<'a> {
    node: NodeId,
    fellows: Vec<&'a Neighbour>,
    /// Bytes a second that come from all neighbours together.
    rate: u64,
    /// How long a piece may wait, whatever is before it, in milliseconds.
    patience: u64,
    now: Millis,
}

impl<'a> Crowd<'a> {
    /// `None` where there is none. `wanted`: the pieces that are wanted here.
    pub(super) fn of(node: NodeId, neighbours: &'a Map<u32, Neighbour>, wanted: usize, now: Millis) -> Option<Self> {
        let fellows: Vec<_> = neighbours.values().filter(|neighbour| neighbour.fellow > now).collect();
        let rate = neighbours.values().map(|neighbour| neighbour.path.rate()).sum();
        let patience = if wanted >= MANY { PATIENCE_MS.0 } else { 0 };
        (!fellows.is_empty()).then_some(Self { node, fellows, rate, patience, now })
    }

    /// From whom a piece of this length is taken that is wanted since then and has so many bytes before it.
    pub(super) fn turn(&self, digest: &Digest, len: u32, since: Millis, before: u64) -> Turn {
        if len < SMALL {
            return Turn::Next;
        }
        let prefix = digest.prefix();
        let ahead = before.saturating_mul(1_000) / self.rate.max(1);
        let patience = self.patience.saturating_add(ahead).min(PATIENCE_MS.1);
        let is_late = self.now.since(since) >= patience;
        let ours = weight(&self.node, prefix);
        if self.fellows.iter().any(|fellow| fellow.serves() && fellow.have.contains(&prefix)) {
            if is_late { Turn::Late } else { Turn::Fellows }
        } else if self.fellows.iter().all(|fellow| weight(&fellow.node, prefix) < ours) {
            Turn::Ours
        } else if is_late {
            Turn::Late
        } else {
            Turn::Theirs
        }
    }
}

/// A hash of both: prefixes and names are random already, so mixing them is enough (the finalizer of MurmurHash3).
fn weight(NodeId(name): &NodeId, prefix: u64) -> u64 {
    let mut hash = prefix ^ name.last_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}
