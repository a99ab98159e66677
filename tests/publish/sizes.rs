//! Many files, and files larger than the memory there is.

use std::fs::{self, File};
use std::process::Command;

use crate::site::{PEERAGE, Site, assert_whole};

#[test]
fn a_hundred_thousand_files_are_one_version() {
    let site = Site::new(&[]);
    for folder in 0..100 {
        let folder = site.dir().join(format!("{folder:02}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..1000 {
            fs::write(folder.join(format!("{file}.txt")), file.to_string()).unwrap();
        }
    }
    let report = site.publish(&[]);
    assert_eq!(report["files"].as_u64(), Some(100_000));
    let (_, entries) = assert_whole(&site.dir());
    assert_eq!(entries.len(), 100_000);
    assert_eq!(site.publish(&[])["version"], report["version"], "nothing changed");
}

/// A sparse file of 3 GiB in an address space of 1 GiB.
#[cfg(target_os = "linux")]
#[test]
fn a_file_may_be_larger_than_memory() {
    const SIZE: u64 = 3 << 30;
    let site = Site::new(&[]);
    File::create(site.dir().join("disc.img")).unwrap().set_len(SIZE).unwrap();
    let limited = format!("ulimit -v {}; exec \"$0\" publish --json \"$1\"", 1 << 20);
    let output = Command::new("sh").arg("-c").arg(limited).arg(PEERAGE).arg(site.dir()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["bytes"].as_u64(), Some(SIZE), "{report}");
}
