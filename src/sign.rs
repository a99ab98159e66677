//! Signing, native only: ECDSA with P-256 and SHA-256 (ES256, RFC 7518, section 3.4), keys as PKCS#8 PEM.

use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use serde::Serialize;

use crate::jws::{self, Signed};
use crate::keys::{BadLink, Chain, Link};
use crate::manifest::{FORMAT, Root};
use crate::text::Base64;

pub use crate::keys::PublicKey;

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
        // Text may stand before it (RFC 7468, section 2).
        let pem = pem.find("-----BEGIN").map_or(pem, |at| &pem[at..]);
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
        let [header, payload] = [header(jws::ROOT), Base64::Url.encode(&serde_json::to_vec(root)?)];
        let signature = self.signature(&header, &payload);
        Ok(format!("{header}.{payload}.{signature}"))
    }

    /// The link from this key to the next, of number `number`: JWS in general JSON form (RFC 7515, section 7.2.1).
    pub fn link(&self, next: &Self, site: &str, number: u32, issued: u64) -> Result<String, serde_json::Error> {
        let link = Link { format: FORMAT, site: site.to_owned(), number, key: next.public(), issued };
        let [protected, payload] = [header(jws::LINK), Base64::Url.encode(&serde_json::to_vec(&link)?)];
        let signatures = [self, next].map(|key| {
            let signature = key.signature(&protected, &payload);
            General { protected: protected.clone(), signature }
        });
        serde_json::to_string(&LinkJson { payload, signatures })
    }

    fn signature(&self, header: &str, payload: &str) -> String {
        let signature: Signature = self.0.sign(format!("{header}.{payload}").as_bytes());
        Base64::Url.encode(&signature.to_bytes())
    }
}

/// The protected header of what has this `typ`.
fn header(typ: &str) -> String {
    Base64::Url.encode(format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#).as_bytes())
}

#[derive(Serialize)]
struct LinkJson {
    payload: String,
    signatures: [General; 2],
}

#[derive(Serialize)]
struct General {
    protected: String,
    signature: String,
}

impl Chain<PublicKey> {
    /// Goes one key on by this link.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(), BadLink> {
        let link = self.read(bytes)?;
        let key = link.claims().key.clone();
        let [old, new] = link.signed();
        let matches = |key: &PublicKey, signed| key.signed(signed).unwrap_or_default();
        let by_old = self.get(self.last()).is_some_and(|last| matches(last, old));
        let by_new = matches(&key, new);
        self.accept(&link, by_old, by_new, key)
    }
}

impl PublicKey {
    /// Whether this key signed that.
    pub fn signed(&self, signed: &Signed) -> Result<bool, BadKey> {
        let key = self.verifying_key()?;
        let Ok(signature) = Signature::from_slice(&signed.signature) else { return Ok(false) };
        Ok(key.verify(signed.input.as_bytes(), &signature).is_ok())
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
    use crate::digest::Digest;
    use crate::manifest::{BadRoot, Policy};
    use crate::verify::UnverifiedRoot;

    fn root(site: &str) -> Root {
        Root {
            format: FORMAT,
            site: site.to_owned(),
            version: 7,
            issued: 1,
            expires: 2,
            index: Digest::of(b""),
            index_bytes: 0,
            delta: None,
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
        assert!(key.public().signed(parsed.signed()).unwrap());
        assert_eq!(parsed.accept(true, &site).unwrap().root, root(&site));
        let other = Key::from_random(&[8; 32]).unwrap().public();
        assert!(!other.signed(UnverifiedRoot::parse(text.as_bytes()).unwrap().signed()).unwrap());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            if let Ok(changed) = UnverifiedRoot::parse(&bytes) {
                assert!(!key.public().signed(changed.signed()).unwrap(), "letter {at}");
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
