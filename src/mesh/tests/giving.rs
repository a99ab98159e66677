//! Giving pieces: limits, pauses, budgets, many who ask, a store that has lost what it held.

use super::super::*;
use super::world::{World, piece, pieces};
use crate::digest::Digest;
use crate::port::Limits;
use crate::port::Why;
use crate::wire::Refusal;

fn refusals(world: &World, node: usize) -> Vec<(u32, Refusal)> {
    let refusal = |m: &Message| match m {
        Message::Refuse { request, why } => Some((*request, *why)),
        _ => None,
    };
    world.nodes[node].heard.iter().filter_map(refusal).collect()
}

/// Payload bytes and finished requests that a node without a mesh has heard.
fn payload(world: &World, node: usize) -> (usize, Vec<u32>) {
    let frames = world.nodes[node].heard.iter().filter_map(|m| match m {
        Message::Piece { frame, payload } => Some((frame, payload.len())),
        _ => None,
    });
    let done = frames.clone().filter(|(f, len)| f.offset as usize + len == f.total as usize).map(|(f, _)| f.request);
    (frames.map(|(_, len)| len).sum(), done.collect())
}

fn holder(held: &[(Digest, Vec<u8>)], strangers: u8) -> (World, usize, Vec<usize>) {
    let mut world = World::new();
    let a = world.join(held);
    world.run(1_000);
    let strangers = (0..strangers).map(|n| world.raw(a, n + 1)).collect();
    (world, a, strangers)
}

fn ask(world: &mut World, node: usize, request: u32, (digest, bytes): &(Digest, Vec<u8>)) {
    world.tell(node, &Message::Want { request, digest: *digest, len: bytes.len() as u32 });
}

#[test]
fn the_upload_rate_is_kept() {
    let held = pieces(20, 100_000);
    let mut world = World::new();
    let (a, b) = (world.join(&held), world.join(&[]));
    world.limit(a, Limits { upload_rate: 200_000, ..Limits::default() });
    world.run(2_000);
    world.want(b, 1, &held);
    world.run(5_000);
    let up = world.stats(a).up;
    assert!((900_000..=1_200_000).contains(&up), "{up} in 5 s at 200,000 a second");
    world.limit(a, Limits::default());
    world.run(2_000);
    assert_eq!(world.stats(a).up, 2_000_000);
}

#[test]
fn the_budget_is_never_exceeded_and_its_end_is_told() {
    let held = pieces(20, 100_000);
    let mut world = World::new();
    let (a, b) = (world.join(&held), world.join(&[]));
    world.limit(a, Limits { upload_budget: 750_000, ..Limits::default() });
    world.run(2_000);
    assert_eq!(world.want(b, 1, &held), vec![true; 20]);
    world.run(5_000);
    assert_eq!(world.stats(a).up, 700_000);
    assert_eq!(world.nodes[b].got.len(), 7);
    assert_eq!(world.gone(b).len(), 13);
    assert!(world.gone(b).iter().all(|(_, _, why)| *why == Why::Refused || *why == Why::NoHolder));
    assert!(world.stats(b).neighbours[0].choking);
    assert_eq!(world.want(b, 2, &held[19..]), [false]);
}

#[test]
fn a_pause_stops_everything_and_its_end_starts_it_again() {
    let held = pieces(20, 100_000);
    let mut world = World::new();
    let (a, b) = (world.join(&held), world.join(&[]));
    world.run(2_000);
    world.want(b, 1, &held);
    world.run(300);
    world.limit(a, Limits { paused: true, ..Limits::default() });
    world.run(200);
    let up = world.stats(a).up;
    assert!(up > 0);
    assert_eq!(world.nodes[b].got.len() + world.gone(b).len(), 20);
    assert_eq!(world.want(b, 2, &held), vec![false; 20]);
    world.run(5_000);
    assert_eq!(world.stats(a).up, up);
    let newcomer = world.join(&[]);
    world.run(2_000);
    assert!(world.stats(newcomer).neighbours.iter().any(|n| n.choking), "who comes later is told too");
    world.limit(a, Limits::default());
    world.run(500);
    assert_eq!(world.want(b, 3, &held[..1]), [true]);
    world.run(500);
    assert!(world.stats(a).up > up);
}

#[test]
fn neighbours_take_turns() {
    let held = pieces(10, 200_000);
    let (mut world, _, strangers) = holder(&held, 3);
    for &node in &strangers {
        for (n, piece) in held.iter().enumerate() {
            ask(&mut world, node, n as u32, piece);
        }
    }
    world.run(1_500);
    let sent: Vec<usize> = strangers.iter().map(|&s| payload(&world, s).0).collect();
    let (least, most) = (*sent.iter().min().unwrap(), *sent.iter().max().unwrap());
    assert!(least > 500_000 && most - least < 200_000, "{sent:?}");
}

