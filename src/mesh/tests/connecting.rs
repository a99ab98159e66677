//! Finding peers: announces, offers, hellos, doubles, dead neighbours, and what the page cannot do.

use super::super::*;
use super::world::{SITE, World, hello, piece, pieces};

#[test]
fn two_visitors_meet_within_a_second() {
    let mut world = World::new();
    let (a, b) = (world.join(&[]), world.join(&[]));
    assert!(world.until(1_000, |w| w.neighbours(a) == 1 && w.neighbours(b) == 1));
    world.run(10_000);
    assert_eq!((world.neighbours(a), world.neighbours(b)), (1, 1));
    assert!(world.nodes[a].said.contains(&ToWorker::Ready { neighbours: 0, fresh: true }));
    assert_eq!(world.nodes[a].said.iter().filter(|m| matches!(m, ToWorker::Ready { neighbours: 1, .. })).count(), 1);
}

#[test]
fn many_visitors_have_several_neighbours_each_and_none_too_many() {
    let mut world = World::new();
    for _ in 0..20 {
        world.join(&[]);
        world.run(300);
    }
    world.run(60_000);
    for node in 0..20 {
        let neighbours = world.neighbours(node);
        assert!((3..=ACCEPT).contains(&neighbours), "{node} has {neighbours}");
        assert!(world.nodes[node].peak_connections <= ACCEPT + TARGET);
        assert!(world.stats(node).connections < 60, "{node} made {}", world.stats(node).connections);
    }
}

#[test]
fn a_lonely_visitor_makes_few_connections_and_offers_them_again() {
    let mut world = World::new();
    let a = world.join(&[]);
    world.run(1_500_000);
    assert_eq!(world.stats(a).connections as usize, FIRST_OFFERS);
    let offers: Vec<_> = world.announces.iter().map(|(_, _, m)| m["offers"].clone()).collect();
    assert!(offers.len() > 5 && offers.iter().all(|o| *o == offers[0]), "{offers:?}");
    assert_eq!(offers[0].as_array().map(Vec::len), Some(FIRST_OFFERS));
    let b = world.join(&[]);
    assert!(world.until(1_000, |w| w.neighbours(a) == 1 && w.neighbours(b) == 1));
}

#[test]
fn the_life_of_a_tab_does_not_run_out_of_connections_by_a_bad_network() {
    let mut world = World::new();
    let (a, b) = (world.join(&[]), world.join(&[]));
    world.nodes[a].firewalled = true;
    world.run(4 * 3_600_000);
    for node in [a, b] {
        assert_eq!(world.neighbours(node), 0);
        assert!(world.stats(node).connections <= links::MAX_CONNECTIONS);
    }
}

#[test]
fn a_page_that_cannot_connect_is_asked_less_and_less_often() {
    let mut world = World::new();
    let mut mesh = Mesh::new(world.config(9), Millis(0));
    let (mut now, mut asked) = (0, Vec::new());
    while now < 3_600_000 {
        while let Some(output) = mesh.poll() {
            if let Output::Offer { conn } = output {
                asked.push(now);
                mesh.handle(Input::Gone { conn }, Millis(now));
            }
        }
        now = mesh.deadline().expect("it goes on").0.max(now + 1);
        mesh.handle(Input::Tick, Millis(now));
    }
    assert!(asked.len() < 40, "{asked:?}");
    world.run(0);
}

#[test]
fn a_neighbour_that_leaves_says_so_and_others_are_found() {
    let mut world = World::new();
    let (a, b) = (world.join(&[]), world.join(&[]));
    world.until(1_000, |w| w.neighbours(a) == 1);
    world.input(b, Input::Stop);
    assert!(world.until(100, |w| w.neighbours(a) == 0));
    assert!(world.announces.iter().any(|(_, n, m)| *n == b && m["event"] == "stopped"));
    assert_eq!(world.mesh(b).deadline(), None);
    let c = world.join(&[]);
    assert!(world.until(1_000, |w| w.neighbours(a) == 1 && w.neighbours(c) == 1));
}

