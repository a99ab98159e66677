//! The headers of a listed file's answer: the origin's own as they were seen with these very bytes, over them those that
//! the owner signed, and what only the answer itself knows (its length, its part of the file).

use crate::manifest::Entry;

/// What belongs to one transmission, not to the file.
const HOP: [&str; 7] =
    ["content-range", "transfer-encoding", "connection", "keep-alive", "date", "age", "server-timing"];

/// Names and values, as they come.
pub type Pairs = Vec<(String, String)>;

/// The body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The file as it is.
    Whole,
    /// The half-open span of it that was asked for.
    Part(u64, u64),
    /// The file with something added: its length is not said.
    Changed,
}

/// What is kept of an origin's answer, whose names are in lower case. The length of what was encoded is the origin's to
/// say; every other is known.
pub fn kept(mut answer: Pairs) -> Pairs {
    let is_encoded = answer.iter().any(|(name, _)| name == "content-encoding");
    answer.retain(|(name, _)| !HOP.contains(&name.as_str()) && (is_encoded || name != "content-length"));
    answer
}

/// The headers for a body of a listed file. `observed` is what [`kept`] left of an answer with these bytes; where there
/// was none, a static server's are assumed.
pub fn headers(entry: &Entry, observed: Option<&Pairs>, body: Body) -> Pairs {
    let mut headers = observed.cloned().unwrap_or_default();
    for (name, value) in &entry.headers {
        // A server adds what it varies by itself to what is signed.
        if !name.eq_ignore_ascii_case("vary") || !has(&headers, name) {
            headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
            headers.push((name.clone(), value.clone()));
        }
    }
    if !has(&headers, "content-type") {
        headers.push(("content-type".to_owned(), entry.media_type.clone()));
    }
    let is_encoded = has(&headers, "content-encoding");
    if let Body::Part(start, end) = body {
        // A range counts bytes of the file itself, never of an encoded form of it, and so does the tag it has then.
        remove(&mut headers, "content-encoding");
        if is_encoded && let Some((_, tag)) = headers.iter_mut().find(|(name, _)| name == "etag") {
            *tag = tag.strip_prefix("W/").unwrap_or(tag).to_owned();
        }
        put(&mut headers, "content-range", format!("bytes {start}-{}/{}", end - 1, entry.size));
        put(&mut headers, "content-length", (end - start).to_string());
    } else if body == Body::Changed {
        remove(&mut headers, "content-length");
    } else if !is_encoded {
        put(&mut headers, "content-length", entry.size.to_string());
    }
    if observed.is_none() || matches!(body, Body::Part(..)) {
        put(&mut headers, "accept-ranges", "bytes".to_owned());
    }
    headers
}

fn has(headers: &Pairs, name: &str) -> bool {
    headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
}

fn remove(headers: &mut Pairs, name: &str) {
    headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
}

fn put(headers: &mut Pairs, name: &str, value: String) {
    remove(headers, name);
    headers.push((name.to_owned(), value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::manifest::Label;

    fn pairs(list: &[(&str, &str)]) -> Pairs {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn entry(signed: &[(&str, &str)]) -> Entry {
        Entry {
            path: "a.txt".to_owned(),
            size: 1000,
            integrity: Digest::of(b""),
            media_type: "text/plain".to_owned(),
            label: Label::Share,
            precache: false,
            headers: pairs(signed),
            pieces: Vec::new(),
        }
    }

    fn of(entry: &Entry, observed: Option<&Pairs>, body: Body) -> Vec<String> {
        let mut lines: Vec<_> = headers(entry, observed, body).iter().map(|(n, v)| format!("{n}: {v}")).collect();
        lines.sort();
        lines
    }

    #[test]
    fn signed_headers_stand_over_observed_ones() {
        let seen = kept(pairs(&[("etag", "\"1\""), ("x-mark", "old"), ("date", "now"), ("vary", "A, B")]));
        let want = ["X-Mark: signed", "content-length: 1000", "content-type: text/plain", "etag: \"1\"", "vary: A, B"];
        assert_eq!(of(&entry(&[("X-Mark", "signed"), ("Vary", "B")]), Some(&seen), Body::Whole), want);
    }

    #[test]
    fn without_an_observation_a_static_server_is_assumed() {
        let part = ["accept-ranges: bytes", "content-length: 10", "content-range: bytes 90-99/1000"];
        assert_eq!(of(&entry(&[]), None, Body::Part(90, 100))[..3], part);
        let whole = ["accept-ranges: bytes", "content-length: 1000", "content-type: text/plain"];
        assert_eq!(of(&entry(&[]), None, Body::Whole), whole);
        assert_eq!(of(&entry(&[("Content-Type", "a/b")]), None, Body::Changed), ["Content-Type: a/b", whole[0]]);
    }

    #[test]
    fn what_was_encoded_says_so_but_in_a_part() {
        let encoded =
            [("content-encoding", "br"), ("content-length", "77"), ("etag", "W/\"1\""), ("vary", "Accept-Encoding")];
        let seen = kept(pairs(&encoded));
        let whole = ["content-encoding: br", "content-length: 77", "content-type: text/plain", "etag: W/\"1\""];
        assert_eq!(of(&entry(&[]), Some(&seen), Body::Whole)[..4], whole);
        let part = of(&entry(&[]), Some(&seen), Body::Part(0, 5));
        assert!(part.contains(&"etag: \"1\"".to_owned()) && part.contains(&"content-length: 5".to_owned()));
        assert!(!part.iter().any(|line| line.starts_with("content-encoding")), "{part:?}");
        assert!(!of(&entry(&[]), Some(&seen), Body::Changed).iter().any(|line| line.starts_with("content-length")));
    }
}
