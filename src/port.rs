//! What the service worker and the mesh say to each other over their MessagePort: to bytes and back.
//!
//! A port message is `{h: Uint8Array, b?: ArrayBuffer}`: `h` is what this module writes, `b` the payload of a
//! [`ToWorker::Piece`], transferred beside it. Both ends are ours, but either may be a version older or newer than the
//! other for the length of an update, so what does not decode is reported and ignored, and nothing is allocated beyond
//! the message's own size. Numbers are little-endian; `docs/protocol.md` has the layout.

use crate::digest::Digest;
use crate::wire::{BadMessage, NodeId, Reader, put_text};

/// The most pieces in one [`ToMesh::Holdings`]; a larger set is sent in several, the first of them `full`.
pub const MAX_HOLDINGS: usize = 65_536;

/// The most pieces in one [`ToMesh::Want`].
pub const MAX_WANTED: usize = 1_024;

/// The most neighbours in one [`Stats`].
pub const MAX_NEIGHBOURS: usize = 64;

/// A piece that the store holds and peers may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The piece.
    pub digest: Digest,
    /// The stored segment that holds its bytes, named by the 16 hexadecimal digits of this number.
    pub segment: u64,
    /// Where it begins in the segment, in bytes.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
}

/// How urgent wanted pieces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A page waits for them, in this order.
    Page,
    /// Nobody waits: precache, updates. The rarest go first.
    Background,
}

/// A piece that the worker wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The piece.
    pub digest: Digest,
    /// Its length in bytes.
    pub len: u32,
    /// From now, in milliseconds: where it should come later than this by what is known, it is not to be fetched.
    pub within_ms: u32,
}

/// Limits of what this visitor gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a second; 0 is unlimited.
    pub upload_rate: u64,
    /// Bytes in the life of this mesh; 0 is unlimited.
    pub upload_budget: u64,
    /// Nothing is sent to anybody.
    pub paused: bool,
}

/// From the service worker to the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMesh {
    /// Pieces that can be read from the store and may be shared.
    Holdings {
        /// These replace all that were said before; otherwise they come on top.
        full: bool,
        /// At most [`MAX_HOLDINGS`].
        pieces: Vec<Held>,
    },
    /// Pieces that are no longer in the store.
    Dropped(Vec<Digest>),
    /// Fetch these pieces. Answered at once by [`ToWorker::Available`].
    Want {
        /// Chosen by the worker, not in use by another open want.
        id: u32,
        /// How urgent.
        priority: Priority,
        /// What is left so many milliseconds after the last of them came (or from now, as long as none did) is given up:
        /// [`ToWorker::Gone`].
        deadline_ms: u32,
        /// In the order they are needed; at most [`MAX_WANTED`].
        pieces: Vec<Wanted>,
    },
    /// Some pieces of a want are no longer needed; none named: all of them. Not answered.
    Cancel {
        /// The want.
        id: u32,
        /// The pieces, at most [`MAX_WANTED`]; empty for all.
        digests: Vec<Digest>,
    },
    /// What this peer sent was not the piece: drop the peer, and never ask it again.
    Bad {
        /// The piece.
        digest: Digest,
        /// As in the [`ToWorker::Piece`].
        peer: u32,
    },
    /// New limits.
    Limits(Limits),
    /// The root of the version that the worker has, confirmed: neighbours with an older one are told of it.
    Root(String),
}

/// Why a wanted piece does not come from the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No neighbour holds it (any longer).
    NoHolder,
    /// Every neighbour that holds it refused.
    Refused,
    /// Its deadline passed.
    TimedOut,
    /// The mesh is stopping.
    Stopped,
}

