//! The server as a process: what it says, what it counts, how it ends, and over TLS.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crate::origin::{Origin, ask, command, connect, put};

#[test]
fn requests_and_bytes_are_counted_by_path() {
    let text = b"0123456789".repeat(500);
    let origin = Origin::start(&[("a b.js", b"0123456789"), ("t.txt", &text)]);
    origin.get("/a%20b.js");
    origin.get_with("/a%20b.js", &[("Range", "bytes=0-3")]);
    let etag = origin.get("/a%20b.js").header("etag");
    origin.get_with("/a%20b.js", &[("If-None-Match", &etag)]);
    origin.ask("HEAD", "/a%20b.js", &[]);
    origin.get("/nothing");
    assert_eq!(origin.counter(r#"peerage_requests_total{path="/a b.js",status="200"}"#), 3);
    assert_eq!(origin.counter(r#"peerage_requests_total{path="/a b.js",status="206"}"#), 1);
    assert_eq!(origin.counter(r#"peerage_requests_total{path="/a b.js",status="304"}"#), 1);
    assert_eq!(origin.counter(r#"peerage_requests_total{path="/nothing",status="404"}"#), 1);
    assert_eq!(origin.counter(r#"peerage_response_bytes_total{path="/a b.js"}"#), 24);
    let compressed = origin.get_with("/t.txt", &[("Accept-Encoding", "br")]).body.len();
    assert!(compressed < 1000);
    assert_eq!(origin.counter(r#"peerage_response_bytes_total{path="/t.txt"}"#), compressed as u64);
}

#[test]
fn bytes_that_nobody_took_are_not_counted() {
    let big = vec![7_u8; 64 << 20];
    let origin = Origin::start(&[("big.bin", &big)]);
    let mut stream = connect(origin.address());
    stream.write_all(b"GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 4096]).unwrap();
    drop(stream);
    let counted = origin.counter(r#"peerage_response_bytes_total{path="/big.bin"}"#);
    assert!((1..=16 << 20).contains(&counted), "{counted}");
}

#[test]
fn it_ends_cleanly_when_told_to() {
    for signal in ["INT", "TERM"] {
        let big = vec![7_u8; 64 << 20];
        let mut origin = Origin::start(&[("a.js", b"x"), ("big.bin", &big)]);
        // An idle connection, one in the middle of a download that it doesn't read, and a WebSocket.
        let _idle = connect(origin.address());
        let mut busy = connect(origin.address());
        busy.write_all(b"GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        busy.read_exact(&mut [0; 1024]).unwrap();
        let (mut socket, _) = tungstenite::connect(format!("ws://{}/peerage/tracker", origin.address())).unwrap();
        origin.signal(signal);
        let (status, took) = origin.wait();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(took < Duration::from_secs(5), "{signal}: {took:?}");
        match socket.read() {
            Ok(tungstenite::Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1001),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_finished_download_is_whole_even_if_the_end_came_meanwhile() {
    let big = vec![7_u8; 8 << 20];
    let mut origin = Origin::start(&[("big.bin", &big)]);
    let mut stream = connect(origin.address());
    stream.write_all(b"GET /big.bin HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut body = vec![0; 1024];
    stream.read_exact(&mut body).unwrap();
    origin.signal("TERM");
    stream.read_to_end(&mut body).unwrap();
    let head = body.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(body.len() - head, big.len());
    assert_eq!(origin.wait().0.code(), Some(0));
}

/// Runs `peerage serve` with arguments that cannot work: its exit code and what it says.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = command().args(args).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_served_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "file.txt", b"x");
    put(dir.path(), "empty.pem", b"");
    let site = dir.path().to_str().unwrap();
    let file = dir.path().join("file.txt");
    let missing = dir.path().join("missing");
    let (file, missing) = (file.to_str().unwrap(), missing.to_str().unwrap());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    for (args, parts) in [
        (vec![missing], vec!["missing", "No such file", "existing folder"]),
        (vec![file], vec!["file.txt", "it is a file"]),
        (vec![site, "--listen", &port], vec![port.as_str(), "in use", "--listen"]),
        (
            vec![site, "--listen", "127.0.0.1:0", "--metrics-listen", &port],
            vec![port.as_str(), "in use", "--metrics-listen"],
        ),
        (vec![site, "--tls-cert", missing, "--tls-key", missing], vec!["missing", "--tls-cert", "PEM"]),
        (vec![site, "--tls-cert", file, "--tls-key", file], vec!["no certificate", "file.txt", "--tls-cert"]),
    ] {
        let (code, said) = refused(&args);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.starts_with("error: "), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in
        [&[][..], &["a", "b"], &["a", "--listen", "nowhere"], &["a", "--tls-cert", "x"], &["a", "--prefix", "a b"]]
    {
        let (code, said) = refused(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
    }
}

#[test]
fn it_speaks_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "cert.pem", certified.cert.pem().as_bytes());
    put(dir.path(), "key.pem", certified.signing_key.serialize_pem().as_bytes());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let origin = Origin::start_with(&[("a.js", b"over tls")], &["--tls-cert", &cert, "--tls-key", &key]);
    assert!(origin.url.starts_with("https://127.0.0.1:"), "{}", origin.url);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let stream = rustls::StreamOwned::new(connection, connect(origin.address()));
    assert_eq!(ask(stream, "GET", "/a.js", &[]).text(), "over tls");

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    put(dir.path(), "other.pem", other.signing_key.serialize_pem().as_bytes());
    let site = dir.path().to_str().unwrap();
    let (code, said) = refused(&[site, "--tls-cert", &cert, "--tls-key", &path("other.pem")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("don't belong together"), "{said}");
}
