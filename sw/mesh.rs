//! The mesh worker's driver: carries out what [`peerage::mesh::Mesh`] says, with the channels that the page hands over,
//! WebSockets, the port to the service worker, Cache Storage and one timer.
//!
//! Payload stays out of wasm memory. A frame's payload is copied once, from the message into the piece's buffer, which
//! then goes to the service worker by transfer; on the way out it is copied once, from the stored segment into the one
//! buffer that a frame is sent from. Only heads and the small messages are seen by the core.

use std::cell::RefCell;
use std::collections::VecDeque;

use js_sys::{Array, ArrayBuffer, Object, Reflect, Uint8Array};
use peerage::Millis;
use peerage::mesh::{Config, Input, Mesh, Output};
use peerage::port::{Limits, ToMesh, ToWorker};
use peerage::sorted::Map;
use peerage::text::Base64;
use peerage::wire::{FRAME_HEAD, Frame, MAX_MESSAGE};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::*;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent, MessagePort, RtcDataChannel, RtcDataChannelState, WebSocket};

mod channel;
mod segments;

use channel::Channel;
use segments::Segments;

thread_local! {
    static DRIVER: RefCell<Option<Driver>> = const { RefCell::new(None) };
}

struct Driver {
    mesh: Mesh,
    limits: Limits,
    channels: Map<u32, Channel>,
    socket: Option<Socket>,
    port: Option<Port>,
    /// Pieces that are coming, by the mesh's buffer numbers.
    buffers: Map<u32, Uint8Array>,
    segments: Segments,
    /// Every frame is put together and sent from here.
    frame: Uint8Array,
    /// What happened while outputs were carried out.
    inputs: VecDeque<Input>,
    /// The one timer: its handle, and when it wakes.
    timer: Option<(i32, Millis)>,
    on_timer: Closure<dyn FnMut()>,
}

struct Socket {
    number: u32,
    socket: WebSocket,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut()>,
}

struct Port {
    port: MessagePort,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

/// Starts the mesh; `start` is as in `docs/protocol.md`.
#[wasm_bindgen]
#[allow(unreachable_pub, reason = "wasm-bindgen exports public functions")]
pub fn mesh_start(start: &JsValue) -> Result<(), JsError> {
    let text =
        |key| get(start, key).as_string().ok_or_else(|| JsError::new("the mesh was started without all it needs"));
    let wasm = text("wasm")?;
    let site = text("site")?;
    let scope = match get(start, "scope").as_string() {
        Some(scope) => scope,
        None => resolve("..", &wasm).ok_or_else(|| JsError::new("the wasm's URL is none"))?.href(),
    };
    let path = resolve(".", &scope).ok_or_else(|| JsError::new("the scope is no URL"))?.pathname();
    let site_bytes = Base64::Url.decode(&site).and_then(|b| b.try_into().ok());
    let mut random = [0; 8];
    scope_of_worker().crypto().and_then(|c| c.get_random_values_with_u8_array(&mut random)).map_err(js_error)?;
    let limits = read_limits(&get(start, "policy"), Limits::default());
    let config = Config {
        seed: u64::from_le_bytes(random),
        site: site_bytes.ok_or_else(|| JsError::new("the site's id is not 32 bytes in base64url"))?,
        info_hash: unhex(&text("infoHash")?)
            .ok_or_else(|| JsError::new("the info hash is not 40 hexadecimal digits"))?,
        trackers: Array::from(&get(start, "trackers")).iter().filter_map(|url| url.as_string()).collect(),
        limits,
    };
    let driver = Driver {
        mesh: Mesh::new(config, now()),
        limits,
        channels: Map::default(),
        socket: None,
        port: None,
        buffers: Map::default(),
        segments: Segments::new(format!("peerage:{path}:{site}"), format!("{scope}peerage/store/")),
        frame: Uint8Array::new_with_length(MAX_MESSAGE as u32),
        inputs: VecDeque::new(),
        timer: None,
        on_timer: Closure::new(|| {
            with(|d| {
                d.timer = None;
                d.handle(Input::Tick, None);
            });
        }),
    };
    DRIVER.with(|d| *d.borrow_mut() = Some(driver));
    with(|d| {
        d.settle(None);
        d.connect_port(&get(start, "port"));
    });
    Ok(())
}

/// A later message of the page, as in `docs/protocol.md`. Unknown ones are ignored.
#[wasm_bindgen]
#[allow(unreachable_pub, reason = "wasm-bindgen exports public functions")]
pub fn mesh_message(message: &JsValue) {
    let part = |key| Some(get(message, key)).filter(|p| !p.is_undefined());
    with(|d| {
        if let Some(port) = part("port") {
            d.connect_port(&port);
        } else if let Some(policy) = part("policy") {
            d.limits = read_limits(&policy, d.limits);
            d.handle(Input::Worker(ToMesh::Limits(d.limits)), None);
        } else if let Some(described) = part("sdp") {
            if let (Some(conn), Some(sdp)) = (conn(&described), get(&described, "sdp").as_string()) {
                d.handle(Input::Described { conn, sdp }, None);
            }
        } else if let Some(handed) = part("channel") {
            if let Some(conn) = conn(&handed) {
                d.adopt(conn, get(&handed, "channel").unchecked_into());
            }
        } else if let Some(conn) = part("relay").as_ref().and_then(conn) {
            d.channels.insert(conn, Channel::relayed());
        } else if let Some(conn) = part("open").as_ref().and_then(conn) {
            d.handle(Input::Open { conn }, None);
        } else if let Some(relayed) = part("msg") {
            if let Some(conn) = conn(&relayed) {
                d.receive(conn, &get(&relayed, "data"));
            }
        } else if let Some(low) = part("low") {
            if let (Some(conn), Some(bytes)) = (conn(&low), get(&low, "buffered").as_f64()) {
                d.low(conn, bytes as usize);
            }
        } else if let Some(conn) = part("closed").or_else(|| part("gone")).as_ref().and_then(conn) {
            d.gone(conn);
        } else if part("stop").is_some() {
            d.handle(Input::Stop, None);
            tell(&[("cmd", "stopped".into())]);
        }
    });
}

impl Driver {
    /// Hands in what happened and carries out what follows. `message` is the message that it is about, if any.
    fn handle(&mut self, input: Input, message: Option<&Uint8Array>) {
        self.mesh.handle(input, now());
        self.settle(message);
    }

