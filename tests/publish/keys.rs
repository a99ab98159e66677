//! The site's key: made once, kept out of the site, never guessed.

use std::fs;

use crate::site::{PEERAGE, Site, run};

#[cfg(unix)]
#[test]
fn it_is_made_on_first_use_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new(&[("a.js", b"a")]);
    let report = site.publish(&[]);
    assert_eq!(report["key"].as_str(), site.key().canonicalize().unwrap().to_str());
    assert_eq!(site.key().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(site.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let report = site.publish(&[]);
    assert!(report["warnings"][0].as_str().unwrap().contains("chmod 600"), "{report}");
}

#[test]
fn it_never_lies_in_a_published_folder() {
    let site = Site::new(&[("a.js", b"a"), ("sub/b.js", b"b")]);
    let dir = site.dir();
    for place in ["key.pem", "sub/key.pem", "sub/../key.pem"] {
        let file = dir.join(place);
        let said = site.try_publish(&["--key", file.to_str().unwrap()]);
        assert!(said.code == Some(1) && said.err.contains("published folder"), "{place}: {}", said.err);
        assert!(!dir.join("peerage").exists() && !file.exists());
    }
    site.publish(&[]);
    let said = run(&["keygen", dir.join("sub/key.pem").to_str().unwrap()]);
    assert!(said.code == Some(1) && said.err.contains("published folder"), "{}", said.err);
    // A folder below one that is published: the key's usual place would be in that.
    let said = run(&["publish", dir.join("sub").to_str().unwrap()]);
    assert!(said.code == Some(1) && said.err.contains("published folder"), "{}", said.err);
}

#[test]
fn a_lost_key_is_not_replaced_and_a_wrong_one_is_refused() {
    let site = Site::new(&[("a.js", b"a")]);
    site.publish(&[]);
    let before = site.published();
    let saved = site.around.path().join("saved.pem");
    fs::rename(site.key(), &saved).unwrap();
    site.put("a.js", b"b");
    let said = site.try_publish(&[]);
    assert!(said.code == Some(1) && said.err.contains("--key"), "{}", said.err);
    assert!(!site.key().exists());
    let other = site.around.path().join("other.pem");
    assert_eq!(run(&["keygen", other.to_str().unwrap()]).code, Some(0));
    let said = site.try_publish(&["--key", other.to_str().unwrap()]);
    assert!(said.code == Some(1) && said.err.contains("is the key of site"), "{}", said.err);
    fs::write(&other, "hello").unwrap();
    let said = site.try_publish(&["--key", other.to_str().unwrap()]);
    assert!(said.code == Some(1) && said.err.contains("BEGIN PRIVATE KEY"), "{}", said.err);
    assert_eq!(site.published(), before);
    site.publish(&["--key", saved.to_str().unwrap()]);
}

#[test]
fn keygen_never_writes_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.pem");
    let said = run(&["keygen", file.to_str().unwrap()]);
    assert!(said.code == Some(0) && said.out.starts_with("site "), "{}{}", said.out, said.err);
    let before = fs::read(&file).unwrap();
    let said = run(&["keygen", file.to_str().unwrap()]);
    assert!(said.code == Some(1) && said.err.contains("there already"), "{}", said.err);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn openssl_reads_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.pem");
    run(&["keygen", file.to_str().unwrap()]);
    let Ok(output) = std::process::Command::new("openssl").args(["pkey", "-noout", "-text", "-in"]).arg(&file).output()
    else {
        println!("skipped: there is no openssl here");
        return;
    };
    assert!(String::from_utf8_lossy(&output.stdout).contains("prime256v1"), "{output:?} from {PEERAGE}");
}
