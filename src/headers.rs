//! The `_headers` file: response headers by path, in the convention of Netlify and Cloudflare Pages.
//!
//! ```text
//! # a path, then what its answers carry
//! /assets/*
//!   Cache-Control: public, max-age=3600
//! /assets/:build/*
//!   X-Build: :build
//!   ! Cache-Control
//! ```
//!
//! `*` stands for any text, `:name` for one part of a path, and both can be put into a value as `:splat` and `:name`.
//! All rules that match apply, in their order; values of one name are joined with a comma; `! Name` takes away what
//! earlier rules gave. The server sends what this module says and `publish` signs it, so both read it the same way.

use std::fmt;

/// The rules of a `_headers` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Vec<Part>,
    changes: Vec<Change>,
}

/// A piece of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Splat,
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Add(String, String),
    Detach(String),
}

/// A line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BadHeaders {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Neither a path, nor `Name: value`, nor `! Name`.
    NoRule,
    /// A header before the first path.
    NoPath,
    /// A pattern for a host, or with two splats.
    Pattern(&'static str),
    /// A header name or value that HTTP does not allow (RFC 9110, section 5).
    Field(String),
    /// A header that only the server can know.
    Reserved(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("expected a path that starts with /, “Name: value” or “! Name”"),
            Self::NoPath => f.write_str("a header needs a path above it"),
            Self::Pattern(problem) => f.write_str(problem),
            Self::Field(name) => write!(f, "{name:?} is not a header that HTTP allows"),
            Self::Reserved(name) => write!(f, "{name} is the server's own to say"),
        }
    }
}

/// Headers about the transfer itself: a static file cannot know them.
const RESERVED: [&str; 14] = [
    "accept-ranges",
    "age",
    "allow",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "date",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

impl Headers {
    /// Parses the text of a `_headers` file.
    pub fn parse(text: &str) -> Result<Self, BadHeaders> {
        let mut rules: Vec<Rule> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = if at == 0 { line.trim_start_matches('\u{feff}') } else { line }.trim();
            let bad = |problem| BadHeaders { line: at + 1, problem };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('/') {
                rules.push(Rule { pattern: pattern(line).map_err(bad)?, changes: Vec::new() });
                continue;
            }
            if line.starts_with("https://") || line.starts_with("http://") {
                return Err(bad(Problem::Pattern("a path for one host only is not supported: start it with /")));
            }
            let change = change(line).map_err(bad)?;
            rules.last_mut().ok_or_else(|| bad(Problem::NoPath))?.changes.push(change);
        }
        Ok(Self { rules })
    }

    /// The headers for a decoded URL path such as `/a/b.js`. A folder and the index file in it are one resource:
    /// `/docs/` and `/docs/index.html` have the same headers, by the rules that match either.
    pub fn for_path(&self, path: &str) -> Vec<(String, String)> {
        let folder = path.strip_suffix("index.html").filter(|folder| folder.ends_with('/')).unwrap_or(path);
        let index = folder.ends_with('/').then(|| format!("{folder}index.html"));
        let mut headers: Vec<(String, String)> = Vec::new();
        for rule in &self.rules {
            let matched = matches(&rule.pattern, folder).or_else(|| matches(&rule.pattern, index.as_deref()?));
            let Some(captures) = matched else { continue };
            for change in &rule.changes {
                match change {
                    Change::Detach(name) => headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name)),
                    Change::Add(name, value) => add(&mut headers, name, fill(value, &captures)),
                }
            }
        }
        headers
    }
}

/// `Set-Cookie` is the one header whose values cannot be joined (RFC 9110, section 5.3).
fn add(headers: &mut Vec<(String, String)>, name: &str, value: String) {
    let same = headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
    match same {
        Some((_, values)) if !name.eq_ignore_ascii_case("set-cookie") => {
            values.push_str(", ");
            values.push_str(&value);
        }
        _ => headers.push((name.to_owned(), value)),
    }
}

