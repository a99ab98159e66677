//! What the authors of TUF (The Update Framework, section 1.5.2) list as attacks on whoever takes updates from others, each
//! against the rules of a root; and what a stolen key is good for. The rules are called as the service worker calls them.
//!
//! | attack | what holds against it |
//! | --- | --- |
//! | arbitrary software | everything is signed, or addressed by the hash that something signed holds |
//! | rollback | versions and key numbers only grow |
//! | freeze | only the origin's word makes a root current; one that peers say expires |
//! | fast-forward | peers' versions of the future are not taken; another key begins anew |
//! | mix and match | a root names its index by hash, that its shards, those their pieces |
//! | endless data | limits before anything is parsed |
//! | wrong software | the site id and the kind of thing are in what is signed |
//! | extraneous dependencies | nothing but what the manifest lists is looked for |
//! | slow retrieval | a deadline whose answer is the origin: `a_stalled_mesh_is_hedged_and_the_first_answer_wins` in `transfer` |
//! | key compromise | a key is followed by links from the origin alone, and gone once it was followed |

use crate::digest::Digest;
use crate::keys::{BadLink, Chain, MAX_KEYS, MAX_LINK_BYTES, PublicKey, UnverifiedLink};
use crate::manifest::*;
use crate::sign::Key;
use crate::site::{Hint, Site, Verdict, Word};
use crate::text::Base64;
use crate::verify::{self, BadPart, Mismatch, UnverifiedRoot};

/// Unix time of all of this.
const NOW: u64 = 1_800_000_000;
const YEAR: u64 = 365 * 24 * 3600;

fn key(seed: u8) -> Key {
    Key::from_random(&[seed; 32]).unwrap()
}

fn site_id() -> String {
    key(1).public().thumbprint()
}

fn root(key: u32, version: u64) -> Root {
    Root {
        format: FORMAT,
        site: site_id(),
        version,
        issued: version,
        expires: NOW + YEAR,
        index: Digest::of(b"an index"),
        index_bytes: 8,
        delta: None,
        key,
        files: 0,
        bytes: 0,
        policy: Policy::default(),
        retired: false,
    }
}

/// The link from the key of seed n - 1 to that of seed n.
fn link(number: u8) -> (u32, String) {
    let text = key(number - 1).link(&key(number), &site_id(), number.into(), NOW).unwrap();
    (number.into(), text)
}

/// One who knows the first key, which is that of seed 1, and follows the rules.
struct Visitor {
    chain: Chain<PublicKey>,
    site: Site,
}

impl Visitor {
    fn new() -> Self {
        Self { chain: Chain::new(site_id(), key(1).public()), site: Site::default() }
    }

    /// The origin serves a root, and links. Takes it up if it can be.
    fn origin(&mut self, text: &str, links: &[(u32, String)]) -> Result<Verdict, BadRoot> {
        let parsed = UnverifiedRoot::parse(text.as_bytes())?;
        let number = parsed.claims().key;
        let bad = |next, why| BadRoot::Link(number, next, why);
        while let Some(next) = self.chain.next(number).map_err(|why| bad(number, why))? {
            let found = links.iter().find(|(number, _)| *number == next);
            let (_, link) = found.ok_or(bad(next, BadLink::Missing))?;
            self.chain.follow(link.as_bytes()).map_err(|why| bad(next, why))?;
        }
        let signed = self.chain.get(number).unwrap().signed(parsed.signed()).unwrap();
        let root = parsed.accept(signed, &site_id())?.into_inner();
        let verdict = self.site.judge(&root.root, Word::Origin, NOW)?;
        self.site.switch(&root.root, root.text);
        Ok(verdict)
    }

