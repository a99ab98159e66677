//! What this visitor takes: the pieces that the service worker wants, and which neighbour is asked for which.
//!
//! A wanted piece waits in a queue (pages before background; a page's in its order, background rarest first; where others
//! take the same at the same time, as `crowd.rs` says) until a
//! neighbour that holds it has room in its window, and goes to the one that should bring it first. A neighbour that
//! refuses a piece is not asked for it again; one that is late against its own prediction, or slow when others are idle
//! (end game), gets a rival, and whoever is first wins. Every accepted piece ends in one delivery or one word that it
//! does not come, at the latest at its deadline.

use std::collections::VecDeque;

use super::Output;
use super::crowd::{Crowd, Turn};
use super::forecast::Forecast;
use super::neighbour::{Ask, Neighbour};
use crate::Millis;
use crate::digest::Digest;
use crate::port::{MAX_WANTED, Priority, Reason, ToWorker, Wanted, Why};
use crate::sorted::{Map, Set};
use crate::wire::{Frame, MAX_PIECE, Message, NodeId, Refusal};

/// Wants that may be open at once, and pieces in them; more are declined, and the origin answers.
const MAX_WANTS: usize = 256;
const MAX_PIECES: usize = 4_096;

/// Questions open at one neighbour; it takes 64.
const MAX_ASKS: usize = 48;

/// Bytes owed by all neighbours: with pieces' buffers this is what downloads hold in memory.
const MAX_OWED: u64 = 32 * 1024 * 1024;

/// How far into the queue a neighbour's work is looked for: the first of it is held by others that are full.
const LOOK_AHEAD: usize = 256;

/// A page's next piece that another was to fetch is asked of anybody first, when nothing before it came for so long, in
/// milliseconds.
const STUCK_MS: u64 = 1_500;

/// So many pieces that came are remembered, by which others are known who take the same.
const LATELY: usize = 64;

/// A question is late after twice its predicted time and this, in milliseconds.
const LATE_MS: u64 = 1_000;

/// A neighbour that has sent nothing of what it owes for this long gets one question at a time.
const STALLED_MS: u64 = 5_000;

/// End game: a rival is asked where it should be this much earlier (beyond half the time), in milliseconds.
const RIVAL_MS: u64 = 100;

/// How often open questions are checked against their predictions.
const CHECK_MS: u64 = 250;

/// The service worker is told that bytes go on coming after so many of them, and so long, without a whole piece. Less than
/// that in the time after which it hedges is as good as a stall.
const ARRIVING_BYTES: u64 = 32 << 10;
const ARRIVING_MS: u64 = 150;

type Neighbours = Map<u32, Neighbour>;
type Outbox = VecDeque<Output>;

/// The order in which pieces are asked for.
type Order = (Priority, u64, u64);

#[derive(Debug)]
struct Piece {
    len: u32,
    /// The wants that wait for it.
    wants: Set<u32>,
    order: Order,
    /// It is to come within a time.
    hurried: bool,
    /// When it was wanted.
    since: Millis,
    /// Neighbours that are being asked, two at most.
    askers: Vec<u32>,
    /// Neighbours that refused it.
    refused: Set<u32>,
}

#[derive(Debug)]
struct Want {
    /// What has not come then is given up;
    deadline: Millis,
    /// so long after the last piece of it came, in milliseconds.
    patience: u64,
    left: Set<Digest>,
}

/// How pieces are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) id: u32,
    pub(super) priority: Priority,
    /// So long after the last of them came, or they were wanted, what is left is given up, in milliseconds.
    pub(super) patience: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    wants: Map<u32, Want>,
    pieces: Map<Digest, Piece>,
    /// Pieces to be asked for.
    queue: Set<(Order, Digest)>,
    last_request: u32,
    sequence: u64,
    /// Our own name.
    node: NodeId,
    /// The first piece that is wanted, in the order of wants, and since when it is that.
    next: (u64, Millis),
    /// The pieces that came last.
    lately: VecDeque<u64>,
    /// Something has changed that may let a question go out.
    stale: bool,
    check: Option<Millis>,
    /// Useful bytes since the service worker last heard of any, and when that was.
    arriving: (u64, Millis),
    /// Payload bytes received.
    pub(super) down: u64,
    /// Those of them that nobody could use.
    pub(super) wasted: u64,
}