fn change(line: &str) -> Result<Change, Problem> {
    if let Some(name) = line.strip_prefix('!') {
        return Ok(Change::Detach(field_name(name.trim())?));
    }
    let (name, value) = line.split_once(':').ok_or(Problem::NoRule)?;
    let name = field_name(name.trim_end())?;
    let value = value.trim();
    if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
        return Err(Problem::Field(name));
    }
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(Problem::Reserved(name));
    }
    Ok(Change::Add(name, value.to_owned()))
}

/// A field name is a token (RFC 9110, section 5.6.2).
fn field_name(name: &str) -> Result<String, Problem> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Problem::Field(name.to_owned()));
    }
    Ok(name.to_owned())
}

fn pattern(line: &str) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let name_end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let part = match c {
            '*' => Part::Splat,
            ':' if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let name = rest[..name_end].to_owned();
                rest = &rest[name_end..];
                Part::Name(name)
            }
            _ => {
                text.push(c);
                continue;
            }
        };
        if part == Part::Splat && parts.contains(&Part::Splat) {
            return Err(Problem::Pattern("a path can have one * only"));
        }
        if !text.is_empty() {
            parts.push(Part::Text(decode(&std::mem::take(&mut text))));
        }
        parts.push(part);
    }
    if !text.is_empty() {
        parts.push(Part::Text(decode(&text)));
    }
    Ok(parts)
}

