//! Where a file is cut into pieces: the constants of FastCDC, which belong to the format.
//!
//! Cuts depend on the content (Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data
//! Deduplication", USENIX ATC 2016; gear hash and masks as in the `fastcdc` crate's `v2020`, normalization level 1), so
//! a byte put in at the front of a large file moves one border and not all of them. A reader never cuts: the manifest
//! lists every piece. Other constants would only share less with the version before.

/// No piece but a file's last is shorter, in bytes.
pub const MIN_PIECE: usize = 128 << 10;
/// About what pieces of long files measure, in bytes.
pub const AVERAGE_PIECE: usize = 256 << 10;
/// No piece is longer, in bytes: the most that a receiver ever holds unverified.
pub const MAX_PIECE: usize = 1 << 20;
