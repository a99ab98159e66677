//! Taking pieces: pipelines, several sources, refusals, late and dead neighbours, cancellations, deadlines.

use super::super::*;
use super::world::{World, piece, pieces, wanted};
use crate::digest::Digest;
use crate::port::{Held, Priority, Wanted, Why};
use crate::wire::Refusal;

/// One who holds these pieces and one who does not, connected.
fn pair(held: &[(Digest, Vec<u8>)]) -> (World, usize, usize) {
    let mut world = World::new();
    let (a, b) = (world.join(held), world.join(&[]));
    assert!(world.until(2_000, |w| w.neighbours(a) == 1 && w.neighbours(b) == 1));
    world.run(500);
    (world, a, b)
}

fn got_all(world: &World, node: usize, held: &[(Digest, Vec<u8>)]) -> bool {
    held.iter().all(|(d, b)| world.nodes[node].got.iter().any(|(digest, bytes, _, _)| digest == d && bytes == b))
}

#[test]
fn pieces_of_every_size_arrive_whole() {
    let sizes = [1, 2, 13, 65_522, 65_523, 65_524, 131_046, 200_000, 1_048_576, 4 * 1024 * 1024];
    let held: Vec<_> = sizes.iter().enumerate().map(|(n, &len)| piece(n as u8, len)).collect();
    let (mut world, a, b) = pair(&held);
    assert_eq!(world.want(b, 1, &held), vec![true; held.len()]);
    assert!(world.until(20_000, |w| got_all(w, b, &held)));
    assert!(world.nodes[b].got.iter().all(|(_, _, peer, ids)| *peer == world.peer(b, a) && *ids == [1]));
    let total: usize = sizes.iter().sum();
    assert_eq!((world.stats(b).down, world.stats(a).up, world.stats(b).wasted), (total as u64, total as u64, 0));
}

#[test]
fn what_no_neighbour_holds_is_declined_at_once() {
    let held = pieces(2, 1_000);
    let (mut world, _, b) = pair(&held[..1]);
    assert_eq!(world.want(b, 1, &held), [true, false]);
    assert_eq!(world.want(b, 1, &held), [false, false], "a want's number is in use until it has ended");
    assert_eq!(world.want(b, 2, &[(held[0].0, vec![0; 999])]), [false], "another length is another piece");
    assert!(world.until(1_000, |w| got_all(w, b, &held[..1])));
    assert!(world.gone(b).is_empty());
}

#[test]
fn questions_are_asked_ahead_so_that_the_path_is_full() {
    let held = pieces(80, 256 * 1024);
    let (mut world, a, b) = pair(&held);
    world.delay = 50;
    let began = world.now;
    world.want(b, 1, &held);
    assert!(world.until(60_000, |w| got_all(w, b, &held)));
    let ideal = (80 * 256 * 1024 / world.nodes[a].rate) as u64 + 2 * world.delay;
    let took = world.now - began;
    assert!(took < ideal * 103 / 100, "{took} ms, at best {ideal}");
}

#[test]
fn a_channel_is_kept_full_and_not_fuller() {
    let held = pieces(20, 256 * 1024);
    let (mut world, a, b) = pair(&held);
    world.want(b, 1, &held);
    assert!(world.until(60_000, |w| got_all(w, b, &held)));
    let most = world.nodes[a].most_buffered;
    assert!((64 * 1024..129 * 1024).contains(&most), "{most}");
}

#[test]
fn pieces_come_in_the_order_of_need_and_pages_come_first() {
    let held = pieces(40, 100_000);
    let (mut world, _, b) = pair(&held);
    world.want_as(b, 1, Priority::Background, 60_000, &held[..20]);
    world.want(b, 2, &held[20..]);
    assert!(world.until(60_000, |w| got_all(w, b, &held)));
    let order: Vec<u32> = world.nodes[b].got.iter().map(|(_, _, _, ids)| ids[0]).collect();
    let last_page = order.iter().rposition(|&id| id == 2).unwrap();
    assert!(last_page < 34, "{order:?}");
    let pages: Vec<Digest> = world.nodes[b].got.iter().filter(|g| g.3 == [2]).map(|g| g.0).collect();
    assert_eq!(pages, held[20..].iter().map(|(d, _)| *d).collect::<Vec<_>>());
}

