//! Whom to have as neighbours, without a tracker: a partial view of the swarm in the manner of HyParView (Leitão, Pereira
//! and Rodrigues, DSN 2007).
//!
//! The neighbours are the active view. The passive view is some thirty further nodes, each with the neighbour through
//! whom it can be reached: browsers have no addresses to call, so a node is worth knowing only along a way to it.
//! Neighbours therefore shuffle with each other and not, as in the paper, over a random walk: an id wanders one hop a
//! shuffle, and hops and age are told with it. Age counts from the last word of the node's own neighbour, so that those who
//! have left are forgotten everywhere after [`MAX_AGE_MS`], however often they are told of.
//!
//! Where neighbours lack, nodes of the passive view are asked to connect, by offers that neighbours carry (`signal`); one
//! that does not answer is left alone for a while. Up to [`TARGET`] an offer is urgent, and taken by whoever has room or can
//! make it, by parting from a neighbour that both sides can spare. From there to [`WIDE`] offers come one at a time, and
//! only who has less than [`LOOSE`] takes them. So all have some neighbours in hand when half of the swarm leaves at once,
//! and newcomers find room with those who came first. Those far away are asked first, or else a swarm would be a chain of
//! cliques in the order in which its members came.

use std::collections::VecDeque;

use super::links::SPENT;
use super::neighbour::Neighbour;
use super::tracker::jittered;
use super::{ACCEPT, MAX_REMEMBERED, Mesh, Output, TARGET};
use crate::Millis;
use crate::rng::Rng;
use crate::wire::{Kind, Known, Message, NodeId, Shuffle, Signal};

/// Neighbours that are sought at leisure.
pub(super) const WIDE: usize = 8;

/// Neighbours up to which those who have enough connect all the same, now and then: first after a while, then after twice
/// that, and so on. It is what keeps a swarm from being a chain of acquaintances in the order in which they came.
pub(super) const LOOSE: usize = 10;
const MIX_MS: u64 = 60_000;

/// Nodes that may be asked at leisure, one after the other, after each shuffle.
const TRIES: u32 = 3;

/// The passive view, and how much of it may hang on one neighbour.
const MAX_PASSIVE: usize = 30;
const MAX_VIA: usize = 15;

/// Nodes of the passive view in one shuffle, beside the neighbours, which are [`ACCEPT`] at most.
const SAMPLE: usize = 12;

/// The longest way to a node that is worth knowing, in connections. With eight neighbours each that is some 10,000 nodes.
pub(super) const MAX_HOPS: u8 = 5;

/// A node that none of its neighbours has spoken for in this long is forgotten, in milliseconds.
const MAX_AGE_MS: u64 = 180_000;

/// Between shuffles: first, while neighbours lack, and then doubling to this.
const SHUFFLE_MS: (u64, u64) = (4_000, 30_000);

/// After a neighbour is gained or lost a shuffle comes this soon: others are just losing or gaining the same.
const SOON_MS: u64 = 400;

/// With fewer neighbours than this the next is whoever can be had: the way to those far away breaks most easily.
const SURE: usize = 3;

/// The oldest neighbours are kept, so that nobody can replace all of them by many names.
const OLDEST: usize = 3;

/// Two neighbours part only where they have this many in common.
const COMMON: usize = 2;

/// A node that did not connect when asked is not asked again for this long.
const FAILED_MS: u64 = 120_000;

/// After this many nodes in a row did not connect, the tracker is asked again, too.
const DOUBTFUL: u32 = 4;

/// A node that is not a neighbour.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    node: NodeId,
    /// The neighbour through whom it is reached.
    via: u32,
    hops: u8,
    /// When one of its neighbours last spoke for it.
    seen: Millis,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Membership {
    passive: Vec<Candidate>,
    /// Before this, no node of either list is too old.
    fresh: Millis,
    /// Nodes that did not connect, and until when they are left alone; the oldest first.
    failed: VecDeque<(NodeId, Millis)>,
    /// When the next shuffle is due.
    shuffle: Millis,
    /// Shuffles since a neighbour was gained or lost.
    calm: u32,
    /// Nodes that did not connect since one did.
    failures: u32,
    /// How many may be asked although there are enough neighbours.
    leisure: u32,
    /// When the next one is asked for although there are many, and how often that was done.
    mix: Millis,
    mixed: u32,
}

impl Membership {
    /// Where the way to `node` goes on, other than back to `not`.
    pub(super) fn via(&self, node: NodeId, not: u32) -> Option<u32> {
        self.passive.iter().find(|c| c.node == node && c.via != not).map(|c| c.via)
    }

    /// A neighbour has come or gone.
    pub(super) fn moved(&mut self, now: Millis, rng: &mut Rng) {
        self.calm = 0;
        self.shuffle = self.shuffle.min(now + SOON_MS / 2 + rng.below(SOON_MS / 2));
    }

    /// A connection that is gone leads nowhere.
    pub(super) fn lost(&mut self, conn: u32) {
        self.passive.retain(|c| c.via != conn);
    }

