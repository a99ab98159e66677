//! The tracker's WebSocket, as a client sees it.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::origin::{Origin, PATIENCE};

struct Peer(WebSocket<MaybeTlsStream<TcpStream>>);

impl Peer {
    fn connect(origin: &Origin, path: &str) -> Self {
        let (socket, _) = tungstenite::connect(format!("ws://{}{path}", origin.address())).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Self(socket)
    }

    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    fn hear(&mut self) -> Value {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code that the server closes the connection with.
    fn closed(&mut self) -> u16 {
        loop {
            match self.0.read().unwrap() {
                Message::Close(frame) => return frame.map_or(0, |f| f.code.into()),
                Message::Text(_) | Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn announce(name: &str) -> Value {
    json!({"action": "announce", "info_hash": "ssssssssssssssssssss", "peer_id": format!("{name:-<20}"), "left": 1})
}

fn with_offer(name: &str) -> Value {
    let mut message = announce(name);
    message["offers"] = json!([{"offer_id": "oooooooooooooooooooo", "offer": {"type": "offer", "sdp": "v=0"}}]);
    message
}

#[test]
fn peers_find_each_other_through_it() {
    let origin = Origin::start(&[]);
    let mut a = Peer::connect(&origin, "/peerage/tracker");
    // Clients that know a tracker by its host ask for the root.
    let mut b = Peer::connect(&origin, "/");
    a.say(&announce("a"));
    assert_eq!(a.hear()["incomplete"], 1);
    b.say(&with_offer("b"));
    assert_eq!(b.hear()["incomplete"], 2);
    let offer = a.hear();
    assert_eq!(offer["offer"], json!({"type": "offer", "sdp": "v=0"}));
    let mut answer = announce("a");
    answer["to_peer_id"] = offer["peer_id"].clone();
    answer["offer_id"] = offer["offer_id"].clone();
    answer["answer"] = json!({"type": "answer", "sdp": "v=1"});
    a.say(&answer);
    assert_eq!(b.hear()["answer"]["sdp"], "v=1");
    for (counter, value) in [
        ("connections", 2),
        ("swarms", 1),
        ("peers", 2),
        ("offers_relayed_total", 1),
        ("answers_relayed_total", 1),
        ("answers_dropped_total", 0),
    ] {
        assert_eq!(origin.counter(&format!("peerage_tracker_{counter} ")), value, "{counter}");
    }
}

#[test]
fn text_in_binary_messages_is_understood() {
    let origin = Origin::start(&[]);
    let mut a = Peer::connect(&origin, "/peerage/tracker");
    a.0.send(Message::binary(announce("a").to_string())).unwrap();
    assert_eq!(a.hear()["incomplete"], 1);
    a.0.send(Message::binary(&b"\xff\xfe"[..])).unwrap();
    assert!(a.hear()["failure reason"].is_string());
}

#[test]
fn who_is_gone_is_forgotten() {
    let origin = Origin::start(&[]);
    let mut a = Peer::connect(&origin, "/peerage/tracker");
    a.say(&announce("a"));
    a.hear();
    // Not a close frame: the connection just ends.
    drop(a);
    let mut b = Peer::connect(&origin, "/peerage/tracker");
    let start = std::time::Instant::now();
    loop {
        b.say(&announce("b"));
        if b.hear()["incomplete"] == 1 {
            break;
        }
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn a_flood_or_a_giant_is_cut_off_and_the_others_are_not() {
    let origin = Origin::start_with(&[], &["--tracker-rate", "5"]);
    let mut good = Peer::connect(&origin, "/peerage/tracker");
    good.say(&announce("good"));
    good.hear();
    let mut flood = Peer::connect(&origin, "/peerage/tracker");
    for _ in 0..1000 {
        if flood.0.send(Message::text("{}")).is_err() {
            break;
        }
    }
    let mut giant = Peer::connect(&origin, "/peerage/tracker");
    let _ = giant.0.send(Message::text("x".repeat(1 << 20)));
    assert!(giant.0.read().is_err() || giant.closed() >= 1000);
    good.say(&announce("good"));
    assert_eq!(good.hear()["incomplete"], 1);
}

#[test]
fn who_sends_nonsense_is_told_and_then_closed() {
    let origin = Origin::start(&[]);
    let mut a = Peer::connect(&origin, "/peerage/tracker");
    for _ in 0..16 {
        a.say(&json!("nonsense"));
    }
    assert!(a.hear()["failure reason"].as_str().unwrap().starts_with("not understood"));
    assert_eq!(a.closed(), 1008);
}

#[test]
fn it_is_under_the_sites_sub_path() {
    let origin = Origin::start_with(&[], &["--prefix", "/game/"]);
    let mut a = Peer::connect(&origin, "/game/peerage/tracker");
    a.say(&announce("a"));
    assert_eq!(a.hear()["incomplete"], 1);
    assert_eq!(origin.get("/peerage/tracker").status, 404);
}

#[test]
fn a_plain_request_is_told_what_it_is() {
    let origin = Origin::start(&[]);
    let answer = origin.get("/peerage/tracker");
    assert_eq!((answer.status, answer.header("upgrade").as_str()), (426, "websocket"));
}
