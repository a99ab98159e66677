//! What neighbours say about third parties: whom they know ([`Shuffle`]), and the descriptions that two strangers need
//! to connect, handed on from neighbour to neighbour ([`Signal`]).

use super::{BadMessage, NodeId, Reader};

/// The most nodes in one [`Shuffle`].
pub const MAX_KNOWN: usize = 32;

/// The longest session description that neighbours carry, in bytes. With all its candidates one has 0.5 to 3 KiB.
pub const MAX_DESCRIPTION: usize = 8 * 1024;

/// A node, as the teller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub node: NodeId,
    /// Connections between it and the teller: 1 is the teller's own neighbour. Never 0.
    pub hops: u8,
    /// Seconds since one of its neighbours last spoke for it.
    pub age: u16,
}

/// A sample of the nodes that the sender knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shuffle {
    /// It answers a shuffle; else it asks for one.
    pub answer: bool,
    /// At most [`MAX_KNOWN`].
    pub known: Vec<Known>,
}

/// What a [`Signal`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection is offered.
    Offer {
        /// The sender has too few neighbours; else one more would merely do it good.
        urgent: bool,
    },
    /// The answer to an offer, back along its way.
    Answer,
    /// The offer did not arrive, or is not taken; back along its way.
    Refusal,
}

/// One half of what it takes to connect two nodes, handed on by those between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What it is.
    pub kind: Kind,
    /// How many more times it may be handed on.
    pub ttl: u8,
    /// Names the offer; the answer and the refusal bear the same name.
    pub id: [u8; 20],
    /// Who says it.
    pub from: NodeId,
    /// For whom it is.
    pub to: NodeId,
    /// The session description, at most [`MAX_DESCRIPTION`] bytes; empty in a refusal, and only there.
    pub sdp: String,
}

impl Shuffle {
    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, BadMessage> {
        let answer = match from.u8()? {
            0 => false,
            1 => true,
            _ => return Err(BadMessage::Field),
        };
        let count = from.rest_of(23)?;
        if count > MAX_KNOWN {
            return Err(BadMessage::TooLong);
        }
        let mut known = Vec::with_capacity(count);
        for _ in 0..count {
            let next = Known { node: NodeId(from.array()?), hops: from.u8()?, age: from.u16()? };
            if next.hops == 0 {
                return Err(BadMessage::Field);
            }
            known.push(next);
        }
        Ok(Self { answer, known })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.answer));
        for Known { node, hops, age } in &self.known {
            out.extend(node.0);
            out.push(*hops);
            out.extend(age.to_le_bytes());
        }
    }
}

impl Signal {
    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, BadMessage> {
        let kind = match from.u8()? {
            1 => Kind::Offer { urgent: false },
            2 => Kind::Offer { urgent: true },
            3 => Kind::Answer,
            4 => Kind::Refusal,
            _ => return Err(BadMessage::Field),
        };
        let (ttl, id) = (from.u8()?, from.array()?);
        let (sender, to) = (NodeId(from.array()?), NodeId(from.array()?));
        let sdp = from.rest();
        if sdp.len() > MAX_DESCRIPTION {
            return Err(BadMessage::TooLong);
        }
        if sdp.is_empty() != (kind == Kind::Refusal) {
            return Err(BadMessage::Length);
        }
        let sdp = std::str::from_utf8(sdp).map_err(|_| BadMessage::Field)?.to_owned();
        Ok(Self { kind, ttl, id, from: sender, to, sdp })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.kind {
            Kind::Offer { urgent: false } => 1,
            Kind::Offer { urgent: true } => 2,
            Kind::Answer => 3,
            Kind::Refusal => 4,
        });
        out.push(self.ttl);
        out.extend(self.id);
        out.extend(self.from.0);
        out.extend(self.to.0);
        out.extend(self.sdp.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::*;

    fn signal(kind: Kind, sdp: &str) -> Message {
        let (from, to) = (NodeId([2; 20]), NodeId([3; 20]));
        Message::Signal(Signal { kind, ttl: 4, id: [1; 20], from, to, sdp: sdp.to_owned() })
    }

    #[test]
    fn a_shuffle_is_bounded_and_its_fields_are_checked() {
        let known = |count: usize, hops| {
            let known = vec![Known { node: NodeId([5; 20]), hops, age: 7 }; count];
            Message::Shuffle(Shuffle { answer: true, known }).encode()
        };
        assert!(Message::decode(&known(MAX_KNOWN, 1)).is_ok());
        assert_eq!(Message::decode(&known(MAX_KNOWN + 1, 1)), Err(BadMessage::TooLong));
        assert_eq!(Message::decode(&known(1, 0)), Err(BadMessage::Field));
        let mut neither = known(1, 1);
        neither[1] = 2;
        assert_eq!(Message::decode(&neither), Err(BadMessage::Field));
        assert_eq!(Message::decode(&known(1, 1)[..20]), Err(BadMessage::Length));
    }

    #[test]
    fn a_signal_is_bounded_and_has_a_description_where_it_needs_one() {
        let offer = Kind::Offer { urgent: false };
        assert!(Message::decode(&signal(offer, &"x".repeat(MAX_DESCRIPTION)).encode()).is_ok());
        let long = signal(offer, &"x".repeat(MAX_DESCRIPTION + 1)).encode();
        assert_eq!(Message::decode(&long), Err(BadMessage::TooLong));
        assert_eq!(Message::decode(&signal(offer, "").encode()), Err(BadMessage::Length));
        assert_eq!(Message::decode(&signal(Kind::Answer, "").encode()), Err(BadMessage::Length));
        assert_eq!(Message::decode(&signal(Kind::Refusal, "v=0").encode()), Err(BadMessage::Length));
        let mut bytes = signal(Kind::Answer, "é").encode();
        bytes.pop();
        assert_eq!(Message::decode(&bytes), Err(BadMessage::Field), "half a letter");
        bytes[1] = 9;
        assert_eq!(Message::decode(&bytes), Err(BadMessage::Field));
    }
}
