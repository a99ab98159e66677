//! The mesh: one visitor's part in the swarm of a site.
//!
//! [`Mesh`] meets peers through a tracker, keeps a few of them as neighbours, tells them what it holds, asks them for
//! what the service worker wants and gives them what they ask for. It decides everything and does nothing: its driver
//! owns the sockets, the channels, the store and the clock, hands in each thing that happened ([`Input`]) with the time,
//! and then carries out everything that [`Mesh::poll`] says, until it says no more. At the latest at [`Mesh::deadline`]
//! it hands in [`Input::Tick`].
//!
//! The parts: `tracker` finds the first peers, `membership` further ones through those, by offers that `signal` carries;
//! `links` makes connections of them, `neighbour` is one that has greeted, with what is known of the way to it in `path`;
//! `hearing` is what those say, `download` decides who is asked for what, with `crowd` where neighbours take the same at the
//! same time, `upload` who is served when, and `gossip` who is told of a newer version.
//!
//! A peer that sends what no honest one does is dropped and not taken back, for a [`Reason`]; one that is silent, or
//! says goodbye, is only dropped.

use std::collections::VecDeque;

use crate::Millis;
use crate::port::{self, MAX_NEIGHBOURS, Reason, Stats, ToMesh, ToWorker};
use crate::rng::Rng;
use crate::sorted::Map;
use crate::wire::{FRAME_HEAD, Frame, Hello, MAX_MESSAGE, Message, NodeId, VERSION};

mod crowd;
mod doors;
mod download;
mod dropping;
mod forecast;
mod gossip;
mod hearing;
mod links;
mod membership;
mod neighbour;
mod path;
mod signal;
#[cfg(test)]
mod tests;
mod tracker;
mod upload;

pub use doors::{Config, Input, Output};

use download::Downloads;
use gossip::Gossip;
use links::Links;
use membership::Membership;
use neighbour::{DEAD_MS, GOSSIP_COST, MAX_HAVE, Neighbour, PING_MS, Wanted};
use signal::Relays;
use tracker::Tracker;
use upload::Uploads;

/// Neighbours that are sought with urgency: HyParView's active view for some 10,000 nodes, and enough sources for one
/// download.
const TARGET: usize = 5;

/// Neighbours that are accepted, connections under way among them: newcomers must find room with those who have enough.
const ACCEPT: usize = 12;

/// Offers made before the tracker has told the size of the swarm: most swarms are small.
const FIRST_OFFERS: usize = 2;

/// The first announce waits this long for its offers, in milliseconds; gathering itself ends after 2 s.
const PATIENCE_MS: u64 = 2_500;

/// Of two connections to one node, this long is waited for the other side to close one.
const DOUBLE_MS: u64 = 5_000;

/// Node ids that are remembered as banned, and connections whose node ids are remembered.
const MAX_REMEMBERED: usize = 1_024;

/// Statistics are told this often at most, in milliseconds.
const STATS_MS: u64 = 1_000;

/// Longer without any input than this: the machine was asleep, and silence says nothing about neighbours.
const ASLEEP_MS: u64 = 2 * PING_MS;

/// Pieces that a neighbour tells of at a time, of which it is looked at whether they are wanted here.
const FEW: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Mesh {
    site: [u8; 32],
    node: NodeId,
    rng: Rng,
    tracker: Tracker,
    links: Links,
    neighbours: Map<u32, Neighbour>,
    membership: Membership,
    relays: Relays,
    downloads: Downloads,
    uploads: Uploads,
    gossip: Gossip,
    outbox: VecDeque<Output>,
    /// Nodes that are not taken back, the oldest first.
    banned: VecDeque<NodeId>,
    /// The nodes of former connections, the oldest first: the service worker may yet find what they sent wrong.
    former: VecDeque<(u32, NodeId)>,
    dropped: [u32; Reason::ALL.len()],
    /// Neighbours that the service worker has been told of.
    told: usize,
    /// Payload bytes of either direction that the statistics have told of or will tell of.
    moved: u64,
    /// The statistics have changed since they were told.
    changed: bool,
    stats_told: Millis,
    /// When connections and neighbours are to be looked after.
    chores: Option<Millis>,
    last: Millis,
    stopped: bool,
}