impl Downloads {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, ..Self::default() }
    }

    /// Something has changed at a neighbour: look again at who can be asked.
    pub(super) fn touch(&mut self) {
        self.stale = true;
    }

    /// Whether one of these pieces is wanted, or came lately.
    pub(super) fn wants_any(&self, prefixes: &[u64]) -> bool {
        let mut wanted = self.pieces.keys().map(Digest::prefix);
        wanted.any(|prefix| prefixes.contains(&prefix)) || self.lately.iter().any(|prefix| prefixes.contains(prefix))
    }

    /// The service worker wants pieces.
    pub(super) fn want(
        &mut self,
        Terms { id, priority, patience }: Terms,
        wanted: &[Wanted],
        neighbours: &Neighbours,
        now: Millis,
        out: &mut Outbox,
    ) {
        let wanted = &wanted[..wanted.len().min(MAX_WANTED)];
        let queued: u64 = self.queue.iter().filter_map(|(_, d)| self.pieces.get(d)).map(|p| u64::from(p.len)).sum();
        let mut left = Set::default();
        let mut etas = vec![None; wanted.len()];
        if !self.wants.contains_key(&id) && self.wants.len() < MAX_WANTS {
            let held = |w: &&Wanted| is_held(&w.digest, neighbours);
            let mut forecast = Forecast::new(neighbours, queued, now);
            let is_late = |w: &&Wanted| forecast.take(&w.digest, w.len, w.within_ms).is_none();
            // As many as would be late come from elsewhere: the first ones, which are needed first, in one run.
            let mut late = wanted.iter().filter(held).filter(is_late).count();
            let mut forecast = Forecast::new(neighbours, queued, now);
            for (eta, wanted @ Wanted { digest, len, .. }) in etas.iter_mut().zip(wanted).filter(|(_, w)| held(w)) {
                if late > 0 {
                    late -= 1;
                } else if self.accept(id, priority, wanted, neighbours, now) {
                    left.insert(*digest);
                    *eta = forecast.take(digest, *len, u32::MAX);
                }
            }
        }
        out.push_back(Output::Worker(ToWorker::Available { id, etas }));
        if !left.is_empty() {
            self.wants.insert(id, Want { deadline: now + patience, patience, left });
            self.stale = true;
        }
    }

    /// The service worker no longer wants some pieces; none named: all of the want.
    pub(super) fn cancel(&mut self, id: u32, digests: &[Digest], neighbours: &mut Neighbours, out: &mut Outbox) {
        let Some(want) = self.wants.get_mut(&id) else { return };
        let ended: Vec<Digest> = if digests.is_empty() {
            want.left.iter().copied().collect()
        } else {
            digests.iter().filter(|d| want.left.contains(d)).copied().collect()
        };
        for digest in ended {
            self.unwant(id, &digest, neighbours, out);
        }
    }

    /// A frame came from this neighbour; what is wrong with it, if anything.
    pub(super) fn frame(
        &mut self,
        conn: u32,
        frame: Frame,
        payload: u32,
        neighbours: &mut Neighbours,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let Some(neighbour) = neighbours.get_mut(&conn) else { return Ok(()) };
        self.down += u64::from(payload);
        neighbour.down += u64::from(payload);
        let Some(ask) = neighbour.asks.get_mut(&frame.request) else {
            self.wasted += u64::from(payload);
            return Err(Reason::Unasked);
        };
        if frame.total != ask.len || frame.offset != ask.got || payload > ask.len - ask.got {
            self.wasted += u64::from(payload);
            return Err(if frame.total == ask.len { Reason::Malformed } else { Reason::Size });
        }
        if ask.got == 0 && neighbour.progress <= ask.asked {
            neighbour.path.answered(now.since(ask.asked));
        }
        ask.got += payload;
        neighbour.progress = now;
        neighbour.path.received(u64::from(payload), now);
        let (digest, whole, cancelled) = (ask.digest, ask.got == ask.len, ask.cancelled);
        if cancelled {
            self.wasted += u64::from(payload);
        } else {
            let (bytes, since) = &mut self.arriving;
            *bytes += u64::from(payload);
            if whole {
                (*bytes, *since) = (0, now);
            } else if *bytes >= ARRIVING_BYTES && now.since(*since) >= ARRIVING_MS {
                (*bytes, *since) = (0, now);
                out.push_back(Output::Worker(ToWorker::Arriving));
            }
            out.push_back(Output::Fill { buffer: frame.request, total: frame.total, offset: frame.offset, payload });
        }
        if whole {
            neighbour.asks.remove(&frame.request);
            if neighbour.asks.is_empty() {
                neighbour.path.idle();
            }
            self.stale = true;
            if !cancelled {
                self.deliver(conn, frame.request, digest, neighbours, now, out);
            }
        }
        Ok(())
    }

    /// A neighbour will not answer a question (any further). False where no such question was open.
    pub(super) fn refused(
        &mut self,
        conn: u32,
        request: u32,
        why: Refusal,
        neighbours: &mut Neighbours,
        out: &mut Outbox,
    ) -> bool {
        let Some(neighbour) = neighbours.get_mut(&conn) else { return true };
        let Some(ask) = neighbour.asks.remove(&request) else { return false };
        if neighbour.asks.is_empty() {
            neighbour.path.idle();
        }
        if why == Refusal::NotHeld {
            neighbour.have.remove(&ask.digest.prefix());
        }
        self.stale = true;
        self.unanswered(conn, request, &ask, true, out);
        true
    }

    /// A neighbour is gone, and with it what it owed.
    pub(super) fn lost(&mut self, conn: u32, neighbour: &mut Neighbour, out: &mut Outbox) {
        for (request, ask) in neighbour.asks.take() {
            self.unanswered(conn, request, &ask, false, out);
        }
        self.stale = true;
    }

    /// Ends what is past its deadline, finds what is late, and asks whoever can be asked.
    pub(super) fn tick(&mut self, neighbours: &mut Neighbours, now: Millis, out: &mut Outbox) {
        let late: Vec<u32> = self.wants.iter().filter(|(_, w)| w.deadline <= now).map(|(&id, _)| id).collect();
        for id in late {
            let left: Vec<Digest> = self.wants.get(&id).map(|w| w.left.iter().copied().collect()).unwrap_or_default();
            for digest in left {
                out.push_back(Output::Worker(ToWorker::Gone { id, digest, why: Why::TimedOut }));
                self.unwant(id, &digest, neighbours, out);
            }
        }
        if self.check.is_some_and(|at| at <= now) {
            self.check = None;
            self.overdue(neighbours, now);
            self.stale = true;
        }
        while std::mem::take(&mut self.stale) {
            self.schedule(neighbours, now, out);
        }
        if self.check.is_none() && !self.pieces.is_empty() {
            self.check = Some(now + CHECK_MS);
        }
    }

    /// Ends everything.
    pub(super) fn stop(&mut self, out: &mut Outbox) {
        for (id, want) in self.wants.take() {
            for digest in want.left.into_vec() {
                out.push_back(Output::Worker(ToWorker::Gone { id, digest, why: Why::Stopped }));
            }
        }
        let Self { down, wasted, last_request, node, .. } = *self;
        *self = Self { down, wasted, last_request, node, ..Self::default() };
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.wants.values().map(|w| w.deadline).chain(self.check).min()
    }

    /// Takes a piece on, where a neighbour can serve it.
    fn accept(&mut self, id: u32, priority: Priority, wanted: &Wanted, neighbours: &Neighbours, now: Millis) -> bool {
        let &Wanted { digest, len, within_ms } = wanted;
        let hurried = within_ms != u32::MAX;
        if let Some(piece) = self.pieces.get_mut(&digest) {
            if piece.len != len {
                return false;
            }
            piece.wants.insert(id);
            piece.hurried |= hurried;
            if priority < piece.order.0 {
                let queued = self.queue.remove(&(piece.order, digest));
                self.sequence += 1;
                piece.order = (priority, 0, self.sequence);
                if queued {
                    self.queue.insert((piece.order, digest));
                }
            }
            return true;
        }
        let prefix = digest.prefix();
        let holders = neighbours.values().filter(|n| n.serves() && n.have.contains(&prefix)).count();
        if holders == 0 || len == 0 || len > MAX_PIECE || self.pieces.len() >= MAX_PIECES {
            return false;
        }
        self.sequence += 1;
        let rarity = if priority == Priority::Background { holders as u64 } else { 0 };
        let order = (priority, rarity, self.sequence);
        let (mut wants, refused) = (Set::default(), Set::default());
        wants.insert(id);
        self.pieces.insert(digest, Piece { len, wants, order, hurried, since: now, askers: Vec::new(), refused });
        self.queue.insert((order, digest));
        true
    }

    fn deliver(
        &mut self,
        conn: u32,
        request: u32,
        digest: Digest,
        neighbours: &mut Neighbours,
        now: Millis,
        out: &mut Outbox,
    ) {
        let Some(piece) = self.pieces.remove(&digest) else {
            out.push_back(Output::Discard { buffer: request });
            return;
        };
        self.queue.remove(&(piece.order, digest));
        if self.lately.len() >= LATELY {
            self.lately.pop_front();
        }
        self.lately.push_back(digest.prefix());
        self.withdraw(&digest, piece.askers.iter().filter(|&&c| c != conn), neighbours, out);
        for id in piece.wants.iter() {
            if let Some(want) = self.wants.get_mut(id) {
                want.deadline = now + want.patience;
            }
            self.settle(*id, &digest);
        }
        let ids = piece.wants.into_vec();
        out.push_back(Output::Deliver { buffer: request, digest, peer: conn, ids });
    }

    /// One want no longer waits for a piece; without any, nobody is asked for it.
    fn unwant(&mut self, id: u32, digest: &Digest, neighbours: &mut Neighbours, out: &mut Outbox) {
        self.settle(id, digest);
        let Some(piece) = self.pieces.get_mut(digest) else { return };
        piece.wants.remove(&id);
        if piece.wants.is_empty()
            && let Some(piece) = self.pieces.remove(digest)
        {
            self.queue.remove(&(piece.order, *digest));
            self.withdraw(digest, piece.askers.iter(), neighbours, out);
            self.stale = true;
        }
    }

    fn settle(&mut self, id: u32, digest: &Digest) {
        if let Some(want) = self.wants.get_mut(&id) {
            want.left.remove(digest);
            if want.left.is_empty() {
                self.wants.remove(&id);
            }
        }
    }

    /// Cancels the questions for a piece at these neighbours. What came of it is waste.
    fn withdraw<'a>(
        &mut self,
        digest: &Digest,
        conns: impl Iterator<Item = &'a u32>,
        neighbours: &mut Neighbours,
        out: &mut Outbox,
    ) {
        for &conn in conns {
            let Some(neighbour) = neighbours.get_mut(&conn) else { continue };
            let open = neighbour.asks.iter_mut().find(|(_, a)| a.digest == *digest && !a.cancelled);
            let Some((&request, ask)) = open else { continue };
            ask.cancelled = true;
            self.wasted += u64::from(ask.got);
            let bytes = neighbour.write(&Message::Cancel { request });
            out.push_back(Output::Send { conn, bytes });
            out.push_back(Output::Discard { buffer: request });
        }
    }

    /// A question ended without the piece: others are asked, if there are any.
    fn unanswered(&mut self, conn: u32, request: u32, ask: &Ask, refused: bool, out: &mut Outbox) {
        if ask.cancelled {
            return;
        }
        self.wasted += u64::from(ask.got);
        out.push_back(Output::Discard { buffer: request });
        if let Some(piece) = self.pieces.get_mut(&ask.digest) {
            piece.askers.retain(|&c| c != conn);
            if refused {
                piece.refused.insert(conn);
            }
            if piece.askers.is_empty() {
                self.queue.insert((piece.order, ask.digest));
            }
        }
    }

    /// Queues again what is late against its own prediction, so that a rival is asked.
    fn overdue(&mut self, neighbours: &mut Neighbours, now: Millis) {
        for (_, ask) in neighbours.values_mut().flat_map(|n| n.asks.iter_mut()) {
            if ask.cancelled || ask.late > now {
                continue;
            }
            ask.late = Millis(u64::MAX);
            if let Some(piece) = self.pieces.get(&ask.digest)
                && piece.askers.len() < 2
            {
                self.queue.insert((piece.order, ask.digest));
            }
        }
    }

    fn schedule(&mut self, neighbours: &mut Neighbours, now: Millis, out: &mut Outbox) {
        if self.pieces.is_empty() {
            self.next = (0, now);
            return;
        }
        let mut owed: u64 = neighbours.values().map(Neighbour::owed).sum();
        let serving = neighbours.values().filter(|n| n.serves()).count();
        let is_full = |n: &Neighbour| n.serves() && !has_room(n, now);
        let mut full = Set::default();
        for (&conn, _) in neighbours.iter().filter(|(_, n)| is_full(n)) {
            full.insert(conn);
        }
        if serving > 0 && full.len() >= serving {
            return;
        }
        let next = self.pieces.values().map(|piece| piece.order).min().map_or(0, |order| order.2);
        if self.next.0 != next {
            self.next = (next, now);
        }
        for (order, digest, turn) in self.turns(neighbours, now) {
            if serving > 0 && full.len() >= serving || owed >= MAX_OWED {
                return;
            }
            let Some(piece) = self.pieces.get(&digest) else { continue };
            let can = |(c, n): &(&u32, &Neighbour)| holds(n, **c, &digest, piece);
            let fits = |n: &Neighbour| match turn {
                Turn::Next | Turn::Ours | Turn::Late => true,
                Turn::Fellows => n.fellow > now,
                Turn::Theirs => false,
            };
            let free = |(c, n): &(&u32, &Neighbour)| can(&(c, n)) && fits(n) && !full.contains(c);
            let soonest = |(_, n): &(&u32, &Neighbour)| n.path.predict(n.owed() + u64::from(piece.len), now);
            if let Some((&conn, _)) = neighbours.iter().filter(free).min_by_key(soonest) {
                owed += u64::from(piece.len);
                self.queue.remove(&(order, digest));
                self.ask(conn, digest, neighbours, now, out);
                if neighbours.get(&conn).is_some_and(is_full) {
                    full.insert(conn);
                }
            } else if !neighbours.iter().any(|n| can(&n)) {
                self.queue.remove(&(order, digest));
                if piece.askers.is_empty() {
                    self.give_up(digest, out);
                }
                // What lies behind the look-ahead has come nearer.
                self.stale = true;
            }
        }
        if self.queue.is_empty() {
            self.end_game(neighbours, &full, now, out);
        }
    }

    /// What waits, in the order in which it is asked for, and of whom.
    fn turns(&self, neighbours: &Neighbours, now: Millis) -> Vec<(Order, Digest, Turn)> {
        let waiting = self.queue.iter().take(LOOK_AHEAD).copied();
        let Some(crowd) = Crowd::of(self.node, neighbours, self.pieces.len(), now) else {
            return waiting.map(|(order, digest)| (order, digest, Turn::Next)).collect();
        };
        let (next, since) = self.next;
        let is_stuck = now.since(since) >= STUCK_MS;
        let turn = |(order, digest): (Order, Digest)| {
            let piece = self.pieces.get(&digest)?;
            let place = order.2.saturating_sub(next);
            let is_page = order.0 == Priority::Page;
            let before = if is_page { place * u64::from(piece.len) } else { u64::MAX / 1_000 };
            let turn = crowd.turn(&digest, piece.len, piece.since, before);
            let is_next = is_page && (piece.hurried || is_stuck && place == 0);
            Some((order, digest, if is_next { Turn::Next } else { turn }))
        };
        let all: Vec<_> = waiting.filter_map(turn).collect();
        let mut turns = Vec::with_capacity(all.len());
        for priority in [Priority::Page, Priority::Background] {
            for turn in Turn::ALL {
                turns.extend(all.iter().filter(|(order, _, t)| order.0 == priority && *t == turn));
            }
        }
        turns
    }

    /// Nothing waits: idle neighbours become rivals where they should be much sooner.
    fn end_game(&mut self, neighbours: &mut Neighbours, full: &Set<u32>, now: Millis, out: &mut Outbox) {
        let mut rivals = Vec::new();
        for (&conn, neighbour) in neighbours.iter().filter(|(c, n)| n.asks.is_empty() && !full.contains(c)) {
            let slow = neighbours.values().flat_map(|n| {
                let left = n.path.predict(n.owed(), now);
                n.asks.values().filter(|a| !a.cancelled).map(move |a| (left, a))
            });
            let gain = |(left, ask): &(u64, &Ask)| {
                let rival = neighbour.path.predict(u64::from(ask.len), now);
                left.saturating_sub(2 * rival + RIVAL_MS)
            };
            let fits = |(_, ask): &(u64, &Ask)| {
                self.pieces.get(&ask.digest).is_some_and(|p| {
                    p.order.0 == Priority::Page && p.askers.len() < 2 && holds(neighbour, conn, &ask.digest, p)
                })
            };
            let best = slow.filter(fits).max_by_key(gain).filter(|s| gain(s) > 0);
            rivals.extend(best.map(|(_, ask)| (conn, ask.digest)));
        }
        for (conn, digest) in rivals {
            self.ask(conn, digest, neighbours, now, out);
        }
    }

    fn ask(&mut self, conn: u32, digest: Digest, neighbours: &mut Neighbours, now: Millis, out: &mut Outbox) {
        let Some(neighbour) = neighbours.get_mut(&conn) else { return };
        let Some(piece) = self.pieces.get_mut(&digest).filter(|p| p.askers.len() < 2) else { return };
        self.last_request = self.last_request.wrapping_add(1);
        let (request, len) = (self.last_request, piece.len);
        if neighbour.asks.is_empty() {
            neighbour.progress = now;
        }
        let late = now + (2 * neighbour.path.predict(neighbour.owed() + u64::from(len), now) + LATE_MS);
        neighbour.asks.insert(request, Ask { digest, len, got: 0, asked: now, late, cancelled: false });
        piece.askers.push(conn);
        let bytes = neighbour.write(&Message::Want { request, digest, len });
        out.push_back(Output::Send { conn, bytes });
    }

    /// Nobody can be asked for this piece.
    fn give_up(&mut self, digest: Digest, out: &mut Outbox) {
        let Some(piece) = self.pieces.remove(&digest) else { return };
        let why = if piece.refused.is_empty() { Why::NoHolder } else { Why::Refused };
        for id in piece.wants.into_vec() {
            self.settle(id, &digest);
            out.push_back(Output::Worker(ToWorker::Gone { id, digest, why }));
        }
    }
}

/// Whether a neighbour that can be asked holds it.
fn is_held(digest: &Digest, neighbours: &Neighbours) -> bool {
    let prefix = digest.prefix();
    neighbours.values().any(|n| n.serves() && n.have.contains(&prefix))
}

fn has_room(neighbour: &Neighbour, now: Millis) -> bool {
    let asks = neighbour.asks.len();
    let stalled = now.since(neighbour.progress) >= STALLED_MS;
    neighbour.serves() && (asks == 0 || !stalled && asks < MAX_ASKS && neighbour.owed() < neighbour.path.window())
}

fn holds(neighbour: &Neighbour, conn: u32, digest: &Digest, piece: &Piece) -> bool {
    neighbour.serves()
        && neighbour.have.contains(&digest.prefix())
        && !piece.refused.contains(&conn)
        && !piece.askers.contains(&conn)
}