    fn settle(&mut self, message: Option<&Uint8Array>) {
        loop {
            while let Some(output) = self.mesh.poll() {
                self.carry_out(output, message);
            }
            let Some(input) = self.inputs.pop_front() else { break };
            self.mesh.handle(input, now());
        }
        self.set_timer();
    }

    fn carry_out(&mut self, output: Output, message: Option<&Uint8Array>) {
        match output {
            Output::Offer { conn } => tell(&[("cmd", "offer".into()), ("conn", conn.into())]),
            Output::Accept { conn, sdp } => {
                tell(&[("cmd", "accept".into()), ("conn", conn.into()), ("sdp", sdp.into())]);
            }
            Output::Answered { conn, sdp } => {
                tell(&[("cmd", "answered".into()), ("conn", conn.into()), ("sdp", sdp.into())]);
            }
            Output::Close { conn } => {
                if let Some(channel) = self.channels.remove(&conn) {
                    channel.close();
                }
                tell(&[("cmd", "close".into()), ("conn", conn.into())]);
            }
            Output::Send { conn, bytes } => {
                let buffered = self.channels.get_mut(&conn).map(|c| c.send(conn, &bytes));
                self.sent(conn, buffered);
            }
            Output::Frame { conn, upload, head, range } => {
                let Some(piece) = self.segments.piece(upload) else { return };
                let end = FRAME_HEAD as u32 + (range.end - range.start);
                self.frame.subarray(0, FRAME_HEAD as u32).copy_from(&head);
                self.frame.set(&piece.subarray(range.start, range.end), FRAME_HEAD as u32);
                let frame = self.frame.subarray(0, end);
                let buffered = self.channels.get_mut(&conn).map(|c| c.send_view(conn, &frame));
                self.sent(conn, buffered);
            }
            Output::Read { upload, held } => {
                if let Some(right) = self.segments.read(upload, held) {
                    self.inputs.push_back(Input::Loaded { upload, right });
                }
            }
            Output::Unload { upload } => self.segments.unload(upload),
            Output::Fill { buffer, total, offset, payload } => {
                let Some(message) = message else { return };
                if offset == 0 {
                    self.buffers.insert(buffer, Uint8Array::new_with_length(total));
                }
                let Some(target) = self.buffers.get(&buffer) else { return };
                let head = FRAME_HEAD as u32;
                target.set(&message.subarray(head, head + payload), offset);
            }
            Output::Deliver { buffer, digest, peer, ids } => {
                let Some(piece) = self.buffers.remove(&buffer) else { return };
                let (last, others) = match ids.split_last() {
                    Some((last, others)) => (*last, others),
                    None => return,
                };
                for &id in others {
                    self.tell_worker(
                        &ToWorker::Piece { id, digest, peer },
                        Some(piece.slice(0, piece.length()).buffer()),
                    );
                }
                self.tell_worker(&ToWorker::Piece { id: last, digest, peer }, Some(piece.buffer()));
            }
            Output::Discard { buffer } => {
                self.buffers.remove(&buffer);
            }
            Output::Connect { socket, url } => self.connect(socket, &url),
            Output::Text { socket, text } => {
                if let Some(open) = self.socket.as_ref().filter(|s| s.number == socket) {
                    // A socket that cannot send is closing, and says so.
                    let _ = open.socket.send_with_str(&text);
                }
            }
            Output::Disconnect { socket } => {
                if self.socket.as_ref().is_some_and(|s| s.number == socket) {
                    self.socket = None;
                }
            }
            Output::Root { peer, text } => {
                tell(&[("cmd", "root".into()), ("peer", peer.into()), ("text", text.into())]);
            }
            Output::Worker(message) => self.tell_worker(&message, None),
        }
    }

