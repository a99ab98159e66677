//! Parts of a file, and files that the client has already (RFC 9110, sections 13 and 14).

use crate::origin::{Origin, put};

#[test]
fn a_range_is_that_part_of_the_file() {
    let origin = Origin::start(&[("a.txt", b"0123456789")]);
    for (range, body, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=0-99", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = origin.get_with("/a.txt", &[("Range", range)]);
        assert_eq!((answer.status, answer.text().as_str()), (206, body), "{range}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
    }
}

#[test]
fn a_range_beyond_the_end_is_416_and_one_that_is_none_is_ignored() {
    let origin = Origin::start(&[("a.txt", b"0123456789"), ("empty.txt", b"")]);
    for range in ["bytes=10-", "bytes=-0"] {
        let answer = origin.get_with("/a.txt", &[("Range", range)]);
        assert_eq!(answer.status, 416, "{range}");
        assert!(answer.header("content-range").starts_with("bytes */"), "{range}");
    }
    assert_eq!(origin.get_with("/empty.txt", &[("Range", "bytes=0-")]).status, 200, "an empty file has no parts");
    for range in ["bytes=4-2", "bytes=0-1,3-4", "bytes=x", "lines=1-2", "bytes=-"] {
        let answer = origin.get_with("/a.txt", &[("Range", range)]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"), "{range}");
    }
}

#[test]
fn a_range_counts_bytes_of_the_file_even_where_it_could_be_compressed() {
    let text = b"0123456789".repeat(500);
    let origin = Origin::start(&[("a.txt", &text), ("a.txt.br", b"not these")]);
    let answer = origin.get_with("/a.txt", &[("Range", "bytes=4990-4994"), ("Accept-Encoding", "br, gzip")]);
    assert_eq!((answer.status, answer.text().as_str()), (206, "01234"));
    assert_eq!(answer.header("content-encoding"), "");
    assert_eq!(answer.header("vary"), "Accept-Encoding");
}

#[test]
fn if_range_gives_a_part_of_that_version_or_all_of_another() {
    let origin = Origin::start(&[("a.bin", b"0123456789")]);
    let now = origin.get("/a.bin");
    let (etag, date) = (now.header("etag"), now.header("last-modified"));
    let with = |version: &str| origin.get_with("/a.bin", &[("Range", "bytes=1-2"), ("If-Range", version)]).status;
    assert_eq!(with(&etag), 206);
    assert_eq!(with(&date), 206);
    assert_eq!(with("\"another\""), 200);
    assert_eq!(with(&format!("W/{etag}")), 200, "a weak ETag says nothing about bytes");
    assert_eq!(with("Sun, 06 Nov 1994 08:49:37 GMT"), 200);
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let origin = Origin::start(&[("a.bin", b"0123456789")]);
    let now = origin.get("/a.bin");
    let (etag, date) = (now.header("etag"), now.header("last-modified"));
    assert!(etag.starts_with('"'), "{etag}");
    for (header, value) in [
        ("If-None-Match", etag.clone()),
        ("If-None-Match", format!("\"x\", W/{etag}")),
        ("If-None-Match", "*".to_owned()),
        ("If-Modified-Since", date),
    ] {
        let answer = origin.get_with("/a.bin", &[(header, &value)]);
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{header}: {value}");
        assert_eq!(answer.header("etag"), etag);
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
    put(&origin.root(), "a.bin", b"other bytes");
    let answer = origin.get_with("/a.bin", &[("If-None-Match", &etag)]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "other bytes"));
    assert_ne!(answer.header("etag"), etag);
}

#[test]
fn a_precondition_that_fails_is_412() {
    let origin = Origin::start(&[("a.bin", b"0123456789")]);
    assert_eq!(origin.get_with("/a.bin", &[("If-Match", "\"another\"")]).status, 412);
    assert_eq!(origin.get_with("/a.bin", &[("If-Match", &origin.get("/a.bin").header("etag"))]).status, 200);
}
