//! One simulated browser: what it is connected by, what it has stored, and, while a visit lasts, the page, the worker's
//! transfers and the mesh.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::chance::{self, stream};
use super::figures::Group;
use super::link::Conn;
use super::queue::Micros;
use super::scenario::Scenario;
use super::site::Body;
use super::updating::Coming;
use crate::Millis;
use crate::manifest::Piece;
use crate::mesh::{self, Mesh};
use crate::rng::Rng;
use crate::sorted::Map;
use crate::store::Store;
use crate::transfer::{self, Paths, ReaderId, RunId, Transfer};
use crate::wants::Wants;

/// What a browser's address translation lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nat {
    /// Maps all destinations to one port, and lets in whoever was sent to, from any port.
    Easy,
    /// The same, but filters by port, too.
    Restricted,
    /// Maps each destination to another port.
    Symmetric,
    /// No UDP.
    Blocked,
}

impl Nat {
    /// Whether a direct connection comes about (RFC 5128, section 3.3).
    pub(super) fn connects(self, other: Self) -> bool {
        match (self, other) {
            (Self::Blocked, _) | (_, Self::Blocked) | (Self::Symmetric, Self::Symmetric | Self::Restricted) => false,
            (Self::Restricted, Self::Symmetric) => false,
            (Self::Easy | Self::Restricted, Self::Easy | Self::Restricted)
            | (Self::Easy, Self::Symmetric)
            | (Self::Symmetric, Self::Easy) => true,
        }
    }
}

/// How a browser treats others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduct {
    Honest,
    /// Sends other bytes.
    Corrupt,
    /// Sends nothing.
    Stalling,
    /// Claims to hold everything.
    Lying,
}

/// What stays the same from visit to visit.
#[derive(Debug)]
pub(super) struct Traits {
    /// Bytes a microsecond.
    pub(super) down: f64,
    pub(super) up: f64,
    /// To the provider's network, one way.
    pub(super) delay: Micros,
    /// Which of the scenario's classes of links.
    pub(super) class: usize,
    pub(super) nat: Nat,
    pub(super) consents: bool,
    pub(super) conduct: Conduct,
}

impl Traits {
    /// A browser's lot, by its number alone.
    pub(super) fn draw(scenario: &Scenario, seed: u64, number: u32) -> Self {
        let mut rng = stream(seed, 2, u64::from(number));
        let class = chance::pick(&mut rng, &chance::cumulative(scenario.links.iter().map(|l| l.share)));
        let link = &scenario.links[class];
        // Bytes a microsecond are megabits a second over 8.
        let (down, up) = (link.down_mbit / 8.0, link.up_mbit * scenario.network.uplink / 8.0);
        let shares = &scenario.nat;
        let nat = match chance::unit(&mut rng) {
            at if at < shares.blocked => Nat::Blocked,
            at if at < shares.blocked + shares.symmetric => Nat::Symmetric,
            at if at < shares.blocked + shares.symmetric + shares.restricted => Nat::Restricted,
            _ => Nat::Easy,
        };
        let consents = chance::happens(&mut rng, scenario.visitors.consent);
        let shares = &scenario.misbehaving;
        let conduct = match chance::unit(&mut rng) {
            at if at < shares.corrupt => Conduct::Corrupt,
            at if at < shares.corrupt + shares.stalling => Conduct::Stalling,
            at if at < shares.corrupt + shares.stalling + shares.lying => Conduct::Lying,
            _ => Conduct::Honest,
        };
        Self { down, up, delay: (link.delay_ms * 1000.0) as Micros, class, nat, consents, conduct }
    }
}

/// What a visit is at.
#[derive(Debug)]
pub(super) struct Visit {
    /// The version its documents are of.
    pub(super) version: u32,
    /// The worker answers the page's requests.
    pub(super) controlled: bool,
    /// Steps still to be taken, with the time before each.
    pub(super) steps: VecDeque<(Micros, usize)>,
    /// How long the tab stays open after them.
    pub(super) linger: Micros,
    /// Requests that the present step waits for.
    pub(super) waiting: u32,
    pub(super) in_shell: bool,
}

