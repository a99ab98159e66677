//! Input that cannot be published: its own message, exit code 1 or 2, and what was there before stays.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::site::{PEERAGE, Site, assert_whole, noise, run};

/// Publishing must fail with this code and say this, and leave everything as it was.
fn refused(site: &Site, args: &[&str], code: i32, says: &[&str]) {
    let before = site.published();
    let said = site.try_publish(args);
    assert_eq!(said.code, Some(code), "{}{}", said.out, said.err);
    for part in says {
        assert!(said.err.contains(part), "no {part:?} in: {}", said.err);
    }
    assert_eq!(site.published(), before);
}

#[test]
fn what_is_not_a_folder_is_used_wrongly() {
    let site = Site::new(&[("a.js", b"a")]);
    for place in [site.dir().join("nowhere"), site.dir().join("a.js")] {
        let said = run(&["publish", place.to_str().unwrap()]);
        assert!(said.code == Some(2) && said.err.contains("not a folder"), "{}", said.err);
    }
    refused(&site, &["--url", "ftp://x.example/"], 2, &["ftp://x.example/"]);
    refused(&site, &["--url", "http://x.example/"], 2, &["use https"]);
}

#[test]
fn a_bad_configuration_is_shown_with_its_line() {
    let site = Site::new(&[("a.js", b"a")]);
    site.publish(&[]);
    let toml = site.around.path().join("peerage.toml");
    fs::write(&toml, "[share]\nincldue = ['x']\n").unwrap();
    refused(&site, &[], 1, &["peerage.toml", "line 2", "incldue", "`include`"]);
    fs::write(&toml, "[share]\ninclude = ['x{']\n").unwrap();
    refused(&site, &[], 1, &["peerage.toml", "[share] include", "x{"]);
    fs::write(&toml, "").unwrap();
    site.put("peerage.toml", b"");
    refused(&site, &[], 1, &["two configurations", "--config"]);
    refused(&site, &["--config", "/nowhere/peerage.toml"], 1, &["/nowhere/peerage.toml"]);
    site.put("_headers", b"  X-Before: any path\n");
    refused(&site, &["--config", toml.to_str().unwrap()], 1, &["_headers", "line 1"]);
}

#[test]
fn a_policy_too_long_for_a_root_is_refused() {
    let site = Site::new(&[("a.js", b"a")]);
    site.publish(&[]);
    let urls: Vec<_> = (0..200).map(|n| format!("'wss://tracker-{n}.example/announce'")).collect();
    fs::write(site.around.path().join("peerage.toml"), format!("[trackers]\nurls = [{}]\n", urls.join(","))).unwrap();
    refused(&site, &[], 1, &["name fewer trackers"]);
}

#[cfg(unix)]
#[test]
fn names_that_no_url_can_mean_are_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let site = Site::new(&[("a.js", b"a")]);
    site.publish(&[]);
    for name in [&b"lat\xe9in.txt"[..], b"new\nline", b"back\\slash"] {
        let file = site.dir().join(OsStr::from_bytes(name));
        fs::write(&file, "x").unwrap();
        refused(&site, &[], 1, &["rename the file", std::str::from_utf8(&name[..3]).unwrap()]);
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    let site = Site::new(&[("a.js", b"a")]);
    site.publish(&[]);
    site.put("growing.log", &noise(40 << 20, 7));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = fs::OpenOptions::new().append(true).open(site.dir().join("growing.log")).unwrap();
            while !stop.load(Ordering::Relaxed) {
                log.write_all(b"one more line\n").unwrap();
                std::thread::yield_now();
            }
        });
        refused(&site, &[], 1, &["growing.log", "changed while it was being read"]);
        stop.store(true, Ordering::Relaxed);
    });
    site.publish(&[]);
}

#[test]
fn a_root_that_cannot_be_read_is_not_written_over() {
    let site = Site::new(&[("a.js", b"a")]);
    site.publish(&[]);
    let root = site.dir().join("peerage/root.jws");
    let good = fs::read_to_string(&root).unwrap();
    let other = if good.as_bytes()[good.len() - 10] == b'A' { 'B' } else { 'A' };
    site.put("a.js", b"b");
    for (bad, says) in [
        ("hello".to_owned(), "three parts"),
        (good.replacen("eyJ", "eyK", 1), "header"),
        (format!("{}{other}{}", &good[..good.len() - 10], &good[good.len() - 9..]), "signature"),
    ] {
        fs::write(&root, bad).unwrap();
        refused(&site, &[], 1, &[says, "cannot be read; restore it"]);
    }
    // Shards are only what the root names: they can be made again.
    fs::write(&root, good).unwrap();
    for file in fs::read_dir(site.dir().join("peerage/shard")).unwrap() {
        fs::write(file.unwrap().path(), "damaged").unwrap();
    }
    site.publish(&[]);
}

