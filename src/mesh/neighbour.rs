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

/// Control messages that a neighbour may send at once, and the milliseconds after which it may send one more. Have-sets
/// come 5 times a second at most, questions and their cancellations pay for themselves by being few at a time.
const ALLOWANCE: (u64, u64) = (256, 10);

/// What a shuffle or a signal takes of the allowance: it may be long, and takes work.
pub(super) const GOSSIP_COST: u64 = 4;

/// Shuffles that are answered, and offers that are handed on, for one neighbour. It need not know what others ask of it,
/// so more is no offence: nothing is done about it.
const FAVOURS: (u64, u64) = (16, 2_000);

/// Offers from afar that are taken through one neighbour: each costs a connection, of which there are few in a life.
const ACCEPTED: (u64, u64) = (8, 15_000);

/// So much at once, and one more after each so many milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    left: u64,
    since: Millis,
}

impl Bucket {
    pub(super) fn new(most: u64, now: Millis) -> Self {
        Self { left: most, since: now }
    }

    /// Takes `cost` out, where that much is there.
    pub(super) fn take(&mut self, cost: u64, (most, ms): (u64, u64), now: Millis) -> bool {
        let earned = now.since(self.since) / ms;
        self.since = self.since + earned * ms;
        self.left = (self.left + earned).min(most);
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

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
    /// The newest version of the site that it has, or has been told of; zeroes until it says.
    pub(super) version: super::gossip::Version,
    /// Until when it counts as one that takes what is wanted here.
    pub(super) fellow: Millis,
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
    /// It owes us the answer to a shuffle.
    pub(super) shuffled: bool,
    /// It can do without us, and we without it.
    pub(super) spare: bool,
    allowance: Bucket,
    favours: Bucket,
    accepted: Bucket,
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
            version: (0, 0),
            fellow: Millis(0),
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
            shuffled: false,
            spare: false,
            allowance: Bucket::new(ALLOWANCE.0, now),
            favours: Bucket::new(FAVOURS.0, now),
            accepted: Bucket::new(ACCEPTED.0, now),
        }
    }

    /// Takes a control message off what it may say; false where it has said too much.
    pub(super) fn allow(&mut self, cost: u64, now: Millis) -> bool {
        self.allowance.take(cost, ALLOWANCE, now)
    }

    /// Whether it is done the favour that it asks for.
    pub(super) fn favour(&mut self, now: Millis) -> bool {
        self.favours.take(1, FAVOURS, now)
    }

    /// Whether an offer that came through it may cost a connection.
    pub(super) fn accept(&mut self, now: Millis) -> bool {
        self.accepted.take(1, ACCEPTED, now)
    }

    /// Bytes that it still owes us.
    pub(super) fn owed(&self) -> u64 {
        self.asks.values().map(|a| u64::from(a.len - a.got)).sum()
    }

    /// It can be asked for a piece that it holds.
    pub(super) fn serves(&self) -> bool {
        !self.choking && !self.double
    }

    /// It has said something of late.
    pub(super) fn is_lively(&self, now: Millis) -> bool {
        now.since(self.heard) < 2 * PING_MS
    }

    /// Nothing is asked of it or by it.
    pub(super) fn is_idle(&self) -> bool {
        self.asks.is_empty() && self.queue.is_empty() && self.uploads.is_empty()
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
        let said = (0..1_000).filter(|_| neighbour.allow(1, Millis(5))).count();
        assert_eq!(said, 256);
        let said = (0..1_000).filter(|_| neighbour.allow(1, Millis(1_005))).count();
        assert_eq!(said, 100);
        assert_eq!(neighbour.max_payload, 1, "a silly limit is survived");
    }
}
