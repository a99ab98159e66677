//! What goes into a mesh and what comes out of it.

use std::ops::Range;

use crate::digest::Digest;
use crate::port::{Held, Limits, ToMesh, ToWorker};
use crate::wire::FRAME_HEAD;

/// What a mesh is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Begins its random numbers; must differ from visitor to visitor, since the node id comes of it.
    pub seed: u64,
    /// The site: the SHA-256 thumbprint (RFC 7638) of its first key.
    pub site: [u8; 32],
    /// What the site is called at trackers.
    pub info_hash: [u8; 20],
    /// Absolute `ws:` or `wss:` URLs.
    pub trackers: Vec<String>,
    /// What may be given.
    pub limits: Limits,
}

/// What can happen to a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The page has described a connection: the answer to [`Output::Offer`] and [`Output::Accept`].
    Described {
        /// The connection.
        conn: u32,
        /// Session description with all its candidates.
        sdp: String,
    },
    /// A connection's channel is open.
    Open {
        /// The connection.
        conn: u32,
    },
    /// A connection or its channel is closed, or could not be made.
    Gone {
        /// The connection.
        conn: u32,
    },
    /// A whole message. Piece frames are better told by [`Input::Frame`], without their payload.
    Message {
        /// The connection.
        conn: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A message that begins as a piece frame does, by its head alone.
    Frame {
        /// The connection.
        conn: u32,
        /// Its first bytes.
        head: [u8; FRAME_HEAD],
        /// The length of the whole message.
        len: usize,
    },
    /// What a channel has still to send: told after each message sent and when it runs low.
    Buffered {
        /// The connection.
        conn: u32,
        /// `bufferedAmount`, in bytes.
        bytes: usize,
    },
    /// A tracker's socket is open.
    SocketOpen {
        /// As in [`Output::Connect`].
        socket: u32,
    },
    /// A tracker said something.
    SocketText {
        /// As in [`Output::Connect`].
        socket: u32,
        /// What.
        text: String,
    },
    /// A tracker's socket is closed or could not be opened.
    SocketClosed {
        /// As in [`Output::Connect`].
        socket: u32,
    },
    /// The driver has read what [`Output::Read`] asked for.
    Loaded {
        /// As in [`Output::Read`].
        upload: u32,
        /// It is there and its digest is right.
        right: bool,
    },
    /// There is a new port to the service worker.
    Port,
    /// The service worker said something.
    Worker(ToMesh),
    /// The document goes away.
    Stop,
}

/// What a mesh wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make a connection with a channel and describe it.
    Offer {
        /// Its number, never used again.
        conn: u32,
    },
    /// Answer a peer's offer.
    Accept {
        /// The connection's number, never used again.
        conn: u32,
        /// The offer.
        sdp: String,
    },
    /// The peer's answer to our offer.
    Answered {
        /// The connection.
        conn: u32,
        /// The answer.
        sdp: String,
    },
    /// Close a connection, after what was sent on it; nothing more is said of it.
    Close {
        /// The connection.
        conn: u32,
    },
    /// Send a message.
    Send {
        /// The connection.
        conn: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Send a message made of a head and a part of a piece that was read.
    Frame {
        /// The connection.
        conn: u32,
        /// As in [`Output::Read`].
        upload: u32,
        /// What goes first.
        head: [u8; FRAME_HEAD],
        /// Which bytes of the piece follow.
        range: Range<u32>,
    },
    /// Read a piece from the store, check its digest, keep it, and say [`Input::Loaded`].
    Read {
        /// Names the piece in later outputs.
        upload: u32,
        /// Where it is.
        held: Held,
    },
    /// A piece that was to be read is no longer needed.
    Unload {
        /// As in [`Output::Read`].
        upload: u32,
    },
    /// Copy the payload of the message just handed in, which follows its [`FRAME_HEAD`] bytes, into a buffer.
    Fill {
        /// The buffer's number: made on its first use.
        buffer: u32,
        /// Its length in bytes.
        total: u32,
        /// Where the payload goes.
        offset: u32,
        /// The payload's length.
        payload: u32,
    },
    /// Hand a filled buffer to the service worker, once for each want ([`ToWorker::Piece`]), and forget it.
    Deliver {
        /// The buffer.
        buffer: u32,
        /// Which piece it should be.
        digest: Digest,
        /// Who sent it.
        peer: u32,
        /// Who waits for it; never empty.
        ids: Vec<u32>,
    },
    /// Forget a buffer, if there is one of this number.
    Discard {
        /// The buffer.
        buffer: u32,
    },
    /// Open a socket to a tracker; an earlier one is closed or given up.
    Connect {
        /// Its number, never used again.
        socket: u32,
        /// Where.
        url: String,
    },
    /// Say something to a tracker.
    Text {
        /// The socket.
        socket: u32,
        /// What.
        text: String,
    },
    /// Close a socket.
    Disconnect {
        /// The socket.
        socket: u32,
    },
    /// A neighbour has a newer root: have the service worker look at it, which may be asleep and must be woken.
    Root {
        /// Who said it: to be named in [`ToMesh::Bad`] if it is not signed.
        peer: u32,
        /// A compact JWS, not verified.
        text: String,
    },
    /// Say something to the service worker.
    Worker(ToWorker),
}