#[test]
fn damaged_files_of_an_unchanged_version_are_mended() {
    let site = Site::new(&[("a.js", b"a")]);
    let version = site.publish(&[])["version"].clone();
    let whole = site.published();
    for file in whole.keys().filter(|file| !file.ends_with("root.jws") && !file.ends_with("1.json")) {
        fs::write(file, "damaged").unwrap();
        site.publish(&[]);
        if file.ends_with("peerage-sw.js") {
            continue;
        }
        assert_eq!(fs::read(file).unwrap(), whole[file], "{}", file.display());
    }
    assert!(site.publish(&[])["version"].as_u64() >= version.as_u64());
}

/// Runs as a user who has no rights of his own, from a place that everybody can reach.
#[cfg(unix)]
fn publish_as_nobody(site: &Site) -> Option<(i32, String)> {
    use std::os::unix::fs::PermissionsExt as _;
    let everybody = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    everybody(site.around.path(), 0o755);
    let binary = site.around.path().join("peerage");
    fs::copy(PEERAGE, &binary).unwrap();
    everybody(&binary, 0o755);
    everybody(&site.key(), 0o644);
    let id = Command::new("id").arg("-u").output().ok()?;
    let output = if id.stdout == b"0\n" {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&binary)
            .arg("publish")
            .arg(site.dir())
            .output()
            .ok()?
    } else {
        Command::new(&binary).arg("publish").arg(site.dir()).output().ok()?
    };
    Some((output.status.code()?, String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[cfg(unix)]
#[test]
fn folders_and_files_without_permission_are_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new(&[("a.js", b"a"), ("locked/b.js", b"b"), ("c.js", b"c")]);
    site.publish(&[]);
    let before = site.published();
    let set = |path: &str, mode| fs::set_permissions(site.dir().join(path), fs::Permissions::from_mode(mode)).unwrap();
    for (path, mode, says) in [("locked", 0o000, "locked"), ("c.js", 0o000, "c.js"), ("peerage", 0o555, "a.js")] {
        let normal = if path == "c.js" { 0o644 } else { 0o755 };
        set(path, mode);
        if path == "peerage" {
            site.put("a.js", b"changed");
        }
        let said = publish_as_nobody(&site);
        set(path, normal);
        let Some((code, err)) = said else {
            println!("skipped: no setpriv here to become somebody without rights");
            return;
        };
        let says = if path == "peerage" { "ermission denied" } else { says };
        assert!(code == 1 && err.contains(says) && err.contains("ermission denied"), "{path}: {code} {err}");
        assert_eq!(site.published(), before);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_old_version() {
    let around = tempfile::tempdir().unwrap();
    let disk = around.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: only root can mount a small file system");
        return;
    }
    let site = disk.join("site");
    fs::create_dir(&site).unwrap();
    for n in 0..400 {
        fs::write(site.join(format!("{n}.js")), "x").unwrap();
    }
    let key = around.path().join("key.pem");
    let publish = || run(&["publish", site.to_str().unwrap(), "--key", key.to_str().unwrap()]);
    let first = publish();
    let before = (first.code == Some(0)).then(|| assert_whole(&site).0.version);
    for n in 0..400 {
        fs::write(site.join(format!("{n}.js")), "y").unwrap();
    }
    let mut filler = fs::File::create(disk.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    let said = publish();
    let after = fs::read(site.join("peerage/root.jws")).is_ok().then(|| assert_whole(&site).0.version);
    drop(filler);
    fs::remove_file(disk.join("filler")).unwrap();
    let again = publish();
    let last = assert_whole(&site).0.version;
    Command::new("umount").arg("-l").arg(&disk).status().unwrap();
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("No space left") && said.err.contains("untouched"), "{}", said.err);
    assert_eq!(before, after);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(Some(last) > before);
}
