//! One key takes over from another; and a first key is replaced.

use std::fs;
use std::path::{Path, PathBuf};

use peerage::keys;
use peerage::manifest::Root;
use peerage::sign::Key;
use peerage::verify::UnverifiedRoot;
use serde_json::Value;

use crate::site::{Server, Site, assert_whole, constants, run};

/// A file beside the site.
fn beside(site: &Site, name: &str) -> String {
    site.around.path().join(name).to_str().unwrap().to_owned()
}

fn place(site: &Site, path: &str) -> PathBuf {
    site.dir().join(path)
}

/// Publishes with key 1, then lets keys 2 and 3 take over; gives their files.
fn rotated_twice(site: &Site) -> [String; 2] {
    let [two, three] = ["2.pem", "3.pem"].map(|name| beside(site, name));
    site.publish(&[]);
    site.publish(&["--new-key", &two]);
    site.publish(&["--key", &two, "--new-key", &three]);
    [two, three]
}

fn show(what: &Path) -> Value {
    let said = run(&["show", "--json", what.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn a_new_key_takes_over_and_the_site_stays_the_same() {
    let site = Site::new(&[("a.js", b"a")]);
    let first = site.publish(&[]);
    let before = constants(&site.dir());
    let two = beside(&site, "2.pem");
    let second = site.publish(&["--new-key", &two]);
    assert_eq!((&second["site"], &second["key_number"]), (&first["site"], &2.into()));
    assert_eq!((second["key_created"].as_bool(), second["key"].as_str()), (Some(true), Some(&two[..])));
    assert!(second["version"].as_u64() > first["version"].as_u64());
    assert_eq!(constants(&site.dir()), before, "the worker script names the first key for ever");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&two).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let link = show(&place(&site, &keys::path(2)));
    assert_eq!((&link["kind"], &link["signatures"]), (&"link".into(), &"good".into()));
    assert_eq!(show(&site.dir())["signature"], "good");
    assert_eq!(run(&["check", site.dir().to_str().unwrap()]).code, Some(0));
    // The old key is out, whatever changes; the new one goes on.
    let kept = fs::read(place(&site, &keys::path(2))).unwrap();
    site.put("a.js", b"b");
    let published = site.published();
    let said = site.try_publish(&[]);
    assert!(said.code == Some(1) && said.err.contains("key 2 has taken over from it"), "{}", said.err);
    assert_eq!(site.published(), published);
    assert_eq!(site.publish(&["--key", &two])["key_number"], 2);
    // Every later change of keys only adds.
    let three = beside(&site, "3.pem");
    assert_eq!(run(&["keygen", &three]).code, Some(0));
    let report = site.publish(&["--key", &two, "--new-key", &three]);
    assert_eq!((&report["key_number"], &report["key_created"]), (&3.into(), &false.into()));
    assert_eq!(fs::read(place(&site, &keys::path(2))).unwrap(), kept);
    assert_eq!(site.publish(&["--key", &three])["changed"], false);
}

#[test]
fn a_build_machine_without_history_gets_the_links_from_the_live_site() {
    let site = Site::new(&[("a.js", b"a")]);
    let [_, three] = rotated_twice(&site);
    let fresh = Site::new(&[("a.js", b"b")]);
    // By itself this key would begin another site.
    let said = fresh.try_publish(&["--key", &three]);
    assert!(said.code == Some(1) && said.err.contains("key 3 of site") && said.err.contains("--url"), "{}", said.err);
    assert!(!fresh.dir().join("peerage").exists());
    let server = Server::start(&site.dir());
    assert_eq!(fresh.publish(&["--key", &three, "--url", &server.url])["key_number"], 3);
    for number in 1..=3 {
        let [there, here] = [&site, &fresh].map(|site| fs::read(place(site, &keys::path(number))).unwrap());
        assert_eq!(there, here);
    }
    let said = fresh.try_publish(&["--url", &server.url]);
    assert!(said.code == Some(1) && said.err.contains("--key"), "{}", said.err);
    // An older folder than what is live.
    let old = Site::new(&[("a.js", b"a")]);
    fs::copy(site.key(), old.key()).unwrap();
    old.publish(&[]);
    assert_eq!(old.publish(&["--key", &three, "--url", &server.url])["key_number"], 3);
}

#[test]
fn a_chain_that_is_not_whole_is_told_of() {
    let site = Site::new(&[("a.js", b"a")]);
    let [_, three] = rotated_twice(&site);
    let link = place(&site, &keys::path(2));
    let bytes = fs::read(&link).unwrap();
    for (broken, says) in [(None, "missing"), (Some(&b"<!doctype html>"[..]), "not a link")] {
        match broken {
            None => fs::remove_file(&link).unwrap(),
            Some(broken) => fs::write(&link, broken).unwrap(),
        }
        let commands = [run(&["check", site.dir().to_str().unwrap()]), site.try_publish(&["--key", &three])];
        for said in commands {
            assert!(said.code == Some(1) && said.err.contains("2.json") && said.err.contains(says), "{}", said.err);
        }
        assert!(show(&site.dir())["signature"].as_str().unwrap().contains("2.json"));
    }
    fs::write(&link, bytes).unwrap();
    site.publish(&["--key", &three]);
}

#[test]
fn a_new_key_is_refused_where_it_makes_no_sense() {
    let site = Site::new(&[("a.js", b"a")]);
    let two = beside(&site, "2.pem");
    for what in [&["--new-key", &two][..], &["--replace-key"]] {
        let said = site.try_publish(what);
        assert!(said.code == Some(2) && said.err.contains("nothing is published"), "{}", said.err);
    }
    assert_eq!(site.try_publish(&["--replace-key", "--new-key", &two]).code, Some(2));
    site.publish(&[]);
    let before = site.published();
    let inside = place(&site, "key.pem");
    for (file, says) in [(inside.to_str().unwrap(), "published folder"), (site.key().to_str().unwrap(), "already")] {
        let said = site.try_publish(&["--new-key", file]);
        assert!(said.code == Some(1) && said.err.contains(says), "{}", said.err);
    }
    assert!(!inside.exists());
    assert_eq!(site.published(), before);
}

#[test]
fn a_link_that_no_root_came_to_name_goes() {
    let site = Site::new(&[("a.js", b"a")]);
    let first = site.publish(&[]);
    let key = |file: &Path| Key::from_pem(&fs::read_to_string(file).unwrap()).unwrap();
    let other = Key::from_random(&[5; 32]).unwrap();
    let link = key(&site.key()).link(&other, first["site"].as_str().unwrap(), 2, 1).unwrap();
    fs::write(place(&site, &keys::path(2)), &link).unwrap();
    assert_eq!(site.publish(&[])["changed"], false);
    // And does not stand in the way of another.
    fs::write(place(&site, &keys::path(2)), &link).unwrap();
    assert_eq!(site.publish(&["--new-key", &beside(&site, "2.pem")])["key_number"], 2);
}

#[test]
fn what_is_remembered_beside_a_key_goes_to_the_next() {
    let site = Site::new(&[("a.js", b"a")]);
    let [_, three] = rotated_twice(&site);
    site.put("a.js", b"other");
    assert_eq!(site.publish(&["--key", &three])["old_files"], 1);
    assert_eq!(fs::read(site.old(b"a")).unwrap(), b"a");
}

#[test]
fn another_key_ends_a_version_of_the_far_future() {
    let far = |root: &Root| Root { version: u64::MAX - 1, ..root.clone() };
    for how in ["--new-key", "--replace-key"] {
        let site = Site::new(&[("a.js", b"a")]);
        let version = site.publish(&[])["version"].as_u64().unwrap();
        let key = Key::from_pem(&fs::read_to_string(site.key()).unwrap()).unwrap();
        let text = key.sign(&far(&assert_whole(&site.dir()).0)).unwrap();
        fs::write(place(&site, "peerage/root.jws"), text).unwrap();
        let two = beside(&site, "2.pem");
        let args = if how == "--new-key" { vec![how, &two] } else { vec![how, "--key", &two] };
        let report = site.publish(&args);
        assert!(report["version"].as_u64().unwrap() - version < 3600, "{how}: {report}");
    }
}

#[test]
fn a_first_key_is_replaced_on_demand_only_and_by_another() {
    let site = Site::new(&[("a.js", b"a")]);
    let [_, three] = rotated_twice(&site);
    let before = assert_whole(&site.dir()).0;
    let published = site.published();
    for stolen in [&three, &beside(&site, "2.pem"), site.key().to_str().unwrap()] {
        let said = site.try_publish(&["--replace-key", "--key", stolen]);
        assert!(said.code == Some(1) && said.err.contains("--key FILE"), "{}", said.err);
    }
    assert_eq!(site.published(), published);
    let anew = beside(&site, "anew.pem");
    let report = site.publish(&["--replace-key", "--key", &anew]);
    assert_eq!((&report["key_number"], report["replaced_site"].as_str()), (&1.into(), Some(&before.site[..])));
    assert_ne!(report["site"], before.site.as_str());
    assert_eq!(constants(&site.dir())["site"], report["site"]);
    assert!(!place(&site, &keys::path(2)).exists() && !place(&site, &keys::path(3)).exists());
    let said = site.try_publish(&["--key", &three]);
    assert!(said.code == Some(1) && said.err.contains("is the key of site"), "{}", said.err);
    assert_eq!(site.publish(&["--key", &anew])["changed"], false);
}

#[test]
fn a_first_key_that_is_lost_is_replaced_also_by_a_build_machine() {
    let site = Site::new(&[("a.js", b"a")]);
    let first = site.publish(&[]);
    fs::remove_file(site.key()).unwrap();
    let said = site.try_publish(&[]);
    assert!(said.code == Some(1) && said.err.contains("--replace-key"), "{}", said.err);
    // Elsewhere, while the old one is still live, and once more before it is uploaded.
    let server = Server::start(&site.dir());
    let fresh = Site::new(&[("a.js", b"a")]);
    let second = fresh.publish(&["--replace-key", "--url", &server.url]);
    assert_ne!(second["site"], first["site"]);
    let said = fresh.try_publish(&["--url", &server.url]);
    assert!(said.code == Some(1) && said.err.contains("right folder"), "{}", said.err);
    fresh.put("a.js", b"b");
    assert_eq!(fresh.publish(&["--replace-key", "--url", &server.url])["site"], second["site"]);
    // Here.
    let third = site.publish(&["--replace-key"]);
    assert!(third["key_created"] == true && third["site"] != first["site"]);
}

#[test]
fn a_root_is_not_checked_with_another_key_than_it_names() {
    let site = Site::new(&[("a.js", b"a")]);
    let [two, _] = rotated_twice(&site);
    let root = assert_whole(&site.dir()).0;
    // Key 2 was followed by key 3, and says that it is that.
    let key = Key::from_pem(&fs::read_to_string(two).unwrap()).unwrap();
    let text = key.sign(&Root { version: root.version + 1, ..root }).unwrap();
    assert_eq!(UnverifiedRoot::parse(text.as_bytes()).unwrap().claims().key, 3);
    fs::write(place(&site, "peerage/root.jws"), text).unwrap();
    assert!(show(&site.dir())["signature"].as_str().unwrap().starts_with("WRONG"));
    let said = run(&["check", site.dir().to_str().unwrap()]);
    assert!(said.code == Some(1) && said.err.contains("signature"), "{}", said.err);
}
