//! From a URL's path to a file below the served folder: which file it names, and which it must not.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use peerage::manifest::{path_from_url, url_from_path};
use peerage::route::short_name;

/// What a URL's path names.
#[derive(Debug)]
pub(super) enum Place {
    File(Found),
    /// A folder with an index, named without the slash at its end.
    Folder,
    /// With clean URLs, a page by its full name: the percent-encoded path by which it goes.
    Page(String),
    Nothing,
    /// There is something, but it cannot be looked at.
    Unreadable(PathBuf, io::Error),
}

/// A regular file below the served folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) file: PathBuf,
    /// Its path below the served folder, decoded, `/` between the parts.
    pub(super) path: String,
    pub(super) size: u64,
    /// There is a `.br` beside it.
    pub(super) br: bool,
    /// There is a `.gz` beside it.
    pub(super) gz: bool,
}

/// Looks up the percent-encoded `url_path`, relative to `root` and without a slash at its start. `root` is canonical.
/// Hidden files, `_headers`, and links that lead out of `root` are nothing.
pub(super) fn locate(root: &Path, url_path: &str) -> Place {
    let Some(path) = path_from_url(url_path) else { return Place::Nothing };
    let (parts, is_folder) = match path.strip_suffix('/') {
        Some(folder) => (folder, true),
        None => (path.as_str(), path.is_empty()),
    };
    if !parts.is_empty() && !parts.split('/').all(is_visible) {
        return Place::Nothing;
    }
    match file_or_folder(root, &root.join(parts)) {
        Ok(Some(Kind::File(file, size))) if !is_folder => found(file, size, parts.to_owned()),
        Ok(Some(Kind::Folder(folder))) => match file_or_folder(root, &folder.join("index.html")) {
            Ok(Some(Kind::File(..))) if !is_folder => Place::Folder,
            Ok(Some(Kind::File(file, size))) if parts.is_empty() => found(file, size, "index.html".to_owned()),
            Ok(Some(Kind::File(file, size))) => found(file, size, format!("{parts}/index.html")),
            Ok(_) => Place::Nothing,
            Err(e) => Place::Unreadable(folder, e),
        },
        Ok(_) => Place::Nothing,
        Err(e) => Place::Unreadable(root.join(parts), e),
    }
}

/// As [`locate`], for a site with clean URLs: `about` names `about.html`, and `about.html` leads there.
pub(super) fn locate_clean(root: &Path, url_path: &str) -> Place {
    let is_folder = url_path.is_empty() || url_path.ends_with('/');
    match locate(root, url_path) {
        Place::Nothing if !is_folder => locate(root, &format!("{url_path}.html")),
        Place::File(found) if !is_folder && short_name(&found.path, true) != found.path => {
            let short = url_from_path(short_name(&found.path, true));
            match locate(root, &short) {
                Place::Nothing => Place::Page(short),
                Place::File(other) if other.path == found.path => Place::Page(short),
                // That name is taken.
                Place::File(_) | Place::Folder | Place::Page(_) | Place::Unreadable(..) => Place::File(found),
            }
        }
        there @ (Place::File(_) | Place::Folder | Place::Page(_) | Place::Nothing | Place::Unreadable(..)) => there,
    }
}

enum Kind {
    File(PathBuf, u64),
    Folder(PathBuf),
}

/// What is really at `path`, links followed, where it is below `root` and may be seen.
fn file_or_folder(root: &Path, path: &Path) -> io::Result<Option<Kind>> {
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(e) if is_absence(&e) => return Ok(None),
        Err(e) => return Err(e),
    };
    let Ok(below) = real.strip_prefix(root) else { return Ok(None) };
    let seen = below.iter().all(|part| part.to_str().is_none_or(is_visible));
    if !seen || below == Path::new("_headers") {
        return Ok(None);
    }
    let kind = real.metadata()?;
    Ok(if kind.is_file() {
        Some(Kind::File(real, kind.len()))
    } else if kind.is_dir() {
        Some(Kind::Folder(real))
    } else {
        None
    })
}

/// Whether a part of a path may be served. The hidden folder of RFC 8615 may.
fn is_visible(part: &str) -> bool {
    !part.is_empty() && (!part.starts_with('.') || part == ".well-known")
}

fn found(file: PathBuf, size: u64, path: String) -> Place {
    let beside = |end: &str| {
        let mut name = OsString::from(&file);
        name.push(end);
        Path::new(&name).symlink_metadata().is_ok_and(|kind| kind.is_file())
    };
    let (br, gz) = (beside(".br"), beside(".gz"));
    Place::File(Found { file, path, size, br, gz })
}