    /// A neighbour says a root. It is never taken up on that.
    fn peer(&mut self, text: &str, now: u64) -> Result<(Hint, Option<Verdict>), BadRoot> {
        let parsed = UnverifiedRoot::parse(text.as_bytes())?;
        let hint = self.site.hear(parsed.claims(), now);
        if hint != Hint::Check {
            return Ok((hint, None));
        }
        let key = self.chain.get(parsed.claims().key).cloned();
        let signed = key.is_some_and(|key| key.signed(parsed.signed()).unwrap());
        let root = parsed.accept(signed, &site_id())?;
        self.site.judge(&root.root, Word::Peer, now).map(|verdict| (hint, Some(verdict)))
    }
}

/// A visitor who has version NOW by key 1.
fn regular() -> Visitor {
    let mut visitor = Visitor::new();
    assert_eq!(visitor.origin(&key(1).sign(&root(1, NOW)).unwrap(), &[]), Ok(Verdict::Newer));
    visitor
}

fn entry(path: &str, bytes: &[u8]) -> Entry {
    Entry {
        path: path.into(),
        size: bytes.len() as u64,
        integrity: Digest::of(bytes),
        media_type: "text/plain".into(),
        label: Label::Share,
        precache: false,
        headers: Vec::new(),
        pieces: vec![Piece { digest: Digest::of(bytes), len: u32::try_from(bytes.len()).unwrap() }],
    }
}

/// The bytes of one who adds members to a JWS's payload, or changes them, and can't sign.
fn altered(jws: &str, from: &str, to: &str) -> String {
    let mut parts: Vec<&str> = jws.split('.').collect();
    let payload = String::from_utf8(Base64::Url.decode(parts[1]).unwrap()).unwrap();
    assert!(payload.contains(from));
    let payload = Base64::Url.encode(payload.replace(from, to).as_bytes());
    parts[1] = &payload;
    parts.join(".")
}

#[test]
fn two_sets_of_files_under_one_version_are_refused() {
    let mut visitor = regular();
    let other = key(1).sign(&Root { index: Digest::of(b"another index"), ..root(1, NOW) }).unwrap();
    assert_eq!(visitor.origin(&other, &[]), Err(BadRoot::Another(NOW)));
    assert_eq!(visitor.peer(&other, NOW), Err(BadRoot::Another(NOW)));
    let resigned = key(1).sign(&Root { expires: NOW + 2 * YEAR, ..root(1, NOW) }).unwrap();
    assert_eq!(visitor.origin(&resigned, &[]), Ok(Verdict::Current));
}

#[test]
fn a_neighbour_retires_nothing() {
    let mut visitor = regular();
    let retired = key(1).sign(&Root { retired: true, ..root(1, NOW + 1) }).unwrap();
    assert_eq!(visitor.peer(&retired, NOW), Ok((Hint::Check, Some(Verdict::Current))));
    assert_eq!(visitor.origin(&retired, &[]), Ok(Verdict::Retired));
}

