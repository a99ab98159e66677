//! The world: every browser, the origin and the tracker, and what happens next.

use std::collections::{BTreeMap, VecDeque};

use super::browser::{Browser, Request};
use super::chance::{self, stream};
use super::figures::Figures;
use super::link::{CHUNK, Conn, End, Flow, Load, PACKET, Parcel, SHORT};
use super::origin::Origin;
use super::queue::{Micros, Queue};
use super::release::{self, Pending};
use super::scenario::Scenario;
use super::site::Site;
use super::tracker::TrackerNode;
use super::{Arm, secs};
use crate::Millis;
use crate::manifest::Entry;
use crate::mesh;
use crate::rng::Rng;
use crate::tracker::ConnectionId;

/// How many stretches the time is told in.
const STRETCHES: usize = 96;

/// What can happen. A visit is named by its browser and the browser's count of visits.
#[derive(Debug)]
pub(super) enum Event {
    /// A browser comes.
    Arrive(u32),
    Step(u32, u32),
    Leave(u32, u32),
    Consent(u32, u32),
    StartMesh(u32, u32),
    /// The origin has confirmed a version that a neighbour spoke of.
    Confirmed(u32, u32, u32),
    /// The origin has a version.
    Released(u32),
    /// A page that stays open asks for news.
    News(u32, u32),
    /// A worker looks whether it can have what makes a version whole.
    Update(u32, u32, u32),
    /// A worker looks for what a version has changed, until a time.
    Follow(u32, u32, u32, Micros),
    Tick(u32, u32),
    /// The browser's own cache has answered a request.
    Done(u32, u32, Request),
    Described(End, String),
    Connected(End, End),
    Unconnected(End),
    Left(Box<Parcel>),
    Retry(u32, u32),
    Edge(Box<Parcel>),
    Deliver(Box<Parcel>),
    OriginAnswers(u32),
    OriginLeft(u32, u32),
    OriginRetry,
    ChunkEdge(u32, u32),
    ChunkDeliver(u32, u32),
    SocketOpen(ConnectionId),
    SocketText(ConnectionId, String),
    SocketClosed(u32, u32, u32),
    TrackerOpened(ConnectionId),
    TrackerText(ConnectionId, String),
    TrackerClosed(ConnectionId),
    TrackerTick,
    TrackerDies,
    Sample,
}

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) arm: Arm,
    pub(super) seed: u64,
    pub(super) now: Micros,
    pub(super) end: Micros,
    pub(super) queue: Queue<Event>,
    pub(super) browsers: Vec<Browser>,
    pub(super) site: Site,
    pub(super) origin: Origin,
    pub(super) tracker: TrackerNode,
    pub(super) figures: Figures,
    pub(super) online: u32,
    pub(super) pending: Pending,
    /// Chance in the network, which no visitor's own depends on.
    pub(super) noise: Rng,
}

impl World {
    pub(super) fn new(scenario: Scenario, published: Option<&[Entry]>, seed: u64, arm: Arm) -> Self {
        let end = secs(scenario.hours * 3600.0);
        let count = scenario.visitors.count;
        let mut world = Self {
            browsers: (0..count).map(|n| Browser::new(&scenario, seed, n)).collect(),
            site: Site::new(&scenario, published, seed),
            origin: Origin::new(scenario.origin.rate_mbit / 8.0),
            tracker: TrackerNode::new(count, seed),
            figures: Figures::new(end, STRETCHES),
            scenario,
            arm,
            seed,
            now: 0,
            end,
            queue: Queue::default(),
            online: 0,
            pending: Pending::default(),
            noise: stream(seed, 4, 0),
        };
        world.plan_arrivals();
        for dead in &world.scenario.tracker.dead {
            world.queue.at(secs(dead[0]), Event::TrackerDies);
        }
        for (at, event) in release::releases(&world) {
            world.queue.at(at, event);
        }
        for stretch in 1..=STRETCHES as u64 {
            world.queue.at((stretch * world.figures.stretch()).saturating_sub(1).min(end), Event::Sample);
        }
        world
    }

    /// Lets happen what happens up to `until`.
    pub(super) fn run(&mut self, until: Micros) {
        while let Some((time, event)) = self.queue.next(until.min(self.end)) {
            self.now = time;
            self.happen(event);
        }
        self.now = until.min(self.end);
        self.figures.events = self.queue.made();
    }

    /// Ends what is still under way, and gives the figures.
    pub(super) fn finish(mut self) -> Figures {
        for number in 0..self.browsers.len() as u32 {
            self.close_books(number);
            let browser = &self.browsers[number as usize];
            if browser.answered && browser.traits.consents && browser.traits.conduct == super::browser::Conduct::Honest
            {
                self.figures.uploads.push((browser.uploaded, browser.traits.class));
            }
        }
        self.figures
    }

