//! What is signed, as JWS (RFC 7515) with ES256 (RFC 7518, section 3.4): roots in the compact form, links between keys in
//! the general JSON form.

use crate::json::{self, Object};
use crate::text::Base64;

/// The `typ` of a root (RFC 8725, section 3.11: what was signed as one thing is not taken for another).
pub(crate) const ROOT: &str = "peerage-root";
/// The `typ` of a link between two keys.
pub(crate) const LINK: &str = "peerage-key";

/// What a key has to have signed, and what is said to be its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The protected header and the payload, both in base64url (RFC 7515, section 5.1).
    pub input: String,
    /// r and s, 32 bytes each.
    pub signature: [u8; 64],
}

impl Signed {
    /// Reads a signature with its protected header, which must ask for ES256 and nothing that we don't know. One without
    /// a `typ` is taken for a root's.
    pub(crate) fn read(header: &str, payload: &str, signature: &str, typ: &str) -> Result<Self, &'static str> {
        let text = decode(header)?;
        let mut fields = Object::parse(&text).map_err(|_| "its header is not JSON")?;
        let is_es256 = fields.need("alg", json::text).is_ok_and(|alg| alg == "ES256");
        let is_ours = fields.take("typ").map_or(typ == ROOT, |found| json::text(found).as_deref() == Some(typ));
        if !is_es256 || !is_ours || fields.take("crit").is_some() {
            return Err("its header asks for something else than ES256, or is of something else");
        }
        let signature = decode(signature)?.try_into().map_err(|_| "its signature is not 64 bytes long")?;
        Ok(Self { input: [header, ".", payload].concat(), signature })
    }
}

/// The bytes of a part.
pub(crate) fn decode(part: &str) -> Result<Vec<u8>, &'static str> {
    Base64::Url.decode(part).ok_or("a part is not base64url")
}
