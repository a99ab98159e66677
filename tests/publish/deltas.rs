//! What leads from one version's manifest to the next.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use peerage::digest::Digest;
use peerage::manifest::Delta;
use peerage::verify;

use crate::site::{Server, Site, assert_whole};

/// The parts of the manifest that lie in a folder, by address.
fn parts(dir: &Path) -> BTreeMap<Digest, Vec<u8>> {
    let folders = ["index", "shard"].map(|kind| fs::read_dir(dir.join("peerage").join(kind)).unwrap());
    let files = folders.into_iter().flatten().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.map(|bytes| (Digest::of(&bytes), bytes)).collect()
}

/// The deltas that the root leads to, newest first.
fn deltas(dir: &Path) -> Vec<Delta> {
    let mut found = Vec::new();
    let mut next = assert_whole(dir).0.delta;
    while let Some(name) = next {
        let Ok(bytes) = fs::read(dir.join("peerage/delta").join(name.digest.hex())) else { break };
        assert_eq!(bytes.len(), name.bytes as usize);
        let delta = verify::delta(&bytes, Digest::of(&bytes), name.digest).unwrap().into_inner();
        next = delta.before;
        found.push(delta);
    }
    found
}

/// Makes what a visitor who holds `parts` can make by a delta.
fn follow(parts: &mut BTreeMap<Digest, Vec<u8>>, delta: &Delta) {
    for patch in &delta.patches {
        if let Some(target) = parts.get(&patch.source).and_then(|source| patch.apply(source)) {
            assert_eq!(Digest::of(&target), patch.target);
            parts.insert(patch.target, target);
        }
    }
}

fn wiki() -> Site {
    let site = Site::new(&[]);
    for n in 0..3000 {
        site.put(&format!("wiki/Article {n}.html"), format!("<p>{n}").as_bytes());
    }
    site
}

fn small() -> Site {
    let site = Site::new(&[("a.js", b"one")]);
    for n in 0..30 {
        site.put(&format!("level-{n}.bin"), format!("level {n}").as_bytes());
    }
    site
}

/// The same after a second release.
fn released() -> Site {
    let site = small();
    site.publish(&[]);
    site.put("a.js", b"two");
    site.publish(&[]);
    site
}

#[test]
fn a_manifest_that_is_hardly_longer_than_its_delta_has_none() {
    let site = Site::new(&[("a.js", b"one")]);
    site.publish(&[]);
    site.put("a.js", b"two");
    assert_eq!(site.publish(&[])["delta_bytes"].as_u64(), None);
}

#[test]
fn a_visitor_who_missed_versions_makes_the_new_manifest_of_the_old_one() {
    let site = wiki();
    assert_eq!(site.publish(&[])["delta_bytes"].as_u64(), None);
    let mut held = parts(&site.dir());
    let edits: [&dyn Fn(); 4] = [
        &|| site.put("wiki/Article 1700.html", b"<p>edited"),
        &|| site.put("wiki/Article 4000.html", b"<p>added"),
        &|| fs::remove_file(site.dir().join("wiki/Article 17.html")).unwrap(),
        &|| site.put("wiki/Article 1700.html", b"<p>edited again"),
    ];
    for edit in edits {
        edit();
        let report = site.publish(&[]);
        assert!(report["delta_bytes"].as_u64().is_some_and(|bytes| bytes < 4096), "{report}");
        assert!(report["root_bytes"].as_u64().is_some_and(|bytes| bytes < 1024), "{report}");
    }
    let chain = deltas(&site.dir());
    assert_eq!(chain.len(), 4);
    for delta in chain.iter().rev() {
        follow(&mut held, delta);
    }
    // Everything below the new root is there, and was not fetched.
    let mut wanted = parts(&site.dir());
    wanted.retain(|digest, _| chain[0].patches.iter().any(|patch| patch.target == *digest));
    assert!(wanted.contains_key(&assert_whole(&site.dir()).0.index));
    for (digest, bytes) in wanted {
        assert_eq!(held.get(&digest), Some(&bytes));
    }
}

#[test]
fn deltas_stay_while_what_they_lead_to_does_and_no_longer_than_sixteen_releases() {
    let site = small();
    for n in 0..20 {
        site.put("a.js", format!("version {n}").as_bytes());
        site.publish(&[]);
    }
    assert_eq!((deltas(&site.dir()).len(), fs::read_dir(site.dir().join("peerage/delta")).unwrap().count()), (16, 16));
    let delta = assert_whole(&site.dir()).0.delta;
    assert_eq!(site.publish(&[])["changed"], false);
    // Another policy is another root over the same manifest.
    fs::write(site.around.path().join("peerage.toml"), "[policy]\nmode = \"speed\"\n").unwrap();
    assert_eq!(site.publish(&[])["changed"], true);
    assert_eq!(assert_whole(&site.dir()).0.delta, delta);
    assert_eq!(deltas(&site.dir()).len(), 16);
}

#[test]
fn a_release_that_changes_nearly_everything_has_no_delta() {
    let site = wiki();
    site.publish(&[]);
    for n in 0..3000 {
        site.put(&format!("wiki/Article {n}.html"), format!("<p>{n} anew").as_bytes());
    }
    let report = site.publish(&[]);
    assert_eq!(report["delta_bytes"].as_u64(), None);
    assert_eq!(fs::read_dir(site.dir().join("peerage/delta")).map_or(0, Iterator::count), 0);
    site.put("wiki/Article 1.html", b"<p>edited");
    assert!(site.publish(&[])["delta_bytes"].as_u64().is_some());
    assert_eq!(deltas(&site.dir()).len(), 1);
}

#[test]
fn a_build_machine_leads_on_from_the_live_site() {
    let live = released();
    let server = Server::start(&live.dir());
    let key = live.key();
    let fresh = small();
    fresh.put("a.js", b"three");
    fresh.publish(&["--url", &server.url, "--key", key.to_str().unwrap()]);
    let chain = deltas(&fresh.dir());
    assert_eq!(chain.len(), 2);
    let mut held = parts(&live.dir());
    follow(&mut held, &chain[0]);
    assert!(held.contains_key(&assert_whole(&fresh.dir()).0.index));
}

#[test]
fn a_damaged_delta_is_found_and_the_next_release_does_without_it() {
    let site = released();
    let name = assert_whole(&site.dir()).0.delta.unwrap();
    let file = site.dir().join("peerage/delta").join(name.digest.hex());
    let shown = crate::site::run(&["show", file.to_str().unwrap()]);
    assert!(shown.code == Some(0) && shown.out.starts_with("delta, 2 patches"), "{}{}", shown.out, shown.err);
    fs::write(&file, "PGD1 what is this").unwrap();
    let said = crate::site::run(&["check", site.dir().to_str().unwrap()]);
    assert!(said.code == Some(1) && said.out.contains("peerage/delta/"), "{}{}", said.out, said.err);
    site.put("a.js", b"three");
    site.publish(&[]);
    assert_eq!(deltas(&site.dir()).len(), 1);
    assert!(!file.exists());
    assert_eq!(crate::site::run(&["check", site.dir().to_str().unwrap()]).code, Some(0));
}
