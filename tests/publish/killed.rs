//! A process that is killed at any moment leaves one whole version, and the next run cleans up.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::site::{PEERAGE, Site, assert_whole};

const KILLS: u32 = 24;

#[test]
fn one_whole_version_is_there_whenever_it_is_killed() {
    let site = Site::new(&[("index.html", b"<p>")]);
    let write = |round: u32| {
        for n in 0..300 {
            site.put(&format!("part {}/{n}.js", n % 9), format!("{round} {n}").as_bytes());
        }
    };
    write(0);
    let mut version = site.publish(&[])["version"].as_u64().unwrap();
    write(1);
    let start = Instant::now();
    version = version.max(site.publish(&[])["version"].as_u64().unwrap());
    let whole = start.elapsed();
    let (mut died, mut finished) = (0, 0);
    for round in 0..KILLS {
        write(round + 2);
        let mut child = Command::new(PEERAGE)
            .arg("publish")
            .arg(site.dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over the whole run, and a little past it: where it strikes differs from run to run all the same.
        std::thread::sleep(whole * round / (KILLS - 5));
        let _ = child.kill();
        if child.wait().unwrap().success() {
            finished += 1
        } else {
            died += 1
        }
        let (root, _) = assert_whole(&site.dir());
        assert!(root.version >= version, "version {} after {version}", root.version);
        version = root.version;
    }
    assert!(died > KILLS / 4, "killed only {died} times, finished {finished} times, of {whole:?} each");
    let report = site.publish(&[]);
    assert_eq!(report["files"].as_u64(), Some(301));
    let left: Vec<_> = site.published().into_keys().filter(|f| f.to_string_lossy().contains(".peerage-tmp-")).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
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