/// From the mesh to the service worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// The mesh runs and has this many neighbours; said on every new port (the worker answers with its
    /// [`ToMesh::Limits`] and full [`ToMesh::Holdings`]) and whenever the number changes.
    Ready {
        /// Connected, checked neighbours.
        neighbours: u16,
        /// Said on a new port: the mesh knows nothing of the worker's holdings.
        fresh: bool,
    },
    /// The immediate answer to a want.
    Available {
        /// The want.
        id: u32,
        /// For each wanted piece, in order: when it should be here by what is known, in milliseconds from now. The mesh
        /// fetches it, and ends it by a [`ToWorker::Piece`] or a [`ToWorker::Gone`]. `None`: it doesn't, and says
        /// nothing more of it.
        etas: Vec<Option<u32>>,
    },
    /// A piece, unverified; its bytes come beside the message.
    Piece {
        /// The want.
        id: u32,
        /// What was asked for.
        digest: Digest,
        /// Who sent it: to be named in [`ToMesh::Bad`].
        peer: u32,
    },
    /// A piece that does not come.
    Gone {
        /// The want.
        id: u32,
        /// The piece.
        digest: Digest,
        /// Why.
        why: Why,
    },
    /// Figures, about once a second while they change.
    Stats(Stats),
    /// The store no longer holds these bytes for this piece: they could not be read, or did not match it.
    Evicted(Digest),
    /// Bytes of wanted pieces go on coming, though none has become whole: the mesh is slow, not stalled.
    Arriving,
}

/// The mesh's figures since it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Whose figures: the mesh's own name in the swarm, a new one for every start.
    pub mesh: NodeId,
    /// Payload bytes received, useful or not.
    pub down: u64,
    /// Payload bytes sent.
    pub up: u64,
    /// Payload bytes received that nobody could use: cancelled, late, of dropped peers.
    pub wasted: u64,
    /// Peers dropped for what they sent, by reason: the index is that of [`Reason::ALL`].
    pub dropped: [u32; Reason::ALL.len()],
    /// Peer connections asked of the page so far.
    pub connections: u32,
    /// At most [`MAX_NEIGHBOURS`].
    pub neighbours: Vec<Neighbour>,
}

/// One neighbour's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// As in [`ToWorker::Piece`].
    pub peer: u32,
    /// Its name in the swarm.
    pub node: NodeId,
    /// How long it has been here, in milliseconds.
    pub age_ms: u64,
    /// How many pieces it holds.
    pub have: u32,
    /// Payload bytes from it.
    pub down: u64,
    /// Payload bytes to it.
    pub up: u64,
    /// Measured round trip, in milliseconds.
    pub rtt_ms: u32,
    /// Measured rate at which it sends, in bytes a second.
    pub rate: u64,
    /// It is choking us.
    pub choking: bool,
}

/// Why a peer was dropped and is not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// What it sent did not match its digest.
    Corrupt,
    /// A message that does not decode, or that contradicts an earlier one.
    Malformed,
    /// A piece that was not asked of it.
    Unasked,
    /// A piece of another length than asked for, or an empty part of one.
    Size,
    /// More messages or open questions than any honest peer needs.
    Flood,
    /// It belongs to another site or speaks another version.
    Foreign,
}

impl Reason {
    /// Every reason, in the order of [`Stats::dropped`].
    pub const ALL: [Self; 6] = [Self::Corrupt, Self::Malformed, Self::Unasked, Self::Size, Self::Flood, Self::Foreign];
}

