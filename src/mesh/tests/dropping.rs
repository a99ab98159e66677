//! Peers that misbehave: each is dropped for its own reason, is not taken back, and costs no piece.

use super::super::*;
use super::world::{World, hello, piece};
use crate::digest::Digest;
use crate::rng::Rng;

/// A mesh that is asking a stranger for a piece of 100,000 bytes; the stranger and the request.
fn asking() -> (World, usize, usize, u32, (Digest, Vec<u8>)) {
    let held = piece(9, 100_000);
    let mut world = World::new();
    let b = world.join(&[]);
    world.run(1_000);
    let stranger = world.raw(b, 1);
    world.tell(stranger, &Message::Have(vec![held.0.prefix()]));
    world.run(100);
    assert_eq!(world.want(b, 1, std::slice::from_ref(&held)), [true]);
    world.run(100);
    let request = world.wants(stranger)[0].0;
    (world, b, stranger, request, held)
}

fn assert_dropped(world: &mut World, node: usize, stranger: usize, reason: Reason) {
    world.run(100);
    assert!(!world.connected(node, stranger));
    assert_eq!(world.neighbours(node), 0);
    assert_eq!(world.dropped(node, reason), 1);
    // A corrupt piece was counted by the worker, which found it out.
    assert_eq!(world.stats(node).rejected(), u64::from(reason != Reason::Corrupt));
    // Its next attempts end before they begin.
    let again = world.stranger(node, 1);
    assert!(!world.connected(node, again));
    let other = world.stranger(node, 77);
    world.tell(other, &hello(1));
    world.run(100);
    assert_eq!(world.neighbours(node), 0);
}

#[test]
fn a_good_peer_is_not_dropped() {
    let (mut world, b, stranger, request, held) = asking();
    world.tell_frame(stranger, request, 100_000, 0, &held.1[..60_000]);
    world.tell_frame(stranger, request, 100_000, 60_000, &held.1[60_000..]);
    world.run(200);
    assert_eq!(world.nodes[b].got[0].1, held.1);
    assert_eq!((world.neighbours(b), world.stats(b).rejected()), (1, 0));
}

#[test]
fn frames_that_do_not_fit_drop_their_sender() {
    type Misdeed = fn(&mut World, usize, u32);
    let misdeeds: [(&str, Reason, Misdeed); 9] = [
        ("empty", Reason::Size, |w, s, r| w.tell_frame(s, r, 100_000, 0, &[])),
        ("empty piece", Reason::Size, |w, s, r| w.tell_frame(s, r, 0, 0, &[])),
        ("another total", Reason::Size, |w, s, r| w.tell_frame(s, r, 99_999, 0, &[9; 1_000])),
        ("past the end", Reason::Size, |w, s, r| w.tell_frame(s, r, 100_000, 99_999, &[9; 1_000])),
        ("oversize message", Reason::Size, |w, s, r| w.tell_frame(s, r, 100_000, 0, &[9; 70_000])),
        ("a gap", Reason::Malformed, |w, s, r| w.tell_frame(s, r, 100_000, 1, &[9; 1_000])),
        ("twice the same", Reason::Malformed, |w, s, r| {
            w.tell_frame(s, r, 100_000, 0, &[9; 1_000]);
            w.tell_frame(s, r, 100_000, 0, &[9; 1_000]);
        }),
        ("unasked", Reason::Unasked, |w, s, r| w.tell_frame(s, r + 1, 100_000, 0, &[9; 1_000])),
        ("more than asked", Reason::Unasked, |w, s, r| {
            for offset in [0, 50_000, 0] {
                w.tell_frame(s, r, 100_000, offset, &[9; 50_000]);
            }
        }),
    ];
    for (name, reason, misdeed) in misdeeds {
        println!("{name}");
        let (mut world, b, stranger, request, _) = asking();
        misdeed(&mut world, stranger, request);
        assert_dropped(&mut world, b, stranger, reason);
    }
}

#[test]
fn the_piece_of_a_dropped_peer_comes_from_another() {
    let (mut world, b, stranger, request, held) = asking();
    world.tell_frame(stranger, request, 100_000, 0, &[0; 50_000]);
    let good = world.join(std::slice::from_ref(&held));
    assert!(world.until(5_000, |w| w.neighbours(b) == 2));
    world.run(300);
    world.tell_frame(stranger, request, 100_000, 7, &[0; 10]);
    assert!(world.until(2_000, |w| !w.nodes[b].got.is_empty()));
    assert_eq!(world.nodes[b].got[0].1, held.1);
    assert_eq!(world.nodes[b].got[0].2, world.peer(b, good));
    assert!(world.stats(b).wasted >= 50_000);
}

#[test]
fn a_corrupt_piece_drops_its_sender_even_when_it_has_left() {
    for leaves in [false, true] {
        let (mut world, b, stranger, request, held) = asking();
        world.tell_frame(stranger, request, 100_000, 0, &[0; 60_000]);
        world.tell_frame(stranger, request, 100_000, 60_000, &[0; 40_000]);
        world.run(200);
        let peer = world.nodes[b].got[0].2;
        if leaves {
            world.tell(stranger, &Message::Goodbye);
            world.run(100);
            assert_eq!(world.stats(b).rejected(), 0);
        }
        world.input(b, Input::Worker(ToMesh::Bad { digest: held.0, peer }));
        assert_dropped(&mut world, b, stranger, Reason::Corrupt);
    }
}

