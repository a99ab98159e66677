//! The lie of an invented sea: heights from layered gradient noise, and their picture as a shaded relief map.
//!
//! Only additions, multiplications and square roots are used, so that every machine makes the same bytes.

use rayon::prelude::*;

use super::atlas::{Climate, ISLANDS, Island};

/// A grid of heights above sea level in metres, row by row from the north-west corner.
#[derive(Clone, Debug)]
pub(super) struct Heights {
    /// Columns.
    pub(super) width: usize,
    /// Rows.
    pub(super) height: usize,
    /// Metres from one column to the next.
    pub(super) step: f32,
    /// The heights.
    pub(super) metres: Vec<f32>,
}

/// How many metres the whole sea measures from west to east, and from north to south.
pub(super) const SEA_METRES: f32 = 160_000.0;

impl Heights {
    /// Samples a window of the sea: its north-west corner and width as parts of the whole.
    pub(super) fn sample(left: f32, top: f32, span: f32, width: usize, height: usize) -> Self {
        let step = span / width as f32;
        let metres = (0..height)
            .into_par_iter()
            .flat_map_iter(|row| {
                let y = top + (row as f32 + 0.5) * step;
                (0..width).map(move |column| height_at(left + (column as f32 + 0.5) * step, y))
            })
            .collect();
        Self { width, height, step: step * SEA_METRES, metres }
    }

    /// The height at a column and row; past the edge, that of the edge.
    pub(super) fn at(&self, column: isize, row: isize) -> f32 {
        let column = column.clamp(0, self.width as isize - 1) as usize;
        let row = row.clamp(0, self.height as isize - 1) as usize;
        self.metres[row * self.width + column]
    }

    /// Every `factor`-th column and row.
    pub(super) fn thinned(&self, factor: usize) -> Self {
        let (width, height) = (self.width / factor, self.height / factor);
        let metres =
            (0..width * height).map(|i| self.metres[i / width * factor * self.width + i % width * factor]).collect();
        Self { width, height, step: self.step * factor as f32, metres }
    }

    /// The heights in whole metres as little-endian i16, row by row.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.metres.iter().flat_map(|m| (m.clamp(-9_000.0, 9_000.0) as i16).to_le_bytes()).collect()
    }

    /// The relief map as 8-bit RGB, lit from the north-west. `ink` lays sea contours and paper grain over it.
    pub(super) fn relief(&self, climate: Climate, ink: bool) -> Vec<u8> {
        let rows = 0..self.height as isize;
        rows.into_par_iter()
            .flat_map_iter(|row| (0..self.width as isize).flat_map(move |column| self.pixel(column, row, climate, ink)))
            .collect()
    }

    fn pixel(&self, column: isize, row: isize, climate: Climate, ink: bool) -> [u8; 3] {
        let here = self.at(column, row);
        let east = (self.at(column + 1, row) - self.at(column - 1, row)) / (2.0 * self.step);
        let south = (self.at(column, row + 1) - self.at(column, row - 1)) / (2.0 * self.step);
        // Relief is exaggerated: true slopes look flat from above.
        let (east, south) = (east * 3.0, south * 3.0);
        let lit = (0.62 * east + 0.62 * south + 0.9) / (1.0 + east * east + south * south).sqrt();
        let mut colour = if here < 0.0 { sea(here) } else { climate.land(here) };
        let light = if here < 0.0 { 0.94 + 0.10 * (lit - 0.9) } else { 0.50 + 0.56 * lit };
        for channel in &mut colour {
            *channel *= light;
        }
        if here < 0.0 && ink {
            // Depth contours, each 120 m, and the white line of the surf.
            let band = |metres: f32| (metres / 120.0).floor();
            if band(here) != band(self.at(column + 1, row)) || band(here) != band(self.at(column, row + 1)) {
                colour = colour.map(|c| c * 0.93);
            }
            let surf = (1.0 + here / 14.0).max(0.0);
            colour = colour.map(|c| c + (244.0 - c) * surf * 0.8);
        }
        let grain = if ink { (hash(column as i32, row as i32, 99) & 255) as f32 / 255.0 * 5.0 - 2.5 } else { 0.0 };
        colour.map(|c| (c + grain).clamp(0.0, 255.0) as u8)
    }
}

