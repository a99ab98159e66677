//! What peers say to each other: the messages of one data channel, to bytes and back.
//!
//! A message is at most [`MAX_MESSAGE`] bytes, begins with its type, and writes its numbers little-endian. Everything a
//! peer sends is hostile until it decodes: decoding never panics, and never allocates more than the message is long. A
//! piece travels as frames that each carry their own place; a frame decodes to a header and the range of its payload, so
//! a driver can hand over the head alone and leave the payload where it is.
//!
//! Messages of an unknown type decode to [`Message::Unknown`], to be ignored: a newer peer may say more. A known type in
//! a wrong shape is an error, for which the peer is dropped. `docs/protocol.md` has the layout.

use std::ops::Range;

use crate::digest::Digest;
use crate::manifest::MAX_ROOT_BYTES;

mod gossip;

pub use gossip::{Kind, Known, MAX_DESCRIPTION, MAX_KNOWN, Shuffle, Signal};

/// The longest message, in bytes. Every browser's data channel takes 64 KiB (RFC 8841, section 6.1, and what browsers
/// announce as `max-message-size`); Chromium's sender stalls when more than this is buffered.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Bytes in a frame ahead of its payload: type, request, total, offset.
pub const FRAME_HEAD: usize = 13;

/// The longest payload of one frame.
pub const MAX_PAYLOAD: usize = MAX_MESSAGE - FRAME_HEAD;

/// The longest piece a peer may ask for or send, in bytes: the format cuts at a quarter of it.
pub const MAX_PIECE: u32 = 4 * 1024 * 1024;

/// The most prefixes in one [`Message::Have`] or [`Message::Unhave`].
pub const MAX_PREFIXES: usize = (MAX_MESSAGE - 1) / 8;

/// The first bytes of a [`Hello`], after its type.
pub const MAGIC: [u8; 4] = *b"PEER";

/// The version of this protocol. Peers of different versions part at the hello.
pub const VERSION: u16 = 1;

/// The longest hello that is read; what a newer peer appends to the known fields is ignored.
const MAX_HELLO: usize = 256;

const HELLO: u8 = 1;
const HAVE: u8 = 2;
const UNHAVE: u8 = 3;
const WANT: u8 = 4;
const REFUSE: u8 = 6;
const CANCEL: u8 = 7;
const CHOKE: u8 = 8;
const UNCHOKE: u8 = 9;
const ROOT: u8 = 10;
const PING: u8 = 11;
const PONG: u8 = 12;
const GOODBYE: u8 = 13;
const SHUFFLE: u8 = 14;
const SIGNAL: u8 = 15;

/// A visitor's name in the swarm of one site, fresh for every start of the mesh: also its `peer_id` at the tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 20]);

/// The first message each way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's [`VERSION`].
    pub version: u16,
    /// The site whose pieces it exchanges: the SHA-256 thumbprint (RFC 7638) of the site's first key.
    pub site: [u8; 32],
    /// Who is speaking.
    pub node: NodeId,
    /// The longest message the sender takes, in bytes.
    pub max_message: u32,
    /// Bits for what the sender can do beyond this version; none is defined yet, unknown ones are ignored.
    pub features: u32,
}

/// Why a wanted piece does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The sender does not hold this piece (in this length).
    NotHeld,
    /// Its queue is full.
    Busy,
    /// It is choking: paused, or its upload budget is spent.
    Choked,
    /// The receiver cancelled the request: confirms that nothing more of it comes.
    Cancelled,
}