#[test]
fn what_is_not_held_is_refused() {
    let held = [piece(1, 1_000)];
    let (mut world, _, strangers) = holder(&held, 1);
    ask(&mut world, strangers[0], 5, &piece(2, 1_000));
    ask(&mut world, strangers[0], 6, &(held[0].0, vec![0; 999]));
    world.run(100);
    assert_eq!(refusals(&world, strangers[0]), [(5, Refusal::NotHeld), (6, Refusal::NotHeld)]);
}

#[test]
fn more_questions_than_fit_are_refused_as_busy_and_the_rest_answered() {
    let held = pieces(100, 100_000);
    let (mut world, a, strangers) = holder(&held, 1);
    for (n, piece) in held.iter().enumerate() {
        ask(&mut world, strangers[0], n as u32, piece);
    }
    world.run(8_000);
    let refused = refusals(&world, strangers[0]);
    assert!(!refused.is_empty() && refused.iter().all(|(_, why)| *why == Refusal::Busy));
    let (bytes, done) = payload(&world, strangers[0]);
    assert_eq!(done.len() + refused.len(), 100);
    assert!(done.len() >= 64);
    assert_eq!(bytes, done.len() * 100_000);
    assert_eq!(world.neighbours(a), 1);
}

#[test]
fn a_cancelled_question_is_confirmed_and_costs_no_more() {
    let held = [piece(1, 1_000_000), piece(2, 1_000_000)];
    let (mut world, a, strangers) = holder(&held, 1);
    world.nodes[a].rate = 500;
    ask(&mut world, strangers[0], 1, &held[0]);
    ask(&mut world, strangers[0], 2, &held[1]);
    world.run(500);
    world.tell(strangers[0], &Message::Cancel { request: 1 });
    world.tell(strangers[0], &Message::Cancel { request: 77 });
    world.run(10_000);
    assert_eq!(refusals(&world, strangers[0]), [(1, Refusal::Cancelled)]);
    let (bytes, done) = payload(&world, strangers[0]);
    assert_eq!(done, [2]);
    assert!(bytes < 1_500_000);
}

#[test]
fn what_the_store_has_lost_is_told_to_everyone() {
    let held = pieces(2, 100_000);
    let (mut world, a, strangers) = holder(&held, 2);
    world.nodes[a].store.remove(&held[0].0);
    ask(&mut world, strangers[0], 1, &held[0]);
    ask(&mut world, strangers[0], 2, &held[1]);
    world.run(1_000);
    assert_eq!(refusals(&world, strangers[0]), [(1, Refusal::NotHeld)]);
    assert_eq!(payload(&world, strangers[0]).1, [2]);
    assert!(world.nodes[a].said.contains(&ToWorker::Evicted(held[0].0)));
    for node in strangers {
        assert!(world.nodes[node].heard.contains(&Message::Unhave(vec![held[0].0.prefix()])));
    }
}

#[test]
fn who_leaves_in_the_middle_leaves_nothing_behind() {
    let held = pieces(30, 200_000);
    let (mut world, a, strangers) = holder(&held, 2);
    for (n, piece) in held.iter().enumerate() {
        ask(&mut world, strangers[0], n as u32, piece);
    }
    world.run(100);
    world.tell(strangers[0], &Message::Goodbye);
    world.run(100);
    ask(&mut world, strangers[1], 1, &held[0]);
    world.run(1_000);
    assert_eq!(payload(&world, strangers[1]).1, [1]);
    assert_eq!(world.neighbours(a), 1);
}

#[test]
fn a_small_receiver_gets_small_frames() {
    let held = [piece(1, 50_000)];
    let mut world = World::new();
    let a = world.join(&held);
    world.run(1_000);
    let small = world.stranger(a, 1);
    let Message::Hello(hello) = super::world::hello(1) else { panic!("a hello") };
    world.tell(small, &Message::Hello(Hello { max_message: 1_000, ..hello }));
    world.run(100);
    ask(&mut world, small, 1, &held[0]);
    world.run(1_000);
    assert_eq!(payload(&world, small), (50_000, vec![1]));
    let longest = world.nodes[small].heard.iter().filter_map(|m| match m {
        Message::Piece { payload, .. } => Some(payload.end),
        _ => None,
    });
    assert_eq!(longest.max(), Some(1_000));
}
