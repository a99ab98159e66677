//! A WebTorrent tracker without its sockets: a store of swarms that relays offers and answers between their peers.
//!
//! Peers announce an info hash and bring WebRTC offers; each offer goes to another random peer of that swarm, whose
//! answer goes back the same way. The tracker speaks as `bittorrent-tracker` and `aquatic_ws` do, so that their clients
//! work with it, and it trusts nobody: a peer id belongs to the connection that first announced it, an answer passes only
//! where that very offer was relayed to that very peer, and everything that a peer can make grow has a limit.
//!
//! The driver owns the connections and numbers them. It hands in what happens, sends what [`Tracker::poll`] returns, and
//! calls again with [`Input::Tick`] at the [`Tracker::deadline`].

mod message;
mod swarm;

use std::collections::{BTreeMap, VecDeque};

use self::message::{Action, Event, Hashes, Kind, Request};
use self::swarm::Swarm;
use crate::Millis;
use crate::rng::Rng;

pub use self::message::Id;

/// A connection, by the driver's own numbering. A number is not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happens to the tracker.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A WebSocket is open.
    Opened(ConnectionId),
    /// A message came over it.
    Message(ConnectionId, &'a str),
    /// It is closed, by whomever.
    Closed(ConnectionId),
    /// Time passed.
    Tick,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this text message.
    Send(ConnectionId, String),
    /// Close the connection. The tracker has forgotten it already.
    Close(ConnectionId, CloseReason),
}

/// Why the tracker closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// There are as many connections as the limits allow.
    #[error("the tracker is full")]
    Full,
    /// More messages a second than the limits allow.
    #[error("too many messages")]
    TooManyMessages,
    /// A message longer than the limits allow.
    #[error("message too long")]
    MessageTooLong,
    /// Too many messages that were refused.
    #[error("too many refused messages")]
    TooManyRefused,
    /// No word for too long.
    #[error("no word for too long")]
    Silent,
}

/// What a peer, or all of them together, may make the tracker do or keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds that a peer is told to wait between announces.
    pub interval_s: u64,
    /// Milliseconds without an announce after which a peer is dropped, and so is a silent connection without peers.
    pub silence_ms: u64,
    /// Milliseconds within which a relayed offer can be answered.
    pub offer_ms: u64,
    /// Relayed offers of one peer that can wait for an answer; more push out the oldest.
    pub pending_offers: usize,
    /// Offers of one announce that are relayed.
    pub offers: usize,
    /// Bytes of one session description as it stands in JSON.
    pub sdp_bytes: usize,
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Messages a second from one connection, on average; 0 is without limit.
    pub messages_per_s: u32,
    /// Messages that one connection may send at once.
    pub burst: u32,
    /// Refused messages after which a connection is closed.
    pub refusals: u32,
    /// Info hashes that one connection may announce.
    pub swarms_per_connection: usize,
    /// Connections in all.
    pub connections: usize,
    /// Peers in all: a peer counts once for each info hash.
    pub peers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            interval_s: 120,
            silence_ms: 240_000,
            offer_ms: 60_000,
            pending_offers: 64,
            offers: 10,
            sdp_bytes: 16 * 1024,
            message_bytes: 64 * 1024,
            messages_per_s: 20,
            burst: 200,
            refusals: 16,
            swarms_per_connection: 32,
            connections: 65_536,
            peers: 100_000,
        }
    }
}

/// What the tracker holds and did since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open connections.
    pub connections: usize,
    /// Info hashes with at least one peer.
    pub swarms: usize,
    /// Peers, once for each info hash.
    pub peers: usize,
    /// Announces accepted.
    pub announces: u64,
    /// Scrapes answered.
    pub scrapes: u64,
    /// Offers relayed.
    pub offers: u64,
    /// Answers relayed.
    pub answers: u64,
    /// Answers dropped, because no such offer was waiting for one from that peer.
    pub stray_answers: u64,
    /// Messages refused.
    pub refused: u64,
    /// Connections closed by the tracker.
    pub closed: u64,
    /// Peers dropped for their silence.
    pub silent: u64,
}

