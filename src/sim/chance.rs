//! Chance: distributions drawn from the core's own generator, so that a seed says everything.

use crate::rng::Rng;

/// A number from 0 up to but not including 1.
pub(super) fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// True with this probability.
pub(super) fn happens(rng: &mut Rng, probability: f64) -> bool {
    unit(rng) < probability
}

/// Exponentially distributed with this mean.
pub(super) fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - unit(rng)).ln()
}

/// Log-normally distributed with this mean; `sigma` is the standard deviation of the logarithm.
pub(super) fn log_normal(rng: &mut Rng, mean: f64, sigma: f64) -> f64 {
    // Box and Muller's transform.
    let (u, v) = (1.0 - unit(rng), unit(rng));
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    (mean.ln() - sigma * sigma / 2.0 + sigma * normal).exp()
}

/// At least 1, geometrically distributed with this mean.
pub(super) fn geometric(rng: &mut Rng, mean: f64) -> usize {
    if mean <= 1.0 {
        return 1;
    }
    let more = 1.0 - 1.0 / mean;
    1 + ((1.0 - unit(rng)).ln() / more.ln()) as usize
}

/// The index that a cumulative, not necessarily normalised, list of weights gives.
pub(super) fn pick(rng: &mut Rng, cumulative: &[f64]) -> usize {
    let total = cumulative.last().copied().unwrap_or(0.0);
    let at = unit(rng) * total;
    cumulative.partition_point(|&c| c <= at).min(cumulative.len().saturating_sub(1))
}

/// Running sums, for [`pick`].
pub(super) fn cumulative(weights: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let add = |sum: &mut f64, weight: f64| {
        *sum += weight;
        Some(*sum)
    };
    weights.into_iter().scan(0.0, add).collect()
}

/// A generator for one purpose of one thing, independent of the order in which others draw.
pub(super) fn stream(seed: u64, purpose: u64, number: u64) -> Rng {
    let mut mixed = Rng::new(seed ^ purpose.rotate_left(48));
    let first = mixed.next_u64();
    let mut mixed = Rng::new(first ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    Rng::new(mixed.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_what_was_asked_for() {
        let mut rng = Rng::new(1);
        let n = 20_000;
        let mean = |draw: &mut dyn FnMut() -> f64| (0..n).map(|_| draw()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || exponential(&mut rng, 7.0)) - 7.0).abs() < 0.2);
        assert!((mean(&mut || log_normal(&mut rng, 7.0, 0.8)) - 7.0).abs() < 0.2);
        assert!((mean(&mut || geometric(&mut rng, 7.0) as f64) - 7.0).abs() < 0.2);
        let weights = cumulative([1.0, 0.0, 3.0]);
        let picked: Vec<usize> = (0..n).map(|_| pick(&mut rng, &weights)).collect();
        assert!(picked.iter().all(|&p| p != 1));
        let share = picked.iter().filter(|&&p| p == 2).count() as f64 / f64::from(n);
        assert!((share - 0.75).abs() < 0.02, "{share}");
    }
}
