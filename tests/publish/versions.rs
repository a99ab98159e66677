//! From one version to the next.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::site::{Server, Site, assert_whole, noise, run};

#[test]
fn nothing_changed_means_nothing_written() {
    let site = Site::new(&[("index.html", b"<p>"), ("a.js", b"a")]);
    let first = site.publish(&[]);
    assert_eq!((first["changed"].as_bool(), first["key_created"].as_bool()), (Some(true), Some(true)));
    let before = site.published();
    let times = |site: &Site| -> Vec<_> {
        site.published().into_keys().map(|file| file.metadata().unwrap().modified().unwrap()).collect()
    };
    let written = times(&site);
    let second = site.publish(&[]);
    assert_eq!((&second["changed"], &second["version"]), (&false.into(), &first["version"]));
    assert_eq!(site.published(), before);
    assert_eq!(times(&site), written);
    let said = site.try_publish(&[]);
    assert!(said.code == Some(0) && said.out.contains("nothing changed"), "{}", said.out);
}

#[test]
fn a_change_makes_a_greater_version_and_tells_how_much_is_new() {
    let mut big = noise(4 << 20, 3);
    let site = Site::new(&[("big.bin", &big), ("a.js", b"a")]);
    let first = site.publish(&[]);
    big[100] ^= 1;
    site.put("big.bin", &big);
    let second = site.publish(&[]);
    assert!(second["version"].as_u64() > first["version"].as_u64());
    assert_eq!(second["new_pieces"].as_u64(), Some(1));
    assert!(second["new_bytes"].as_u64().unwrap() < 1 << 20);
    // Bytes put in at the front move one cut, not all.
    big.splice(0..0, *b"in front");
    site.put("big.bin", &big);
    assert!(site.publish(&[])["new_pieces"].as_u64().unwrap() <= 2);
}

#[test]
fn versions_are_unix_times_and_never_stand_still() {
    let site = Site::new(&[("a.js", b"0")]);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let start = now();
    let mut last = 0;
    // Faster than one a second.
    for n in 0..5_u8 {
        site.put("a.js", &[b'0' + n]);
        let version = site.publish(&[])["version"].as_u64().unwrap();
        assert!(version > last && (start..=now() + 5).contains(&version), "{version}");
        last = version;
    }
}

#[test]
fn a_policy_alone_is_a_new_version() {
    let site = Site::new(&[("a.js", b"a")]);
    let first = site.publish(&[]);
    std::fs::write(site.around.path().join("peerage.toml"), "[policy]\nmode = 'speed'\n").unwrap();
    let second = site.publish(&[]);
    assert!(second["version"].as_u64() > first["version"].as_u64());
}

#[test]
fn retiring_signs_a_root_that_says_so() {
    let site = Site::new(&[("a.js", b"a")]);
    let said = site.try_publish(&["--retire"]);
    assert!(said.code == Some(1) && said.err.contains("nothing to retire"), "{}", said.err);
    let first = site.publish(&[]);
    let report = site.publish(&["--retire"]);
    let (root, _) = assert_whole(&site.dir());
    assert!(root.retired && root.version > first["version"].as_u64().unwrap());
    assert_eq!(report["retired"], true);
    assert_eq!(site.publish(&["--retire"])["changed"], false);
    site.publish(&[]);
    assert!(!assert_whole(&site.dir()).0.retired);
}

#[test]
fn a_build_machine_without_history_goes_on_from_the_live_site() {
    let live = Site::new(&[("a.js", b"old"), ("b.js", b"same")]);
    let first = live.publish(&[]);
    let server = Server::start(&live.dir());
    let key = live.key();
    let args = ["--url", &server.url, "--key", key.to_str().unwrap()];

    let same = Site::new(&[("a.js", b"old"), ("b.js", b"same")]);
    let report = same.publish(&args);
    assert_eq!((&report["changed"], &report["version"]), (&false.into(), &first["version"]));
    assert_eq!(same.published(), {
        let moved = |file: std::path::PathBuf| same.dir().join(file.strip_prefix(live.dir()).unwrap());
        live.published().into_iter().map(|(file, bytes)| (moved(file), bytes)).collect()
    });

    let fresh = Site::new(&[("a.js", b"new"), ("b.js", b"same")]);
    let report = fresh.publish(&args);
    assert!(report["version"].as_u64() > first["version"].as_u64());
    assert_eq!(report["previous_version"], first["version"]);
    assert_eq!(std::fs::read(fresh.old(b"old")).unwrap(), b"old");
}

#[test]
fn a_live_site_that_cannot_be_read_stops_it() {
    let site = Site::new(&[("a.js", b"a")]);
    let said = site.try_publish(&["--url", "http://127.0.0.1:9/"]);
    assert!(said.code == Some(1) && said.err.contains("127.0.0.1:9"), "{}", said.err);
    assert!(!site.dir().join("peerage").exists() && !site.key().exists());
    // Nothing is published there yet: a first version.
    let empty = Site::new(&[("x.html", b"<p>")]);
    let server = Server::start(&empty.dir());
    assert_eq!(site.publish(&["--url", &server.url])["previous_version"], serde_json::Value::Null);
}

#[test]
fn another_site_at_that_url_is_refused() {
    let (one, other) = (Site::new(&[("a.js", b"a")]), Site::new(&[("a.js", b"a")]));
    one.publish(&[]);
    other.publish(&[]);
    let before = one.published();
    let server = Server::start(&other.dir());
    let said = one.try_publish(&["--url", &server.url]);
    assert!(said.code == Some(1) && said.err.contains("is this the right folder"), "{}", said.err);
    assert_eq!(one.published(), before);
}

#[test]
fn show_prints_every_part() {
    let site = Site::new(&[("a.js", b"a"), ("index.html", b"<p>")]);
    let version = site.publish(&[])["version"].to_string();
    let root = run(&["show", site.dir().to_str().unwrap()]);
    assert!(root.out.contains("signature good") && root.out.contains(&version), "{}", root.out);
    for (file, _) in site.published() {
        let name = file.to_str().unwrap();
        let part = ["/shard/", "/index/", "/keys/", "root.jws"].iter().find(|part| name.contains(**part));
        let Some(part) = part else { continue };
        let said = run(&["show", name, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let kind = json["kind"].as_str().unwrap();
        assert_eq!(
            kind,
            match *part {
                "/shard/" => "shard",
                "/index/" => "index",
                "/keys/" => "public key",
                _ => "root",
            }
        );
    }
    let said = run(&["show", site.dir().join("a.js").to_str().unwrap()]);
    assert!(said.code == Some(1) && said.err.contains("neither a root"), "{}", said.err);
}
