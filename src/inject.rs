//! Adding the `page.js` tag to a listed HTML document: the one change that Peerage ever makes to a body, so that a site
//! needs nothing but the registration of its worker.

use crate::text;

/// What to do with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Insert the tag before this byte.
    At(usize),
    /// The document loads `page.js` itself.
    There,
    /// A policy would block the tag; the text says which.
    Blocked(&'static str),
    /// No place where a script could go: not a document with a head or a body.
    NoPlace,
}

/// How much of a document is looked at, in bytes.
pub const LOOK: usize = 1 << 20;

/// Decides for a document (the first [`LOOK`] bytes at least, or all) with these response headers.
pub fn plan(html: &[u8], headers: &[(String, String)], script: &str) -> Plan {
    let text = html.to_ascii_lowercase();
    if find(&text, 0, script.to_ascii_lowercase().as_bytes()).is_some() {
        return Plan::There;
    }
    for (name, value) in headers {
        let blocked = match name.to_ascii_lowercase().as_str() {
            // A policy that only reports would be told of the tag.
            "content-security-policy" | "content-security-policy-report-only" => {
                value.split(',').any(|policy| !allows_own_scripts(policy))
            }
            "integrity-policy" | "integrity-policy-report-only" => text::contains(value, "script"),
            _ => false,
        };
        if blocked {
            return Plan::Blocked("a header of the document (Content-Security-Policy or Integrity-Policy)");
        }
    }
    if metas(&text).any(|policy| !allows_own_scripts(&policy)) {
        return Plan::Blocked("a Content-Security-Policy in a meta element");
    }
    place(&text).map_or(Plan::NoPlace, Plan::At)
}

/// Whether one serialized policy (W3C CSP Level 3, section 2.2) lets the document load a script of its own origin that
/// carries neither nonce nor hash. Source lists that name hosts are not matched: without `'self'` or a wildcard the
/// answer is no.
pub fn allows_own_scripts(policy: &str) -> bool {
    let policy = policy.to_ascii_lowercase();
    let directive = |wanted: &str| {
        policy.split(';').map(str::trim).find_map(|directive| {
            let (name, sources) = directive.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((directive, ""));
            (name == wanted).then(|| sources.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
        })
    };
    // The script names its own policy (W3C Trusted Types, section 4.3), without which it can start no worker.
    if directive("trusted-types").is_some_and(|names| !names.iter().any(|name| name == "*" || name == "peerage")) {
        return false;
    }
    // In an origin of its own the document has no worker.
    if directive("sandbox").is_some_and(|flags| !flags.iter().any(|flag| flag == "allow-same-origin")) {
        return false;
    }
    let Some(sources) =
        directive("script-src-elem").or_else(|| directive("script-src")).or_else(|| directive("default-src"))
    else {
        return true;
    };
    let has = |wanted: &str| sources.iter().any(|s| s == wanted);
    !has("'strict-dynamic'") && (has("'self'") || has("*") || has("https:"))
}

/// The policies in `<meta http-equiv="content-security-policy" content="…">`, from lower-case text.
fn metas(text: &[u8]) -> impl Iterator<Item = String> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = find(text, from, b"<meta")?;
        let end = find(text, start, b">").unwrap_or(text.len());
        from = end;
        // As Latin-1: what is looked for in it is ASCII.
        Some(text.get(start..end)?.iter().copied().map(char::from).collect::<String>())
    })
    .filter(|tag| text::contains(tag, "content-security-policy"))
    .map(|tag| {
        let content = text::split_once(&tag, "content=").map(|(_, c)| c).unwrap_or_default();
        let quote = content.chars().next().filter(|c| matches!(c, '"' | '\''));
        match quote {
            Some(quote) => content.get(1..).unwrap_or_default().split(quote).next().unwrap_or_default().to_owned(),
            None => content.split_ascii_whitespace().next().unwrap_or_default().to_owned(),
        }
    })
}

/// After the last `<meta charset>` near the top or the head's start tag; before `</head>`, `<body` or the first script
/// where there is no head tag. A tag there is parsed early and moves no declaration out of the first 1,024 bytes that
/// browsers read for an encoding (WHATWG HTML, section 13.2.3.2).
fn place(text: &[u8]) -> Option<usize> {
    let after = |at: usize| find(text, at, b">").map(|end| end + 1);
    if let Some(charset) = find(text, 0, b"<meta charset").filter(|&at| at < 1024) {
        return after(charset);
    }
    if let Some(head) = tag(text, b"<head") {
        return after(head);
    }
    tag(text, b"<script").or_else(|| tag(text, b"</head")).or_else(|| tag(text, b"<body"))
}

/// Where a tag of exactly this name starts (`<head`, not `<header`).
fn tag(text: &[u8], name: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = find(text, from, name)?;
        match text.get(at + name.len()) {
            Some(c) if c.is_ascii_whitespace() || matches!(c, b'>' | b'/') => return Some(at),
            _ => from = at + name.len(),
        }
    }
}

fn find(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    text::find(text.get(from..)?, what).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "peerage/page.js";

    fn at(html: &str) -> String {
        match plan(html.as_bytes(), &[], SCRIPT) {
            Plan::At(at) => format!("{}|{}", &html[..at], &html[at..]),
            other @ (Plan::There | Plan::Blocked(_) | Plan::NoPlace) => format!("{other:?}"),
        }
    }

    #[test]
    fn the_tag_goes_into_the_head() {
        assert_eq!(at("<!doctype html><html><HEAD lang=en><title>"), "<!doctype html><html><HEAD lang=en>|<title>");
        assert_eq!(at("<head><meta charset=utf-8><title>"), "<head><meta charset=utf-8>|<title>");
        assert_eq!(at("<header></header><script src=a></script>"), "<header></header>|<script src=a></script>");
        assert_eq!(at("<p>only text"), "NoPlace");
    }

    #[test]
    fn a_document_that_loads_it_is_left_alone() {
        assert_eq!(at("<head></head><script src=\"/peerage/page.js\" async></script>"), "There");
    }

    #[test]
    fn policies_that_would_block_it_are_seen() {
        for (policy, allowed) in [
            ("default-src 'self'", true),
            ("script-src 'self' 'unsafe-inline'; default-src 'none'", true),
            ("img-src 'none'", true),
            ("default-src 'none'", false),
            ("script-src 'nonce-abc'", false),
            ("script-src 'self' 'strict-dynamic' 'nonce-abc'", false),
            ("script-src-elem 'none'; script-src 'self'", false),
            ("SCRIPT-SRC 'SELF'", true),
            ("script-src https://cdn.example", false),
            ("require-trusted-types-for 'script'", true),
            ("sandbox allow-scripts", false),
            ("sandbox allow-scripts allow-same-origin", true),
            ("trusted-types default 'allow-duplicates'", false),
            ("trusted-types default peerage; script-src 'self'", true),
        ] {
            assert_eq!(allows_own_scripts(policy), allowed, "{policy}");
            let headers = [("content-security-policy".to_owned(), policy.to_owned())];
            let blocked = matches!(plan(b"<head>", &headers, SCRIPT), Plan::Blocked(_));
            assert_eq!(blocked, !allowed);
            let reporting = [("content-security-policy-report-only".to_owned(), policy.to_owned())];
            assert_eq!(matches!(plan(b"<head>", &reporting, SCRIPT), Plan::Blocked(_)), !allowed);
            let meta = format!("<head><meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">");
            assert_eq!(matches!(plan(meta.as_bytes(), &[], SCRIPT), Plan::Blocked(_)), !allowed, "{meta}");
        }
    }
}
