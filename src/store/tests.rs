use super::*;

fn pieces(names: &[&str]) -> Vec<Piece> {
    names.iter().map(|n| Piece { digest: Digest::of(n.as_bytes()), len: 10 }).collect()
}

fn shell(names: &[&str]) -> Vec<Digest> {
    sorted::sort(names.iter().map(|name| Digest::of(name.as_bytes())).collect())
}

#[test]
fn pieces_are_found_where_they_were_put_and_again_from_a_snapshot() {
    let mut store = Store::default();
    let (first, second) = (store.reserve(), store.reserve());
    store.insert(first, pieces(&["a", "b"]), true);
    store.insert(second, pieces(&["c"]), false);
    let again = Store::from_snapshot(&store.snapshot()).unwrap();
    for store in [&store, &again] {
        assert_eq!(store.place(&Digest::of(b"b")), Some(Place { segment: first, offset: 10, len: 10 }));
        assert_eq!(store.shared().count(), 2);
        assert_eq!((store.bytes(), store.pieces()), (30, 3));
    }
    assert_eq!(again.clone().reserve(), 3);
}

#[test]
fn a_piece_in_two_segments_outlives_one() {
    let mut store = Store::default();
    store.insert(1, pieces(&["a", "b"]), true);
    store.insert(2, pieces(&["b"]), true);
    assert_eq!(store.remove(1), vec![Digest::of(b"a")]);
    assert!(store.place(&Digest::of(b"b")).is_some());
    assert_eq!(store.bytes(), 10);
}

#[test]
fn what_a_newer_version_keeps_from_peers_is_shared_no_longer() {
    let mut store = Store::default();
    store.insert(1, pieces(&["was shared"]), true);
    store.insert(2, pieces(&["is shared"]), false);
    store.insert(3, pieces(&["of an older version"]), true);
    let (shared, kept) = (vec![Digest::of(b"is shared")], vec![Digest::of(b"was shared")]);
    store.relabel(&shared, &kept);
    let shared: Vec<_> = store.segments().filter(|(_, s)| s.share).map(|(n, _)| n).collect();
    assert_eq!(shared, [2, 3]);
}

#[test]
fn what_no_version_in_use_lists_any_more_is_given_to_nobody_and_its_neighbours_in_the_segment_are() {
    let mut store = Store::default();
    store.insert(1, pieces(&["dropped", "listed", "a part of the manifest"]), true);
    let digests = |names: &[&str]| sorted::sort(pieces(names).iter().map(|piece| piece.digest).collect());
    let given = |store: &Store| sorted::sort(store.shared().map(|(digest, _)| digest).collect());
    store.withhold(&digests(&["dropped", "listed", "elsewhere"]), &digests(&["listed"]));
    let rest = digests(&["listed", "a part of the manifest"]);
    assert_eq!(given(&store), rest);
    assert!(store.place(&pieces(&["dropped"])[0].digest).is_some(), "the visitor's own tabs may still have it");
    let snapshot = store.snapshot();
    assert_eq!(given(&Store::from_snapshot(&snapshot).unwrap()), rest);
    assert!(
        (1..33).all(|cut| Store::from_snapshot(&snapshot[..snapshot.len() - cut]).is_none_or(|s| given(&s) != rest))
    );
    // A later release lists it again, or it is fetched again, which only a version that lists it leads to.
    let mut fetched = store.clone();
    let mut opened = store.clone();
    assert!(!opened.relist(&pieces(&["listed"])));
    assert!(opened.relist(&pieces(&["dropped"])));
    assert_eq!(given(&opened).len(), 3);
    store.relabel(&digests(&["dropped"]), &[]);
    assert_eq!(given(&store).len(), 3);
    fetched.remove(1);
    fetched.insert(2, pieces(&["dropped"]), true);
    assert_eq!(given(&fetched), digests(&["dropped"]));
}

#[test]
fn the_least_recently_used_go_first() {
    let mut store = Store::default();
    for n in 1..=3 {
        store.insert(n, pieces(&[&n.to_string()]), true);
    }
    store.touch(1);
    assert_eq!(store.over(15), vec![2, 3]);
    assert_eq!(store.over(30), Vec::<u64>::new());
}

