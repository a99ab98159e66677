//! The simulated tracker: the real one's store behind sockets that cost a delay.

use std::collections::BTreeMap;

use super::queue::Micros;
use super::secs;
use super::world::{Event, World};
use crate::mesh;
use crate::tracker::{ConnectionId, Input, Limits, Output, Tracker};

/// See the module.
#[derive(Debug)]
pub(super) struct TrackerNode {
    machine: Tracker,
    limits: Limits,
    seed: u64,
    /// Browser, visit and socket of each connection.
    clients: BTreeMap<ConnectionId, (u32, u32, u32)>,
    sockets: BTreeMap<(u32, u32), ConnectionId>,
    last: u64,
    tick: Micros,
}

impl TrackerNode {
    /// A tracker that takes `count` visitors.
    pub(super) fn new(count: u32, seed: u64) -> Self {
        let room = count as usize * 2 + 1024;
        let default = Limits::default();
        let limits = Limits { connections: default.connections.max(room), peers: default.peers.max(room), ..default };
        Self {
            machine: Tracker::new(limits.clone(), seed),
            limits,
            seed,
            clients: BTreeMap::new(),
            sockets: BTreeMap::new(),
            last: 0,
            tick: Micros::MAX,
        }
    }
}

impl World {
    fn tracker_delay(&self, number: u32) -> Micros {
        self.browsers[number as usize].traits.delay + (self.scenario.tracker.distance_ms * 1000.0) as Micros
    }

    fn tracker_is_dead(&self) -> bool {
        self.scenario.tracker.dead.iter().any(|dead| (secs(dead[0])..secs(dead[1])).contains(&self.now))
    }

    /// A mesh opens a socket to the tracker: TCP, TLS and the upgrade take a round trip each.
    pub(super) fn connect_tracker(&mut self, number: u32, socket: u32) {
        let (delay, epoch) = (self.tracker_delay(number), self.browsers[number as usize].epoch);
        self.disconnect_tracker(number);
        if self.tracker_is_dead() {
            return self.queue.at(self.now + 2 * delay, Event::SocketClosed(number, epoch, socket));
        }
        self.tracker.last += 1;
        let id = ConnectionId(self.tracker.last);
        self.tracker.clients.insert(id, (number, epoch, socket));
        self.tracker.sockets.insert((number, epoch), id);
        self.queue.at(self.now + 5 * delay, Event::TrackerOpened(id));
        self.queue.at(self.now + 6 * delay, Event::SocketOpen(id));
    }

    pub(super) fn say_to_tracker(&mut self, number: u32, text: String) {
        let epoch = self.browsers[number as usize].epoch;
        if let Some(&id) = self.tracker.sockets.get(&(number, epoch)) {
            self.queue.at(self.now + self.tracker_delay(number), Event::TrackerText(id, text));
        }
    }

    pub(super) fn disconnect_tracker(&mut self, number: u32) {
        let epoch = self.browsers[number as usize].epoch;
        if let Some(id) = self.tracker.sockets.remove(&(number, epoch)) {
            self.queue.at(self.now + self.tracker_delay(number), Event::TrackerClosed(id));
        }
    }

    pub(super) fn socket_open(&mut self, id: ConnectionId) {
        if let Some((number, socket)) = self.client(id) {
            self.tell(number, mesh::Input::SocketOpen { socket });
        }
    }

    pub(super) fn socket_text(&mut self, id: ConnectionId, text: String) {
        if let Some((number, socket)) = self.client(id) {
            self.tell(number, mesh::Input::SocketText { socket, text });
        }
    }

    /// The browser and socket of a connection whose browser is still there.
    fn client(&self, id: ConnectionId) -> Option<(u32, u32)> {
        let &(number, epoch, socket) = self.tracker.clients.get(&id)?;
        self.is_on(number, epoch).then_some((number, socket))
    }

    pub(super) fn tracker_opened(&mut self, id: ConnectionId) {
        if self.tracker.clients.contains_key(&id) {
            self.ask_tracker(Input::Opened(id));
        }
    }

    pub(super) fn tracker_text(&mut self, id: ConnectionId, text: &str) {
        if self.tracker.clients.contains_key(&id) {
            self.ask_tracker(Input::Message(id, text));
        }
    }

    pub(super) fn tracker_closed(&mut self, id: ConnectionId) {
        if self.tracker.clients.remove(&id).is_some() {
            self.ask_tracker(Input::Closed(id));
        }
    }

    pub(super) fn tracker_tick(&mut self) {
        self.tracker.tick = Micros::MAX;
        self.ask_tracker(Input::Tick);
    }

    /// The process ends, and every socket with it; what comes up later knows nothing.
    pub(super) fn tracker_dies(&mut self) {
        let node = &mut self.tracker;
        node.machine = Tracker::new(node.limits.clone(), node.seed ^ self.now);
        node.sockets.clear();
        for (_, (number, epoch, socket)) in std::mem::take(&mut node.clients) {
            let delay = self.tracker_delay(number);
            self.queue.at(self.now + delay, Event::SocketClosed(number, epoch, socket));
        }
    }

    fn ask_tracker(&mut self, input: Input<'_>) {
        let now = self.millis();
        self.tracker.machine.handle(input, now);
        while let Some(output) = self.tracker.machine.poll() {
            let (Output::Send(id, _) | Output::Close(id, _)) = output;
            let Some(&(number, epoch, socket)) = self.tracker.clients.get(&id) else { continue };
            let arrives = self.now + self.tracker_delay(number);
            match output {
                Output::Send(id, text) => self.queue.at(arrives, Event::SocketText(id, text)),
                Output::Close(id, _) => {
                    self.tracker.clients.remove(&id);
                    if self.tracker.sockets.get(&(number, epoch)) == Some(&id) {
                        self.tracker.sockets.remove(&(number, epoch));
                    }
                    self.queue.at(arrives, Event::SocketClosed(number, epoch, socket));
                }
            }
        }
        if let Some(due) = self.tracker.machine.deadline() {
            let at = (due.0 * 1000).max(self.now + 1000);
            if at < self.tracker.tick {
                self.tracker.tick = at;
                self.queue.at(at, Event::TrackerTick);
            }
        }
    }
}