fn sea(metres: f32) -> [f32; 3] {
    gradient(
        metres,
        &[
            (-2_400.0, [24.0, 58.0, 84.0]),
            (-1_200.0, [44.0, 92.0, 116.0]),
            (-500.0, [78.0, 134.0, 150.0]),
            (-140.0, [124.0, 176.0, 182.0]),
            (0.0, [184.0, 216.0, 208.0]),
        ],
    )
}

impl Climate {
    fn land(self, metres: f32) -> [f32; 3] {
        match self {
            Self::Mild => gradient(
                metres,
                &[
                    (0.0, [222.0, 206.0, 164.0]),
                    (24.0, [158.0, 176.0, 112.0]),
                    (260.0, [126.0, 154.0, 96.0]),
                    (620.0, [172.0, 162.0, 118.0]),
                    (1_100.0, [206.0, 194.0, 168.0]),
                    (1_600.0, [244.0, 242.0, 238.0]),
                ],
            ),
            Self::Moor => gradient(
                metres,
                &[
                    (0.0, [206.0, 196.0, 160.0]),
                    (30.0, [154.0, 152.0, 104.0]),
                    (240.0, [148.0, 126.0, 110.0]),
                    (560.0, [166.0, 134.0, 136.0]),
                    (1_000.0, [196.0, 184.0, 180.0]),
                ],
            ),
            Self::Volcanic => gradient(
                metres,
                &[
                    (0.0, [92.0, 88.0, 86.0]),
                    (60.0, [108.0, 124.0, 88.0]),
                    (420.0, [116.0, 106.0, 92.0]),
                    (1_000.0, [98.0, 76.0, 70.0]),
                    (1_700.0, [170.0, 96.0, 72.0]),
                ],
            ),
            Self::Dry => gradient(
                metres,
                &[
                    (0.0, [236.0, 222.0, 180.0]),
                    (60.0, [226.0, 196.0, 140.0]),
                    (400.0, [206.0, 152.0, 104.0]),
                    (900.0, [176.0, 116.0, 84.0]),
                    (1_500.0, [222.0, 188.0, 158.0]),
                ],
            ),
            Self::Ice => gradient(
                metres,
                &[
                    (0.0, [176.0, 180.0, 174.0]),
                    (40.0, [196.0, 206.0, 204.0]),
                    (260.0, [232.0, 240.0, 244.0]),
                    (1_200.0, [252.0, 252.0, 252.0]),
                ],
            ),
        }
    }
}

/// The colour at `metres` between the stops around it.
fn gradient(metres: f32, stops: &[(f32, [f32; 3])]) -> [f32; 3] {
    let mut last = stops[0];
    for &stop in stops {
        if metres < stop.0 {
            let part = if stop.0 > last.0 { ((metres - last.0) / (stop.0 - last.0)).clamp(0.0, 1.0) } else { 0.0 };
            return [0, 1, 2].map(|i| last.1[i] + (stop.1[i] - last.1[i]) * part);
        }
        last = stop;
    }
    last.1
}

/// Metres above sea level at a place given in parts of the whole sea.
fn height_at(x: f32, y: f32) -> f32 {
    let floor = -1_350.0 + 1_300.0 * layers(x * 5.0, y * 5.0, 3, 37);
    let lift = if ISLANDS.iter().any(|island| island.near(x, y)) { lift_at(x, y) } else { 0.0 };
    if lift <= 0.0 {
        return (floor + 90.0 * layers(x * 60.0, y * 60.0, 3, 41)).min(-8.0);
    }
    let ridges = 1.0 - layers(x * 34.0, y * 34.0, 6, 53).abs() * 2.4;
    let detail = layers(x * 190.0, y * 190.0, 4, 61);
    // The further up, the rougher; below the coast the slope runs out into the floor.
    let peak = lift * (0.46 + 0.54 * ridges.max(0.0)) + lift.min(500.0) * 0.16 * detail;
    let blend = (lift / 420.0).min(1.0);
    floor.min(-30.0) * (1.0 - blend) * (1.0 - blend) + peak - 120.0 * (1.0 - blend)
}

