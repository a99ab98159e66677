//! Which file a URL names, and what its answer says about it.

use crate::origin::{Origin, put};

#[test]
fn a_file_comes_as_it_is_with_its_type() {
    let origin = Origin::start(&[("a.js", b"let a;"), ("b.wasm", b"\0asm"), ("c.webmanifest", b"{}"), ("d", b"?")]);
    for (path, media_type, body) in [
        ("/a.js", "text/javascript; charset=utf-8", "let a;"),
        ("/b.wasm", "application/wasm", "\0asm"),
        ("/c.webmanifest", "application/manifest+json", "{}"),
        ("/d", "application/octet-stream", "?"),
    ] {
        let answer = origin.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (200, body));
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert!(answer.header("last-modified").ends_with(" GMT"));
    }
}

#[test]
fn files_of_any_name_are_found() {
    let origin = Origin::start(&[("a b.js", b"1"), ("50% #1?.txt", b"2"), ("späße/ü.txt", b"3"), ("a+b&c.txt", b"4")]);
    for (path, body) in [
        ("/a%20b.js", "1"),
        ("/50%25%20%231%3F.txt", "2"),
        ("/sp%C3%A4%C3%9Fe/%C3%BC.txt", "3"),
        ("/a+b&c.txt", "4"),
        ("/a%2Bb%26c.txt?query=ignored", "4"),
    ] {
        assert_eq!(origin.get(path).text(), body, "{path}");
    }
}

#[test]
fn a_folder_is_its_index() {
    let origin = Origin::start(&[("index.html", b"home"), ("docs/index.html", b"docs"), ("empty/x.txt", b"x")]);
    assert_eq!(origin.get("/").text(), "home");
    assert_eq!(origin.get("/docs/").text(), "docs");
    let moved = origin.get("/docs?q=1");
    assert_eq!((moved.status, moved.header("location").as_str()), (301, "/docs/?q=1"));
    assert_eq!(origin.get("/empty/").status, 404);
    assert_eq!(origin.get("/empty").status, 404);
}

#[test]
fn nothing_outside_the_site_is_given() {
    let origin = Origin::start(&[("index.html", b"home"), (".env", b"secret"), (".git/config", b"secret")]);
    put(origin.dir.path(), "secret.txt", b"secret");
    #[cfg(unix)]
    std::os::unix::fs::symlink(origin.dir.path().join("secret.txt"), origin.root().join("link.txt")).unwrap();
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/x/../../secret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
        "/link.txt",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/%00",
        "/%ff%fe",
        "/etc/passwd",
        "//etc/passwd",
    ] {
        let answer = origin.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("secret"), "{path}");
    }
}

#[test]
fn what_is_missing_is_404_with_the_sites_own_page() {
    let origin = Origin::start(&[("404.html", b"<h1>nothing here</h1>"), ("a.js", b"a")]);
    let answer = origin.get_with("/missing.js", &[("If-None-Match", "*"), ("Range", "bytes=0-3")]);
    assert_eq!((answer.status, answer.text().as_str()), (404, "<h1>nothing here</h1>"));
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("etag"), "");
    assert_eq!(Origin::start(&[]).get("/missing.js").status, 404);
}

#[test]
fn head_says_the_same_without_the_bytes() {
    let origin = Origin::start(&[("a.js", &b"let a = 1;\n".repeat(500))]);
    for encoding in ["identity", "br", "gzip"] {
        let headers = [("Accept-Encoding", encoding)];
        let (head, get) = (origin.ask("HEAD", "/a.js", &headers), origin.ask("GET", "/a.js", &headers));
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-type", "content-encoding", "etag", "last-modified", "vary", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{name} with {encoding}");
        }
        if encoding == "identity" {
            assert_eq!(head.header("content-length"), "5500");
        }
    }
}

#[test]
fn other_methods_are_not_allowed() {
    let origin = Origin::start(&[("a.js", b"a")]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = origin.ask(method, "/a.js", &[("Content-Length", "0")]);
        assert_eq!((answer.status, answer.header("allow").as_str()), (405, "GET, HEAD"), "{method}");
    }
}

