//! One published file.

use serde::Serialize;

use crate::digest::Digest;

/// A run of a file's bytes: the unit of hashing and exchange, addressed by its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// How many bytes; never 0.
    pub len: u32,
}

/// Where a file's bytes may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Verified and cached, never sent to a peer.
    Cache,
    /// May be sent to peers.
    Share,
}

/// One file of a published site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The path below the site's root: decoded, `/` between the parts, none in front (`a dir/x.js`).
    pub path: String,
    /// Length in bytes; the sum of the pieces' lengths.
    pub size: u64,
    /// What [`integrity_of`] makes of its pieces; of a file of one piece, and an empty one, the text form is what an
    /// `integrity` attribute says.
    pub integrity: Digest,
    /// The media type (RFC 9110, section 8.3.1), with its parameters.
    pub media_type: String,
    /// Whether peers may have it.
    pub label: Label,
    /// Fetched when the worker installs: the offline shell.
    pub precache: bool,
    /// The headers that the owner declared for it, in order, names as written.
    pub headers: Vec<(String, String)>,
    /// The pieces in order; none for an empty file.
    pub pieces: Vec<Piece>,
}

impl Entry {
    /// Byte offset of each piece, in order.
    pub fn offsets(&self) -> impl Iterator<Item = u64> + '_ {
        self.pieces.iter().scan(0, |at, piece| {
            let start = *at;
            *at += u64::from(piece.len);
            Some(start)
        })
    }
}

/// A file's name by its contents: SHA-256 of a file of at most one piece; of a longer one SHA-256 over the digests of its
/// pieces, one after another, with every bit inverted, so that no file of one piece has it too. It needs no second pass
/// over the bytes, so a manifest need not carry it, and a file of many pieces can be checked while it streams, which one
/// digest of the whole does not allow.
pub fn integrity_of(pieces: &[Piece]) -> Digest {
    match pieces {
        [] => Digest::of(&[]),
        [only] => only.digest,
        many => {
            let digests: Vec<u8> = many.iter().flat_map(|piece| piece.digest.0).collect();
            Digest(Digest::of(&digests).0.map(|byte| !byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_the_digests_of_another_has_another_integrity() {
        let pieces = [b"one", b"two"].map(|bytes| Piece { digest: Digest::of(bytes), len: 3 });
        let bytes = [pieces[0].digest.0, pieces[1].digest.0].concat();
        let forged = [Piece { digest: Digest::of(&bytes), len: 64 }];
        assert_ne!(integrity_of(&pieces), integrity_of(&forged));
        assert_eq!(integrity_of(&[]), Digest::of(b""));
    }
}
