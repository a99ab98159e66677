//! When wanted pieces should come, by what is known of each neighbour: what it owes, and what waits for it, come first.

use super::neighbour::Neighbour;
use crate::Millis;
use crate::digest::Digest;
use crate::sorted::Map;

/// Hands pieces to neighbours, on paper.
pub(super) struct Forecast<'a> {
    now: Millis,
    /// Those that can be asked, with the bytes that come before anything new.
    serving: Vec<(&'a Neighbour, u64)>,
}

impl<'a> Forecast<'a> {
    /// `queued` bytes wait for whichever neighbour has room: by their rates.
    pub(super) fn new(neighbours: &'a Map<u32, Neighbour>, queued: u64, now: Millis) -> Self {
        let serving = || neighbours.values().filter(|n| n.serves());
        let rates: u64 = serving().map(|n| n.path.expected_rate()).sum();
        let share = |n: &Neighbour| (queued as f64 * n.path.expected_rate() as f64 / rates.max(1) as f64) as u64;
        Self { now, serving: serving().map(|n| (n, n.owed() + share(n))).collect() }
    }

    /// Milliseconds until a piece should be here; `None` where nobody holds it, or it should take longer than `within`.
    pub(super) fn take(&mut self, digest: &Digest, len: u32, within: u32) -> Option<u32> {
        let prefix = digest.prefix();
        let now = self.now;
        let eta = |(neighbour, ahead): &(&Neighbour, u64)| {
            // One that has been silent while it owes something may go on being silent for as long.
            let silent = if neighbour.asks.is_empty() { 0 } else { now.since(neighbour.progress) };
            neighbour.path.predict(ahead + u64::from(len), now) + silent
        };
        let holders = self.serving.iter_mut().filter(|(neighbour, _)| neighbour.have.contains(&prefix));
        let (ms, (_, ahead)) = holders.map(|holder| (eta(holder), holder)).min_by_key(|(ms, _)| *ms)?;
        let ms = u32::try_from(ms).unwrap_or(u32::MAX - 1);
        if ms > within {
            return None;
        }
        *ahead += u64::from(len);
        Some(ms)
    }
}
