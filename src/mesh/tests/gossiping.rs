//! Neighbours who abuse shuffles and signals: forged names, circles, floods, answers to nothing.

use super::super::*;
use super::world::World;
use crate::wire::{Kind, Known, MAX_DESCRIPTION, MAX_KNOWN, Shuffle, Signal};

fn offer(id: u8, from: u8, to: NodeId) -> Message {
    let kind = Kind::Offer { urgent: true };
    Message::Signal(Signal { kind, ttl: 9, id: [id; 20], from: name(from), to, sdp: "v=0".into() })
}

fn name(name: u8) -> NodeId {
    NodeId([name; 20])
}

/// A mesh with two strangers as neighbours.
fn between() -> (World, usize, usize, usize) {
    let mut world = World::new();
    world.tracker_up = true;
    let a = world.join(&[]);
    world.run(1_000);
    let (left, right) = (world.raw(a, 1), world.raw(a, 2));
    world.run(1_000);
    (world, a, left, right)
}

fn heard(world: &World, node: usize, is: impl Fn(&Signal) -> bool) -> usize {
    world.nodes[node].heard.iter().filter(|m| matches!(m, Message::Signal(s) if is(s))).count()
}

#[test]
fn an_offer_is_carried_to_a_neighbour_and_one_answer_back() {
    let (mut world, _, left, right) = between();
    world.tell(left, &offer(7, 1, name(2)));
    world.run(100);
    let there = |s: &Signal| matches!(s.kind, Kind::Offer { .. }) && s.ttl < 9 && s.from == name(1) && s.sdp == "v=0";
    assert_eq!(heard(&world, right, there), 1);
    let answer = |kind, sdp: &str| {
        Message::Signal(Signal { kind, ttl: 0, id: [7; 20], from: name(2), to: name(1), sdp: sdp.into() })
    };
    for _ in 0..3 {
        world.tell(right, &answer(Kind::Answer, "v=1"));
        world.tell(right, &answer(Kind::Refusal, ""));
    }
    world.run(100);
    assert_eq!(heard(&world, left, |s| s.kind == Kind::Answer && s.sdp == "v=1"), 1);
    assert_eq!(heard(&world, left, |s| s.kind == Kind::Refusal), 0);
}

#[test]
fn what_was_not_asked_for_is_not_carried() {
    let (mut world, a, left, right) = between();
    for (kind, sdp) in [(Kind::Answer, "v=0"), (Kind::Refusal, "")] {
        world.tell(
            left,
            &Message::Signal(Signal { kind, ttl: 9, id: [7; 20], from: name(1), to: name(2), sdp: sdp.into() }),
        );
        let to = world.mesh(a).node();
        world.tell(left, &Message::Signal(Signal { kind, ttl: 9, id: [7; 20], from: name(1), to, sdp: sdp.into() }));
    }
    world.run(100);
    assert_eq!(heard(&world, right, |_| true), 0);
    assert_eq!((world.neighbours(a), world.stats(a).connections), (2, 4), "its own two offers, and the strangers'");
    // Nor is an answer taken from where the offer did not go.
    world.tell(left, &offer(7, 1, name(2)));
    world.run(100);
    let (from, to) = (name(2), name(1));
    world.tell(left, &Message::Signal(Signal { kind: Kind::Answer, ttl: 0, id: [7; 20], from, to, sdp: "v=0".into() }));
    world.run(100);
    assert_eq!(heard(&world, left, |s| s.kind == Kind::Answer), 0);
}

#[test]
fn circles_and_ways_to_nowhere_end_in_a_refusal() {
    let (mut world, a, left, right) = between();
    let own = world.mesh(a).node();
    // To nobody; back where it came from; under our own name; the same once more, from the other side.
    world.tell(left, &offer(1, 1, name(99)));
    world.tell(left, &offer(2, 50, name(1)));
    world.tell(
        left,
        &Message::Signal(Signal {
            kind: Kind::Offer { urgent: true },
            ttl: 9,
            id: [3; 20],
            from: own,
            to: name(2),
            sdp: "v=0".into(),
        }),
    );
    world.run(100);
    assert_eq!((heard(&world, left, |s| s.kind == Kind::Refusal), heard(&world, right, |_| true)), (3, 0));
    world.tell(left, &offer(4, 1, name(2)));
    world.run(100);
    world.tell(right, &offer(4, 1, name(1)));
    world.run(100);
    assert_eq!(
        (heard(&world, right, |s| s.kind == Kind::Refusal), heard(&world, left, |s| s.kind != Kind::Refusal)),
        (1, 0)
    );
    // With no hops left.
    let kind = Kind::Offer { urgent: true };
    world.tell(
        left,
        &Message::Signal(Signal { kind, ttl: 0, id: [5; 20], from: name(1), to: name(2), sdp: "v=0".into() }),
    );
    world.run(100);
    assert_eq!(heard(&world, right, |s| s.id == [5; 20]), 0);
}