#[test]
fn what_makes_a_version_whole_is_not_deleted_to_make_room() {
    let mut store = Store::default();
    store.prepare(1, shell(&["old shell"]), &[1]);
    store.insert(1, pieces(&["old shell"]), true);
    store.switch(&shell(&["old shell"]), &[]);
    store.insert(2, pieces(&["a level"]), true);
    store.insert(3, pieces(&["of both shells, once a level"]), true);
    store.prepare(2, shell(&["new shell", "of both shells, once a level"]), &[2]);
    store.insert(4, pieces(&["new shell"]), true);
    assert_eq!(store.over(0), vec![2], "the version that is current is whole until another is");
    assert_eq!(store.loose(), 10);
    assert_eq!(store.need(&pieces(&["new shell", "of neither"])), Need { whole: 20, missing: 10 });
    let again = Store::from_snapshot(&store.snapshot()).unwrap();
    assert_eq!(again.over(0), vec![2], "for the next worker, too");
    let line = store.segment(pieces(&["new shell"]), true).describe();
    let mut found = Store::default();
    assert!(found.recover(4, &line, 10));
    assert_eq!(found.over(0), Vec::<u64>::new(), "and for one that reads the segments");
    store.switch(&shell(&["new shell", "of both shells, once a level"]), &[]);
    assert_eq!(store.over(0), vec![1, 2]);
    store.switch(&[], &[]);
    assert_eq!(store.over(0), vec![1, 2, 3, 4]);
}

#[test]
fn of_two_versions_that_come_at_a_time_each_keeps_its_own() {
    let mut store = Store::default();
    store.prepare(2, shell(&["of two"]), &[2]);
    store.insert(1, pieces(&["of two"]), true);
    store.prepare(3, shell(&["of three"]), &[2, 3]);
    store.insert(2, pieces(&["of three"]), true);
    assert_eq!(store.over(0), Vec::<u64>::new(), "the later one takes nothing from the first");
    store.switch(&shell(&["of two"]), &[3]);
    store.insert(3, pieces(&["of three"]), true);
    assert_eq!(store.over(0), Vec::<u64>::new(), "nor the first, when it is done, from the later one");
    store.prepare(4, shell(&["of four"]), &[4]);
    assert_eq!(store.over(0), vec![2, 3], "but what was given up is deleted before what is whole or comes");
}

#[test]
fn what_a_whole_version_lost_and_fetched_again_stays_as_it_did_before() {
    let mut store = Store::default();
    for (number, name) in [(1, "shell"), (2, "level")] {
        store.insert(number, pieces(&[name]), true);
    }
    store.switch(&shell(&["shell", "had no room"]), &[]);
    for number in [1, 2] {
        store.remove(number);
    }
    let mut again = Store::from_snapshot(&store.snapshot()).unwrap();
    for (number, name) in [(3, "level"), (4, "shell"), (5, "had no room")] {
        again.insert(number, pieces(&[name]), true);
    }
    assert_eq!(again.over(0), vec![3]);
    again.insert(6, pieces(&["shell"]), true);
    assert_eq!(again.over(0), vec![3], "where it lies twice, too");
    again.switch(&[], &[]);
    again.remove(6);
    again.insert(7, pieces(&["shell"]), true);
    assert!(again.over(0).contains(&7), "another version is whole without it");
}

#[test]
fn a_damaged_snapshot_is_refused_and_segments_speak_for_themselves() {
    let mut store = Store::default();
    store.insert(5, pieces(&["a", "b"]), true);
    let bytes = store.snapshot();
    for cut in 0..bytes.len() {
        assert!(Store::from_snapshot(&bytes[..cut]).is_none());
    }
    let line = store.segments().next().unwrap().1.describe();
    let mut recovered = Store::default();
    assert!(!recovered.recover(5, &line, 19), "its end is missing");
    assert!(recovered.recover(5, &line, 20));
    assert!(!recovered.recover(6, &line[1..], 20));
    assert_eq!(recovered.place(&Digest::of(b"b")), store.place(&Digest::of(b"b")));
    assert_eq!(recovered.reserve(), 6);
}

#[test]
fn a_segment_that_was_written_beside_a_snapshot_is_looked_for() {
    let mut unsaved = Unsaved::default();
    let empty = unsaved.mark();
    assert!(unsaved.none_since(empty));
    unsaved.begin();
    let during = unsaved.mark();
    assert!(!unsaved.none_since(during), "it is still being written");
    unsaved.end();
    assert!(!unsaved.none_since(during), "it was written since");
    let after = unsaved.mark();
    assert!(unsaved.none_since(after));
    unsaved.begin();
    assert!(!unsaved.none_since(after), "another is being written");
}
