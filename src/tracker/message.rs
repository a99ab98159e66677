//! The messages of the WebTorrent tracker protocol, as JSON text: what a peer sends is parsed into [`Request`], what it
//! gets is written by the functions below.
//!
//! Session descriptions are most of the bytes. They are checked to be JSON strings of a bounded length and otherwise
//! never decoded: the relayed message holds the very text that came in.
//!
//! There is no specification; the protocol is what `bittorrent-tracker`'s server and client do
//! (`lib/server/parse-websocket.js`, `lib/client/websocket-tracker.js`).

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The most info hashes that one scrape may name, and the most that a scrape of everything answers.
pub(super) const MAX_SCRAPED: usize = 64;

/// Twenty bytes that name a swarm, a peer or an offer. In JSON they are a string of 20 characters from U+0000 to U+00FF,
/// one a byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 20]);

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A message from a peer. Fields that the tracker has no use for are skipped.
#[derive(Debug, Deserialize)]
pub(super) struct Request<'a> {
    pub(super) action: Action,
    #[serde(default)]
    pub(super) info_hash: Hashes,
    pub(super) peer_id: Option<Id>,
    #[serde(default, deserialize_with = "number")]
    pub(super) numwant: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) left: Option<u64>,
    #[serde(default)]
    pub(super) event: Option<Event>,
    #[serde(default, borrow)]
    pub(super) offers: Option<Offers<'a>>,
    #[serde(default, borrow)]
    pub(super) answer: Option<Description<'a>>,
    pub(super) to_peer_id: Option<Id>,
    pub(super) offer_id: Option<Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Announce,
    Scrape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    Started,
    Stopped,
    Completed,
    #[serde(alias = "empty", alias = "paused", alias = "")]
    Update,
}

/// The info hashes of a request: none, one, or a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Hashes {
    #[default]
    Absent,
    One(Id),
    Many(Vec<Id>),
}

/// The offers of an announce, in its order. What is beyond the bound is skipped.
#[derive(Debug)]
pub(super) struct Offers<'a>(pub(super) Vec<Offer<'a>>);

#[derive(Debug, Deserialize)]
pub(super) struct Offer<'a> {
    pub(super) offer_id: Id,
    #[serde(borrow)]
    pub(super) offer: Description<'a>,
}

/// An `RTCSessionDescription` as JSON. Only its type and SDP are relayed.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Description<'a> {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    /// The SDP as it stands in the message, quotes and escapes included.
    #[serde(borrow)]
    pub(super) sdp: &'a RawValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Offer,
    Answer,
}

impl Description<'_> {
    /// Whether this is a description of `kind` whose SDP is text of at most `limit` bytes.
    pub(super) fn is(&self, kind: Kind, limit: usize) -> bool {
        let sdp = self.sdp.get();
        self.kind == kind && sdp.starts_with('"') && sdp.len() <= limit.saturating_add(2)
    }
}

/// Parses one text message.
pub(super) fn parse(text: &str) -> Result<Request<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

