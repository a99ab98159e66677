//! Swarms without a tracker: newcomers who know one member, members who leave, and how many connections that takes.

use std::collections::BTreeSet;

use super::super::*;
use super::world::World;
use crate::wire::{Kind, Signal};

/// `count` visitors who met by a tracker, one after the other; the tracker is gone since.
fn orphaned(seed: u64, count: u64) -> World {
    let mut world = World::new();
    for _ in 0..count {
        visitor(&mut world, seed);
        world.run(500);
    }
    world.run(30_000);
    world.stop_tracker();
    world
}

fn visitor(world: &mut World, seed: u64) -> usize {
    let config = world.config(seed * 10_000 + world.nodes.len() as u64);
    world.join_with(config, &[])
}

/// A visitor who knows only `member`.
fn newcomer(world: &mut World, seed: u64, member: usize) -> usize {
    let node = visitor(world, seed);
    world.run(100);
    world.acquaint(node, member);
    node
}

fn alive(world: &World) -> BTreeSet<usize> {
    (0..world.nodes.len()).filter(|&n| !world.nodes[n].dead && world.mesh(n).deadline().is_some()).collect()
}

fn fewest(world: &World, nodes: &BTreeSet<usize>) -> usize {
    nodes.iter().map(|&n| world.neighbours(n)).min().unwrap()
}

fn signals(world: &World, is: impl Fn(&Signal) -> bool) -> usize {
    world.log.iter().filter(|(_, _, _, m)| matches!(m, Message::Signal(s) if is(s))).count()
}

#[test]
fn two_who_know_a_third_meet_through_it() {
    let mut world = World::new();
    world.tracker_up = false;
    let nodes: Vec<usize> = (0..3).map(|_| visitor(&mut world, 1)).collect();
    world.run(100);
    world.acquaint(nodes[0], nodes[1]);
    assert!(world.until(1_000, |w| w.neighbours(nodes[0]) == 1));
    world.acquaint(nodes[2], nodes[1]);
    assert!(world.until(3_000, |w| nodes.iter().all(|&n| w.neighbours(n) == 2)));
    assert_eq!(signals(&world, |s| s.kind == Kind::Answer), 2, "an answer makes two hops here");
    world.run(600_000);
    assert!(nodes.iter().all(|&n| world.stats(n).connections <= 4), "offers are kept for the next");
    world.input(nodes[1], Input::Stop);
    world.run(10_000);
    assert!(world.connected(nodes[0], nodes[2]), "they no longer need whom they met through");
}

#[test]
fn newcomers_who_know_one_member_get_in() {
    for seed in 1..=3 {
        let mut world = orphaned(seed, 30);
        let mut rng = Rng::new(seed);
        let mut longest = 0;
        for _ in 0..20 {
            let with_room: Vec<usize> = alive(&world).into_iter().filter(|&n| world.neighbours(n) < ACCEPT).collect();
            let member = with_room[rng.below(with_room.len() as u64) as usize];
            let node = newcomer(&mut world, seed, member);
            let from = world.now;
            assert!(world.until(20_000, |w| w.neighbours(node) >= TARGET), "seed {seed}: {}", world.neighbours(node));
            longest = longest.max(world.now - from);
        }
        println!("seed {seed}: all neighbours within {longest} ms");
        assert_eq!(world.component(0), alive(&world));
    }
}

#[test]
fn a_swarm_heals_after_half_of_it_leaves_at_once() {
    for seed in 1..=4 {
        let mut world = orphaned(seed, 100);
        let mut rng = Rng::new(seed);
        for node in 0..100 {
            match rng.below(4) {
                0 => world.nodes[node].dead = true,
                1 => world.input(node, Input::Stop),
                _ => {}
            }
        }
        world.run(60_000);
        // Whose neighbours have all left at once knows nobody any more, as somebody who has just come.
        let (alone, others): (BTreeSet<_>, _) = alive(&world).into_iter().partition(|&n| world.neighbours(n) == 0);
        println!("seed {seed}: {} left, {} of them alone", alone.len() + others.len(), alone.len());
        assert!(alone.len() <= 1, "seed {seed}: {alone:?}");
        let first = *others.first().unwrap();
        assert_eq!(world.component(first), others, "seed {seed}");
        assert!(fewest(&world, &others) >= 3, "seed {seed}");
    }
}

