//! A newer version is passed from neighbour to neighbour, each of whom has it checked first.

use super::super::*;
use super::world::{SITE, World};
use crate::digest::Digest;
use crate::manifest::{FORMAT, MAX_ROOT_BYTES, Policy, Root};
use crate::sign::Key;
use crate::text::Base64;

fn root_of(site: &[u8; 32], version: u64) -> String {
    root_by(site, 1, version)
}

fn root_by(site: &[u8; 32], key: u32, version: u64) -> String {
    let root = Root {
        format: FORMAT,
        site: Base64::Url.encode(site),
        version,
        issued: version,
        expires: u64::MAX / 2,
        index: Digest::of(b"an index"),
        index_bytes: 8,
        delta: None,
        key,
        files: 1,
        bytes: 1,
        policy: Policy::default(),
        retired: false,
    };
    Key::from_random(&[7; 32]).unwrap().sign(&root).unwrap()
}

fn root(version: u64) -> String {
    root_of(&SITE, version)
}

/// The worker has taken a version up.
fn has(world: &mut World, node: usize, version: u64) {
    world.input(node, Input::Worker(ToMesh::Root(root(version))));
}

/// The versions that a node's worker was told of.
fn heard(world: &World, node: usize) -> Vec<String> {
    world.nodes[node].roots.iter().map(|(_, text)| text.clone()).collect()
}

#[test]
fn a_newcomer_with_a_newer_version_tells_and_an_older_one_is_told() {
    let mut world = World::new();
    let (old, new) = (world.join(&[]), world.join(&[]));
    has(&mut world, old, 5);
    has(&mut world, new, 6);
    world.run(2_000);
    assert_eq!(heard(&world, old), [root(6)]);
    assert_eq!(heard(&world, new), Vec::<String>::new());
    assert_eq!(world.nodes[old].roots[0].0, world.peer(old, new), "who said it can be named");
}

#[test]
fn a_new_version_reaches_everybody_once_each_has_checked_it() {
    let mut world = World::new();
    let nodes: Vec<_> = (0..12).map(|_| world.join(&[])).collect();
    for &node in &nodes {
        has(&mut world, node, 5);
    }
    world.run(60_000);
    has(&mut world, nodes[0], 6);
    world.run(300);
    let told = nodes.iter().filter(|&&node| !heard(&world, node).is_empty()).count();
    assert!(told > 0 && told < nodes.len() - 1, "nobody passes on what it has not checked: {told}");
    for _ in 0..nodes.len() {
        for &node in &nodes {
            if !heard(&world, node).is_empty() {
                has(&mut world, node, 6);
            }
        }
        world.run(300);
    }
    for &node in &nodes[1..] {
        assert_eq!(heard(&world, node), [root(6)], "told once, however many neighbours say it");
    }
}

/// A node with version 5, to whom a neighbour says version 6.
fn told_early() -> (World, usize) {
    let mut world = World::new();
    let node = world.join(&[]);
    has(&mut world, node, 5);
    world.run(1_000);
    let early = world.raw(node, 1);
    world.tell(early, &Message::Root(root(6)));
    (world, node)
}

#[test]
fn a_root_that_the_origin_has_not_everywhere_yet_is_told_again_a_few_times() {
    let (mut world, a) = told_early();
    world.run(4_000);
    assert_eq!(heard(&world, a).len(), 1);
    world.run(2_000);
    assert_eq!(heard(&world, a), [root(6), root(6)], "the worker asks the origin once more");
    world.run(600_000);
    assert_eq!(heard(&world, a).len(), 5, "and not for ever");

    let (mut world, b) = told_early();
    world.run(1_000);
    has(&mut world, b, 6);
    world.run(200_000);
    assert_eq!(heard(&world, b), [root(6)], "nor when it has it");
}

#[test]
fn a_newer_keys_version_is_newer_whatever_its_number() {
    let mut world = World::new();
    let (old, new) = (world.join(&[]), world.join(&[]));
    has(&mut world, old, u64::from(u32::MAX));
    world.input(new, Input::Worker(ToMesh::Root(root_by(&SITE, 2, 7))));
    world.run(2_000);
    assert_eq!(heard(&world, old), [root_by(&SITE, 2, 7)]);
    assert_eq!(heard(&world, new), Vec::<String>::new());
}

#[test]
fn what_is_no_root_or_another_sites_drops_the_peer() {
    for (text, reason) in [
        (String::new(), Reason::Malformed),
        ("<!doctype html>".to_owned(), Reason::Malformed),
        (root_of(&[1; 32], 9), Reason::Foreign),
    ] {
        let mut world = World::new();
        let a = world.join(&[]);
        world.run(1_000);
        let stranger = world.raw(a, 1);
        world.tell(stranger, &Message::Root(text));
        world.run(100);
        assert_eq!(world.dropped(a, reason), 1);
        assert_eq!(heard(&world, a), Vec::<String>::new());
    }
    let mut world = World::new();
    let a = world.join(&[]);
    world.run(1_000);
    let stranger = world.raw(a, 1);
    world.tell(stranger, &Message::Root("x".repeat(MAX_ROOT_BYTES + 1)));
    world.run(100);
    assert_eq!(world.dropped(a, Reason::Malformed), 1);
}

#[test]
fn a_liar_is_dropped_and_hides_no_newer_root() {
    let mut world = World::new();
    let a = world.join(&[]);
    has(&mut world, a, 5);
    world.run(1_000);
    let (liar, honest) = (world.raw(a, 1), world.raw(a, 2));
    world.tell(liar, &Message::Root(root(u64::MAX)));
    world.tell(honest, &Message::Root(root(6)));
    world.tell(honest, &Message::Root(root(6)));
    world.tell(honest, &Message::Root(root(4)));
    world.run(100);
    assert_eq!(heard(&world, a), [root(u64::MAX), root(6)]);
    let peer = world.nodes[a].roots[0].0;
    world.input(a, Input::Worker(ToMesh::Bad { digest: Digest::of(b""), peer }));
    world.run(100);
    assert!(!world.connected(a, liar) && world.connected(a, honest));
    assert_eq!(world.dropped(a, Reason::Corrupt), 1);
}
