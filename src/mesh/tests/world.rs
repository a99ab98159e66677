//! The virtual network: pages that connect, a tracker that introduces, channels with a rate and a delay, stores, and a
//! clock that jumps from event to event. It carries out a mesh's outputs as the browser's driver does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::super::*;
use crate::digest::Digest;
use crate::port::{Held, Limits, Priority, Wanted};

mod nodes;

pub(super) const SITE: [u8; 32] = [42; 32];
const INFO_HASH: [u8; 20] = [b'h'; 20];
const LOW: usize = 32 * 1024;

/// A piece whose bytes are all `fill`.
pub(super) fn piece(fill: u8, len: usize) -> (Digest, Vec<u8>) {
    let bytes = vec![fill; len];
    (Digest::of(&bytes), bytes)
}

/// `count` different pieces of `len` bytes. Their digests are names only: no mesh hashes anything.
pub(super) fn pieces(count: usize, len: usize) -> Vec<(Digest, Vec<u8>)> {
    let numbered = |n: usize| {
        let mut bytes = vec![0; len];
        bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
        (Digest::of(&[n.to_le_bytes(), len.to_le_bytes()].concat()), bytes)
    };
    (0..count).map(numbered).collect()
}

pub(super) fn wanted(pieces: &[(Digest, Vec<u8>)]) -> Vec<Wanted> {
    pieces.iter().map(|(d, b)| Wanted { digest: *d, len: b.len() as u32, within_ms: u32::MAX }).collect()
}

enum Event {
    Input(Input),
    /// A message arrives.
    Arrive {
        conn: u32,
        bytes: Vec<u8>,
    },
    /// A message has left the sender's channel.
    Left {
        conn: u32,
        len: usize,
    },
}

struct Channel {
    peer: usize,
    conn: u32,
    buffered: usize,
}