#[test]
fn background_pieces_come_rarest_first() {
    let held = pieces(30, 100_000);
    let (common, rare) = held.split_at(20);
    for (priority, rarest_first) in [(Priority::Background, true), (Priority::Page, false)] {
        let mut world = World::new();
        let (one, two, all) = (world.join(common), world.join(common), world.join(&held));
        let visitor = world.join(&[]);
        assert!(world.until(2_000, |w| w.neighbours(visitor) == 3));
        world.run(1_000);
        world.want_as(visitor, 1, priority, 60_000, &held);
        assert!(world.until(60_000, |w| got_all(w, visitor, &held)));
        let giver = world.peer(visitor, all);
        let got: Vec<_> = world.nodes[visitor].got.iter().filter(|got| got.2 == giver).map(|got| got.0).collect();
        let first = &got[..rare.len()];
        assert_eq!(first.iter().all(|digest| rare.iter().any(|(d, _)| d == digest)), rarest_first, "{priority:?}");
        let others: u64 = [one, two].iter().map(|&node| world.stats(node).up).sum();
        assert!(others > 0);
    }
}

#[test]
fn who_takes_the_same_at_the_same_time_takes_it_from_each_other() {
    // As a page reads a large file: a window of it is wanted, in order.
    const WINDOW: usize = 32;
    let held = pieces(120, 256 * 1024);
    let mut world = World::new();
    let giver = world.join(&held);
    world.nodes[giver].rate = 700;
    let takers = [world.join(&[]), world.join(&[]), world.join(&[])];
    assert!(world.until(20_000, |w| takers.iter().all(|&taker| w.connected(taker, giver) && w.neighbours(taker) == 3)));
    world.run(1_000);
    let mut next = [0; 3];
    // Where each reads, and since when, and how long one stood still at most.
    let mut reads = [(0, world.now); 3];
    let mut stood = 0;
    while takers.iter().any(|&taker| !got_all(&world, taker, &held)) {
        assert!(world.now < 600_000, "it takes too long");
        for ((taker, next), at) in takers.iter().copied().zip(&mut next).zip(&mut reads) {
            let has = |n: usize| world.nodes[taker].got.iter().any(|got| got.0 == held[n].0);
            let read = (0..held.len()).find(|&n| !has(n)).unwrap_or(held.len());
            if read > at.0 {
                *at = (read, world.now);
            }
            stood = stood.max(if read < held.len() { world.now - at.1 } else { 0 });
            let (from, to) = (*next, (read + WINDOW).min(held.len()));
            let new: Vec<_> =
                held.iter().filter(|(d, _)| world.nodes[taker].got.iter().any(|got| got.0 == *d)).cloned().collect();
            world.hold(taker, &new);
            if to > from {
                world.want(taker, to as u32, &held[from..to]);
                *next = to;
            }
        }
        world.run(250);
    }
    let all: usize = held.iter().map(|(_, bytes)| bytes.len()).sum();
    let copies = world.stats(giver).up as f64 / all as f64;
    assert!(copies < 1.4, "the giver sent {copies} copies to three");
    assert!(stood < 8_000, "a reader waited {stood} ms for its next piece");
}

#[test]
fn several_neighbours_share_the_work() {
    let held = pieces(60, 256 * 1024);
    let mut world = World::new();
    let sources: Vec<_> = (0..3).map(|_| world.join(&held)).collect();
    let b = world.join(&[]);
    assert!(world.until(60_000, |w| w.neighbours(b) == 3));
    world.run(500);
    let began = world.now;
    world.want(b, 1, &held);
    assert!(world.until(60_000, |w| got_all(w, b, &held)));
    let alone = (60 * 256 * 1024 / 2_000) as u64;
    assert!(world.now - began < alone * 45 / 100, "{} ms, {alone} from one", world.now - began);
    assert!(sources.iter().all(|&s| world.stats(s).up > 60 * 256 * 1024 / 6));
    assert!(world.stats(b).wasted <= 3 * 256 * 1024);
}