/// The bytes are no port message of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message between service worker and mesh: {0}")]
pub struct BadPort(#[from] BadMessage);

const HOLDINGS: u8 = 1;
const DROPPED: u8 = 2;
const WANT: u8 = 3;
const CANCEL: u8 = 4;
const BAD: u8 = 5;
const LIMITS: u8 = 6;
const ROOT: u8 = 7;

/// Stands for no prediction in an [`ToWorker::Available`].
const NOT_FETCHED: u32 = u32::MAX;

const READY: u8 = 1;
const AVAILABLE: u8 = 2;
const PIECE: u8 = 3;
const GONE: u8 = 4;
const STATS: u8 = 5;
const EVICTED: u8 = 6;
const ARRIVING: u8 = 7;

impl ToMesh {
    /// The header bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Holdings { full, pieces } => {
                out.reserve(2 + 48 * pieces.len());
                out.extend([HOLDINGS, u8::from(*full)]);
                for held in pieces {
                    out.extend(held.digest.0);
                    out.extend(held.segment.to_le_bytes());
                    out.extend(held.offset.to_le_bytes());
                    out.extend(held.len.to_le_bytes());
                }
            }
            Self::Dropped(digests) => {
                out.push(DROPPED);
                put_digests(&mut out, digests);
            }
            Self::Want { id, priority, deadline_ms, pieces } => {
                out.push(WANT);
                out.extend(id.to_le_bytes());
                out.push(match priority {
                    Priority::Page => 0,
                    Priority::Background => 1,
                });
                out.extend(deadline_ms.to_le_bytes());
                for wanted in pieces {
                    out.extend(wanted.digest.0);
                    out.extend(wanted.len.to_le_bytes());
                    out.extend(wanted.within_ms.to_le_bytes());
                }
            }
            Self::Cancel { id, digests } => {
                out.push(CANCEL);
                out.extend(id.to_le_bytes());
                put_digests(&mut out, digests);
            }
            Self::Bad { digest, peer } => {
                out.push(BAD);
                out.extend(digest.0);
                out.extend(peer.to_le_bytes());
            }
            Self::Limits(limits) => {
                out.push(LIMITS);
                out.extend(limits.upload_rate.to_le_bytes());
                out.extend(limits.upload_budget.to_le_bytes());
                out.push(u8::from(limits.paused));
            }
            Self::Root(text) => {
                out.push(ROOT);
                put_text(&mut out, text);
            }
        }
        out
    }

    /// The message in the header bytes `h`.
    pub fn decode(h: &[u8]) -> Result<Self, BadPort> {
        Ok(Self::read(h)?)
    }

    fn read(h: &[u8]) -> Result<Self, BadMessage> {
        let mut from = Reader::new(h);
        let message = match from.u8()? {
            HOLDINGS => {
                let full = flag(&mut from)?;
                let pieces = list(&mut from, 48, MAX_HOLDINGS, |from| {
                    Ok(Held { digest: from.digest()?, segment: from.u64()?, offset: from.u32()?, len: from.u32()? })
                })?;
                Self::Holdings { full, pieces }
            }
            DROPPED => Self::Dropped(list(&mut from, 32, MAX_HOLDINGS, Reader::digest)?),
            WANT => {
                let id = from.u32()?;
                let priority = match from.u8()? {
                    0 => Priority::Page,
                    1 => Priority::Background,
                    _ => return Err(BadMessage::Field),
                };
                let deadline_ms = from.u32()?;
                let pieces = list(&mut from, 40, MAX_WANTED, |from| {
                    Ok(Wanted { digest: from.digest()?, len: from.u32()?, within_ms: from.u32()? })
                })?;
                Self::Want { id, priority, deadline_ms, pieces }
            }
            CANCEL => Self::Cancel { id: from.u32()?, digests: list(&mut from, 32, MAX_WANTED, Reader::digest)? },
            BAD => Self::Bad { digest: from.digest()?, peer: from.u32()? },
            LIMITS => {
                Self::Limits(Limits { upload_rate: from.u64()?, upload_budget: from.u64()?, paused: flag(&mut from)? })
            }
            ROOT => Self::Root(from.text()?),
            _ => return Err(BadMessage::Field),
        };
        from.end()?;
        Ok(message)
    }
}

