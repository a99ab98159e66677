//! Dropping peers: whoever sends what no honest peer does is closed, counted by its reason, and not taken back.

use super::{MAX_REMEMBERED, Mesh, Output};
use crate::port::Reason;
use crate::wire::NodeId;

impl Mesh {
    /// A message that does not decode.
    pub(super) fn bad(&mut self, conn: u32, is_frame: bool) {
        let reason = if is_frame { Reason::Size } else { Reason::Malformed };
        if self.neighbours.contains_key(&conn) {
            self.drop_peer(conn, reason);
        } else if self.links.greeted(conn).is_some() {
            self.drop_unknown(conn, reason);
        }
    }

    /// Closes the connection of a neighbour that misbehaved, for good.
    pub(super) fn drop_peer(&mut self, conn: u32, reason: Reason) {
        let Some(node) = self.neighbours.get(&conn).map(|n| n.node) else { return };
        self.ban(node, reason);
        let same: Vec<u32> = self.neighbours.iter().filter(|(_, n)| n.node == node).map(|(&c, _)| c).collect();
        for conn in same {
            self.outbox.push_back(Output::Close { conn });
            self.lose(conn);
        }
        self.recount();
    }

    /// Closes the connection of someone who misbehaved before it was known who it is.
    pub(super) fn drop_unknown(&mut self, conn: u32, reason: Reason) {
        self.count_drop(reason);
        self.outbox.push_back(Output::Close { conn });
    }

    pub(super) fn ban(&mut self, node: NodeId, reason: Reason) {
        self.count_drop(reason);
        if self.banned.len() >= MAX_REMEMBERED {
            self.banned.pop_front();
        }
        self.banned.push_back(node);
        self.membership.forget(node);
    }

    fn count_drop(&mut self, reason: Reason) {
        if let Some(count) = Reason::ALL.iter().zip(&mut self.dropped).find(|(r, _)| **r == reason) {
            *count.1 = count.1.saturating_add(1);
        }
    }

    pub(super) fn is_banned(&self, node: NodeId) -> bool {
        self.banned.contains(&node)
    }
}
