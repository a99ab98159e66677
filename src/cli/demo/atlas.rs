//! The twelve islands: what is written about them, and the surveys that are made of their heights.

use peerage::rng::Rng;
use serde::Serialize;

use super::terrain::{Heights, SEA_METRES};

/// What grows, or does not, on an island.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Climate {
    Mild,
    Moor,
    Volcanic,
    Dry,
    Ice,
}

/// One island of the atlas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Island {
    /// Its name in paths.
    pub(super) slug: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// A sentence about it.
    pub(super) note: &'static str,
    /// Its middle, in parts of the whole sea.
    pub(super) x: f32,
    /// Its middle, in parts of the whole sea.
    pub(super) y: f32,
    /// How far it reaches under water, in parts of the whole sea.
    pub(super) radius: f32,
    /// North-south extent over east-west extent.
    pub(super) squash: f32,
    /// How high its middle would stand without ridges, in metres.
    pub(super) peak: f32,
    /// What its land looks like.
    pub(super) climate: Climate,
}

#[rustfmt::skip]
pub(super) const ISLANDS: [Island; 12] = [
    island("corrow", "Corrow", "Sheep, slate, and a lighthouse that was built one rock too far west.", (0.16, 0.22), 0.100, 0.80, 1_350.0, Climate::Mild),
    island("hinder-vey", "Hinder Vey", "Its two villages share a church bell, and disagree about the hour.", (0.41, 0.15), 0.085, 1.10, 1_050.0, Climate::Moor),
    island("maudlin", "Maudlin", "It rains here on the days that have a name.", (0.66, 0.19), 0.092, 0.78, 1_500.0, Climate::Mild),
    island("the-anvil", "The Anvil", "Still warm. Ships keep upwind, and cooks bring their bread.", (0.86, 0.33), 0.090, 1.00, 2_300.0, Climate::Volcanic),
    island("oss", "Oss", "The largest; the map-makers lived here, which may be why.", (0.30, 0.47), 0.130, 0.85, 1_750.0, Climate::Mild),
    island("little-oss", "Little Oss", "At low tide it is a part of Oss. At high tide it is a republic.", (0.50, 0.40), 0.070, 0.90, 800.0, Climate::Moor),
    island("saltmarrow", "Saltmarrow", "White pans, red cliffs, and a wind that sells itself by the barrel.", (0.68, 0.53), 0.098, 0.74, 1_150.0, Climate::Dry),
    island("tarn-holm", "Tarn Holm", "A lake with an island with a lake. Nobody has swum further in.", (0.12, 0.68), 0.080, 1.00, 1_250.0, Climate::Moor),
    island("pellows-rest", "Pellow\u{2019}s Rest", "Pellow did not rest here, but the anchor did.", (0.47, 0.70), 0.095, 0.80, 1_300.0, Climate::Dry),
    island("wick", "Wick", "Three smoking hills. The third one learnt it from the others.", (0.84, 0.74), 0.088, 0.95, 1_900.0, Climate::Volcanic),
    island("farthing", "Farthing", "It was bought for a farthing, and the seller still feels guilty.", (0.27, 0.87), 0.082, 0.75, 900.0, Climate::Mild),
    island("last-light", "Last Light", "After this there is only weather.", (0.63, 0.89), 0.086, 0.90, 1_600.0, Climate::Ice),
];

#[rustfmt::skip]
#[allow(clippy::too_many_arguments)]
const fn island(slug: &'static str, name: &'static str, note: &'static str, (x, y): (f32, f32), radius: f32, squash: f32, peak: f32, climate: Climate) -> Island {
    Island { slug, name, note, x, y, radius, squash, peak, climate }
}

impl Island {
    /// The part of the sea that its plate shows, 4 wide by 3 high: north-west corner and width.
    pub(super) fn window(&self) -> (f32, f32, f32) {
        let span = self.radius * 2.5;
        (self.x - span / 2.0, self.y - span * 0.375, span)
    }
}

/// What the page's list needs to know of an island.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Listed {
    slug: &'static str,
    name: &'static str,
    note: &'static str,
    highest: i32,
    area_km2: i32,
    left: f32,
    top: f32,
    span: f32,
}

/// What is known of one island: the file beside its plate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Survey {
    name: &'static str,
    columns: usize,
    rows: usize,
    metres_per_column: f32,
    places: Vec<Place>,
    soundings: Vec<[i32; 3]>,
}

#[derive(Clone, Debug, Serialize)]
struct Place {
    name: String,
    kind: &'static str,
    /// Parts of the plate's width and height.
    x: f32,
    y: f32,
    metres: i32,
}