/// The answer to an announce. `interval` is in seconds.
pub(super) fn announced(info_hash: Id, interval: u64, complete: usize, incomplete: usize) -> String {
    let mut out = String::with_capacity(144);
    out.push_str(r#"{"action":"announce","info_hash":"#);
    push_id(&mut out, info_hash);
    let _ = write!(out, r#","interval":{interval},"complete":{complete},"incomplete":{incomplete}}}"#);
    out
}

/// An offer or an answer on its way to another peer.
pub(super) fn relayed(kind: Kind, info_hash: Id, from: Id, offer_id: Id, sdp: &RawValue) -> String {
    let mut out = String::with_capacity(256 + sdp.get().len());
    out.push_str(r#"{"action":"announce","info_hash":"#);
    push_id(&mut out, info_hash);
    out.push_str(r#","peer_id":"#);
    push_id(&mut out, from);
    out.push_str(r#","offer_id":"#);
    push_id(&mut out, offer_id);
    out.push_str(match kind {
        Kind::Offer => r#","offer":{"type":"offer","sdp":"#,
        Kind::Answer => r#","answer":{"type":"answer","sdp":"#,
    });
    out.push_str(sdp.get());
    out.push_str("}}");
    out
}

/// The answer to a scrape: swarm, complete, incomplete. `interval` is in seconds.
pub(super) fn scraped(swarms: impl Iterator<Item = (Id, usize, usize)>, interval: u64) -> String {
    let mut out = String::from(r#"{"action":"scrape","files":{"#);
    for (i, (info_hash, complete, incomplete)) in swarms.enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_id(&mut out, info_hash);
        let _ = write!(out, r#":{{"complete":{complete},"incomplete":{incomplete},"downloaded":{complete}}}"#);
    }
    let _ = write!(out, r#"}},"flags":{{"min_request_interval":{interval}}}}}"#);
    out
}

/// What a peer is told whose request was refused.
pub(super) fn failure(reason: &str, of: Option<(Action, Option<Id>)>) -> String {
    let mut out = String::from(r#"{"failure reason":"#);
    push_text(&mut out, reason.bytes().map(|b| if b.is_ascii() { b } else { b'?' }));
    if let Some((action, info_hash)) = of {
        out.push_str(match action {
            Action::Announce => r#","action":"announce""#,
            Action::Scrape => r#","action":"scrape""#,
        });
        if let Some(info_hash) = info_hash {
            out.push_str(r#","info_hash":"#);
            push_id(&mut out, info_hash);
        }
    }
    out.push('}');
    out
}

fn push_id(out: &mut String, id: Id) {
    push_text(out, id.0.into_iter());
}

/// Writes Latin-1 as a JSON string.
fn push_text(out: &mut String, bytes: impl Iterator<Item = u8>) {
    out.push('"');
    for byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0..0x20 => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(char::from(byte)),
        }
    }
    out.push('"');
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of 20 characters up to U+00FF")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                id_of(text).ok_or_else(|| E::invalid_value(de::Unexpected::Other("another text"), &self))
            }
        }
        from.deserialize_str(Text)
    }
}

fn id_of(text: &str) -> Option<Id> {
    if let Ok(bytes) = text.as_bytes().try_into()
        && text.is_ascii()
    {
        return Some(Id(bytes));
    }
    let mut id = [0; 20];
    let mut chars = text.chars();
    for byte in &mut id {
        *byte = u8::try_from(u32::from(chars.next()?)).ok()?;
    }
    chars.next().is_none().then_some(Id(id))
}

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Hashes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an info hash (a string of 20 characters up to U+00FF) or a list of at most 64")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Hashes, E> {
                Ok(Hashes::Absent)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hashes, E> {
                let id = id_of(text).ok_or_else(|| E::invalid_value(de::Unexpected::Other("another text"), &self))?;
                Ok(Hashes::One(id))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Hashes, A::Error> {
                let mut hashes = Vec::new();
                while let Some(hash) = list.next_element()? {
                    if hashes.len() == MAX_SCRAPED {
                        return Err(de::Error::invalid_length(MAX_SCRAPED + 1, &self));
                    }
                    hashes.push(hash);
                }
                Ok(Hashes::Many(hashes))
            }
        }
        from.deserialize_any(Any)
    }
}

/// The most offers that one announce can have relayed, whatever the limits say.
const MAX_OFFERS: usize = 32;

impl<'de: 'a, 'a> Deserialize<'de> for Offers<'a> {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Offers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of offers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Offers<'de>, A::Error> {
                let mut offers = Vec::with_capacity(5);
                while offers.len() < MAX_OFFERS {
                    let Some(offer) = list.next_element()? else { return Ok(Offers(offers)) };
                    offers.push(offer);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Offers(offers))
            }
        }
        from.deserialize_seq(List)
    }
}

