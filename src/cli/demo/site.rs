//! Makes the demo's folder: the pages as they are in `demo/`, and 30 MB of maps, heights, recordings and surveys that are
//! computed here, the same on each machine, instead of being carried around.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail, ensure};
use indicatif::ProgressBar;
use peerage::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::atlas::{self, Climate, ISLANDS, Island, Listed};
use super::sound;
use super::terrain::Heights;

const PAGES: [(&str, &[u8]); 4] = [
    ("index.html", include_bytes!("../../../demo/index.html")),
    ("style.css", include_bytes!("../../../demo/style.css")),
    ("app.js", include_bytes!("../../../demo/app.js")),
    ("favicon.svg", include_bytes!("../../../demo/favicon.svg")),
];

/// The offline shell is fetched when the worker installs; the rest comes when it is looked at.
const CONFIG: &str =
    "# On one machine the origin is faster than any peer: the default mode would leave peers little to do.
[policy]
mode = \"offload\"

[precache]
include = [\"index.html\", \"style.css\", \"app.js\", \"data/atlas.json\"]
";

/// The file that is written last: a folder that has it is whole.
const LIST: &str = "data/atlas.json";

/// Raised when what is computed changes, so that an older folder is computed anew.
const EDITION: u32 = 1;

/// How large everything is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Columns of a plate; rows are three quarters of it.
    pub(super) plate: usize,
    /// Columns and rows of the whole sea.
    pub(super) sea: usize,
    /// Seconds of the shortest recording.
    pub(super) seconds: u32,
}

/// The demo as it is served.
pub(super) const FULL: Scale = Scale { plate: 1024, sea: 2048, seconds: 6 };

#[derive(Serialize)]
struct List {
    edition: u32,
    sea_km: f32,
    sea_columns: usize,
    islands: Vec<Listed>,
    /// Every file that the page may load, with its size in bytes.
    files: Vec<(String, u64)>,
}

/// How many steps `progress` counts.
pub(super) const STEPS: u64 = ISLANDS.len() as u64 + 1;

/// Makes the site in `dir`, or completes it. Ends early with an error once `stop` is set.
pub(super) fn make(dir: &Path, scale: Scale, progress: &ProgressBar, stop: &AtomicBool) -> anyhow::Result<()> {
    ensure!(
        is_ours(dir)?,
        "{} holds other files already: name an empty folder, or one that `peerage demo` made",
        dir.display()
    );
    let out = Folder { dir };
    for (path, bytes) in PAGES {
        out.write(path, bytes)?;
    }
    out.write("peerage.toml", CONFIG.as_bytes())?;
    if edition(&dir.join(LIST)) == Some(EDITION) {
        return Ok(());
    }
    let sea = || -> anyhow::Result<Made> {
        let made = make_sea(&out, scale)?;
        progress.inc(1);
        Ok(made)
    };
    let islands = || -> anyhow::Result<Vec<Made>> {
        let each = ISLANDS.par_iter().enumerate().map(|(number, island)| {
            if stop.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            let made = make_island(&out, scale, number, island)?;
            progress.inc(1);
            Ok(made)
        });
        each.collect()
    };
    let (sea, islands) = rayon::join(sea, islands);
    let mut list = List {
        edition: EDITION,
        sea_km: atlas::SEA_KM,
        sea_columns: scale.sea,
        islands: Vec::new(),
        files: Vec::new(),
    };
    for made in std::iter::once(sea?).chain(islands?) {
        list.islands.extend(made.listed);
        list.files.extend(made.files);
    }
    out.write(LIST, &serde_json::to_vec(&list)?)?;
    Ok(())
}

/// What one step made.
#[derive(Default)]
struct Made {
    listed: Option<Listed>,
    files: Vec<(String, u64)>,
}

impl Made {
    fn add(&mut self, out: &Folder<'_>, path: String, bytes: &[u8]) -> anyhow::Result<()> {
        out.write(&path, bytes)?;
        self.files.push((path, bytes.len() as u64));
        Ok(())
    }
}