#[test]
fn arbitrary_software_is_refused() {
    let mut visitor = regular();
    // Signed by another, or altered after it was signed.
    let next = root(1, NOW + 1);
    for text in [key(9).sign(&next).unwrap(), altered(&key(1).sign(&next).unwrap(), "\"files\":0", "\"files\":1")] {
        assert_eq!(visitor.origin(&text, &[]), Err(BadRoot::Signature));
        assert_eq!(visitor.peer(&text, NOW), Err(BadRoot::Signature));
    }
    // Signed by nobody, as JWS lets one say.
    let signed = key(1).sign(&next).unwrap();
    let (_, rest) = signed.split_once('.').unwrap();
    let none = format!("{}.{rest}", Base64::Url.encode(br#"{"alg":"none","typ":"peerage-root"}"#));
    assert!(matches!(visitor.origin(&none, &[]), Err(BadRoot::NotAJws(_))));
    // Below the root: other bytes than those listed.
    let want = Piece { digest: Digest::of(b"good"), len: 4 };
    assert!(matches!(verify::piece((), 4, Digest::of(b"evil"), &want), Err(Mismatch::Digest { .. })));
    assert!(verify::addressed((), Digest::of(b"evil"), Digest::of(b"good")).is_err());
}

#[test]
fn rollback_is_refused() {
    let mut visitor = regular();
    let old = key(1).sign(&root(1, NOW - 1)).unwrap();
    let refused = Err(BadRoot::Rollback { found: NOW - 1, known: NOW });
    assert_eq!(visitor.origin(&old, &[]), refused);
    assert_eq!(visitor.peer(&old, NOW).map(|_| Verdict::Newer), refused);
    // Also by a worker that was stopped and wakes.
    visitor.site = Site::read(&visitor.site.encode()).unwrap();
    assert_eq!(visitor.origin(&old, &[]), refused);
}

#[test]
fn peers_cannot_freeze_a_visitor() {
    let mut visitor = regular();
    // What they say for ever was good once.
    let expired = key(1).sign(&Root { expires: NOW + 5, ..root(1, NOW + 1) }).unwrap();
    assert_eq!(visitor.peer(&expired, NOW + 4), Ok((Hint::Check, Some(Verdict::Newer))));
    assert_eq!(visitor.peer(&expired, NOW + 5), Err(BadRoot::Expired(NOW + 5)));
    // What the origin says goes, whatever they said: an idle owner's site does not stop.
    assert_eq!(visitor.origin(&expired, &[]), Ok(Verdict::Newer));
}

#[test]
fn fast_forward_by_peers_is_refused_and_another_key_ends_it() {
    let mut visitor = regular();
    let far = key(1).sign(&root(1, u64::MAX)).unwrap();
    assert_eq!(visitor.peer(&far, NOW), Err(BadRoot::Ahead(u64::MAX)));
    // One that had come over the origin.
    assert_eq!(visitor.origin(&far, &[]), Ok(Verdict::Newer));
    let good = |number| key(u8::try_from(number).unwrap()).sign(&root(number, NOW + 10)).unwrap();
    assert!(matches!(visitor.origin(&good(1), &[]), Err(BadRoot::Rollback { .. })));
    assert_eq!(visitor.origin(&good(2), &[link(2)]), Ok(Verdict::Newer));
    assert_eq!((visitor.site.current, visitor.site.floor, visitor.site.key_floor), (Some(NOW + 10), NOW + 10, 2));
    // Nor does the floor of the new key yield to the old key's versions.
    assert_eq!(visitor.origin(&far, &[link(2)]), Err(BadRoot::OldKey { found: 1, known: 2 }));
    let before = key(2).sign(&root(2, NOW + 9)).unwrap();
    assert!(matches!(visitor.origin(&before, &[]), Err(BadRoot::Rollback { .. })));
}

#[test]
fn versions_are_not_mixed() {
    let tree = |bytes: &[u8]| build_tree(&mut [entry("a", b"always the same"), entry("b", bytes)]).unwrap();
    let (one, two) = (tree(b"one"), tree(b"two"));
    let child = one.top.children().next().unwrap();
    let shard = |tree: &Tree| tree.shards[0].as_bytes().to_vec();
    let index = |tree: &Tree| tree.top.as_bytes().to_vec();
    assert!(verify::shard(shard(&one), Digest::of(&shard(&one)), &child).is_ok());
    let mixed = verify::shard(shard(&two), Digest::of(&shard(&two)), &child).map(drop);
    assert!(matches!(mixed, Err(BadPart::Mismatch(_))));
    assert!(verify::index(index(&one), Digest::of(&index(&one)), one.top.digest()).is_ok());
    let mixed = verify::index(index(&two), Digest::of(&index(&two)), one.top.digest()).map(drop);
    assert!(matches!(mixed, Err(BadPart::Mismatch(_))));
}

#[test]
fn endless_data_is_refused_before_it_is_parsed() {
    let good = key(1).sign(&root(1, NOW)).unwrap();
    let padded = |text: &str, len: usize| format!("{text}{}", " ".repeat(len - text.len()));
    assert!(UnverifiedRoot::parse(padded(&good, MAX_ROOT_BYTES).as_bytes()).is_ok());
    let too_large = UnverifiedRoot::parse(padded(&good, MAX_ROOT_BYTES + 1).as_bytes());
    assert_eq!(too_large.unwrap_err(), BadRoot::TooLarge);
    let (_, good) = link(2);
    assert!(UnverifiedLink::parse(padded(&good, MAX_LINK_BYTES).as_bytes()).is_ok());
    let too_large = UnverifiedLink::parse(padded(&good, MAX_LINK_BYTES + 1).as_bytes());
    assert_eq!(too_large.unwrap_err(), BadLink::TooLarge);
    let open = |bytes: Vec<u8>| verify::index(bytes.clone(), Digest::of(&bytes), Digest::of(&bytes)).map(drop);
    assert_eq!(open(vec![0; MAX_PAGE_BYTES + 1]), Err(BadPart::Form(BadManifest::TooLarge(MAX_PAGE_BYTES))));
    let bytes = vec![0; MAX_SHARD_BYTES + 1];
    let child = Child { first: String::new(), digest: Digest::of(&bytes), bytes: 1, precache: false };
    let open = verify::shard(bytes, child.digest, &child).map(drop);
    assert_eq!(open, Err(BadPart::Form(BadManifest::TooLarge(MAX_SHARD_BYTES))));
    let want = Piece { digest: Digest::of(b"good"), len: 4 };
    assert_eq!(verify::piece((), 5, want.digest, &want), Err(Mismatch::Length { found: 5, want: 4 }));
    // A way that does not end is not begun.
    let chain = Chain::new(site_id(), key(1).public());
    assert_eq!((chain.next(MAX_KEYS), chain.next(MAX_KEYS + 1)), (Ok(Some(2)), Err(BadLink::Number)));
    assert_eq!(chain.next(0), Err(BadLink::Number));
}

#[test]
fn what_was_signed_for_another_site_or_purpose_is_refused() {
    let mut visitor = regular();
    let foreign = key(1).sign(&Root { site: key(2).public().thumbprint(), ..root(1, NOW + 1) }).unwrap();
    assert!(matches!(visitor.origin(&foreign, &[]), Err(BadRoot::OtherSite(_))));
    let foreign = key(1).link(&key(2), "another", 2, NOW).unwrap();
    assert_eq!(visitor.chain.follow(foreign.as_bytes()), Err(BadLink::Other));
    // A link's parts, put together as a root; a root's, as a link.
    let link: serde_json::Value = serde_json::from_str(&link(2).1).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let one = &link["signatures"][0];
    let as_root = [&one["protected"], &link["payload"], &one["signature"]].map(text).join(".");
    assert!(matches!(UnverifiedRoot::parse(as_root.as_bytes()), Err(BadRoot::NotAJws(_))));
    let signed = key(1).sign(&root(1, NOW)).unwrap();
    let [header, payload, signature] = signed.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let one = serde_json::json!({ "protected": header, "signature": signature });
    let as_link = serde_json::json!({ "payload": payload, "signatures": [one, one] }).to_string();
    assert!(matches!(UnverifiedLink::parse(as_link.as_bytes()), Err(BadLink::NotAJws(_))));
}

#[test]
fn nothing_that_is_not_listed_is_looked_for() {
    let tree = build_tree(&mut [entry("a.js", b"a")]).unwrap();
    assert!(tree.shards[0].find("a.js").is_some());
    assert!(tree.shards[0].find("b.js").is_none() && tree.shards[0].find("a.js/../b.js").is_none());
}

#[test]
fn a_visitor_who_missed_changes_of_keys_follows_them_all() {
    let text = key(4).sign(&root(4, NOW + 1)).unwrap();
    let links = [link(2), link(3), link(4)];
    for mut visitor in [regular(), Visitor::new()] {
        assert_eq!(visitor.origin(&text, &links), Ok(Verdict::Newer));
        assert_eq!((visitor.chain.last(), visitor.site.key_floor), (4, 4));
    }
    // A link that is not there, or not yet.
    let missing = Err(BadRoot::Link(4, 3, BadLink::Missing));
    assert_eq!(regular().origin(&text, &[link(2), link(4)]), missing);
}

#[test]
fn a_link_counts_with_both_signatures_only() {
    let by = |old: u8, new: u8, number| key(old).link(&key(new), &site_id(), number, NOW).unwrap();
    let follow = |link: &str| Chain::new(site_id(), key(1).public()).follow(link.as_bytes());
    assert_eq!(follow(&by(1, 2, 2)), Ok(()));
    // By one who has the new key only.
    assert_eq!(follow(&by(3, 2, 2)), Err(BadLink::Signature("old")));
    // To a key whose holder did not agree.
    let mut taken: serde_json::Value = serde_json::from_str(&by(1, 2, 2)).unwrap();
    taken["signatures"][1] = taken["signatures"][0].clone();
    assert_eq!(follow(&taken.to_string()), Err(BadLink::Signature("new")));
    taken["signatures"].as_array_mut().unwrap().pop();
    assert!(matches!(follow(&taken.to_string()), Err(BadLink::NotAJws(_))));
    // Past a key, and to the first again.
    let first = Chain::new(site_id(), ());
    for number in [3, 1] {
        assert_eq!(first.read(by(1, 2, number).as_bytes()).map(drop), Err(BadLink::Other));
    }
    // What is called signed is not, but for the caller's word.
    let link = UnverifiedLink::parse(by(1, 2, 2).as_bytes()).unwrap();
    let mut chain = Chain::new(site_id(), ());
    assert_eq!(chain.accept(&link, false, true, ()), Err(BadLink::Signature("old")));
    assert_eq!(chain.accept(&link, true, false, ()), Err(BadLink::Signature("new")));
    assert_eq!((chain.accept(&link, true, true, ()), chain.last()), (Ok(()), 2));
    assert_eq!(chain.accept(&link, true, true, ()), Err(BadLink::Other));
}

#[test]
fn a_key_that_was_followed_by_another_signs_nothing_any_more() {
    let mut visitor = regular();
    assert_eq!(visitor.origin(&key(2).sign(&root(2, NOW + 1)).unwrap(), &[link(2)]), Ok(Verdict::Newer));
    visitor.site = Site::read(&visitor.site.encode()).unwrap();
    // However new its version.
    let stolen = key(1).sign(&root(1, NOW + 9)).unwrap();
    assert_eq!(visitor.origin(&stolen, &[]), Err(BadRoot::OldKey { found: 1, known: 2 }));
    assert_eq!(visitor.peer(&stolen, NOW), Err(BadRoot::OldKey { found: 1, known: 2 }));
    // Nor can it say that it is the newer one.
    assert_eq!(visitor.origin(&key(1).sign(&root(2, NOW + 9)).unwrap(), &[]), Err(BadRoot::Signature));
}

#[test]
fn peers_bring_no_key_into_being() {
    let mut visitor = regular();
    // A thief has key 1, and so can make a link to one of their own; and anybody can claim any number.
    let thief = key(2).sign(&root(2, NOW + 1)).unwrap();
    assert_eq!(visitor.peer(&thief, NOW), Ok((Hint::Ask, None)));
    // A swarm full of them costs the origin one question a minute.
    for (number, seconds) in [(2, 0), (3, 30), (7, 59)] {
        let claimed = key(9).sign(&root(number, NOW + 1)).unwrap();
        assert_eq!(visitor.peer(&claimed, NOW + seconds), Ok((Hint::Ignore, None)));
    }
    assert_eq!(visitor.peer(&thief, NOW + 60), Ok((Hint::Ask, None)));
    // Whoever had not asked would not take it either.
    assert_eq!(visitor.site.judge(&root(2, NOW + 1), Word::Peer, NOW), Err(BadRoot::NewKey(2)));
    assert_eq!((visitor.chain.last(), visitor.site.key_floor), (1, 1));
}
