//! What a test says to a node, and sees of it.

use super::*;

impl World {
    pub(in super::super) fn hold(&mut self, node: usize, held: &[(Digest, Vec<u8>)]) {
        self.nodes[node].store.extend(held.iter().cloned());
        let pieces =
            held.iter().map(|(digest, b)| Held { digest: *digest, segment: 1, offset: 0, len: b.len() as u32 });
        let message = ToMesh::Holdings { full: false, pieces: pieces.collect() };
        self.input(node, Input::Worker(message));
    }

    pub(in super::super) fn want(&mut self, node: usize, id: u32, pieces: &[(Digest, Vec<u8>)]) -> Vec<bool> {
        self.want_as(node, id, Priority::Page, 60_000, pieces)
    }

    pub(in super::super) fn want_as(
        &mut self,
        node: usize,
        id: u32,
        priority: Priority,
        deadline_ms: u32,
        pieces: &[(Digest, Vec<u8>)],
    ) -> Vec<bool> {
        let message = ToMesh::Want { id, priority, deadline_ms, pieces: wanted(pieces) };
        self.input(node, Input::Worker(message));
        let answer = self.nodes[node].said.iter().rev().find_map(|m| match m {
            ToWorker::Available { id: i, etas } if *i == id => Some(etas.iter().map(Option::is_some).collect()),
            _ => None,
        });
        answer.expect("a want is answered at once")
    }

    pub(in super::super) fn limit(&mut self, node: usize, limits: Limits) {
        self.input(node, Input::Worker(ToMesh::Limits(limits)));
    }

    /// A node without a mesh says something.
    pub(in super::super) fn tell(&mut self, node: usize, message: &Message) {
        self.tell_bytes(node, message.encode());
    }

    pub(in super::super) fn tell_bytes(&mut self, node: usize, bytes: Vec<u8>) {
        let conns: Vec<u32> = self.nodes[node].channels.keys().copied().collect();
        for conn in conns {
            self.send(node, conn, bytes.clone());
        }
    }

    pub(in super::super) fn tell_frame(&mut self, node: usize, request: u32, total: u32, offset: u32, payload: &[u8]) {
        let mut bytes = Frame { request, total, offset }.encode().to_vec();
        bytes.extend(payload);
        self.tell_bytes(node, bytes);
    }

    /// The wants that a node without a mesh has heard.
    pub(in super::super) fn wants(&self, node: usize) -> Vec<(u32, Digest, u32)> {
        let want = |m: &Message| match m {
            Message::Want { request, digest, len } => Some((*request, *digest, *len)),
            _ => None,
        };
        self.nodes[node].heard.iter().filter_map(want).collect()
    }

    pub(in super::super) fn mesh(&self, node: usize) -> &Mesh {
        self.nodes[node].mesh.as_ref().expect("a node with a mesh")
    }

    pub(in super::super) fn stats(&self, node: usize) -> Stats {
        self.mesh(node).stats(Millis(self.now))
    }

    pub(in super::super) fn neighbours(&self, node: usize) -> usize {
        self.mesh(node).count()
    }

    /// Whether the two are connected, as `node` sees it.
    pub(in super::super) fn connected(&self, node: usize, other: usize) -> bool {
        self.nodes[node].channels.values().any(|c| c.peer == other)
    }

    /// The number by which `node` knows `other`.
    pub(in super::super) fn peer(&self, node: usize, other: usize) -> u32 {
        let known = |(_, c): &(&u32, &Channel)| c.peer == other;
        *self.nodes[node].channels.iter().find(known).expect("connected").0
    }

    pub(in super::super) fn dropped(&self, node: usize, reason: Reason) -> u32 {
        let at = Reason::ALL.iter().position(|r| *r == reason).expect("listed");
        self.stats(node).dropped[at]
    }

    pub(in super::super) fn gone(&self, node: usize) -> Vec<(u32, Digest, port::Why)> {
        let gone = |m: &ToWorker| match m {
            ToWorker::Gone { id, digest, why } => Some((*id, *digest, *why)),
            _ => None,
        };
        self.nodes[node].said.iter().filter_map(gone).collect()
    }
}
