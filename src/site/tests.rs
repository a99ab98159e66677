use super::*;
use crate::digest::Digest;
use crate::manifest::{FORMAT, Policy};
use crate::port::Reason;
use crate::room::{Need, Room};
use crate::wire::NodeId;

#[test]
fn an_update_that_began_in_the_future_began_now() {
    let mut site = Site::default();
    assert_eq!((site.begin(8, 9_000), site.begin(8, 5_000), site.begin(8, 5_001)), (9_000, 5_000, 5_000));
}

#[test]
fn a_byte_that_was_sent_counts_once_however_often_worker_and_mesh_start_anew() {
    let figures = |mesh: u8, up: u64, rejected: u32| Stats {
        mesh: NodeId([mesh; 20]),
        down: 0,
        up,
        wasted: up / 10,
        dropped: Reason::ALL.map(|reason| if reason == Reason::Flood { rejected } else { 0 }),
        connections: 0,
        neighbours: Vec::new(),
    };
    let mut site = Site::default();
    assert!(site.count(&figures(1, 100, 1)));
    assert!(!site.count(&figures(1, 100, 1)), "nothing new");
    // The worker was stopped and wakes: what it remembers, the mesh's figures included, comes from its storage.
    let mut site = Site::read(&site.encode()).unwrap();
    assert!(site.count(&figures(1, 150, 1)));
    assert_eq!((site.bytes.uploaded, site.bytes.wasted, site.rejected), (150, 15, 1));
    // A new mesh that happens to have sent as much, or more.
    assert!(site.count(&figures(2, 150, 1)));
    assert_eq!((site.bytes.uploaded, site.bytes.wasted, site.rejected), (300, 30, 2));
}

#[test]
fn what_is_remembered_is_read_and_what_is_damaged_is_a_new_site() {
    let mut site = at(5);
    assert_eq!(Site::read(&site.encode()).as_ref(), Some(&site));
    site.switch(&root(7), "another jws".into());
    site.pin("tab", Pin::Version(5), 9_000);
    site.pin("other", Pin::Pass, 9_000);
    site.pass(&BadRoot::Signature);
    site.is_wordless = true;
    assert_eq!((site.begin(8, 9_000), site.begin(9, 9_001), site.begin(8, 9_002)), (9_000, 9_001, 9_000));
    (site.consent, site.paused, site.rejected, site.origin) = (Answer::Denied, true, 9, (40, 5_000_000));
    site.refused = Need { whole: 9, missing: 8 }.tried(Room::told(0, 0, 0), None, 9_000);
    site.bytes = Bytes { cache: 1, peer: 2, origin: 3, uploaded: 4, wasted: u64::MAX };
    site.counted = Counted { mesh: [6; 20], up: 10, wasted: 11, rejected: 12 };
    let bytes = site.encode();
    assert_eq!(Site::read(&bytes), Some(site));
    for cut in 0..bytes.len() {
        assert_eq!(Site::read(&bytes[..cut]), None);
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] = 0xff;
        Site::read(&damaged);
    }
}

fn root(version: u64) -> Root {
    Root {
        format: FORMAT,
        site: "s".into(),
        version,
        issued: 0,
        expires: 1000,
        index: Digest::of(b""),
        index_bytes: 0,
        delta: None,
        key: 1,
        files: 0,
        bytes: 0,
        policy: Policy::default(),
        retired: false,
    }
}

fn at(version: u64) -> Site {
    let mut site = Site::default();
    site.switch(&root(version), "jws".into());
    site
}

#[test]
fn versions_only_grow() {
    let site = at(5);
    assert_eq!(site.judge(&root(5), Word::Origin, 0), Ok(Verdict::Current));
    assert_eq!(site.judge(&root(6), Word::Origin, 0), Ok(Verdict::Newer));
    assert_eq!(site.judge(&root(4), Word::Origin, 0), Err(BadRoot::Rollback { found: 4, known: 5 }));
}

#[test]
fn of_two_updates_at_a_time_the_newer_one_stands() {
    let mut site = at(5);
    site.switch(&root(7), "seven".into());
    assert!(site.is_late(&root(6)));
    site.switch(&root(6), "six".into());
    assert_eq!((site.current, site.roots.contains_key(&6)), (Some(7), false));
}

