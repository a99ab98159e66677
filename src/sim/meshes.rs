//! Drives a browser's mesh: hands in what happened, carries out what it says.

use std::collections::{BTreeMap, VecDeque};

use super::browser::{Conduct, Node};
use super::link::{Conn, End, Load};
use super::queue::Micros;
use super::secs;
use super::world::{Event, World};
use crate::digest::Digest;
use crate::manifest::{FORMAT, Policy, Root};
use crate::mesh::{Config, Input, Mesh, Output};
use crate::port::{Held, Limits, ToMesh};
use crate::sorted::Map;
use crate::text::Base64;
use crate::transfer;
use crate::wants::Wants;
use crate::wire::FRAME_HEAD;

/// What stands for the site in hellos, and at the tracker.
const SITE: [u8; 32] = [7; 32];
const INFO_HASH: [u8; 20] = *b"a simulated site    ";

/// Gathering takes a round trip to a STUN server and this, in microseconds: what Chromium needed on one machine, rounded.
const GATHERING: Micros = 50_000;
/// From an answer to an open channel, in one-way delays: ICE's check, DTLS's two flights and SCTP's two each way.
const HANDSHAKE: Micros = 8;
/// ICE gives up after some 15 s without an answer to its checks (RFC 8445, and what browsers do).
const GIVE_UP_S: f64 = 15.0;

impl World {
    pub(super) fn start_mesh(&mut self, number: u32) {
        let now = self.millis();
        let cost = &self.scenario.peerage;
        let limits =
            Limits { upload_rate: cost.upload_rate as u64, upload_budget: cost.upload_budget as u64, paused: false };
        let browser = &mut self.browsers[number as usize];
        if browser.node.is_some() {
            return;
        }
        let config = Config {
            // Not the visitor's own chance, from which steps are drawn.
            seed: super::chance::stream(self.seed, 7, u64::from(number) << 32 | u64::from(browser.epoch)).next_u64(),
            site: SITE,
            info_hash: INFO_HASH,
            trackers: vec!["wss://tracker.example/".to_owned()],
            limits,
        };
        browser.node = Some(Box::new(Node {
            mesh: Mesh::new(config, now),
            neighbours: 0,
            conns: BTreeMap::new(),
            ring: VecDeque::new(),
            sending: false,
            retry: Micros::MAX,
            uploads: Map::default(),
            buffers: Map::default(),
            wants: Wants::default(),
            frame: 0,
        }));
        self.figures.meshes += 1;
        self.ask_for_news(number);
        self.tell(number, Input::Port);
    }

    /// Tells a mesh what happened.
    pub(super) fn tell(&mut self, number: u32, input: Input) {
        self.browsers[number as usize].inbox.push_back(input);
        self.drive(number);
    }

    pub(super) fn tick(&mut self, number: u32) {
        let now = self.millis();
        let browser = &mut self.browsers[number as usize];
        if browser.tick != self.now {
            // An earlier one came first.
            return;
        }
        browser.tick = Micros::MAX;
        let is_due = |deadline: Option<crate::Millis>| deadline.is_some_and(|at| at <= now);
        if is_due(browser.node.as_ref().and_then(|node| node.mesh.deadline())) {
            browser.inbox.push_back(Input::Tick);
        }
        if is_due(browser.files_due) {
            let due = browser.files.iter().filter(|(_, open)| is_due(open.transfer.deadline()));
            browser.work.extend(due.map(|(&file, _)| (file, transfer::Input::Tick)));
        }
        self.drive(number);
    }

