//! What a transfer is told, and what it has done.

use std::ops::Range;

use crate::port::Priority;
use crate::verify::Verified;

/// A request's number, chosen by the driver.
pub type ReaderId = u32;
/// A fetch's number, chosen here.
pub type RunId = u32;

/// Where bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Cache Storage.
    Cache,
    /// A neighbour.
    Peer,
    /// The origin.
    Origin,
}

/// How the origin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// The file's own URL.
    Plain,
    /// `peerage/old/<integrity>`: the file as it was when this version was published.
    Old,
    /// The file's own URL, past the HTTP cache.
    Reload,
}

/// Why the origin gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No answer: offline, refused, reset.
    #[error("Unreachable")]
    Unreachable,
    /// An answer that is not the file: another status, or opaque.
    #[error("Status({0})")]
    Status(u16),
    /// Bytes that do not match the manifest.
    #[error("Mismatch")]
    Mismatch,
    /// An answer made for one visitor (`private`, `no-store`, `Vary: Cookie`).
    #[error("Private")]
    Private,
}

/// Places in a file, each with the milliseconds from now in which its piece should come, or `None`: it won't.
pub type Expected = Vec<(usize, Option<u32>)>;

/// What happened.
#[derive(Debug)]
pub enum Input<B> {
    /// A request wants these pieces, in order.
    Open(ReaderId, Range<usize>),
    /// Nobody waits for these pieces yet, but they will be needed: a precache. The origin gives what the mesh doesn't.
    Prefetch(ReaderId, Range<usize>),
    /// Nobody waits for these pieces yet, but the mesh may bring them: an update of what is held. The origin is not
    /// asked, and what no neighbour has is passed over.
    Ahead(ReaderId, Range<usize>),
    /// It can take one more piece.
    Pull(ReaderId),
    /// It was aborted.
    Close(ReaderId),
    /// The store gave a piece, or could not.
    Read(usize, Option<Verified<B>>),
    /// Pieces were written to the store, or could not be.
    Stored(Range<usize>, bool),
    /// The mesh has said when it should bring these.
    Expect(Expected),
    /// A piece came from the mesh.
    Piece(usize, Verified<B>),
    /// The mesh won't send this piece.
    Gone(usize),
    /// Whether a mesh with a neighbour is there.
    Mesh(bool),
    /// A piece of a run came from the origin.
    Fetched(RunId, usize, Verified<B>),
    /// A run ended: all of it came, or a fault.
    Ended(RunId, Result<(), Fault>),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug)]
pub enum Output<B> {
    /// Read a piece from the store and verify it.
    Read(usize),
    /// Ask the mesh for these pieces, wanted in this order, each within so many milliseconds.
    Ask(Priority, Vec<(usize, u32)>),
    /// These are no longer wanted from the mesh.
    Cancel(Vec<usize>),
    /// Fetch consecutive pieces from the origin.
    Fetch {
        /// Number of this run.
        run: RunId,
        /// The pieces.
        pieces: Range<usize>,
        /// By which URL.
        via: Via,
        /// Another run of the file is under way. A browser's HTTP cache lets the second request of a URL wait for the
        /// first, so it must be passed by.
        is_beside: bool,
    },
    /// A run is no longer wanted.
    Stop(RunId),
    /// Hand a piece to a request.
    Emit(ReaderId, usize, Source, Verified<B>),
    /// A request has all it asked for.
    Finished(ReaderId),
    /// A request can't be given what it asked for.
    Failed(ReaderId, Fault),
    /// Write consecutive pieces, from this index, to the store.
    Store(usize, Vec<Verified<B>>),
    /// The origin has other bytes than the manifest: ask for its newest root.
    Stale,
    /// This many bytes came twice.
    Wasted(Source, u64),
}
