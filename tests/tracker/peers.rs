//! A tracker on a clock of its own, and peers that speak to it in JSON.

use peerage::Millis;
use peerage::tracker::{CloseReason, ConnectionId, Input, Limits, Output, Tracker};
use serde_json::{Value, json};

/// A tracker, and what it sent.
pub(crate) struct Swarm {
    pub(crate) tracker: Tracker,
    pub(crate) now: Millis,
    connections: u64,
    sent: Vec<(ConnectionId, Value)>,
    closed: Vec<(ConnectionId, CloseReason)>,
}

/// The info hash that tests use unless they say otherwise.
pub(crate) const SITE: &str = "site-site-site-site-";

impl Swarm {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::seeded(limits, 1)
    }

    pub(crate) fn seeded(limits: Limits, seed: u64) -> Self {
        let tracker = Tracker::new(limits, seed);
        Self { tracker, now: Millis(1_000_000), connections: 0, sent: Vec::new(), closed: Vec::new() }
    }

    pub(crate) fn open(&mut self) -> ConnectionId {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        self.handle(Input::Opened(id));
        id
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        self.tracker.handle(input, self.now);
        while let Some(output) = self.tracker.poll() {
            match output {
                Output::Send(to, text) => self.sent.push((to, serde_json::from_str(&text).expect("JSON"))),
                Output::Close(id, reason) => self.closed.push((id, reason)),
            }
        }
    }

    pub(crate) fn say(&mut self, from: ConnectionId, message: &Value) {
        self.handle(Input::Message(from, &message.to_string()));
    }

    /// Lets time pass, calling the tracker whenever its deadline comes.
    pub(crate) fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(deadline) = self.tracker.deadline().filter(|d| *d <= end) {
            self.now = self.now.max(deadline);
            self.handle(Input::Tick);
        }
        self.now = end;
    }

    /// What was sent to a connection since the last look.
    pub(crate) fn inbox(&mut self, of: ConnectionId) -> Vec<Value> {
        let (own, others) = std::mem::take(&mut self.sent).into_iter().partition(|(to, _)| *to == of);
        self.sent = others;
        own.into_iter().map(|(_, message)| message).collect()
    }

    /// The only message sent to a connection since the last look.
    pub(crate) fn only(&mut self, to: ConnectionId) -> Value {
        let mut inbox = self.inbox(to);
        assert_eq!(inbox.len(), 1, "{inbox:?}");
        inbox.remove(0)
    }

    pub(crate) fn closed(&self, id: ConnectionId) -> Option<CloseReason> {
        self.closed.iter().find(|(closed, _)| *closed == id).map(|(_, reason)| *reason)
    }

    /// A new connection whose peer `name` has announced itself; the tracker's answer is read.
    pub(crate) fn join(&mut self, name: &str) -> ConnectionId {
        let id = self.open();
        self.say(id, &announce(name));
        self.inbox(id);
        id
    }
}

/// Twenty characters that begin with `name`.
pub(crate) fn id(name: &str) -> String {
    format!("{name:-<20}")
}

/// An announce of peer `name` without offers.
pub(crate) fn announce(name: &str) -> Value {
    json!({"action": "announce", "info_hash": SITE, "peer_id": id(name), "left": 1, "uploaded": 0, "downloaded": 0})
}

/// An announce of peer `name` with `count` offers, named `<name>-0` and so on.
pub(crate) fn announce_offers(name: &str, count: usize) -> Value {
    let offers: Vec<Value> = (0..count)
        .map(|n| json!({"offer_id": id(&format!("{name}-{n}")), "offer": {"type": "offer", "sdp": format!("sdp of {name}-{n}")}}))
        .collect();
    let mut message = announce(name);
    message["numwant"] = json!(count);
    message["offers"] = json!(offers);
    message
}

/// The answer of peer `from` to an offer that it received.
pub(crate) fn answer(from: &str, offer: &Value) -> Value {
    json!({
        "action": "announce", "info_hash": offer["info_hash"], "peer_id": id(from), "to_peer_id": offer["peer_id"],
        "offer_id": offer["offer_id"], "answer": {"type": "answer", "sdp": format!("answer of {from}")},
    })
}
