//! What this visitor gives: the pieces it holds, the questions for them, and the frames that answer.
//!
//! A question waits in its neighbour's queue, is then read by the driver (which checks the piece's digest before it may
//! leave), and goes out frame by frame. Neighbours take turns frame by frame; each one's channel is kept as full as
//! Chromium's sender likes it, and a token bucket and a budget keep to the site's and the visitor's limits.

use std::collections::VecDeque;

use super::Output;
use super::neighbour::{MAX_HAVE, Neighbour, Wanted};
use crate::Millis;
use crate::digest::Digest;
use crate::port::{Held, Limits, Reason, ToWorker};
use crate::sorted::Map;
use crate::store::Place;
use crate::wire::{FRAME_HEAD, Frame, MAX_MESSAGE, MAX_PREFIXES, Message, Refusal};

/// The most open questions of one neighbour; more are refused as busy. It asks for 48 at most itself.
const MAX_QUEUE: usize = 64;

/// Pieces being read or sent, in all: each may keep a stored segment of some 4 MiB in memory.
const MAX_ACTIVE: usize = 16;

/// For one neighbour: enough that its channel never waits for the store, in pieces and in bytes.
const AHEAD: (usize, u64) = (8, 512 * 1024);

/// A channel is not filled further than this: Chromium's sender stalls on a new connection when more is buffered.
const MAX_BUFFERED: usize = 64 * 1024;

/// News of what is held is gathered for this long before neighbours are told, in milliseconds.
const NEWS_MS: u64 = 200;

/// A piece on its way out.
#[derive(Clone, Debug)]
struct Active {
    conn: u32,
    request: u32,
    digest: Digest,
    len: u32,
    sent: u32,
    /// The driver has read and checked it.
    loaded: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Uploads {
    held: Map<Digest, Place>,
    /// What neighbours have not been told yet: prefixes, and whether we hold them now.
    news: Map<u64, bool>,
    news_at: Option<Millis>,
    active: Map<u32, Active>,
    /// Neighbours' questions may wait.
    asked: bool,
    last: u32,
    /// The neighbour whose turn was last.
    turn: u32,
    limits: Limits,
    /// We refuse whatever is asked.
    choking: bool,
    /// Bytes promised to started uploads, sent or not: the budget's measure.
    promised: u64,
    /// Payload bytes sent.
    pub(super) up: u64,
    tokens: u64,
    refilled: Millis,
    /// When the bucket has enough for a frame that waits.
    tokens_at: Option<Millis>,
}

type Neighbours = Map<u32, Neighbour>;
type Outbox = VecDeque<Output>;

impl Uploads {
    pub(super) fn new(limits: Limits, now: Millis) -> Self {
        let mut new = Self {
            held: Map::default(),
            news: Map::default(),
            news_at: None,
            active: Map::default(),
            asked: false,
            last: 0,
            turn: 0,
            limits,
            choking: limits.paused,
            promised: 0,
            up: 0,
            tokens: 0,
            refilled: now,
            tokens_at: None,
        };
        new.tokens = new.bucket();
        new
    }

    /// The service worker says what can be read.
    pub(super) fn hold(&mut self, full: bool, pieces: &[Held], now: Millis) {
        let before = if full { std::mem::take(&mut self.held) } else { Map::default() };
        for held in pieces {
            if self.held.len() >= MAX_HAVE {
                break;
            }
            let Held { digest, segment, offset, len } = *held;
            let place = Place { segment, offset, len };
            let new = self.held.insert(digest, place).is_none() && !before.contains_key(&digest);
            if new {
                self.tell(digest, true, now);
            }
        }
        for digest in before.keys() {
            if !self.held.contains_key(digest) {
                self.tell(*digest, false, now);
            }
        }
    }

    /// This piece can no longer be read.
    pub(super) fn drop_piece(&mut self, digest: &Digest, now: Millis) {
        if self.held.remove(digest).is_some() {
            self.tell(*digest, false, now);
        }
    }

    /// New limits.
    pub(super) fn limit(&mut self, limits: Limits, now: Millis) {
        if limits.upload_rate != self.limits.upload_rate {
            self.limits = limits;
            self.tokens = self.bucket();
            self.refilled = now;
        }
        self.limits = limits;
    }

    /// Everything that a new neighbour is to know: what is held, even if that is nothing, and whether we are choking.
    pub(super) fn introduce(&self, conn: u32, neighbour: &mut Neighbour, out: &mut Outbox) {
        let prefixes: Vec<u64> = self.held.keys().map(Digest::prefix).collect();
        if self.choking {
            let bytes = neighbour.write(&Message::Choke);
            out.push_back(Output::Send { conn, bytes });
        }
        let mut chunks = prefixes.chunks(MAX_PREFIXES);
        let first = chunks.next().unwrap_or_default();
        for chunk in std::iter::once(first).chain(chunks) {
            let bytes = neighbour.write(&Message::Have(chunk.to_vec()));
            out.push_back(Output::Send { conn, bytes });
        }
    }