impl Mesh {
    /// A mesh that begins to look for peers.
    pub fn new(config: Config, now: Millis) -> Self {
        let mut rng = Rng::new(config.seed);
        let node = node_id(&mut rng);
        let mut mesh = Self {
            site: config.site,
            node,
            rng,
            tracker: Tracker::new(config.trackers, config.info_hash, node, now),
            links: Links::default(),
            neighbours: Map::default(),
            membership: Membership::default(),
            relays: Relays::new(now),
            downloads: Downloads::new(node),
            uploads: Uploads::new(config.limits, now),
            gossip: Gossip::default(),
            outbox: VecDeque::new(),
            banned: VecDeque::new(),
            former: VecDeque::new(),
            dropped: [0; Reason::ALL.len()],
            told: 0,
            moved: 0,
            changed: false,
            stats_told: now,
            chores: None,
            last: now,
            stopped: false,
        };
        mesh.settle(now);
        mesh
    }

    /// Our name in the swarm.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Something happened. What is to be done about it waits in [`Self::poll`], and must be carried out before the next
    /// input is handed in, except for the [`Input::Buffered`] that follows a sent message.
    pub fn handle(&mut self, input: Input, now: Millis) {
        if self.stopped {
            return;
        }
        let now = now.max(self.last);
        self.wake(now);
        // What comes with every frame leaves neighbours as they are, and need not have all of them looked at.
        let is_payload = matches!(input, Input::Frame { .. } | Input::Buffered { .. } | Input::Loaded { .. });
        let before = self.neighbours.len();
        match input {
            Input::Tick => {}
            Input::Described { conn, sdp } => {
                if let Some(answer) = self.links.described(conn, sdp, now, &mut self.rng) {
                    self.answer(answer);
                }
            }
            Input::Open { conn } => {
                if self.links.opened(conn, now) {
                    self.greet(conn);
                }
            }
            Input::Gone { conn } => self.gone(conn, now),
            Input::Message { conn, bytes } => match Message::decode(&bytes) {
                Ok(message) => self.message(conn, message, now),
                Err(_) => self.bad(conn, bytes.first() == Some(&Frame::TYPE)),
            },
            Input::Frame { conn, head, len } => match Frame::decode(&head, len) {
                Ok(Some(frame)) => self.message(conn, Message::Piece { frame, payload: FRAME_HEAD..len }, now),
                Ok(None) | Err(_) => self.bad(conn, true),
            },
            Input::Buffered { conn, bytes } => {
                if let Some(neighbour) = self.neighbours.get_mut(&conn) {
                    neighbour.buffered = bytes;
                }
            }
            Input::SocketOpen { socket } => self.tracker.opened(socket, now),
            Input::SocketText { socket, text } => {
                let event = self.tracker.text(socket, &text, now, &mut self.rng, &mut self.outbox);
                self.introduced(event, now);
            }
            Input::SocketClosed { socket } => self.tracker.closed(socket, now, &mut self.rng),
            Input::Loaded { upload, right } => {
                self.uploads.loaded(upload, right, &mut self.neighbours, now, &mut self.outbox);
            }
            Input::Port => {
                self.told = self.ready();
                let neighbours = self.told.min(MAX_NEIGHBOURS) as u16;
                self.outbox.push_back(Output::Worker(ToWorker::Ready { neighbours, fresh: true }));
                self.changed = true;
            }
            Input::Worker(message) => self.worker(message, now),
            Input::Stop => return self.stop(),
        }
        if !is_payload || self.neighbours.len() != before {
            self.chores = None;
        }
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When something is to be done if nothing happens before; not before there is nothing more to poll.
    pub fn deadline(&self) -> Option<Millis> {
        if self.stopped {
            return None;
        }
        [self.chores, self.downloads.deadline(), self.uploads.deadline(), self.gossip.deadline()]
            .into_iter()
            .flatten()
            .chain(self.changed.then(|| self.stats_told + STATS_MS))
            .min()
    }

    /// When [`Mesh::look_after`] is due.
    fn chores_due(&self) -> Option<Millis> {
        let lives = self.neighbours.values().map(|n| (n.heard.max(n.pinged) + PING_MS).min(n.heard + DEAD_MS));
        let doubles = self.neighbours.values().filter(|n| n.double).map(|n| n.since + DOUBLE_MS);
        let announce = self.tracker.deadline().map(|at| match self.tracker.due(at) {
            // It waits for its offers, which come as inputs, at most this long.
            Some(due) if due <= self.last => due + PATIENCE_MS,
            Some(_) | None => at,
        });
        let more_offers = self.links.more_at().filter(|_| self.lacks_offers() > 0);
        let due = [announce, more_offers, self.shuffle_at(), self.links.deadline()];
        due.into_iter().flatten().chain(lives).chain(doubles).min()
    }

    /// The figures so far.
    pub fn stats(&self, now: Millis) -> Stats {
        let neighbours = self.neighbours.iter().take(MAX_NEIGHBOURS).map(|(&peer, n)| port::Neighbour {
            peer,
            node: n.node,
            age_ms: now.since(n.since),
            have: n.have.len() as u32,
            down: n.down,
            up: n.up,
            rtt_ms: n.path.delay_ms(),
            rate: n.path.rate(),
            choking: n.choking,
        });
        Stats {
            mesh: self.node,
            down: self.downloads.down,
            up: self.uploads.up,
            wasted: self.downloads.wasted,
            dropped: self.dropped,
            connections: self.links.made(),
            neighbours: neighbours.collect(),
        }
    }

    /// After a sleep, neighbours get the time to speak up before they are taken for dead.
    fn wake(&mut self, now: Millis) {
        if now.since(self.last) > ASLEEP_MS {
            for neighbour in self.neighbours.values_mut() {
                neighbour.heard = now;
            }
        }
        self.last = now;
    }

    /// Does whatever the time or the last input has made possible.
    fn settle(&mut self, now: Millis) {
        if self.chores.is_none_or(|due| due <= now) {
            self.look_after(now);
        }
        self.downloads.tick(&mut self.neighbours, now, &mut self.outbox);
        self.uploads.tick(&mut self.neighbours, now, &mut self.outbox);
        self.gossip.tick(&mut self.neighbours, now, &mut self.outbox);
        let moved = self.downloads.down + self.uploads.up;
        if moved != self.moved {
            self.moved = moved;
            self.changed = true;
        }
        if self.changed && now.since(self.stats_told) >= STATS_MS {
            self.changed = false;
            self.stats_told = now;
            let stats = self.stats(now);
            self.outbox.push_back(Output::Worker(ToWorker::Stats(stats)));
        }
    }

    /// Connections, the tracker, and who is a neighbour.
    fn look_after(&mut self, now: Millis) {
        self.links.limit(self.count());
        self.tracker.rest(self.count() >= ACCEPT);
        self.links.tick(now, &mut self.outbox);
        self.tracker.tick(now, &mut self.rng, &mut self.outbox);
        self.check_lives(now);
        for _ in 0..self.lacks_offers() {
            if !self.links.make(now, &mut self.outbox) {
                break;
            }
        }
        self.announce(now);
        self.mingle(now);
        self.chores = self.chores_due();
    }

    /// Nodes that are neighbours.
    fn count(&self) -> usize {
        self.neighbours.values().filter(|n| !n.double).count()
    }

    /// Those of them that have said what they hold: before that, nothing can be had of them.
    fn ready(&self) -> usize {
        self.neighbours.values().filter(|n| !n.double && n.introduced).count()
    }

    /// How many more neighbours are sought, as far as the swarm has them.
    fn lacking(&self) -> usize {
        let there = match self.tracker.others() {
            Some(others) => usize::try_from(others).unwrap_or(usize::MAX).max(FIRST_OFFERS),
            None => FIRST_OFFERS,
        };
        there.min(TARGET).saturating_sub(self.count() + self.links.connecting())
    }

    /// How many offers are to be made.
    fn lacks_offers(&self) -> usize {
        self.lacking().max(self.wanted()).saturating_sub(self.links.offers())
    }

    fn announce(&mut self, now: Millis) {
        let lacking = self.lacking();
        let here = (self.count() + self.links.connecting()) as u64;
        let doubtful = self.membership.doubtful();
        let trying = self.wanted() > 0 && !doubtful;
        if lacking > 0
            && !trying
            && self.links.making() == 0
            && self.tracker.others().is_some_and(|others| others > here)
        {
            self.tracker.hurry(now, &mut self.rng);
        }
        let Some(due) = self.tracker.due(now) else { return };
        let mut offers = self.links.ready(doubtful);
        if offers.len() < lacking && self.links.making() > 0 && now.since(due) < PATIENCE_MS {
            return;
        }
        offers.truncate(lacking);
        self.tracker.announce(&offers, now, &mut self.outbox);
    }

    fn check_lives(&mut self, now: Millis) {
        let mut dead = Vec::new();
        for (&conn, neighbour) in self.neighbours.iter_mut() {
            if now.since(neighbour.heard) >= DEAD_MS || neighbour.double && now.since(neighbour.since) >= DOUBLE_MS {
                dead.push(conn);
            } else if now.since(neighbour.heard.max(neighbour.pinged)) >= PING_MS {
                neighbour.pinged = now;
                let bytes = neighbour.write(&Message::Ping(now.0));
                self.outbox.push_back(Output::Send { conn, bytes });
            }
        }
        if dead.is_empty() {
            return;
        }
        for conn in dead {
            self.part(conn);
            self.lose(conn);
        }
        self.recount();
    }

    /// Says goodbye and closes.
    fn part(&mut self, conn: u32) {
        self.outbox.push_back(Output::Send { conn, bytes: Message::Goodbye.encode() });
        self.outbox.push_back(Output::Close { conn });
    }

    fn gone(&mut self, conn: u32, now: Millis) {
        // Where the channel alone has ended, the page still keeps the connection.
        if self.links.gone(conn, now) || self.neighbours.contains_key(&conn) {
            self.outbox.push_back(Output::Close { conn });
        }
        self.lose(conn);
        self.recount();
    }

    /// Forgets a neighbour.
    fn lose(&mut self, conn: u32) {
        let Some(mut neighbour) = self.neighbours.remove(&conn) else { return };
        if self.former.len() >= MAX_REMEMBERED {
            self.former.pop_front();
        }
        self.former.push_back((conn, neighbour.node));
        self.membership.lost(conn);
        self.membership.moved(self.last, &mut self.rng);
        self.relays.lost(conn);
        self.downloads.lost(conn, &mut neighbour, &mut self.outbox);
        self.uploads.lost(&mut neighbour, &mut self.outbox);
        // Another connection to the same node is now the only one.
        if let Some(other) = self.neighbours.values_mut().find(|n| n.node == neighbour.node) {
            other.double = false;
        }
    }

    /// Tells the service worker where the number of neighbours has changed.
    fn recount(&mut self) {
        let count = self.ready();
        if count == self.told {
            return;
        }
        self.told = count;
        self.tracker.refresh();
        let neighbours = count.min(MAX_NEIGHBOURS) as u16;
        self.outbox.push_back(Output::Worker(ToWorker::Ready { neighbours, fresh: false }));
        self.changed = true;
    }

    fn stop(&mut self) {
        self.downloads.stop(&mut self.outbox);
        for (conn, _) in self.neighbours.take() {
            self.part(conn);
        }
        self.links.stop(&mut self.outbox);
        self.tracker.stop(&mut self.outbox);
        self.outbox.push_back(Output::Worker(ToWorker::Ready { neighbours: 0, fresh: false }));
        self.stopped = true;
    }
}

/// A fresh name, in the form that trackers know (BEP 20): client and version, then chance.
fn node_id(rng: &mut Rng) -> NodeId {
    const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._";
    let mut id = *b"-PE0100-............";
    for byte in &mut id[8..] {
        *byte = LETTERS[rng.below(64) as usize];
    }
    NodeId(id)
}
