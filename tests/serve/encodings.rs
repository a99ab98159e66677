//! Compression on the way, and files that were compressed before.

use std::io::Read as _;

use crate::origin::Origin;

fn text() -> Vec<u8> {
    b"<p>all the same, all the same</p>\n".repeat(100)
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn unbrotlied(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap();
    out
}

#[test]
fn text_is_compressed_as_the_client_likes_it() {
    let origin = Origin::start(&[("a.html", &text())]);
    for (accepted, encoding) in [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.1, gzip;q=0.9", "gzip"),
        ("zstd", ""),
        ("identity", ""),
    ] {
        let answer = origin.get_with("/a.html", &[("Accept-Encoding", accepted)]);
        assert_eq!(answer.header("content-encoding"), encoding, "{accepted}");
        assert_eq!(answer.header("vary"), "Accept-Encoding", "{accepted}");
        let plain = match encoding {
            "br" => unbrotlied(&answer.body),
            "gzip" => unzipped(&answer.body),
            _ => answer.body,
        };
        assert_eq!(plain, text(), "{accepted}");
    }
}

#[test]
fn an_etag_is_strong_for_the_files_bytes_and_weak_for_bytes_made_on_the_way() {
    let origin = Origin::start(&[("a.html", &text())]);
    let plain = origin.get("/a.html").header("etag");
    let compressed = origin.get_with("/a.html", &[("Accept-Encoding", "br")]).header("etag");
    assert!(plain.starts_with('"'), "{plain}");
    assert_eq!(compressed, format!("W/{plain}"));
    let again = origin.get_with("/a.html", &[("Accept-Encoding", "br"), ("If-None-Match", &compressed)]);
    assert_eq!((again.status, again.header("etag")), (304, compressed));
}

#[test]
fn what_is_small_or_compressed_already_is_sent_as_it_is() {
    let origin = Origin::start(&[("small.html", b"<p>"), ("a.png", &text()), ("a.zip", &text()), ("a.bin", &text())]);
    for path in ["/small.html", "/a.png", "/a.zip", "/a.bin"] {
        let answer = origin.get_with(path, &[("Accept-Encoding", "br, gzip")]);
        assert_eq!(answer.header("content-encoding"), "", "{path}");
        assert!(answer.header("etag").starts_with('"'), "{path}");
    }
    assert_eq!(origin.get("/a.png").header("vary"), "");
}

#[test]
fn what_was_compressed_before_is_sent_so() {
    let origin = Origin::start(&[("a.bin", &text()), ("a.bin.br", b"brotli"), ("b.js", &text()), ("b.js.gz", b"gzip")]);
    let answer = origin.get_with("/a.bin", &[("Accept-Encoding", "gzip, br")]);
    assert_eq!((answer.header("content-encoding").as_str(), answer.text().as_str()), ("br", "brotli"));
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("vary"), "Accept-Encoding");
    let etag = answer.header("etag");
    assert!(etag.starts_with('"'), "{etag}");
    assert_ne!(etag, origin.get("/a.bin").header("etag"), "other bytes, another strong ETag");
    let answer = origin.get_with("/b.js", &[("Accept-Encoding", "gzip")]);
    assert_eq!((answer.header("content-encoding").as_str(), answer.text().as_str()), ("gzip", "gzip"));
    assert_eq!(origin.get("/b.js").body, text());
}

#[test]
fn no_transform_is_obeyed() {
    let headers = b"/a.html\n  Cache-Control: no-cache, no-transform\n";
    let origin = Origin::start(&[("a.html", &text()), ("_headers", headers)]);
    assert_eq!(origin.get_with("/a.html", &[("Accept-Encoding", "br")]).header("content-encoding"), "");
}
