//! What a tab on an older version may still ask for.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::site::{Server, Site, assert_whole, noise};

#[test]
fn replaced_and_removed_files_are_kept_after_edits_in_place() {
    let big = noise(2 << 20, 4);
    let site = Site::new(&[("a.js", b"one"), ("big.bin", &big), ("gone.js", b"gone"), ("same.js", b"same")]);
    site.publish(&[]);
    let first = site.entries();
    site.put("a.js", b"two");
    site.put("big.bin", b"small now");
    fs::remove_file(site.dir().join("gone.js")).unwrap();
    let report = site.publish(&[]);
    for (path, old) in [("a.js", &b"one"[..]), ("big.bin", &big), ("gone.js", b"gone")] {
        let kept = site.dir().join("peerage/old").join(first[path].integrity.hex());
        assert!(fs::read(kept).is_ok_and(|found| found == old), "{path}");
    }
    assert!(!site.old(b"same").exists());
    assert_eq!(report["old_files"].as_u64(), Some(3));
    assert_eq!(report["warnings"].as_array().map(Vec::len), Some(0), "{report}");
}

#[test]
fn three_versions_are_kept_with_their_manifests_and_no_more() {
    let site = Site::new(&[("a.js", b"version 0")]);
    let mut shards = vec![];
    for n in 0..6 {
        site.put("a.js", format!("version {n}").as_bytes());
        site.publish(&[]);
        let entry = fs::read_dir(site.dir().join("peerage/shard")).unwrap().count();
        shards.push(entry);
    }
    let kept: Vec<_> = (0..6).map(|n| site.old(format!("version {n}").as_bytes()).exists()).collect();
    assert_eq!(kept, [false, false, true, true, true, false]);
    assert_eq!(shards, [1, 2, 3, 4, 4, 4]);
    // The same content again: not old any more, but the three before it are.
    site.put("a.js", b"version 4");
    site.publish(&[]);
    let kept: Vec<_> = (0..6).map(|n| site.old(format!("version {n}").as_bytes()).exists()).collect();
    assert_eq!(kept, [false, false, false, true, false, true]);
}

#[test]
fn what_is_kept_is_bounded() {
    let site = Site::new(&[("small.js", b"small"), ("large.bin", &noise(100_000, 5))]);
    fs::write(site.around.path().join("peerage.toml"), "[old]\nmax_bytes = 1000\n").unwrap();
    site.publish(&[]);
    site.put("small.js", b"SMALL");
    site.put("large.bin", &noise(100_000, 6));
    assert_eq!(site.publish(&[])["old_bytes"].as_u64(), Some(5));
    assert!(site.old(b"small").exists() && !site.old(&noise(100_000, 5)).exists());
    fs::write(site.around.path().join("peerage.toml"), "[old]\nversions = 0\n").unwrap();
    assert_eq!(site.publish(&[])["old_files"].as_u64(), Some(0));
    assert!(!site.old(b"small").exists());
}

#[test]
fn bytes_that_are_gone_are_said_and_never_passed_off() {
    let site = Site::new(&[("a.js", b"one")]);
    site.publish(&[]);
    let remembered = site.key().with_extension("kept");
    for entry in fs::read_dir(&remembered).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() {
            fs::write(file, "tampered").unwrap();
        }
    }
    site.put("a.js", b"two");
    let report = site.publish(&[]);
    assert!(!site.old(b"one").exists());
    assert!(report["warnings"][0].as_str().unwrap().contains("a.js"), "{report}");
}

#[test]
fn a_build_machine_keeps_what_the_live_site_kept() {
    let live = Site::new(&[("a.js", b"one"), ("b.js", b"x")]);
    live.publish(&[]);
    live.put("a.js", b"two");
    live.publish(&[]);
    let server = Server::start(&live.dir());
    let key = live.key();
    let fresh = Site::new(&[("a.js", b"three"), ("b.js", b"x")]);
    let report = fresh.publish(&["--url", &server.url, "--key", key.to_str().unwrap()]);
    assert_eq!(report["old_files"].as_u64(), Some(2), "{report}");
    assert_eq!(fs::read(fresh.old(b"one")).unwrap(), b"one");
    assert_eq!(fs::read(fresh.old(b"two")).unwrap(), b"two");
    // Three versions' shards: a tab may not have loaded all of its own.
    assert_eq!(fs::read_dir(fresh.dir().join("peerage/shard")).unwrap().count(), 3);
}

#[test]
fn of_a_large_manifest_every_kept_version_stays_whole() {
    let text = |article: usize, edition: usize| format!("article {article}, edition {edition}");
    let site = Site::new(&[]);
    let put = |article, edition| site.put(&format!("wiki/{article:04}.txt"), text(article, edition).as_bytes());
    let parts = || -> BTreeSet<PathBuf> {
        let folders = ["index", "shard"].map(|kind| fs::read_dir(site.dir().join("peerage").join(kind)).unwrap());
        folders.into_iter().flatten().map(|part| part.unwrap().path()).collect()
    };
    (0..2000).for_each(|article| put(article, 0));
    site.publish(&[]);
    let mut before = parts();
    let first = before.len();
    assert!(first > 10, "{first} parts");
    for n in 1..6 {
        // Two in one shard, and one elsewhere.
        [7, 8, 400 + 300 * n].into_iter().for_each(|article| put(article, n));
        let report = site.publish(&[]);
        assert_eq!(report["warnings"].as_array().map(Vec::len), Some(0), "{report}");
        assert_whole(&site.dir());
        let now = parts();
        assert_eq!(now.difference(&before).count(), 3, "a page and two shards are new");
        assert_eq!(now.len(), first + 3 * n.min(3), "those of three older versions are kept");
        before = now;
    }
    let kept = |article, editions: std::ops::Range<usize>| -> Vec<bool> {
        editions.map(|n| site.old(text(article, n).as_bytes()).exists()).collect()
    };
    assert_eq!(kept(7, 0..6), [false, false, true, true, true, false]);
    assert_eq!([1000, 1300, 1900].map(|article| kept(article, 0..1)[0]), [false, true, true]);
}
