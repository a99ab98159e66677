//! A folder to publish, the real binary, and a reader that trusts nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use peerage::digest::Digest;
use peerage::keys::{self, Chain, PublicKey};
use peerage::manifest::{Entry, Root};
use peerage::verify::{self, UnverifiedRoot};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PEERAGE: &str = env!("CARGO_BIN_EXE_peerage");

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(args: &[&str]) -> Said {
    let output = Command::new(PEERAGE).args(args).output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder `site` in a temporary folder, where its key will lie too.
pub(crate) struct Site {
    pub(crate) around: TempDir,
}

impl Site {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let site = Self { around: tempfile::tempdir().unwrap() };
        fs::create_dir(site.dir()).unwrap();
        for (path, bytes) in files {
            site.put(path, bytes);
        }
        site
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.around.path().join("site")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.around.path().join("site.peerage-key.pem")
    }

    /// Writes into the file as it is, as most editors do.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let file = self.dir().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    pub(crate) fn try_publish(&self, args: &[&str]) -> Said {
        run(&[&["publish", self.dir().to_str().unwrap()], args].concat())
    }

    /// Publishes, and gives the report.
    pub(crate) fn publish(&self, args: &[&str]) -> Value {
        let said = self.try_publish(&[&["--json"], args].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_whole(&self.dir());
        serde_json::from_str(&said.out).unwrap()
    }

    pub(crate) fn entries(&self) -> BTreeMap<String, Entry> {
        assert_whole(&self.dir()).1.into_iter().map(|e| (e.path.clone(), e)).collect()
    }

    /// Every published file of Peerage's own with its contents.
    pub(crate) fn published(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.dir().join("peerage")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    drop(files.insert(path.clone(), fs::read(path).unwrap()))
                }
            }
        }
        files.extend(fs::read(self.dir().join("peerage-sw.js")).ok().map(|b| (self.dir().join("peerage-sw.js"), b)));
        files
    }

    pub(crate) fn old(&self, bytes: &[u8]) -> PathBuf {
        self.dir().join("peerage/old").join(Digest::of(bytes).hex())
    }
}

/// Reads a published folder from the root down, and checks everything that the root vouches for, and that the worker
/// script's parts are there. The site's own files are not looked at.
pub(crate) fn assert_whole(dir: &Path) -> (Root, Vec<Entry>) {
    let own = dir.join("peerage");
    let root = UnverifiedRoot::parse(&fs::read(own.join("root.jws")).unwrap()).unwrap();
    let first: PublicKey = serde_json::from_slice(&fs::read(own.join("keys/1.json")).unwrap()).unwrap();
    let site = first.thumbprint();
    let number = root.claims().key;
    let mut chain = Chain::new(site.clone(), first);
    while let Some(next) = chain.next(number).unwrap() {
        chain.follow(&fs::read(dir.join(keys::path(next))).unwrap()).unwrap();
    }
    assert!(!dir.join(keys::path(number + 1)).exists());
    let signed = chain.get(number).unwrap().signed(root.signed()).unwrap();
    let root = root.accept(signed, &site).unwrap().into_inner().root;
    let addressed = |kind: &str, digest: &Digest| {
        let bytes = fs::read(own.join(kind).join(digest.hex())).unwrap();
        let found = Digest::of(&bytes);
        (bytes, found)
    };
    let (mut pages, mut entries) = (vec![root.index], Vec::new());
    while let Some(digest) = pages.pop() {
        let (bytes, found) = addressed("index", &digest);
        let page = verify::index(bytes, found, digest).unwrap();
        for child in page.children() {
            if page.level() > 0 {
                pages.push(child.digest);
                continue;
            }
            let (bytes, found) = addressed("shard", &child.digest);
            entries.extend(verify::shard(bytes, found, &child).unwrap().iter());
        }
    }
    assert_eq!(entries.len() as u64, root.files);
    let constants = constants(dir);
    assert_eq!(constants["site"], root.site.as_str());
    for part in ["wasm", "page", "mesh", "inspector"] {
        let bytes = fs::read(dir.join(constants[part]["url"].as_str().unwrap())).unwrap();
        assert_eq!(constants[part]["sha256"], Digest::of(&bytes).to_string().as_str(), "{part}");
    }
    (root, entries)
}

/// The constants at the head of the worker script.
pub(crate) fn constants(dir: &Path) -> Value {
    let script = fs::read_to_string(dir.join("peerage-sw.js")).unwrap();
    let line = script.lines().next().unwrap().strip_prefix("const PEERAGE = ").unwrap();
    serde_json::from_str(line.strip_suffix(';').unwrap()).unwrap()
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// `peerage serve` on a free port, until it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    pub(crate) fn start_with(dir: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(PEERAGE)
            .arg("serve")
            .arg(dir)
            .args(["--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
