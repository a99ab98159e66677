//! Connections on their way to becoming neighbours: offers in the making and on offer, answers, channels that open,
//! hellos that are awaited. Each stage has its time, after which the connection is closed.
//!
//! Chromium allows a tab about 500 peer connections in its life, so they are counted, and an offer that nobody answered
//! is announced again instead of being made anew.

use std::collections::VecDeque;

use super::Output;
use super::tracker::OfferId;
use crate::Millis;
use crate::rng::Rng;
use crate::sorted::Map;
use crate::wire::NodeId;

/// The most connections asked of the page in one life, under Chromium's limit of about 500.
pub(super) const MAX_CONNECTIONS: u32 = 400;

/// The page describes a connection within 2 s (when gathering does not end); it is given this long, in milliseconds.
const DESCRIBE_MS: u64 = 10_000;

/// From a known answer to an open channel: ICE's own checks end after some 15 s.
const OPEN_MS: u64 = 20_000;

/// From an open channel to the other side's hello.
const GREET_MS: u64 = 10_000;

/// An offer that nobody answered is dropped after this long: the addresses in it grow old.
const OFFER_MS: u64 = 1_800_000;

/// The first wait after a connection that could not be made at all, and the longest.
const FAILED_MS: (u64, u64) = (2_000, 300_000);

#[derive(Clone, Debug)]
enum Stage {
    /// The page makes our offer.
    Making,
    /// Our offer is ready and announced to whom it may concern.
    Offered { id: OfferId, sdp: String },
    /// The page answers a peer's offer.
    Accepting { id: OfferId },
    /// Both descriptions are known.
    Opening,
    /// The channel is open, and the other side's hello is awaited.
    Greeting,
}

#[derive(Clone, Debug)]
struct Link {
    stage: Stage,
    /// We made the offer.
    offered: bool,
    /// Who is at the other end, as far as the tracker said.
    peer: Option<NodeId>,
    until: Millis,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Map<u32, Link>,
    /// The number of the last connection: also how many there have been.
    last: u32,
    /// Offers that could not be made since a connection opened.
    failures: u32,
    not_before: Millis,
}

impl Links {
    /// Connections asked of the page so far.
    pub(super) fn made(&self) -> u32 {
        self.last
    }

    /// Offers ready or in the making.
    pub(super) fn offers(&self) -> usize {
        self.links.values().filter(|l| matches!(l.stage, Stage::Making | Stage::Offered { .. })).count()
    }

    /// Offers in the making.
    pub(super) fn making(&self) -> usize {
        self.links.values().filter(|l| matches!(l.stage, Stage::Making)).count()
    }

    /// Connections that have found their other end and are not neighbours yet.
    pub(super) fn connecting(&self) -> usize {
        self.links.len() - self.offers()
    }

    /// The tracker has introduced this peer to us, and we are connecting to it.
    pub(super) fn knows(&self, peer: NodeId) -> bool {
        self.links.values().any(|l| l.peer == Some(peer))
    }

    /// Offers that are ready.
    pub(super) fn ready(&self) -> Vec<(OfferId, &str)> {
        let offered = |l: &'_ Link| matches!(l.stage, Stage::Offered { .. });
        let links = self.links.values().filter(|l| offered(l));
        links
            .filter_map(|l| if let Stage::Offered { id, sdp } = &l.stage { Some((*id, &**sdp)) } else { None })
            .collect()
    }

    /// Asks the page for one more offer, where that is still allowed.
    pub(super) fn make(&mut self, now: Millis, out: &mut VecDeque<Output>) -> bool {
        if now < self.not_before {
            return false;
        }
        let Some(conn) = self.number() else { return false };
        self.links.insert(conn, Link { stage: Stage::Making, offered: true, peer: None, until: now + DESCRIBE_MS });
        out.push_back(Output::Offer { conn });
        true
    }

    /// Asks the page to answer a peer's offer.
    pub(super) fn accept(&mut self, from: NodeId, id: OfferId, sdp: String, now: Millis, out: &mut VecDeque<Output>) {
        let Some(conn) = self.number() else { return };
        let stage = Stage::Accepting { id };
        self.links.insert(conn, Link { stage, offered: false, peer: Some(from), until: now + DESCRIBE_MS });
        out.push_back(Output::Accept { conn, sdp });
    }

