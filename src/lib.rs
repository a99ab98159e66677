//! Peerage's core: everything that decides, and nothing that does.
//!
//! The core is a library without IO, clock, randomness or async: state machines with three doors, `handle(input, now)`,
//! `poll() -> Option<Output>` and `deadline() -> Option<Millis>`. Drivers carry out what they ask: `sw/` in the browser,
//! `src/cli/` natively.

pub mod digest;
pub mod headers;
pub mod inject;
pub mod manifest;
pub mod mesh;
pub mod pieces;
pub mod port;
pub mod rng;
pub mod route;
#[cfg(feature = "cli")]
pub mod sign;
pub mod site;
pub mod sorted;
pub mod store;
pub mod tracker;
pub mod transfer;
pub mod verify;
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
