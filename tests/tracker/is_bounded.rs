//! Nothing that a peer sends can make the tracker grow without bound, slow it for others, or break it.

use crate::peers::{SITE, Swarm, announce, announce_offers, id};
use peerage::rng::Rng;
use peerage::tracker::{CloseReason, Input, Limits};
use serde_json::{Value, json};

#[test]
fn a_flood_closes_the_connection_and_a_steady_rate_does_not() {
    let limits = Limits { messages_per_s: 10, burst: 20, ..Limits::default() };
    let mut swarm = Swarm::new(limits);
    let (flood, steady) = (swarm.join("flood"), swarm.join("steady"));
    for _ in 0..19 {
        swarm.say(flood, &announce("flood"));
    }
    assert_eq!(swarm.closed(flood), None);
    swarm.say(flood, &announce("flood"));
    assert_eq!(swarm.closed(flood), Some(CloseReason::TooManyMessages));
    for _ in 0..500 {
        swarm.now = swarm.now + 100;
        swarm.say(steady, &announce("steady"));
    }
    assert_eq!(swarm.closed(steady), None);
    assert_eq!(swarm.tracker.stats().peers, 1);
}

#[test]
fn a_long_message_closes_the_connection() {
    let mut swarm = Swarm::new(Limits::default());
    let a = swarm.join("a");
    let mut message = announce("a");
    message["padding"] = json!("x".repeat(Limits::default().message_bytes));
    swarm.say(a, &message);
    assert_eq!(swarm.closed(a), Some(CloseReason::MessageTooLong));
}

#[test]
fn a_long_description_is_refused() {
    let limits = Limits { sdp_bytes: 100, ..Limits::default() };
    let mut swarm = Swarm::new(limits);
    let (a, b) = (swarm.join("a"), swarm.join("b"));
    for (length, relayed) in [(100, 1), (101, 0)] {
        let mut message = announce_offers("a", 1);
        message["offers"][0]["offer"]["sdp"] = json!("x".repeat(length));
        swarm.say(a, &message);
        assert_eq!(swarm.inbox(b).len(), relayed, "{length}");
        assert_eq!(swarm.only(a)["failure reason"].is_string(), relayed == 0);
    }
}

#[test]
fn one_connection_announces_a_bounded_number_of_swarms() {
    let limits = Limits { swarms_per_connection: 3, ..Limits::default() };
    let mut swarm = Swarm::new(limits);
    let a = swarm.open();
    for n in 0..5 {
        let mut message = announce("a");
        message["info_hash"] = json!(id(&format!("swarm {n}")));
        swarm.say(a, &message);
        assert_eq!(swarm.only(a)["failure reason"].is_string(), n >= 3, "{n}");
    }
    assert_eq!((swarm.tracker.stats().swarms, swarm.tracker.stats().peers), (3, 3));
}

#[test]
fn peers_and_connections_are_bounded() {
    let mut swarm = Swarm::new(Limits { peers: 2, connections: 4, ..Limits::default() });
    let (a, _b, c) = (swarm.join("a"), swarm.join("b"), swarm.open());
    swarm.say(c, &announce("c"));
    assert_eq!(swarm.only(c)["failure reason"], "the tracker is full");
    swarm.say(a, &announce("a"));
    assert_eq!(swarm.only(a)["incomplete"], 2, "who is in stays in");
    swarm.open();
    let late = swarm.open();
    assert_eq!(swarm.closed(late), Some(CloseReason::Full));
    swarm.handle(Input::Closed(a));
    swarm.say(c, &announce("c"));
    assert_eq!(swarm.only(c)["incomplete"], 2, "there is room again");
}

#[test]
fn who_keeps_sending_nonsense_is_closed() {
    let mut swarm = Swarm::new(Limits { refusals: 4, ..Limits::default() });
    let a = swarm.open();
    for n in 0..4 {
        assert_eq!(swarm.closed(a), None, "{n}");
        swarm.handle(Input::Message(a, "nonsense"));
        assert!(swarm.only(a)["failure reason"].is_string());
    }
    assert_eq!(swarm.closed(a), Some(CloseReason::TooManyRefused));
}

#[test]
fn bad_messages_are_refused_with_their_reason() {
    let offer = json!({"offer_id": id("o"), "offer": {"type": "offer", "sdp": "s"}});
    let with = |key: &str, value: Value| {
        let mut message = announce("a");
        message[key] = value;
        message
    };
    let cases = [
        json!([]),
        json!("announce"),
        json!({}),
        json!({"action": "destroy"}),
        json!({"action": "announce"}),
        json!({"action": "announce", "info_hash": SITE}),
        json!({"action": "announce", "info_hash": [SITE], "peer_id": id("a")}),
        json!({"action": "announce", "info_hash": "short", "peer_id": id("a")}),
        with("peer_id", json!("short")),
        with("info_hash", json!("€€€€€€€€€€€€€€€€€€€€")),
        with("event", json!("exploded")),
        with("left", json!([1])),
        with("numwant", json!({})),
        with("offers", json!("offer")),
        with("offers", json!([1])),
        with("offers", json!([{"offer_id": "short", "offer": offer["offer"]}])),
        with("offers", json!([{"offer_id": id("o"), "offer": {"type": "answer", "sdp": "s"}}])),
        with("offers", json!([{"offer_id": id("o"), "offer": {"type": "offer", "sdp": {}}}])),
        with("answer", json!({"type": "offer", "sdp": "s"})),
        with("answer", json!({"type": "answer", "sdp": "s"})),
        json!({"action": "scrape", "info_hash": 7}),
        json!({"action": "scrape", "info_hash": vec![SITE; 65]}),
    ];
    for message in cases {
        let mut swarm = Swarm::new(Limits::default());
        let (a, b) = (swarm.open(), swarm.join("b"));
        swarm.say(a, &message);
        assert!(swarm.only(a)["failure reason"].is_string(), "{message}");
        assert!(swarm.inbox(b).is_empty(), "{message}");
        assert_eq!(swarm.tracker.stats().refused, 1, "{message}");
    }
}

#[test]
fn no_text_breaks_it() {
    let mut swarm = Swarm::new(Limits { refusals: u32::MAX, messages_per_s: 0, ..Limits::default() });
    let (a, b) = (swarm.join("a"), swarm.join("b"));
    swarm.say(a, &announce_offers("a", 1));
    let seeds = [
        announce_offers("a", 3).to_string(),
        crate::peers::answer("a", &swarm.only(b)).to_string(),
        json!({"action": "scrape", "info_hash": [SITE]}).to_string(),
        String::from(r#"{"action":"announce","info_hash":"\u0000\ud83d\ude00\ud83d"}"#),
        "[".repeat(60_000),
    ];
    let mut rng = Rng::new(11);
    for _ in 0..3000 {
        let mut text = seeds[rng.below(seeds.len() as u64) as usize].clone().into_bytes();
        for _ in 0..=rng.below(4) {
            let at = rng.below(text.len() as u64) as usize;
            match rng.below(3) {
                0 => text[at] = rng.next_u64() as u8,
                1 => text.truncate(at.max(1)),
                _ => text.insert(at, b"\"\\{}[],:0-e"[rng.below(11) as usize]),
            }
        }
        swarm.handle(Input::Message(a, &String::from_utf8_lossy(&text)));
        swarm.inbox(a);
        swarm.inbox(b);
    }
    swarm.say(b, &announce("b"));
    assert!(swarm.only(b)["interval"].is_u64(), "it still works");
}
