//! Which files are published, and how.

use peerage::digest::Digest;
use peerage::manifest::{Label, url_from_path};

use crate::site::{Site, constants, noise};

#[test]
fn everything_visible_is_listed_with_its_bytes() {
    let big = noise(3_000_000, 1);
    let names = ["a b.txt", "ü/日本.js", "100%.css", "x#y?z.png", "no-extension", "deep/er/and/er/file.wasm"];
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    files.extend([("big.bin", &big[..]), ("empty.txt", &b""[..]), ("index.html", b"<p>")]);
    let site = Site::new(&files);
    for hidden in [".git/config", "sub/.hidden", ".well-known/security.txt"] {
        site.put(hidden, b"hidden");
    }
    let report = site.publish(&[]);
    let entries = site.entries();
    assert_eq!(entries.keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        names.sort();
        names
    });
    for (name, bytes) in &files {
        let entry = &entries[*name];
        assert_eq!(entry.size, bytes.len() as u64, "{name}");
        if entry.pieces.len() < 2 {
            assert_eq!(entry.integrity, Digest::of(bytes), "{name}: what an integrity attribute says");
        }
        let mut at = 0;
        for piece in &entry.pieces {
            let end = at + piece.len as usize;
            assert_eq!(Digest::of(&bytes[at..end]), piece.digest, "{name} at {at}");
            at = end;
        }
        assert_eq!(at, bytes.len());
        assert_eq!(entry.label, if *name == "index.html" { Label::Cache } else { Label::Share });
        assert!(url_from_path(name).is_ascii());
    }
    assert!(entries["big.bin"].pieces.len() > 4);
    assert_eq!((report["files"].as_u64(), report["share"].as_u64()), (Some(9), Some(8)));
    assert_eq!(report["bytes"].as_u64(), Some(files.iter().map(|(_, b)| b.len() as u64).sum()));
}

#[test]
fn a_file_larger_than_a_block_is_cut_as_if_it_were_in_memory() {
    // Cuts depend on the content alone, so the same bytes behind each other end in the same pieces.
    let (half, whole) = (noise(12 << 20, 2), noise(30 << 20, 2));
    assert!(whole.starts_with(&half));
    let site = Site::new(&[("half.bin", &half), ("whole.bin", &whole)]);
    site.publish(&[]);
    let entries = site.entries();
    let (half, all) = (&entries["half.bin"].pieces, &entries["whole.bin"].pieces);
    assert_eq!(half[..half.len() - 1], all[..half.len() - 1]);
    let digests: Vec<u8> = all.iter().flat_map(|piece| piece.digest.0).collect();
    assert_eq!(entries["whole.bin"].integrity, Digest(Digest::of(&digests).0.map(|byte| !byte)));
    let mut at = 0;
    for piece in all {
        let end = at + piece.len as usize;
        assert_eq!(Digest::of(&whole[at..end]), piece.digest);
        at = end;
    }
    assert_eq!(at, whole.len());
}

#[cfg(unix)]
#[test]
fn links_are_followed_only_to_published_files() {
    use std::os::unix::fs::symlink;
    let site = Site::new(&[("a.txt", b"a"), (".secret", b"s"), ("sub/b.txt", b"b")]);
    let outside = site.around.path().join("outside.txt");
    std::fs::write(&outside, "outside").unwrap();
    let dir = site.dir();
    for (target, link) in [
        ("a.txt", "inside.txt"),
        ("../outside.txt", "out.txt"),
        ("/etc/passwd", "passwd"),
        (".secret", "secret.txt"),
        ("sub", "folder"),
        ("..", "up"),
        ("nowhere", "broken"),
    ] {
        symlink(target, dir.join(link)).unwrap();
    }
    let report = site.publish(&[]);
    assert_eq!(site.entries().keys().collect::<Vec<_>>(), ["a.txt", "inside.txt", "sub/b.txt"]);
    assert!(report["warnings"][0].as_str().unwrap().starts_with("6 links"), "{report}");
}

#[test]
fn peerage_toml_labels_and_sets_the_policy() {
    let site = Site::new(&[("a.js", b"a"), ("private/b.js", b"b"), ("members/c.js", b"c"), ("index.html", b"<p>")]);
    std::fs::write(
        site.around.path().join("peerage.toml"),
        "[share]\nexclude = ['private/**']\n[cache]\ninclude = ['members/**']\n[precache]\ninclude = ['/index.html']\n\
         [policy]\nmode = 'offload'\nconsent = 'granted'\nupload_rate = 1000\n[trackers]\nurls = ['wss://t.example/']\n",
    )
    .unwrap();
    let report = site.publish(&[]);
    let entries = site.entries();
    let labels: Vec<_> = entries.values().map(|e| (e.path.as_str(), e.label, e.precache)).collect();
    assert_eq!(
        labels,
        [("a.js", Label::Share, false), ("index.html", Label::Cache, true), ("members/c.js", Label::Cache, false)]
    );
    assert_eq!(report["unlisted"].as_u64(), Some(1));
    let (root, _) = crate::site::assert_whole(&site.dir());
    assert_eq!(root.policy.trackers, ["wss://t.example/"]);
    assert_eq!(root.policy.upload_rate, 1000);
    let scope = &constants(&site.dir())["scope"];
    assert_eq!(scope["regex"]["include"], serde_json::json!(["^.*$", "^members/.*$"]));
    // The rule for `[cache]` could select it, so the guard must let it in.
    assert_eq!(scope["exclude"], serde_json::json!([]));
}

#[test]
fn declared_headers_are_signed_and_personal_answers_are_left_out() {
    let site = Site::new(&[("a.js", b"a"), ("data.bin", b"d"), ("me/b.js", b"b"), ("c.html", b"<p>")]);
    site.put(
        "_headers",
        b"/*\n  X-Frame-Options: DENY\n/data.bin\n  Content-Type: application/x-own\n/me/*\n  Cache-Control: private, max-age=60\n",
    );
    let report = site.publish(&[]);
    let entries = site.entries();
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["a.js", "c.html", "data.bin"]);
    assert_eq!(entries["a.js"].headers, [("X-Frame-Options".to_owned(), "DENY".to_owned())]);
    assert_eq!(entries["data.bin"].media_type, "application/x-own");
    assert!(report["warnings"][0].as_str().unwrap().contains("_headers"), "{report}");
}

#[test]
fn a_text_says_utf_8_only_where_it_is() {
    let site = Site::new(&[("utf8.txt", "é".as_bytes()), ("latin1.txt", b"\xe9"), ("ascii.css", b"a{}")]);
    site.publish(&[]);
    let entries = site.entries();
    assert_eq!(entries["utf8.txt"].media_type, "text/plain; charset=utf-8");
    assert_eq!(entries["latin1.txt"].media_type, "text/plain");
    assert_eq!(entries["ascii.css"].media_type, "text/css; charset=utf-8");
}