    /// Notes what a channel has still to send, or that it is gone.
    fn sent(&mut self, conn: u32, buffered: Option<Option<usize>>) {
        match buffered {
            Some(Some(bytes)) => self.mesh.handle(Input::Buffered { conn, bytes }, now()),
            Some(None) => self.inputs.push_back(Input::Gone { conn }),
            None => {}
        }
    }

    fn receive(&mut self, conn: u32, data: &JsValue) {
        if !data.is_instance_of::<ArrayBuffer>() {
            // A text: no peer of ours sends one.
            return self.handle(Input::Message { conn, bytes: Vec::new() }, None);
        }
        let message = Uint8Array::new(data);
        let len = message.length() as usize;
        let framed = len > MAX_MESSAGE || len >= FRAME_HEAD && message.get_index(0) == Frame::TYPE;
        if framed {
            let mut head = [0; FRAME_HEAD];
            message.subarray(0, FRAME_HEAD as u32).copy_to(&mut head);
            self.handle(Input::Frame { conn, head, len }, Some(&message));
        } else {
            self.handle(Input::Message { conn, bytes: message.to_vec() }, None);
        }
    }

    fn low(&mut self, conn: u32, bytes: usize) {
        if let Some(channel) = self.channels.get_mut(&conn) {
            channel.drained(bytes);
            self.handle(Input::Buffered { conn, bytes }, None);
        }
    }

    fn gone(&mut self, conn: u32) {
        if let Some(channel) = self.channels.remove(&conn) {
            channel.close();
        }
        self.handle(Input::Gone { conn }, None);
    }

    /// A channel that the page has handed over.
    fn adopt(&mut self, conn: u32, channel: RtcDataChannel) {
        let state = channel.ready_state();
        self.channels.insert(conn, Channel::direct(conn, channel));
        if state == RtcDataChannelState::Open {
            self.handle(Input::Open { conn }, None);
        } else if state != RtcDataChannelState::Connecting {
            self.gone(conn);
        }
    }