fn is_absence(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn site() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().canonicalize().unwrap().join("site");
        for folder in ["docs", "empty", ".git", ".well-known", "späße"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in [
            "index.html",
            "_headers",
            "docs/index.html",
            "docs/_headers",
            "a b.js",
            "a b.js.br",
            "50% #1?.txt",
            "späße/ü.txt",
            ".env",
            ".git/config",
            ".well-known/security.txt",
        ] {
            fs::write(root.join(file), file).unwrap();
        }
        fs::write(outer.path().join("secret.txt"), "secret").unwrap();
        (outer, root)
    }

    fn path_of(root: &Path, url: &str) -> Option<String> {
        match locate(root, url) {
            Place::File(found) => Some(found.path),
            Place::Folder | Place::Page(_) | Place::Nothing | Place::Unreadable(..) => None,
        }
    }

    #[test]
    fn names_of_any_kind_are_found() {
        let (_outer, root) = site();
        for (url, path) in [
            ("", "index.html"),
            ("docs/", "docs/index.html"),
            ("docs/index.html", "docs/index.html"),
            ("a%20b.js", "a b.js"),
            ("50%25%20%231%3F.txt", "50% #1?.txt"),
            ("sp%C3%A4%C3%9Fe/%C3%BC.txt", "späße/ü.txt"),
            (".well-known/security.txt", ".well-known/security.txt"),
            ("docs/_headers", "docs/_headers"),
        ] {
            assert_eq!(path_of(&root, url).as_deref(), Some(path), "{url}");
        }
        assert!(matches!(locate(&root, "docs"), Place::Folder));
        assert!(matches!(locate(&root, "a%20b.js"), Place::File(Found { br: true, gz: false, .. })));
    }

    #[test]
    fn with_clean_urls_a_page_has_one_name() {
        let (_outer, root) = site();
        fs::create_dir(root.join("blog")).unwrap();
        for file in ["über.html", "blog.html", "docs.html", "blog/post.html"] {
            fs::write(root.join(file), file).unwrap();
        }
        let at = |url: &str| match locate_clean(&root, url) {
            Place::File(found) => found.path,
            Place::Page(short) => format!("-> {short}"),
            other @ (Place::Folder | Place::Nothing | Place::Unreadable(..)) => format!("{other:?}"),
        };
        for (url, place) in [
            ("%C3%BCber", "über.html"),
            ("%C3%BCber.html", "-> %C3%BCber"),
            ("blog", "blog.html"),
            ("blog/post", "blog/post.html"),
            ("blog/post%2Ehtml", "-> blog/post"),
            ("docs", "Folder"),
            ("docs.html", "docs.html"),
            ("docs/", "docs/index.html"),
            ("docs/index.html", "-> docs/"),
            ("docs/index", "docs/index.html"),
            ("", "index.html"),
            ("a%20b.js", "a b.js"),
            ("blog/", "Nothing"),
            ("missing", "Nothing"),
            ("_headers", "Nothing"),
        ] {
            assert_eq!(at(url), place, "{url}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let (_outer, root) = site();
        for url in [
            "_headers",
            "%5fheaders",
            ".env",
            ".git/config",
            ".",
            "..",
            "../secret.txt",
            "%2e%2e/secret.txt",
            "..%2fsecret.txt",
            "docs/../../secret.txt",
            "docs/%2e%2e/_headers",
            "docs//index.html",
            "/index.html",
            "docs/index.html/",
            "index.html/x",
            "empty",
            "empty/",
            "missing",
            "a%00b",
            "%ff",
            "%2",
            "..%5csecret.txt",
        ] {
            assert_eq!(path_of(&root, url), None, "{url}");
            assert!(matches!(locate(&root, url), Place::Nothing), "{url}");
        }
        assert!(matches!(locate(&root, &"x".repeat(5000)), Place::Nothing));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_the_folder_only() {
        use std::os::unix::fs::symlink;
        let (outer, root) = site();
        symlink(root.join("a b.js"), root.join("inside.js")).unwrap();
        symlink(outer.path().join("secret.txt"), root.join("outside.txt")).unwrap();
        symlink(outer.path(), root.join("up")).unwrap();
        symlink(root.join(".git"), root.join("git")).unwrap();
        symlink(root.join("_headers"), root.join("h")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink(outer.path().join("secret.txt"), root.join("index.html.br")).unwrap();
        assert_eq!(path_of(&root, "inside.js").as_deref(), Some("inside.js"));
        for url in ["outside.txt", "up/secret.txt", "up/", "git/config", "h", "loop"] {
            assert_eq!(path_of(&root, url), None, "{url}");
        }
        assert!(matches!(locate(&root, ""), Place::File(Found { br: false, .. })));
    }
}
