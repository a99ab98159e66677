//! Reading and writing little-endian fields of the binary forms.

use super::BadManifest;
use crate::digest::Digest;

/// Fields at fixed places; `None` past the end.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn slice(self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(len)?)
    }

    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.slice(at, N)?.try_into().ok()
    }

    pub(super) fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(super) fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// A 32-bit field as an offset or a count.
    pub(super) fn size(self, at: usize) -> Option<usize> {
        self.u32(at).and_then(|v| usize::try_from(v).ok())
    }

    pub(super) fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(super) fn digest(self, at: usize) -> Option<Digest> {
        self.array(at).map(Digest)
    }

    pub(super) fn text(self, at: usize, len: usize) -> Option<&'a str> {
        std::str::from_utf8(self.slice(at, len)?).ok()
    }
}

/// A length as a 32-bit field. Builders keep far below the limit; a reader refuses what does not fit.
pub(super) fn field(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

pub(super) fn need<T>(value: Option<T>) -> Result<T, BadManifest> {
    value.ok_or(BadManifest::Truncated)
}
