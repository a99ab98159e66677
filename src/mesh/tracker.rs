//! The tracker client: WebTorrent's WebSocket protocol, for bootstrap only.
//!
//! One tracker at a time, in an order that all visitors of a site derive alike from the info hash, so that they meet. An
//! announce carries prepared offers; the tracker hands each to another peer of the site, whose answer comes back the same
//! way. The protocol is what `bittorrent-tracker` and `aquatic_ws` speak: JSON texts, with 20 bytes written as a string
//! of 20 code points below 256.

use std::collections::VecDeque;

use super::Output;
use crate::Millis;
use crate::digest::Digest;
use crate::json::{self, Object, Value, quoted};
use crate::rng::Rng;
use crate::sorted::Map;
use crate::wire::NodeId;

/// The longest text that is read; a description is one to three KiB.
const MAX_TEXT: usize = 64 * 1024;

/// A socket that is not open after this long is given up, in milliseconds.
const OPEN_MS: u64 = 15_000;

/// An announce that has no answer after this long: the socket is dead.
const ANSWER_MS: u64 = 30_000;

/// Waits between attempts: the first, and the longest.
const RETRY_MS: (u64, u64) = (1_000, 120_000);

/// The wait before another tracker is tried in the same round.
const NEXT_TRACKER_MS: u64 = 250;

/// Bounds of the interval that a tracker may ask for; what is taken where it asks for none.
const INTERVAL_MS: (u64, u64) = (15_000, 3_600_000);
const DEFAULT_INTERVAL_MS: u64 = 120_000;

/// How many times the interval is kept while there is no room for others.
const RESTING: u64 = 3;

/// Announces out of turn, while neighbours lack: the first, and what the second waits (then doubling).
const LACKING_MS: (u64, u64) = (1_500, 5_000);

/// From a later tracker the first is tried again after this long: else a site's visitors stay apart.
const FALLBACK_MS: u64 = 300_000;

/// A connection's name in offers and answers: an `offer_id`.
pub(super) type OfferId = [u8; 20];

/// What a tracker says that concerns others than the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A peer offers a connection.
    Offer { from: NodeId, id: OfferId, sdp: String },
    /// A peer answers an offer of ours.
    Answer { from: NodeId, id: OfferId, sdp: String },
}

#[derive(Clone, Debug)]
enum State {
    /// Not connected; the next attempt.
    Waiting {
        until: Millis,
    },
    Opening {
        until: Millis,
    },
    Open {
        announce: Millis,
        answer_by: Option<Millis>,
    },
    /// No tracker is named, or the mesh has stopped.
    Off,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tracker {
    urls: Vec<String>,
    info_hash: String,
    node: NodeId,
    /// Index of the tracker in use.
    current: usize,
    /// Since when a later tracker than the first is in use.
    fallback: Option<Millis>,
    /// The present socket's number.
    socket: u32,
    state: State,
    /// Attempts since the last one that led to an answer.
    failures: u32,
    /// The tracker has answered on this socket.
    answered: bool,
    /// `started` has been said on this socket.
    started: bool,
    interval: u64,
    /// Peers of the site, us among them, by the tracker's last word.
    swarm: Option<u64>,
    /// Announces out of turn since the number of neighbours last changed.
    hurries: u32,
    hurried: bool,
    /// Others are better introduced to somebody else.
    resting: bool,
}

impl Tracker {
    pub(super) fn new(urls: Vec<String>, info_hash: [u8; 20], node: NodeId, now: Millis) -> Self {
        let mut ordered = Map::default();
        for url in urls {
            let mut both = info_hash.to_vec();
            both.extend(url.bytes());
            ordered.insert(Digest::of(&both), url);
        }
        let urls: Vec<String> = ordered.take().map(|(_, url)| url).collect();
        let state = if urls.is_empty() { State::Off } else { State::Waiting { until: now } };
        Self {
            urls,
            info_hash: to_text(&info_hash),
            node,
            current: 0,
            fallback: None,
            socket: 0,
            state,
            failures: 0,
            answered: false,
            started: false,
            interval: DEFAULT_INTERVAL_MS,
            swarm: None,
            hurries: 0,
            hurried: false,
            resting: false,
        }
    }

    /// How many others the tracker knows; `None` before its first answer.
    pub(super) fn others(&self) -> Option<u64> {
        self.swarm.map(|n| n.saturating_sub(1))
    }

