//! The root: the only signed thing of a site, under 1 KiB.

use serde::Serialize;

use super::{DeltaName, Policy};
use crate::digest::Digest;
use crate::json::{self, BadJson, Object};
use crate::keys::BadLink;

/// The format version that this code reads and writes.
pub const FORMAT: u32 = 1;

/// The largest root (as compact JWS) that a reader accepts, in bytes.
pub const MAX_ROOT_BYTES: usize = 4096;

/// The JWS payload of `peerage/root.jws`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Root {
    /// Format version of the whole manifest: [`FORMAT`].
    pub format: u32,
    /// The site id: base64url of the RFC 7638 thumbprint of the site's first public key.
    pub site: String,
    /// Grows with every publication: `max(previous + 1, Unix time)`.
    pub version: u64,
    /// When it was signed, Unix time in seconds.
    pub issued: u64,
    /// After this a root that the origin has not confirmed is not taken up, Unix time in seconds.
    pub expires: u64,
    /// Address of the top index page.
    pub index: Digest,
    /// Its size in bytes.
    pub index_bytes: u32,
    /// What the parts below have in common with those of the version before, where that is worth it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<DeltaName>,
    /// Number of the signing key in the chain ([`crate::keys`]), from 1.
    pub key: u32,
    /// Files listed.
    pub files: u64,
    /// Their bytes, added up.
    pub bytes: u64,
    /// The owner's decisions.
    pub policy: Policy,
    /// The site leaves Peerage: visitors unregister the worker and clean up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

impl Root {
    /// Reads the claims that follow the format in a payload.
    pub(crate) fn read(format: u32, mut from: Object<'_>) -> Result<Self, BadJson> {
        Ok(Self {
            format,
            site: from.need("site", json::text)?,
            version: from.need("version", json::number)?,
            issued: from.need("issued", json::number)?,
            expires: from.need("expires", json::number)?,
            index: from.need("index", |value| json::text(value)?.parse().ok())?,
            index_bytes: from.need("index_bytes", json::small)?,
            delta: from.get("delta", Object::of)?.map(read_delta).transpose()?,
            key: from.need("key", json::small)?,
            files: from.need("files", json::number)?,
            bytes: from.need("bytes", json::number)?,
            policy: from.get("policy", Object::of)?.map_or_else(|| Ok(Policy::default()), Policy::read)?,
            retired: from.get("retired", json::flag)?.unwrap_or(false),
        })
    }
}

fn read_delta(mut from: Object<'_>) -> Result<DeltaName, BadJson> {
    Ok(DeltaName {
        digest: from.need("digest", |value| json::text(value)?.parse().ok())?,
        bytes: from.need("bytes", json::small)?,
    })
}

/// A root that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRoot {
    /// Over [`MAX_ROOT_BYTES`].
    #[error("the root is larger than {MAX_ROOT_BYTES} bytes")]
    TooLarge,
    /// Not a compact JWS (RFC 7515, section 7.1) with ES256 and our type: an SPA's HTML, for example.
    #[error("not a signed root (a compact JWS with alg ES256): {0}")]
    NotAJws(&'static str),
    /// The payload is not a root's JSON.
    #[error("the root's payload cannot be read: {0}")]
    Payload(BadJson),
    /// Made by a version of Peerage that this one does not know.
    #[error("the root has format version {0}; this version of Peerage reads {FORMAT}")]
    UnknownFormat(u32),
    /// Another site's root.
    #[error("the root belongs to another site ({0})")]
    OtherSite(String),
    /// The signature does not match the key.
    #[error("the root's signature does not match the site's key")]
    Signature,
    /// Older than one already seen.
    #[error("the root has version {found}, older than {known}, which was seen before")]
    Rollback {
        /// Version of the root at hand.
        found: u64,
        /// Newest version known.
        known: u64,
    },
    /// Signed with a key that was replaced since.
    #[error("the root is signed with key {found}, which key {known} has replaced")]
    OldKey {
        /// Number of the key that signed.
        found: u32,
        /// Highest number known.
        known: u32,
    },
    /// Signed with a key that the origin has not spoken of.
    #[error("the root is signed with key {0}, which only the origin can introduce")]
    NewKey(u32),
    /// The key that it names can't be reached.
    #[error("the root is signed with key {0}, and there is no way to that: the link to key {1}: {2}")]
    Link(u32, u32, BadLink),
    /// The number of a version that is known, and other files.
    #[error("the root has version {0}, as one that was seen before and names other files")]
    Another(u64),
    /// Of a time that is yet to come, and not confirmed by the origin.
    #[error("the root has version {0}, which is a time yet to come")]
    Ahead(u64),
    /// Past its expiry and not confirmed by the origin.
    #[error("the root expired at Unix time {0}")]
    Expired(u64),
}