#[test]
fn forged_offers_cost_few_connections_and_none_to_whom_we_know() {
    let (mut world, a, left, right) = between();
    let (own, before) = (world.mesh(a).node(), world.stats(a).connections);
    for from in [1, 2] {
        world.tell(left, &offer(90 + from, from, own));
    }
    world.run(10_000);
    assert_eq!(world.stats(a).connections, before, "they are neighbours already");
    for round in 0..600_u32 {
        world.tell(left, &offer(100 + (round % 100) as u8, 100 + (round % 100) as u8, own));
        world.tell(right, &Message::Pong(0));
        world.run(500);
    }
    let spent = world.stats(a).connections - before;
    assert!((8..=32).contains(&spent), "{spent} connections for 600 offers in five minutes");
    assert_eq!(world.neighbours(a), 2, "whoever brings few a second is kept");
}

#[test]
fn one_neighbour_cannot_make_us_flood_another() {
    let (mut world, a, left, right) = between();
    for id in 0..60 {
        world.tell(left, &offer(id, 1, name(2)));
    }
    world.run(1_000);
    assert!(heard(&world, right, |_| true) <= 17);
    assert_eq!(world.neighbours(a), 2);
}

#[test]
fn floods_of_gossip_drop_their_sender() {
    let known = (0..MAX_KNOWN as u8).map(|n| Known { node: name(n), hops: 1, age: 0 }).collect::<Vec<_>>();
    let sdp = "x".repeat(MAX_DESCRIPTION);
    let kind = Kind::Answer;
    let floods = [
        offer(1, 1, name(2)),
        Message::Shuffle(Shuffle { answer: false, known: known.clone() }),
        Message::Shuffle(Shuffle { answer: true, known }),
        Message::Signal(Signal { kind, ttl: 0, id: [1; 20], from: name(1), to: name(2), sdp }),
    ];
    for message in floods {
        let (mut world, a, left, _) = between();
        for _ in 0..100 {
            world.tell(left, &message);
        }
        world.run(1_000);
        assert_eq!((world.neighbours(a), world.dropped(a, Reason::Flood)), (1, 1));
        assert!(world.nodes[left].heard.len() < 60, "one answer each at most, and few");
    }
}

#[test]
fn a_passive_view_is_bounded_however_much_is_told() {
    let (mut world, a, left, right) = between();
    for round in 0..40_u8 {
        for node in [left, right] {
            let known = (0..MAX_KNOWN as u8).map(|n| Known {
                node: NodeId([[round, n, node as u8, 1]; 5].concat().try_into().unwrap()),
                hops: 1 + n % 8,
                age: u16::from(n) * 20,
            });
            world.tell(node, &Message::Shuffle(Shuffle { answer: false, known: known.collect() }));
        }
        world.run(2_000);
    }
    let (all, most) = world.mesh(a).membership.size();
    assert!(all <= 30 && most <= 15, "{all} nodes, {most} of one neighbour");
    assert_eq!(world.neighbours(a), 2);
    assert!(world.stats(a).connections < 12, "offers to nobody are made again to others");
}

#[test]
fn banned_nodes_and_ourselves_do_not_come_into_view() {
    let (mut world, a, left, right) = between();
    world.tell_bytes(right, vec![4; 10]);
    world.run(100);
    assert_eq!(world.dropped(a, Reason::Malformed), 1);
    let known = [name(2), world.mesh(a).node(), name(1)].map(|node| Known { node, hops: 1, age: 0 });
    world.tell(left, &Message::Shuffle(Shuffle { answer: false, known: known.to_vec() }));
    world.run(100);
    assert_eq!(world.mesh(a).membership.size().0, 0);
    // An offer of a banned node is refused, too.
    let own = world.mesh(a).node();
    let before = world.stats(a).connections;
    world.tell(left, &offer(7, 2, own));
    world.run(100);
    assert_eq!((heard(&world, left, |s| s.kind == Kind::Refusal), world.stats(a).connections), (1, before));
}

#[test]
fn who_does_not_answer_is_not_asked_again_at_once() {
    let (mut world, a, left, _) = between();
    let known = vec![Known { node: name(9), hops: 1, age: 0 }];
    let asked = |w: &World| heard(w, left, |s| s.to == name(9) && matches!(s.kind, Kind::Offer { .. }));
    for _ in 0..10 {
        world.tell(left, &Message::Shuffle(Shuffle { answer: false, known: known.clone() }));
        world.run(5_000);
    }
    assert_eq!(asked(&world), 1);
    assert_eq!(world.neighbours(a), 1, "the other stranger fell silent");
}