/// A count as browsers send it: an integer, a fraction, digits in a string, or nothing (`JSON.stringify` makes `null` of
/// `Infinity`, which says that the size is not known yet). Negative counts are none.
fn number<'de, D: de::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    struct Count;
    impl Visitor<'_> for Count {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<u64>, E> {
            Ok(None)
        }

        fn visit_u64<E: de::Error>(self, n: u64) -> Result<Option<u64>, E> {
            Ok(Some(n))
        }

        fn visit_i64<E: de::Error>(self, n: i64) -> Result<Option<u64>, E> {
            Ok(u64::try_from(n).ok())
        }

        fn visit_f64<E: de::Error>(self, n: f64) -> Result<Option<u64>, E> {
            // Rounded up: a fraction of a byte left is not nothing left.
            Ok((n >= 0.0).then_some(n.ceil() as u64))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u64>, E> {
            Ok(text.parse().ok())
        }
    }
    from.deserialize_any(Count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_twenty_latin1_characters() {
        let all: Vec<Id> = (0..=255_u8).map(|b| Id([b; 20])).collect();
        for id in all {
            let mut text = String::new();
            push_id(&mut text, id);
            assert_eq!(serde_json::from_str::<Id>(&text).unwrap(), id, "{text}");
            let latin1: String = id.0.iter().copied().map(char::from).collect();
            assert_eq!(serde_json::from_str::<String>(&text).unwrap(), latin1);
        }
        for wrong in ["\"\"", "\"0123456789012345678\"", "\"012345678901234567890\"", "\"0123456789012345678Ā\"", "7"]
        {
            assert!(serde_json::from_str::<Id>(wrong).is_err(), "{wrong}");
        }
        // Twenty bytes of UTF-8 that are ten characters.
        assert!(serde_json::from_str::<Id>("\"éééééééééé\"").is_err());
    }

    #[test]
    fn counts_are_read_as_browsers_send_them() {
        let left = |text: &str| {
            let text = format!(r#"{{"action":"announce","left":{text}}}"#);
            parse(&text).map(|r| r.left)
        };
        for (text, want) in
            [("0", Some(0)), ("7", Some(7)), ("-1", None), ("null", None), ("0.5", Some(1)), ("1e30", Some(u64::MAX))]
        {
            assert_eq!(left(text).unwrap(), want, "{text}");
        }
        assert_eq!(left("\"12\"").unwrap(), Some(12));
        assert!(left("{}").is_err());
    }

    #[test]
    fn a_description_passes_through_as_it_stands() {
        let text = r#"{"offer_id":"oooooooooooooooooooo","offer":{"sdp":"v=0\r\n\u00e9é","extra":[1],"type":"offer"}}"#;
        let offer: Offer<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(offer.offer.sdp.get(), r#""v=0\r\n\u00e9é""#);
        assert!(offer.offer.is(Kind::Offer, 64));
        assert!(!offer.offer.is(Kind::Answer, 64));
        assert!(!offer.offer.is(Kind::Offer, 8));
        let sent = relayed(Kind::Offer, Id([1; 20]), Id([2; 20]), Id([255; 20]), offer.offer.sdp);
        let value: serde_json::Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(value["offer"], serde_json::json!({"type": "offer", "sdp": "v=0\r\néé"}));
    }

    #[test]
    fn an_sdp_that_is_not_text_is_no_description() {
        let text = r#"{"type":"offer","sdp":{"a":1}}"#;
        let description: Description<'_> = serde_json::from_str(text).unwrap();
        assert!(!description.is(Kind::Offer, 64));
    }

    #[test]
    fn failures_are_json_whatever_they_quote() {
        let text = failure("a \"quoted\"\n line – and more", Some((Action::Announce, Some(Id([34; 20])))));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["action"], "announce");
        assert_eq!(value["info_hash"], "\"".repeat(20));
    }
}
