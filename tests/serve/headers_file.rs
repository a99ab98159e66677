//! The `_headers` file of the site's owner.

use crate::origin::{Origin, command, put};

const HEADERS: &[u8] = b"\
/*
  X-Frame-Options: DENY
/assets/*
  Cache-Control: public, max-age=60
  X-Rest: :splat
/assets/:name.js
  ! X-Frame-Options
/data.txt
  Content-Type: application/json
  Link: </a.css>; rel=preload
  Link: </b.css>; rel=preload
";

#[test]
fn its_headers_are_sent_and_go_before_the_servers_own() {
    let origin = Origin::start(&[
        ("_headers", HEADERS),
        ("index.html", b"x"),
        ("assets/a.js", b"x"),
        ("assets/b.css", b"x"),
        ("data.txt", b"{}"),
    ]);
    assert_eq!(origin.get("/").header("x-frame-options"), "DENY");
    let css = origin.get("/assets/b.css");
    assert_eq!(css.header("cache-control"), "public, max-age=60");
    assert_eq!((css.header("x-rest").as_str(), css.header("x-frame-options").as_str()), ("b.css", "DENY"));
    assert_eq!(origin.get("/assets/a.js").header("x-frame-options"), "");
    let data = origin.get("/data.txt");
    assert_eq!(data.header("content-type"), "application/json");
    assert_eq!(data.header("link"), "</a.css>; rel=preload, </b.css>; rel=preload");
    let etag = data.header("etag");
    let unchanged = origin.get_with("/data.txt", &[("If-None-Match", &etag)]);
    assert_eq!((unchanged.status, unchanged.header("x-frame-options").as_str()), (304, "DENY"));
}

#[test]
fn it_is_never_served_itself() {
    let origin = Origin::start(&[("_headers", HEADERS)]);
    assert_eq!(origin.get("/_headers").status, 404);
    assert_eq!(origin.get("/%5Fheaders").status, 404);
}

#[test]
fn a_change_counts_at_once_and_a_mistake_keeps_the_last_rules() {
    let origin = Origin::start(&[("a.js", b"x"), ("_headers", b"/*\n  X-Version: 1\n")]);
    assert_eq!(origin.get("/a.js").header("x-version"), "1");
    put(&origin.root(), "_headers", b"/*\n  X-Version: two\n");
    assert_eq!(origin.get("/a.js").header("x-version"), "two");
    put(&origin.root(), "_headers", b"/*\n  what is this\n");
    assert_eq!(origin.get("/a.js").header("x-version"), "two");
    std::fs::remove_file(origin.root().join("_headers")).unwrap();
    assert_eq!(origin.get("/a.js").header("x-version"), "");
}

#[test]
fn a_mistake_at_the_start_is_named_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "_headers", b"/*\n  X-A: 1\n  what is this\n");
    let output = command().arg(dir.path()).args(["--listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("error: ") && said.contains("_headers") && said.contains("line 3"), "{said}");
}