    pub(super) fn millis(&self) -> Millis {
        Millis(self.now / 1000)
    }

    /// The visit is still the one that an event is of.
    pub(super) fn is_on(&self, number: u32, epoch: u32) -> bool {
        let browser = &self.browsers[number as usize];
        browser.epoch == epoch && browser.visit.is_some()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(number) => self.arrive(number),
            Event::Step(number, epoch) if self.is_on(number, epoch) => self.step(number),
            Event::Leave(number, epoch) if self.is_on(number, epoch) => self.leave(number),
            Event::Consent(number, epoch) if self.is_on(number, epoch) => self.consent(number),
            Event::StartMesh(number, epoch) if self.is_on(number, epoch) => self.start_mesh(number),
            Event::Confirmed(number, epoch, version) if self.is_on(number, epoch) => self.take_up(number, version),
            Event::Released(version) => self.released(version),
            Event::Follow(number, epoch, version, until) if self.is_on(number, epoch) => {
                self.follow(number, version, until)
            }
            Event::Update(number, epoch, version) if self.is_on(number, epoch) => self.update(number, version),
            Event::News(number, epoch) if self.is_on(number, epoch) => self.ask_for_news(number),
            Event::Tick(number, epoch) if self.is_on(number, epoch) => self.tick(number),
            Event::Done(number, epoch, request) if self.is_on(number, epoch) => {
                self.answered(number, request);
                self.drive(number);
            }
            Event::Retry(number, epoch) if self.is_on(number, epoch) => {
                if let Some(node) = &mut self.browsers[number as usize].node {
                    node.retry = Micros::MAX;
                }
                self.kick(number);
                self.drive(number);
            }
            Event::Step(..)
            | Event::Leave(..)
            | Event::Consent(..)
            | Event::StartMesh(..)
            | Event::Confirmed(..)
            | Event::Update(..)
            | Event::News(..)
            | Event::Follow(..)
            | Event::Tick(..)
            | Event::Done(..)
            | Event::Retry(..) => {}
            Event::Described(end, sdp) => {
                if self.conn(end).is_some() {
                    self.tell(end.browser, mesh::Input::Described { conn: end.conn, sdp });
                }
            }
            Event::Connected(a, b) => self.connected(a, b),
            Event::Unconnected(end) => {
                if self.conn(end).is_some_and(|conn| !conn.open) {
                    self.drop_conn(end);
                    self.tell(end.browser, mesh::Input::Gone { conn: end.conn });
                }
            }
            Event::Left(parcel) => self.left(parcel),
            Event::Edge(parcel) => self.edge(parcel),
            Event::Deliver(parcel) => self.deliver(*parcel),
            Event::OriginAnswers(flow) => self.origin_answers(flow),
            Event::OriginLeft(flow, bytes) => self.origin_left(flow, bytes),
            Event::OriginRetry => self.origin_retry(),
            Event::ChunkEdge(flow, bytes) => self.chunk_edge(flow, bytes),
            Event::ChunkDeliver(flow, bytes) => self.chunk_deliver(flow, bytes),
            Event::SocketOpen(id) => self.socket_open(id),
            Event::SocketText(id, text) => self.socket_text(id, text),
            Event::SocketClosed(number, epoch, socket) => {
                if self.is_on(number, epoch) {
                    self.tell(number, mesh::Input::SocketClosed { socket });
                }
            }
            Event::TrackerOpened(id) => self.tracker_opened(id),
            Event::TrackerText(id, text) => self.tracker_text(id, &text),
            Event::TrackerClosed(id) => self.tracker_closed(id),
            Event::TrackerTick => self.tracker_tick(),
            Event::TrackerDies => self.tracker_dies(),
            Event::Sample => self.sample(),
        }
    }

    fn sample(&mut self) {
        let newest = self.newest();
        let (mut current, mut informed, mut meshed, mut neighbours) = (0, 0, 0, 0);
        for browser in self.browsers.iter().filter(|b| b.visit.is_some()) {
            informed += u32::from(browser.manifest == Some(newest));
            current += u32::from(browser.visit.as_ref().is_some_and(|v| v.version == newest));
            meshed += u32::from(browser.node.is_some());
            neighbours += u32::from(browser.neighbours());
        }
        let online = self.online;
        let stretch = self.figures.at(self.now);
        (stretch.online, stretch.newest, stretch.informed) = (online, current, informed);
        (stretch.meshed, stretch.neighbours) = (meshed, neighbours);
    }

    /// The newest version that the origin has.
    pub(super) fn newest(&self) -> u32 {
        self.scenario.updates.iter().filter(|u| secs(u.at_s) <= self.now).count() as u32
    }

    pub(super) fn conn(&mut self, end: End) -> Option<&mut Conn> {
        let browser = self.browsers.get_mut(end.browser as usize).filter(|b| b.epoch == end.epoch)?;
        browser.node.as_mut()?.conns.get_mut(&end.conn)
    }

    pub(super) fn drop_conn(&mut self, end: End) {
        if let Some(node) = &mut self.browsers[end.browser as usize].node {
            node.conns.remove(&end.conn);
        }
    }

    /// One-way delay between two browsers.
    pub(super) fn distance(&self, a: u32, b: u32) -> Micros {
        let [least, most] = self.scenario.network.distance_ms;
        let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
        let between = least + (most - least) * chance::unit(&mut stream(self.seed, 5, pair));
        let ends = [a, b].map(|n| self.browsers[n as usize].traits.delay);
        ends[0] + ends[1] + (between * 1000.0) as Micros
    }

    /// Both sides know of each other, and address translation has let them through.
    fn connected(&mut self, a: End, b: End) {
        for (end, other) in [(a, b), (b, a)] {
            if self.conn(end).is_none() && self.conn(other).is_some() {
                // One has gone: the other's checks go on without an answer until they end.
                self.queue.at(self.now + secs(15.0), Event::Unconnected(other));
                return;
            }
        }
        let (delay, network) = (self.distance(a.browser, b.browser), &self.scenario.network);
        let (cap, loss) = (network.channel_mbit / 8.0, network.loss);
        for (end, other) in [(a, b), (b, a)] {
            let down = self.browsers[other.browser as usize].traits.down;
            if let Some(conn) = self.conn(end) {
                conn.remote = Some(other);
                conn.open = true;
                conn.flow = Flow::new(delay, down, cap, loss);
            }
        }
        self.tell(a.browser, mesh::Input::Open { conn: a.conn });
        self.tell(b.browser, mesh::Input::Open { conn: b.conn });
    }

    /// Sends something over a connection.
    pub(super) fn send(&mut self, number: u32, conn_number: u32, load: Load) {
        let late = self.late(load.bytes());
        let now = self.now;
        let Some(node) = &mut self.browsers[number as usize].node else { return };
        let Some(conn) = node.conns.get_mut(&conn_number) else { return };
        let Some(to) = conn.remote.filter(|_| conn.open) else { return };
        let bytes = load.bytes();
        if bytes > SHORT || conn.leaving || !conn.queue.is_empty() {
            conn.queue.push_back(load);
            if !std::mem::replace(&mut conn.flow.in_ring, true) {
                node.ring.push_back(conn_number);
            }
            return self.kick(number);
        }
        conn.flow.in_flight += bytes;
        conn.unsaid += bytes;
        let arrives = conn.flow.leave(now, late(&conn.flow));
        if conn.unsaid > 2 * SHORT {
            conn.unsaid = 0;
            let buffered = mesh::Input::Buffered { conn: conn_number, bytes: 0 };
            self.browsers[number as usize].inbox.push_back(buffered);
        }
        let from = End { browser: number, epoch: self.browsers[number as usize].epoch, conn: conn_number };
        if matches!(load, Load::Fin) {
            self.drop_conn(from);
        }
        self.queue.at(arrives, Event::Edge(Box::new(Parcel { from, to, load })));
    }

    /// What chance adds to the delay of a message: jitter, and a round trip where one of its packets is lost.
    pub(super) fn late(&mut self, bytes: u32) -> impl Fn(&Flow) -> Micros + use<> {
        let network = &self.scenario.network;
        let jitter = (network.jitter_ms * 1000.0 * chance::unit(&mut self.noise)) as Micros;
        let packets = (f64::from(bytes) / PACKET).ceil();
        let lost = chance::happens(&mut self.noise, 1.0 - (1.0 - network.loss).powf(packets));
        move |flow| jitter + if lost { 2 * flow.delay } else { 0 }
    }

    /// Lets the next message leave an uplink.
    pub(super) fn kick(&mut self, number: u32) {
        let now = self.now;
        let browser = &mut self.browsers[number as usize];
        let (epoch, up) = (browser.epoch, browser.traits.up);
        let Some(node) = browser.node.as_mut().filter(|node| !node.sending) else { return };
        let mut ready = Micros::MAX;
        for _ in 0..node.ring.len() {
            let Some(conn_number) = node.ring.pop_front() else { break };
            let Some(conn) = node.conns.get_mut(&conn_number) else { continue };
            let (true, Some(to)) = (conn.flow.is_open(), conn.remote) else {
                conn.flow.in_ring = false;
                continue;
            };
            if conn.flow.ready > now {
                ready = ready.min(conn.flow.ready);
                node.ring.push_back(conn_number);
                continue;
            }
            let Some(load) = conn.queue.pop_front() else {
                conn.flow.in_ring = false;
                continue;
            };
            let bytes = load.bytes();
            conn.flow.begin(now, bytes);
            conn.leaving = true;
            conn.unsaid = 0;
            node.sending = true;
            node.ring.push_back(conn_number);
            browser.inbox.push_back(mesh::Input::Buffered { conn: conn_number, bytes: conn.queued() });
            let from = End { browser: number, epoch, conn: conn_number };
            let done = now + (f64::from(bytes) / up).ceil() as Micros;
            return self.queue.at(done, Event::Left(Box::new(Parcel { from, to, load })));
        }
        if ready < node.retry {
            node.retry = ready;
            self.queue.at(ready, Event::Retry(number, epoch));
        }
    }

    fn left(&mut self, parcel: Box<Parcel>) {
        let from = parcel.from;
        if !self.is_on(from.browser, from.epoch) {
            return;
        }
        let late = self.late(parcel.load.bytes());
        let now = self.now;
        if let Some(node) = &mut self.browsers[from.browser as usize].node {
            node.sending = false;
        }
        if let Some(conn) = self.conn(from) {
            conn.leaving = false;
            let arrives = conn.flow.leave(now, late(&conn.flow));
            if matches!(parcel.load, Load::Fin) {
                self.drop_conn(from);
            }
            self.queue.at(arrives, Event::Edge(parcel));
        }
        self.kick(from.browser);
        self.drive(from.browser);
    }

    fn edge(&mut self, parcel: Box<Parcel>) {
        let to = parcel.to;
        if self.conn(to).is_none() {
            return;
        }
        let bytes = parcel.load.bytes();
        match self.downlink(to.browser, bytes) {
            Some(done) => self.queue.at(done, Event::Deliver(parcel)),
            None => self.deliver(*parcel),
        }
    }

    /// When a downlink has taken in `bytes` that have come to it now; `None` where that is now.
    pub(super) fn downlink(&mut self, number: u32, bytes: u32) -> Option<Micros> {
        let browser = &mut self.browsers[number as usize];
        if bytes <= SHORT && browser.down_free < self.now {
            return None;
        }
        let takes = (f64::from(bytes) / browser.traits.down).ceil() as Micros;
        browser.down_free = browser.down_free.max(self.now) + takes;
        Some(browser.down_free)
    }

    fn deliver(&mut self, parcel: Parcel) {
        let Parcel { from, to, load } = parcel;
        let mut again = false;
        if let Some(conn) = self.conn(from) {
            conn.flow.in_flight = conn.flow.in_flight.saturating_sub(load.bytes());
            again = !conn.queue.is_empty() && !std::mem::replace(&mut conn.flow.in_ring, true);
        }
        if again {
            if let Some(node) = &mut self.browsers[from.browser as usize].node {
                node.ring.push_back(from.conn);
            }
            self.kick(from.browser);
            self.drive(from.browser);
        }
        if self.conn(to).is_none() {
            return;
        }
        let conn = to.conn;
        match load {
            Load::Message(bytes) => self.tell(to.browser, mesh::Input::Message { conn, bytes }),
            Load::Frame { head, len, token } => {
                if let Some(node) = &mut self.browsers[to.browser as usize].node {
                    node.frame = token;
                }
                self.tell(to.browser, mesh::Input::Frame { conn, head, len: len as usize });
            }
            Load::Fin => {
                self.drop_conn(to);
                self.tell(to.browser, mesh::Input::Gone { conn });
            }
        }
    }

    /// First visits, spread over the time as the scenario says.
    fn plan_arrivals(&mut self) {
        let visitors = &self.scenario.visitors;
        let weights = chance::cumulative(visitors.arrivals.iter().copied());
        let part = self.end as f64 / weights.len() as f64;
        let mut rng = stream(self.seed, 6, 0);
        for number in 0..visitors.count {
            let mut which = chance::unit(&mut rng);
            let crowd = visitors.flash.iter().find(|flash| {
                which -= flash.share;
                which < 0.0
            });
            let at = match crowd {
                Some(flash) => secs(flash.at_s + flash.spread_s * chance::unit(&mut rng)),
                None => ((chance::pick(&mut rng, &weights) as f64 + chance::unit(&mut rng)) * part) as Micros,
            };
            self.queue.at(at, Event::Arrive(number));
        }
    }
}

/// An open connection's other ends, taken when its browser goes.
pub(super) fn open_conns(conns: &BTreeMap<u32, Conn>) -> VecDeque<(u32, End, Micros)> {
    conns.iter().filter_map(|(&n, c)| c.remote.filter(|_| c.open).map(|to| (n, to, c.flow.delay))).collect()
}

/// How many bytes of `left` go out at once.
pub(super) fn chunk(left: u64) -> u32 {
    left.min(u64::from(CHUNK)) as u32
}