    /// A neighbour asks for a piece.
    pub(super) fn want(
        &mut self,
        conn: u32,
        neighbour: &mut Neighbour,
        wanted: Wanted,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let mut running = neighbour.uploads.iter().filter_map(|u| self.active.get(u)).map(|a| a.request);
        if neighbour.queue.iter().any(|w| w.request == wanted.request) || running.any(|r| r == wanted.request) {
            return Err(Reason::Malformed);
        }
        let why = if self.choking {
            Refusal::Choked
        } else if self.held.get(&wanted.digest).is_none_or(|h| h.len != wanted.len) {
            Refusal::NotHeld
        } else if neighbour.queue.len() + neighbour.uploads.len() >= MAX_QUEUE {
            Refusal::Busy
        } else {
            neighbour.queue.push_back(wanted);
            self.asked = true;
            return Ok(());
        };
        refuse(conn, neighbour, wanted.request, why, out);
        if neighbour.allow(1, now) { Ok(()) } else { Err(Reason::Flood) }
    }

    /// A neighbour no longer needs an answer.
    pub(super) fn cancel(
        &mut self,
        conn: u32,
        neighbour: &mut Neighbour,
        request: u32,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let queued = neighbour.queue.len();
        neighbour.queue.retain(|w| w.request != request);
        let running = neighbour.uploads.iter().find(|u| self.active.get(u).is_some_and(|a| a.request == request));
        if let Some(&upload) = running {
            self.end(upload, neighbour, out);
        } else if neighbour.queue.len() == queued {
            // It had ended before the cancellation came.
            return if neighbour.allow(1, now) { Ok(()) } else { Err(Reason::Flood) };
        }
        refuse(conn, neighbour, request, Refusal::Cancelled, out);
        Ok(())
    }

    /// The driver has read a piece and found it right, or not.
    pub(super) fn loaded(
        &mut self,
        upload: u32,
        right: bool,
        neighbours: &mut Neighbours,
        now: Millis,
        out: &mut Outbox,
    ) {
        let Some(active) = self.active.get_mut(&upload) else { return };
        if right {
            active.loaded = true;
            return;
        }
        let (conn, request, digest) = (active.conn, active.request, active.digest);
        self.drop_piece(&digest, now);
        out.push_back(Output::Worker(ToWorker::Evicted(digest)));
        if let Some(neighbour) = neighbours.get_mut(&conn) {
            self.end(upload, neighbour, out);
            refuse(conn, neighbour, request, Refusal::NotHeld, out);
        }
    }

    /// A neighbour is gone, and with it what it asked for.
    pub(super) fn lost(&mut self, neighbour: &mut Neighbour, out: &mut Outbox) {
        while let Some(&upload) = neighbour.uploads.front() {
            self.end(upload, neighbour, out);
        }
    }

    /// Chokes or not, tells news, starts reads, sends frames: whatever can be done now.
    pub(super) fn tick(&mut self, neighbours: &mut Neighbours, now: Millis, out: &mut Outbox) {
        self.choke(neighbours, out);
        self.tell_news(neighbours, now, out);
        self.refill(now);
        self.start(neighbours, out);
        self.send(neighbours, now, out);
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        [self.news_at, self.tokens_at].into_iter().flatten().min()
    }

    fn tell(&mut self, digest: Digest, held: bool, now: Millis) {
        self.news.insert(digest.prefix(), held);
        self.news_at.get_or_insert(now + NEWS_MS);
    }

    fn tell_news(&mut self, neighbours: &mut Neighbours, now: Millis, out: &mut Outbox) {
        if self.news_at.is_none_or(|at| at > now) {
            return;
        }
        self.news_at = None;
        let news = std::mem::take(&mut self.news);
        for (now_held, message) in [(true, Message::Have as fn(_) -> _), (false, Message::Unhave)] {
            let prefixes = news.iter().filter(|&(_, held)| *held == now_held);
            let prefixes: Vec<u64> = prefixes.map(|(&prefix, _)| prefix).collect();
            for chunk in prefixes.chunks(MAX_PREFIXES) {
                let message = message(chunk.to_vec());
                for (&conn, neighbour) in neighbours.iter_mut() {
                    let bytes = neighbour.write(&message);
                    out.push_back(Output::Send { conn, bytes });
                }
            }
        }
    }

    fn choke(&mut self, neighbours: &mut Neighbours, out: &mut Outbox) {
        let choking = self.limits.paused || self.spent();
        if choking == self.choking {
            return;
        }
        self.choking = choking;
        for (&conn, neighbour) in neighbours.iter_mut() {
            let bytes = neighbour.write(if choking { &Message::Choke } else { &Message::Unchoke });
            out.push_back(Output::Send { conn, bytes });
            if !choking {
                continue;
            }
            for wanted in std::mem::take(&mut neighbour.queue) {
                refuse(conn, neighbour, wanted.request, Refusal::Choked, out);
            }
            // A spent budget has room for what it promised; a pause has not.
            while self.limits.paused
                && let Some(&upload) = neighbour.uploads.front()
            {
                let request = self.active.get(&upload).map(|a| a.request);
                self.end(upload, neighbour, out);
                if let Some(request) = request {
                    refuse(conn, neighbour, request, Refusal::Choked, out);
                }
            }
        }
    }