    pub(super) fn opened(&mut self, socket: u32, now: Millis) {
        if socket == self.socket && matches!(self.state, State::Opening { .. }) {
            self.started = false;
            self.answered = false;
            self.state = State::Open { announce: now, answer_by: None };
        }
    }

    pub(super) fn closed(&mut self, socket: u32, now: Millis, rng: &mut Rng) {
        if socket != self.socket || matches!(self.state, State::Off | State::Waiting { .. }) {
            return;
        }
        let wait = if self.answered {
            // It worked: the same one again, at first soon.
            self.failures = 0;
            RETRY_MS.0
        } else {
            self.failures = self.failures.saturating_add(1);
            self.current = (self.current + 1) % self.urls.len();
            self.fallback = (self.current != 0).then_some(self.fallback.unwrap_or(now));
            let rounds = self.failures as usize / self.urls.len();
            if self.current != 0 { NEXT_TRACKER_MS } else { doubled(RETRY_MS.0, rounds.saturating_sub(1), RETRY_MS.1) }
        };
        self.answered = false;
        self.state = State::Waiting { until: now + jittered(wait, rng) };
    }

    /// What the tracker said, as far as it concerns others.
    pub(super) fn text(
        &mut self,
        socket: u32,
        text: &str,
        now: Millis,
        rng: &mut Rng,
        out: &mut VecDeque<Output>,
    ) -> Option<Event> {
        if socket != self.socket || text.len() > MAX_TEXT {
            return None;
        }
        let State::Open { announce, answer_by } = &mut self.state else { return None };
        let message = Said::read(text).ok()?;
        if message.failure.is_some() {
            out.push_back(Output::Disconnect { socket });
            self.answered = false;
            self.closed(socket, now, rng);
            return None;
        }
        if message.info_hash.as_ref() != Some(&self.info_hash) {
            return None;
        }
        *answer_by = None;
        if let Some(seconds) = message.interval {
            self.interval = seconds.saturating_mul(1000).clamp(INTERVAL_MS.0, INTERVAL_MS.1);
            if !self.hurried {
                let pace = if self.resting { self.interval * RESTING } else { self.interval };
                *announce = now + jittered(pace, rng);
            }
            self.answered = true;
            self.failures = 0;
        }
        if let (Some(complete), Some(incomplete)) = (message.complete, message.incomplete) {
            self.swarm = Some(complete.saturating_add(incomplete));
        }
        let from = NodeId(from_text(&message.peer_id?)?);
        let id = from_text(&message.offer_id?)?;
        match (message.offer, message.answer) {
            (Some(Description { kind, sdp }), None) if kind == "offer" => Some(Event::Offer { from, id, sdp }),
            (None, Some(Description { kind, sdp })) if kind == "answer" => Some(Event::Answer { from, id, sdp }),
            _ => None,
        }
    }

    /// It is time to announce.
    pub(super) fn due(&self, now: Millis) -> Option<Millis> {
        match self.state {
            State::Open { announce, .. } if announce <= now => Some(announce),
            State::Open { .. } | State::Waiting { .. } | State::Opening { .. } | State::Off => None,
        }
    }

    /// Announces us, with these offers for others.
    pub(super) fn announce(&mut self, offers: &[(OfferId, &str)], now: Millis, out: &mut VecDeque<Output>) {
        // Some trackers do not introduce complete peers to each other: everyone is incomplete.
        let mut text = self.message();
        text.push_str(",\"uploaded\":0,\"downloaded\":0,\"left\":1,\"numwant\":");
        text.push_str(&offers.len().to_string());
        if !self.started {
            self.started = true;
            text.push_str(",\"event\":\"started\"");
        }
        text.push_str(",\"offers\":[");
        for (at, (id, sdp)) in offers.iter().enumerate() {
            text.push_str(if at == 0 { "{\"offer_id\":" } else { ",{\"offer_id\":" });
            text.push_str(&quoted(&to_text(id)));
            text.push_str(",\"offer\":{\"type\":\"offer\",\"sdp\":");
            text.push_str(&quoted(sdp));
            text.push_str("}}");
        }
        text.push_str("]}");
        out.push_back(Output::Text { socket: self.socket, text });
        self.hurried = false;
        self.state = State::Open { announce: now + self.interval, answer_by: Some(now + ANSWER_MS) };
    }

