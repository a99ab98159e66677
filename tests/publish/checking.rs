//! `peerage check`: a deployed site against what was signed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::site::{Said, Server, Site, noise, run};

fn check(place: &str) -> Said {
    run(&["check", place])
}

fn site() -> Site {
    let site = Site::new(&[
        ("index.html", b"<!doctype html><title>x</title><p>"),
        ("a.js", b"let a"),
        ("big.bin", &noise(2 << 20, 8)),
        ("a b/ü%#?.txt", b"odd"),
    ]);
    site.put("_headers", b"/a.js\n  X-Signed: yes\n");
    site.publish(&[]);
    site
}

#[test]
fn a_sound_site_passes_in_a_folder_and_live() {
    let site = site();
    let server = Server::start(&site.dir());
    for place in [site.dir().to_str().unwrap(), &server.url, &format!("{}index.html", server.url)] {
        let said = check(place);
        assert_eq!(said.code, Some(0), "{place}: {}{}", said.out, said.err);
        assert!(said.out.contains("4 of 4 files"), "{}", said.out);
    }
    let said = run(&["check", &server.url, "--sample", "2", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((json["read"].as_u64(), json["files"].as_u64()), (Some(2), Some(4)));
}

#[test]
fn clean_urls_must_be_what_the_host_does() {
    let pages: &[(&str, &[u8])] =
        &[("index.html", b"home"), ("about.html", b"about"), ("docs.html", b"docs"), ("docs/index.html", b"in docs")];
    let site = Site::new(pages);
    site.put("_headers", b"/about\n  X-Signed: yes\n");
    site.publish(&[]);
    let (plain, clean) = (Server::start(&site.dir()), Server::start_with(&site.dir(), &["--clean-urls"]));
    assert_eq!(check(&plain.url).code, Some(0));
    let said = check(&clean.url);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("about.html: /about.html is redirected to /about, and visitors"), "{}", said.out);

    fs::write(site.around.path().join("peerage.toml"), "[site]\nclean_urls = true\n").unwrap();
    site.publish(&[]);
    let said = check(&clean.url);
    assert_eq!(said.code, Some(0), "{}", said.out);
    let said = check(&plain.url);
    assert!(said.out.contains("about.html: it is missing at /about, which clean_urls promises"), "{}", said.out);
    assert!(said.err.contains("1 problem"), "{}", said.out);
    assert_eq!(check(site.dir().to_str().unwrap()).code, Some(0));
}

#[test]
fn every_difference_is_listed() {
    let site = site();
    let server = Server::start(&site.dir());
    let mut big = noise(2 << 20, 8);
    let last = big.len() - 1;
    big[last] ^= 1;
    site.put("big.bin", &big);
    site.put("a.js", b"let");
    site.put("index.html", b"<!doctype html><title>x</title><p>more");
    fs::remove_file(site.dir().join("a b/ü%#?.txt")).unwrap();
    site.put("peerage/page.js", b"other");
    for place in [site.dir().to_str().unwrap(), &server.url] {
        let said = check(place);
        assert_eq!(said.code, Some(1), "{}", said.out);
        for line in [
            "big.bin: its bytes differ",
            "a.js: it ends after 3 of 5 bytes",
            "index.html: it goes on after its",
            "a b/ü%#?.txt: it is missing",
            "peerage/page.js: its bytes are not those",
        ] {
            assert!(said.out.contains(line), "no {line:?} in: {}", said.out);
        }
        assert!(said.err.contains("5 problems"), "{}", said.err);
    }
}

#[test]
fn headers_that_are_not_the_signed_ones_are_listed() {
    let site = site();
    site.put("_headers", b"/a.js\n  X-Signed: no\n  Content-Type: text/plain\n/index.html\n  Content-Security-Policy: default-src 'none'\n/peerage/root.jws\n  ! Cache-Control\n  Cache-Control: public, max-age=86400\n");
    let server = Server::start(&site.dir());
    let said = check(&server.url);
    assert_eq!(said.code, Some(1));
    for line in [
        "a.js: the header X-Signed is \"no\", and \"yes\" was signed",
        "a.js: its media type is text/plain, not text/javascript",
        "index.html: a header of the document (Content-Security-Policy or Integrity-Policy) blocks the page.js tag",
        "index.html: its Content-Security-Policy blocks workers",
    ] {
        assert!(said.out.contains(line), "no {line:?} in: {}", said.out);
    }
}

#[test]
fn what_cannot_be_verified_at_all_is_an_error() {
    let empty = Site::new(&[("a.js", b"a")]);
    let said = check(empty.dir().to_str().unwrap());
    assert!(said.code == Some(1) && said.err.contains("nothing is published"), "{}", said.err);

    let site = site();
    let root = site.dir().join("peerage/root.jws");
    let good = fs::read_to_string(&root).unwrap();
    let (head, rest) = good.split_once('.').unwrap();
    fs::write(&root, format!("{head}.{}", rest.replacen('.', "A.", 1))).unwrap();
    assert_eq!(check(site.dir().to_str().unwrap()).code, Some(1));

    fs::write(&root, &good).unwrap();
    let shard = fs::read_dir(site.dir().join("peerage/shard")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&shard).unwrap();
    bytes[40] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let said = check(site.dir().to_str().unwrap());
    assert!(said.code == Some(1) && said.err.contains("the manifest is not whole"), "{}", said.err);
}

#[test]
fn a_server_that_answers_everything_with_html_has_no_site() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 2048]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<!doctype html><p>hi");
        }
    });
    let said = check(&url);
    assert!(said.code == Some(1) && said.err.contains("nothing is published"), "{}", said.err);
}
