//! The headers that the origin sent with listed files, remembered beside the store: bytes from peers bring none.

use crate::digest::Digest;
use crate::manifest::Entry;
use crate::replay::Pairs;
use crate::route;
use crate::sorted::Map;
use crate::wire::{BadMessage, Reader, put_text};

/// Files whose headers are remembered; beyond it none are added.
const MOST: usize = 4096;

/// Observed headers, by path: with which file they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    by_path: Map<String, (Digest, Pairs)>,
    /// Those of the file before: while an update is under way, documents of both versions are opened.
    before: Map<String, (Digest, Pairs)>,
}

impl Observed {
    /// Remembers what [`crate::replay::kept`] left of the headers that came with a listed file, or with a part of it;
    /// whether that is news.
    pub fn note(&mut self, path: &str, file: Digest, headers: Pairs, is_part: bool) -> bool {
        if is_part && self.by_path.get(path).is_some_and(|(known, _)| *known == file) {
            // A part is never encoded: the whole tells more.
            return false;
        }
        if self.by_path.len() >= MOST && !self.by_path.contains_key(path) {
            return false;
        }
        let fresh = (file, headers);
        if self.by_path.get(path) == Some(&fresh) {
            return false;
        }
        if let Some(known) = self.by_path.insert(path.to_owned(), fresh)
            && known.0 != file
        {
            self.before.insert(path.to_owned(), known);
        }
        true
    }

    /// The headers that came with a file of these bytes, if any did.
    pub fn of(&self, entry: &Entry) -> Option<&Pairs> {
        let known = [self.by_path.get(&entry.path), self.before.get(&entry.path)];
        known.into_iter().flatten().find(|(file, _)| *file == entry.integrity).map(|(_, headers)| headers)
    }

    /// Whether the site's documents are guarded by headers, or none has been seen yet.
    pub fn guards(&self) -> bool {
        let is_html = |(name, value): &(String, String)| name == "content-type" && value.starts_with("text/html");
        let documents = || self.by_path.values().map(|(_, headers)| headers).filter(|h| h.iter().any(is_html));
        documents().next().is_none() || documents().any(|headers| route::guards(headers))
    }

    /// As bytes, to be stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, (file, headers)) in self.before.iter().chain(self.by_path.iter()) {
            put_text(&mut out, path);
            out.extend(file.0);
            out.extend((headers.len() as u32).to_le_bytes());
            for (name, value) in headers {
                put_text(&mut out, name);
                put_text(&mut out, value);
            }
        }
        out
    }

    /// Reads what [`Observed::encode`] wrote, unless it is damaged.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        let mut from = Reader::new(bytes);
        let mut observed = Self::default();
        while from.end().is_err() {
            let (path, file) = (from.text()?, from.digest()?);
            let mut headers = Pairs::new();
            for _ in 0..from.u32()? {
                headers.push((from.text()?, from.text()?));
            }
            observed.note(&path, file, headers, false);
        }
        Ok(observed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Label;

    fn entry(path: &str, content: &[u8]) -> Entry {
        Entry {
            path: path.into(),
            size: content.len() as u64,
            integrity: Digest::of(content),
            media_type: "text/html".into(),
            label: Label::Share,
            precache: false,
            headers: Vec::new(),
            pieces: Vec::new(),
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn headers_belong_to_the_bytes_they_came_with() {
        let mut observed = Observed::default();
        let sent = headers(&[("etag", "1"), ("content-encoding", "br")]);
        assert!(observed.note("a", Digest::of(b"abc"), sent.clone(), false));
        assert!(!observed.note("a", Digest::of(b"abc"), sent.clone(), false), "nothing new");
        assert!(!observed.note("a", Digest::of(b"abc"), headers(&[("etag", "1")]), true), "the whole tells more");
        assert_eq!(observed.of(&entry("a", b"abc")), Some(&sent));
        assert_eq!(observed.of(&entry("a", b"abd")), None);
        assert_eq!(observed.of(&entry("b", b"abc")), None);
        let newer = headers(&[("etag", "2")]);
        assert!(observed.note("a", Digest::of(b"abd"), newer.clone(), false));
        for observed in [&observed, &Observed::read(&observed.encode()).unwrap()] {
            assert_eq!(observed.of(&entry("a", b"abc")), Some(&sent), "that of the version before");
            assert_eq!(observed.of(&entry("a", b"abd")), Some(&newer));
        }
    }

    #[test]
    fn a_site_counts_as_guarded_until_a_document_without_guards_is_seen() {
        let mut observed = Observed::default();
        observed.note("a.js", Digest::of(b"js"), headers(&[("content-type", "text/javascript")]), false);
        assert!(observed.guards());
        observed.note("a", Digest::of(b"a"), headers(&[("content-type", "text/html; charset=utf-8")]), false);
        assert!(!observed.guards());
        let guarded = headers(&[("content-type", "text/html"), ("content-security-policy", "default-src 'self'")]);
        observed.note("b", Digest::of(b"b"), guarded, false);
        assert!(observed.guards());
    }

    #[test]
    fn what_is_stored_is_read_and_what_is_damaged_is_nothing() {
        let mut observed = Observed::default();
        observed.note("a/ü", Digest::of(b"1"), headers(&[("x", "é"), ("y", "")]), false);
        observed.note("b", Digest::of(b"2"), headers(&[]), false);
        let bytes = observed.encode();
        assert_eq!(Observed::read(&bytes), Some(observed));
        assert_eq!(Observed::read(&bytes[..bytes.len() - 1]), None);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] = 0xff;
            Observed::read(&damaged);
        }
    }
}
