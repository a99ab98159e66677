//! A process that is killed at any moment leaves one whole version, and the next run cleans up.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use peerage::digest::Digest;
use peerage::manifest::Entry;

use crate::site::{PEERAGE, Site, assert_whole};

/// How many versions before the newest are kept, where the owner says nothing else.
const KEPT: usize = 3;

/// How often it is killed: `PEERAGE_KILLS=100` for a longer run.
fn kills() -> u32 {
    std::env::var("PEERAGE_KILLS").map_or(24, |kills| kills.parse().unwrap())
}

/// A number below `below`, the same for the same `seed`.
fn chance(seed: u32, below: u64) -> u64 {
    u64::from_le_bytes(Digest::of(&seed.to_le_bytes()).0[..8].try_into().unwrap()) % below.max(1)
}

#[test]
fn one_whole_version_is_there_whenever_it_is_killed() {
    let site = Site::new(&[("index.html", b"<p>")]);
    let write = |round: u32| {
        for n in 0..300 {
            site.put(&format!("part {}/{n}.js", n % 9), format!("{round} {n}").as_bytes());
        }
    };
    write(0);
    site.publish(&[]);
    let mut seen = vec![assert_whole(&site.dir())];
    write(1);
    let start = Instant::now();
    site.publish(&[]);
    let whole = u64::try_from(start.elapsed().as_micros()).unwrap();
    seen.push(assert_whole(&site.dir()));
    let (mut died, mut switched) = (0, 0);
    for round in 0..kills() {
        // An owner's build overwrites every file before it is published.
        write(round + 2);
        let before = seen.last().map(|(root, _)| root.version).unwrap();
        let mut child = Command::new(PEERAGE)
            .arg("publish")
            .arg(site.dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Anywhere in the whole run, or where it writes.
        if round % 2 == 1 {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !is_writing(&site.dir()) && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
                std::hint::spin_loop();
            }
        }
        std::thread::sleep(Duration::from_micros(chance(
            round,
            if round % 2 == 1 { whole / 2 } else { whole * 11 / 10 },
        )));
        let _ = child.kill();
        let finished = child.wait().unwrap().success();
        died += u32::from(!finished);
        let (root, entries) = assert_whole(&site.dir());
        assert!(root.version >= before, "version {} after {before}", root.version);
        if root.version > before {
            switched += u32::from(!finished);
            seen.push((root, entries));
        }
        // The build is ahead of an older root, whose files the next run must find.
        let is_new = seen.last().is_some_and(|(root, _)| root.version > before);
        let (newest, older) = seen.split_last().unwrap();
        let pool = site.key().with_extension("kept");
        let lost = missing(&site.dir(), &newest.1, |digest| !is_new && pool.join(digest.hex()).is_file());
        assert_eq!(lost, Vec::<String>::new(), "round {round}: of the version that is served");
        for (root, entries) in older.iter().rev().take(KEPT) {
            let lost = missing(&site.dir(), entries, |_| false);
            assert_eq!(
                lost,
                Vec::<String>::new(),
                "round {round}: of version {} before {}",
                root.version,
                newest.0.version
            );
        }
    }
    println!("killed {died} times of {}, {switched} times after the root was in place", kills());
    assert!(died > kills() / 4, "killed only {died} times of {}, of {whole} µs each", kills());
    let report = site.publish(&[]);
    assert_eq!(report["files"].as_u64(), Some(301));
    assert_eq!(report["warnings"].as_array().map(Vec::len), Some(0), "{report}");
    let (root, entries) = assert_whole(&site.dir());
    assert_eq!(missing(&site.dir(), &entries, |_| false), Vec::<String>::new());
    seen.retain(|(older, _)| older.version < root.version);
    for (root, entries) in seen.iter().rev().take(KEPT) {
        assert_eq!(missing(&site.dir(), entries, |_| false), Vec::<String>::new(), "of version {}", root.version);
    }
    let left: Vec<_> = site.published().into_keys().filter(|f| f.to_string_lossy().contains(".peerage-tmp-")).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

/// Whether a run has begun to write.
fn is_writing(dir: &Path) -> bool {
    ["peerage/old", "peerage/shard", "peerage"]
        .iter()
        .flat_map(|folder| fs::read_dir(dir.join(folder)).into_iter().flatten().flatten())
        .any(|entry| entry.file_name().to_string_lossy().starts_with(".peerage-tmp-"))
}

/// Files whose bytes a server of the folder has neither at their path, nor among the old ones, nor `elsewhere`.
fn missing(dir: &Path, entries: &[Entry], elsewhere: impl Fn(&Digest) -> bool) -> Vec<String> {
    let is = |file: &Path, entry: &Entry| {
        let bytes = fs::read(file).unwrap_or_default();
        let mut rest = &bytes[..];
        entry.pieces.iter().all(|piece| {
            let Some((part, after)) = rest.split_at_checked(piece.len as usize) else { return false };
            rest = after;
            Digest::of(part) == piece.digest
        }) && rest.is_empty()
    };
    entries
        .iter()
        .filter(|entry| !is(&dir.join(&entry.path), entry))
        .filter(|entry| !is(&dir.join("peerage/old").join(entry.integrity.hex()), entry))
        .filter(|entry| !elsewhere(&entry.integrity))
        .map(|entry| entry.path.clone())
        .collect()
}

#[test]
fn two_at_once_do_not_mix() {
    let site = Site::new(&[("index.html", b"<p>")]);
    for n in 0..300 {
        site.put(&format!("{n}.js"), &[1; 5000]);
    }
    site.publish(&[]);
    site.put("0.js", b"new");
    let start =
        || Command::new(PEERAGE).arg("publish").arg(site.dir()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let runs: Vec<_> = (0..4).map(|_| start().unwrap()).collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut published = 0;
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { published += 1 } else { assert!(err.contains("another process"), "{err}") }
    }
    assert!(published >= 1 && Instant::now() < deadline);
    assert_whole(&site.dir());
}
