//! The browser bundle that this binary carries, and the files that `publish` makes of it.

use std::collections::BTreeSet;

use anyhow::ensure;
use peerage::digest::Digest;
use peerage::manifest::Entry;
use peerage::sign::PublicKey;
use serde::Serialize;

use super::config::Scope;
use super::site::Place;

/// The parts as built: wasm and wasm-bindgen's glue by `build.rs`, the rest from `sw/`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bundle {
    wasm: &'static [u8],
    glue: &'static str,
    worker: &'static str,
    mesh: &'static str,
    page: &'static str,
    inspector: &'static str,
}

/// One file of the bundle, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct BundleFile {
    /// Path below the site.
    pub(crate) path: String,
    /// Contents.
    pub(crate) bytes: Vec<u8>,
    /// Whether the name holds the hash of the contents, so that an older version's is never written over.
    pub(crate) is_addressed: bool,
}

/// The bundle made for one site.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    files: Vec<BundleFile>,
    wasm: String,
}

/// Where the worker script lies.
pub(crate) const WORKER: &str = "peerage-sw.js";
/// Where the page's script lies.
pub(crate) const PAGE: &str = "peerage/page.js";
/// Where the mesh worker's script lies.
pub(crate) const MESH: &str = "peerage/mesh.js";
/// Where the inspector's page lies.
pub(crate) const INSPECTOR: &str = "peerage/inspector.html";

/// What the worker script knows of its site before it has fetched anything.
#[derive(Serialize)]
struct Constants<'a> {
    version: &'a str,
    wasm: Part<'a>,
    page: Part<'a>,
    mesh: Part<'a>,
    inspector: Part<'a>,
    key: &'a PublicKey,
    site: String,
    scope: &'a Scope,
    folders: &'a Option<Folders>,
    documents: &'a Option<Folders>,
}

/// The folders at the top of the site that have listed files: what lies in another is not listed, which the worker says
/// without being woken, or at least at once.
pub(crate) type Folders = BTreeSet<String>;

/// The most folders that the worker script names.
const MAX_FOLDERS: usize = 64;

/// The folders of these entries and, for tabs on earlier versions, those that the worker script at `before` names; `None`
/// where there are too many.
pub(crate) fn folders(entries: &[Entry], before: Option<&Place>) -> Option<Folders> {
    let mut now = Folders::new();
    for (folder, _) in entries.iter().filter_map(|entry| entry.path.split_once('/')) {
        if !now.contains(folder) {
            now.insert(folder.to_owned());
            if now.len() > MAX_FOLDERS {
                return None;
            }
        }
    }
    let all: Folders = before.and_then(named_folders).unwrap_or_default().union(&now).cloned().collect();
    Some(if all.len() > MAX_FOLDERS { now } else { all })
}

/// The folders at the top of the site that have listed documents, an empty name for the top itself; `None` where there are too
/// many.
pub(crate) fn documents(entries: &[Entry]) -> Option<Folders> {
    let mut found = Folders::new();
    for entry in entries.iter().filter(|entry| entry.media_type.starts_with("text/html")) {
        let folder = entry.path.split_once('/').map_or("", |(folder, _)| folder);
        if !found.contains(folder) {
            found.insert(folder.to_owned());
        }
    }
    Some(found).filter(|found| found.len() <= MAX_FOLDERS)
}

/// The folders that a worker script names.
fn named_folders(place: &Place) -> Option<Folders> {
    const MAX_SCRIPT_BYTES: usize = 1 << 20;
    let script = place.read(WORKER, MAX_SCRIPT_BYTES).ok()??;
    let line = script.split(|&byte| byte == b'\n').next()?;
    let constants = line.strip_prefix(b"const PEERAGE = ")?.strip_suffix(b";")?;
    let constants: serde_json::Value = serde_json::from_slice(constants).ok()?;
    serde_json::from_value(constants.get("folders")?.clone()).ok()
}

#[derive(Serialize)]
struct Part<'a> {
    url: &'a str,
    sha256: Digest,
}

impl Bundle {
    /// The bundle in this binary; an error where it was built without one.
    pub(crate) fn embedded() -> anyhow::Result<Self> {
        let bundle = Self {
            wasm: include_bytes!(concat!(env!("OUT_DIR"), "/sw_bg.wasm")),
            glue: include_str!(concat!(env!("OUT_DIR"), "/sw.js")),
            worker: concat!(include_str!("../../sw/hot.js"), "\n", include_str!("../../sw/sw.js")),
            mesh: include_str!("../../sw/mesh.js"),
            page: concat!(
                "(() => {\n",
                include_str!("../../sw/consent.js"),
                "\n",
                include_str!("../../sw/connection.js"),
                "\n",
                include_str!("../../sw/page.js"),
                "})();\n"
            ),
            inspector: include_str!("../../sw/inspector.html"),
        };
        ensure!(
            !bundle.wasm.is_empty() && !bundle.glue.is_empty(),
            "this peerage was built without the browser bundle (PEERAGE_STUB_BUNDLE was set) and cannot publish; \
             build it again without that"
        );
        Ok(bundle)
    }