#[test]
fn a_dead_neighbour_is_noticed() {
    let mut world = World::new();
    let (a, b) = (world.join(&[]), world.join(&[]));
    world.until(1_000, |w| w.neighbours(a) == 1);
    world.nodes[b].dead = true;
    assert!(!world.until(9_000, |w| w.neighbours(a) == 0), "silence is not death at once");
    assert!(world.until(7_000, |w| w.neighbours(a) == 0));
    assert_eq!(world.stats(a).rejected(), 0);
}

#[test]
fn a_quiet_neighbour_is_kept() {
    let mut world = World::new();
    let (a, _) = (world.join(&[]), world.join(&[]));
    world.until(1_000, |w| w.neighbours(a) == 1);
    assert!(!world.until(600_000, |w| w.neighbours(a) == 0));
}

#[test]
fn neighbours_are_kept_over_a_sleep() {
    let mut world = World::new();
    let a = world.join(&[]);
    world.run(1_000);
    let stranger = world.raw(a, 7);
    world.now += 3_600_000;
    world.input(a, Input::Tick);
    world.tell(stranger, &Message::Pong(0));
    world.run(100);
    assert_eq!(world.neighbours(a), 1);
}

#[test]
fn a_tracker_that_fails_is_tried_again_and_neighbours_stay() {
    let mut world = World::new();
    let (a, b) = (world.join(&[]), world.join(&[]));
    world.until(1_000, |w| w.neighbours(a) == 1);
    world.tracker_up = false;
    for node in [a, b] {
        let socket = 1;
        world.input(node, Input::SocketClosed { socket });
    }
    world.run(600_000);
    assert_eq!(world.neighbours(a), 1);
    let tries = world.connects.iter().filter(|(_, n)| *n == a).count();
    assert!((5..20).contains(&tries), "{tries} attempts in ten minutes");
    world.tracker_up = true;
    world.run(180_000);
    let c = world.join(&[]);
    assert!(world.until(2_000, |w| w.neighbours(c) == 2), "introduced again");
}

#[test]
fn two_connections_to_one_node_become_one() {
    for name in [1, 255] {
        let mut world = World::new();
        let a = world.join(&[]);
        world.run(1_000);
        let other = world.stranger(a, name);
        world.connect(other, 2, a, 254);
        world.tell(other, &hello(name));
        world.run(1_000);
        assert_eq!(world.neighbours(a), 1, "doubles count once");
        world.run(DOUBLE_MS);
        assert_eq!(world.neighbours(a), 1);
        let open = world.stats(a).neighbours.len();
        assert_eq!(open, 1, "node {name}");
        let goodbyes = world.nodes[other].heard.iter().filter(|m| **m == Message::Goodbye).count();
        assert_eq!(goodbyes, 1);
    }
}

#[test]
fn a_node_does_not_become_its_own_neighbour() {
    let mut world = World::new();
    let a = world.join(&[]);
    world.run(1_000);
    let stranger = world.stranger(a, 7);
    let node = world.mesh(a).node();
    let Message::Hello(mirror) = hello(7) else { panic!("a hello") };
    world.tell(stranger, &Message::Hello(Hello { node, ..mirror }));
    world.run(1_000);
    assert_eq!(world.neighbours(a), 0);
    assert!(!world.connected(a, stranger));
}

#[test]
fn strangers_to_the_site_are_dropped() {
    let Message::Hello(good) = hello(7) else { panic!("a hello") };
    let others = [Hello { site: [0; 32], ..good.clone() }, Hello { version: VERSION + 1, ..good.clone() }];
    for hello in others {
        let mut world = World::new();
        let a = world.join(&[]);
        world.run(1_000);
        assert_ne!(hello, good, "{SITE:?}");
        let stranger = world.stranger(a, 7);
        world.tell(stranger, &Message::Hello(hello));
        world.run(100);
        assert!(!world.connected(a, stranger));
        assert_eq!((world.neighbours(a), world.dropped(a, Reason::Foreign)), (0, 1));
    }
}