    /// Sends our answer to the peer whose offer it was.
    pub(super) fn answer(&self, to: NodeId, id: OfferId, sdp: &str, out: &mut VecDeque<Output>) {
        if !matches!(self.state, State::Open { .. }) {
            return;
        }
        let mut text = self.message();
        for (key, value) in [("to_peer_id", &*to_text(&to.0)), ("offer_id", &to_text(&id))] {
            text.push_str(",\"");
            text.push_str(key);
            text.push_str("\":");
            text.push_str(&quoted(value));
        }
        text.push_str(",\"answer\":{\"type\":\"answer\",\"sdp\":");
        text.push_str(&quoted(sdp));
        text.push_str("}}");
        out.push_back(Output::Text { socket: self.socket, text });
    }

    /// Neighbours lack and there are offers: the next announce comes out of turn, each time later.
    pub(super) fn hurry(&mut self, now: Millis, rng: &mut Rng) {
        let State::Open { announce, .. } = &mut self.state else { return };
        if self.hurried || !self.answered {
            return;
        }
        let wait = match self.hurries {
            0 => LACKING_MS.0,
            n => doubled(LACKING_MS.1, n as usize - 1, self.interval),
        };
        self.hurried = true;
        self.hurries = self.hurries.saturating_add(1);
        *announce = (*announce).min(now + jittered(wait, rng));
    }

    /// The number of neighbours has changed: haste is worth while again.
    pub(super) fn refresh(&mut self) {
        self.hurries = 0;
    }

    /// With no room for others, announces come so rarely that trackers forget us meanwhile, which is as well.
    pub(super) fn rest(&mut self, resting: bool) {
        self.resting = resting;
    }

    /// Says that we leave, and does nothing more.
    pub(super) fn stop(&mut self, out: &mut VecDeque<Output>) {
        match self.state {
            State::Open { .. } => {
                let mut text = self.message();
                text.push_str(",\"event\":\"stopped\",\"left\":1,\"numwant\":0}");
                out.push_back(Output::Text { socket: self.socket, text });
                out.push_back(Output::Disconnect { socket: self.socket });
            }
            State::Opening { .. } => out.push_back(Output::Disconnect { socket: self.socket }),
            State::Waiting { .. } | State::Off => {}
        }
        self.state = State::Off;
    }

    /// Connects, gives up what takes too long, goes back to the first tracker.
    pub(super) fn tick(&mut self, now: Millis, rng: &mut Rng, out: &mut VecDeque<Output>) {
        let late = match self.state {
            State::Waiting { until } if until <= now => {
                self.socket += 1;
                self.state = State::Opening { until: now + OPEN_MS };
                out.push_back(Output::Connect { socket: self.socket, url: self.urls[self.current].clone() });
                false
            }
            State::Opening { until } => until <= now,
            State::Open { answer_by, .. } => {
                if self.fallback.is_some_and(|since| now.since(since) >= FALLBACK_MS) {
                    self.fallback = None;
                    self.current = 0;
                    self.state = State::Waiting { until: now };
                    out.push_back(Output::Disconnect { socket: self.socket });
                    return self.tick(now, rng, out);
                }
                answer_by.is_some_and(|by| by <= now)
            }
            State::Waiting { .. } | State::Off => false,
        };
        if late {
            self.answered = false;
            out.push_back(Output::Disconnect { socket: self.socket });
            self.closed(self.socket, now, rng);
        }
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.state {
            State::Waiting { until } | State::Opening { until } => Some(until),
            State::Open { announce, answer_by } => {
                let fallback = self.fallback.map(|since| since + FALLBACK_MS);
                [Some(announce), answer_by, fallback].into_iter().flatten().min()
            }
            State::Off => None,
        }
    }

