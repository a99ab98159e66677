//! `peerage show FILE|URL|DIR`: a root, an index page, a shard or a delta in a form for people (or JSON).

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use indicatif::HumanBytes;
use peerage::keys::{Link, PublicKey, UnverifiedLink};
use peerage::manifest::{Delta, DeltaName, Index, Label, Root, Shard};
use peerage::sign::Key;
use peerage::verify::UnverifiedRoot;
use serde_json::{Value, json};

use super::say;
use super::site::{Place, ROOT};

/// Print a root, an index page, a shard, a delta, a key or a link between keys
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A published folder, a site's URL (for its root), or one of its files
    #[arg(value_name = "FILE|URL|DIR")]
    what: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let (place, path) = locate(&args.what)?;
    let bytes = place
        .read(&path, 64 << 20)?
        .ok_or_else(|| anyhow!("there is no {}: is something published there?", place.locate(&path)))?;
    let shown = Shown::of(&bytes, &place).with_context(|| place.locate(&path))?;
    if args.json {
        say(serde_json::to_string_pretty(&shown.json)?)?
    } else {
        say(shown.text)?
    }
    Ok(())
}

/// The site, and the file in it.
fn locate(what: &str) -> anyhow::Result<(Place, String)> {
    // A file of a site is known by the folder that all of them lie in.
    let split = what.rfind("/peerage/").map(|at| (&what[..=at], &what[at + 1..]));
    if what.contains("://") {
        let (site, path) = split.unwrap_or((what, ROOT));
        return Ok((Place::parse(site)?, path.to_owned()));
    }
    let file = Path::new(what);
    ensure!(file.exists(), "there is no {what}");
    if file.is_dir() {
        return Ok((Place::Folder(file.to_owned()), ROOT.to_owned()));
    }
    if let Some((site, path)) = split {
        return Ok((Place::Folder(site.into()), path.to_owned()));
    }
    let name = file.file_name().and_then(|name| name.to_str()).context("a file whose name is not UTF-8")?;
    Ok((Place::Folder(file.parent().map(Path::to_owned).unwrap_or_default()), name.to_owned()))
}

/// Both forms of what was found.
struct Shown {
    text: String,
    json: Value,
}

impl Shown {
    fn of(bytes: &[u8], place: &Place) -> anyhow::Result<Self> {
        match bytes {
            [b'P', b'G', b'S', ..] => Self::shard(&Shard::open(bytes.to_vec())?),
            [b'P', b'G', b'I', ..] => Self::index(&Index::open(bytes.to_vec())?),
            [b'P', b'G', b'D', ..] => Ok(Self::delta(&Delta::open(bytes)?)),
            [b'e', b'y', ..] => Self::root(bytes, place),
            [b'{', ..] if UnverifiedLink::parse(bytes).is_ok() => Self::link(&UnverifiedLink::parse(bytes)?, place),
            [b'{', ..] => {
                let key = serde_json::from_slice(bytes).context("JSON, but not a public key in JWK form")?;
                Self::key(&key, "public key")
            }
            _ if is_pem(bytes) => {
                let pem = std::str::from_utf8(bytes).context("not text")?;
                Self::key(&Key::from_pem(pem)?.public(), "private key")
            }
            _ => bail!("it is neither a root, an index page, a shard, a delta, a key nor a link between keys"),
        }
    }

    fn root(bytes: &[u8], place: &Place) -> anyhow::Result<Self> {
        let parsed = UnverifiedRoot::parse(bytes)?;
        let root = parsed.claims().clone();
        let signature = match place.keys(root.key) {
            Err(e) => format!("not checked: {e:#}"),
            Ok(keys) if keys.site != root.site => "not checked: the keys here are another site's".to_owned(),
            Ok(keys) => match keys.chain.get(root.key) {
                Some(key) if key.signed(parsed.signed())? => "good".to_owned(),
                _ => "WRONG: it was not made with this site's key".to_owned(),
            },
        };
        let Root { format, site, version, issued, expires, index, index_bytes, key, files, bytes: total, .. } = &root;
        let Root { policy, retired, delta, .. } = &root;
        let policy = serde_json::to_string(policy)?;
        let delta = delta.map(|DeltaName { digest, bytes }| format!("{}, {bytes} bytes", digest.hex()));
        let text = format!(
            "root, {size} bytes\n  signature {signature}\n  site      {site}\n  version   {version}\n  \
             issued    {issued}\n  expires   {expires}\n  format    {format}\n  key       {key}\n  \
             files     {files}\n  bytes     {total} ({human})\n  index     {index}, {index_bytes} bytes\n  delta     {delta}\n  policy    {policy}\n  \
             retired   {retired}",
            size = bytes.len(),
            human = HumanBytes(*total),
            index = index.hex(),
            delta = delta.unwrap_or_else(|| "none".to_owned()),
        );
        Ok(Self { text, json: json!({ "kind": "root", "signature": signature, "root": root }) })
    }

