//! Which version of the site each document sees.
//!
//! A document that the manifest lists is **pinned** to the version that it was opened with, and so is all that it loads:
//! versions never mix in a page. Each navigation asks the origin for its root and waits a moment for it; whatever is the
//! newest version that is whole by then is opened. A root that the origin serves and that cannot be accepted (another
//! key, an older version, an SPA's HTML) means that the owner left the path we know: everything passes through until a
//! good root is seen, and never are old files served for ever (promise 3).

use crate::manifest::{BadRoot, Root};
use crate::port::Stats;
use crate::room::Refused;
use crate::sorted::Map;
use crate::verify::UnverifiedRoot;
use crate::wire::{BadMessage, Reader, put_text};

/// What a tab's requests are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// This version of the site.
    Version(u64),
    /// The network.
    Pass,
}

/// A client's pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pinned {
    pin: Pin,
    /// When the client was last known to be there, Unix time in seconds.
    seen: u64,
}

/// How long the pin of a client that isn't to be seen is kept, in seconds. A document that is being opened is no client yet,
/// and one in the back/forward cache none that a worker is told of: Firefox keeps those for half an hour, Chromium for ten
/// minutes.
const UNSEEN: u64 = 3600;

/// Whom a root came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The origin, over TLS.
    Origin,
    /// A neighbour.
    Peer,
}

/// What a root whose signature matched is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The current version, confirmed.
    Current,
    /// A newer one: get the rest of it.
    Newer,
    /// The owner retired the site.
    Retired,
}

/// What to do about a root that a neighbour says, before its signature is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Check its signature, with a key that is known.
    Check,
    /// Ask the origin for its root, and take nothing from this one.
    Ask,
    /// Nothing.
    Ignore,
}

/// The visitor's answer to the bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Not asked yet, or no answer.
    #[default]
    Unasked,
    /// Peers are fine.
    Granted,
    /// No peers.
    Denied,
}

impl Answer {
    /// Its name in `docs/protocol.md`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Granted => "granted",
            Self::Denied => "denied",
        }
    }
}

/// Bytes since this browser first came, by where they came from or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Read from the cache.
    pub cache: u64,
    /// Taken from peers.
    pub peer: u64,
    /// Taken from the origin.
    pub origin: u64,
    /// Sent to peers.
    pub uploaded: u64,
    /// Received twice, or received and not used.
    pub wasted: u64,
}

/// What a worker remembers between its lives; everything else it rebuilds.
///
/// It lies in storage that any script of the same origin can write: a version floor and a consent are remembered here,
/// not defended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The roots of the versions that are whole or in use, as compact JWS, by version.
    pub roots: Map<u64, String>,
    /// The version that navigations open.
    pub current: Option<u64>,
    /// No root older than this is taken up, unless a newer key than `key_floor` has signed it.
    pub floor: u64,
    /// The highest number of a key that a root was taken up with: none by an older one is taken up any more.
    pub key_floor: u32,
    /// When the origin was last asked since a neighbour spoke of an unknown key, Unix time in seconds. Not remembered.
    pub asked: u64,
    /// Newer versions that are being fetched, each with the Unix time in seconds when that began: an update that was broken
    /// off goes on with the next start.
    updates: Map<u64, u64>,
    /// The last files to make a version whole that could not be kept.
    pub refused: Option<Refused>,
    /// Why everything passes through, where it does.
    pub passing: Option<String>,
    /// Clients (documents and workers) by id.
    pins: Map<String, Pinned>,
    /// The visitor's answer.
    pub consent: Answer,
    /// The visitor paused uploads.
    pub paused: bool,
    /// Bytes so far.
    pub bytes: Bytes,
    /// Pieces that did not verify, so far.
    pub rejected: u64,
    /// The origin's delay in milliseconds and rate in bytes a second, as last measured; 0 where never.
    pub origin: (u64, u64),
    /// The origin's answers have no reason phrase, as with HTTP/2 and 3; a page can see that (`Response.statusText`).
    pub is_wordless: bool,
    /// What of the mesh's figures is in `bytes` and `rejected` already.
    counted: Counted,
}

