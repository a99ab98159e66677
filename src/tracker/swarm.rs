//! The peers of one info hash, and which answers they wait for.

use std::collections::{BTreeMap, VecDeque};

use super::message::Id;
use super::{ConnectionId, Limits};
use crate::Millis;
use crate::rng::Rng;

/// The peers that announced one info hash, in no particular but a reproducible order.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    peers: Vec<Peer>,
    places: BTreeMap<Id, usize>,
    complete: usize,
}

#[derive(Debug)]
struct Peer {
    id: Id,
    connection: ConnectionId,
    complete: bool,
    heard: Millis,
    /// The offers of this peer that were relayed and not answered yet, oldest first.
    offered: VecDeque<Offered>,
}

/// An offer on its way: only `to` may answer it, once, before `expires`.
#[derive(Debug)]
struct Offered {
    to: Id,
    offer_id: Id,
    expires: Millis,
}

impl Swarm {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn complete(&self) -> usize {
        self.complete
    }

    pub(super) fn incomplete(&self) -> usize {
        self.peers.len().saturating_sub(self.complete)
    }

    /// The connection that `peer` announced itself on.
    pub(super) fn connection(&self, peer: Id) -> Option<ConnectionId> {
        self.place(peer).map(|at| self.peers[at].connection)
    }

    /// Takes note of an announce; `complete` is `None` where it does not say. A new peer is added.
    pub(super) fn heard(&mut self, id: Id, connection: ConnectionId, complete: Option<bool>, now: Millis) {
        let at = match self.place(id) {
            Some(at) => at,
            None => {
                self.places.insert(id, self.peers.len());
                self.peers.push(Peer { id, connection, complete: false, heard: now, offered: VecDeque::new() });
                self.peers.len() - 1
            }
        };
        let peer = &mut self.peers[at];
        peer.heard = now;
        if let Some(complete) = complete
            && complete != peer.complete
        {
            peer.complete = complete;
            self.complete = if complete { self.complete + 1 } else { self.complete.saturating_sub(1) };
        }
    }

    /// Removes a peer. Says whether it was there.
    pub(super) fn remove(&mut self, id: Id) -> bool {
        let Some(at) = self.places.remove(&id) else { return false };
        let gone = self.peers.swap_remove(at);
        if let Some(moved) = self.peers.get(at) {
            self.places.insert(moved.id, at);
        }
        if gone.complete {
            self.complete = self.complete.saturating_sub(1);
        }
        true
    }

    /// The peers last heard before `then`, with their connections.
    pub(super) fn silent_since(&self, then: Millis) -> impl Iterator<Item = (Id, ConnectionId)> {
        self.peers.iter().filter(move |p| p.heard < then).map(|p| (p.id, p.connection))
    }

    /// Fills `chosen` with up to `count` different random peers other than `asking`, as places for [`Swarm::relay`].
    pub(super) fn choose(&self, asking: Id, count: usize, rng: &mut Rng, chosen: &mut Vec<usize>) {
        chosen.clear();
        let Some(own) = self.place(asking) else { return };
        let others = self.peers.len() - 1;
        let count = count.min(others);
        // Floyd's sampling: for each j the number is new, or j stands in for it.
        for j in others - count..others {
            let pick = usize::try_from(rng.below(j as u64 + 1)).unwrap_or(j);
            chosen.push(if chosen.contains(&pick) { j } else { pick });
        }
        for pick in chosen.iter_mut().filter(|p| **p >= own) {
            *pick += 1;
        }
    }

    /// Remembers that an offer of `from` goes to the peer at `place`, and says on which connection that is.
    pub(super) fn relay(
        &mut self,
        from: Id,
        offer_id: Id,
        place: usize,
        limits: &Limits,
        now: Millis,
    ) -> Option<ConnectionId> {
        let (to, connection) = self.peers.get(place).map(|p| (p.id, p.connection))?;
        let own = self.place(from)?;
        let offered = &mut self.peers[own].offered;
        while offered.front().is_some_and(|o| o.expires <= now) || offered.len() >= limits.pending_offers {
            offered.pop_front()?;
        }
        offered.push_back(Offered { to, offer_id, expires: now + limits.offer_ms });
        Some(connection)
    }

    /// Takes the offer that `from` answers: the connection of the peer that made it, where this very offer was relayed
    /// to `from` and is not answered or expired yet.
    pub(super) fn answered(&mut self, from: Id, to: Id, offer_id: Id, now: Millis) -> Option<ConnectionId> {
        let at = self.place(to)?;
        let peer = &mut self.peers[at];
        let expected = peer.offered.iter().position(|o| o.to == from && o.offer_id == offer_id && o.expires > now)?;
        peer.offered.remove(expected);
        Some(peer.connection)
    }

    fn place(&self, id: Id) -> Option<usize> {
        self.places.get(&id).copied().filter(|&at| at < self.peers.len())
    }
}
