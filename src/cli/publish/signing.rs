//! Which key signs, and what proves it to visitors.
//!
//! * **The first time** a key is made: the worker script names it, and the site id is its hash.
//! * **From then on** the newest key of the chain signs ([`peerage::keys`]); no other one is taken.
//! * **`--new-key FILE`** adds a link: the newest key says who follows it.
//! * **`--replace-key`**, where the key is lost or stolen: another first key, and so another site to whom nothing of the
//!   old one means anything. Visitors come to it by the worker script, which their browsers fetch from the origin.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use peerage::keys::{self as chain, FIRST, MAX_KEYS, PublicKey};
use peerage::sign::Key;

use super::{Previous, PublishOptions};
use crate::cli::site::{Keys, Place};
use crate::cli::{Misuse, keys};

/// What is to sign, before anything is written.
#[derive(Debug)]
pub(super) struct Plan {
    file: PathBuf,
    /// `None`: yet to be made.
    key: Option<Key>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The first key of a site.
    Begin,
    /// The key that signed before.
    Go(Keys),
    /// From that key, in that file, on to another.
    Rotate(Keys, Key, PathBuf),
}

/// What signs.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) key: Key,
    pub(super) file: PathBuf,
    /// Whether it was made just now.
    pub(super) created: bool,
    /// Its number in the chain.
    pub(super) number: u32,
    /// The site's first key.
    pub(super) first: PublicKey,
    /// The site id.
    pub(super) site: String,
    /// Paths and contents of the links.
    pub(super) links: Vec<(String, Vec<u8>)>,
    /// The file of the key that it takes over from.
    before: Option<PathBuf>,
}

impl Plan {
    /// Finds the keys' files, and refuses one that must not sign.
    pub(super) fn find(dir: &Path, options: &PublishOptions, previous: Option<&Previous>) -> anyhow::Result<Self> {
        let file = match &options.key {
            Some(file) => file.clone(),
            None => keys::default_place(dir)?,
        };
        keys::must_be_outside(&file, Some(dir))?;
        let key = keys::read(&file)?;
        let Some(previous) = previous else {
            let what = if options.replace_key { "replaced" } else { "followed by another" };
            ensure!(
                !options.replace_key && options.new_key.is_none(),
                Misuse(format!("nothing is published in {} yet, so there is no key to be {what}", dir.display()))
            );
            if let Some(note) = keys::note(&file)? {
                bail!(
                    "{} says that it is {}, and neither {} nor --url has the keys before it: without them this would \
                     become another site. Say with --url where the site is live, or put its peerage/keys/ into the folder",
                    file.display(),
                    note.trim_start_matches("peerage "),
                    dir.display()
                );
            }
            return Ok(Self { file, key, step: Step::Begin });
        };
        let Previous { place, keys, .. } = previous;
        if options.replace_key && !previous.is_replaced {
            if let Some(number) = key.as_ref().and_then(|key| keys.number(&key.public())) {
                bail!(
                    "{} is key {number} of the site that is to have another first key; name the file of the new one with \
                     --key FILE (it is made if it is not there)",
                    file.display()
                );
            }
            return Ok(Self { file, key, step: Step::Begin });
        }
        let key = must_sign(&file, key, keys, place)?;
        let Some(new) = &options.new_key else {
            return Ok(Self { file, key: Some(key), step: Step::Go(keys.clone()) });
        };
        keys::must_be_outside(new, Some(dir))?;
        let next = keys::read(new)?;
        if let Some(number) = next.as_ref().and_then(|next| keys.number(&next.public())) {
            bail!("{} is key {number} of this site already; name another file with --new-key", new.display());
        }
        ensure!(
            keys.chain.last() < MAX_KEYS,
            "the site has had {MAX_KEYS} keys, which is the most that visitors follow; begin anew with --replace-key"
        );
        Ok(Self { file: new.clone(), key: next, step: Step::Rotate(keys.clone(), key, file) })
    }

    /// The file of what the site's publications are remembered with: that of the key which signed the version before.
    pub(super) fn kept_with(&self) -> &Path {
        if let Step::Rotate(_, _, file) = &self.step { file } else { &self.file }
    }

    /// Makes what is yet to be made: a key, a link. `now` is Unix time in seconds.
    pub(super) fn carry_out(self, now: u64) -> anyhow::Result<Signer> {
        let Self { file, key, step } = self;
        let created = key.is_none();
        let make = |note: &str| key.map_or_else(|| keys::create(&file, note), Ok);
        Ok(match step {
            Step::Begin => {
                let key = make("")?;
                let (first, site) = (key.public(), key.public().thumbprint());
                Signer { key, created, number: FIRST, first, site, links: Vec::new(), before: None, file }
            }
            Step::Go(keys) => {
                let number = keys.chain.last();
                Signer {
                    key: make("")?,
                    created,
                    number,
                    first: first(&keys)?,
                    links: named(&keys),
                    before: None,
                    site: keys.site,
                    file,
                }
            }
            Step::Rotate(keys, old, before) => {
                let number = keys.chain.last() + 1;
                let key = make(&keys::successor_note(number, &keys.site))?;
                let mut links = named(&keys);
                links.push((chain::path(number), old.link(&key, &keys.site, number, now)?.into_bytes()));
                Signer {
                    key,
                    created,
                    number,
                    first: first(&keys)?,
                    links,
                    before: Some(before),
                    site: keys.site,
                    file,
                }
            }
        })
    }
}

impl Signer {
    /// Moves what the site's publications are remembered with to the key that signs from now on, and removes links of a
    /// chain that is no more.
    pub(super) fn tidy(&self, dir: &Path) {
        if let Some(before) = &self.before {
            let [from, to] = [before, &self.file].map(|file| file.with_extension("kept"));
            if !to.exists() {
                // Else the next publication reads every file again.
                let _ = fs::rename(from, to);
            }
        }
        for number in self.number + 1..=MAX_KEYS {
            // One that cannot be removed does no harm: no root leads to it.
            let _ = fs::remove_file(dir.join(chain::path(number)));
        }
    }
}

/// The key of a file, if it is the one that must sign.
fn must_sign(file: &Path, key: Option<Key>, keys: &Keys, place: &Place) -> anyhow::Result<Key> {
    let (site, newest) = (&keys.site, keys.chain.last());
    let Some(key) = key else {
        bail!(
            "{place} is already published, as site {site}, and its key is not at {}; say where it is with --key FILE. A new \
             key would be another site to everybody who has visited this one; if it is lost or stolen for good, say so \
             with --replace-key",
            file.display()
        );
    };
    match keys.number(&key.public()) {
        Some(number) if number == newest => Ok(key),
        Some(number) => bail!(
            "{} is key {number} of site {site}, and key {newest} has taken over from it; say where that is with --key FILE",
            file.display()
        ),
        None => bail!(
            "{} is the key of site {}, but {place} is published as site {site}; say where its key is with --key FILE",
            file.display(),
            key.public().thumbprint()
        ),
    }
}

fn first(keys: &Keys) -> anyhow::Result<PublicKey> {
    keys.chain.get(FIRST).cloned().context("a chain has a first key")
}

fn named(keys: &Keys) -> Vec<(String, Vec<u8>)> {
    (FIRST + 1..).map(chain::path).zip(keys.links.iter().cloned()).collect()
}
