//! The wasm half of the bundle: thin drivers of the core for the service worker and for the mesh worker.

#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "what wasm-bindgen exports must be pub; no Rust uses it"
)]

mod js;
mod mesh;
mod worker;

fn main() {}
