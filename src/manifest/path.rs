//! Canonical paths and the URLs that name them.

use super::BadManifest;

/// The longest path, in bytes.
pub(super) const MAX_PATH: usize = 4096;

/// A path that a manifest cannot list; the text says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Empty, or longer than 4,096 bytes.
    #[error("empty, or longer than 4,096 bytes")]
    Length,
    /// Starts or ends with `/`, has `//`, `.` or `..` as a part, a backslash or a control character.
    #[error("has an empty part, `.`, `..`, a backslash or a control character in it")]
    Form,
}

impl From<BadPath> for BadManifest {
    fn from(_: BadPath) -> Self {
        Self::Inconsistent("a path that no file can have")
    }
}

/// Whether `path` is canonical: decoded parts with `/` between them and nothing that a URL parser would rewrite.
pub fn check_path(path: &str) -> Result<(), BadPath> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err(BadPath::Length);
    }
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.split('/').any(odd) || path.contains(|c: char| c.is_control() || c == '\\') {
        return Err(BadPath::Form);
    }
    Ok(())
}

/// The path that a URL's (percent-encoded, site-relative) path names; `None` where no listed file can be meant: a bad
/// escape, an encoded slash, bytes that are not UTF-8. The empty path and paths that end in `/` are kept: the router
/// resolves them.
pub fn path_from_url(url_path: &str) -> Option<String> {
    let mut out = Vec::with_capacity(url_path.len());
    let mut rest = url_path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let decoded = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
        if decoded == b'/' || decoded == b'\\' || decoded < 0x20 {
            return None;
        }
        out.push(decoded);
    }
    String::from_utf8(out).ok()
}

/// The site-relative URL of a path: every byte but unreserved characters and the few that URL parsers leave alone in a
/// path is percent-encoded (RFC 3986, section 2).
pub fn url_from_path(path: &str) -> String {
    use std::fmt::Write as _;
    path.bytes().fold(String::with_capacity(path.len()), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_paths_and_back() {
        for path in ["index.html", "a b/ü#?%.js", "100%/x", "日本.txt", "a+b&c=d"] {
            assert_eq!(check_path(path), Ok(()));
            assert_eq!(path_from_url(&url_from_path(path)).as_deref(), Some(path));
        }
        assert_eq!(url_from_path("a b#.js"), "a%20b%23.js");
    }

    #[test]
    fn what_no_file_can_have_is_refused() {
        for path in ["", "/", "/a", "a/", "a//b", ".", "a/../b", "a\\b", "a\nb"] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        for url in ["%", "%2", "%zz", "a%2Fb", "a%2fb", "%00", "%ff", "a%5Cb"] {
            assert_eq!(path_from_url(url), None, "{url}");
        }
    }
}