#[test]
fn the_faster_neighbour_gets_more_of_the_work() {
    let held = pieces(60, 256 * 1024);
    let mut world = World::new();
    let (slow, fast) = (world.join(&held), world.join(&held));
    world.nodes[slow].rate = 300;
    let b = world.join(&[]);
    assert!(world.until(60_000, |w| w.neighbours(b) == 2));
    world.run(500);
    let began = world.now;
    world.want(b, 1, &held);
    assert!(world.until(60_000, |w| got_all(w, b, &held)));
    assert!(world.stats(fast).up > 3 * world.stats(slow).up);
    let ideal = (60 * 256 * 1024 / 2_300) as u64;
    assert!(world.now - began < ideal * 125 / 100, "{} ms, at best {ideal}", world.now - began);
}

#[test]
fn a_slow_piece_is_heard_of_on_its_way_and_a_stalled_one_is_not() {
    let held = [piece(1, 1 << 20)];
    let arriving = |w: &World, n: usize| w.nodes[n].said.iter().filter(|m| **m == ToWorker::Arriving).count();
    let (mut world, a, b) = pair(&held);
    world.nodes[a].rate = 300;
    world.want(b, 1, &held);
    world.run(2_000);
    assert!(!got_all(&world, b, &held));
    let heard = arriving(&world, b);
    assert!((6..14).contains(&heard), "{heard} times in two seconds");
    world.nodes[a].rate = 20;
    world.run(1_000);
    let before = arriving(&world, b);
    world.run(2_000);
    assert!(arriving(&world, b) - before <= 1, "40 kB in two seconds are a stall");
}

#[test]
fn both_ways_at_once() {
    let (left, right) = (pieces(20, 200_000), pieces(41, 200_001)[20..].to_vec());
    let (mut world, a, b) = pair(&left);
    world.hold(b, &right);
    world.run(500);
    assert_eq!(world.want(a, 1, &right), vec![true; right.len()]);
    assert_eq!(world.want(b, 1, &left), vec![true; left.len()]);
    let ideal = (21 * 200_001 / 2_000) as u64;
    assert!(world.until(ideal * 12 / 10, |w| got_all(w, a, &right) && got_all(w, b, &left)));
}

#[test]
fn news_of_pieces_travels() {
    let held = pieces(2, 1_000);
    let (mut world, a, b) = pair(&held[..1]);
    world.hold(a, &held[1..]);
    assert!(world.want(b, 1, &held[1..]) == [false]);
    world.run(500);
    assert!(world.want(b, 2, &held[1..]) == [true]);
    world.input(a, Input::Worker(ToMesh::Dropped(vec![held[0].0])));
    world.run(500);
    assert!(world.want(b, 3, &held[..1]) == [false]);
    let all = held.iter().map(|(digest, b)| Held { digest: *digest, segment: 2, offset: 0, len: b.len() as u32 });
    world.input(a, Input::Worker(ToMesh::Holdings { full: true, pieces: all.take(1).collect() }));
    world.run(500);
    assert!(world.want(b, 4, &held[..1]) == [true]);
    assert!(world.want(b, 5, &held[1..]) == [false]);
}

#[test]
fn news_is_gathered() {
    let held = pieces(100, 100);
    let (mut world, a, b) = pair(&[]);
    let before = world.log.len();
    for one in held.chunks(1) {
        world.hold(a, one);
        world.run(5);
    }
    world.run(500);
    let said = world.log[before..].iter().filter(|(_, from, _, m)| *from == a && matches!(m, Message::Have(_))).count();
    assert!(said <= 4, "{said} messages");
    assert_eq!(world.stats(b).neighbours[0].have, 100);
}

