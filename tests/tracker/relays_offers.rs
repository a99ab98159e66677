//! Peers of one info hash find each other: offers go to others of the same swarm, answers go back.

use std::collections::BTreeSet;

use crate::peers::{SITE, Swarm, announce, announce_offers, answer, id};
use peerage::tracker::Limits;
use serde_json::json;

#[test]
fn an_announce_is_answered_with_the_counts() {
    let mut swarm = Swarm::new(Limits::default());
    swarm.join("a");
    let seed = swarm.open();
    let mut message = announce("seed");
    message["left"] = json!(0);
    swarm.say(seed, &message);
    assert_eq!(
        swarm.only(seed),
        json!({"action": "announce", "info_hash": SITE, "interval": 120, "complete": 1, "incomplete": 1})
    );
}

#[test]
fn an_offer_goes_to_another_peer_and_its_answer_comes_back() {
    let mut swarm = Swarm::new(Limits::default());
    let (a, b) = (swarm.join("a"), swarm.join("b"));
    swarm.say(a, &announce_offers("a", 1));
    let offer = swarm.only(b);
    assert_eq!(
        offer,
        json!({
            "action": "announce", "info_hash": SITE, "peer_id": id("a"), "offer_id": id("a-0"),
            "offer": {"type": "offer", "sdp": "sdp of a-0"},
        })
    );
    swarm.inbox(a);
    swarm.say(b, &answer("b", &offer));
    assert_eq!(
        swarm.only(a),
        json!({
            "action": "announce", "info_hash": SITE, "peer_id": id("b"), "offer_id": id("a-0"),
            "answer": {"type": "answer", "sdp": "answer of b"},
        })
    );
    assert_eq!(swarm.inbox(b), Vec::<serde_json::Value>::new(), "an answer is not acknowledged");
}

#[test]
fn each_offer_goes_to_a_different_peer_and_over_time_to_all() {
    let mut swarm = Swarm::new(Limits { messages_per_s: 0, ..Limits::default() });
    let a = swarm.join("a");
    let others: Vec<_> = (0..12).map(|n| swarm.join(&format!("b{n}"))).collect();
    let mut reached = BTreeSet::new();
    for _ in 0..20 {
        swarm.say(a, &announce_offers("a", 5));
        assert_eq!(swarm.only(a)["incomplete"], 13, "no offer comes back to its own peer");
        let mut this_time = 0;
        for (n, other) in others.iter().enumerate() {
            let offers = swarm.inbox(*other);
            assert!(offers.len() <= 1, "{offers:?}");
            this_time += offers.len();
            reached.extend(offers.first().map(|_| n));
        }
        assert_eq!(this_time, 5);
    }
    assert_eq!(reached.len(), 12, "100 random choices leave out nobody of 12");
}

#[test]
fn the_choice_is_the_seeds() {
    let choice = |seed| {
        let mut swarm = Swarm::seeded(Limits::default(), seed);
        let a = swarm.join("a");
        let others: Vec<_> = (0..20).map(|n| swarm.join(&format!("b{n}"))).collect();
        swarm.say(a, &announce_offers("a", 5));
        others.iter().map(|other| swarm.inbox(*other).len()).collect::<Vec<_>>()
    };
    assert_eq!(choice(1), choice(1));
    assert_ne!(choice(1), choice(2));
}

#[test]
fn no_more_offers_are_relayed_than_wanted_sent_allowed_or_takers() {
    let relayed = |peers: usize, offers: usize, numwant: serde_json::Value| {
        let mut swarm = Swarm::new(Limits { offers: 10, ..Limits::default() });
        let a = swarm.join("a");
        let others: Vec<_> = (0..peers).map(|n| swarm.join(&format!("b{n}"))).collect();
        let mut message = announce_offers("a", offers);
        message["numwant"] = numwant;
        swarm.say(a, &message);
        others.iter().map(|other| swarm.inbox(*other).len()).sum::<usize>()
    };
    assert_eq!(relayed(15, 5, json!(3)), 3, "wanted");
    assert_eq!(relayed(15, 5, json!(50)), 5, "sent");
    assert_eq!(relayed(15, 5, json!(null)), 5, "sent, where no number is wanted");
    assert_eq!(relayed(15, 14, json!(14)), 10, "allowed");
    assert_eq!(relayed(2, 5, json!(5)), 2, "takers");
    assert_eq!(relayed(0, 5, json!(5)), 0, "nobody else there");
}

#[test]
fn other_info_hashes_are_other_worlds() {
    let mut swarm = Swarm::new(Limits::default());
    let a = swarm.join("a");
    let b = swarm.open();
    let mut elsewhere = announce("b");
    elsewhere["info_hash"] = json!("other-other-other-ot");
    swarm.say(b, &elsewhere);
    assert_eq!(swarm.only(b)["incomplete"], 1);
    swarm.say(a, &announce_offers("a", 5));
    assert_eq!(swarm.only(a)["incomplete"], 1);
    assert!(swarm.inbox(b).is_empty());
}

#[test]
fn ids_of_any_bytes_survive() {
    let binary: String = (236..=255_u8).map(char::from).collect();
    let control: String = (0..20_u8).map(char::from).collect();
    let mut swarm = Swarm::new(Limits::default());
    let (a, b) = (swarm.open(), swarm.open());
    for (connection, peer) in [(a, &control), (b, &binary)] {
        swarm.say(connection, &json!({"action": "announce", "info_hash": binary, "peer_id": peer}));
        assert_eq!(swarm.only(connection)["info_hash"], json!(binary));
    }
    let offers = json!([{"offer_id": control, "offer": {"type": "offer", "sdp": "\"\\\r\n ü\u{1F600}"}}]);
    swarm.say(a, &json!({"action": "announce", "info_hash": binary, "peer_id": control, "offers": offers}));
    let offer = swarm.only(b);
    assert_eq!((&offer["peer_id"], &offer["offer_id"]), (&json!(control), &json!(control)));
    assert_eq!(offer["offer"]["sdp"], "\"\\\r\n ü\u{1F600}");
}

#[test]
fn scrapes_count_one_many_or_all() {
    let mut swarm = Swarm::new(Limits::default());
    let a = swarm.join("a");
    let other = "other-other-other-ot";
    let mut done = announce("x");
    done["info_hash"] = json!(other);
    done["event"] = json!("completed");
    swarm.say(a, &done);
    swarm.inbox(a);
    let site = json!({"complete": 0, "incomplete": 1, "downloaded": 0});
    let others = json!({"complete": 1, "incomplete": 0, "downloaded": 1});
    let nobody = json!({"complete": 0, "incomplete": 0, "downloaded": 0});
    for (hashes, files) in [
        (json!(SITE), json!({SITE: site})),
        (json!([SITE, "unknown-unknown-unkn"]), json!({SITE: site, "unknown-unknown-unkn": nobody})),
        (json!(null), json!({SITE: site, other: others})),
    ] {
        swarm.say(a, &json!({"action": "scrape", "info_hash": hashes}));
        let reply = swarm.only(a);
        assert_eq!(reply["action"], "scrape");
        assert_eq!(reply["files"], files, "{hashes}");
    }
}
