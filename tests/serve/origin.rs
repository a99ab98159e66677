//! The real server on a free port, and a client that sends requests exactly as they are written.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Origin {
    pub(crate) dir: TempDir,
    child: Child,
    /// `http://127.0.0.1:PORT/PREFIX/`
    pub(crate) url: String,
    metrics: String,
}

impl Origin {
    /// Serves a new folder with these files.
    pub(crate) fn start(files: &[(&str, &[u8])]) -> Self {
        Self::start_with(files, &[])
    }

    pub(crate) fn start_with(files: &[(&str, &[u8])], args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("site");
        std::fs::create_dir(&root).unwrap();
        for (path, bytes) in files {
            put(&root, path, bytes);
        }
        let mut child = command()
            .arg(&root)
            .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |before: &str| lines.next().unwrap().unwrap().strip_prefix(before).unwrap().to_owned();
        let url = address("listening on ");
        let metrics = address("metrics on ");
        Self { dir, child, url, metrics }
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("site")
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        host(&self.url)
    }

    /// Asks for a path, as it is written.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(connect(self.address()), method, path, headers)
    }

    /// A number from the counters; 0 where the line is missing.
    pub(crate) fn counter(&self, line: &str) -> u64 {
        let answer = ask(connect(host(&self.metrics)), "GET", "/metrics", &[]);
        let text = String::from_utf8(answer.body).unwrap();
        text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0)
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the process to end; how long that took.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, start.elapsed());
            }
            assert!(start.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn put(root: &Path, path: &str, bytes: &[u8]) {
    let file = root.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
}

/// `peerage serve`
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerage"));
    command.arg("serve");
    command
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header; all of them, where there are several; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        values.collect::<Vec<_>>().join(" | ")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends one request and reads its answer (RFC 9112).
pub(crate) fn ask(mut stream: impl Read + Write, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let status = line().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = std::iter::from_fn(|| Some(line()).filter(|l| !l.is_empty()))
        .map(|l| l.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap())
        .collect();
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    let mut answer = Answer { status, headers, body };
    if answer.header("transfer-encoding") == "chunked" {
        answer.body = unchunked(&answer.body);
    } else if method != "HEAD" && answer.status != 304 {
        assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{method} {path}");
    }
    answer
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        out.extend_from_slice(&bytes[at + 2..at + 2 + size]);
        bytes = &bytes[at + 4 + size..];
        if size == 0 {
            return out;
        }
    }
    panic!("the body is cut short")
}

fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}
