//! From untrusted to trusted: the one place where a [`Verified`] value can be made.
//!
//! Bytes from a peer, a cache or a host reach a page, a peer or a cache only as `Verified`. The hash and the signature
//! themselves are computed by whoever does it fastest (WebCrypto in a browser, `sha2` and `p256` natively); what they
//! must equal, and what else must hold, is decided here.

use crate::digest::Digest;
use crate::json::{self, Object};
use crate::jws::{self, Signed};
use crate::manifest::{BadManifest, BadRoot, Child, Delta, FORMAT, Index, MAX_ROOT_BYTES, Piece, Root, Shard};

/// A value that matched what the origin signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The value itself.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// The same value by reference.
    pub fn as_ref(&self) -> Verified<&T> {
        Verified(&self.0)
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Bytes that are not the ones asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another number of bytes.
    #[error("{found} bytes where the manifest says {want}")]
    Length {
        /// Bytes at hand.
        found: usize,
        /// Bytes listed.
        want: u32,
    },
    /// The right number of other bytes.
    #[error("SHA-256 {found} where the manifest says {want}")]
    Digest {
        /// SHA-256 of the bytes at hand.
        found: Digest,
        /// SHA-256 listed.
        want: Digest,
    },
}

/// A piece's body, in whatever form the driver keeps bytes: `found` is its SHA-256 and `len` its length.
pub fn piece<B>(body: B, len: usize, found: Digest, want: &Piece) -> Result<Verified<B>, Mismatch> {
    if u32::try_from(len).ok() != Some(want.len) {
        return Err(Mismatch::Length { found: len, want: want.len });
    }
    addressed(body, found, want.digest)
}

/// A body by its address alone: a bundle file, a whole small file.
pub fn addressed<B>(body: B, found: Digest, want: Digest) -> Result<Verified<B>, Mismatch> {
    if found == want { Ok(Verified(body)) } else { Err(Mismatch::Digest { found, want }) }
}

/// A part of the manifest that is not what its parent lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPart {
    /// Other bytes.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The right bytes in a form that cannot be read.
    #[error(transparent)]
    Form(#[from] BadManifest),
}

/// An index page's bytes, whose SHA-256 is `found`, as the root or its parent page lists it.
pub fn index(bytes: Vec<u8>, found: Digest, want: Digest) -> Result<Verified<Index>, BadPart> {
    Ok(Verified(Index::open(addressed(bytes, found, want)?.0)?))
}

/// A shard's bytes, whose SHA-256 is `found`, as an index page lists it.
pub fn shard(bytes: Vec<u8>, found: Digest, want: &Child) -> Result<Verified<Shard>, BadPart> {
    Ok(Verified(Shard::open(addressed(bytes, found, want.digest)?.0)?))
}

/// A delta's bytes, whose SHA-256 is `found`, as the root or the delta after it names it.
pub fn delta(bytes: &[u8], found: Digest, want: Digest) -> Result<Verified<Delta>, BadPart> {
    Ok(Verified(Delta::open(addressed(bytes, found, want)?.0)?))
}

/// A root as it came: split, decoded, its signature not yet checked.
#[derive(Clone, Debug)]
pub struct UnverifiedRoot {
    text: String,
    signed: Signed,
    root: Root,
}

impl UnverifiedRoot {
    /// Splits a compact JWS (RFC 7515, section 7.1); white space around it is allowed.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRoot> {
        if bytes.len() > MAX_ROOT_BYTES {
            return Err(BadRoot::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BadRoot::NotAJws("not text"))?.trim();
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadRoot::NotAJws("it does not have three parts"));
        };
        let signed = Signed::read(header, payload, signature, jws::ROOT).map_err(BadRoot::NotAJws)?;
        let payload = jws::decode(payload).map_err(BadRoot::NotAJws)?;
        let mut claims = Object::parse(&payload).map_err(BadRoot::Payload)?;
        // The format is read by itself first: a later one may have other members.
        let format = claims.need("format", json::small).map_err(BadRoot::Payload)?;
        if format != FORMAT {
            return Err(BadRoot::UnknownFormat(format));
        }
        let root = Root::read(format, claims).map_err(BadRoot::Payload)?;
        Ok(Self { text: text.to_owned(), signed, root })
    }

    /// What the key that the claims name must have signed.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// The claims, not to be relied on but to find the key that must have signed them.
    pub fn claims(&self) -> &Root {
        &self.root
    }

    /// Accepts it, once the driver has checked the signature with the key number that the claims name. The text comes
    /// along, to be stored and passed on.
    pub fn accept(self, signature_matches: bool, site: &str) -> Result<Verified<SignedRoot>, BadRoot> {
        if !signature_matches {
            return Err(BadRoot::Signature);
        }
        if self.root.site != site {
            return Err(BadRoot::OtherSite(self.root.site));
        }
        Ok(Verified(SignedRoot { root: self.root, text: self.text }))
    }
}

/// A root and the compact JWS that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRoot {
    /// The claims.
    pub root: Root,
    /// The compact JWS.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Base64;

    #[test]
    fn only_the_listed_bytes_become_verified() {
        let want = Piece { digest: Digest::of(b"abc"), len: 3 };
        assert!(piece(b"abc", 3, Digest::of(b"abc"), &want).is_ok());
        assert_eq!(piece(b"", 0, Digest::of(b""), &want), Err(Mismatch::Length { found: 0, want: 3 }));
        assert!(matches!(piece(b"abd", 3, Digest::of(b"abd"), &want), Err(Mismatch::Digest { .. })));
    }

    #[test]
    fn what_is_no_root_is_refused_with_its_reason() {
        let jws = |header: &str, payload: &str, signature: &[u8]| {
            let b = |x: &[u8]| Base64::Url.encode(x);
            format!("{}.{}.{}", b(header.as_bytes()), b(payload.as_bytes()), b(signature))
        };
        let es256 = r#"{"alg":"ES256"}"#;
        let parse = |text: &str| UnverifiedRoot::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(parse("<!doctype html><p>It works. Really."), BadRoot::NotAJws(_)));
        assert!(matches!(parse(&jws(r#"{"alg":"none"}"#, "{}", &[0; 64])), BadRoot::NotAJws(_)));
        assert!(matches!(parse(&jws(r#"{"alg":"ES256","typ":"peerage-key"}"#, "{}", &[0; 64])), BadRoot::NotAJws(_)));
        assert!(matches!(parse(&jws(es256, "{}", &[0; 63])), BadRoot::NotAJws(_)));
        assert!(matches!(parse(&jws(es256, "{}", &[0; 64])), BadRoot::Payload(_)));
        assert_eq!(parse(&jws(es256, r#"{"format":2}"#, &[0; 64])), BadRoot::UnknownFormat(2));
        assert_eq!(parse(&"x".repeat(5000)), BadRoot::TooLarge);
    }
}
