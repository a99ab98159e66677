//! Who leaves, falls silent or is cut off is no longer counted or offered to.

use crate::peers::{Swarm, announce, announce_offers};
use peerage::Millis;
use peerage::tracker::{CloseReason, Input, Limits};
use serde_json::json;

#[test]
fn who_stops_is_gone_at_once_and_can_come_back() {
    let mut swarm = Swarm::new(Limits::default());
    let (a, b) = (swarm.join("a"), swarm.join("b"));
    let mut stop = announce("a");
    stop["event"] = json!("stopped");
    swarm.say(a, &stop);
    assert_eq!(swarm.only(a)["incomplete"], 1, "a stop is acknowledged");
    swarm.say(b, &announce_offers("b", 1));
    assert_eq!(swarm.only(b)["incomplete"], 1);
    assert!(swarm.inbox(a).is_empty());
    swarm.say(a, &announce("a"));
    assert_eq!(swarm.only(a)["incomplete"], 2);
}

#[test]
fn who_stops_without_having_started_changes_nothing() {
    let mut swarm = Swarm::new(Limits::default());
    let a = swarm.open();
    let mut stop = announce("a");
    stop["event"] = json!("stopped");
    swarm.say(a, &stop);
    assert_eq!(swarm.only(a)["incomplete"], 0);
    assert_eq!((swarm.tracker.stats().peers, swarm.tracker.stats().swarms), (0, 0));
}

#[test]
fn who_completes_is_counted_so() {
    let mut swarm = Swarm::new(Limits::default());
    let a = swarm.join("a");
    let counts = |swarm: &mut Swarm, change: &dyn Fn(&mut serde_json::Value)| {
        let mut message = announce("a");
        change(&mut message);
        swarm.say(a, &message);
        let reply = swarm.only(a);
        (reply["complete"].as_u64().unwrap(), reply["incomplete"].as_u64().unwrap())
    };
    assert_eq!(counts(&mut swarm, &|m| m["event"] = json!("completed")), (1, 0));
    assert_eq!(counts(&mut swarm, &|m| m["left"] = json!(null)), (1, 0), "not said again");
    assert_eq!(counts(&mut swarm, &|m| m["left"] = json!(9)), (0, 1), "a new version is to be had");
    assert_eq!(counts(&mut swarm, &|m| m["left"] = json!(0)), (1, 0));
    swarm.handle(Input::Closed(a));
    let b = swarm.open();
    swarm.say(b, &announce("b"));
    assert_eq!(swarm.only(b)["complete"], 0);
}

#[test]
fn a_closed_connection_takes_its_peers_along() {
    let mut swarm = Swarm::new(Limits::default());
    let a = swarm.join("a");
    let mut elsewhere = announce("a");
    elsewhere["info_hash"] = json!("other-other-other-ot");
    swarm.say(a, &elsewhere);
    assert_eq!((swarm.tracker.stats().peers, swarm.tracker.stats().swarms), (2, 2));
    swarm.handle(Input::Closed(a));
    let stats = swarm.tracker.stats();
    assert_eq!((stats.peers, stats.swarms, stats.connections), (0, 0, 0));
    swarm.say(a, &announce("a"));
    assert_eq!(swarm.tracker.stats().peers, 0, "what comes after is ignored");
}

#[test]
fn who_falls_silent_is_dropped_and_the_connection_closed() {
    let limits = Limits::default();
    let mut swarm = Swarm::new(limits.clone());
    let (a, b) = (swarm.join("a"), swarm.join("b"));
    for _ in 0..3 {
        swarm.wait(limits.silence_ms / 2);
        swarm.say(b, &announce("b"));
    }
    assert_eq!(swarm.inbox(b).last().unwrap()["incomplete"], 1);
    assert_eq!(swarm.closed(a), Some(CloseReason::Silent));
    assert_eq!(swarm.closed(b), None);
    assert_eq!(swarm.tracker.stats().silent, 1);
    assert_eq!(swarm.tracker.stats().connections, 1);
}

#[test]
fn a_tracker_without_connections_has_nothing_to_wait_for() {
    let limits = Limits::default();
    let mut swarm = Swarm::new(limits.clone());
    assert_eq!(swarm.tracker.deadline(), None);
    let a = swarm.join("a");
    assert!(swarm.tracker.deadline().is_some_and(|d| d > swarm.now && d <= swarm.now + limits.silence_ms));
    swarm.handle(Input::Closed(a));
    swarm.wait(10 * limits.silence_ms);
    assert_eq!(swarm.tracker.deadline(), None);
}

#[test]
fn offers_reach_only_who_is_there_after_much_coming_and_going() {
    let mut swarm = Swarm::new(Limits { messages_per_s: 0, ..Limits::default() });
    let a = swarm.join("a");
    let mut there = std::collections::BTreeMap::new();
    let mut rng = peerage::rng::Rng::new(5);
    for n in 0..400_u64 {
        swarm.now = Millis(swarm.now.0 + 10);
        if rng.below(5) < 3 || there.is_empty() {
            there.insert(n, swarm.join(&format!("p{n}")));
        } else {
            let gone = *there.keys().nth(rng.below(there.len() as u64) as usize).unwrap();
            let connection = there.remove(&gone).unwrap();
            swarm.handle(Input::Closed(connection));
        }
        swarm.say(a, &announce_offers("a", 3));
        assert_eq!(swarm.only(a)["incomplete"], there.len() + 1);
        let got: usize = there.values().map(|c| swarm.inbox(*c).len()).sum();
        assert_eq!(got, there.len().min(3));
    }
}
