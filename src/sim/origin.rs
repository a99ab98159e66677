//! The simulated origin: its answers leave one uplink by turns, a chunk each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Range;

use super::Arm;
use super::browser::Request;
use super::link::{CHUNK, Flow};
use super::queue::Micros;
use super::site::Body;
use super::world::{Event, World, chunk};
use crate::Millis;
use crate::transfer::{Input, RunId};

/// What an answer is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// A request of the page that no worker stands before.
    Plain { request: Request, file: u32, revision: u32 },
    /// The worker and its bundle.
    Bundle,
    /// A run of a transfer.
    Run { file: u32, run: RunId, pieces: Range<usize>, arrived: u64 },
}

#[derive(Debug)]
struct Answer {
    to: u32,
    epoch: u32,
    purpose: Purpose,
    flow: Flow,
    total: u64,
    left: u64,
    delivered: u64,
    asked: Micros,
    /// When its first bytes came.
    began: Option<Micros>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Origin {
    /// Bytes a microsecond.
    rate: f64,
    answers: BTreeMap<u32, Answer>,
    last: u32,
    /// Answers that have something to send, by turns.
    ring: VecDeque<u32>,
    /// Those that wait for their pace, and until when.
    paced: BinaryHeap<Reverse<(Micros, u32)>>,
    sending: bool,
    retry: Micros,
}

impl Origin {
    pub(super) fn new(rate: f64) -> Self {
        let (answers, ring, paced) = (BTreeMap::new(), VecDeque::new(), BinaryHeap::new());
        Self { rate, answers, last: 0, ring, paced, sending: false, retry: Micros::MAX }
    }
}

impl World {
    /// A browser asks the origin for this many bytes. The number of the answer.
    pub(super) fn ask_origin(&mut self, number: u32, bytes: u64, purpose: Purpose) -> u32 {
        let browser = &self.browsers[number as usize];
        let (epoch, down) = (browser.epoch, browser.traits.down);
        let delay = browser.traits.delay + (self.scenario.origin.distance_ms * 1000.0) as Micros;
        let answer = Answer {
            to: number,
            epoch,
            purpose,
            flow: Flow::new(delay, down, down, self.scenario.network.loss),
            total: bytes.max(1),
            left: bytes.max(1),
            delivered: 0,
            asked: self.now,
            began: None,
        };
        self.origin.last = self.origin.last.wrapping_add(1);
        let flow = self.origin.last;
        self.origin.answers.insert(flow, answer);
        let thinks = (self.scenario.origin.answer_ms * 1000.0) as Micros;
        self.queue.at(self.now + delay + thinks, Event::OriginAnswers(flow));
        flow
    }

    /// An answer is no longer wanted.
    pub(super) fn cancel_answer(&mut self, flow: u32) {
        let Some(answer) = self.origin.answers.remove(&flow) else { return };
        // What has left and is not a whole piece of the run is of no use.
        let arrived = if let Purpose::Run { arrived, .. } = answer.purpose { arrived } else { 0 };
        let group = self.browsers[answer.to as usize].group();
        self.figures.tally(group).wasted += (answer.total - answer.left).saturating_sub(arrived);
    }

    pub(super) fn origin_answers(&mut self, flow: u32) {
        if let Some(answer) = self.origin.answers.get_mut(&flow) {
            answer.flow.in_ring = true;
            self.origin.ring.push_back(flow);
            self.kick_origin();
        }
    }

    pub(super) fn origin_retry(&mut self) {
        self.origin.retry = Micros::MAX;
        self.kick_origin();
    }