/// Percent-decodes what can be; a pattern may be written as the URL or as the file's name.
fn decode(text: &str) -> String {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1).copied().and_then(hex).zip(bytes.get(at + 2).copied().and_then(hex));
        match digits {
            Some((high, low)) if byte == b'%' => {
                out.push(high * 16 + low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

type Captures<'a> = Vec<(&'a str, &'a str)>;

/// What the splat and the names stand for in `path`; `None` where it does not match. A splat takes as much as it can.
fn matches<'a>(pattern: &'a [Part], path: &'a str) -> Option<Captures<'a>> {
    let Some((part, rest)) = pattern.split_first() else { return path.is_empty().then(Vec::new) };
    match part {
        Part::Text(text) => matches(rest, path.strip_prefix(text.as_str())?),
        Part::Name(name) => {
            let longest = path.find('/').unwrap_or(path.len());
            ends(path, longest).filter(|&end| end > 0).find_map(|end| taken(rest, path, end, name))
        }
        Part::Splat => ends(path, path.len()).find_map(|end| taken(rest, path, end, "splat")),
    }
}

fn taken<'a>(rest: &'a [Part], path: &'a str, end: usize, name: &'a str) -> Option<Captures<'a>> {
    let mut captures = matches(rest, &path[end..])?;
    captures.push((name, &path[..end]));
    Some(captures)
}

/// The character boundaries of `path` up to `longest`, longest first.
fn ends(path: &str, longest: usize) -> impl Iterator<Item = usize> {
    (0..=longest).rev().filter(|&end| path.is_char_boundary(end))
}

/// Puts what was captured into a value. What cannot stand in a header is percent-encoded.
fn fill(value: &str, captures: &Captures<'_>) -> String {
    if captures.is_empty() || !value.contains(':') {
        return value.to_owned();
    }
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find(':') {
        let (before, from) = rest.split_at(at);
        let name_end = from[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(from.len(), |n| n + 1);
        out.push_str(before);
        match captures.iter().find(|(name, _)| *name == &from[1..name_end]) {
            Some((_, captured)) => {
                for byte in captured.bytes() {
                    if byte.is_ascii_graphic() {
                        out.push(char::from(byte));
                    } else {
                        out.push_str(&format!("%{byte:02X}"));
                    }
                }
            }
            None => out.push_str(&from[..name_end]),
        }
        rest = &from[name_end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str, path: &str) -> Vec<(String, String)> {
        Headers::parse(text).unwrap().for_path(path)
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn all_matching_rules_apply_in_order_and_values_are_joined() {
        let text = "/*\n  X-A: 1\n  X-B: b\n\n# more\n/docs/*\n  x-a: 2\n";
        assert_eq!(headers(text, "/x.js"), pairs(&[("X-A", "1"), ("X-B", "b")]));
        assert_eq!(headers(text, "/docs/x.js"), pairs(&[("X-A", "1, 2"), ("X-B", "b")]));
    }

    #[test]
    fn a_detached_header_is_gone_until_it_is_given_again() {
        let text = "/*\n  X-A: 1\n/docs/*\n  ! x-a\n/docs/b\n  X-A: 3";
        assert_eq!(headers(text, "/docs/a"), pairs(&[]));
        assert_eq!(headers(text, "/docs/b"), pairs(&[("X-A", "3")]));
    }

    #[test]
    fn placeholders_take_one_part_and_splats_any_number() {
        let text = "/:lang/*\n  X: :lang and :splat, not :other\n/a/*.js\n  Y: js";
        assert_eq!(headers(text, "/de/a/b.css"), pairs(&[("X", "de and a/b.css, not :other")]));
        assert_eq!(headers(text, "/a/x/y.js"), pairs(&[("X", "a and x/y.js, not :other"), ("Y", "js")]));
        assert_eq!(headers(text, "/top"), pairs(&[]));
        assert_eq!(headers("/x*y\n A: :splat", "/xyy"), pairs(&[("A", "y")]));
    }

    #[test]
    fn exact_paths_match_exactly_however_they_are_written() {
        let text = "/a%20b.js\n  A: 1\n/ü.js\n  B: 2\n/%C3%BC.js\n  C: 3\n/50%.js\n  D: 4";
        assert_eq!(headers(text, "/a b.js"), pairs(&[("A", "1")]));
        assert_eq!(headers(text, "/ü.js"), pairs(&[("B", "2"), ("C", "3")]));
        assert_eq!(headers(text, "/50%.js"), pairs(&[("D", "4")]));
        assert_eq!(headers(text, "/a b.js2"), pairs(&[]));
    }

    #[test]
    fn a_folder_and_its_index_have_the_same_headers() {
        let text = "/docs/\n  A: 1\n/docs/index.html\n  B: 2\n/*\n  C: 3";
        let want = pairs(&[("A", "1"), ("B", "2"), ("C", "3")]);
        assert_eq!(headers(text, "/docs/"), want);
        assert_eq!(headers(text, "/docs/index.html"), want);
        assert_eq!(headers(text, "/docs/myindex.html"), pairs(&[("C", "3")]));
    }

    #[test]
    fn captured_text_cannot_break_a_header() {
        assert_eq!(headers("/*\n  X: :splat", "/a b\r\nü"), pairs(&[("X", "a%20b%0D%0A%C3%BC")]));
    }

    #[test]
    fn values_keep_their_colons() {
        let text = "/*\n  Content-Security-Policy: default-src https://a.example:8080 :splat";
        assert_eq!(headers(text, "/p")[0].1, "default-src https://a.example:8080 p");
    }

    #[test]
    fn cookies_are_not_joined() {
        let text = "/*\n  Set-Cookie: a=1\n  Set-Cookie: b=2";
        assert_eq!(headers(text, "/").len(), 2);
    }

    #[test]
    fn what_cannot_be_understood_is_named_by_its_line() {
        let cases = [
            ("X-A: 1", 1, Problem::NoPath),
            ("/a\n  nonsense", 2, Problem::NoRule),
            ("/a\n\n  X Y: 1", 3, Problem::Field("X Y".into())),
            ("/a\n  X: a\u{7}b", 2, Problem::Field("X".into())),
            ("/a\n  Content-Length: 3", 2, Problem::Reserved("Content-Length".into())),
            ("/*/*\n", 1, Problem::Pattern("a path can have one * only")),
            (
                "https://x.example/*\n",
                1,
                Problem::Pattern("a path for one host only is not supported: start it with /"),
            ),
        ];
        for (text, line, problem) in cases {
            assert_eq!(Headers::parse(text), Err(BadHeaders { line, problem }), "{text:?}");
        }
    }

    #[test]
    fn an_empty_file_has_no_headers() {
        assert_eq!(headers("", "/"), pairs(&[]));
        assert_eq!(headers("\u{feff}/a\r\n  A: 1\r\n", "/a"), pairs(&[("A", "1")]));
    }
}
