//! A connected, checked peer: what it holds, what it owes us, what it has asked for, and how much it may say.

use std::collections::VecDeque;

use super::path::Path;
use crate::Millis;
use crate::digest::Digest;
use crate::sorted::{Map, Set};
use crate::wire::{FRAME_HEAD, Hello, MAX_MESSAGE, Message, NodeId};

/// The most prefixes that are remembered of one neighbour: a site of 32 GiB in pieces of 256 KiB, in a few MiB.
pub(super) const MAX_HAVE: usize = 131_072;

/// After this much silence a neighbour is asked whether it is there, in milliseconds.
pub(super) const PING_MS: u64 = 5_000;

/// After this much silence it is taken for dead. Three pings; ICE itself takes 5 to 30 s to notice.
pub(super) const DEAD_MS: u64 = 15_000;

/// Control messages that a neighbour may send at once, and each second after that. Have-sets come 5 times a second at
/// most, questions and their cancellations pay for themselves by being few at a time.
const ALLOWANCE: (u64, u64) = (256, 100);

/// A question that a neighbour owes us an answer to.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) digest: Digest,
    pub(super) len: u32,
    /// Bytes of it that have come.
    pub(super) got: u32,
    pub(super) asked: Millis,
    /// When it is late against its own prediction.
    pub(super) late: Millis,
    /// We no longer want it; what still comes is waste.
    pub(super) cancelled: bool,
}

/// A piece that a neighbour asked for and that is not being read yet.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) request: u32,
    pub(super) digest: Digest,
    pub(super) len: u32,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) node: NodeId,
    pub(super) since: Millis,
    /// When it last said anything.
    pub(super) heard: Millis,
    /// When it was last asked whether it is there.
    pub(super) pinged: Millis,
    /// It is also connected over an older connection, which the other side is to keep.
    pub(super) double: bool,
    /// It has said what it holds, be it nothing.
    pub(super) introduced: bool,
    pub(super) have: Set<u64>,
    /// It refuses whatever is asked.
    pub(super) choking: bool,
    /// Open questions to it, by request.
    pub(super) asks: Map<u32, Ask>,
    pub(super) path: Path,
    /// When the last payload came, or the first question went out after a time without any.
    pub(super) progress: Millis,
    /// Its questions to us that wait.
    pub(super) queue: VecDeque<Wanted>,
    /// The uploads to it that are under way, in order.
    pub(super) uploads: VecDeque<u32>,
    /// Bytes that its channel has not sent yet, as far as is known.
    pub(super) buffered: usize,
    /// The longest payload of a frame that it takes.
    pub(super) max_payload: u32,
    pub(super) down: u64,
    pub(super) up: u64,
    allowance: u64,
    allowed: Millis,
}

impl Neighbour {
    pub(super) fn new(hello: &Hello, double: bool, buffered: usize, now: Millis) -> Self {
        let max_message = hello.max_message.min(MAX_MESSAGE as u32);
        Self {
            node: hello.node,
            since: now,
            heard: now,
            pinged: now,
            double,
            introduced: false,
            have: Set::default(),
            choking: false,
            asks: Map::default(),
            path: Path::default(),
            progress: now,
            queue: VecDeque::new(),
            uploads: VecDeque::new(),
            buffered,
            max_payload: max_message.saturating_sub(FRAME_HEAD as u32).max(1),
            down: 0,
            up: 0,
            allowance: ALLOWANCE.0,
            allowed: now,
        }
    }

    /// Takes one control message off what it may say; false where it has said too much.
    pub(super) fn allow(&mut self, now: Millis) -> bool {
        let earned = now.since(self.allowed) * ALLOWANCE.1 / 1000;
        if earned > 0 {
            self.allowance = (self.allowance + earned).min(ALLOWANCE.0);
            self.allowed = now;
        }
        match self.allowance.checked_sub(1) {
            Some(left) => {
                self.allowance = left;
                true
            }
            None => false,
        }
    }

    /// Bytes that it still owes us.
    pub(super) fn owed(&self) -> u64 {
        self.asks.values().map(|a| u64::from(a.len - a.got)).sum()
    }

    /// It can be asked for a piece that it holds.
    pub(super) fn serves(&self) -> bool {
        !self.choking && !self.double
    }

    /// Encodes `message` and counts it as waiting in the channel.
    pub(super) fn write(&mut self, message: &Message) -> Vec<u8> {
        let bytes = message.encode();
        self.buffered += bytes.len();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::VERSION;

    #[test]
    fn the_allowance_runs_out_and_comes_back_with_time() {
        let hello = Hello { version: VERSION, site: [0; 32], node: NodeId([1; 20]), max_message: 10, features: 0 };
        let mut neighbour = Neighbour::new(&hello, false, 0, Millis(0));
        let said = (0..1_000).filter(|_| neighbour.allow(Millis(5))).count();
        assert_eq!(said, 256);
        let said = (0..1_000).filter(|_| neighbour.allow(Millis(1_005))).count();
        assert_eq!(said, 100);
        assert_eq!(neighbour.max_payload, 1, "a silly limit is survived");
    }
}