    /// What every message begins with, as JSON whose object is still open.
    fn message(&self) -> String {
        let mut text = "{\"action\":\"announce\",\"info_hash\":".to_owned();
        text.push_str(&quoted(&self.info_hash));
        text.push_str(",\"peer_id\":");
        text.push_str(&quoted(&to_text(&self.node.0)));
        text
    }
}

/// What a tracker may say, in one.
struct Said {
    info_hash: Option<String>,
    peer_id: Option<String>,
    offer_id: Option<String>,
    offer: Option<Description>,
    answer: Option<Description>,
    interval: Option<u64>,
    complete: Option<u64>,
    incomplete: Option<u64>,
    failure: Option<String>,
}

impl Said {
    fn read(text: &str) -> Result<Self, json::BadJson> {
        let mut from = Object::parse(text.as_bytes())?;
        Ok(Self {
            info_hash: from.get("info_hash", json::text)?,
            peer_id: from.get("peer_id", json::text)?,
            offer_id: from.get("offer_id", json::text)?,
            offer: from.get("offer", Description::read)?,
            answer: from.get("answer", Description::read)?,
            interval: from.get("interval", json::number)?,
            complete: from.get("complete", json::number)?,
            incomplete: from.get("incomplete", json::number)?,
            failure: from.get("failure reason", json::text)?,
        })
    }
}

/// A session description (W3C WebRTC, `RTCSessionDescriptionInit`).
struct Description {
    kind: String,
    sdp: String,
}

impl Description {
    fn read(from: Value<'_>) -> Option<Self> {
        let mut from = Object::of(from)?;
        Some(Self { kind: json::text(from.take("type")?)?, sdp: json::text(from.take("sdp")?)? })
    }
}

fn to_text(bytes: &[u8; 20]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn from_text(text: &str) -> Option<[u8; 20]> {
    let mut out = [0; 20];
    let mut chars = text.chars();
    for byte in &mut out {
        *byte = u8::try_from(u32::from(chars.next()?)).ok()?;
    }
    chars.next().is_none().then_some(out)
}

fn doubled(first: u64, times: usize, most: u64) -> u64 {
    first.saturating_mul(1 << times.min(20)).min(most)
}

/// A wait of three to five quarters of `ms`: many visitors who lost one tracker must not come back at once.
pub(super) fn jittered(ms: u64, rng: &mut Rng) -> u64 {
    ms - ms / 4 + rng.below(ms / 2 + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NODE: NodeId = NodeId(*b"-PE0100-abcdefghijkl");

    fn tracker(urls: &[&str]) -> (Tracker, Rng, VecDeque<Output>) {
        let urls = urls.iter().map(|&u| u.to_owned()).collect();
        (Tracker::new(urls, [200; 20], NODE, Millis(0)), Rng::new(1), VecDeque::new())
    }

    fn connect(out: &mut VecDeque<Output>) -> Option<String> {
        out.drain(..).find_map(|o| if let Output::Connect { url, .. } = o { Some(url) } else { None })
    }

    #[test]
    fn every_visitor_tries_the_same_tracker_first() {
        let first = |urls: &[&str]| {
            let (mut tracker, mut rng, mut out) = tracker(urls);
            tracker.tick(Millis(0), &mut rng, &mut out);
            connect(&mut out)
        };
        assert_eq!(first(&["ws://a", "ws://b", "ws://c"]), first(&["ws://c", "ws://a", "ws://b", "ws://a"]));
    }

    #[test]
    fn unreachable_trackers_are_tried_in_turn_with_growing_waits() {
        let (mut tracker, mut rng, mut out) = tracker(&["ws://a", "ws://b"]);
        let (mut now, mut tried, mut waits) = (Millis(0), Vec::new(), Vec::new());
        for _ in 0..12 {
            let due = tracker.deadline().unwrap();
            waits.push(due.since(now));
            now = due;
            tracker.tick(now, &mut rng, &mut out);
            tried.push(connect(&mut out).unwrap());
            tracker.closed(tracker.socket, now, &mut rng);
        }
        assert!(tried.chunks(2).all(|pair| pair[0] == tried[0] && pair[1] == tried[1] && pair[0] != pair[1]));
        let rounds: Vec<_> = waits.iter().step_by(2).skip(1).collect();
        assert!(rounds.is_sorted_by(|a, b| **b > **a * 5 / 6), "{rounds:?}");
        assert!(*rounds[4] > 10_000 && *rounds[4] <= 150_000, "{rounds:?}");
    }

    #[test]
    fn a_later_tracker_is_left_for_the_first_after_a_while() {
        let (mut tracker, mut rng, mut out) = tracker(&["ws://a", "ws://b"]);
        tracker.tick(Millis(0), &mut rng, &mut out);
        let first = connect(&mut out);
        tracker.closed(1, Millis(0), &mut rng);
        tracker.tick(Millis(1_000), &mut rng, &mut out);
        assert_ne!(connect(&mut out), first);
        tracker.opened(2, Millis(1_000));
        tracker.tick(Millis(400_000), &mut rng, &mut out);
        assert!(out.contains(&Output::Disconnect { socket: 2 }));
        assert_eq!(connect(&mut out), first);
    }

    #[test]
    fn a_silent_tracker_is_given_up() {
        let (mut tracker, mut rng, mut out) = tracker(&["ws://a"]);
        tracker.tick(Millis(0), &mut rng, &mut out);
        tracker.opened(1, Millis(10));
        tracker.announce(&[], Millis(10), &mut out);
        out.clear();
        tracker.tick(Millis(10 + ANSWER_MS), &mut rng, &mut out);
        assert!(out.contains(&Output::Disconnect { socket: 1 }));
    }

    fn open() -> (Tracker, Rng, VecDeque<Output>) {
        let (mut tracker, mut rng, mut out) = tracker(&["ws://a"]);
        tracker.tick(Millis(0), &mut rng, &mut out);
        tracker.opened(1, Millis(0));
        out.clear();
        (tracker, rng, out)
    }

    #[test]
    fn an_announce_says_what_trackers_need() {
        let (mut tracker, _, mut out) = open();
        tracker.announce(&[([255; 20], "v=0")], Millis(0), &mut out);
        let Some(Output::Text { text, .. }) = out.pop_front() else { panic!("no text") };
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["info_hash"].as_str().unwrap().chars().count(), 20);
        assert_eq!(message["peer_id"], "-PE0100-abcdefghijkl");
        assert_eq!(message["event"], "started");
        assert_eq!(message["offers"][0]["offer"], json!({"type": "offer", "sdp": "v=0"}));
        assert_eq!(from_text(message["offers"][0]["offer_id"].as_str().unwrap()), Some([255; 20]));
        tracker.announce(&[], Millis(1), &mut out);
        let Some(Output::Text { text, .. }) = out.pop_front() else { panic!("no text") };
        assert!(!text.contains("event"), "started is said once a socket");
    }

    #[test]
    fn the_interval_is_honoured_within_bounds() {
        for (said, least, most) in [(120, 90_000, 150_000), (0, 11_250, 18_750), (u64::MAX, 2_700_000, 4_500_000)] {
            let (mut tracker, mut rng, mut out) = open();
            tracker.announce(&[], Millis(0), &mut out);
            let reply = json!({"action": "announce", "info_hash": to_text(&[200; 20]), "interval": said,
                "complete": 1, "incomplete": 2});
            assert_eq!(tracker.text(1, &reply.to_string(), Millis(0), &mut rng, &mut out), None);
            let due = tracker.deadline().unwrap();
            assert!(due >= Millis(least) && due <= Millis(most), "{said}: {due:?}");
            assert_eq!(tracker.others(), Some(2));
        }
    }

    #[test]
    fn offers_and_answers_are_heard_and_noise_is_not() {
        let (mut tracker, mut rng, mut out) = open();
        let mut hear = |message: Value| tracker.text(1, &message.to_string(), Millis(0), &mut rng, &mut out);
        let offer = json!({"action": "announce", "info_hash": to_text(&[200; 20]), "peer_id": to_text(&[250; 20]),
            "offer_id": to_text(&[1; 20]), "offer": {"type": "offer", "sdp": "v=0"}});
        let heard = Event::Offer { from: NodeId([250; 20]), id: [1; 20], sdp: "v=0".into() };
        assert_eq!(hear(offer.clone()), Some(heard));
        let wrong: [(&str, Value); 5] = [
            ("info_hash", "another".into()),
            ("peer_id", "short".into()),
            ("offer_id", "ĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀ".into()),
            ("offer", json!({"type": "answer", "sdp": "v=0"})),
            ("offer", json!({"type": "offer", "sdp": 7})),
        ];
        for (key, value) in wrong {
            let mut message = offer.clone();
            message[key] = value;
            assert_eq!(hear(message.clone()), None, "{message}");
        }
        for noise in ["", "null", "[]", "{", "{\"action\":7}"] {
            assert_eq!(tracker.text(1, noise, Millis(0), &mut rng, &mut out), None);
        }
    }

    #[test]
    fn a_failure_ends_the_socket() {
        let (mut tracker, mut rng, mut out) = open();
        let text = json!({"failure reason": "no such torrent"}).to_string();
        assert_eq!(tracker.text(1, &text, Millis(0), &mut rng, &mut out), None);
        assert!(out.contains(&Output::Disconnect { socket: 1 }));
        assert!(tracker.deadline().unwrap() > Millis(500));
    }
}
