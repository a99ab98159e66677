//! The browser bundle that this binary carries, and the files that `publish` makes of it.

use std::collections::{BTreeMap, BTreeSet};

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
    listed: Option<Pairs<'a>>,
    before: Option<Pairs<'a>>,
}

/// Where files are listed: by the name of each folder at the top of the site, an empty one for the top itself, the endings
/// of the names in it; `None` where a name may end in any way. What lies elsewhere or ends otherwise is not listed, which a
/// browser that has static routes is told, and the worker says at once.
pub(crate) type Places = BTreeMap<String, Option<Endings>>;
type Endings = BTreeSet<String>;
/// How the worker script has them: in an object a folder might have a name that means something.
type Pairs<'a> = Vec<(&'a String, &'a Option<Endings>)>;

/// The most folders that the worker script names.
const MAX_FOLDERS: usize = 64;
/// The most endings that it names of one folder.
const MAX_ENDINGS: usize = 16;
/// The most endings that it names in all: a browser goes through its routes at each request.
const MAX_ALL_ENDINGS: usize = 100;
/// The longest ending; one that is longer names a file rather than a kind of files.
const MAX_ENDING_BYTES: usize = 16;

/// The places of a version, and of the one before it where those are others: open tabs may be on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    listed: Option<Places>,
    before: Option<Places>,
}

impl Listed {
    /// Of these entries, after a version with the worker script at `place`.
    pub(crate) fn of(entries: &[Entry], clean_urls: bool, place: Option<&Place>) -> Self {
        let listed = places(entries, clean_urls);
        let earlier = place.and_then(named).unwrap_or_default();
        let before = if earlier.listed == listed { earlier.before } else { earlier.listed };
        let before = before.filter(|before| listed.as_ref().is_some_and(|listed| !covers(listed, before)));
        Self { listed, before }
    }
}

/// Whether all that may be listed in the `other` places may be in these.
fn covers(places: &Places, other: &Places) -> bool {
    other.iter().all(|(folder, endings)| match (places.get(folder), endings) {
        (Some(None), _) => true,
        (Some(Some(all)), Some(some)) => some.is_subset(all),
        _ => false,
    })
}

/// The places of these entries; `None` where there are too many folders.
fn places(entries: &[Entry], clean_urls: bool) -> Option<Places> {
    let mut found = Places::new();
    for entry in entries {
        let folder = entry.path.split_once('/').map_or("", |(folder, _)| folder);
        if !found.contains_key(folder) {
            found.insert(folder.to_owned(), Some(Endings::new()));
            if found.len() > MAX_FOLDERS {
                return None;
            }
        }
        let Some(endings) = found.get_mut(folder) else { continue };
        match (&mut *endings, ending(&entry.path).filter(|&ending| !(clean_urls && ending == "html"))) {
            (Some(known), Some(ending)) if known.contains(ending) => {}
            (Some(known), Some(ending)) if known.len() < MAX_ENDINGS => _ = known.insert(ending.to_owned()),
            _ => *endings = None,
        }
    }
    // Those of the folders that have most are given up first.
    let count = |endings: &Option<Endings>| endings.as_ref().map_or(0, Endings::len);
    while found.values().map(count).sum::<usize>() > MAX_ALL_ENDINGS {
        if let Some(most) = found.values_mut().max_by_key(|endings| count(endings)) {
            *most = None;
        }
    }
    Some(found)
}

/// What the name of a file ends in, behind its last dot; `None` where it has none that a URL has as it is.
fn ending(path: &str) -> Option<&str> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let (stem, ending) = name.rsplit_once('.')?;
    let is_plain = ending.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    (is_plain && !stem.is_empty() && !ending.is_empty() && ending.len() <= MAX_ENDING_BYTES).then_some(ending)
}

