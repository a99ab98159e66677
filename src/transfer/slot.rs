//! What is known of each piece of a file that is on its way, and how pieces are grouped to be stored.

use std::ops::Range;

use super::{NEVER, Source};
use crate::Millis;
use crate::manifest::Piece;
use crate::store::{FIRST_SEGMENT_BYTES, SEGMENT_BYTES};
use crate::verify::Verified;

#[derive(Debug)]
pub(super) struct Slot<B> {
    pub(super) body: Option<(Source, Verified<B>)>,
    /// When it came.
    pub(super) came: Millis,
    /// In the store.
    pub(super) local: bool,
    /// Being read from the store.
    pub(super) reading: bool,
    /// Being written to the store.
    pub(super) storing: bool,
    /// Wanted from the mesh.
    pub(super) asked: bool,
    /// A page waits for it there.
    pub(super) page: bool,
    /// When what the mesh owes is late, [`NEVER`] where nobody is in a hurry.
    pub(super) late: Millis,
    /// The mesh won't.
    pub(super) refused: bool,
    /// The mesh was given a time for it, and might bring it later.
    pub(super) limited: bool,
    /// Part of the run under way.
    pub(super) fetching: bool,
}

impl<B> Slot<B> {
    pub(super) fn new(local: bool) -> Self {
        Self {
            body: None,
            came: Millis(0),
            local,
            reading: false,
            storing: false,
            asked: false,
            page: false,
            late: NEVER,
            refused: false,
            limited: false,
            fetching: false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.body.is_none() && !self.reading && !self.fetching
    }

    /// The mesh owes it, and nobody else is bringing it.
    pub(super) fn is_owed(&self) -> bool {
        self.asked && self.body.is_none()
    }

    /// Came from outside and is not yet on its way to the store.
    pub(super) fn is_fresh(&self) -> bool {
        !self.local && !self.storing && self.body.as_ref().is_some_and(|(source, _)| *source != Source::Cache)
    }
}

/// How a file's pieces are grouped into segments: in order, each at most one piece or [`FIRST_SEGMENT_BYTES`], then twice
/// as much as the one before, up to [`SEGMENT_BYTES`]. A segment is read whole, so a small first one means an early first
/// byte.
pub(super) fn spans(pieces: &[Piece]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, piece) in pieces.iter().enumerate() {
        let len = u64::from(piece.len);
        let most = (FIRST_SEGMENT_BYTES << spans.len().min(8)).min(SEGMENT_BYTES);
        if at > start && bytes + len > most {
            spans.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += len;
    }
    if start < pieces.len() {
        spans.push(start..pieces.len());
    }
    spans
}