/// How far the islands lift the ground at a place, in metres.
fn lift_at(x: f32, y: f32) -> f32 {
    // Coasts would be circles without a warp of the plane, and without bays eaten into them.
    let warped_x = x + layers(x * 13.0, y * 13.0, 4, 11) * 0.040;
    let warped_y = y + layers(x * 13.0, y * 13.0, 4, 23) * 0.040;
    let bays = layers(x * 24.0, y * 24.0, 4, 71);
    ISLANDS.iter().map(|island| island.lift(warped_x, warped_y, bays)).fold(0.0, f32::max)
}

impl Island {
    /// Whether a place is one that this island can lift.
    fn near(&self, x: f32, y: f32) -> bool {
        let reach = self.radius * self.squash.max(1.0) + 0.045;
        (x - self.x).abs() < reach && (y - self.y).abs() < reach
    }

    fn lift(&self, x: f32, y: f32, bays: f32) -> f32 {
        let (dx, dy) = ((x - self.x) / self.radius, (y - self.y) / (self.radius * self.squash));
        let distance = dx * dx + dy * dy;
        if distance >= 1.0 {
            return 0.0;
        }
        let rise = (1.0 - distance) * (1.0 - distance);
        let eaten = bays * 0.85 * (1.0 - rise) * (1.0 - distance);
        let crater = if self.climate == Climate::Volcanic && distance < 0.02 { 1.0 - distance / 0.02 } else { 0.0 };
        self.peak * (rise + eaten - crater * 0.28)
    }
}

/// Layered gradient noise about 0, within -1 and 1.
fn layers(x: f32, y: f32, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut scale) = (0.0, 0.5, 1.0);
    for octave in 0..octaves {
        sum += weight * noise(x * scale, y * scale, seed.wrapping_add(octave * 7919));
        weight *= 0.5;
        scale *= 2.03;
    }
    sum * 1.6
}

fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let (fx, fy) = (x - column, y - row);
    let (column, row) = (column as i32, row as i32);
    let corner = |dx: i32, dy: i32| {
        let (gx, gy) = DIRECTIONS[(hash(column + dx, row + dy, seed) >> 29) as usize];
        gx * (fx - dx as f32) + gy * (fy - dy as f32)
    };
    let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let (u, v) = (fade(fx), fade(fy));
    mix(mix(corner(0, 0), corner(1, 0), u), mix(corner(0, 1), corner(1, 1), u), v)
}

const DIRECTIONS: [(f32, f32); 8] = {
    const D: f32 = std::f32::consts::FRAC_1_SQRT_2;
    [(1.0, 0.0), (D, D), (0.0, 1.0), (-D, D), (-1.0, 0.0), (-D, -D), (0.0, -1.0), (D, -D)]
};

fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h =
        (x as u32).wrapping_mul(0x8DA6_B343) ^ (y as u32).wrapping_mul(0xD816_3841) ^ seed.wrapping_mul(0xCB1A_B31F);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_island_stands_in_the_sea() {
        for island in &ISLANDS {
            let (left, top, span) = island.window();
            let heights = Heights::sample(left, top, span, 64, 48);
            let land = heights.metres.iter().filter(|m| **m > 0.0).count();
            assert!((150..2_000).contains(&land), "{}: {land} of {} are land", island.name, 64 * 48);
            let edge = (0..64).flat_map(|i| [heights.at(i, 0), heights.at(i, 47)]);
            assert!(edge.into_iter().filter(|m| *m > 0.0).count() < 24, "{} leaves its map", island.name);
        }
    }

    #[test]
    fn thinning_keeps_the_first_of_each_block() {
        let grid = Heights { width: 4, height: 2, step: 1.0, metres: (0..8).map(|i| i as f32).collect() };
        let thin = grid.thinned(2);
        assert_eq!((thin.width, thin.height, thin.metres), (2, 1, vec![0.0, 2.0]));
    }
}
