//! Offers and answers that neighbours carry: what two nodes need to connect, along the way on which the one heard of the
//! other.
//!
//! An offer goes to the neighbour through whom its target is known, and so on, until the target is a neighbour. Each node
//! on the way notes where it came from and where it went; the answer, or a refusal, goes back the same way and ends the
//! note. So nothing is carried back that was not asked for, one message leads to one, and circles end at the first node
//! that they reach again. Who lacks neighbours tries further nodes as soon as it is refused.
//!
//! Carrying is a favour with limits: for each neighbour, and in all. What is beyond them is let fall, since a neighbour
//! that hands on the messages of others is not to blame for them.

use super::links::Offer;
use super::membership::{LOOSE, MAX_HOPS};
use super::neighbour::{Bucket, Neighbour, PING_MS};
use super::tracker::{Event, OfferId};
use super::{ACCEPT, Mesh};
use crate::Millis;
use crate::wire::{Kind, MAX_DESCRIPTION, Message, NodeId, Signal};

/// How long the answer to an offer is waited for: longer than the offering side does.
const RELAY_MS: u64 = 15_000;

/// Offers on their way through us.
const MAX_RELAYS: usize = 64;

/// Offers that are carried for all neighbours together: at most 8 KiB each.
const CARRIED: (u64, u64) = (32, 500);

/// An offer that went through here.
#[derive(Clone, Debug)]
struct Relay {
    id: OfferId,
    from: u32,
    to: u32,
    until: Millis,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Relays {
    open: Vec<Relay>,
    carried: Bucket,
}

impl Relays {
    pub(super) fn new(now: Millis) -> Self {
        Self { open: Vec::new(), carried: Bucket::new(CARRIED.0, now) }
    }

    /// A connection that is gone carries nothing.
    pub(super) fn lost(&mut self, conn: u32) {
        self.open.retain(|r| r.from != conn && r.to != conn);
    }
}

impl Mesh {
    /// A tracker has introduced a peer.
    pub(super) fn introduced(&mut self, event: Option<Event>, now: Millis) {
        match event {
            Some(Event::Offer { from, id, sdp }) => {
                if !self.links.knows(from) && self.welcomes(from, now) {
                    self.links.accept(Offer { from, id, via: None, sdp }, now, &mut self.outbox);
                }
            }
            Some(Event::Answer { from, id, sdp }) if from != self.node && !self.is_banned(from) => {
                self.links.answered(from, id, sdp, now, &mut self.outbox);
            }
            Some(Event::Answer { .. }) | None => {}
        }
    }

    /// Whether one who lacks neighbours, as far as is known, is taken.
    fn welcomes(&mut self, from: NodeId, now: Millis) -> bool {
        // One that offers again while we still hear it has made its offers to whom it may concern.
        let here = self.neighbours.len() + self.links.connecting();
        !self.is_near(from, PING_MS, now) && (here < ACCEPT || self.make_room(now))
    }

    /// It is us, or a neighbour that has not been silent for longer than that, or is to be none.
    pub(super) fn is_near(&self, node: NodeId, silent: u64, now: Millis) -> bool {
        let heard = |n: &Neighbour| n.node == node && now.since(n.heard) <= silent;
        node == self.node || self.neighbours.values().any(heard) || self.is_banned(node)
    }

    /// A neighbour brings an offer or an answer.
    pub(super) fn signal(&mut self, conn: u32, signal: Signal, now: Millis) {
        self.relays.open.retain(|r| r.until > now);
        match signal.kind {
            Kind::Offer { urgent } => {
                if !self.neighbours.get_mut(&conn).is_some_and(|n| n.favour(now)) {
                    return;
                }
                let (id, from, to) = (signal.id, signal.from, signal.to);
                let done = if to == self.node {
                    self.offered(conn, urgent, signal, now)
                } else {
                    self.carry(conn, signal, now)
                };
                if !done {
                    let sdp = String::new();
                    self.send(
                        conn,
                        &Message::Signal(Signal { kind: Kind::Refusal, ttl: 0, id, from: to, to: from, sdp }),
                    );
                }
            }
            Kind::Answer | Kind::Refusal => {
                if let Some(at) = self.relays.open.iter().position(|r| r.id == signal.id && r.to == conn) {
                    let back = self.relays.open.swap_remove(at).from;
                    return self.send(back, &Message::Signal(signal));
                }
                let Signal { kind, id, from, sdp, .. } = signal;
                if kind == Kind::Refusal {
                    if let Some(node) = self.links.release(&|offer, _, _| offer == id) {
                        self.membership.failed(node, now);
                    }
                } else if self.links.awaits(id, from) && !self.is_banned(from) {
                    self.links.answered(from, id, sdp, now, &mut self.outbox);
                }
            }
        }
    }

    /// An offer for us; whether it is taken.
    fn offered(&mut self, conn: u32, urgent: bool, signal: Signal, now: Millis) -> bool {
        let Signal { id, from, sdp, .. } = signal;
        if !urgent && self.neighbours.len() + self.links.connecting() >= LOOSE {
            return false;
        }
        if self.links.knows(from) {
            // Both ask each other: the offer of the smaller one counts.
            if self.node < from || self.links.release(&|_, peer, _| peer == from).is_none() {
                return false;
            }
        }
        !self.is_near(from, PING_MS, now)
            && self.neighbours.get_mut(&conn).is_some_and(|n| n.accept(now))
            && self.welcomes(from, now)
            && self.links.accept(Offer { from, id, via: Some(conn), sdp }, now, &mut self.outbox)
    }

    /// An offer for somebody else; whether it goes on.
    fn carry(&mut self, conn: u32, mut signal: Signal, now: Millis) -> bool {
        let next = self.neighbours.iter().find(|(_, n)| n.node == signal.to && !n.double).map(|(&c, _)| c);
        let next = next.or_else(|| self.membership.via(signal.to, conn)).filter(|&c| c != conn);
        let Some(to) = next.filter(|to| self.neighbours.contains_key(to)) else { return false };
        let again = signal.from == self.node || self.relays.open.iter().any(|r| r.id == signal.id);
        if again || signal.ttl == 0 || self.relays.open.len() >= MAX_RELAYS {
            return false;
        }
        if !self.relays.carried.take(1, CARRIED, now) {
            return false;
        }
        self.relays.open.push(Relay { id: signal.id, from: conn, to, until: now + RELAY_MS });
        signal.ttl = signal.ttl.min(MAX_HOPS) - 1;
        self.send(to, &Message::Signal(signal));
        true
    }

    /// Our answer to a peer's offer, the way that the offer came; through the tracker where that way is gone.
    pub(super) fn answer(&mut self, answer: Offer) {
        let Offer { from: to, id, via, sdp } = answer;
        match via.filter(|via| self.neighbours.contains_key(via)) {
            Some(via) if sdp.len() <= MAX_DESCRIPTION => {
                let kind = Kind::Answer;
                self.send(via, &Message::Signal(Signal { kind, ttl: 0, id, from: self.node, to, sdp }));
            }
            Some(_) | None => self.tracker.answer(to, id, &sdp, &mut self.outbox),
        }
    }
}
