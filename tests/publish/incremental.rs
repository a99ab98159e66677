//! Files that look as they did are not read again, and whatever could have changed is.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use peerage::digest::Digest;

use crate::site::{Site, assert_whole};

/// Sets a file's modification time to an hour ago, as if nobody had written to it since.
fn settle(site: &Site, path: &str) {
    let hour = Duration::from_secs(3600);
    let file = File::options().append(true).open(site.dir().join(path)).unwrap();
    file.set_modified(SystemTime::now().checked_sub(hour).unwrap()).unwrap();
}

fn settled(files: &[(&str, &[u8])]) -> Site {
    let site = Site::new(files);
    for (path, _) in files {
        settle(&site, path);
    }
    site
}

fn read(site: &Site, args: &[&str]) -> u64 {
    let read = site.publish(args)["read"].as_u64().unwrap();
    assert_whole(&site.dir());
    read
}

const FILES: &[(&str, &[u8])] =
    &[("index.html", "<p>größer".as_bytes()), ("a.js", b"1"), ("b dir/c.css", b"p{}"), ("empty", b"")];

#[test]
fn only_what_was_written_to_is_read_again() {
    let site = settled(FILES);
    assert_eq!(read(&site, &[]), 4);
    let before = site.publish(&[]);
    assert_eq!((before["read"].as_u64(), before["changed"].as_bool()), (Some(0), Some(false)));
    assert_eq!(read(&site, &["--rehash"]), 4);

    site.put("a.js", b"2 and more");
    settle(&site, "a.js");
    let after = site.publish(&[]);
    assert_eq!((after["read"].as_u64(), after["changed"].as_bool()), (Some(1), Some(true)));
    let (_, entries) = assert_whole(&site.dir());
    assert_eq!(entries.iter().find(|entry| entry.path == "a.js").unwrap().size, 10);
    let html = entries.iter().find(|entry| entry.path == "index.html").unwrap();
    assert!(
        html.media_type.contains("utf-8"),
        "what was found out about its encoding is remembered: {}",
        html.media_type
    );
    assert_eq!(read(&site, &[]), 0);

    fs::rename(site.dir().join("a.js"), site.dir().join("moved.js")).unwrap();
    fs::remove_file(site.dir().join("empty")).unwrap();
    assert_eq!(read(&site, &[]), 1, "under another name it is another file");
}

#[test]
fn a_file_that_was_just_written_is_read_again() {
    let site = settled(FILES);
    site.put("a.js", b"9");
    assert_eq!(read(&site, &[]), 4);
    assert_eq!(read(&site, &[]), 1, "it may have been written to again in the same instant");
}

#[cfg(unix)]
#[test]
fn bytes_that_change_behind_an_unchanged_time_and_length_are_noticed() {
    let site = settled(FILES);
    read(&site, &[]);
    let path = site.dir().join("a.js");
    let then = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, b"3").unwrap();
    File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
    let report = site.publish(&[]);
    assert_eq!((report["read"].as_u64(), report["changed"].as_bool()), (Some(1), Some(true)));
}

#[cfg(unix)]
#[test]
fn a_link_by_which_a_file_is_remembered_costs_no_reading() {
    use std::os::unix::fs::MetadataExt as _;

    let site = settled(FILES);
    read(&site, &[]);
    let copy = site.key().with_extension("kept").join(Digest::of(b"1").hex());
    fs::remove_file(&copy).unwrap();
    fs::write(site.around.path().join("peerage.toml"), "[old]\nmax_bytes = 0\n").unwrap();
    site.put("b dir/c.css", b"p { }");
    settle(&site, "b dir/c.css");
    assert_eq!(read(&site, &[]), 1);
    assert_eq!(fs::metadata(&copy).unwrap().nlink(), 2);
    assert_eq!(read(&site, &[]), 0);
}

#[test]
fn a_list_that_is_damaged_or_lies_costs_reading_and_no_more() {
    let site = settled(FILES);
    read(&site, &[]);
    let list = site.around.path().join("site.peerage-key.kept/stamps");
    let text = fs::read_to_string(&list).unwrap();
    assert_eq!(text.lines().count(), 5);
    fs::write(&list, text.replace("\"a.js\"", "\"a.j")).unwrap();
    assert_eq!(read(&site, &[]), 1);
    // One that gives a file another one's bytes.
    let integrity = |path: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("[\"{path}\""))).unwrap();
        line.rsplit(',').next().unwrap().to_owned()
    };
    fs::write(&list, text.replace(&integrity("a.js"), &integrity("empty"))).unwrap();
    assert_eq!(read(&site, &[]), 1);
    for damage in ["", "peerage stamps 2\n", "\u{0}\u{0}"] {
        fs::write(&list, damage).unwrap();
        assert_eq!(read(&site, &[]), 4);
    }
    // Another manifest than the one that the list was made for: nothing is taken from it.
    fs::remove_dir_all(site.dir().join("peerage")).unwrap();
    assert_eq!(read(&site, &[]), 4);
}