    fn connect(&mut self, number: u32, url: &str) {
        self.socket = None;
        let Ok(socket) = WebSocket::new(url) else {
            return self.inputs.push_back(Input::SocketClosed { socket: number });
        };
        let on_open =
            Closure::<dyn FnMut()>::new(move || with(|d| d.handle(Input::SocketOpen { socket: number }, None)));
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some(text) = event.data().as_string() {
                with(|d| d.handle(Input::SocketText { socket: number, text }, None));
            }
        });
        let on_close =
            Closure::<dyn FnMut()>::new(move || with(|d| d.handle(Input::SocketClosed { socket: number }, None)));
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        self.socket = Some(Socket { number, socket, _on_open: on_open, _on_message: on_message, _on_close: on_close });
    }

    fn connect_port(&mut self, port: &JsValue) {
        let Some(port) = port.dyn_ref::<MessagePort>().cloned() else { return };
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(|event: MessageEvent| {
            let Some(header) = get(&event.data(), "h").dyn_ref::<Uint8Array>().map(Uint8Array::to_vec) else { return };
            // What a worker of another version says and this one does not know is left alone.
            if let Ok(message) = ToMesh::decode(&header) {
                with(|d| d.handle(Input::Worker(message), None));
            }
        });
        port.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        self.port = Some(Port { port, _on_message: on_message });
        self.handle(Input::Port, None);
    }

    fn tell_worker(&self, message: &ToWorker, payload: Option<ArrayBuffer>) {
        let Some(port) = &self.port else { return };
        let object = Object::new();
        let transfer = Array::new();
        set(&object, "h", &Uint8Array::from(&message.encode()[..]));
        if let Some(payload) = payload {
            set(&object, "b", &payload);
            transfer.push(&payload);
        }
        // A port whose other end has died takes messages and loses them.
        let _ = port.port.post_message_with_transferable(&object, &transfer);
    }

    fn set_timer(&mut self) {
        let Some(at) = self.mesh.deadline() else { return };
        // One that wakes too early finds nothing to do and is set again: cheaper than moving it with each message.
        if self.timer.is_some_and(|(_, set)| set <= at) {
            return;
        }
        let worker = scope_of_worker();
        if let Some((handle, _)) = self.timer.take() {
            worker.clear_timeout_with_handle(handle);
        }
        let wait = i32::try_from(at.since(now())).unwrap_or(i32::MAX);
        let callback = self.on_timer.as_ref().unchecked_ref();
        let set = worker.set_timeout_with_callback_and_timeout_and_arguments_0(callback, wait);
        self.timer = set.ok().map(|handle| (handle, at));
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close();
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.port.set_onmessage(None);
        self.port.close();
    }
}

/// Runs `f` on the driver. Nothing that it calls comes back here before it returns.
fn with(f: impl FnOnce(&mut Driver)) {
    DRIVER.with(|driver| {
        if let Ok(mut driver) = driver.try_borrow_mut()
            && let Some(driver) = driver.as_mut()
        {
            f(driver);
        }
    });
}

fn now() -> Millis {
    Millis(scope_of_worker().performance().map_or(0.0, |p| p.now()) as u64)
}

fn scope_of_worker() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Says something to the page.
fn tell(fields: &[(&str, JsValue)]) {
    tell_with(fields, &Array::new());
}

fn tell_with(fields: &[(&str, JsValue)], transfer: &Array) {
    let object = Object::new();
    for (key, value) in fields {
        set(&object, key, value);
    }
    // Only a value that cannot be cloned fails here, and there is none.
    let _ = scope_of_worker().post_message_with_transfer(&object, transfer);
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}

fn set(object: &Object, key: &str, value: &JsValue) {
    // A plain object of our own takes every key.
    let _ = Reflect::set(object, &key.into(), value);
}

fn conn(part: &JsValue) -> Option<u32> {
    get(part, "conn").as_f64().map(|c| c as u32)
}

fn read_limits(policy: &JsValue, before: Limits) -> Limits {
    let number = |key, before| get(policy, key).as_f64().map_or(before, |n| n as u64);
    Limits {
        upload_rate: number("upload_rate", before.upload_rate),
        upload_budget: number("upload_budget", before.upload_budget),
        paused: get(policy, "paused").as_bool().unwrap_or(before.paused),
    }
}

fn resolve(url: &str, base: &str) -> Option<web_sys::Url> {
    web_sys::Url::new_with_base(url, base).ok()
}

fn unhex(text: &str) -> Option<[u8; 20]> {
    let mut out = [0; 20];
    if text.len() != 40 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in out.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

fn js_error(error: JsValue) -> JsError {
    JsError::new(&get(&error, "message").as_string().unwrap_or_default())
}