/// A request of the page, by the worker's number of its reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) asked: Micros,
    /// A browser without Peerage would have had to fetch it: bytes.
    pub(super) fetched: u64,
    /// There was a neighbour when it was asked.
    pub(super) eligible: bool,
}

/// A file that the worker is reading.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) transfer: Transfer<Body>,
    pub(super) pieces: std::rc::Rc<[Piece]>,
    pub(super) readers: Map<ReaderId, Request>,
    /// Runs at the origin, by the origin's number of the flow.
    pub(super) runs: Map<RunId, u32>,
}

/// What a mesh worker has beside its mesh.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) mesh: Mesh,
    /// Neighbours that the service worker was told of.
    pub(super) neighbours: u16,
    pub(super) conns: BTreeMap<u32, Conn>,
    /// Connections with something to send, by turns.
    pub(super) ring: VecDeque<u32>,
    pub(super) sending: bool,
    /// When the uplink looks again for a connection that may send.
    pub(super) retry: Micros,
    pub(super) uploads: Map<u32, u64>,
    pub(super) buffers: Map<u32, u64>,
    pub(super) wants: Wants<u32>,
    /// The token that came with the frame just handed in.
    pub(super) frame: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Browser {
    pub(super) traits: Traits,
    /// The visit's chance.
    pub(super) rng: Rng,
    /// Visits so far; what is under way for an earlier one comes to nothing.
    pub(super) epoch: u32,
    pub(super) visit: Option<Visit>,
    /// The worker is installed.
    pub(super) installed: bool,
    /// The question for consent was answered.
    pub(super) answered: bool,
    /// The version of the manifest that the worker has.
    pub(super) manifest: Option<u32>,
    /// The newest that it has asked the origin about, since a neighbour spoke of it.
    pub(super) asked: Option<u32>,
    /// The version that it is taking up.
    pub(super) coming: Option<Coming>,
    pub(super) last_step: Option<usize>,
    pub(super) store: Store,
    /// Files and revisions that were asked for: what a browser's own cache would hold.
    pub(super) seen: BTreeMap<u32, u32>,
    /// Files and revisions that the browser's own cache does hold, since no worker stood before it.
    pub(super) plain: BTreeSet<(u32, u32)>,
    pub(super) files: BTreeMap<u32, Open>,
    /// When the first of them has something to do.
    pub(super) files_due: Option<Millis>,
    pub(super) paths: Paths,
    pub(super) last_reader: ReaderId,
    pub(super) node: Option<Box<Node>>,
    /// What waits to be handed to the mesh and to transfers.
    pub(super) inbox: VecDeque<mesh::Input>,
    pub(super) work: VecDeque<(u32, transfer::Input<Body>)>,
    /// When its next tick comes.
    pub(super) tick: Micros,
    /// When the downlink has taken in what it was sent.
    pub(super) down_free: Micros,
    /// Payload bytes given to others.
    pub(super) uploaded: u64,
}

impl Browser {
    pub(super) fn new(scenario: &Scenario, seed: u64, number: u32) -> Self {
        Self {
            traits: Traits::draw(scenario, seed, number),
            rng: stream(seed, 3, u64::from(number)),
            epoch: 0,
            visit: None,
            installed: false,
            answered: false,
            manifest: None,
            asked: None,
            coming: None,
            last_step: None,
            store: Store::default(),
            seen: BTreeMap::new(),
            plain: BTreeSet::new(),
            files: BTreeMap::new(),
            files_due: None,
            paths: Paths::new(scenario.peerage.mode),
            last_reader: 0,
            node: None,
            inbox: VecDeque::new(),
            work: VecDeque::new(),
            tick: Micros::MAX,
            down_free: 0,
            uploaded: 0,
        }
    }

    /// Whose figures its own count among.
    pub(super) fn group(&self) -> Group {
        match (self.traits.conduct, self.traits.consents) {
            (Conduct::Honest, true) => Group::Consenting,
            (Conduct::Honest, false) => Group::Declining,
            (Conduct::Corrupt | Conduct::Stalling | Conduct::Lying, _) => Group::Misbehaving,
        }
    }

    /// Neighbours of its mesh.
    pub(super) fn neighbours(&self) -> u16 {
        self.node.as_ref().map_or(0, |node| node.neighbours)
    }
}