/// How far one mesh's figures, which count from its start, have been added up. It outlives the worker, as the mesh does:
/// neither a worker that wakes nor a mesh that is new must make a byte count twice, or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    mesh: [u8; 20],
    up: u64,
    wasted: u64,
    rejected: u64,
}

/// The first byte of what [`Site::encode`] writes.
const FORM: u8 = 6;

/// What a neighbour says of keys that are not known leads to one question to the origin in this time, in seconds.
const ASK_AGAIN: u64 = 60;

/// Versions are Unix times, or a little more after several in one second. One that is further ahead than this is somebody's
/// attempt to make all later ones look old, in seconds.
const AHEAD: u64 = 24 * 3600;

impl Site {
    /// As bytes, to be stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORM];
        let put = |out: &mut Vec<u8>, number: u64| out.extend(number.to_le_bytes());
        put(&mut out, self.roots.len() as u64);
        for (&version, text) in self.roots.iter() {
            put(&mut out, version);
            put_text(&mut out, text);
        }
        put(&mut out, self.pins.len() as u64);
        for (client, Pinned { pin, seen }) in self.pins.iter() {
            put_text(&mut out, client);
            let (pinned, version) = if let Pin::Version(version) = pin { (1, *version) } else { (0, 0) };
            out.push(pinned);
            put(&mut out, version);
            put(&mut out, *seen);
        }
        out.push(u8::from(self.current.is_some()));
        out.push(u8::from(self.passing.is_some()));
        put_text(&mut out, self.passing.as_deref().unwrap_or_default());
        put(&mut out, self.updates.len() as u64);
        for (&version, &since) in self.updates.iter() {
            put(&mut out, version);
            put(&mut out, since);
        }
        out.push(match self.consent {
            Answer::Unasked => 0,
            Answer::Granted => 1,
            Answer::Denied => 2,
        });
        out.push(u8::from(self.paused));
        out.extend(self.counted.mesh);
        let Bytes { cache, peer, origin, uploaded, wasted } = self.bytes;
        let Counted { up, wasted: mesh_wasted, rejected, .. } = self.counted;
        let current = self.current.unwrap_or_default();
        let (delay, rate) = self.origin;
        for number in
            [current, self.floor, cache, peer, origin, uploaded, wasted, self.rejected, up, mesh_wasted, rejected]
                .into_iter()
                .chain([delay, rate])
        {
            put(&mut out, number);
        }
        out.extend(self.key_floor.to_le_bytes());
        out.push(u8::from(self.is_wordless));
        Refused::encode(self.refused, &mut out);
        out
    }

    /// Reads what [`Site::encode`] wrote, unless it is damaged.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        let mut from = Reader::new(bytes);
        let mut site = Self::default();
        if from.u8()? != FORM {
            return Err(BadMessage::Field);
        }
        for _ in 0..from.u64()? {
            let version = from.u64()?;
            site.roots.insert(version, from.text()?);
        }
        for _ in 0..from.u64()? {
            let (client, pinned, version) = (from.text()?, from.u8()?, from.u64()?);
            let pin = if pinned == 1 { Pin::Version(version) } else { Pin::Pass };
            site.pins.insert(client, Pinned { pin, seen: from.u64()? });
        }
        let (has_current, passes) = (from.u8()? == 1, from.u8()? == 1);
        site.passing = Some(from.text()?).filter(|_| passes);
        for _ in 0..from.u64()? {
            let version = from.u64()?;
            site.updates.insert(version, from.u64()?);
        }
        site.consent = match from.u8()? {
            0 => Answer::Unasked,
            1 => Answer::Granted,
            2 => Answer::Denied,
            _ => return Err(BadMessage::Field),
        };
        site.paused = from.u8()? == 1;
        site.counted.mesh = from.array()?;
        site.current = Some(from.u64()?).filter(|_| has_current);
        let Bytes { cache, peer, origin, uploaded, wasted } = &mut site.bytes;
        let Counted { up, wasted: mesh_wasted, rejected, .. } = &mut site.counted;
        let (delay, rate) = &mut site.origin;
        for number in
            [&mut site.floor, cache, peer, origin, uploaded, wasted, &mut site.rejected, up, mesh_wasted, rejected]
                .into_iter()
                .chain([delay, rate])
        {
            *number = from.u64()?;
        }
        site.key_floor = from.u32()?;
        site.is_wordless = from.u8()? == 1;
        site.refused = Refused::decode(&mut from)?;
        from.end()?;
        Ok(site)
    }

    /// What to do about a root that a neighbour says, going by what it claims.
    pub fn hear(&mut self, claims: &Root, now: u64) -> Hint {
        if claims.key <= self.key_floor {
            return Hint::Check;
        }
        // Whoever has no key can say this; it must not cost the origin much.
        if now < self.asked.saturating_add(ASK_AGAIN) {
            return Hint::Ignore;
        }
        self.asked = now;
        Hint::Ask
    }

    /// Judges a root whose signature matched.
    ///
    /// Keys and versions only grow. The first root by a newer key may have any version: so a site whose key was used to
    /// sign a version of the far future goes on, once it has another key.
    pub fn judge(&self, root: &Root, word: Word, now: u64) -> Result<Verdict, BadRoot> {
        if root.key < self.key_floor {
            return Err(BadRoot::OldKey { found: root.key, known: self.key_floor });
        }
        if root.key == self.key_floor && root.version < self.floor {
            return Err(BadRoot::Rollback { found: root.version, known: self.floor });
        }
        if word == Word::Peer {
            if root.key > self.key_floor {
                return Err(BadRoot::NewKey(root.key));
            }
            if root.version > now.saturating_add(AHEAD) {
                return Err(BadRoot::Ahead(root.version));
            }
            if root.expires <= now {
                return Err(BadRoot::Expired(root.expires));
            }
        }
        if root.retired {
            // Only the origin's own word ends a site.
            return if word == Word::Origin { Ok(Verdict::Retired) } else { Ok(Verdict::Current) };
        }
        if self.is_another(root) {
            return Err(BadRoot::Another(root.version));
        }
        if self.current == Some(root.version) { Ok(Verdict::Current) } else { Ok(Verdict::Newer) }
    }

    /// Whether a root has the number of a version that is known, and names other files: tabs of both would be of neither.
    fn is_another(&self, root: &Root) -> bool {
        let known = self.roots.get(&root.version).and_then(|text| UnverifiedRoot::parse(text.as_bytes()).ok());
        known.is_some_and(|known| known.claims().index != root.index)
    }

    /// Whether something newer has become current since this root was judged.
    pub fn is_late(&self, root: &Root) -> bool {
        (root.key, root.version) < (self.key_floor, self.floor)
    }

    /// Whether a root that a neighbour said, and that was judged to be newer, needs no word of the origin. While the origin's
    /// own root is refused it does: who stole a key must not end that.
    pub fn suffices(&self, offline_updates: bool) -> bool {
        offline_updates && self.passing.is_none()
    }

    /// Adds what is new in a mesh's figures; whether anything was.
    pub fn count(&mut self, stats: &Stats) -> bool {
        let now = Counted { mesh: stats.mesh.0, up: stats.up, wasted: stats.wasted, rejected: stats.rejected() };
        let before = if self.counted.mesh == now.mesh { self.counted } else { Counted::default() };
        self.bytes.uploaded += now.up.saturating_sub(before.up);
        self.bytes.wasted += now.wasted.saturating_sub(before.wasted);
        self.rejected += now.rejected.saturating_sub(before.rejected);
        let changed = (now.up, now.wasted, now.rejected) != (before.up, before.wasted, before.rejected);
        self.counted = now;
        changed
    }

    /// The origin confirmed the current version.
    pub fn confirm(&mut self) {
        self.passing = None;
        self.updates = Map::default();
    }

    /// A newer version is being fetched; returns since when, Unix time in seconds. A clock that was ahead once keeps none.
    pub fn begin(&mut self, version: u64, now: u64) -> u64 {
        let since = self.updates.get_or_insert_with(version, || now);
        *since = now.min(*since);
        *since
    }

    /// A version is not fetched on.
    pub fn give_up(&mut self, version: u64) {
        self.updates.remove(&version);
    }

    /// Whether a newer version is being fetched, in this life of the worker or since an earlier one.
    pub fn is_updating(&self) -> bool {
        !self.updates.is_empty()
    }

    /// Pins the clients that nobody remembers to have opened to the current version, as a newer one is about to take its
    /// place: a page that was there before the worker, and one whose pin the worker was stopped before it could write.
    /// The current one is what they opened, since no version becomes current before that is written.
    pub fn pin_strangers(&mut self, clients: &[String], now: u64) {
        let Some(current) = self.current else { return };
        for client in clients {
            if !self.knows(client) {
                self.pin(client, Pin::Version(current), now);
            }
        }
    }

    /// A version is whole: navigations open it from now on. Of two updates at a time the newer one stands, whichever is
    /// done first.
    pub fn switch(&mut self, root: &Root, text: String) {
        if self.is_late(root) {
            return;
        }
        let Root { key, version, .. } = *root;
        self.roots.insert(version, text);
        self.current = Some(version);
        (self.key_floor, self.floor) = (self.key_floor, self.floor).max((key, version));
        self.passing = None;
        self.updates.retain(|&other, _| other > version);
    }

    /// What is to be stored before [`Site::switch`]: a version is current here only once it is remembered to be.
    pub fn encode_switched(&mut self, root: &Root, text: &str) -> Vec<u8> {
        let (current, floor, key_floor) = (self.current, self.floor, self.key_floor);
        let (passing, updates) = (self.passing.take(), self.updates.clone());
        self.switch(root, text.to_owned());
        let bytes = self.encode();
        (self.current, self.floor, self.key_floor) = (current, floor, key_floor);
        (self.passing, self.updates) = (passing, updates);
        bytes
    }

    /// The origin's root could not be accepted.
    pub fn pass(&mut self, why: &BadRoot) {
        self.passing = Some(why.to_string());
    }

    /// The version that a client's requests are answered from; `None`: the network.
    pub fn version_for(&self, client: &str) -> Option<u64> {
        if self.passing.is_some() {
            return None;
        }
        match self.pins.get(client) {
            Some(Pinned { pin: Pin::Version(version), .. }) => Some(*version),
            Some(Pinned { pin: Pin::Pass, .. }) => None,
            None => self.current,
        }
    }

    /// Whether a client was met: it is pinned to a version or to the network.
    pub fn knows(&self, client: &str) -> bool {
        self.pins.contains_key(client)
    }

    /// Pins a client.
    pub fn pin(&mut self, client: &str, pin: Pin, now: u64) {
        if !client.is_empty() {
            self.pins.insert(client.to_owned(), Pinned { pin, seen: now });
        }
    }

    /// How many clients are pinned.
    pub fn pins(&self) -> usize {
        self.pins.len()
    }

    /// Forgets clients that were not `alive` for an hour; returns the versions that nobody uses any more.
    pub fn unused(&mut self, alive: &[String], now: u64) -> Vec<u64> {
        for client in alive {
            if let Some(pinned) = self.pins.get_mut(client) {
                pinned.seen = now;
            }
        }
        self.pins.retain(|_, pinned| now.saturating_sub(pinned.seen) < UNSEEN);
        let used: Vec<_> = self.pins.values().map(|pinned| pinned.pin).collect();
        let current = self.current;
        let is_used = |version: u64| current == Some(version) || used.contains(&Pin::Version(version));
        self.roots.keys().copied().filter(|&version| !is_used(version)).collect()
    }

    /// Forgets versions.
    pub fn forget(&mut self, gone: &[u64]) {
        self.roots.retain(|version, _| !gone.contains(version));
    }
}

#[cfg(test)]
mod tests;