/// What the list says of an island with these heights.
pub(super) fn listed(island: &Island, heights: &Heights) -> Listed {
    let (left, top, span) = island.window();
    let land = heights.metres.iter().filter(|m| **m > 0.0).count() as f32;
    Listed {
        slug: island.slug,
        name: island.name,
        note: island.note,
        highest: heights.metres.iter().fold(0.0_f32, |high, m| high.max(*m)) as i32,
        area_km2: (land * heights.step * heights.step / 1e6) as i32,
        left,
        top,
        span,
    }
}

/// Names the island's summits, bays and deeps, and takes `soundings` depths around it.
pub(super) fn survey(island: &Island, heights: &Heights, soundings: usize, rng: &mut Rng) -> Survey {
    let mut places: Vec<Place> = Vec::new();
    let place = |name, kind, column: usize, row: usize| Place {
        name,
        kind,
        x: column as f32 / heights.width as f32,
        y: row as f32 / heights.height as f32,
        metres: heights.metres[row * heights.width + column] as i32,
    };
    let far = |places: &[Place], column: usize, row: usize| {
        let (x, y) = (column as f32 / heights.width as f32, row as f32 / heights.height as f32);
        (0.08..0.84).contains(&x)
            && (0.08..0.92).contains(&y)
            && places.iter().all(|p| (p.x - x).abs() > 0.16 || (p.y - y).abs() > 0.09)
    };
    for (kind, wanted, low, high) in
        [("summit", 3, 250.0, 9_000.0), ("bay", 3, -60.0, -4.0), ("deep", 2, -9_000.0, -700.0)]
    {
        // The best of many tries, so that summits are summits.
        for _ in 0..wanted {
            let best = (0..4_000)
                .map(|_| (rng.below(heights.width as u64) as usize, rng.below(heights.height as u64) as usize))
                .map(|(column, row)| (heights.metres[row * heights.width + column], column, row))
                .filter(|&(metres, column, row)| (low..high).contains(&metres) && far(&places, column, row))
                .max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
            if let Some((_, column, row)) = best {
                let name = name(kind, rng);
                places.push(place(name, kind, column, row));
            }
        }
    }
    let soundings = (0..soundings)
        .map(|_| (rng.below(heights.width as u64) as usize, rng.below(heights.height as u64) as usize))
        .map(|(column, row)| [column as i32, row as i32, heights.metres[row * heights.width + column] as i32])
        .filter(|sounding| sounding[2] < 0)
        .collect();
    let (columns, rows) = (heights.width, heights.height);
    Survey { name: island.name, columns, rows, metres_per_column: heights.step, places, soundings }
}

fn name(kind: &str, rng: &mut Rng) -> String {
    const FIRST: [&str; 16] = [
        "Gull", "Harrow", "Ember", "Stone", "Marl", "Widow", "Kettle", "Raven", "Bell", "Thrift", "Otter", "Candle",
        "Brine", "Fiddler", "Ash", "Copper",
    ];
    let last: &[&str] = match kind {
        "summit" => &["\u{2019}s Tooth", " Fell", " Law", " Pike", " Tor", "\u{2019}s Seat"],
        "bay" => &[" Bay", " Haven", "\u{2019}s Wash", " Sound", " Wick", " Landing"],
        _ => &[" Deep", " Hole", " Trench", "\u{2019}s Cellar"],
    };
    let mut pick = |from: &[&'static str]| from[rng.below(from.len() as u64) as usize];
    let first = pick(&FIRST);
    let last = last[rng.below(last.len() as u64) as usize];
    format!("{first}{last}")
}

/// An island's seal as SVG: a compass rose whose rays come from its seed.
pub(super) fn seal(rng: &mut Rng) -> String {
    let rays = 5 + rng.below(8);
    let hue = rng.below(360);
    // Eighths of a turn would need sines: the ray is drawn once and turned by the viewer.
    let turned: String =
        (0..rays).map(|i| format!("<use href='#r' transform='rotate({})'/>", i * 360 / rays)).collect();
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='-12 -12 24 24'><g fill='hsl({hue} 45% 45%)'>\
         <path id='r' d='M0-{}L1.6-3 0 0-1.6-3z'/>{turned}</g></svg>\n",
        7 + rng.below(4)
    )
}

/// The whole sea's extent for the page, in kilometres.
pub(super) const SEA_KM: f32 = SEA_METRES / 1_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_names_places_where_they_are() {
        let (left, top, span) = ISLANDS[0].window();
        let heights = Heights::sample(left, top, span, 128, 96);
        let survey = survey(&ISLANDS[0], &heights, 50, &mut Rng::new(1));
        assert!(survey.places.iter().filter(|p| p.kind == "summit").all(|p| p.metres >= 250));
        assert!(survey.places.iter().any(|p| p.kind == "summit") && survey.places.iter().any(|p| p.kind == "bay"));
        assert!(survey.soundings.iter().all(|s| s[2] < 0) && !survey.soundings.is_empty());
    }
}