/// The head of one frame of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The request it answers.
    pub request: u32,
    /// Length of the whole piece, in bytes.
    pub total: u32,
    /// Where this payload begins in the piece. Frames of a piece come in order, without gaps.
    pub offset: u32,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who is speaking, for which site.
    Hello(Hello),
    /// More pieces that the sender can send now, as [`Digest::prefix`]es; sets add up over messages.
    Have(Vec<u64>),
    /// Pieces that it can no longer send.
    Unhave(Vec<u64>),
    /// A question for a piece. It ends in the piece's last frame or in one [`Message::Refuse`], never in both.
    Want {
        /// A number that the asker has in no other open question on this channel.
        request: u32,
        /// The piece.
        digest: Digest,
        /// Its length in bytes, above 0 and at most [`MAX_PIECE`].
        len: u32,
    },
    /// A part of a wanted piece.
    Piece {
        /// Its place.
        frame: Frame,
        /// Where in the message its bytes are.
        payload: Range<usize>,
    },
    /// The piece does not come (any further).
    Refuse {
        /// The question.
        request: u32,
        /// Why.
        why: Refusal,
    },
    /// The asker no longer needs the piece. The other side answers with [`Refusal::Cancelled`] unless it had ended.
    Cancel {
        /// The question.
        request: u32,
    },
    /// The sender will refuse whatever is asked until [`Message::Unchoke`].
    Choke,
    /// Questions are welcome again. A connection begins unchoked.
    Unchoke,
    /// The sender's version of the site: its root, a compact JWS of at most [`MAX_ROOT_BYTES`].
    Root(String),
    /// Are you there? Answered by [`Message::Pong`] with the same number.
    Ping(u64),
    /// The answer to a [`Message::Ping`].
    Pong(u64),
    /// The sender closes the connection on purpose; it is not to be called back at once.
    Goodbye,
    /// Whom the sender knows.
    Shuffle(Shuffle),
    /// An offer or an answer on its way between two nodes.
    Signal(Signal),
    /// A type that this version does not know, to be ignored.
    Unknown(u8),
}

/// A message that no honest peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// No bytes at all.
    #[error("an empty message")]
    Empty,
    /// More than [`MAX_MESSAGE`] bytes, or more than its type allows.
    #[error("a message over its limit")]
    TooLong,
    /// Fewer or more bytes than its type needs.
    #[error("a message of a wrong length for its type")]
    Length,
    /// A field holds what it must not.
    #[error("a field out of its range")]
    Field,
}

impl Frame {
    /// The first byte of every frame.
    pub const TYPE: u8 = 5;

    /// The frame whose message begins with `head` (its first [`FRAME_HEAD`] bytes or more) and is `len` bytes long.
    /// `Ok(None)`: the message is no piece frame. The payload is `FRAME_HEAD..len`.
    pub fn decode(head: &[u8], len: usize) -> Result<Option<Self>, BadMessage> {
        match head.first() {
            None => return Err(BadMessage::Empty),
            _ if len > MAX_MESSAGE => return Err(BadMessage::TooLong),
            Some(&Self::TYPE) => {}
            Some(_) => return Ok(None),
        }
        let mut from = Reader::new(head.get(1..FRAME_HEAD).ok_or(BadMessage::Length)?);
        let frame = Self { request: from.u32()?, total: from.u32()?, offset: from.u32()? };
        let payload =
            u32::try_from(len).ok().and_then(|l| l.checked_sub(FRAME_HEAD as u32)).ok_or(BadMessage::Length)?;
        let end = frame.offset.checked_add(payload).ok_or(BadMessage::Field)?;
        if payload == 0 || frame.total > MAX_PIECE || end > frame.total {
            return Err(BadMessage::Field);
        }
        Ok(Some(frame))
    }

    /// The bytes that go ahead of the payload.
    pub fn encode(&self) -> [u8; FRAME_HEAD] {
        let mut out = [0; FRAME_HEAD];
        out[0] = Self::TYPE;
        out[1..5].copy_from_slice(&self.request.to_le_bytes());
        out[5..9].copy_from_slice(&self.total.to_le_bytes());
        out[9..13].copy_from_slice(&self.offset.to_le_bytes());
        out
    }
}