fn make_sea(out: &Folder<'_>, scale: Scale) -> anyhow::Result<Made> {
    let mut made = Made::default();
    let heights = Heights::sample(0.0, 0.0, 1.0, scale.sea, scale.sea);
    made.add(out, "sea/depths.bin".into(), &heights.to_bytes())?;
    let chart = heights.thinned(2);
    made.add(out, "sea/chart.png".into(), &png(&chart, Climate::Mild, true)?)?;
    Ok(made)
}

fn make_island(out: &Folder<'_>, scale: Scale, number: usize, island: &Island) -> anyhow::Result<Made> {
    let slug = island.slug;
    let mut rng = Rng::new(number as u64 + 1);
    let mut made = Made::default();
    let (left, top, span) = island.window();
    let heights = Heights::sample(left, top, span, scale.plate, scale.plate * 3 / 4);
    made.listed = Some(atlas::listed(island, &heights));
    made.add(out, format!("plates/{slug}.png"), &png(&heights, island.climate, true)?)?;
    made.add(out, format!("thumbs/{slug}.png"), &png(&heights.thinned(3), island.climate, false)?)?;
    made.add(out, format!("heights/{slug}.bin"), &heights.thinned(2).to_bytes())?;
    // A few hundred soundings around some islands, many thousands around others.
    let soundings = 40 << (number % 7);
    let survey = atlas::survey(island, &heights, soundings, &mut rng);
    made.add(out, format!("data/{slug}.json"), &serde_json::to_vec(&survey)?)?;
    made.add(out, format!("seals/{slug}.svg"), atlas::seal(&mut rng).as_bytes())?;
    let seconds = scale.seconds + 2 * (number as u32 * 5 % 12);
    made.add(out, format!("sounds/{slug}.wav"), &sound::recording(seconds, &mut rng))?;
    Ok(made)
}

fn png(heights: &Heights, climate: Climate, ink: bool) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, heights.width as u32, heights.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&heights.relief(climate, ink))?;
    writer.finish()?;
    Ok(file)
}

struct Folder<'a> {
    dir: &'a Path,
}

impl Folder<'_> {
    fn write(&self, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.dir.join(path);
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Whether the folder is missing, empty, or made by this command: nothing else is written into.
fn is_ours(dir: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            let marked = fs::read(dir.join(PAGES[2].0)).is_ok_and(|bytes| bytes.starts_with(b"// The atlas"));
            Ok(marked || entries.next().is_none())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e).with_context(|| format!("cannot read the folder {}", dir.display())),
    }
}

fn edition(list: &Path) -> Option<u32> {
    #[derive(Deserialize)]
    struct Head {
        edition: u32,
    }
    Some(serde_json::from_slice::<Head>(&fs::read(list).ok()?).ok()?.edition)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Scale = Scale { plate: 48, sea: 32, seconds: 2 };

    fn make_small(dir: &Path) -> anyhow::Result<()> {
        make(dir, SMALL, &ProgressBar::hidden(), &AtomicBool::new(false))
    }

    #[test]
    fn two_runs_make_the_same_bytes_and_the_list_names_them_all() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make_small(one.path()).unwrap();
        make_small(two.path()).unwrap();
        let list: serde_json::Value = serde_json::from_slice(&fs::read(one.path().join(LIST)).unwrap()).unwrap();
        let files = list["files"].as_array().unwrap();
        assert_eq!(files.len(), 2 + 6 * ISLANDS.len());
        for file in files {
            let path = file[0].as_str().unwrap();
            let bytes = fs::read(one.path().join(path)).unwrap();
            assert_eq!(file[1].as_u64(), Some(bytes.len() as u64), "{path}");
            assert!(bytes == fs::read(two.path().join(path)).unwrap(), "{path} differs");
        }
    }

    #[test]
    fn a_whole_folder_is_not_computed_again() {
        let dir = tempfile::tempdir().unwrap();
        make_small(dir.path()).unwrap();
        let plate = dir.path().join("plates/oss.png");
        fs::write(&plate, b"touched").unwrap();
        make_small(dir.path()).unwrap();
        assert_eq!(fs::read(&plate).unwrap(), b"touched");
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), b"years of work").unwrap();
        assert!(make_small(dir.path()).unwrap_err().to_string().contains("holds other files"));
        assert!(!dir.path().join("index.html").exists());
    }
}