#[test]
fn content_addressed_files_keep_for_ever_and_nothing_else_does() {
    let hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let files = [
        format!("peerage/index/{hash}"),
        format!("peerage/shard/{hash}"),
        format!("peerage/old/{hash}"),
        "peerage/sw.0123456789abcdef.wasm".to_owned(),
        "peerage/root.jws".to_owned(),
        "peerage/page.js".to_owned(),
        "peerage-sw.js".to_owned(),
        "index.html".to_owned(),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|f| (f.as_str(), &b"x"[..])).collect();
    let origin = Origin::start(&files);
    for (n, (path, _)) in files.iter().enumerate() {
        let want = if n < 4 { "public, max-age=31536000, immutable" } else { "no-cache" };
        assert_eq!(origin.get(&format!("/{path}")).header("cache-control"), want, "{path}");
    }
    assert_eq!(origin.get("/peerage/root.jws").header("content-type"), "application/jose");
}

#[test]
fn the_mesh_worker_can_start_on_an_isolated_page() {
    let origin = Origin::start(&[("peerage/mesh.js", b"x"), ("peerage/page.js", b"x")]);
    let answer = origin.get("/peerage/mesh.js");
    assert_eq!(answer.header("cross-origin-embedder-policy"), "require-corp");
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    assert_eq!(origin.get("/peerage/page.js").header("cross-origin-embedder-policy"), "");
}

#[test]
fn a_sub_path_holds_the_whole_site() {
    let files: [(&str, &[u8]); 2] = [("index.html", b"home"), ("docs/index.html", b"docs")];
    let origin = Origin::start_with(&files, &["--prefix", "/game"]);
    assert!(origin.url.ends_with("/game/"), "{}", origin.url);
    assert_eq!(origin.get("/game/").text(), "home");
    assert_eq!(origin.get("/game/docs/").text(), "docs");
    assert_eq!(origin.get("/game/docs").header("location"), "/game/docs/");
    let moved = origin.get("/game?x");
    assert_eq!((moved.status, moved.header("location").as_str()), (301, "/game/?x"));
    let moved = origin.get("/");
    assert_eq!((moved.status, moved.header("location").as_str()), (302, "/game/"));
    assert_eq!(origin.get("/gamedocs/").status, 404);
    assert_eq!(origin.get("/docs/").status, 404);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_403_and_the_rest_goes_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let origin = Origin::start(&[("a.js", b"a"), ("b.js", b"b")]);
    let locked = origin.root().join("a.js");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    let may_read_anything = std::fs::read(&locked).is_ok();
    assert_eq!(origin.get("/a.js").status, if may_read_anything { 200 } else { 403 });
    assert_eq!(origin.get("/b.js").status, 200);
}

#[test]
fn with_clean_urls_a_page_has_one_name() {
    let files: &[(&str, &[u8])] = &[
        ("about.html", b"about"),
        ("docs/index.html", b"docs"),
        ("404.html", b"none"),
        ("_headers", b"/about\n  X-A: b"),
    ];
    let origin = Origin::start_with(files, &["--clean-urls", "--prefix", "/site/"]);
    let about = origin.get("/site/about?q=1");
    assert_eq!((about.status, about.text().as_str(), about.header("x-a").as_str()), (200, "about", "b"));
    assert_eq!(about.header("content-type"), "text/html; charset=utf-8");
    for (path, to) in [("/site/about.html?q=1", "/site/about?q=1"), ("/site/docs/index.html", "/site/docs/")] {
        let moved = origin.get(path);
        assert_eq!((moved.status, moved.header("location").as_str()), (308, to), "{path}");
    }
    assert_eq!((origin.get("/site/missing").status, origin.get("/site/missing").text().as_str()), (404, "none"));
    let plain = Origin::start(&files[..1]);
    assert_eq!((plain.get("/about").status, plain.get("/about.html").status), (404, 200));
}