#[test]
fn a_refusal_sends_the_question_to_another() {
    let held = [piece(1, 300_000)];
    let mut world = World::new();
    let b = world.join(&[]);
    world.run(1_000);
    let (first, second) = (world.raw(b, 1), world.raw(b, 2));
    for node in [first, second] {
        world.tell(node, &Message::Have(vec![held[0].0.prefix()]));
    }
    world.run(100);
    assert_eq!(world.want(b, 1, &held), [true]);
    world.run(100);
    let (asked, other) = if world.wants(first).is_empty() { (second, first) } else { (first, second) };
    assert!(world.wants(other).is_empty());
    world.tell(asked, &Message::Refuse { request: world.wants(asked)[0].0, why: Refusal::Busy });
    world.run(100);
    assert_eq!(world.wants(other).len(), 1);
    world.tell(other, &Message::Refuse { request: world.wants(other)[0].0, why: Refusal::NotHeld });
    world.run(100);
    assert_eq!(world.gone(b), [(1, held[0].0, Why::Refused)]);
    assert_eq!((world.wants(asked).len(), world.wants(other).len()), (1, 1), "nobody is asked twice");
}

#[test]
fn what_a_dead_neighbour_owes_comes_from_another() {
    let held = pieces(40, 256 * 1024);
    let mut world = World::new();
    let (first, second) = (world.join(&held), world.join(&held));
    let b = world.join(&[]);
    assert!(world.until(60_000, |w| w.neighbours(b) == 2));
    world.run(500);
    world.want(b, 1, &held);
    world.run(400);
    world.nodes[first].dead = true;
    let ideal = (40 * 256 * 1024 / 2_000) as u64;
    assert!(world.until(ideal + 3_000, |w| got_all(w, b, &held)), "long before it is known to be dead");
    assert_eq!(world.neighbours(b), 2);
    assert!(world.stats(second).up > 0);
}

#[test]
fn without_any_holder_left_the_piece_is_given_up() {
    let held = pieces(600, 10_000);
    let (mut world, a, b) = pair(&held);
    world.nodes[a].rate = 10;
    world.want(b, 1, &held);
    world.run(200);
    let conn = world.peer(b, a);
    world.input(b, Input::Gone { conn });
    let gone = world.gone(b);
    let got = world.nodes[b].got.len();
    assert_eq!(gone.len() + got, 600);
    assert!(gone.iter().all(|(_, _, why)| *why == Why::NoHolder));
}

#[test]
fn deadlines_are_kept() {
    let held = pieces(3, 500_000);
    let (mut world, a, b) = pair(&held);
    world.nodes[a].rate = 100;
    world.want_as(b, 1, Priority::Page, 7_000, &held);
    assert!(world.until(20_000, |w| got_all(w, b, &held[..1])));
    // As long as pieces come it goes on.
    let came = world.now;
    world.nodes[a].rate = 50;
    assert!(world.until(20_000, |w| w.gone(b).len() == 2));
    assert_eq!(world.now - came, 7_000);
    assert!(got_all(&world, b, &held[..1]));
    assert!(world.gone(b).iter().all(|(id, _, why)| (*id, *why) == (1, Why::TimedOut)));
    world.run(60_000);
    assert_eq!(world.neighbours(b), 1, "what still came was not held against the neighbour");
    assert!(world.stats(b).wasted > 0 && world.stats(b).down < 1_400_000);
}

#[test]
fn a_cancelled_piece_stops_coming() {
    let held = pieces(10, 500_000);
    let (mut world, a, b) = pair(&held);
    world.nodes[a].rate = 500;
    world.want(b, 1, &held);
    world.run(1_500);
    world.input(b, Input::Worker(ToMesh::Cancel { id: 1, digests: vec![held[1].0, held[2].0] }));
    assert!(world.until(20_000, |w| w.nodes[b].got.len() == 8));
    world.input(b, Input::Worker(ToMesh::Cancel { id: 1, digests: vec![] }));
    world.run(5_000);
    assert!(world.gone(b).is_empty(), "a cancellation is not answered");
    let down = world.stats(b).down;
    assert!(down < 8 * 500_000 + 400_000, "{down}");
    assert_eq!((world.neighbours(a), world.neighbours(b)), (1, 1));
    assert_eq!(world.want(b, 1, &held[1..3]), [true, true], "its number is free again");
    assert!(world.until(5_000, |w| got_all(w, b, &held)));
}