    fn index(index: &Index) -> anyhow::Result<Self> {
        let children: Vec<_> = index.children().collect();
        let of = if index.level() == 0 { "shards" } else { "index pages" };
        let mut text = format!("index page, level {}, {} {of}", index.level(), children.len());
        for child in &children {
            let precache = if child.precache { " precache" } else { "" };
            write!(text, "\n  {} {:>9}  {}{precache}", child.digest.hex(), child.bytes, child.first)?;
        }
        Ok(Self { text, json: json!({ "kind": "index", "level": index.level(), "children": children }) })
    }

    fn shard(shard: &Shard) -> anyhow::Result<Self> {
        let entries: Vec<_> = shard.iter().collect();
        let mut text = format!("shard, {} entries", entries.len());
        for entry in &entries {
            let label = match entry.label {
                Label::Share => "share",
                Label::Cache => "cache",
            };
            let precache = if entry.precache { "+precache" } else { "" };
            write!(
                text,
                "\n  {:>13} {:>5} pieces  {:<14} {:<28} {}",
                entry.size,
                entry.pieces.len(),
                format!("{label}{precache}"),
                entry.media_type,
                entry.path
            )?;
            for (name, value) in &entry.headers {
                write!(text, "\n{:>24} {name}: {value}", "")?;
            }
        }
        Ok(Self { text, json: json!({ "kind": "shard", "entries": entries }) })
    }

    fn delta(delta: &Delta) -> Self {
        let mut text = format!("delta, {} patches", delta.patches.len());
        if let Some(DeltaName { digest, bytes }) = delta.before {
            text = format!("{text}, after {}, {bytes} bytes", digest.hex());
        }
        for patch in &delta.patches {
            text = format!("{text}\n  {:>9}  {} to {}", patch.bytes(), patch.source.hex(), patch.target.hex());
        }
        let patches: Vec<_> = delta
            .patches
            .iter()
            .map(|patch| json!({ "source": patch.source, "target": patch.target, "bytes": patch.bytes() }))
            .collect();
        Self { text, json: json!({ "kind": "delta", "before": delta.before, "patches": patches }) }
    }

    fn link(link: &UnverifiedLink, place: &Place) -> anyhow::Result<Self> {
        let Link { site, number, key, issued, .. } = link.claims();
        let signatures = match place.keys(*number) {
            Ok(keys) if keys.site == *site && keys.chain.get(*number) == Some(key) => "good".to_owned(),
            Ok(_) => "not checked: the keys here are others".to_owned(),
            Err(e) => format!("not good: {e:#}"),
        };
        let text = format!(
            "link to key {number}\n  signatures {signatures}\n  site       {site}\n  issued     {issued}\n  key        {}",
            key.thumbprint()
        );
        Ok(Self { text, json: json!({ "kind": "link", "signatures": signatures, "link": link.claims() }) })
    }

    fn key(key: &PublicKey, kind: &str) -> anyhow::Result<Self> {
        let site = key.thumbprint();
        Ok(Self {
            text: format!("{kind}; as a site's first it is that of site {site}"),
            json: json!({ "kind": kind, "site": site, "public": key }),
        })
    }
}

/// Whether a line begins a PEM (RFC 7468, section 2: text may stand before it).
fn is_pem(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b'\n').any(|line| line.starts_with(b"-----BEGIN "))
}
