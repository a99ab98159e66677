//! The browser bundle that this binary carries, and the files that `publish` makes of it.

use anyhow::ensure;
use peerage::digest::Digest;
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

    /// The files for the site with this first key and this scope.
    pub(crate) fn build(&self, key: &PublicKey, scope: &Scope) -> anyhow::Result<Built> {
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