#[test]
fn two_hundred_who_come_and_go_do_not_split() {
    for seed in 1..=2 {
        let mut world = orphaned(seed, 200);
        assert_eq!(world.component(0), alive(&world), "seed {seed}");
        let mut rng = Rng::new(seed);
        let any = |world: &World, rng: &mut Rng| {
            let alive: Vec<usize> = alive(world).into_iter().collect();
            alive[rng.below(alive.len() as u64) as usize]
        };
        for _ in 0..100 {
            let leaves = any(&world, &mut rng);
            if rng.below(2) == 0 {
                world.nodes[leaves].dead = true;
            } else {
                world.input(leaves, Input::Stop);
            }
            let mut member = any(&world, &mut rng);
            while world.neighbours(member) >= ACCEPT {
                member = any(&world, &mut rng);
            }
            newcomer(&mut world, seed, member);
            world.run(900);
        }
        world.run(30_000);
        let members: BTreeSet<usize> = alive(&world).into_iter().filter(|&n| world.neighbours(n) > 0).collect();
        // A newcomer whose only acquaintance leaves in that very moment has come for nothing.
        assert!(members.len() >= 195, "seed {seed}: {} of 200", members.len());
        let apart: Vec<usize> = members.difference(&world.component(*members.first().unwrap())).copied().collect();
        let d: Vec<usize> = apart.iter().map(|&n| world.neighbours(n)).collect();
        assert!(apart.is_empty(), "seed {seed}: {apart:?} {d:?} of {}", world.nodes.len());
        assert!(fewest(&world, &members) >= 3, "seed {seed}");
        let most = members.iter().map(|&n| world.stats(n).connections).max().unwrap();
        println!("seed {seed}: {} members, at most {most} connections each in {} s", members.len(), world.now / 1000);
        assert!(most < 80, "seed {seed}: {most}");
    }
}

#[test]
fn whoever_is_full_is_left_in_peace_by_the_tracker() {
    let count = |strangers: u8| {
        let mut world = World::new();
        let a = world.join(&[]);
        world.run(1_000);
        for name in 0..strangers {
            world.raw(a, 100 + name);
        }
        let before = world.announces.len();
        for _ in 0..360 {
            world.run(10_000);
            for node in 1..world.nodes.len() {
                world.tell(node, &Message::Pong(0));
            }
        }
        assert_eq!(world.neighbours(a), usize::from(strangers));
        world.announces.len() - before
    };
    let (some, full) = (count(TARGET as u8), count(ACCEPT as u8));
    assert!(some >= 25 && full * 5 / 2 <= some, "{some} announces an hour with some neighbours, {full} with all");
}

#[test]
fn connections_are_spent_on_more_neighbours_to_400_and_then_to_have_two() {
    for (neighbours, most) in [(0, links::MAX_CONNECTIONS), (1, links::MAX_CONNECTIONS), (2, links::SPENT)] {
        let mut world = World::new();
        let a = world.join(&[]);
        world.run(1_000);
        let keep: Vec<usize> = (0..neighbours).map(|name| world.raw(a, name)).collect();
        // One after the other comes, and does not stay.
        for round in 0..600_u32 {
            let name = 100 + (round % 100) as u8;
            let stranger = world.raw(a, name);
            world.tell(stranger, &Message::Goodbye);
            world.run(100);
            for &node in &keep {
                world.tell(node, &Message::Pong(0));
            }
        }
        assert_eq!(world.stats(a).connections, most, "with {neighbours} neighbours");
    }
}
