//! Which version of the site the neighbours have: who has a newer root passes it on, and the 2010 letter's "push" is that
//! each hands it to those who lack it.
//!
//! A root that a neighbour sends is read only as far as its version. Whether it is signed, and what it is good for, is
//! the service worker's to find out ([`Output::Root`]); until the worker has taken it up ([`ToMesh::Root`]) it is passed
//! to nobody, so that what a liar says goes no further than to its neighbours, who drop it.
//!
//! [`ToMesh::Root`]: crate::port::ToMesh::Root

use std::collections::VecDeque;

use super::Output;
use super::neighbour::Neighbour;
use crate::Millis;
use crate::digest::Digest;
use crate::manifest::Root;
use crate::port::Reason;
use crate::sorted::Map;
use crate::text::Base64;
use crate::verify::UnverifiedRoot;
use crate::wire::Message;

/// After these times, in milliseconds, the worker is told of the same root again, whoever says it, until it has taken that or
/// a newer one up: the origin may take a while until all of it has the new version, and a neighbour until it can be asked for
/// its parts.
const AGAIN_MS: [u64; 4] = [5_000, 25_000, 60_000, 120_000];

/// A version that was just taken up is told of this much later: neighbours will want its manifest, and what we hold of it
/// is told at most 200 ms after we do, in milliseconds.
const AFTER_MS: u64 = 250;

/// Roots that are remembered as told.
const MAX_TOLD: usize = 16;

/// The number of the key that signed a root, and the root's version: a newer key may begin anew.
pub(super) type Version = (u32, u64);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    ours: Option<(Version, String)>,
    /// When neighbours are told of it.
    due: Option<Millis>,
    /// What the worker was told of, and has not taken up.
    told: VecDeque<Told>,
}

/// A root that the worker was told of.
#[derive(Debug)]
struct Told {
    name: Digest,
    version: Version,
    text: String,
    /// Who said it.
    peer: u32,
    /// When the worker is told again,
    due: Millis,
    /// and how often it was.
    times: usize,
}

/// How long the worker is left alone with a root that it was told of once, and so often again.
fn after(times: usize) -> u64 {
    AGAIN_MS.get(times).copied().unwrap_or(AGAIN_MS[AGAIN_MS.len() - 1])
}

fn version_of(root: &Root) -> Version {
    (root.key, root.version)
}

impl Gossip {
    /// The worker has this version: neighbours that lack it get its root.
    pub(super) fn hold(&mut self, text: String, now: Millis) {
        let Ok(root) = UnverifiedRoot::parse(text.as_bytes()) else { return };
        let version = version_of(root.claims());
        self.told.retain(|told| told.version > version);
        self.ours = Some((version, text));
        self.due = Some(now + AFTER_MS);
    }

    /// Tells neighbours, and the worker once more, when it is time.
    pub(super) fn tick(&mut self, neighbours: &mut Map<u32, Neighbour>, now: Millis, out: &mut VecDeque<Output>) {
        if self.due.take_if(|due| *due <= now).is_some() {
            for (&conn, neighbour) in neighbours.iter_mut() {
                self.introduce(conn, neighbour, out);
            }
        }
        self.told.retain(|told| told.due > now || told.times <= AGAIN_MS.len());
        for told in self.told.iter_mut().filter(|told| told.due <= now) {
            told.due = now + after(told.times);
            told.times += 1;
            out.push_back(Output::Root { peer: told.peer, text: told.text.clone() });
        }
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.told.iter().map(|told| told.due).chain(self.due).min()
    }

    /// What this neighbour said was not what it said it was.
    pub(super) fn forget(&mut self, peer: u32) {
        self.told.retain(|told| told.peer != peer);
    }

    /// Says which version we have, unless the neighbour knows or has a newer one.
    pub(super) fn introduce(&self, conn: u32, neighbour: &mut Neighbour, out: &mut VecDeque<Output>) {
        if let Some((version, text)) = &self.ours
            && neighbour.version < *version
        {
            neighbour.version = *version;
            let bytes = neighbour.write(&Message::Root(text.clone()));
            out.push_back(Output::Send { conn, bytes });
        }
    }

    /// A neighbour says which version it has; why it is to be dropped, if it is.
    pub(super) fn heard(
        &mut self,
        conn: u32,
        neighbour: &mut Neighbour,
        text: String,
        site: &[u8; 32],
        now: Millis,
        out: &mut VecDeque<Output>,
    ) -> Result<(), Reason> {
        let root = UnverifiedRoot::parse(text.as_bytes()).map_err(|_| Reason::Malformed)?;
        if root.claims().site != Base64::Url.encode(site) {
            return Err(Reason::Foreign);
        }
        let version = version_of(root.claims());
        // An honest neighbour speaks again only when it has a newer one.
        if version <= neighbour.version || self.ours.as_ref().is_some_and(|(ours, _)| version <= *ours) {
            neighbour.version = neighbour.version.max(version);
            return Ok(());
        }
        neighbour.version = version;
        let name = Digest::of(text.as_bytes());
        if self.told.iter().any(|told| told.name == name) {
            return Ok(());
        }
        if self.told.len() >= MAX_TOLD {
            self.told.pop_front();
        }
        self.told.push_back(Told { name, version, text: text.clone(), peer: conn, due: now + after(0), times: 1 });
        out.push_back(Output::Root { peer: conn, text });
        Ok(())
    }
}
