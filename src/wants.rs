//! Wants: what a worker has asked of its mesh and not been given yet, for which places of which files.
//!
//! A piece may be wanted at several places of a file; the mesh is asked for it once. Files go by whatever name `F` the
//! driver has for them.

use crate::digest::Digest;
use crate::manifest::Piece;
use crate::port::{MAX_WANTED, Priority, ToMesh, Wanted};
use crate::sorted::Map;
use crate::transfer::Expected;

/// When the mesh gives a want up of which nothing comes, in milliseconds: the transfer hedges much earlier, by itself.
const DEADLINE_MS: u32 = 15_000;

/// See the module.
#[derive(Debug)]
pub struct Wants<F> {
    open: Map<u32, Want<F>>,
    last: u32,
}

#[derive(Debug)]
struct Want<F> {
    file: F,
    /// Each with its places in the file.
    pieces: Map<Digest, (Piece, Vec<usize>)>,
    /// In the order of the want.
    order: Vec<Digest>,
    answered: bool,
}

impl<F> Default for Wants<F> {
    fn default() -> Self {
        Self { open: Map::default(), last: 0 }
    }
}

impl<F: Copy + PartialEq> Wants<F> {
    /// Wants pieces at these places, in the order they are needed, each within so many milliseconds: what to say to the
    /// mesh, each with its number.
    pub fn add(&mut self, file: F, priority: Priority, wanted: &[(usize, Piece, u32)]) -> Vec<(u32, ToMesh)> {
        let mut said = Vec::new();
        for part in wanted.chunks(MAX_WANTED) {
            self.last = self.last.wrapping_add(1);
            let mut want = Want { file, pieces: Map::default(), order: Vec::new(), answered: false };
            let mut pieces = Vec::new();
            for (at, piece, within_ms) in part {
                let (_, places) = want.pieces.get_or_insert_with(piece.digest, || {
                    want.order.push(piece.digest);
                    pieces.push(Wanted { digest: piece.digest, len: piece.len, within_ms: *within_ms });
                    (*piece, Vec::new())
                });
                places.push(*at);
            }
            self.open.insert(self.last, want);
            said.push((self.last, ToMesh::Want { id: self.last, priority, deadline_ms: DEADLINE_MS, pieces }));
        }
        said
    }

    /// These places are no longer wanted: what to say to the mesh.
    pub fn cancel(&mut self, file: F, places: &[usize]) -> Vec<ToMesh> {
        let mut cancelled: Map<u32, Vec<Digest>> = Map::default();
        self.open.retain(|&id, want| {
            if want.file == file {
                want.pieces.retain(|digest, (_, at)| {
                    at.retain(|at| !places.contains(at));
                    if at.is_empty() {
                        cancelled.get_or_insert_with(id, Vec::new).push(*digest);
                    }
                    !at.is_empty()
                });
            }
            !want.pieces.is_empty()
        });
        cancelled.take().map(|(id, digests)| ToMesh::Cancel { id, digests }).collect()
    }

    /// The mesh has said which pieces it fetches, and when they should come: what that means for which file.
    pub fn available(&mut self, id: u32, etas: &[Option<u32>]) -> Option<(F, Expected)> {
        let want = self.open.get_mut(&id)?;
        want.answered = true;
        let mut told = Expected::new();
        for (digest, eta) in want.order.iter().zip(etas) {
            if let Some((_, places)) = want.pieces.get(digest) {
                told.extend(places.iter().map(|&at| (at, *eta)));
            }
            if eta.is_none() {
                want.pieces.remove(digest);
            }
        }
        let file = want.file;
        if want.pieces.is_empty() {
            self.open.remove(&id);
        }
        Some((file, told))
    }

    /// A piece has come, or will not: what it was wanted for, unless it no longer is.
    pub fn take(&mut self, id: u32, digest: &Digest) -> Option<(F, Piece, Vec<usize>)> {
        let want = self.open.get_mut(&id)?;
        let (piece, places) = want.pieces.remove(digest)?;
        let file = want.file;
        if want.pieces.is_empty() {
            self.open.remove(&id);
        }
        Some((file, piece, places))
    }

    /// Whether a want is open that the mesh has said nothing to.
    pub fn is_unanswered(&self, id: u32) -> bool {
        self.open.get(&id).is_some_and(|want| !want.answered)
    }

    /// Whether a want is open for this piece of a file.
    pub fn contains(&self, file: F, digest: &Digest) -> bool {
        self.open.values().any(|want| want.file == file && want.pieces.contains_key(digest))
    }

    /// The mesh is gone, and with it all that it was asked for.
    pub fn clear(&mut self) {
        drop(self.open.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(n: u8) -> Piece {
        Piece { digest: Digest([n; 32]), len: 10 }
    }

    #[test]
    fn a_piece_at_two_places_is_asked_for_once_and_given_to_both() {
        let mut wants = Wants::default();
        let said = wants.add("file", Priority::Page, &[(0, piece(1), 70), (1, piece(2), 80), (2, piece(1), 90)]);
        let wanted = |n, within_ms| Wanted { digest: piece(n).digest, len: 10, within_ms };
        let pieces = vec![wanted(1, 70), wanted(2, 80)];
        let want = ToMesh::Want { id: 1, priority: Priority::Page, deadline_ms: DEADLINE_MS, pieces };
        assert_eq!(said, [(1, want)]);
        assert!(wants.is_unanswered(1) && wants.contains("file", &piece(2).digest));
        assert_eq!(wants.available(1, &[Some(5), None]), Some(("file", vec![(0, Some(5)), (2, Some(5)), (1, None)])));
        assert!(!wants.is_unanswered(1) && !wants.contains("file", &piece(2).digest));
        assert_eq!(wants.take(1, &piece(1).digest), Some(("file", piece(1), vec![0, 2])));
        assert_eq!(wants.take(1, &piece(1).digest), None, "it came twice");
        assert_eq!(wants.available(1, &[None]), None);
    }

    #[test]
    fn what_is_cancelled_is_said_once_nobody_wants_it_any_more() {
        let mut wants = Wants::default();
        wants.add(7, Priority::Page, &[(0, piece(1), 1), (1, piece(1), 1)]);
        wants.add(8, Priority::Background, &[(0, piece(1), 1)]);
        assert_eq!(wants.cancel(7, &[0]), []);
        assert_eq!(wants.cancel(7, &[1]), [ToMesh::Cancel { id: 1, digests: vec![piece(1).digest] }]);
        assert!(wants.contains(8, &piece(1).digest) && !wants.contains(7, &piece(1).digest));
        wants.clear();
        assert!(!wants.contains(8, &piece(1).digest));
    }

    #[test]
    fn a_long_list_is_several_wants() {
        let list: Vec<_> =
            (0..=MAX_WANTED).map(|at| (at, Piece { digest: Digest::of(&at.to_le_bytes()), len: 1 }, 1)).collect();
        let ids: Vec<u32> = Wants::default().add((), Priority::Page, &list).iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 2]);
    }
}
