//! Signing, native only: ECDSA with P-256 and SHA-256 (ES256, RFC 7518, section 3.4), keys as PKCS#8 PEM.

use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::manifest::Root;
use crate::text::Base64;
use crate::verify::UnverifiedRoot;

/// The protected header of every root.
const HEADER: &str = r#"{"alg":"ES256","typ":"peerage-root"}"#;

/// A site's private key.
pub struct Key(SigningKey);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.public().thumbprint())
    }
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not a PKCS#8 PEM of a P-256 private key.
    #[error("not a P-256 private key in PKCS#8 PEM form (-----BEGIN PRIVATE KEY-----)")]
    Private,
    /// Not a JWK of a P-256 public key.
    #[error("not a P-256 public key in JWK form")]
    Public,
}

impl Key {
    /// The key of 32 random bytes; `None` for the few values that are none (draw again).
    pub fn from_random(bytes: &[u8; 32]) -> Option<Self> {
        SigningKey::from_slice(bytes).ok().map(Self)
    }

    /// Reads PKCS#8 PEM (RFC 5958, RFC 7468).
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        SigningKey::from_pkcs8_pem(pem.trim()).map(Self).map_err(|_| BadKey::Private)
    }

    /// Writes PKCS#8 PEM.
    pub fn to_pem(&self) -> Result<String, BadKey> {
        Ok(self.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| BadKey::Private)?.to_string())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let point = self.0.verifying_key().to_sec1_point(false);
        let coordinate = |bytes: Option<&[u8]>| Base64::Url.encode(bytes.unwrap_or_default());
        PublicKey {
            kty: "EC".into(),
            crv: "P-256".into(),
            x: coordinate(point.x().map(|x| x.as_slice())),
            y: coordinate(point.y().map(|y| y.as_slice())),
        }
    }

    /// The root as compact JWS.
    pub fn sign(&self, root: &Root) -> Result<String, serde_json::Error> {
        let payload = Base64::Url.encode(&serde_json::to_vec(root)?);
        let input = format!("{}.{payload}", Base64::Url.encode(HEADER.as_bytes()));
        let signature: Signature = self.0.sign(input.as_bytes());
        Ok(format!("{input}.{}", Base64::Url.encode(&signature.to_bytes())))
    }
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

    /// Whether this key signed that root.
    pub fn signed(&self, root: &UnverifiedRoot) -> Result<bool, BadKey> {
        let key = self.verifying_key()?;
        let Ok(signature) = Signature::from_slice(root.signature()) else { return Ok(false) };
        Ok(key.verify(root.signing_input(), &signature).is_ok())
    }

    fn verifying_key(&self) -> Result<VerifyingKey, BadKey> {
        let decode = |text: &str| Base64::Url.decode(text).filter(|b| b.len() == 32).ok_or(BadKey::Public);
        // SEC 1, section 2.3.3: uncompressed point
        let point = [vec![4], decode(&self.x)?, decode(&self.y)?].concat();
        VerifyingKey::from_sec1_bytes(&point).map_err(|_| BadKey::Public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{BadRoot, FORMAT, Policy};

    fn root(site: &str) -> Root {
        Root {
            format: FORMAT,
            site: site.to_owned(),
            version: 7,
            issued: 1,
            expires: 2,
            index: Digest::of(b""),
            index_bytes: 0,
            key: 1,
            files: 0,
            bytes: 0,
            policy: Policy::default(),
            retired: false,
        }
    }

    #[test]
    fn a_signed_root_verifies_and_any_changed_letter_does_not() {
        let key = Key::from_random(&[7; 32]).unwrap();
        let site = key.public().thumbprint();
        let text = key.sign(&root(&site)).unwrap();
        assert!(text.len() < 1024);
        let parsed = UnverifiedRoot::parse(text.as_bytes()).unwrap();
        assert!(key.public().signed(&parsed).unwrap());
        assert_eq!(parsed.accept(true, &site).unwrap().root, root(&site));
        let other = Key::from_random(&[8; 32]).unwrap().public();
        assert!(!other.signed(&UnverifiedRoot::parse(text.as_bytes()).unwrap()).unwrap());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            if let Ok(changed) = UnverifiedRoot::parse(&bytes) {
                assert!(!key.public().signed(&changed).unwrap(), "letter {at}");
            }
        }
    }

    #[test]
    fn another_site_is_refused() {
        let key = Key::from_random(&[7; 32]).unwrap();
        let text = key.sign(&root("other")).unwrap();
        let parsed = UnverifiedRoot::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.accept(true, "mine").unwrap_err(), BadRoot::OtherSite("other".into()));
    }

    #[test]
    fn keys_round_trip_as_pem() {
        let key = Key::from_random(&[9; 32]).unwrap();
        let pem = key.to_pem().unwrap();
        assert_eq!(Key::from_pem(&pem).unwrap().public(), key.public());
        assert_eq!(Key::from_pem("hello").unwrap_err(), BadKey::Private);
    }

    #[test]
    fn thumbprint_is_rfc_7638s() {
        // Canonical members in lexicographic order, no white space (RFC 7638, section 3.2).
        let key = PublicKey { kty: "EC".into(), crv: "P-256".into(), x: "AA".into(), y: "BB".into() };
        let want = Digest::of(br#"{"crv":"P-256","kty":"EC","x":"AA","y":"BB"}"#);
        assert_eq!(key.thumbprint(), Base64::Url.encode(&want.0));
    }
}