impl Message {
    /// The message in `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        if let Some(frame) = Frame::decode(bytes.get(..FRAME_HEAD).unwrap_or(bytes), bytes.len())? {
            return Ok(Self::Piece { frame, payload: FRAME_HEAD..bytes.len() });
        }
        let (kind, body) = bytes.split_first().ok_or(BadMessage::Empty)?;
        let mut from = Reader::new(body);
        let message = match *kind {
            HELLO => {
                let hello = hello(&mut from, bytes.len())?;
                return Ok(Self::Hello(hello));
            }
            HAVE => Self::Have(from.prefixes()?),
            UNHAVE => Self::Unhave(from.prefixes()?),
            WANT => {
                let (request, digest, len) = (from.u32()?, from.digest()?, from.u32()?);
                if len == 0 || len > MAX_PIECE {
                    return Err(BadMessage::Field);
                }
                Self::Want { request, digest, len }
            }
            REFUSE => Self::Refuse { request: from.u32()?, why: Refusal::from_byte(from.u8()?)? },
            CANCEL => Self::Cancel { request: from.u32()? },
            CHOKE => Self::Choke,
            UNCHOKE => Self::Unchoke,
            ROOT if bytes.len() > MAX_ROOT_BYTES + 5 => return Err(BadMessage::TooLong),
            ROOT => Self::Root(from.text()?),
            PING => Self::Ping(from.u64()?),
            PONG => Self::Pong(from.u64()?),
            GOODBYE => Self::Goodbye,
            SHUFFLE => Self::Shuffle(Shuffle::decode(&mut from)?),
            SIGNAL => Self::Signal(Signal::decode(&mut from)?),
            other => return Ok(Self::Unknown(other)),
        };
        from.end()?;
        Ok(message)
    }

    /// The message as bytes. A [`Message::Piece`] is its head alone: the payload is the driver's to append.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(68);
        match self {
            Self::Hello(hello) => {
                out.push(HELLO);
                out.extend(MAGIC);
                out.extend(hello.version.to_le_bytes());
                out.extend(hello.site);
                out.extend(hello.node.0);
                out.extend(hello.max_message.to_le_bytes());
                out.extend(hello.features.to_le_bytes());
            }
            Self::Have(prefixes) => put_prefixes(&mut out, HAVE, prefixes),
            Self::Unhave(prefixes) => put_prefixes(&mut out, UNHAVE, prefixes),
            Self::Want { request, digest, len } => {
                out.push(WANT);
                out.extend(request.to_le_bytes());
                out.extend(digest.0);
                out.extend(len.to_le_bytes());
            }
            Self::Piece { frame, .. } => out.extend(frame.encode()),
            Self::Refuse { request, why } => {
                out.push(REFUSE);
                out.extend(request.to_le_bytes());
                out.push(why.byte());
            }
            Self::Cancel { request } => {
                out.push(CANCEL);
                out.extend(request.to_le_bytes());
            }
            Self::Choke => out.push(CHOKE),
            Self::Unchoke => out.push(UNCHOKE),
            Self::Root(text) => {
                out.push(ROOT);
                put_text(&mut out, text);
            }
            Self::Ping(number) => {
                out.push(PING);
                out.extend(number.to_le_bytes());
            }
            Self::Pong(number) => {
                out.push(PONG);
                out.extend(number.to_le_bytes());
            }
            Self::Goodbye => out.push(GOODBYE),
            Self::Shuffle(shuffle) => {
                out.push(SHUFFLE);
                shuffle.encode(&mut out);
            }
            Self::Signal(signal) => {
                out.push(SIGNAL);
                signal.encode(&mut out);
            }
            Self::Unknown(kind) => out.push(*kind),
        }
        out
    }
}

impl Refusal {
    fn byte(self) -> u8 {
        match self {
            Self::NotHeld => 1,
            Self::Busy => 2,
            Self::Choked => 3,
            Self::Cancelled => 4,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, BadMessage> {
        match byte {
            1 => Ok(Self::NotHeld),
            2 => Ok(Self::Busy),
            3 => Ok(Self::Choked),
            4 => Ok(Self::Cancelled),
            _ => Err(BadMessage::Field),
        }
    }
}

fn hello(from: &mut Reader<'_>, len: usize) -> Result<Hello, BadMessage> {
    if len > MAX_HELLO {
        return Err(BadMessage::TooLong);
    }
    if from.array::<4>()? != MAGIC {
        return Err(BadMessage::Field);
    }
    Ok(Hello {
        version: u16::from_le_bytes(from.array()?),
        site: from.array()?,
        node: NodeId(from.array()?),
        max_message: from.u32()?,
        features: from.u32()?,
    })
}

fn put_prefixes(out: &mut Vec<u8>, kind: u8, prefixes: &[u64]) {
    out.reserve(1 + 8 * prefixes.len());
    out.push(kind);
    for prefix in prefixes {
        out.extend(prefix.to_be_bytes());
    }
}

/// Puts a text, its length in bytes (u32) before it.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Takes fields off the front of a message.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadMessage> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(BadMessage::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BadMessage> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, BadMessage> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BadMessage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, BadMessage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn digest(&mut self) -> Result<Digest, BadMessage> {
        Ok(Digest(self.array()?))
    }

