//! Parts of the manifest in the site's cache: what each is called there, and which of them no version needs any more.

use crate::digest::Digest;

/// Where parts of the manifest lie.
const KINDS: [&str; 3] = ["index", "shard", "delta"];

/// Site-relative URL of a part of the manifest.
pub fn path(kind: &str, digest: &Digest) -> String {
    ["peerage/", kind, "/", &digest.hex()].concat()
}

/// Whether what lies at a site-relative URL can be deleted: a part of the manifest that is not among the `needed`, or a wasm
/// of another worker than the one that has just become active, whose own is `wasm`. A delta is no version's: it has done its
/// work when a version is taken up.
pub fn is_useless(relative: &str, needed: &[String], wasm: Option<&str>) -> bool {
    let is_part = KINDS.iter().any(|kind| relative.starts_with(&["peerage/", kind, "/"].concat()));
    let is_old_wasm = wasm.is_some_and(|wasm| relative.ends_with(".wasm") && relative != wasm);
    is_old_wasm || is_part && !needed.iter().any(|path| path == relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_version_names_is_useless_and_nothing_else() {
        let part = |kind, name: &str| path(kind, &Digest::of(name.as_bytes()));
        let needed = [part("index", "top"), part("shard", "a")];
        for kept in [&needed[0], &needed[1], "peerage/store/0000000000000001", "peerage/page.js", "index.html", ""] {
            assert!(!is_useless(kept, &needed, Some("peerage/new.wasm")), "{kept}");
        }
        for useless in [part("index", "older"), part("shard", "b"), part("delta", "a"), part("index", "a")] {
            assert!(is_useless(&useless, &needed, None), "{useless}");
        }
    }

    #[test]
    fn a_worker_that_becomes_active_deletes_the_wasm_of_those_before_it() {
        for (wasm, is_deleted) in [(None, false), (Some("peerage/old.wasm"), false), (Some("peerage/new.wasm"), true)] {
            assert_eq!(is_useless("peerage/old.wasm", &[], wasm), is_deleted);
        }
    }
}
