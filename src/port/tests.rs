use super::*;

fn held(n: u8) -> Held {
    Held { digest: Digest([n; 32]), segment: u64::MAX - u64::from(n), offset: 7, len: 9 }
}

fn wanted(len: u32) -> Wanted {
    Wanted { digest: Digest([1; 32]), len, within_ms: u32::MAX }
}

fn to_mesh() -> Vec<ToMesh> {
    let digests = vec![Digest([1; 32]), Digest([2; 32])];
    vec![
        ToMesh::Holdings { full: true, pieces: vec![] },
        ToMesh::Holdings { full: false, pieces: vec![held(1), held(2)] },
        ToMesh::Dropped(digests.clone()),
        ToMesh::Want { id: 1, priority: Priority::Page, deadline_ms: 1_000, pieces: vec![wanted(5)] },
        ToMesh::Want { id: 2, priority: Priority::Background, deadline_ms: u32::MAX, pieces: vec![] },
        ToMesh::Cancel { id: 2, digests: vec![] },
        ToMesh::Cancel { id: 2, digests },
        ToMesh::Bad { digest: Digest([3; 32]), peer: 77 },
        ToMesh::Limits(Limits { upload_rate: 1 << 40, upload_budget: 3, paused: true }),
        ToMesh::Root("a.b.c".into()),
    ]
}

fn to_worker() -> Vec<ToWorker> {
    let digest = Digest([4; 32]);
    let neighbour = Neighbour {
        peer: 3,
        node: NodeId([8; 20]),
        age_ms: 100,
        have: 5,
        down: 6,
        up: 7,
        rtt_ms: 8,
        rate: 9,
        choking: true,
    };
    let mut out = vec![
        ToWorker::Ready { neighbours: 3, fresh: true },
        ToWorker::Available { id: 9, etas: vec![Some(40), None, Some(0)] },
        ToWorker::Piece { id: 9, digest, peer: 2 },
        ToWorker::Stats(Stats {
            mesh: NodeId([9; 20]),
            down: 1,
            up: 2,
            wasted: 3,
            dropped: [1, 2, 3, 4, 5, 6],
            connections: 7,
            neighbours: vec![neighbour.clone(), neighbour],
        }),
        ToWorker::Evicted(digest),
        ToWorker::Arriving,
    ];
    for why in [Why::NoHolder, Why::Refused, Why::TimedOut, Why::Stopped] {
        out.push(ToWorker::Gone { id: 9, digest, why });
    }
    out
}

#[test]
fn messages_round_trip() {
    for message in to_mesh() {
        assert_eq!(ToMesh::decode(&message.encode()), Ok(message));
    }
    for message in to_worker() {
        assert_eq!(ToWorker::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn lists_over_their_limit_are_refused() {
    let pieces = vec![held(1); MAX_HOLDINGS + 1];
    let message = ToMesh::Holdings { full: true, pieces };
    assert_eq!(ToMesh::decode(&message.encode()), Err(BadPort(BadMessage::TooLong)));
    let pieces = vec![wanted(1); MAX_WANTED + 1];
    let message = ToMesh::Want { id: 0, priority: Priority::Page, deadline_ms: 1, pieces };
    assert_eq!(ToMesh::decode(&message.encode()), Err(BadPort(BadMessage::TooLong)));
}

#[test]
fn any_bytes_decode_without_a_panic() {
    let mut rng = crate::rng::Rng::new(12);
    let seeds: Vec<_> = to_mesh().iter().map(ToMesh::encode).chain(to_worker().iter().map(ToWorker::encode)).collect();
    for _ in 0..20_000 {
        let mut bytes = seeds[rng.below(seeds.len() as u64) as usize].clone();
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        if let Ok(message) = ToMesh::decode(&bytes) {
            assert_eq!(message.encode(), bytes);
        }
        if let Ok(message) = ToWorker::decode(&bytes) {
            assert_eq!(message.encode(), bytes);
        }
    }
}