    /// The budget has no room for another piece of the smallest size that matters.
    fn spent(&self) -> bool {
        let budget = self.limits.upload_budget;
        budget > 0 && self.promised + MAX_MESSAGE as u64 > budget
    }

    /// Has the driver read the next pieces, a neighbour at a time.
    fn start(&mut self, neighbours: &mut Neighbours, out: &mut Outbox) {
        if !self.asked || self.active.len() >= MAX_ACTIVE {
            return;
        }
        let mut idle = 0;
        let conns: Vec<u32> = neighbours.iter().filter(|(_, n)| !n.queue.is_empty()).map(|(&c, _)| c).collect();
        self.asked = !conns.is_empty();
        for &conn in conns.iter().cycle() {
            if self.active.len() >= MAX_ACTIVE || idle >= conns.len() {
                return;
            }
            idle += 1;
            let Some(neighbour) = neighbours.get_mut(&conn) else { continue };
            let ahead: u64 =
                neighbour.uploads.iter().filter_map(|u| self.active.get(u)).map(|a| u64::from(a.len)).sum();
            if neighbour.uploads.len() >= AHEAD.0 || neighbour.uploads.len() >= 2 && ahead >= AHEAD.1 {
                continue;
            }
            let Some(Wanted { request, digest, len }) = neighbour.queue.pop_front() else { continue };
            idle = 0;
            let budget = self.limits.upload_budget;
            let held = self.held.get(&digest).filter(|h| h.len == len).copied();
            let Some(held) = held.filter(|_| budget == 0 || self.promised + u64::from(len) <= budget) else {
                let why = if held.is_none() { Refusal::NotHeld } else { Refusal::Choked };
                refuse(conn, neighbour, request, why, out);
                continue;
            };
            self.last = self.last.wrapping_add(1);
            let upload = self.last;
            self.promised += u64::from(len);
            self.active.insert(upload, Active { conn, request, digest, len, sent: 0, loaded: false });
            neighbour.uploads.push_back(upload);
            let Place { segment, offset, len } = held;
            out.push_back(Output::Read { upload, held: Held { digest, segment, offset, len } });
        }
    }

    /// Sends frames while channels and limits have room, a frame of each neighbour in turn.
    fn send(&mut self, neighbours: &mut Neighbours, now: Millis, out: &mut Outbox) {
        self.tokens_at = None;
        while !self.active.is_empty() {
            let after = neighbours.iter().skip_while(|(c, _)| **c <= self.turn).chain(neighbours.iter());
            let ready = |n: &Neighbour| {
                n.buffered < MAX_BUFFERED
                    && n.uploads.front().is_some_and(|u| self.active.get(u).is_some_and(|a| a.loaded))
            };
            let Some(conn) = after.filter(|(_, n)| ready(n)).map(|(&c, _)| c).next() else { return };
            let Some(neighbour) = neighbours.get_mut(&conn) else { return };
            let Some(upload) = neighbour.uploads.front().copied() else { return };
            let Some(active) = self.active.get_mut(&upload) else { return };
            let size = neighbour.max_payload.min(active.len - active.sent);
            let rate = self.limits.upload_rate;
            if rate > 0 {
                let Some(left) = self.tokens.checked_sub(u64::from(size)) else {
                    let missing = u64::from(size) - self.tokens;
                    self.tokens_at = Some(now + (missing * 1000).div_ceil(rate).max(1));
                    return;
                };
                self.tokens = left;
            }
            let frame = Frame { request: active.request, total: active.len, offset: active.sent };
            let range = active.sent..active.sent + size;
            active.sent += size;
            neighbour.buffered += FRAME_HEAD + size as usize;
            neighbour.up += u64::from(size);
            self.up += u64::from(size);
            self.turn = conn;
            out.push_back(Output::Frame { conn, upload, head: frame.encode(), range });
            if active.sent == active.len {
                self.end(upload, neighbour, out);
            }
        }
    }

    /// Forgets an upload, finished or not. What was promised and not sent goes back to the budget.
    fn end(&mut self, upload: u32, neighbour: &mut Neighbour, out: &mut Outbox) {
        neighbour.uploads.retain(|&u| u != upload);
        if let Some(active) = self.active.remove(&upload) {
            self.promised -= u64::from(active.len - active.sent);
            out.push_back(Output::Unload { upload });
        }
    }

    fn refill(&mut self, now: Millis) {
        let earned = self.limits.upload_rate.saturating_mul(now.since(self.refilled)) / 1000;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(self.bucket());
            self.refilled = now;
        }
    }

    /// How much may be saved up: half a second's worth, and room for the longest frame.
    fn bucket(&self) -> u64 {
        (self.limits.upload_rate / 2).max(MAX_MESSAGE as u64)
    }
}

fn refuse(conn: u32, neighbour: &mut Neighbour, request: u32, why: Refusal, out: &mut Outbox) {
    let bytes = neighbour.write(&Message::Refuse { request, why });
    out.push_back(Output::Send { conn, bytes });
}