#[derive(Debug)]
struct Connection {
    /// The swarms that it announced, and the peer id it has in each.
    swarms: Vec<(Id, Id)>,
    /// Thousandths of messages that it may still send now.
    allowance: u64,
    /// When the allowance was last made up.
    counted: Millis,
    /// When it opened or last said something.
    heard: Millis,
    refused: u32,
}

/// The store. See the module's text for the rules.
#[derive(Debug)]
pub struct Tracker {
    limits: Limits,
    rng: Rng,
    connections: BTreeMap<ConnectionId, Connection>,
    swarms: BTreeMap<Id, Swarm>,
    outbox: VecDeque<Output>,
    next_sweep: Option<Millis>,
    stats: Stats,
    /// Places of the peers that the current announce's offers go to; kept for its memory.
    chosen: Vec<usize>,
}

/// A request that is answered with a reason instead.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(&'static str);

impl Tracker {
    /// An empty tracker. The seed determines which peers get which offers.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            rng: Rng::new(seed),
            connections: BTreeMap::new(),
            swarms: BTreeMap::new(),
            outbox: VecDeque::new(),
            next_sweep: None,
            stats: Stats::default(),
            chosen: Vec::new(),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input<'_>, now: Millis) {
        match input {
            Input::Opened(connection) => self.opened(connection, now),
            Input::Message(connection, text) => self.message(connection, text, now),
            Input::Closed(connection) => self.forget(connection),
            Input::Tick => {}
        }
        self.sweep(now);
    }

    /// What is to be done next, until there is nothing more.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When [`Tracker::handle`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        self.next_sweep
    }

    /// What the tracker holds and did.
    pub fn stats(&self) -> Stats {
        Stats { connections: self.connections.len(), swarms: self.swarms.len(), ..self.stats }
    }

    fn opened(&mut self, id: ConnectionId, now: Millis) {
        if self.connections.len() >= self.limits.connections {
            self.stats.closed += 1;
            self.outbox.push_back(Output::Close(id, CloseReason::Full));
            return;
        }
        let allowance = u64::from(self.limits.burst) * 1000;
        self.connections.insert(id, Connection { swarms: Vec::new(), allowance, counted: now, heard: now, refused: 0 });
        self.next_sweep.get_or_insert(now + self.sweep_every());
    }

    fn message(&mut self, id: ConnectionId, text: &str, now: Millis) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Err(reason) = connection.admit(text, &self.limits, now) {
            return self.close(id, reason);
        }
        let request = match message::parse(text) {
            Ok(request) => request,
            Err(e) => return self.refuse(id, &format!("not understood: {e}"), None),
        };
        let action = request.action;
        let named = if let Hashes::One(hash) = request.info_hash { Some(hash) } else { None };
        let done = match action {
            Action::Announce => self.announce(id, &request, now),
            Action::Scrape => {
                self.scrape(id, &request.info_hash);
                Ok(())
            }
        };
        if let Err(Refusal(reason)) = done {
            self.refuse(id, reason, Some((action, named)));
        }
    }

    fn announce(&mut self, from: ConnectionId, request: &Request<'_>, now: Millis) -> Result<(), Refusal> {
        let Hashes::One(info_hash) = request.info_hash else { return Err(Refusal("announce needs one info_hash")) };
        let peer = request.peer_id.ok_or(Refusal("announce needs a peer_id"))?;
        let offers = request.offers.as_ref().map_or(&[][..], |offers| &offers.0);
        let sdp_bytes = self.limits.sdp_bytes;
        if !offers.iter().all(|o| o.offer.is(Kind::Offer, sdp_bytes)) {
            return Err(Refusal("each offer needs the type \"offer\" and an sdp of bounded length"));
        }
        if request.answer.is_some_and(|answer| !answer.is(Kind::Answer, sdp_bytes)) {
            return Err(Refusal("answer needs the type \"answer\" and an sdp of bounded length"));
        }
        self.admit_peer(from, info_hash, peer, request.event)?;
        if request.event == Some(Event::Stopped) {
            self.leave(from, info_hash, peer);
            self.acknowledge(from, info_hash);
            return Ok(());
        }

        let complete = match request.event {
            Some(Event::Completed) => Some(true),
            Some(Event::Started | Event::Stopped | Event::Update) | None => request.left.map(|left| left == 0),
        };
        let swarm = self.swarms.entry(info_hash).or_default();
        let before = swarm.len();
        swarm.heard(peer, from, complete, now);
        self.stats.peers += swarm.len() - before;
        self.stats.announces += 1;

        if let Some(answer) = request.answer {
            let to = request.to_peer_id.ok_or(Refusal("answer needs a to_peer_id"))?;
            let offer_id = request.offer_id.ok_or(Refusal("answer needs an offer_id"))?;
            // An answer has no acknowledgement. One that comes too late, or after its peer left, is nobody's fault: it
            // is dropped without a word, as one that was never asked for is.
            match swarm.answered(peer, to, offer_id, now) {
                Some(connection) => {
                    let text = message::relayed(Kind::Answer, info_hash, peer, offer_id, answer.sdp);
                    self.outbox.push_back(Output::Send(connection, text));
                    self.stats.answers += 1;
                }
                None => self.stats.stray_answers += 1,
            }
        } else {
            self.acknowledge(from, info_hash);
        }

        let wanted = request.numwant.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        self.relay(info_hash, peer, offers.get(..wanted.min(self.limits.offers)).unwrap_or(offers), now);
        Ok(())
    }

    /// Sends each offer to another random peer of the swarm.
    fn relay(&mut self, info_hash: Id, from: Id, offers: &[message::Offer<'_>], now: Millis) {
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return };
        swarm.choose(from, offers.len(), &mut self.rng, &mut self.chosen);
        for (offer, &place) in offers.iter().zip(&self.chosen) {
            if let Some(to) = swarm.relay(from, offer.offer_id, place, &self.limits, now) {
                let text = message::relayed(Kind::Offer, info_hash, from, offer.offer_id, offer.offer.sdp);
                self.outbox.push_back(Output::Send(to, text));
                self.stats.offers += 1;
            }
        }
    }

    /// Binds a peer id to its connection: others know it, and must not be able to speak in its name.
    fn admit_peer(&mut self, id: ConnectionId, info_hash: Id, peer: Id, event: Option<Event>) -> Result<(), Refusal> {
        let bound = self.swarms.get(&info_hash).and_then(|swarm| swarm.connection(peer));
        if bound.is_some_and(|other| other != id) {
            return Err(Refusal("this peer_id is in use on another connection"));
        }
        let full = self.stats.peers >= self.limits.peers;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        match connection.swarms.iter().find(|(swarm, _)| *swarm == info_hash) {
            Some((_, known)) if *known == peer => Ok(()),
            Some(_) => Err(Refusal("only one peer_id for each info_hash on a connection")),
            None if event == Some(Event::Stopped) => Ok(()),
            None if connection.swarms.len() >= self.limits.swarms_per_connection => {
                Err(Refusal("too many info hashes on one connection"))
            }
            None if full => Err(Refusal("the tracker is full")),
            None => {
                connection.swarms.push((info_hash, peer));
                Ok(())
            }
        }
    }

    fn acknowledge(&mut self, to: ConnectionId, info_hash: Id) {
        let (complete, incomplete) = self.counts(info_hash);
        let text = message::announced(info_hash, self.limits.interval_s, complete, incomplete);
        self.outbox.push_back(Output::Send(to, text));
    }

    fn scrape(&mut self, to: ConnectionId, hashes: &Hashes) {
        self.stats.scrapes += 1;
        let interval = self.limits.interval_s;
        let count = |hash: &Id| {
            let (complete, incomplete) = self.counts(*hash);
            (*hash, complete, incomplete)
        };
        let text = match hashes {
            Hashes::Absent => message::scraped(self.swarms.keys().take(message::MAX_SCRAPED).map(count), interval),
            Hashes::One(hash) => message::scraped(std::iter::once(hash).map(count), interval),
            Hashes::Many(hashes) => message::scraped(hashes.iter().map(count), interval),
        };
        self.outbox.push_back(Output::Send(to, text));
    }

    fn counts(&self, info_hash: Id) -> (usize, usize) {
        self.swarms.get(&info_hash).map_or((0, 0), |swarm| (swarm.complete(), swarm.incomplete()))
    }

    fn refuse(&mut self, id: ConnectionId, reason: &str, of: Option<(Action, Option<Id>)>) {
        self.stats.refused += 1;
        self.outbox.push_back(Output::Send(id, message::failure(reason, of)));
        let limit = self.limits.refusals;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.refused = connection.refused.saturating_add(1);
        if connection.refused >= limit {
            self.close(id, CloseReason::TooManyRefused);
        }
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        self.forget(id);
        self.stats.closed += 1;
        self.outbox.push_back(Output::Close(id, reason));
    }

    fn forget(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        for (info_hash, peer) in connection.swarms {
            self.remove_peer(info_hash, peer);
        }
    }

    fn leave(&mut self, id: ConnectionId, info_hash: Id, peer: Id) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.swarms.retain(|announced| *announced != (info_hash, peer));
        }
        self.remove_peer(info_hash, peer);
    }

    fn remove_peer(&mut self, info_hash: Id, peer: Id) {
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return };
        if swarm.remove(peer) {
            self.stats.peers = self.stats.peers.saturating_sub(1);
        }
        if swarm.len() == 0 {
            self.swarms.remove(&info_hash);
        }
    }

    fn sweep_every(&self) -> u64 {
        (self.limits.silence_ms / 8).clamp(1, 15_000)
    }

    /// Drops the peers, and then the connections, that have been silent for too long. It looks at all of them, so it
    /// does so a few times per allowed silence, not at each message.
    fn sweep(&mut self, now: Millis) {
        if self.next_sweep.is_none_or(|at| now < at) {
            return;
        }
        let then = Millis(now.0.saturating_sub(self.limits.silence_ms));
        let mut silent = Vec::new();
        for (info_hash, swarm) in &self.swarms {
            silent.extend(swarm.silent_since(then).map(|(peer, connection)| (connection, *info_hash, peer)));
        }
        for (connection, info_hash, peer) in silent {
            self.stats.silent += 1;
            self.leave(connection, info_hash, peer);
        }
        let idle: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, c)| c.swarms.is_empty() && c.heard < then).map(|(id, _)| *id).collect();
        for id in idle {
            self.close(id, CloseReason::Silent);
        }
        self.next_sweep = (!self.connections.is_empty()).then_some(now + self.sweep_every());
    }
}

impl Connection {
    /// Lets a message in, or says why the connection is to be closed. The rate is a token bucket: it fills at
    /// `messages_per_s` up to `burst`.
    fn admit(&mut self, text: &str, limits: &Limits, now: Millis) -> Result<(), CloseReason> {
        if text.len() > limits.message_bytes {
            return Err(CloseReason::MessageTooLong);
        }
        self.heard = now;
        if limits.messages_per_s == 0 {
            return Ok(());
        }
        let earned = now.since(self.counted).saturating_mul(u64::from(limits.messages_per_s));
        self.allowance = self.allowance.saturating_add(earned).min(u64::from(limits.burst) * 1000);
        self.counted = now;
        self.allowance = self.allowance.checked_sub(1000).ok_or(CloseReason::TooManyMessages)?;
        Ok(())
    }
}