    /// Hands in what waits, to transfers and to the mesh, until nothing does; then sets the clock.
    pub(super) fn drive(&mut self, number: u32) {
        let mut fed = false;
        loop {
            let browser = &mut self.browsers[number as usize];
            if let Some((file, input)) = browser.work.pop_front() {
                fed = true;
                self.feed(number, file, input);
            } else if let Some(input) = browser.inbox.pop_front() {
                let now = self.millis();
                let Some(node) = &mut self.browsers[number as usize].node else { continue };
                node.mesh.handle(input, now);
                while let Some(output) = self.browsers[number as usize].node.as_mut().and_then(|node| node.mesh.poll())
                {
                    self.carry_out(number, output);
                }
            } else {
                break;
            }
        }
        let browser = &mut self.browsers[number as usize];
        if browser.visit.is_none() {
            return;
        }
        let mesh = browser.node.as_ref().and_then(|node| node.mesh.deadline());
        if fed {
            browser.files_due = browser.files.values().filter_map(|open| open.transfer.deadline()).min();
        }
        let Some(due) = browser.files_due.into_iter().chain(mesh).min() else { return };
        let at = (due.0 * 1000).max(self.now + 1000);
        if at < browser.tick {
            browser.tick = at;
            self.queue.at(at, Event::Tick(number, browser.epoch));
        }
    }

    fn carry_out(&mut self, number: u32, output: Output) {
        let now = self.now;
        let browser = &mut self.browsers[number as usize];
        let (epoch, conduct) = (browser.epoch, browser.traits.conduct);
        let Some(node) = &mut browser.node else { return };
        match output {
            Output::Offer { conn } | Output::Accept { conn, .. } => {
                node.conns.insert(conn, Conn::new());
                let end = End { browser: number, epoch, conn };
                let round_trip = 2 * (browser.traits.delay + (self.scenario.tracker.distance_ms * 1000.0) as Micros);
                let sdp = format!("{number} {epoch} {conn}");
                self.queue.at(now + round_trip + GATHERING, Event::Described(end, sdp));
            }
            Output::Answered { conn, sdp } => {
                if let Some(other) = described(&sdp) {
                    self.connect(End { browser: number, epoch, conn }, other);
                }
            }
            Output::Close { conn } => {
                if node.conns.get(&conn).is_some_and(|c| c.open) {
                    self.send(number, conn, Load::Fin);
                } else {
                    node.conns.remove(&conn);
                }
            }
            Output::Send { conn, bytes } => self.send(number, conn, Load::Message(bytes)),
            Output::Frame { conn, upload, head, range } => {
                let token = node.uploads.get(&upload).copied().unwrap_or_default();
                let len = FRAME_HEAD as u32 + (range.end - range.start);
                match conduct {
                    Conduct::Stalling => {}
                    Conduct::Corrupt => self.send(number, conn, Load::Frame { head, len, token: !token }),
                    Conduct::Honest | Conduct::Lying => self.send(number, conn, Load::Frame { head, len, token }),
                }
            }
            Output::Read { upload, held } => {
                let is_there = browser.store.place(&held.digest).is_some();
                let token = self.site.token(&held.digest).filter(|_| is_there);
                if let Some(token) = token {
                    node.uploads.insert(upload, token);
                }
                browser.inbox.push_back(Input::Loaded { upload, right: token.is_some() });
            }
            Output::Unload { upload } => {
                node.uploads.remove(&upload);
            }
            Output::Fill { buffer, .. } => {
                let token = node.frame;
                // Frames of different contents make neither.
                let mixed = node.buffers.get(&buffer).is_some_and(|&before| before != token);
                node.buffers.insert(buffer, if mixed { u64::MAX } else { token });
            }
            Output::Deliver { buffer, digest, peer, ids } => {
                let token = node.buffers.remove(&buffer).unwrap_or(u64::MAX);
                for id in ids {
                    self.piece_arrived(number, id, digest, peer, token);
                }
            }
            Output::Discard { buffer } => {
                node.buffers.remove(&buffer);
            }
            Output::Connect { socket, .. } => self.connect_tracker(number, socket),
            Output::Text { text, .. } => self.say_to_tracker(number, text),
            Output::Disconnect { .. } => self.disconnect_tracker(number),
            Output::Root { text, .. } => self.root_heard(number, &text),
            Output::Worker(message) => self.heard(number, message),
        }
    }