#[test]
fn a_neighbour_counts_once_it_has_said_what_it_holds() {
    let mut world = World::new();
    let held = pieces(3, 1_000);
    let a = world.join(&held);
    world.run(1_000);
    let b = world.join(&[]);
    let told = |w: &World| w.nodes[b].said.contains(&ToWorker::Ready { neighbours: 1, fresh: false });
    assert!(world.until(1_000, told));
    assert_eq!(world.want(b, 1, &held), [true; 3], "at the very moment");
    assert!(
        world.nodes[a].said.contains(&ToWorker::Ready { neighbours: 1, fresh: false }),
        "who holds nothing says so"
    );
}

#[test]
fn the_side_that_answered_greets_first() {
    let mut world = World::new();
    let a = world.join(&[]);
    world.run(1_000);
    let b = world.join(&[]);
    world.until(1_000, |w| w.neighbours(a) == 1 && w.neighbours(b) == 1);
    // The later visitor's offer was answered by the earlier one.
    assert!(matches!(world.log[0], (_, from, _, Message::Hello(_)) if from == a));
    let second = world.log.iter().find(|(_, from, _, _)| *from == b).unwrap();
    assert!(matches!(second.3, Message::Hello(_)) && second.0 >= world.log[0].0 + world.delay);
}

#[test]
fn a_channel_that_ends_ends_its_connection() {
    let mut world = World::new();
    let a = world.join(&[]);
    world.run(1_000);
    let b = world.join(&[]);
    world.until(1_000, |w| w.neighbours(a) == 1 && w.neighbours(b) == 1);
    let conn = world.peer(a, b);
    world.input(a, Input::Gone { conn });
    world.run(100);
    assert!(!world.connected(a, b) && !world.connected(b, a));
}

#[test]
fn who_never_greets_is_let_go() {
    let mut world = World::new();
    let a = world.join(&[]);
    world.run(1_000);
    let stranger = world.stranger(a, 7);
    world.run(11_000);
    assert!(!world.connected(a, stranger));
}

#[test]
fn at_most_twelve_are_accepted() {
    let mut world = World::new();
    let a = world.join(&[]);
    world.run(1_000);
    for name in 0..20 {
        world.raw(a, 100 + name);
    }
    assert_eq!(world.neighbours(a), ACCEPT);
}

#[test]
fn a_new_port_is_told_how_many_neighbours_there_are() {
    let mut world = World::new();
    let (a, _) = (world.join(&[]), world.join(&[]));
    world.until(1_000, |w| w.neighbours(a) == 1);
    world.run(100);
    world.input(a, Input::Port);
    assert_eq!(world.nodes[a].said.last(), Some(&ToWorker::Ready { neighbours: 1, fresh: true }));
}

#[test]
fn the_same_story_is_told_the_same() {
    let story = || {
        let mut world = World::new();
        let held = pieces(30, 100_000);
        for node in 0..6 {
            world.join(if node == 0 { &held } else { &[] });
        }
        world.run(2_000);
        world.want(5, 1, &held);
        world.run(10_000);
        (world.log, world.nodes.into_iter().map(|n| n.said).collect::<Vec<_>>())
    };
    assert_eq!(story(), story());
}

#[test]
fn statistics_come_about_once_a_second_while_something_moves() {
    let mut world = World::new();
    let held = [piece(1, 1_000_000)];
    let (a, b) = (world.join(&held), world.join(&[]));
    world.nodes[a].rate = 100;
    world.run(2_000);
    world.want(b, 1, &held);
    let count = |w: &World| w.nodes[b].said.iter().filter(|m| matches!(m, ToWorker::Stats(_))).count();
    let before = count(&world);
    world.run(5_000);
    let during = count(&world) - before;
    assert!((4..=6).contains(&during), "{during}");
    world.run(30_000);
    let after = count(&world);
    world.run(60_000);
    assert_eq!(count(&world), after, "nothing moves, nothing is told");
}
