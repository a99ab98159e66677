//! The site's keys: following links from the first, which the worker script names, to the one that signed a root.

use js_sys::{Promise, Uint8Array};
use peerage::jws::Signed;
use peerage::keys::{self, BadLink, MAX_LINK_BYTES, PublicKey};
use peerage::manifest::BadRoot;
use wasm_bindgen::prelude::*;

use super::{Inner, describe};
use crate::js::{self, Js};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = importKey)]
    fn subtle_import_key(
        format: &str,
        key: &JsValue,
        algorithm: &JsValue,
        extractable: bool,
        uses: &JsValue,
    ) -> Promise;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = verify)]
    fn subtle_verify(algorithm: &JsValue, key: &JsValue, signature: &Uint8Array, data: &Uint8Array) -> Promise;
}

/// A public key, from its JWK.
pub(super) fn import(jwk: &JsValue) -> Promise {
    let algorithm = js::Fields::new().text("name", "ECDSA").text("namedCurve", "P-256").done();
    subtle_import_key("jwk", jwk, &algorithm, false, &js::list(["verify".into()].into_iter()))
}

/// Whether a key signed that.
pub(super) async fn signed(key: &JsValue, signed: &Signed) -> bool {
    let algorithm = js::Fields::new().text("name", "ECDSA").text("hash", "SHA-256").done();
    let (signature, data) = (Uint8Array::from(&signed.signature[..]), Uint8Array::from(signed.input.as_bytes()));
    js::wait(subtle_verify(&algorithm, key, &signature, &data)).await.is_ok_and(|matches| matches.is_truthy())
}

/// A body's bytes, as far as one past `limit`: one that never ends is not waited for, and refused as too large.
pub(super) async fn body(response: web_sys::Response, limit: usize) -> Js<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(stream) = response.body() else { return Ok(bytes) };
    let reader: web_sys::ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    while bytes.len() <= limit {
        let read = js::wait(reader.read()).await?;
        if js::get(&read, "done").is_truthy() {
            return Ok(bytes);
        }
        let chunk: Uint8Array = js::get(&read, "value").unchecked_into();
        let room = u32::try_from(limit + 1 - bytes.len()).unwrap_or(u32::MAX);
        bytes.extend(chunk.subarray(0, chunk.length().min(room)).to_vec());
    }
    // Nobody waits for what it leads to.
    let _ = reader.cancel();
    Ok(bytes)
}

impl Inner {
    /// The key of this number, once all links to it are checked; `None` where one can't be had now.
    pub(super) async fn key(&self, number: u32) -> Result<Option<JsValue>, BadRoot> {
        loop {
            let next = self.keys.borrow().next(number);
            let Some(next) = next.map_err(|why| BadRoot::Link(number, number, why))? else {
                return Ok(self.keys.borrow().get(number).cloned());
            };
            let bad = |why| BadRoot::Link(number, next, why);
            let url = self.url(&keys::path(next));
            if let Some(kept) = self.cache.read(&url).await
                && self.follow_link(next, &kept.to_vec()).await.is_ok()
            {
                continue;
            }
            // From the origin and nobody else: only its word brings a key into being.
            let Ok(bytes) = self.fetch_link(&url).await else { return Ok(None) };
            let bytes = bytes.ok_or_else(|| bad(BadLink::Missing))?;
            self.follow_link(next, &bytes).await.map_err(bad)?;
            if let Err(e) = self.cache.write(&url, &Uint8Array::from(&bytes[..])).await {
                self.note_error(&format!("{url} could not be kept: {}", describe(&e)));
            }
        }
    }

    /// A link as the origin has it; `None` where it has none.
    async fn fetch_link(&self, url: &str) -> Js<Option<Vec<u8>>> {
        let response = js::wait(js::fetch(url, &super::versions::question("no-cache"))).await?;
        let response: web_sys::Response = response.unchecked_into();
        match response.status() {
            200 => body(response, MAX_LINK_BYTES).await.map(Some),
            404 | 410 => Ok(None),
            status => Err(status.into()),
        }
    }

    /// Goes on to a key by its link, unless another question has gone the same way meanwhile.
    async fn follow_link(&self, number: u32, bytes: &[u8]) -> Result<(), BadLink> {
        let (link, last) = {
            let keys = self.keys.borrow();
            if keys.last() >= number {
                return Ok(());
            }
            (keys.read(bytes)?, keys.get(keys.last()).cloned())
        };
        let PublicKey { kty, crv, x, y } = &link.claims().key;
        let jwk = js::Fields::new().text("kty", kty).text("crv", crv).text("x", x).text("y", y).done();
        let key = js::wait(import(&jwk)).await.map_err(|_| BadLink::Other)?;
        let [old, new] = link.signed();
        let by_old = signed(&last.unwrap_or_default(), old).await;
        let by_new = signed(&key, new).await;
        if self.keys.borrow().last() >= number {
            return Ok(());
        }
        self.keys.borrow_mut().accept(&link, by_old, by_new, key)
    }
}