    fn kick_origin(&mut self) {
        let (now, origin) = (self.now, &mut self.origin);
        if origin.sending {
            return;
        }
        while let Some(&Reverse((ready, number))) = origin.paced.peek()
            && ready <= now
        {
            origin.paced.pop();
            origin.ring.push_back(number);
        }
        while let Some(number) = origin.ring.pop_front() {
            let Some(answer) = origin.answers.get_mut(&number) else { continue };
            if answer.left == 0 || !answer.flow.is_open() {
                answer.flow.in_ring = false;
                continue;
            }
            if answer.flow.ready > now {
                origin.paced.push(Reverse((answer.flow.ready, number)));
                continue;
            }
            let bytes = chunk(answer.left);
            answer.left -= u64::from(bytes);
            answer.flow.begin(now, bytes);
            origin.sending = true;
            answer.flow.in_ring = answer.left > 0;
            if answer.flow.in_ring {
                origin.paced.push(Reverse((answer.flow.ready, number)));
            }
            let to = answer.to;
            let is_own = matches!(answer.purpose, Purpose::Bundle);
            self.queue.at(now + (f64::from(bytes) / origin.rate).ceil() as Micros, Event::OriginLeft(number, bytes));
            let group = self.browsers[to as usize].group();
            let tally = self.figures.tally(group);
            *if is_own { &mut tally.overhead } else { &mut tally.origin } += u64::from(bytes);
            self.figures.at(now).origin += u64::from(bytes);
            return;
        }
        if let Some(&Reverse((ready, _))) = origin.paced.peek()
            && ready < origin.retry
        {
            origin.retry = ready;
            self.queue.at(ready, Event::OriginRetry);
        }
    }

    pub(super) fn origin_left(&mut self, number: u32, bytes: u32) {
        self.origin.sending = false;
        let late = self.late(bytes);
        if let Some(answer) = self.origin.answers.get_mut(&number) {
            let arrives = answer.flow.leave(self.now, late(&answer.flow));
            self.queue.at(arrives, Event::ChunkEdge(number, bytes));
        }
        self.kick_origin();
    }

    pub(super) fn chunk_edge(&mut self, number: u32, bytes: u32) {
        let Some(to) = self.origin.answers.get(&number).map(|a| a.to) else { return };
        match self.downlink(to, bytes) {
            Some(done) => self.queue.at(done, Event::ChunkDeliver(number, bytes)),
            None => self.chunk_deliver(number, bytes),
        }
    }

    pub(super) fn chunk_deliver(&mut self, number: u32, bytes: u32) {
        let Some(answer) = self.origin.answers.get_mut(&number) else { return };
        answer.flow.in_flight = answer.flow.in_flight.saturating_sub(bytes);
        answer.delivered += u64::from(bytes);
        answer.began.get_or_insert(self.now);
        if answer.left > 0 && !std::mem::replace(&mut answer.flow.in_ring, true) {
            self.origin.ring.push_back(number);
        }
        let (to, epoch, delivered) = (answer.to, answer.epoch, answer.delivered);
        let ended = delivered == answer.total;
        if let Purpose::Run { file, run, pieces, arrived } = &mut answer.purpose {
            let (file, run) = (*file, *run);
            let browser = &mut self.browsers[to as usize];
            if let Some(open) = browser.files.get(&file).filter(|_| browser.epoch == epoch) {
                while let Some(piece) = open.pieces.get(pieces.start).filter(|_| pieces.start < pieces.end) {
                    if *arrived + u64::from(piece.len) > delivered {
                        break;
                    }
                    *arrived += u64::from(piece.len);
                    let token = self.site.token(&piece.digest).unwrap_or_default();
                    if let Ok(body) = (Body { token, len: piece.len }).verify(piece) {
                        browser.work.push_back((file, Input::Fetched(run, pieces.start, body)));
                    }
                    pieces.start += 1;
                }
                if ended {
                    browser.work.push_back((file, Input::Ended(run, Ok(()))));
                }
            }
        }
        if ended && let Some(answer) = self.origin.answers.remove(&number) {
            self.delivered(answer);
        }
        self.kick_origin();
        self.drive(to);
    }

    fn delivered(&mut self, answer: Answer) {
        if !self.is_on(answer.to, answer.epoch) {
            return;
        }
        let began = answer.began.unwrap_or(self.now);
        let [delay, span] = [began - answer.asked, self.now - began].map(|us| us as f64 / 1000.0);
        // The first chunk came with the first byte.
        let rest = answer.total.saturating_sub(u64::from(CHUNK));
        match answer.purpose {
            Purpose::Plain { request, file, revision } => {
                self.browsers[answer.to as usize].plain.insert((file, revision));
                self.answered(answer.to, request);
            }
            Purpose::Bundle if self.arm == Arm::Peerage => self.installed(answer.to),
            Purpose::Bundle => {}
            Purpose::Run { file, run, .. } => {
                let browser = &mut self.browsers[answer.to as usize];
                browser.paths.origin_answered(delay, rest, span, Millis(self.now / 1000));
                if let Some(open) = browser.files.get_mut(&file) {
                    open.runs.remove(&run);
                }
            }
        }
    }
}