    /// The page has described a connection. An answer is to be sent to the peer that is returned.
    pub(super) fn described(
        &mut self,
        conn: u32,
        sdp: String,
        now: Millis,
        rng: &mut Rng,
    ) -> Option<(NodeId, OfferId, String)> {
        let link = self.links.get_mut(&conn)?;
        match link.stage {
            Stage::Making => {
                let mut id = [0; 20];
                for byte in &mut id {
                    *byte = b'a' + rng.below(26) as u8;
                }
                link.stage = Stage::Offered { id, sdp };
                link.until = now + OFFER_MS;
                None
            }
            Stage::Accepting { id } => {
                link.stage = Stage::Opening;
                link.until = now + OPEN_MS;
                link.peer.map(|peer| (peer, id, sdp))
            }
            Stage::Offered { .. } | Stage::Opening | Stage::Greeting => None,
        }
    }

    /// A peer has answered an offer of ours; the first to do so gets the connection.
    pub(super) fn answered(&mut self, from: NodeId, id: OfferId, sdp: String, now: Millis, out: &mut VecDeque<Output>) {
        let ours = |l: &Link| matches!(l.stage, Stage::Offered { id: i, .. } if i == id);
        let Some((&conn, link)) = self.links.iter_mut().find(|(_, l)| ours(l)) else { return };
        *link = Link { stage: Stage::Opening, offered: true, peer: Some(from), until: now + OPEN_MS };
        out.push_back(Output::Answered { conn, sdp });
    }

    /// The channel is open: true where we greet first, since the offer was the other side's.
    ///
    /// The side that answered must be the first: its channel came to its page unasked and was handed on while messages
    /// could already come, and Chromium loses those.
    pub(super) fn opened(&mut self, conn: u32, now: Millis) -> bool {
        let Some(link) = self.links.get_mut(&conn) else { return false };
        if matches!(link.stage, Stage::Greeting) {
            return false;
        }
        link.stage = Stage::Greeting;
        link.until = now + GREET_MS;
        self.failures = 0;
        !link.offered
    }

    /// The other side has said its first word: the connection leaves this place. Whether it is for us to greet back;
    /// `None` where it was not here.
    pub(super) fn greeted(&mut self, conn: u32) -> Option<bool> {
        self.links.get(&conn).filter(|l| matches!(l.stage, Stage::Greeting))?;
        self.links.remove(&conn).map(|l| l.offered)
    }

    /// The connection is closed or could not be made. False where it was not here.
    pub(super) fn gone(&mut self, conn: u32, now: Millis) -> bool {
        let Some(link) = self.links.remove(&conn) else { return false };
        if matches!(link.stage, Stage::Making) {
            self.failed(now);
        }
        true
    }

    /// Closes what has taken too long.
    pub(super) fn tick(&mut self, now: Millis, out: &mut VecDeque<Output>) {
        let late: Vec<_> = self.links.iter().filter(|(_, l)| l.until <= now).map(|(&c, _)| c).collect();
        for conn in late {
            out.push_back(Output::Close { conn });
            self.gone(conn, now);
        }
    }

    /// Closes everything.
    pub(super) fn stop(&mut self, out: &mut VecDeque<Output>) {
        out.extend(self.links.take().map(|(conn, _)| Output::Close { conn }));
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.links.values().map(|l| l.until).min()
    }

    /// When another offer may be made, if ever.
    pub(super) fn more_at(&self) -> Option<Millis> {
        (self.last < MAX_CONNECTIONS).then_some(self.not_before)
    }

    fn number(&mut self) -> Option<u32> {
        if self.last >= MAX_CONNECTIONS {
            return None;
        }
        self.last += 1;
        Some(self.last)
    }

    fn failed(&mut self, now: Millis) {
        let wait = FAILED_MS.0 << self.failures.min(8);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait.min(FAILED_MS.1);
    }
}