impl ToWorker {
    /// The header bytes; a piece's own bytes go beside them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ready { neighbours, fresh } => {
                out.push(READY);
                out.extend(neighbours.to_le_bytes());
                out.push(u8::from(*fresh));
            }
            Self::Available { id, etas } => {
                out.push(AVAILABLE);
                out.extend(id.to_le_bytes());
                out.extend(etas.iter().flat_map(|eta| eta.unwrap_or(NOT_FETCHED).to_le_bytes()));
            }
            Self::Piece { id, digest, peer } => {
                out.push(PIECE);
                out.extend(id.to_le_bytes());
                out.extend(digest.0);
                out.extend(peer.to_le_bytes());
            }
            Self::Gone { id, digest, why } => {
                out.push(GONE);
                out.extend(id.to_le_bytes());
                out.extend(digest.0);
                out.push(match why {
                    Why::NoHolder => 1,
                    Why::Refused => 2,
                    Why::TimedOut => 3,
                    Why::Stopped => 4,
                });
            }
            Self::Stats(stats) => {
                out.push(STATS);
                stats.put(&mut out);
            }
            Self::Evicted(digest) => {
                out.push(EVICTED);
                out.extend(digest.0);
            }
            Self::Arriving => out.push(ARRIVING),
        }
        out
    }

    /// The message in the header bytes `h`.
    pub fn decode(h: &[u8]) -> Result<Self, BadPort> {
        Ok(Self::read(h)?)
    }

    fn read(h: &[u8]) -> Result<Self, BadMessage> {
        let mut from = Reader::new(h);
        let message = match from.u8()? {
            READY => Self::Ready { neighbours: from.u16()?, fresh: flag(&mut from)? },
            AVAILABLE => {
                let id = from.u32()?;
                let eta = |from: &mut Reader<'_>| Ok(Some(from.u32()?).filter(|&ms| ms != NOT_FETCHED));
                Self::Available { id, etas: list(&mut from, 4, MAX_WANTED, eta)? }
            }
            PIECE => Self::Piece { id: from.u32()?, digest: from.digest()?, peer: from.u32()? },
            GONE => Self::Gone {
                id: from.u32()?,
                digest: from.digest()?,
                why: match from.u8()? {
                    1 => Why::NoHolder,
                    2 => Why::Refused,
                    3 => Why::TimedOut,
                    4 => Why::Stopped,
                    _ => return Err(BadMessage::Field),
                },
            },
            STATS => Self::Stats(Stats::read(&mut from)?),
            EVICTED => Self::Evicted(from.digest()?),
            ARRIVING => Self::Arriving,
            _ => return Err(BadMessage::Field),
        };
        from.end()?;
        Ok(message)
    }
}

impl Stats {
    /// Peers that the mesh itself dropped for what they sent. Pieces that did not match are the service worker's to count.
    pub fn rejected(&self) -> u64 {
        Reason::ALL
            .iter()
            .zip(self.dropped)
            .filter(|(reason, _)| **reason != Reason::Corrupt)
            .map(|(_, n)| u64::from(n))
            .sum()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.mesh.0);
        for number in [self.down, self.up, self.wasted] {
            out.extend(number.to_le_bytes());
        }
        for number in self.dropped.iter().chain([&self.connections]) {
            out.extend(number.to_le_bytes());
        }
        for n in &self.neighbours {
            out.extend(n.peer.to_le_bytes());
            out.extend(n.node.0);
            out.extend(n.age_ms.to_le_bytes());
            out.extend(n.have.to_le_bytes());
            out.extend(n.down.to_le_bytes());
            out.extend(n.up.to_le_bytes());
            out.extend(n.rtt_ms.to_le_bytes());
            out.extend(n.rate.to_le_bytes());
            out.push(u8::from(n.choking));
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadMessage> {
        let mut stats = Self {
            mesh: NodeId(from.array()?),
            down: from.u64()?,
            up: from.u64()?,
            wasted: from.u64()?,
            dropped: [0; Reason::ALL.len()],
            connections: 0,
            neighbours: Vec::new(),
        };
        for count in &mut stats.dropped {
            *count = from.u32()?;
        }
        stats.connections = from.u32()?;
        stats.neighbours = list(from, 65, MAX_NEIGHBOURS, |from| {
            Ok(Neighbour {
                peer: from.u32()?,
                node: NodeId(from.array()?),
                age_ms: from.u64()?,
                have: from.u32()?,
                down: from.u64()?,
                up: from.u64()?,
                rtt_ms: from.u32()?,
                rate: from.u64()?,
                choking: flag(from)?,
            })
        })?;
        Ok(stats)
    }
}

fn put_digests(out: &mut Vec<u8>, digests: &[Digest]) {
    for digest in digests {
        out.extend(digest.0);
    }
}

fn flag(from: &mut Reader<'_>) -> Result<bool, BadMessage> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(BadMessage::Field),
    }
}

/// The rest of the message as items of `size` bytes, at most `most` of them.
fn list<'a, T>(
    from: &mut Reader<'a>,
    size: usize,
    most: usize,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, BadMessage>,
) -> Result<Vec<T>, BadMessage> {
    let count = from.rest_of(size)?;
    if count > most {
        return Err(BadMessage::TooLong);
    }
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        out.push(item(from)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