#[test]
fn two_wants_for_a_piece_are_one_download() {
    let held = [piece(1, 500_000)];
    let (mut world, _, b) = pair(&held);
    world.want_as(b, 1, Priority::Background, 60_000, &held);
    world.want(b, 2, &held);
    world.run(2_000);
    assert_eq!(world.nodes[b].got.len(), 1);
    assert_eq!(world.nodes[b].got[0].3, [1, 2]);
    assert_eq!(world.stats(b).down, 500_000);
}

#[test]
fn a_piece_that_is_late_is_asked_of_another_and_the_first_wins() {
    let held = [piece(1, 300_000)];
    let mut world = World::new();
    let b = world.join(&[]);
    world.run(1_000);
    let silent = world.raw(b, 1);
    world.tell(silent, &Message::Have(vec![held[0].0.prefix()]));
    world.run(100);
    world.want(b, 1, &held);
    world.run(100);
    assert_eq!(world.wants(silent).len(), 1);
    let a = world.join(&held);
    assert!(world.until(10_000, |w| got_all(w, b, &held)));
    assert!(world.stats(a).up >= 300_000);
    world.run(100);
    assert_eq!(world.nodes[silent].heard.last(), Some(&Message::Cancel { request: world.wants(silent)[0].0 }));
}

#[test]
fn a_choking_neighbour_is_not_asked_until_it_stops() {
    let held = [piece(1, 1_000)];
    let mut world = World::new();
    let b = world.join(&[]);
    world.run(1_000);
    let other = world.raw(b, 1);
    world.tell(other, &Message::Have(vec![held[0].0.prefix()]));
    world.tell(other, &Message::Choke);
    world.run(100);
    assert_eq!(world.want(b, 1, &held), [false]);
    world.tell(other, &Message::Unchoke);
    world.run(100);
    assert_eq!(world.want(b, 2, &held), [true]);
}

#[test]
fn a_mesh_that_stops_gives_everything_up() {
    let held = pieces(3, 500_000);
    let (mut world, _, b) = pair(&held);
    world.want(b, 1, &held);
    world.input(b, Input::Stop);
    assert!(world.gone(b).iter().all(|(_, _, why)| *why == Why::Stopped));
    assert_eq!(world.gone(b).len(), 3);
}

#[test]
fn what_is_owed_at_once_is_bounded() {
    let held = pieces(200, 1_000_000);
    let mut world = World::new();
    let b = world.join(&[]);
    world.run(1_000);
    let strangers: Vec<_> = (0..12).map(|n| world.raw(b, n + 1)).collect();
    for &node in &strangers {
        world.tell(node, &Message::Have(held.iter().map(|(d, _)| d.prefix()).collect()));
    }
    world.run(100);
    world.want(b, 1, &held);
    world.run(100);
    let asked: usize = strangers.iter().map(|&s| world.wants(s).len()).sum();
    assert!((12..=33).contains(&asked), "{asked} MB owed");
}

#[test]
fn what_would_come_too_late_is_left_to_others_from_the_front() {
    let held = pieces(4, 256 * 1024);
    let (mut world, _, b) = pair(&held);
    // The rate of a neighbour that was not measured is taken for a piece in a quarter of a second.
    let mut ask = |id, within: [u32; 4]| {
        let pieces = wanted(&held).into_iter().zip(within).map(|(w, within_ms)| Wanted { within_ms, ..w }).collect();
        let message = ToMesh::Want { id, priority: Priority::Page, deadline_ms: 60_000, pieces };
        world.input(b, Input::Worker(message));
        let said = world.nodes[b].said.iter().rev();
        let mut etas =
            said.filter_map(|m| if let ToWorker::Available { etas, .. } = m { Some(etas.clone()) } else { None });
        etas.next().unwrap()
    };
    assert_eq!(ask(1, [200; 4]), [None; 4]);
    assert_eq!(ask(2, [300, 300, 800, 800]), [None, Some(272), Some(522), Some(772)]);
    assert!(world.until(5_000, |w| got_all(w, b, &held[1..])));
    assert!(!got_all(&world, b, &held));
}