    /// A new neighbour: the passive view is as good as it should be.
    pub(super) fn gained(&mut self, node: NodeId) {
        self.failures = 0;
        self.forget(node);
    }

    /// Leaves a node alone that did not connect.
    pub(super) fn failed(&mut self, node: NodeId, now: Millis) {
        self.failures = self.failures.saturating_add(1);
        self.leave(node, now);
    }

    fn leave(&mut self, node: NodeId, now: Millis) {
        self.forget(node);
        if self.failed.len() >= MAX_REMEMBERED {
            self.failed.pop_front();
        }
        self.failed.push_back((node, now + FAILED_MS));
        self.fresh = self.fresh.min(now + FAILED_MS);
    }

    /// What neighbours know has not helped.
    pub(super) fn doubtful(&self) -> bool {
        self.failures >= DOUBTFUL
    }

    /// Takes a node out of the passive view.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.passive.retain(|c| c.node != node);
    }

    /// Nodes in the passive view, and those that hang on the neighbour that told of most.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let theirs = |via| self.passive.iter().filter(|c| c.via == via).count();
        (self.passive.len(), self.passive.iter().map(|c| theirs(c.via)).max().unwrap_or(0))
    }

    fn expire(&mut self, now: Millis) {
        if now < self.fresh {
            return;
        }
        self.passive.retain(|c| now.since(c.seen) < MAX_AGE_MS);
        while self.failed.front().is_some_and(|(_, until)| *until <= now) {
            self.failed.pop_front();
        }
        let ends = self.passive.iter().map(|c| c.seen + MAX_AGE_MS).chain(self.failed.front().map(|(_, until)| *until));
        self.fresh = ends.min().unwrap_or(Millis(u64::MAX));
    }

    /// `conn` has told of a node.
    fn learn(&mut self, conn: u32, known: &Known, now: Millis, rng: &mut Rng) {
        let new = Candidate {
            node: known.node,
            via: conn,
            hops: known.hops.saturating_add(1),
            seen: Millis(now.0.saturating_sub(u64::from(known.age) * 1000)),
        };
        let failed = self.failed.iter().any(|(node, _)| *node == new.node);
        if failed || new.hops > MAX_HOPS || now.since(new.seen) >= MAX_AGE_MS {
            return;
        }
        self.fresh = self.fresh.min(new.seen + MAX_AGE_MS);
        if let Some(old) = self.passive.iter_mut().find(|c| c.node == new.node) {
            if new.hops < old.hops || new.hops == old.hops && new.seen > old.seen || old.via == conn {
                *old = new;
            }
            return;
        }
        let theirs = self.passive.iter().filter(|c| c.via == conn).count();
        if theirs >= MAX_VIA {
            // Its latest word replaces one of its own.
            let nth = rng.below(theirs as u64) as usize;
            if let Some(old) = self.passive.iter_mut().filter(|c| c.via == conn).nth(nth) {
                *old = new;
            }
        } else if self.passive.len() >= MAX_PASSIVE {
            // The nearer of two goes: the near are many, and heard of again.
            let mut any = || rng.below(MAX_PASSIVE as u64) as usize;
            let (one, other) = (any(), any());
            let at = if self.passive[other].hops < self.passive[one].hops { other } else { one };
            self.passive[at] = new;
        } else {
            self.passive.push(new);
        }
    }

    /// Some of the passive view for `conn`: what did not come from there.
    fn sample(&mut self, conn: u32, now: Millis, rng: &mut Rng, out: &mut Vec<Known>) {
        let len = self.passive.len();
        let enough = out.len() + SAMPLE;
        for at in 0..len {
            self.passive.swap(at, at + rng.below((len - at) as u64) as usize);
            let Candidate { node, via, hops, seen } = self.passive[at];
            if via != conn && hops < MAX_HOPS && out.len() < enough {
                out.push(Known { node, hops, age: (now.since(seen) / 1000) as u16 });
            }
        }
    }
}

impl Mesh {
    /// When the view is to be looked after.
    pub(super) fn shuffle_at(&self) -> Option<Millis> {
        (self.ready() > 0).then_some(self.membership.shuffle)
    }

    /// Offers that nodes of the passive view are waiting for, if those are asked first.
    pub(super) fn wanted(&self) -> usize {
        let here = self.count() + self.links.connecting();
        let more = if here < TARGET { TARGET - here } else { usize::from(here < LOOSE && self.membership.leisure > 0) };
        if more == 0 { 0 } else { more.min(self.candidates().take(more).count() + self.links.asked()) }
    }

