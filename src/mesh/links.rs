//! Connections on their way to becoming neighbours: offers in the making and on offer, answers, channels that open,
//! hellos that are awaited. Each stage has its time, after which the connection is closed.
//!
//! Chromium allows a tab about 500 peer connections in its life, so they are counted, and an offer that nobody answered
//! is announced again, or made to somebody else, instead of being made anew.

use std::collections::VecDeque;

use super::Output;
use super::tracker::OfferId;
use crate::Millis;
use crate::rng::Rng;
use crate::sorted::Map;
use crate::wire::{MAX_DESCRIPTION, NodeId};

/// The most connections asked of the page in one life, under Chromium's limit of about 500.
pub(super) const MAX_CONNECTIONS: u32 = 480;

/// The rest up to there is for a mesh that has fewer than [`FEW`] neighbours: it would soon have none.
pub(super) const SPENT: u32 = 400;
const FEW: usize = 2;

/// The page describes a connection within 2 s (when gathering does not end); it is given this long, in milliseconds.
const DESCRIBE_MS: u64 = 10_000;

/// From a known answer to an open channel: ICE's own checks end after some 15 s.
const OPEN_MS: u64 = 20_000;

/// From an open channel to the other side's hello.
const GREET_MS: u64 = 10_000;

/// One node is given this long to answer an offer that neighbours carry to it: a few hops, and gathering.
const ANSWER_MS: u64 = 6_000;

/// An offer that nobody answered is dropped after this long: the addresses in it grow old.
const OFFER_MS: u64 = 1_800_000;

/// The first wait after a connection that could not be made at all, and the longest.
const FAILED_MS: (u64, u64) = (2_000, 300_000);

/// A peer's offer; or, with our own description in it, the answer.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) from: NodeId,
    pub(super) id: OfferId,
    /// The neighbour through whom it came; else the tracker brought it.
    pub(super) via: Option<u32>,
    pub(super) sdp: String,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The page makes our offer.
    Making,
    /// Our offer is ready: to be announced to whom it may concern or, where the link names a peer, made to it until then.
    Offered { id: OfferId, sdp: String, until: Millis },
    /// The page answers a peer's offer, which came through a neighbour or else through the tracker.
    Accepting { id: OfferId, via: Option<u32> },
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
    /// Who is at the other end, or is asked to be, as far as others said.
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
    /// How many there may be.
    most: u32,
}

impl Links {
    /// How many neighbours there are decides how many connections may still be made.
    pub(super) fn limit(&mut self, neighbours: usize) {
        self.most = if neighbours < FEW { MAX_CONNECTIONS } else { SPENT };
    }

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

    /// We are connecting to this peer, or ask it to.
    pub(super) fn knows(&self, peer: NodeId) -> bool {
        self.links.values().any(|l| l.peer == Some(peer))
    }

    /// Offers that are ready and made to nobody; or made to somebody, too.
    pub(super) fn ready(&self, all: bool) -> Vec<(OfferId, &str)> {
        let links = self.links.values().filter(|l| all || l.peer.is_none());
        links
            .filter_map(|l| if let Stage::Offered { id, sdp, .. } = &l.stage { Some((*id, &**sdp)) } else { None })
            .collect()
    }

    /// Peers that are asked for an answer.
    pub(super) fn asked(&self) -> usize {
        self.links.values().filter(|l| l.peer.is_some() && matches!(l.stage, Stage::Offered { .. })).count()
    }

    /// Makes an offer that is ready to `peer`, where neighbours can carry one that long.
    pub(super) fn ask(&mut self, peer: NodeId, now: Millis) -> Option<(OfferId, String)> {
        for link in self.links.values_mut().filter(|l| l.peer.is_none()) {
            if let Stage::Offered { id, sdp, until } = &mut link.stage
                && sdp.len() <= MAX_DESCRIPTION
            {
                link.peer = Some(peer);
                *until = now + ANSWER_MS;
                return Some((*id, sdp.clone()));
            }
        }
        None
    }

    /// An offer with this name is open, and this peer may answer it.
    pub(super) fn awaits(&self, offer: OfferId, from: NodeId) -> bool {
        let ours = |l: &Link| matches!(l.stage, Stage::Offered { id, .. } if id == offer);
        self.links.values().any(|l| ours(l) && l.peer.is_none_or(|p| p == from))
    }

    /// Takes back what was offered to the peers that `which` names (by offer, peer and time): who they were.
    pub(super) fn release(&mut self, which: &dyn Fn(OfferId, NodeId, Millis) -> bool) -> Option<NodeId> {
        self.links.values_mut().find_map(|link| match (&link.stage, link.peer) {
            (Stage::Offered { id, until, .. }, Some(peer)) if which(*id, peer, *until) => link.peer.take(),
            _ => None,
        })
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
    pub(super) fn accept(&mut self, offer: Offer, now: Millis, out: &mut VecDeque<Output>) -> bool {
        let Some(conn) = self.number() else { return false };
        let Offer { from, id, via, sdp } = offer;
        let stage = Stage::Accepting { id, via };
        self.links.insert(conn, Link { stage, offered: false, peer: Some(from), until: now + DESCRIBE_MS });
        out.push_back(Output::Accept { conn, sdp });
        true
    }

    /// The page has described a connection. Where that is an answer, it is returned, with the peer that it is for.
    pub(super) fn described(&mut self, conn: u32, sdp: String, now: Millis, rng: &mut Rng) -> Option<Offer> {
        let link = self.links.get_mut(&conn)?;
        match link.stage {
            Stage::Making => {
                let mut id = [0; 20];
                for byte in &mut id {
                    *byte = b'a' + rng.below(26) as u8;
                }
                link.stage = Stage::Offered { id, sdp, until: now };
                link.until = now + OFFER_MS;
                None
            }
            Stage::Accepting { id, via } => {
                link.stage = Stage::Opening;
                link.until = now + OPEN_MS;
                link.peer.map(|from| Offer { from, id, via, sdp })
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
        let asked = |l: &Link| {
            if let Stage::Offered { until, .. } = l.stage
                && l.peer.is_some()
            {
                until.min(l.until)
            } else {
                l.until
            }
        };
        self.links.values().map(asked).min()
    }

    /// When another offer may be made, if ever.
    pub(super) fn more_at(&self) -> Option<Millis> {
        (self.last < self.most).then_some(self.not_before)
    }

    fn number(&mut self) -> Option<u32> {
        if self.last >= self.most {
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
