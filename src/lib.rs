//! Peerage's core: everything that decides, and nothing that does.
//!
//! A site's visitors serve its static files to each other. Each piece is verified against the origin's signed manifest
//! before it reaches a page, a cache or another peer.
//!
//! ```text
//!             service worker (sw/worker)                          mesh worker (sw/mesh)
//!   fetch ─► route ─► site: which version?                    mesh ◄─ wire ─► neighbours' meshes
//!                       └► manifest: which entry?              ▲  └─ tracker client
//!                            └► transfer ─┬─ store             │
//!                                         ├─ port ─────────────┘
//!                                         └─ origin
//!                    every body passes through verify
//! ```
//!
//! | module | what for |
//! | --- | --- |
//! | [`digest`], [`jws`], [`keys`], [`manifest`], [`pieces`], [`verify`] | what a site consists of, and how untrusted bytes become trusted |
//! | [`headers`], [`inject`], [`observed`], [`parts`], [`replay`], [`room`], [`route`], [`site`], [`store`], [`transfer`], [`twice`], [`update`], [`wants`] | answering a page's requests |
//! | [`mesh`], [`port`], [`wire`] | exchanging pieces with other visitors |
//! | [`tracker`] | introducing visitors to each other |
//! | `sim` (native only) | a swarm of these very machines on a network that is a model |
//! | [`json`], [`rng`], [`sorted`], [`text`], [`Millis`] | reading JSON and text, chance, small collections and time, without globals |
//!
//! The core is a library without IO, clock, randomness or async: its machines have three doors, `handle(input, now)`,
//! `poll() -> Option<Output>` and `deadline() -> Option<Millis>`. Drivers carry out what they ask: `sw/` in the browser,
//! `src/cli/` natively. Bad input from a peer is data, never a panic; a [`verify::Verified`] value can be made in one
//! module only. `docs/` has the protocol, the threat model, and what a page can notice.

#[cfg(test)]
mod attacks;
pub mod digest;
pub mod headers;
pub mod inject;
pub mod json;
pub mod jws;
pub mod keys;
pub mod manifest;
pub mod mesh;
pub mod observed;
pub mod parts;
pub mod pieces;
pub mod port;
mod rate;
pub mod replay;
pub mod rng;
pub mod room;
pub mod route;
#[cfg(feature = "cli")]
pub mod sign;
#[cfg(feature = "cli")]
pub mod sim;
pub mod site;
pub mod sorted;
pub mod store;
pub mod text;
pub mod tracker;
pub mod transfer;
pub mod twice;
pub mod update;
pub mod verify;
pub mod wants;
pub mod wire;

/// A moment or a span on the driver's own monotonic clock, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl std::ops::Add<u64> for Millis {
    type Output = Self;

    fn add(self, span: u64) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl Millis {
    /// The milliseconds from `earlier` to this moment; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