/// The places that a worker script names.
fn named(place: &Place) -> Option<Listed> {
    const MAX_SCRIPT_BYTES: usize = 1 << 20;
    let script = place.read(WORKER, MAX_SCRIPT_BYTES).ok()??;
    let line = script.split(|&byte| byte == b'\n').next()?;
    let constants = line.strip_prefix(b"const PEERAGE = ")?.strip_suffix(b";")?;
    let constants: serde_json::Value = serde_json::from_slice(constants).ok()?;
    let places = |name: &str| {
        let pairs: Option<Vec<(String, Option<Endings>)>> =
            serde_json::from_value(constants.get(name)?.clone()).ok()?;
        Some(pairs?.into_iter().collect())
    };
    Some(Listed { listed: places("listed"), before: places("before") })
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

    /// The files for the site with this first key, this scope, and these places.
    pub(crate) fn build(&self, key: &PublicKey, scope: &Scope, listed: &Listed) -> anyhow::Result<Built> {
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
            listed: listed.listed.as_ref().map(|places| places.iter().collect()),
            before: listed.before.as_ref().map(|places| places.iter().collect()),
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

    /// Folders with their endings, `*` for any.
    fn named_as(places: &[(&str, &str)]) -> Places {
        let endings = |text: &str| (text != "*").then(|| text.split_whitespace().map(str::to_owned).collect());
        places.iter().map(|(folder, text)| ((*folder).to_owned(), endings(text))).collect()
    }

    fn of(paths: &[&str]) -> Vec<Entry> {
        entries(paths.iter().map(|path| (*path).to_owned()))
    }

    #[test]
    fn places_of_the_version_before_stay_named_until_they_change_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Folder(dir.path().to_owned());
        let now = of(&["index.html", "a/b/c.js", "a/d.png", "e/f", "g/h.js"]);
        let listed = Some(named_as(&[("", "html"), ("a", "js png"), ("e", "*"), ("g", "js")]));
        let after = |script: &str| {
            std::fs::write(dir.path().join(WORKER), format!("const PEERAGE = {script};\nrest")).unwrap();
            let all = Listed::of(&now, false, Some(&place));
            assert_eq!(all.listed, listed);
            all.before
        };
        assert_eq!(Listed::of(&now, false, Some(&place)), Listed { listed: listed.clone(), before: None });
        let old = named_as(&[("a", "css"), ("g", "*")]);
        assert_eq!(after(r#"{"listed":[["a",["css"]],["g",null]]}"#), Some(old.clone()));
        let same = r#"[["",["html"]],["a",["js","png"]],["e",null],["g",["js"]]]"#;
        assert_eq!(after(&format!(r#"{{"listed":{same},"before":[["a",["css"]],["g",null]]}}"#)), Some(old));
        // Whatever was listed may be now.
        assert_eq!(after(r#"{"listed":[["a",["js"]],["e",["y"]]],"before":[["z",null]]}"#), None);
        assert_eq!(after(r#"{"listed":null,"before":null}"#), None);
    }

    #[test]
    fn a_page_with_a_clean_url_may_end_in_any_way() {
        let now = of(&["index.html", "a/b/about.html", "a/d.js", "e/f.js"]);
        assert_eq!(places(&now, true), Some(named_as(&[("", "*"), ("a", "*"), ("e", "js")])));
        assert_eq!(places(&now, false), Some(named_as(&[("", "html"), ("a", "html js"), ("e", "js")])));
    }

    #[test]
    fn a_name_that_a_url_may_write_otherwise_has_no_ending() {
        let names = ["LICENSE", ".well", "a.", "a.tar.gz", "v1.2", "a.é", "a.b c", "x/a.b/c", "a.abcdefghijklmnopq"];
        let endings = names.map(ending);
        assert_eq!(endings, [None, None, None, Some("gz"), Some("2"), None, None, None, None]);
    }

    #[test]
    fn what_is_too_much_is_not_named() {
        let many = |count| entries((0..count).map(|i| format!("{i}/file.js")));
        assert_eq!(places(&many(MAX_FOLDERS), false).map(|all| all.len()), Some(MAX_FOLDERS));
        assert_eq!(places(&many(MAX_FOLDERS + 1), false), None);
        let folder = |name: usize, count: usize| (0..count).map(move |i| format!("{name}/file.{i}"));
        let named = |paths: Vec<String>| {
            places(&entries(paths), false).unwrap().values().filter(|endings| endings.is_some()).count()
        };
        assert_eq!(named(folder(1, MAX_ENDINGS).collect()), 1);
        assert_eq!(named(folder(1, MAX_ENDINGS + 1).collect()), 0);
        // Of many folders those with most.
        let all = (0..MAX_FOLDERS).flat_map(|name| folder(name, if name < 5 { MAX_ENDINGS } else { 1 })).collect();
        assert_eq!(named(all), MAX_FOLDERS - 3);
    }
}