#[test]
fn a_neighbours_word_is_enough_only_where_the_owner_says_so_and_the_origin_is_not_refused() {
    let mut site = at(5);
    assert!(site.suffices(true) && !site.suffices(false));
    site.pass(&BadRoot::Signature);
    assert!(!site.suffices(true));
}

#[test]
fn expiry_gates_peers_only() {
    let site = at(5);
    assert_eq!(site.judge(&root(6), Word::Peer, 1000), Err(BadRoot::Expired(1000)));
    assert_eq!(site.judge(&root(6), Word::Origin, 5000), Ok(Verdict::Newer));
}

#[test]
fn only_the_origin_retires_a_site() {
    let retired = Root { retired: true, ..root(6) };
    assert_eq!(at(5).judge(&retired, Word::Origin, 0), Ok(Verdict::Retired));
    assert_ne!(at(5).judge(&retired, Word::Peer, 0), Ok(Verdict::Retired));
}

#[test]
fn a_tab_keeps_its_version_across_a_deploy() {
    let mut site = at(5);
    site.pin("tab", Pin::Version(5), 9_000);
    site.switch(&root(6), "jws".into());
    site.pin("new", Pin::Version(6), 9_000);
    assert_eq!(site.version_for("tab"), Some(5));
    assert_eq!(site.version_for("new"), Some(6));
    assert_eq!((site.knows("tab"), site.knows("another")), (true, false));
    let alive = ["new".to_owned(), "tab".to_owned()];
    assert_eq!(site.unused(&alive, 9_000), Vec::<u64>::new());
    // Not to be seen for a while: it may be in the back/forward cache.
    assert_eq!(site.unused(&alive[..1], 9_000 + UNSEEN - 1), Vec::<u64>::new());
    let gone = site.unused(&alive[..1], 9_000 + UNSEEN);
    assert_eq!(gone, vec![5]);
    assert!(site.roots.contains_key(&5), "what it let peers have is looked up first");
    site.forget(&gone);
    assert!(!site.roots.contains_key(&5));
}

#[test]
fn a_tab_whose_pin_was_lost_keeps_what_it_was_opened_with() {
    let mut site = at(5);
    site.pin("another", Pin::Pass, 9_000);
    site.pin_strangers(&["lost".into(), "another".into()], 9_000);
    site.switch(&root(6), "jws".into());
    assert_eq!((site.version_for("lost"), site.version_for("another")), (Some(5), None));
    assert_eq!(site.version_for("opened later"), Some(6));
}

#[test]
fn a_version_is_remembered_to_be_current_before_it_is() {
    let mut site = at(5);
    site.begin(6, 9_000);
    site.pass(&BadRoot::Signature);
    let before = site.clone();
    let stored = Site::read(&site.encode_switched(&root(6), "six")).unwrap();
    assert_eq!(site.roots.get(&6).map(String::as_str), Some("six"));
    site.roots.remove(&6);
    assert_eq!(site, before);
    site.switch(&root(6), "six".into());
    assert_eq!(stored, site);
}

#[test]
fn an_update_is_under_way_until_it_is_whole_or_the_origin_says_otherwise() {
    let mut site = at(5);
    site.begin(6, 9_000);
    assert!(Site::read(&site.encode()).is_some_and(|site| site.is_updating()));
    let mut other = site.clone();
    site.switch(&root(6), "six".into());
    other.confirm();
    assert!(!site.is_updating() && !other.is_updating());
    // Of two at a time, the newer one goes on.
    site.begin(7, 9_000);
    site.begin(8, 9_001);
    site.switch(&root(7), "seven".into());
    assert!(site.is_updating());
    site.begin(9, 9_002);
    site.switch(&root(8), "eight".into());
    site.give_up(9);
    assert!(!site.is_updating());
}

#[test]
fn a_root_that_cannot_be_accepted_passes_everything_until_a_good_one() {
    let mut site = at(5);
    site.pass(&BadRoot::Signature);
    assert_eq!(site.version_for("tab"), None);
    site.confirm();
    assert_eq!(site.version_for("tab"), Some(5));
}
