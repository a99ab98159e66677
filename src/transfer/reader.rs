//! A reader of a file: which pieces it is at, and how long it can wait for them.

use std::ops::Range;

use crate::manifest::Piece;

#[derive(Debug)]
pub(super) struct Reader {
    /// Its first piece.
    pub(super) start: usize,
    pub(super) next: usize,
    pub(super) end: usize,
    pub(super) demand: u32,
    pub(super) hurry: Hurry,
}

impl Reader {
    /// Its next pieces, until they have this many bytes.
    pub(super) fn ahead(&self, pieces: &[Piece], most: u64) -> Range<usize> {
        ahead(pieces, self.next..self.end, most)
    }
}

/// The first of a span of pieces, until they have this many bytes.
pub(super) fn ahead(pieces: &[Piece], span: Range<usize>, most: u64) -> Range<usize> {
    let mut bytes = 0;
    let ahead = pieces[span.clone()].iter().take_while(|piece| {
        let within = bytes < most;
        bytes += u64::from(piece.len);
        within
    });
    span.start..span.start + ahead.count()
}

/// Who waits for what a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hurry {
    /// See [`Input::Open`](super::Input::Open).
    Page,
    /// See [`Input::Prefetch`](super::Input::Prefetch).
    Later,
    /// See [`Input::Ahead`](super::Input::Ahead).
    Ahead,
}