    /// What [`put_text`] put.
    pub(crate) fn text(&mut self) -> Result<String, BadMessage> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len).ok_or(BadMessage::Length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| BadMessage::Field)
    }

    /// How many items of `size` bytes the rest is; an error where it is not a whole number of them.
    pub(crate) fn rest_of(&self, size: usize) -> Result<usize, BadMessage> {
        if self.0.len().is_multiple_of(size) { Ok(self.0.len() / size) } else { Err(BadMessage::Length) }
    }

    /// Everything that is left.
    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn prefixes(&mut self) -> Result<Vec<u64>, BadMessage> {
        let count = self.rest_of(8)?;
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            out.push(u64::from_be_bytes(self.array()?));
        }
        Ok(out)
    }

    pub(crate) fn end(&self) -> Result<(), BadMessage> {
        if self.0.is_empty() { Ok(()) } else { Err(BadMessage::Length) }
    }
}

/// The fuzz body: whatever `bytes` are, decoding ends without a panic, and what decodes encodes to a message that
/// decodes to the same.
pub fn fuzz(bytes: &[u8]) {
    match Message::decode(bytes) {
        Ok(Message::Piece { frame, payload }) => {
            assert_eq!(frame.encode(), bytes[..FRAME_HEAD]);
            assert_eq!(payload, FRAME_HEAD..bytes.len());
            assert!(frame.offset as usize + payload.len() <= frame.total as usize);
        }
        Ok(message) => {
            let again = message.encode();
            assert!(again.len() <= bytes.len());
            assert_eq!(Message::decode(&again), Ok(message));
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_message() -> Vec<Message> {
        let digest = Digest::of(b"a piece");
        vec![
            Message::Hello(Hello {
                version: VERSION,
                site: [7; 32],
                node: NodeId([9; 20]),
                max_message: MAX_MESSAGE as u32,
                features: 0x8000_0001,
            }),
            Message::Have(vec![]),
            Message::Have(vec![digest.prefix(), 1, u64::MAX]),
            Message::Have((0..MAX_PREFIXES as u64).collect()),
            Message::Unhave(vec![3]),
            Message::Want { request: 5, digest, len: MAX_PIECE },
            Message::Refuse { request: 5, why: Refusal::NotHeld },
            Message::Refuse { request: 5, why: Refusal::Busy },
            Message::Refuse { request: 5, why: Refusal::Choked },
            Message::Refuse { request: 5, why: Refusal::Cancelled },
            Message::Cancel { request: u32::MAX },
            Message::Choke,
            Message::Unchoke,
            Message::Root(String::new()),
            Message::Root("a.b.c".into()),
            Message::Ping(1 << 60),
            Message::Pong(2),
            Message::Goodbye,
            Message::Shuffle(Shuffle { answer: false, known: vec![] }),
            Message::Shuffle(Shuffle {
                answer: true,
                known: vec![Known { node: NodeId([1; 20]), hops: 255, age: 65_535 }],
            }),
            signal(Kind::Offer { urgent: true }, "v=0"),
            signal(Kind::Offer { urgent: false }, "v=0"),
            signal(Kind::Answer, "v=0"),
            signal(Kind::Refusal, ""),
        ]
    }

    fn signal(kind: Kind, sdp: &str) -> Message {
        let (from, to) = (NodeId([2; 20]), NodeId([3; 20]));
        Message::Signal(Signal { kind, ttl: 4, id: [1; 20], from, to, sdp: sdp.to_owned() })
    }

    #[test]
    fn messages_round_trip() {
        for message in every_message() {
            let bytes = message.encode();
            assert!(bytes.len() <= MAX_MESSAGE);
            assert_eq!(Message::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_prefix_is_written_as_the_digest_begins() {
        let digest = Digest::of(b"a piece");
        assert_eq!(Message::Have(vec![digest.prefix()]).encode()[1..], digest.0[..8]);
    }

    #[test]
    fn a_frame_decodes_to_its_head_and_the_range_of_its_payload() {
        let frame = Frame { request: 1, total: 100, offset: 90 };
        let mut bytes = frame.encode().to_vec();
        bytes.extend([0xAA; 10]);
        assert_eq!(Message::decode(&bytes), Ok(Message::Piece { frame, payload: 13..23 }));
        assert_eq!(Frame::decode(&bytes[..FRAME_HEAD], bytes.len()), Ok(Some(frame)));
    }

    #[test]
    fn frames_that_are_empty_or_run_over_are_refused() {
        let frame = |total, offset, payload: usize| {
            Frame::decode(&Frame { request: 1, total, offset }.encode(), FRAME_HEAD + payload)
        };
        assert_eq!(frame(100, 0, 0), Err(BadMessage::Field));
        assert_eq!(frame(100, 91, 10), Err(BadMessage::Field));
        assert_eq!(frame(100, u32::MAX, 10), Err(BadMessage::Field));
        assert_eq!(frame(MAX_PIECE + 1, 0, 10), Err(BadMessage::Field));
        assert_eq!(frame(MAX_PIECE, 0, MAX_PAYLOAD + 1), Err(BadMessage::TooLong));
        assert!(frame(MAX_PIECE, 0, MAX_PAYLOAD).is_ok());
    }

    #[test]
    fn every_cut_and_every_extension_of_a_message_is_an_error_or_another_whole_message() {
        for message in every_message() {
            let bytes = message.encode();
            if bytes.len() > 200 {
                continue;
            }
            for cut in 0..bytes.len() {
                assert_ne!(Message::decode(&bytes[..cut]), Ok(message.clone()));
                fuzz(&bytes[..cut]);
            }
            let mut longer = bytes.clone();
            longer.push(0);
            if matches!(message, Message::Hello(_)) {
                assert_eq!(Message::decode(&longer), Ok(message), "room for later fields");
            } else if matches!(&message, Message::Signal(s) if s.kind != Kind::Refusal) {
                assert!(matches!(Message::decode(&longer), Ok(Message::Signal(s)) if s.sdp.len() == 4));
            } else {
                assert_eq!(Message::decode(&longer), Err(BadMessage::Length));
            }
        }
    }

    #[test]
    fn limits_hold() {
        assert_eq!(Message::decode(&[]), Err(BadMessage::Empty));
        assert_eq!(Message::decode(&vec![200; MAX_MESSAGE + 1]), Err(BadMessage::TooLong));
        assert_eq!(Message::decode(&vec![200; MAX_MESSAGE]), Ok(Message::Unknown(200)));
        let mut hello = every_message().remove(0).encode();
        hello.resize(MAX_HELLO + 1, 0);
        assert_eq!(Message::decode(&hello), Err(BadMessage::TooLong));
        let root = Message::Root("x".repeat(MAX_ROOT_BYTES + 1)).encode();
        assert_eq!(Message::decode(&root), Err(BadMessage::TooLong));
        hello.truncate(67);
        hello[1] = b'X';
        assert_eq!(Message::decode(&hello), Err(BadMessage::Field));
        for len in [0, MAX_PIECE + 1] {
            let want = Message::Want { request: 0, digest: Digest([0; 32]), len }.encode();
            assert_eq!(Message::decode(&want), Err(BadMessage::Field));
        }
    }

    #[test]
    fn any_bytes_decode_without_a_panic() {
        let mut rng = crate::rng::Rng::new(11);
        let seeds: Vec<_> = every_message().iter().map(Message::encode).collect();
        for _ in 0..20_000 {
            let mut bytes = seeds[rng.below(seeds.len() as u64) as usize].clone();
            bytes.truncate(100);
            for _ in 0..rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            fuzz(&bytes);
            let noise: Vec<u8> = (0..rng.below(80)).map(|_| rng.next_u64() as u8).collect();
            fuzz(&noise);
        }
    }
}
