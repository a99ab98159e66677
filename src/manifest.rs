//! The manifest: what a published site consists of, in a form that a stopped service worker can read in a millisecond.
//!
//! Three levels, each addressed by the SHA-256 that the level above holds, so that only the top needs a signature:
//!
//! ```text
//!   root.jws ── signed, under 1 KiB: version, policy, hash of the index
//!     ├─ index/<sha256>  pages: first path of each child, its hash and size
//!     │    └─ shard/<sha256>  entries sorted by path; each with its pieces in order
//!     └─ delta/<sha256>  how the parts that are new are made of those of the version before
//! ```
//!
//! A shard and an index page are binary and are read in place: checked once when opened, then looked up by binary
//! search, with nothing parsed or copied. `peerage show` prints them. Borders between shards, and between index pages,
//! depend on the paths alone, so an edited, added or removed file changes one shard and the pages above it.

mod bytes;
mod delta;
mod entry;
mod index;
mod path;
mod policy;
mod root;
mod shard;

pub use delta::{Delta, DeltaName, MAX_CHAIN, MAX_DELTA_BYTES, Patch};
pub use entry::{Entry, Label, Piece, integrity_of};
pub use index::{Child, Index, MAX_PAGE_BYTES, Tree, build_tree};
pub use path::{BadPath, check_path, path_from_url, url_from_path};
pub use policy::{Consent, IceServer, Integrity, Mode, Policy};
pub use root::{BadRoot, FORMAT, MAX_ROOT_BYTES, Root};
pub use shard::{MAX_SHARD_BYTES, Shard, split_into_shards};

/// A shard, an index page or a delta that does not have the form it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Larger than a reader accepts.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// Not this kind of file, or one of a format that this version does not know.
    #[error("not a Peerage {0}, or one of an unknown format version")]
    WrongMagic(&'static str),
    /// Shorter than its own counts say.
    #[error("cut short")]
    Truncated,
    /// A field contradicts another; the text says which.
    #[error("inconsistent: {0}")]
    Inconsistent(&'static str),
}
