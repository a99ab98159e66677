//! `peerage simulate`: what the swarm saves, and what it costs, before there is one.

mod plot;
mod report;
mod sweep;
mod table;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use peerage::manifest::Entry;
use peerage::sim::{Arm, BUILT_IN, Figures, Scenario, Simulation, Summary};
use serde_json::json;

use super::site::Place;
use super::{Misuse, say};

/// How often a run looks up from its work, in parts of it.
const PARTS: u64 = 1_000;

/// Simulate a site's visitors: what peers save, and what it costs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every scenario is run twice with the same visitors: with browsers' own caches alone, and with Peerage. The same seed gives
the same figures.

Examples:
  peerage simulate --list                      the scenarios that come with the program
  peerage simulate game-2010                   a day of a popular game, one visitor in 50
  peerage simulate flash-crowd --report crowd.html
  peerage simulate game-2010 --set visitors.consent=0.1 --set network.uplink=0.5
  peerage simulate game-2010 --sweep --report game.html
  peerage simulate game-2010 --site ./public   the files of a published site
  peerage simulate game-2010 --print > mine.toml && peerage simulate mine.toml")]
pub(crate) struct Args {
    /// A scenario's name or TOML file
    #[arg(value_name = "NAME|FILE", default_value = "flash-crowd")]
    scenario: String,
    /// List the scenarios that come with the program
    #[arg(long)]
    list: bool,
    /// Print the scenario's TOML, each number with a comment on where it comes from
    #[arg(long)]
    print: bool,
    /// Begins all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many visitors come
    #[arg(long, value_name = "N")]
    peers: Option<u32>,
    /// How many hours pass
    #[arg(long, value_name = "H")]
    hours: Option<f64>,
    /// Set a value of the scenario, by its dotted key
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// A published folder or URL whose files the visitors load, instead of the scenario's
    #[arg(long, value_name = "DIR|URL")]
    site: Option<String>,
    /// Vary the mode, consent, uplinks, visits and visitors one by one, too
    #[arg(long)]
    sweep: bool,
    /// Write a page with plots
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write what each visitor does and when, for real browsers to do the same, and simulate nothing
    #[arg(long, value_name = "FILE.json")]
    plan: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not of the form KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Simulates, and tells what came of it.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.list {
        for (name, text) in BUILT_IN {
            say(format_args!("{name:<16} {}", Scenario::parse(text, &[])?.about))?;
        }
        return Ok(());
    }
    let (name, text) = find(&args.scenario)?;
    if args.print {
        return Ok(say(text.trim_end())?);
    }
    let mut set = args.set.clone();
    set.extend(args.peers.map(|n| ("visitors.count".to_owned(), n.to_string())));
    set.extend(args.hours.map(|h| ("hours".to_owned(), h.to_string())));
    let scenario = Scenario::parse(&text, &set).map_err(|e| Misuse(format!("{name} is not a scenario: {e}")))?;
    let published = args.site.as_deref().map(entries).transpose()?;
    if let Some(file) = &args.plan {
        let plan = peerage::sim::plan(&scenario, published.as_deref(), args.seed);
        let text = serde_json::to_string_pretty(&plan)?;
        return std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()));
    }
    let began = Instant::now();
    let summary = both(&scenario, published.as_deref(), args.seed, !args.json);
    let took = began.elapsed();
    let sweep = args.sweep.then(|| sweep::sweep(&scenario, published.as_deref(), args.seed, !args.json));
    if let Some(file) = &args.report {
        let page = report::page(&name, &scenario, &summary, sweep.as_deref().unwrap_or_default());
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.json {
        // Nothing in it depends on the machine: the same seed gives the same text.
        let mut out = serde_json::to_value(&summary)?;
        out["scenario"] = json!(name);
        if let Some(sweep) = &sweep {
            out["sweep"] = json!(sweep);
        }
        return Ok(say(serde_json::to_string_pretty(&out)?)?);
    }
    say(table::table(&name, &summary, took))?;
    if let Some(sweep) = &sweep {
        say(table::sweep(sweep))?;
    }
    if let Some(file) = &args.report {
        say(format_args!("\nreport: {}", file.display()))?;
    }
    Ok(())
}

/// A scenario's name and text.
fn find(scenario: &str) -> anyhow::Result<(String, String)> {
    if let Some(text) = Scenario::built_in(scenario) {
        return Ok((scenario.to_owned(), text.to_owned()));
    }
    let path = Path::new(scenario);
    let looks_like_file = path.exists() || path.extension().is_some() || path.components().count() > 1;
    ensure!(
        looks_like_file,
        Misuse(format!("there is no scenario {scenario}: `peerage simulate --list` names those there are"))
    );
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {scenario}"))?;
    let name = path.file_stem().map_or(scenario.into(), |s| s.to_string_lossy());
    Ok((name.into_owned(), text))
}

/// What a published site lists.
fn entries(site: &str) -> anyhow::Result<Vec<Entry>> {
    let place = Place::parse(site)?;
    let root = place.root()?.with_context(|| format!("nothing is published in {place}"))?;
    let entries = place.tree(root.root.index)?.entries;
    ensure!(entries.iter().any(|entry| entry.size > 0), "{place} lists no files that visitors could load");
    Ok(entries)
}

/// Both runs, side by side.
fn both(scenario: &Scenario, published: Option<&[Entry]>, seed: u64, progress: bool) -> Summary {
    let bar = if progress { ProgressBar::new(2 * PARTS) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let done = AtomicU64::new(0);
    let (http, with) = std::thread::scope(|scope| {
        let http = scope.spawn(|| {
            one(scenario, published, seed, Arm::Http, |_, _| {
                bar.set_position(done.fetch_add(1, Ordering::Relaxed) + 1);
            })
        });
        let with = one(scenario, published, seed, Arm::Peerage, |part, run| {
            bar.set_position(done.fetch_add(1, Ordering::Relaxed) + 1);
            let (peer, origin) = run.so_far();
            let hour = scenario.hours * part as f64 / PARTS as f64;
            bar.set_message(format!(
                "{hour:.2} h, {} visitors, {} from peers, {} from the origin",
                run.online(),
                HumanBytes(peer),
                HumanBytes(origin)
            ));
        });
        (http.join(), with)
    });
    bar.finish_and_clear();
    match http {
        Ok(http) => Summary::of(scenario, seed, &http, &with),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// One run.
fn one(
    scenario: &Scenario,
    published: Option<&[Entry]>,
    seed: u64,
    arm: Arm,
    mut told: impl FnMut(u64, &Simulation),
) -> Figures {
    let mut run = Simulation::new(scenario, published, seed, arm);
    for part in 1..=PARTS {
        run.advance(part as f64 / PARTS as f64);
        told(part, &run);
    }
    run.finish()
}
