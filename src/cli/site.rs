//! A published site as others find it: in a folder or at a URL.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use axum::http::Uri;
use peerage::digest::Digest;
use peerage::keys::{self, Chain, FIRST, MAX_LINK_BYTES, PublicKey};
use peerage::manifest::url_from_path;
use peerage::manifest::{Child, Entry, MAX_PAGE_BYTES, MAX_SHARD_BYTES, Shard};
use peerage::verify::{self, SignedRoot, UnverifiedRoot, Verified};
use rayon::prelude::*;
use ureq::ResponseExt as _;

use super::Misuse;

/// Where the root lies, below the site.
pub(crate) const ROOT: &str = "peerage/root.jws";

/// The place of a shard.
pub(crate) fn shard_path(digest: &Digest) -> String {
    format!("peerage/shard/{}", digest.hex())
}

/// The place of an index page.
pub(crate) fn index_path(digest: &Digest) -> String {
    format!("peerage/index/{}", digest.hex())
}

/// The place of a delta.
pub(crate) fn delta_path(digest: &Digest) -> String {
    format!("peerage/delta/{}", digest.hex())
}

/// The place of a file that an older version had.
pub(crate) fn old_path(integrity: &Digest) -> String {
    format!("peerage/old/{}", integrity.hex())
}

/// Where a site is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A URL that ends in `/`.
    Url(Site),
}

/// A site behind HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    base: String,
    agent: ureq::Agent,
}

/// A file of a site, open for reading.
pub(crate) struct Opened {
    /// Whether it came over HTTP, with headers to be judged.
    pub(crate) is_live: bool,
    /// Header fields, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The path of the URL that a redirect led to, where one did.
    pub(crate) moved: Option<String>,
    /// The bytes, without any content coding.
    pub(crate) body: Box<dyn Read>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("headers", &self.headers).finish_non_exhaustive()
    }
}

impl Opened {
    /// The first field of that (lower-case) name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Site {
    /// A site at an `https:` URL; plain `http:` on this machine only, since anybody on the way could change its root.
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let misuse = |why: &str| Misuse(format!("{url:?} cannot be used: {why}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| misuse("it is not an http or https URL"))?;
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        match scheme {
            "https" => {}
            "http" if is_loopback(host) => {}
            "http" => return Err(misuse("plain http is only for this machine; use https").into()),
            _ => return Err(misuse("it is not an http or https URL").into()),
        }
        let base = match rest.rsplit_once('/') {
            None => format!("{scheme}://{rest}/"),
            // A page's own address means the folder that it is in.
            Some((folder, last)) if last.contains('.') => format!("{scheme}://{folder}/"),
            Some((_, "")) => format!("{scheme}://{rest}"),
            Some(_) => format!("{scheme}://{rest}/"),
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("peerage/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        Ok(Self { base, agent })
    }

    /// The URL of a path below the site.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}", self.base, url_from_path(path))
    }

    fn open(&self, path: &str) -> anyhow::Result<Option<Opened>> {
        let asked: Uri = self.url(path).parse()?;
        let response = self.agent.get(&asked).call()?;
        let moved = Some(response.get_uri().path()).filter(|&path| path != asked.path()).map(str::to_owned);
        let (head, body) = response.into_parts();
        match head.status.as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            status => bail!("the server answers with status {status}"),
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Ok(Some(Opened {
            is_live: true,
            moved,
            headers: head.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v.as_bytes()))).collect(),
            body: Box::new(body.into_with_config().limit(u64::MAX).reader()),
        }))
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, _)) => v6,
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(dir) => dir.display().fmt(f),
            Self::Url(site) => f.write_str(&site.base),
        }
    }
}