#[test]
fn malformed_messages_drop_their_sender() {
    for bytes in [vec![], vec![2, 1, 2, 3], vec![4; 10], vec![8, 0], hello(1).encode()] {
        println!("{bytes:?}");
        let (mut world, b, stranger, _, _) = asking();
        world.tell_bytes(stranger, bytes);
        assert_dropped(&mut world, b, stranger, Reason::Malformed);
    }
}

#[test]
fn a_question_asked_twice_at_once_drops_its_sender() {
    let held = piece(1, 1_000_000);
    let mut world = World::new();
    let a = world.join(std::slice::from_ref(&held));
    world.run(1_000);
    let stranger = world.raw(a, 1);
    for _ in 0..2 {
        world.tell(stranger, &Message::Want { request: 1, digest: held.0, len: 1_000_000 });
    }
    assert_dropped(&mut world, a, stranger, Reason::Malformed);
}

#[test]
fn floods_end() {
    let unheld = Message::Want { request: 1, digest: Digest([0; 32]), len: 1 };
    let floods = [Message::Ping(1), Message::Have(vec![1]), Message::Cancel { request: 3 }, Message::Unchoke, unheld];
    for message in floods {
        println!("{message:?}");
        let (mut world, b, stranger, _, _) = asking();
        for _ in 0..400 {
            world.tell(stranger, &message);
        }
        world.run(1_000);
        assert_dropped(&mut world, b, stranger, Reason::Flood);
    }
}

#[test]
fn a_lively_peer_is_no_flood() {
    let (mut world, b, stranger, _, _) = asking();
    for number in 0..600 {
        world.tell(stranger, &Message::Ping(number));
        world.run(20);
    }
    assert_eq!(world.neighbours(b), 1);
}

#[test]
fn who_does_not_greet_first_is_closed() {
    for message in [Message::Ping(1), Message::Have(vec![]), Message::Unknown(99)] {
        let mut world = World::new();
        let b = world.join(&[]);
        world.run(1_000);
        let stranger = world.stranger(b, 1);
        world.tell(stranger, &message);
        world.run(100);
        assert!(!world.connected(b, stranger));
        assert_eq!(world.dropped(b, Reason::Malformed), 1);
    }
}

#[test]
fn messages_of_the_future_are_ignored() {
    let (mut world, b, stranger, _, _) = asking();
    for kind in [0, 16, 200] {
        world.tell_bytes(stranger, vec![kind; 1_000]);
    }
    world.run(200);
    assert_eq!(world.neighbours(b), 1);
}

#[test]
fn a_boundless_have_set_is_bounded() {
    let (mut world, b, stranger, _, _) = asking();
    for chunk in 0..20_u64 {
        let prefixes = (0..8_191).map(|n| (chunk << 32) | n).collect();
        world.tell(stranger, &Message::Have(prefixes));
    }
    world.run(2_000);
    assert_eq!(world.stats(b).neighbours[0].have as usize, MAX_HAVE);
}

#[test]
fn ten_thousand_random_messages_do_no_harm() {
    let held = piece(9, 100_000);
    let mut world = World::new();
    let b = world.join(std::slice::from_ref(&held));
    world.run(1_000);
    let mut rng = Rng::new(5);
    for round in 0..100 {
        let stranger = world.raw(b, 100 + round);
        world.tell(stranger, &Message::Have(vec![held.0.prefix()]));
        for _ in 0..100 {
            let kind = rng.below(16) as u8;
            let len = [0, 1, 4, 5, 8, 12, 13, 20, 24, 40, 62, 66][rng.below(12) as usize];
            let mut bytes: Vec<u8> = (0..len).map(|_| (rng.next_u64() >> 7) as u8 & 3).collect();
            bytes.insert(0, kind);
            world.tell_bytes(stranger, bytes);
        }
        world.run(50);
        let conn = world.nodes[b].mesh.as_ref().and_then(|m| m.neighbours.keys().next().copied());
        if let Some(conn) = conn {
            world.input(b, Input::Gone { conn });
        }
    }
    let good = world.join(&[]);
    world.run(200_000);
    assert_eq!(world.want(good, 1, std::slice::from_ref(&held)), [true]);
    assert!(world.until(5_000, |w| !w.nodes[good].got.is_empty()));
}

#[test]
fn inputs_that_make_no_sense_do_no_harm() {
    let mut rng = Rng::new(6);
    let (mut world, b, _, _, held) = asking();
    for _ in 0..10_000 {
        let small = |rng: &mut Rng| rng.below(6) as u32;
        let conn = small(&mut rng);
        let input = match rng.below(12) {
            0 => Input::Described { conn, sdp: "nonsense".into() },
            1 => Input::Open { conn },
            2 => Input::Gone { conn },
            3 => Input::Frame { conn, head: [rng.below(7) as u8; FRAME_HEAD], len: rng.below(70_000) as usize },
            4 => Input::Buffered { conn, bytes: rng.below(100_000) as usize },
            5 => Input::SocketOpen { socket: conn },
            6 => Input::SocketText {
                socket: conn,
                text: "{\"interval\":3,\"info_hash\":\"hhhhhhhhhhhhhhhhhhhh\"}".into(),
            },
            7 => Input::SocketClosed { socket: conn },
            8 => Input::Loaded { upload: conn, right: rng.below(2) == 0 },
            9 => Input::Port,
            10 => Input::Worker(ToMesh::Cancel { id: conn, digests: vec![held.0] }),
            _ => Input::Worker(ToMesh::Bad { digest: held.0, peer: conn }),
        };
        world.input(b, input);
        world.run(rng.below(50));
    }
}
