//! What both ways to a piece, the mesh's and the origin's, are measured by: what is supposed of one that was not measured,
//! means, and how long a measure counts. One that was slow while it was busy is given another chance.

use crate::Millis;

/// A way that has not been measured is taken for this far away, in milliseconds.
pub(crate) const UNKNOWN_DELAY: f64 = 100.0;

/// And for this fast, in bytes a second: a slow home uplink's order.
pub(crate) const UNKNOWN_RATE: f64 = 1024.0 * 1024.0;

/// A measure counts in full for this long, in milliseconds; after that, half as much with each such time more.
pub(crate) const FRESH_MS: u64 = 30_000;

/// What to reckon with: a measured time, but where it is an old one and worse than what is supposed of an unmeasured way,
/// something between the two. One that is better stays as it is.
pub(crate) fn aged(measured: Option<f64>, supposed: f64, since: Millis, now: Millis) -> f64 {
    let Some(measured) = measured.filter(|&measured| measured > supposed) else { return measured.unwrap_or(supposed) };
    // Halved in steps, of which 40 leave nothing: a power of any number would cost every visitor its code.
    let halvings = (now.since(since) / FRESH_MS).saturating_sub(1).min(40);
    supposed + (measured - supposed) / (1_u64 << halvings) as f64
}

/// An exponentially weighted mean: `weight` is the new sample's.
pub(crate) fn mean(old: Option<f64>, sample: f64, weight: f64) -> f64 {
    old.map_or(sample, |old| old + (sample - old) * weight)
}