    /// Nodes that can be asked.
    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.membership.passive.iter().filter(|c| !self.links.knows(c.node)).copied()
    }

    /// Shuffles, and asks nodes of the passive view to connect.
    pub(super) fn mingle(&mut self, now: Millis) {
        self.membership.expire(now);
        while let Some(node) = self.links.release(&|_, _, until| until <= now) {
            self.membership.failed(node, now);
        }
        if self.shuffle_at().is_some_and(|at| at <= now) {
            let neighbours: Vec<u32> =
                self.neighbours.iter().filter(|(_, n)| n.introduced && !n.double).map(|(&c, _)| c).collect();
            let lacks = self.count() < TARGET;
            let wait = if lacks { SHUFFLE_MS.0 << self.membership.calm.min(5) } else { SHUFFLE_MS.1 };
            self.membership.calm += 1;
            let enough = self.count() >= WIDE;
            self.membership.leisure = if enough { 0 } else { TRIES };
            if enough && self.membership.mix <= now {
                self.membership.leisure = TRIES;
                self.membership.mix = now + (MIX_MS << self.membership.mixed.min(6));
                self.membership.mixed += 1;
            }
            self.membership.shuffle = now + jittered(wait.min(SHUFFLE_MS.1), &mut self.rng);
            let conn = neighbours[self.rng.below(neighbours.len() as u64) as usize];
            self.shuffle(conn, false, now);
        }
        while self.wanted() > self.links.asked() {
            let candidates: Vec<Candidate> = self.candidates().collect();
            if candidates.is_empty() {
                break;
            }
            // One of the farthest: who connects to the neighbours of neighbours alone ends among themselves.
            let urgent = self.count() + self.links.connecting() < TARGET;
            let near = self.count() < SURE;
            let far = candidates.iter().map(|c| c.hops).max().unwrap_or(0);
            let far: Vec<Candidate> = candidates.into_iter().filter(|c| near || c.hops == far).collect();
            let Candidate { node, via, .. } = far[self.rng.below(far.len() as u64) as usize];
            let Some((id, sdp)) = self.links.ask(node, now) else { break };
            self.membership.leisure = self.membership.leisure.saturating_sub(1);
            let signal = Signal { kind: Kind::Offer { urgent }, ttl: MAX_HOPS, id, from: self.node, to: node, sdp };
            self.send(via, &Message::Signal(signal));
        }
    }

    /// Tells a neighbour whom we know.
    pub(super) fn shuffle(&mut self, conn: u32, answer: bool, now: Millis) {
        let Some(to) = self.neighbours.get_mut(&conn) else { return };
        to.shuffled |= !answer;
        let to = to.node;
        let others = self.neighbours.values().filter(|n| !n.double && n.node != to && n.is_lively(now)).take(ACCEPT);
        let mut known: Vec<Known> = others.map(|n| Known { node: n.node, hops: 1, age: 0 }).collect();
        self.membership.sample(conn, now, &mut self.rng, &mut known);
        self.send(conn, &Message::Shuffle(Shuffle { answer, known }));
    }

    /// A neighbour tells whom it knows.
    pub(super) fn shuffled(&mut self, conn: u32, shuffle: &Shuffle, now: Millis) {
        let Some(neighbour) = self.neighbours.get_mut(&conn) else { return };
        let asked = std::mem::take(&mut neighbour.shuffled);
        if shuffle.answer {
            if !asked {
                return;
            }
        } else {
            neighbour.shuffled = asked;
            if !neighbour.favour(now) {
                return;
            }
        }
        for known in &shuffle.known {
            if !self.is_near(known.node, u64::MAX, now) {
                self.membership.learn(conn, known, now, &mut self.rng);
            }
        }
        if !shuffle.answer {
            self.shuffle(conn, true, now);
        }
        self.weigh(conn, shuffle, now);
    }

    /// Notes whether a neighbour can be spared: both have many, and some in common. Parts from it where there are too many.
    fn weigh(&mut self, conn: u32, shuffle: &Shuffle, now: Millis) {
        let theirs = || shuffle.known.iter().filter(|k| k.hops == 1).map(|k| k.node);
        let ours = || self.neighbours.values().filter(|n| n.is_lively(now));
        let common = theirs().filter(|&node| ours().any(|n| n.node == node)).count();
        let spare = ours().count() > WIDE && theirs().count() >= WIDE && common >= COMMON;
        if let Some(neighbour) = self.neighbours.get_mut(&conn) {
            neighbour.spare = spare;
        }
        if self.count() > LOOSE {
            self.make_room(now);
        }
    }

    /// Parts from a neighbour that can be spared, for one who lacks neighbours; whether there is one.
    pub(super) fn make_room(&mut self, now: Millis) -> bool {
        let spare = |(_, n): &(&u32, &Neighbour)| n.spare && n.is_idle();
        let spare = self.neighbours.iter().skip(OLDEST).find(spare).map(|(&c, n)| (c, n.node));
        let Some((conn, node)) = spare.filter(|_| self.links.made() < SPENT / 2) else { return false };
        self.membership.leave(node, now);
        self.part(conn);
        self.lose(conn);
        self.recount();
        true
    }

    /// Says something to a neighbour, if it is there.
    pub(super) fn send(&mut self, conn: u32, message: &Message) {
        if let Some(neighbour) = self.neighbours.get_mut(&conn) {
            let bytes = neighbour.write(message);
            self.outbox.push_back(Output::Send { conn, bytes });
        }
    }
}
