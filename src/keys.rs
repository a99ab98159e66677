//! The keys that sign a site's roots, one after the other.
//!
//! The first is a constant of the worker script, and the site id is its hash. From each key to the next leads a **link**,
//! `peerage/keys/<number>.json`, which both have signed: the old one, since it alone can say who follows it, and the new
//! one, since nobody is to be named who does not have that key. Links are only ever added. So a visitor who knows any of
//! the keys can follow to the one that a root names, however many changes were missed, and a new one starts at the first.
//!
//! ```text
//!   worker script ── key 1 ──(keys/2.json)──► key 2 ──(keys/3.json)──► key 3 ── signs ──► root.jws, "key": 3
//! ```
//!
//! A key number only grows, as a version does ([`crate::site::Site::judge`]): with a key that was replaced nothing can be
//! signed that a visitor who has seen a newer one would take. Links are taken from the origin alone, over TLS, never from
//! a peer; whoever stole a key can't put another in its place without the origin.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{self, BadJson, Object};
use crate::jws::{self, Signed};
use crate::manifest::FORMAT;
use crate::text::Base64;

/// The number of the key in the worker script.
pub const FIRST: u32 = 1;

/// The highest number that a key can have: so many links a new visitor fetches at most.
pub const MAX_KEYS: u32 = 64;

/// The largest link that a reader accepts, in bytes.
pub const MAX_LINK_BYTES: usize = 4096;

/// Where the link to a key lies, below the site; the first key itself lies there as well, as a JWK, to be looked at.
pub fn path(number: u32) -> String {
    format!("peerage/keys/{number}.json")
}

/// A public key as JWK (RFC 7517; RFC 7518, section 6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// `EC`.
    pub kty: String,
    /// `P-256`.
    pub crv: String,
    /// x coordinate, base64url.
    pub x: String,
    /// y coordinate, base64url.
    pub y: String,
}

impl PublicKey {
    /// The SHA-256 thumbprint (RFC 7638) in base64url: of a site's first key it is the site id.
    pub fn thumbprint(&self) -> String {
        let Self { kty, crv, x, y } = self;
        let canonical = format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#);
        Base64::Url.encode(&Digest::of(canonical.as_bytes()).0)
    }

    fn read(mut from: Object<'_>) -> Option<Self> {
        let mut field = |name| from.need(name, json::text).ok();
        Some(Self { kty: field("kty")?, crv: field("crv")?, x: field("x")?, y: field("y")? })
    }
}

/// The payload of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Format version, [`FORMAT`].
    pub format: u32,
    /// The site id.
    pub site: String,
    /// Number of the new key.
    pub number: u32,
    /// The new key.
    pub key: PublicKey,
    /// When it was signed, Unix time in seconds.
    pub issued: u64,
}

/// A link that does not lead to a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    /// Over [`MAX_LINK_BYTES`].
    #[error("it is larger than {MAX_LINK_BYTES} bytes")]
    TooLarge,
    /// Not a JWS in general JSON form (RFC 7515, section 7.2.1) with two signatures by ES256 and our type.
    #[error("it is not a link between keys (a JWS in JSON form with two signatures): {0}")]
    NotAJws(&'static str),
    /// The payload is not a link's JSON.
    #[error("its payload cannot be read: {0}")]
    Payload(#[from] BadJson),
    /// Of another site, another format, or to another key than the next.
    #[error("it is not this site's link to that key")]
    Other,
    /// A signature does not match: the old key's, or the new one's.
    #[error("the {0} key has not signed it")]
    Signature(&'static str),
    /// There is none.
    #[error("it is missing")]
    Missing,
    /// A key that none can lead to.
    #[error("keys have numbers from {FIRST} to {MAX_KEYS}")]
    Number,
}

/// A link as it came: decoded, its signatures not yet checked.
#[derive(Clone, Debug)]
pub struct UnverifiedLink {
    link: Link,
    signed: [Signed; 2],
}

impl UnverifiedLink {
    /// Reads a JWS in general JSON form (RFC 7515, section 7.2.1): the old key's signature first.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadLink> {
        if bytes.len() > MAX_LINK_BYTES {
            return Err(BadLink::TooLarge);
        }
        let mut jws = Object::parse(bytes).map_err(|_| BadLink::NotAJws("it is not a JSON object"))?;
        let payload = jws.need("payload", json::text)?;
        let signatures = jws.need("signatures", |value| {
            json::list(value, |value| {
                let mut one = Object::of(value)?;
                Some((one.need("protected", json::text).ok()?, one.need("signature", json::text).ok()?))
            })
        })?;
        let [old, new] = &signatures[..] else { return Err(BadLink::NotAJws("it does not have two signatures")) };
        let read = |(header, signature): &(String, String)| {
            Signed::read(header, &payload, signature, jws::LINK).map_err(BadLink::NotAJws)
        };
        let signed = [read(old)?, read(new)?];
        let payload = jws::decode(&payload).map_err(BadLink::NotAJws)?;
        let mut claims = Object::parse(&payload)?;
        if claims.need("format", json::small)? != FORMAT {
            return Err(BadLink::Other);
        }
        let link = Link {
            format: FORMAT,
            site: claims.need("site", json::text)?,
            number: claims.need("number", json::small)?,
            key: claims.need("key", |value| PublicKey::read(Object::of(value)?))?,
            issued: claims.need("issued", json::number)?,
        };
        Ok(Self { link, signed })
    }

    /// What it says, not to be relied on.
    pub fn claims(&self) -> &Link {
        &self.link
    }

    /// What the old key, and what the new key must have signed.
    pub fn signed(&self) -> &[Signed; 2] {
        &self.signed
    }
}

/// The keys of a site that are proven, from the first on, in whatever form the driver keeps them.
#[derive(Clone, Debug)]
pub struct Chain<K> {
    site: String,
    keys: Vec<K>,
}

impl<K> Chain<K> {
    /// A site with its first key.
    pub fn new(site: String, first: K) -> Self {
        Self { site, keys: vec![first] }
    }

    /// The number of the last key that is proven.
    pub fn last(&self) -> u32 {
        u32::try_from(self.keys.len()).unwrap_or(u32::MAX)
    }

    /// A proven key by number.
    pub fn get(&self, number: u32) -> Option<&K> {
        self.keys.get(usize::try_from(number.checked_sub(FIRST)?).ok()?)
    }

    /// The number of the link to get next on the way to a key; `None` once that is proven.
    pub fn next(&self, to: u32) -> Result<Option<u32>, BadLink> {
        match to {
            FIRST..=MAX_KEYS => Ok((to > self.last()).then(|| self.last() + 1)),
            _ => Err(BadLink::Number),
        }
    }

    /// Reads what is to be the link to the key after the last.
    pub fn read(&self, bytes: &[u8]) -> Result<UnverifiedLink, BadLink> {
        let link = UnverifiedLink::parse(bytes)?;
        let Link { site, number, .. } = &link.link;
        if *site == self.site && *number == self.last() + 1 { Ok(link) } else { Err(BadLink::Other) }
    }

    /// Goes one key on, once the driver has checked both signatures: with the last key, and with the one that the link
    /// names, which is `key`.
    pub fn accept(&mut self, link: &UnverifiedLink, by_old: bool, by_new: bool, key: K) -> Result<(), BadLink> {
        if link.link.number != self.last() + 1 {
            return Err(BadLink::Other);
        }
        if !by_old {
            return Err(BadLink::Signature("old"));
        }
        if !by_new {
            return Err(BadLink::Signature("new"));
        }
        self.keys.push(key);
        Ok(())
    }
}