    /// The files for the site with this first key, this scope, and these [`folders`] with [`documents`].
    pub(crate) fn build(
        &self,
        key: &PublicKey,
        scope: &Scope,
        folders: &Option<Folders>,
        documents: &Option<Folders>,
    ) -> anyhow::Result<Built> {
        let wasm = wasm_path(self.wasm);
        let mesh = format!("{}\n{}", self.glue, self.mesh);
        let part = |url, bytes| Part { url, sha256: Digest::of(bytes) };
        let constants = serde_json::to_string(&Constants {
            version: env!("CARGO_PKG_VERSION"),
            wasm: part(&wasm, self.wasm),
            page: part(PAGE, self.page.as_bytes()),
            mesh: part(MESH, mesh.as_bytes()),
            inspector: part(INSPECTOR, self.inspector.as_bytes()),
            key,
            site: key.thumbprint(),
            scope,
            folders,
            documents,
        })?;
        let worker = format!(
            "const PEERAGE = {constants};\nconst peerageGlue = () => {{\n{}\nreturn wasm_bindgen;\n}};\n{}",
            self.glue, self.worker
        );
        let file =
            |path: &str, bytes: &[u8]| BundleFile { path: path.into(), bytes: bytes.into(), is_addressed: false };
        Ok(Built {
            files: vec![
                BundleFile { is_addressed: true, ..file(&wasm, self.wasm) },
                file(PAGE, self.page.as_bytes()),
                file(MESH, mesh.as_bytes()),
                file(INSPECTOR, self.inspector.as_bytes()),
                file(WORKER, worker.as_bytes()),
            ],
            wasm,
        })
    }
}

/// Named by its hash: the worker script names it, and the browser compares only the script.
fn wasm_path(wasm: &[u8]) -> String {
    format!("peerage/sw.{}.wasm", &Digest::of(wasm).hex()[..16])
}

impl Built {
    /// All files, in the order in which to put them in place: the worker script after what it names.
    pub(crate) fn files(&self) -> &[BundleFile] {
        &self.files
    }

    /// The wasm's path below the site.
    pub(crate) fn wasm(&self) -> &str {
        &self.wasm
    }

    /// Whether the worker script at `place` is this one; it holds the hashes of all the others.
    pub(crate) fn same_as(&self, place: &Place) -> bool {
        self.files
            .iter()
            .filter(|file| file.path == WORKER)
            .all(|file| place.read(WORKER, file.bytes.len() + 1).is_ok_and(|found| found.as_ref() == Some(&file.bytes)))
    }
}

/// An empty file for tests.
#[cfg(test)]
pub(crate) fn empty_entry(path: String) -> Entry {
    Entry {
        path,
        size: 0,
        integrity: Digest::of(b""),
        media_type: String::new(),
        label: peerage::manifest::Label::Share,
        precache: false,
        headers: Vec::new(),
        pieces: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(paths: impl IntoIterator<Item = String>) -> Vec<Entry> {
        paths.into_iter().map(empty_entry).collect()
    }

    fn named(names: &[&str]) -> Folders {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn folders_of_the_version_before_stay_named() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Folder(dir.path().to_owned());
        let now = entries(["index.html", "a/b/c.js", "a/d.js", "e/f"].map(str::to_owned));
        assert_eq!(folders(&now, Some(&place)), Some(named(&["a", "e"])));
        std::fs::write(dir.path().join(WORKER), "const PEERAGE = {\"folders\":[\"old\"]};\nrest").unwrap();
        assert_eq!(folders(&now, Some(&place)), Some(named(&["a", "e", "old"])));
        std::fs::write(dir.path().join(WORKER), "const PEERAGE = {\"folders\":null};\nrest").unwrap();
        assert_eq!(folders(&now, Some(&place)), Some(named(&["a", "e"])));
    }

    #[test]
    fn folders_with_documents_are_named() {
        let mut now = entries(["index.html", "a/b/c.html", "e/f.js", "a/d.html"].map(str::to_owned));
        for entry in &mut now {
            entry.media_type = if entry.path.ends_with("html") { "text/html; charset=utf-8" } else { "x/y" }.to_owned();
        }
        assert_eq!(documents(&now), Some(named(&["", "a"])));
        assert_eq!(documents(&now[2..3]), Some(named(&[])));
    }

    #[test]
    fn too_many_folders_are_not_named() {
        let many = |count| entries((0..count).map(|i| format!("{i}/file")));
        assert_eq!(folders(&many(MAX_FOLDERS), None).map(|all| all.len()), Some(MAX_FOLDERS));
        assert_eq!(folders(&many(MAX_FOLDERS + 1), None), None);
    }
}
