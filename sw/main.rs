//! The wasm half of the bundle: thin drivers of the core for the service worker and for the mesh worker.

use wasm_bindgen::prelude::*;

mod mesh;

/// The version of this bundle, as in `Cargo.toml`.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn main() {
    console_error_panic_hook::set_once();
}