    /// A neighbour has another version: where it is newer the origin is asked for a word on it.
    fn root_heard(&mut self, number: u32, text: &str) {
        let known = self.browsers[number as usize].manifest;
        let version = (0..=self.newest()).rev().find(|&version| root(version) == text);
        let browser = &mut self.browsers[number as usize];
        let Some(version) = version.filter(|&version| known < Some(version) && browser.asked < Some(version)) else {
            return;
        };
        // One question at a time, however many neighbours speak of it.
        browser.asked = Some(version);
        self.confirm(number, version);
    }

    /// The origin is asked for a word on a version.
    pub(super) fn confirm(&mut self, number: u32, version: u32) {
        let browser = &self.browsers[number as usize];
        let delay = browser.traits.delay + (self.scenario.origin.distance_ms * 1000.0) as Micros;
        let answer = (self.scenario.origin.answer_ms * 1000.0) as Micros;
        let bytes = root(version).len();
        self.queue.at(self.now + 2 * delay + answer, Event::Confirmed(number, browser.epoch, version));
        self.figures.tally(browser.group()).overhead += bytes as u64;
        if let Some(release) = self.figures.releases.last_mut() {
            release.count_root(bytes);
        }
        self.figures.at(self.now).origin += bytes as u64;
    }

    /// The worker knows of a version, and has the mesh pass it on. Pages take it up when they are opened.
    pub(super) fn informed(&mut self, number: u32, version: u32) {
        let browser = &mut self.browsers[number as usize];
        if browser.manifest < Some(version) {
            browser.manifest = Some(version);
            self.tell(number, Input::Worker(ToMesh::Root(root(version))));
            self.learned(number, version);
        }
    }

    /// Both descriptions are known: whether a connection comes about depends on what stands between.
    fn connect(&mut self, own: End, other: End) {
        let [a, b] = [own, other].map(|end| self.browsers[end.browser as usize].traits.nat);
        self.figures.connections.0 += 1;
        if a.connects(b) {
            let delay = self.distance(own.browser, other.browser);
            self.queue.at(self.now + HANDSHAKE * delay, Event::Connected(own, other));
        } else {
            self.figures.connections.1 += 1;
            for end in [own, other] {
                self.queue.at(self.now + secs(GIVE_UP_S), Event::Unconnected(end));
            }
        }
    }

    /// Everything that may be shared: the answer to a mesh's greeting.
    pub(super) fn hold_all(&mut self, number: u32) {
        let browser = &mut self.browsers[number as usize];
        let held = |(digest, place): (_, crate::store::Place)| Held {
            digest,
            segment: place.segment,
            offset: place.offset,
            len: place.len,
        };
        let pieces: Vec<Held> = if browser.traits.conduct == Conduct::Lying {
            self.site.all_pieces().map(|p| Held { digest: p.digest, segment: 0, offset: 0, len: p.len }).collect()
        } else {
            browser.store.shared().map(held).collect()
        };
        browser.inbox.push_back(Input::Worker(ToMesh::Holdings { full: true, pieces }));
        if let Some(version) = browser.manifest {
            browser.inbox.push_back(Input::Worker(ToMesh::Root(root(version))));
        }
    }
}

/// What stands for a version's root: a JWS whose signature is nobody's, which the mesh does not look at.
fn root(version: u32) -> String {
    let encode = |bytes: &[u8]| Base64::Url.encode(bytes);
    let claims = Root {
        format: FORMAT,
        site: encode(&SITE),
        version: u64::from(version) + 1,
        issued: 0,
        expires: 0,
        index: Digest::of(b""),
        index_bytes: 0,
        delta: None,
        key: 1,
        files: 0,
        bytes: 0,
        policy: Policy::default(),
        retired: false,
    };
    let claims = serde_json::to_vec(&claims).unwrap_or_default();
    format!("{}.{}.{}", encode(br#"{"alg":"ES256"}"#), encode(&claims), encode(&[0; 64]))
}

/// The end that a description names.
fn described(sdp: &str) -> Option<End> {
    let mut parts = sdp.split(' ').map(str::parse::<u32>);
    let mut next = || parts.next()?.ok();
    Some(End { browser: next()?, epoch: next()?, conn: next()? })
}
