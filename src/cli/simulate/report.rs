//! The page with plots.

use peerage::sim::Summary;

use super::sweep::Point;

/// The whole page.
pub(super) fn page(name: &str, summary: &Summary, _sweep: &[Point]) -> String {
    format!("<!doctype html><title>{name}</title><p>{}", summary.about)
}
