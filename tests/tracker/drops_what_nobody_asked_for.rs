//! Nobody speaks in another's name: answers pass only where that offer was relayed to that peer, and a peer id belongs to
//! the connection that announced it.

use crate::peers::{SITE, Swarm, announce, announce_offers, answer, id};
use peerage::tracker::Limits;
use serde_json::{Value, json};

/// Three peers; the offer of `a` reached exactly one of the others.
fn offered() -> (Swarm, Value, [peerage::tracker::ConnectionId; 3], [&'static str; 2]) {
    let mut swarm = Swarm::new(Limits::default());
    let (a, b, c) = (swarm.join("a"), swarm.join("b"), swarm.join("c"));
    swarm.say(a, &announce_offers("a", 1));
    swarm.inbox(a);
    let (to_b, to_c) = (swarm.inbox(b), swarm.inbox(c));
    let (offer, names) = match (to_b.first(), to_c.first()) {
        (Some(offer), None) => (offer.clone(), ["b", "c"]),
        (None, Some(offer)) => (offer.clone(), ["c", "b"]),
        other => panic!("{other:?}"),
    };
    let (taker, other) = if names[0] == "b" { (b, c) } else { (c, b) };
    (swarm, offer, [a, taker, other], names)
}

#[test]
fn an_answer_to_an_offer_that_went_to_another_is_dropped() {
    let (mut swarm, offer, [a, taker, other], [taker_name, other_name]) = offered();
    swarm.say(other, &answer(other_name, &offer));
    assert!(swarm.inbox(a).is_empty());
    assert_eq!(swarm.tracker.stats().stray_answers, 1);
    swarm.say(taker, &answer(taker_name, &offer));
    assert_eq!(swarm.only(a)["peer_id"], id(taker_name), "the real one still passes");
}

#[test]
fn an_answer_passes_once() {
    let (mut swarm, offer, [a, taker, _], [name, _]) = offered();
    swarm.say(taker, &answer(name, &offer));
    swarm.say(taker, &answer(name, &offer));
    assert_eq!(swarm.inbox(a).len(), 1);
}

#[test]
fn an_answer_to_an_offer_that_was_never_made_is_dropped() {
    let (mut swarm, mut offer, [a, taker, _], [name, _]) = offered();
    offer["offer_id"] = json!(id("invented"));
    swarm.say(taker, &answer(name, &offer));
    assert!(swarm.inbox(a).is_empty());
}

#[test]
fn an_answer_to_another_swarm_is_dropped() {
    let (mut swarm, mut offer, [a, taker, _], [name, _]) = offered();
    offer["info_hash"] = json!("other-other-other-ot");
    swarm.say(taker, &answer(name, &offer));
    assert!(swarm.inbox(a).is_empty());
}

#[test]
fn an_answer_that_comes_too_late_is_dropped() {
    let (mut swarm, offer, [a, taker, _], [name, _]) = offered();
    swarm.wait(Limits::default().offer_ms);
    swarm.say(taker, &answer(name, &offer));
    assert!(swarm.inbox(a).is_empty());
}

#[test]
fn more_offers_than_can_wait_push_out_the_oldest() {
    let mut swarm = Swarm::new(Limits { pending_offers: 3, ..Limits::default() });
    let (a, b) = (swarm.join("a"), swarm.join("b"));
    let mut offers = Vec::new();
    for n in 0..4 {
        let mut message = announce_offers("a", 1);
        message["offers"][0]["offer_id"] = json!(id(&format!("offer-{n}")));
        swarm.say(a, &message);
        offers.push(swarm.only(b));
    }
    swarm.inbox(a);
    for offer in &offers {
        swarm.say(b, &answer("b", offer));
    }
    let answered: Vec<Value> = swarm.inbox(a).into_iter().map(|m| m["offer_id"].clone()).collect();
    assert_eq!(answered, [json!(id("offer-1")), json!(id("offer-2")), json!(id("offer-3"))]);
}

#[test]
fn a_peer_id_belongs_to_its_connection() {
    let mut swarm = Swarm::new(Limits::default());
    let a = swarm.join("a");
    let thief = swarm.open();
    swarm.say(thief, &announce("a"));
    let refused = swarm.only(thief);
    assert_eq!(refused["failure reason"], "this peer_id is in use on another connection");
    assert_eq!((&refused["action"], &refused["info_hash"]), (&json!("announce"), &json!(SITE)));
    let mut stop = announce("a");
    stop["event"] = json!("stopped");
    swarm.say(thief, &stop);
    swarm.inbox(thief);
    assert_eq!(swarm.tracker.stats().peers, 1, "nor can another end it");
    swarm.say(a, &announce("a"));
    assert_eq!(swarm.only(a)["incomplete"], 1);
}

#[test]
fn a_connection_has_one_peer_id_in_a_swarm() {
    let mut swarm = Swarm::new(Limits::default());
    let a = swarm.join("a");
    swarm.say(a, &announce("a2"));
    assert_eq!(swarm.only(a)["failure reason"], "only one peer_id for each info_hash on a connection");
    assert_eq!(swarm.tracker.stats().peers, 1);
}
