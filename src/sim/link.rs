//! Links: what is sent takes its turn at the sender's uplink, travels, and takes its turn at the receiver's downlink.
//!
//! Messages are not cut into packets: one of up to 64 KiB leaves and arrives as a whole, so that a frame costs a handful
//! of events. An uplink serves its connections by turns, a message each, which is what fair queueing, or many equal
//! congestion controllers, come to. A connection has at most a window of bytes under way, the bandwidth-delay product of
//! the receiver's downlink and two messages more, and is paced to what TCP-friendly congestion control makes of the
//! loss (Mathis et al., "The macroscopic behavior of the TCP congestion avoidance algorithm", CCR 1997): rate = 1.22
//! × packet / (round trip × √loss). Lost packets delay their message, and all behind it, by a round trip. A short message
//! on a connection that has nothing else to send does not wait for others' messages of 64 KiB, as it would not wait for
//! more than one packet of them. Slow start is left out on both sides, at the origin's as at the peers'.

use std::collections::VecDeque;

use super::queue::Micros;
use crate::wire::FRAME_HEAD;

/// A packet's payload, in bytes, for loss.
pub(super) const PACKET: f64 = 1_200.0;
/// What goes out at once, in bytes.
pub(super) const CHUNK: u32 = 64 * 1024;
/// A message up to this long is short.
pub(super) const SHORT: u32 = 4 * 1024;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) browser: u32,
    pub(super) epoch: u32,
    pub(super) conn: u32,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Load {
    /// A control message.
    Message(Vec<u8>),
    /// A piece frame: its head, its length, and the token that stands for its piece.
    Frame { head: [u8; FRAME_HEAD], len: u32, token: u64 },
    /// The connection is closed.
    Fin,
}

impl Load {
    pub(super) fn bytes(&self) -> u32 {
        match self {
            Self::Message(bytes) => bytes.len() as u32,
            Self::Frame { len, .. } => *len,
            Self::Fin => 1,
        }
    }
}

/// On its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) load: Load,
}

/// The sending side of a stream of bytes.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// One way.
    pub(super) delay: Micros,
    /// Bytes that may be under way.
    pub(super) window: u32,
    /// Microseconds a byte, at least.
    pub(super) pace: f64,
    pub(super) in_flight: u32,
    /// Not before this.
    pub(super) ready: Micros,
    /// What was sent last arrives then.
    pub(super) arrives: Micros,
    /// It takes part in its uplink's turns.
    pub(super) in_ring: bool,
}

impl Flow {
    /// A flow over `delay` one way to a downlink of `down` bytes a microsecond, of at most `cap` bytes a microsecond.
    pub(super) fn new(delay: Micros, down: f64, cap: f64, loss: f64) -> Self {
        let round_trip = 2.0 * delay.max(1) as f64;
        let friendly = if loss > 0.0 { 1.22 * PACKET / (round_trip * loss.sqrt()) } else { f64::INFINITY };
        let rate = friendly.min(cap);
        let window = down.min(rate) * delay as f64 + 2.0 * f64::from(CHUNK);
        Self {
            delay,
            window: window.min(f64::from(u32::MAX / 2)) as u32,
            pace: 1.0 / rate,
            in_flight: 0,
            ready: 0,
            arrives: 0,
            in_ring: false,
        }
    }

    /// Whether more may leave, as far as what has arrived says.
    pub(super) fn is_open(&self) -> bool {
        self.in_flight < self.window
    }

    /// `bytes` leave the uplink at `now`, having begun to at `began`; when they arrive. `late` is what chance adds.
    pub(super) fn leave(&mut self, now: Micros, late: Micros) -> Micros {
        self.arrives = self.arrives.max(now + self.delay + late);
        self.arrives
    }

    /// `bytes` begin to leave.
    pub(super) fn begin(&mut self, now: Micros, bytes: u32) {
        self.in_flight += bytes;
        self.ready = self.ready.max(now) + (f64::from(bytes) * self.pace) as Micros;
    }
}

/// A browser's end of a connection.
#[derive(Debug)]
pub(super) struct Conn {
    /// The other end, once both descriptions are known.
    pub(super) remote: Option<End>,
    pub(super) open: bool,
    pub(super) flow: Flow,
    pub(super) queue: VecDeque<Load>,
    /// A message of it is leaving.
    pub(super) leaving: bool,
    /// Short messages that the mesh still counts as waiting, in bytes.
    pub(super) unsaid: u32,
}

impl Conn {
    pub(super) fn new() -> Self {
        Self {
            remote: None,
            open: false,
            flow: Flow::new(0, 1.0, 1.0, 0.0),
            queue: VecDeque::new(),
            leaving: false,
            unsaid: 0,
        }
    }

    /// Bytes that wait to leave.
    pub(super) fn queued(&self) -> usize {
        self.queue.iter().map(|load| load.bytes() as usize).sum()
    }
}