impl Place {
    /// A URL where the text looks like one, else a folder.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        if text.contains("://") { Ok(Self::Url(Site::new(text)?)) } else { Ok(Self::Folder(text.into())) }
    }

    /// Where a path below the site is, for people.
    pub(crate) fn locate(&self, path: &str) -> String {
        match self {
            Self::Folder(dir) => dir.join(path).display().to_string(),
            Self::Url(site) => site.url(path),
        }
    }

    /// A path below the site; `None` where there is no such file.
    pub(crate) fn open(&self, path: &str) -> anyhow::Result<Option<Opened>> {
        let opened = match self {
            Self::Folder(dir) => open_file(&dir.join(path)),
            Self::Url(site) => site.open(path),
        };
        opened.with_context(|| format!("cannot read {}", self.locate(path)))
    }

    /// The bytes of a path below the site; `None` where there is no such file.
    pub(crate) fn read(&self, path: &str, limit: usize) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(opened) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = opened.body.take(limit as u64 + 1).read_to_end(&mut bytes);
        read.with_context(|| format!("cannot read {}", self.locate(path)))?;
        ensure!(bytes.len() <= limit, "{} is larger than {limit} bytes", self.locate(path));
        Ok(Some(bytes))
    }

    fn need(&self, path: &str, limit: usize) -> anyhow::Result<Vec<u8>> {
        self.read(path, limit)?.ok_or_else(|| anyhow!("{} is missing", self.locate(path)))
    }

    /// The root, its signature checked by way of the chain of keys from the first; `None` where nothing is published.
    pub(crate) fn root(&self) -> anyhow::Result<Option<Verified<SignedRoot>>> {
        Ok(self.published()?.map(|(root, _)| root))
    }

    /// The root as in [`Place::root`], and the keys up to the one that signed it.
    pub(crate) fn published(&self) -> anyhow::Result<Option<(Verified<SignedRoot>, Keys)>> {
        let Some(bytes) = self.read(ROOT, 1 << 20)? else { return Ok(None) };
        let root = match UnverifiedRoot::parse(&bytes) {
            // A single-page application's server answers every path with its HTML.
            Err(_) if matches!(self, Self::Url(_)) && bytes.trim_ascii_start().starts_with(b"<") => return Ok(None),
            parsed => parsed.with_context(|| self.locate(ROOT))?,
        };
        let number = root.claims().key;
        let keys = self.keys(number)?;
        let key = keys.chain.get(number).context("a chain that was followed to a key has it")?;
        let signed = key.signed(root.signed()).with_context(|| self.locate(&keys::path(number)))?;
        let root = root.accept(signed, &keys.site).with_context(|| self.locate(ROOT))?;
        Ok(Some((root, keys)))
    }

    /// The site's keys from the first to that of this number, each proven by the one before.
    pub(crate) fn keys(&self, to: u32) -> anyhow::Result<Keys> {
        let path = keys::path(FIRST);
        let first: PublicKey = serde_json::from_slice(&self.need(&path, MAX_LINK_BYTES)?)
            .with_context(|| format!("{} is not a public key in JWK form", self.locate(&path)))?;
        let site = first.thumbprint();
        let mut keys = Keys { site: site.clone(), chain: Chain::new(site, first), links: Vec::new() };
        while let Some(next) = keys.chain.next(to).with_context(|| self.locate(ROOT))? {
            let path = keys::path(next);
            let link = self.need(&path, MAX_LINK_BYTES)?;
            keys.chain.follow(&link).with_context(|| self.locate(&path))?;
            keys.links.push(link);
        }
        Ok(keys)
    }

    /// Everything below a root, checked against `index`.
    pub(crate) fn tree(&self, index: Digest) -> anyhow::Result<Parts> {
        self.tree_without(index, &BTreeSet::new())
    }

    /// The same without the pages and shards in `known`, and what is below them.
    pub(crate) fn tree_without(&self, index: Digest, known: &BTreeSet<Digest>) -> anyhow::Result<Parts> {
        let is_new = |child: &Child| !known.contains(&child.digest);
        let mut parts = Parts::default();
        let mut level = vec![index];
        level.retain(|digest| !known.contains(digest));
        while !level.is_empty() {
            let mut below = Vec::new();
            for digest in level {
                let bytes = self.need(&index_path(&digest), MAX_PAGE_BYTES)?;
                let found = Digest::of(&bytes);
                let page = verify::index(bytes, found, digest).with_context(|| self.locate(&index_path(&digest)))?;
                below.extend(page.children().filter(|_| page.level() > 0).filter(is_new).map(|child| child.digest));
                parts.shards.extend(page.children().filter(|_| page.level() == 0).filter(is_new));
                let first = page.children().next().map(|child| child.first).unwrap_or_default();
                parts.pages.push(Page { digest, level: page.level(), first });
            }
            level = below;
        }
        let shards: Vec<Vec<Entry>> = parts
            .shards
            .par_iter()
            .map(|child| Ok(self.shard(child)?.iter().collect()))
            .collect::<anyhow::Result<_>>()?;
        parts.entries = shards.into_iter().flatten().collect();
        Ok(parts)
    }

    fn shard(&self, child: &Child) -> anyhow::Result<Verified<Shard>> {
        let path = shard_path(&child.digest);
        let bytes = self.need(&path, MAX_SHARD_BYTES)?;
        let found = Digest::of(&bytes);
        verify::shard(bytes, found, child).with_context(|| self.locate(&path))
    }
}

/// A site's keys, as far as they were asked for.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The site id.
    pub(crate) site: String,
    /// The keys.
    pub(crate) chain: Chain<PublicKey>,
    /// The links to all but the first, as they lie at their places.
    pub(crate) links: Vec<Vec<u8>>,
}

impl Keys {
    /// A key's number in the chain.
    pub(crate) fn number(&self, key: &PublicKey) -> Option<u32> {
        (FIRST..=self.chain.last()).find(|&number| self.chain.get(number) == Some(key))
    }
}

/// What a root leads to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    /// The index pages, those of a level in order of path.
    pub(crate) pages: Vec<Page>,
    /// The shards.
    pub(crate) shards: Vec<Child>,
    /// All entries, in order of path.
    pub(crate) entries: Vec<Entry>,
}

/// An index page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Its address.
    pub(crate) digest: Digest,
    /// Height above the shards.
    pub(crate) level: u8,
    /// The first path below it.
    pub(crate) first: String,
}

fn open_file(file: &Path) -> anyhow::Result<Option<Opened>> {
    match std::fs::File::open(file) {
        Ok(opened) => Ok(Some(Opened { is_live: false, moved: None, headers: Vec::new(), body: Box::new(opened) })),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