/// One visitor; without a mesh it is a test's own, that says what it likes.
pub(super) struct Node {
    pub(super) mesh: Option<Mesh>,
    pub(super) store: BTreeMap<Digest, Vec<u8>>,
    /// Pieces delivered: who sent them, for which wants.
    pub(super) got: Vec<(Digest, Vec<u8>, u32, Vec<u32>)>,
    pub(super) said: Vec<ToWorker>,
    /// Roots that the worker was told of, and by whom.
    pub(super) roots: Vec<(u32, String)>,
    /// What a node without a mesh has heard.
    pub(super) heard: Vec<Message>,
    /// Bytes that it sends in a millisecond.
    pub(super) rate: usize,
    /// No longer there: nothing that is sent to it arrives, nothing leaves it.
    pub(super) dead: bool,
    /// Its connections never open.
    pub(super) firewalled: bool,
    pub(super) most_buffered: usize,
    pub(super) peak_connections: usize,
    channels: BTreeMap<u32, Channel>,
    buffers: BTreeMap<u32, Vec<u8>>,
    loaded: BTreeMap<u32, Vec<u8>>,
    free_at: u64,
    socket: Option<u32>,
    deadline: Option<u64>,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) delay: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) tracker_up: bool,
    pub(super) announces: Vec<(u64, usize, Value)>,
    pub(super) connects: Vec<(u64, usize)>,
    /// Everything said over channels: when, from whom, to whom, what.
    pub(super) log: Vec<(u64, usize, usize, Message)>,
    events: BTreeMap<(u64, u64), (usize, Event)>,
    /// The nodes' deadlines.
    timers: BTreeSet<(u64, usize)>,
    sequence: u64,
    interval: u64,
    chance: Rng,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: 1_000,
            delay: 10,
            nodes: Vec::new(),
            tracker_up: true,
            announces: Vec::new(),
            connects: Vec::new(),
            log: Vec::new(),
            events: BTreeMap::new(),
            timers: BTreeSet::new(),
            sequence: 0,
            interval: 120,
            chance: Rng::new(1),
        }
    }

    pub(super) fn config(&self, seed: u64) -> Config {
        Config {
            seed,
            site: SITE,
            info_hash: INFO_HASH,
            trackers: vec!["ws://tracker".into()],
            limits: Limits::default(),
        }
    }

    /// A visitor with a mesh that holds these pieces.
    pub(super) fn join(&mut self, held: &[(Digest, Vec<u8>)]) -> usize {
        let config = self.config(self.nodes.len() as u64 + 1);
        self.join_with(config, held)
    }

    pub(super) fn join_with(&mut self, config: Config, held: &[(Digest, Vec<u8>)]) -> usize {
        let mesh = Mesh::new(config, Millis(self.now));
        let node = self.add(Some(mesh));
        self.perform(node, &[]);
        self.input(node, Input::Port);
        self.hold(node, held);
        node
    }

    /// A visitor that the test speaks for, connected to `target`. It has not greeted.
    pub(super) fn stranger(&mut self, target: usize, name: u8) -> usize {
        let node = self.add(None);
        self.connect(node, 1, target, name);
        node
    }

    /// One that has greeted.
    pub(super) fn raw(&mut self, target: usize, name: u8) -> usize {
        let node = self.stranger(target, name);
        self.tell(node, &hello(name));
        self.run(100);
        node
    }

    /// Connects a node without a mesh to `target`, over its own connection `conn`.
    pub(super) fn connect(&mut self, node: usize, conn: u32, target: usize, name: u8) {
        let text = json!({"info_hash": latin(&INFO_HASH), "peer_id": latin(&[name; 20]), "offer_id": latin(&[name; 20]),
            "offer": {"type": "offer", "sdp": format!("offer:{node}:{conn}")}});
        let socket = self.nodes[target].socket.expect("the target is at the tracker");
        self.input(target, Input::SocketText { socket, text: text.to_string() });
        self.run(100);
    }

    fn add(&mut self, mesh: Option<Mesh>) -> usize {
        self.nodes.push(Node {
            mesh,
            store: BTreeMap::new(),
            got: Vec::new(),
            said: Vec::new(),
            roots: Vec::new(),
            heard: Vec::new(),
            rate: 2_000,
            dead: false,
            firewalled: false,
            most_buffered: 0,
            peak_connections: 0,
            channels: BTreeMap::new(),
            buffers: BTreeMap::new(),
            loaded: BTreeMap::new(),
            free_at: 0,
            socket: None,
            deadline: None,
        });
        self.nodes.len() - 1
    }

    /// Lets `ms` pass.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`, at most `ms`; whether it came to that.
    pub(super) fn until(&mut self, ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + ms;
        while !done(self) {
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
        true
    }

    /// The next thing that happens before `end`, if there is one.
    fn step(&mut self, end: u64) -> bool {
        while let Some(&timer) = self.timers.first().filter(|(_, node)| self.nodes[*node].dead) {
            self.timers.remove(&timer);
        }
        let tick = self.timers.first().map(|&(at, node)| (at.max(self.now), node));
        let event = self.events.keys().next().copied();
        match (tick, event) {
            (Some((at, node)), next) if at <= end && next.is_none_or(|(t, _)| at < t) => {
                let before = self.mesh(node).deadline();
                self.now = at;
                self.input(node, Input::Tick);
                let after = self.mesh(node).deadline();
                assert!(after != before || after.is_none_or(|a| a.0 > at), "a deadline that is not met: {after:?}");
                true
            }
            (_, Some(key)) if key.0 <= end => {
                self.now = key.0;
                if let Some((node, event)) = self.events.remove(&key) {
                    self.happen(node, event);
                }
                true
            }
            _ => false,
        }
    }

    fn later(&mut self, ms: u64, node: usize, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + ms, self.sequence), (node, event));
    }

    fn happen(&mut self, node: usize, event: Event) {
        if self.nodes[node].dead {
            return;
        }
        match event {
            Event::Input(Input::SocketOpen { socket }) if !self.tracker_up => {
                self.input(node, Input::SocketClosed { socket });
            }
            Event::Input(input) => {
                if let Input::Gone { conn } = input {
                    self.nodes[node].channels.remove(&conn);
                }
                self.input(node, input);
            }
            Event::Left { conn, len } => {
                let Some(channel) = self.nodes[node].channels.get_mut(&conn) else { return };
                let before = channel.buffered;
                channel.buffered -= len;
                let bytes = channel.buffered;
                if before > LOW && bytes <= LOW {
                    self.input(node, Input::Buffered { conn, bytes });
                }
            }
            Event::Arrive { conn, bytes } => {
                if !self.nodes[node].channels.contains_key(&conn) {
                    return;
                }
                if self.nodes[node].mesh.is_none() {
                    let message = Message::decode(&bytes).expect("a mesh speaks well");
                    self.nodes[node].heard.push(message);
                    return;
                }
                let input = match bytes.first_chunk() {
                    Some(head) if head[0] == Frame::TYPE => Input::Frame { conn, head: *head, len: bytes.len() },
                    _ => Input::Message { conn, bytes: bytes.clone() },
                };
                self.handle(node, input);
                self.perform(node, &bytes);
            }
        }
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        self.handle(node, input);
        self.perform(node, &[]);
    }

    fn handle(&mut self, node: usize, input: Input) {
        let now = Millis(self.now);
        if let Some(mesh) = &mut self.nodes[node].mesh {
            mesh.handle(input, now);
        }
    }

    /// Carries out what a mesh says; `message` is the one just handed in.
    fn perform(&mut self, node: usize, message: &[u8]) {
        let mut outputs = VecDeque::new();
        loop {
            outputs.extend(std::iter::from_fn(|| self.nodes[node].mesh.as_mut().and_then(Mesh::poll)));
            let Some(output) = outputs.pop_front() else { break };
            self.carry_out(node, output, message);
        }
        let deadline = self.nodes[node].mesh.as_ref().and_then(Mesh::deadline).map(|at| at.0);
        let before = std::mem::replace(&mut self.nodes[node].deadline, deadline);
        if before != deadline {
            if let Some(at) = before {
                self.timers.remove(&(at, node));
            }
            self.timers.extend(deadline.map(|at| (at, node)));
        }
    }

    /// Stops the tracker for good.
    pub(super) fn stop_tracker(&mut self) {
        self.tracker_up = false;
        for node in 0..self.nodes.len() {
            if let Some(socket) = self.nodes[node].socket.take() {
                self.input(node, Input::SocketClosed { socket });
            }
        }
    }

    /// Brings a visitor together with one member of the swarm, as a tracker would.
    pub(super) fn acquaint(&mut self, visitor: usize, member: usize) {
        let (id, sdp) =
            self.mesh(visitor).links.ready(true).first().map(|(i, s)| (*i, (*s).to_owned())).expect("an offer");
        let conn = self.mesh(member).links.made() + 1;
        let (to, from) = (self.mesh(visitor).node(), self.mesh(member).node());
        self.tracked(member, tracker::Event::Offer { from: to, id, sdp });
        self.run(10);
        self.tracked(visitor, tracker::Event::Answer { from, id, sdp: format!("answer:{member}:{conn}") });
    }

    fn tracked(&mut self, node: usize, event: tracker::Event) {
        let now = Millis(self.now);
        if let Some(mesh) = &mut self.nodes[node].mesh {
            mesh.introduced(Some(event), now);
        }
        self.input(node, Input::Tick);
    }

    /// The members of the swarm that `from` is part of, as far as connections go.
    pub(super) fn component(&self, from: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([from]);
        let mut next = vec![from];
        while let Some(node) = next.pop() {
            let Some(mesh) = self.nodes[node].mesh.as_ref().filter(|_| !self.nodes[node].dead) else { continue };
            for (conn, channel) in &self.nodes[node].channels {
                if mesh.neighbours.contains_key(conn) && !self.nodes[channel.peer].dead && reached.insert(channel.peer)
                {
                    next.push(channel.peer);
                }
            }
        }
        reached
    }

    fn carry_out(&mut self, node: usize, output: Output, message: &[u8]) {
        match output {
            Output::Offer { conn } => {
                let sdp = format!("offer:{node}:{conn}");
                self.later(5, node, Event::Input(Input::Described { conn, sdp }));
            }
            Output::Accept { conn, sdp } => self.open(node, conn, &sdp, false),
            Output::Answered { conn, sdp } => self.open(node, conn, &sdp, true),
            Output::Close { conn } => {
                if let Some(channel) = self.nodes[node].channels.remove(&conn) {
                    // After what was sent.
                    let delay = self.nodes[node].free_at.saturating_sub(self.now) + self.delay + 1;
                    self.later(delay, channel.peer, Event::Input(Input::Gone { conn: channel.conn }));
                }
            }
            Output::Send { conn, bytes } => self.send(node, conn, bytes),
            Output::Frame { conn, upload, head, range } => {
                let mut bytes = head.to_vec();
                bytes.extend(&self.nodes[node].loaded[&upload][range.start as usize..range.end as usize]);
                self.send(node, conn, bytes);
            }
            Output::Read { upload, held } => {
                let bytes = self.nodes[node].store.get(&held.digest).filter(|b| b.len() == held.len as usize).cloned();
                let right = bytes.is_some();
                self.nodes[node].loaded.extend(bytes.map(|b| (upload, b)));
                self.later(1, node, Event::Input(Input::Loaded { upload, right }));
            }
            Output::Unload { upload } => {
                self.nodes[node].loaded.remove(&upload);
            }
            Output::Fill { buffer, total, offset, payload } => {
                let bytes = self.nodes[node].buffers.entry(buffer).or_insert_with(|| vec![0; total as usize]);
                let part = &message[FRAME_HEAD..];
                assert_eq!(part.len(), payload as usize);
                bytes[offset as usize..][..part.len()].copy_from_slice(part);
            }
            Output::Deliver { buffer, digest, peer, ids } => {
                let bytes = self.nodes[node].buffers.remove(&buffer).expect("a filled buffer");
                assert!(!ids.is_empty());
                self.nodes[node].got.push((digest, bytes, peer, ids));
            }
            Output::Discard { buffer } => {
                self.nodes[node].buffers.remove(&buffer);
            }
            Output::Connect { socket, .. } => {
                self.nodes[node].socket = Some(socket);
                self.connects.push((self.now, node));
                self.later(2, node, Event::Input(Input::SocketOpen { socket }));
            }
            Output::Text { socket, text } => self.at_tracker(node, socket, &text),
            Output::Disconnect { .. } => self.nodes[node].socket = None,
            Output::Root { peer, text } => self.nodes[node].roots.push((peer, text)),
            Output::Worker(message) => {
                // What is said must survive the port.
                assert_eq!(ToWorker::decode(&message.encode()), Ok(message.clone()));
                self.nodes[node].said.push(message);
            }
        }
    }

    /// The page has a remote description: it answers it, or both ends are known and the channels open.
    fn open(&mut self, node: usize, conn: u32, sdp: &str, answered: bool) {
        let mut parts = sdp.split(':').skip(1).map(|p| p.parse::<usize>());
        let (Some(Ok(peer)), Some(Ok(other))) = (parts.next(), parts.next()) else {
            return self.later(1, node, Event::Input(Input::Gone { conn }));
        };
        if !answered {
            let sdp = format!("answer:{node}:{conn}");
            self.later(5, node, Event::Input(Input::Described { conn, sdp }));
        }
        if self.nodes[node].firewalled || self.nodes[peer].firewalled {
            return;
        }
        // A stranger's offer needs no answer: the test speaks for it.
        if answered || self.nodes[peer].mesh.is_none() {
            let other = other as u32;
            self.nodes[node].channels.insert(conn, Channel { peer, conn: other, buffered: 0 });
            self.nodes[peer].channels.insert(other, Channel { peer: node, conn, buffered: 0 });
            for n in [node, peer] {
                self.nodes[n].peak_connections = self.nodes[n].peak_connections.max(self.nodes[n].channels.len());
            }
            let delay = 2 * self.delay + 6;
            self.later(delay, node, Event::Input(Input::Open { conn }));
            self.later(delay, peer, Event::Input(Input::Open { conn: other }));
        }
    }

    fn send(&mut self, node: usize, conn: u32, bytes: Vec<u8>) {
        let (now, delay) = (self.now, self.delay);
        let sender = &mut self.nodes[node];
        let Some(channel) = sender.channels.get_mut(&conn).filter(|_| !sender.dead) else { return };
        channel.buffered += bytes.len();
        sender.most_buffered = sender.most_buffered.max(channel.buffered);
        let (peer, other, buffered) = (channel.peer, channel.conn, channel.buffered);
        sender.free_at = sender.free_at.max(now) + bytes.len().div_ceil(sender.rate) as u64;
        let left = sender.free_at - now;
        if let Ok(message) = Message::decode(&bytes) {
            self.log.push((now, node, peer, message));
        }
        self.later(left, node, Event::Left { conn, len: bytes.len() });
        self.later(left + delay, peer, Event::Arrive { conn: other, bytes });
        self.handle(node, Input::Buffered { conn, bytes: buffered });
    }

    /// The tracker, as WebTorrent's are: an offer to each of as many others, whoever they are, answers to whom they name.
    fn at_tracker(&mut self, node: usize, socket: u32, text: &str) {
        let message: Value = serde_json::from_str(text).expect("a mesh writes JSON");
        if !self.tracker_up || self.nodes[node].socket != Some(socket) {
            return;
        }
        self.announces.push((self.now, node, message.clone()));
        let peer_id = message["peer_id"].clone();
        let others: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| n != node && self.nodes[n].mesh.is_some() && self.nodes[n].socket.is_some())
            .collect();
        let relay = |kind: &str, offer_id: &Value, description: &Value| {
            json!({"action": "announce", "info_hash": message["info_hash"], "peer_id": peer_id, "offer_id": offer_id,
                kind: description})
        };
        if message.get("answer").is_some() {
            let to = |n: &&usize| latin(&self.mesh(**n).node().0) == message["to_peer_id"].as_str().unwrap();
            if let Some(&to) = others.iter().find(to) {
                let text = relay("answer", &message["offer_id"], &message["answer"]).to_string();
                let socket = self.nodes[to].socket.expect("at the tracker");
                self.later(2, to, Event::Input(Input::SocketText { socket, text }));
            }
            return;
        }
        let reply = json!({"action": "announce", "info_hash": message["info_hash"], "interval": self.interval,
            "complete": 0, "incomplete": others.len() + 1});
        self.later(2, node, Event::Input(Input::SocketText { socket, text: reply.to_string() }));
        let offers = message["offers"].as_array().cloned().unwrap_or_default();
        let mut others = others;
        for offer in offers.into_iter().take(others.len()) {
            let to = others.swap_remove(self.chance.below(others.len() as u64) as usize);
            let text = relay("offer", &offer["offer_id"], &offer["offer"]).to_string();
            let socket = self.nodes[to].socket.expect("at the tracker");
            self.later(2, to, Event::Input(Input::SocketText { socket, text }));
        }
    }
}

pub(super) fn hello(name: u8) -> Message {
    Message::Hello(Hello {
        version: VERSION,
        site: SITE,
        node: NodeId([name; 20]),
        max_message: MAX_MESSAGE as u32,
        features: 0,
    })
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}
