//! The tracker's sockets, on a thread of their own around the one store in the core.
//!
//! Relaying is many small messages between many connections. On one thread the store needs no lock, and waking another
//! connection's task costs no system call, which is most of what a tracker's time goes to otherwise. So the origin's
//! runtime makes the opening handshake and then hands the TCP stream over.
//!
//! What the store wants sent lies in a bounded queue for each connection, whose task first takes all that came in and
//! then writes all that waits, in one go.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use peerage::Millis;
use peerage::tracker::{CloseReason, ConnectionId, Input, Limits, Output, Stats, Tracker};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// Messages and bytes that may wait for a connection to take them. One that is so far behind is closed.
const MAX_WAITING: usize = 512;
const MAX_WAITING_BYTES: usize = 1 << 20;
/// How often a connection is pinged: proxies cut silent ones after 30 to 60 seconds.
const PING: Duration = Duration::from_secs(25);
/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The tracker, from outside of its thread.
#[derive(Clone, Debug)]
pub(super) struct Hub(mpsc::UnboundedSender<Command>);

enum Command {
    Serve(Box<Arrival>),
    Stats(oneshot::Sender<Stats>),
    Close(oneshot::Sender<()>),
}

/// A connection after its handshake.
enum Arrival {
    /// A TCP stream, and what was read from it already.
    Tcp(std::net::TcpStream, Vec<u8>),
    /// Anything else, such as TLS.
    Other(Upgraded),
}

impl Hub {
    /// Starts the tracker's thread. It ends with the last `Hub`.
    pub(super) fn start(limits: Limits, seed: u64) -> anyhow::Result<Self> {
        let (sender, commands) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the tracker's runtime")?;
        let work = move || LocalSet::new().block_on(&runtime, Shared::new(limits, seed).run(commands));
        std::thread::Builder::new()
            .name("tracker".to_owned())
            .spawn(work)
            .context("cannot start the tracker's thread")?;
        Ok(Self(sender))
    }

    /// Answers a WebSocket's opening handshake (RFC 6455, section 4.2) and has the connection served.
    pub(super) fn accept(&self, request: Request) -> Response {
        let response = match create_response_with_body(&request, Body::empty) {
            Ok(response) => response,
            Err(e) => return (StatusCode::BAD_REQUEST, format!("{e}\n")).into_response(),
        };
        let commands = self.0.clone();
        let upgrade = hyper::upgrade::on(request);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await
                && let Some(arrival) = arrival(upgraded)
            {
                let _ = commands.send(Command::Serve(Box::new(arrival)));
            }
        });
        response
    }

    pub(super) async fn stats(&self) -> Stats {
        let (reply, stats) = oneshot::channel();
        let _ = self.0.send(Command::Stats(reply));
        stats.await.unwrap_or_default()
    }

    /// Closes all connections, lets no more in, and waits until they are gone.
    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        let _ = self.0.send(Command::Close(reply));
        let _ = closed.await;
    }
}

/// Takes the TCP stream out of a connection, so that another thread's runtime can have it.
fn arrival(upgraded: Upgraded) -> Option<Arrival> {
    match downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => Some(Arrival::Tcp(parts.io.into_inner().into_std().ok()?, parts.read_buf.to_vec())),
        Err(other) => Some(Arrival::Other(other)),
    }
}

/// The store and its connections, on the tracker's thread.
struct Shared {
    tracker: RefCell<Tracker>,
    queues: RefCell<BTreeMap<ConnectionId, Rc<Queue>>>,
    last: Cell<u64>,
    closing: Cell<bool>,
    started: Instant,
    config: WebSocketConfig,
    opened: Notify,
    gone: Notify,
}

/// What waits for one connection.
#[derive(Default)]
struct Queue {
    waiting: RefCell<VecDeque<String>>,
    bytes: Cell<usize>,
    /// The connection is to end, and how to say so.
    end: RefCell<Option<(CloseCode, String)>>,
    changed: Notify,
}

impl Shared {
    fn new(limits: Limits, seed: u64) -> Self {
        let config = WebSocketConfig::default()
            // Most messages are an announce or one offer; longer ones make the buffer grow.
            .read_buffer_size(4096)
            .max_message_size(Some(limits.message_bytes))
            .max_frame_size(Some(limits.message_bytes))
            .max_write_buffer_size(2 * MAX_WAITING_BYTES);
        Self {
            tracker: RefCell::new(Tracker::new(limits, seed)),
            queues: RefCell::default(),
            last: Cell::new(0),
            closing: Cell::new(false),
            started: Instant::now(),
            config,
            opened: Notify::new(),
            gone: Notify::new(),
        }
    }

    /// Serves until nobody can send commands any more.
    async fn run(self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let shared = Rc::new(self);
        tokio::task::spawn_local(Rc::clone(&shared).keep_time());
        while let Some(command) = commands.recv().await {
            match command {
                Command::Serve(_) if shared.closing.get() => {}
                Command::Serve(arrival) => {
                    tokio::task::spawn_local(Rc::clone(&shared).welcome(*arrival));
                }
                Command::Stats(reply) => {
                    let _ = reply.send(shared.tracker.borrow().stats());
                }
                Command::Close(reply) => {
                    tokio::task::spawn_local(Rc::clone(&shared).close(reply));
                }
            }
        }
    }

    /// Calls the store whenever its deadline passes.
    async fn keep_time(self: Rc<Self>) {
        loop {
            let deadline = self.tracker.borrow().deadline();
            match deadline {
                Some(at) => tokio::time::sleep(Duration::from_millis(at.since(self.now()).max(1))).await,
                None => self.opened.notified().await,
            }
            self.handle(Input::Tick);
        }
    }

    async fn close(self: Rc<Self>, done: oneshot::Sender<()>) {
        self.closing.set(true);
        for queue in self.queues.borrow().values() {
            queue.end(CloseCode::Away, "the tracker ends".to_owned());
        }
        while !self.queues.borrow().is_empty() {
            self.gone.notified().await;
        }
        let _ = done.send(());
    }

    async fn welcome(self: Rc<Self>, arrival: Arrival) {
        let config = Some(self.config);
        match arrival {
            Arrival::Tcp(stream, read) => {
                let Ok(stream) = TcpStream::from_std(stream) else { return };
                let socket = WebSocketStream::from_partially_read(stream, read, Role::Server, config).await;
                self.serve(socket).await;
            }
            Arrival::Other(upgraded) => {
                let stream = TokioIo::new(upgraded);
                self.serve(WebSocketStream::from_raw_socket(stream, Role::Server, config).await).await;
            }
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self: Rc<Self>, mut socket: WebSocketStream<S>) {
        let id = ConnectionId(self.last.get() + 1);
        self.last.set(id.0);
        let queue = Rc::new(Queue::default());
        self.queues.borrow_mut().insert(id, Rc::clone(&queue));
        self.handle(Input::Opened(id));
        self.opened.notify_one();
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        loop {
            tokio::select! {
                // What came in goes before what goes out, so that one write takes all that it caused.
                biased;
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.handle(Input::Message(id, &text)),
                    // Some clients send their text as bytes.
                    Some(Ok(Message::Binary(bytes))) => {
                        self.handle(Input::Message(id, &String::from_utf8_lossy(&bytes)));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                },
                () = queue.changed.notified() => {
                    if !matches!(tokio::time::timeout(PATIENCE, queue.write(&mut socket)).await, Ok(Some(Open))) {
                        break;
                    }
                }
                _ = ping.tick() => {
                    let ping = socket.send(Message::Ping(axum::body::Bytes::new()));
                    if !matches!(tokio::time::timeout(PATIENCE, ping).await, Ok(Ok(()))) {
                        break;
                    }
                }
            }
        }
        self.queues.borrow_mut().remove(&id);
        self.handle(Input::Closed(id));
        self.gone.notify_one();
    }

    /// Lets the store take in what happened and puts what it wants sent into the queues.
    fn handle(&self, input: Input<'_>) {
        let now = self.now();
        let mut tracker = self.tracker.borrow_mut();
        let queues = self.queues.borrow();
        tracker.handle(input, now);
        while let Some(output) = tracker.poll() {
            match output {
                Output::Send(to, text) => {
                    if queues.get(&to).is_some_and(|queue| !queue.push(text)) {
                        tracker.handle(Input::Closed(to), now);
                    }
                }
                Output::Close(id, reason) => {
                    if let Some(queue) = queues.get(&id) {
                        queue.end(close_code(reason), reason.to_string());
                    }
                }
            }
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Close codes of RFC 6455, section 7.4.1.
fn close_code(reason: CloseReason) -> CloseCode {
    match reason {
        CloseReason::Full => CloseCode::Again,
        CloseReason::MessageTooLong => CloseCode::Size,
        CloseReason::Silent => CloseCode::Away,
        CloseReason::TooManyMessages | CloseReason::TooManyRefused => CloseCode::Policy,
    }
}

/// The connection goes on.
struct Open;

impl Queue {
    /// Says `false` where the connection is to be given up, because it takes its messages too slowly.
    fn push(&self, text: String) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let bytes = self.bytes.get() + text.len();
        if waiting.len() >= MAX_WAITING || bytes > MAX_WAITING_BYTES {
            waiting.clear();
            drop(waiting);
            self.end(CloseCode::Policy, "messages are taken too slowly".to_owned());
            return false;
        }
        self.bytes.set(bytes);
        waiting.push_back(text);
        self.changed.notify_one();
        true
    }

    fn end(&self, code: CloseCode, reason: String) {
        self.end.borrow_mut().get_or_insert((code, reason));
        self.changed.notify_one();
    }

    /// Writes all that waits. `None` where the connection ends with it.
    async fn write<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: &mut WebSocketStream<S>) -> Option<Open> {
        loop {
            let text = self.waiting.borrow_mut().pop_front();
            let Some(text) = text else { break };
            self.bytes.set(self.bytes.get().saturating_sub(text.len()));
            socket.feed(Message::text(text)).await.ok()?;
        }
        let end = self.end.borrow_mut().take();
        if let Some((code, reason)) = end {
            let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
            return None;
        }
        socket.flush().await.ok()?;
        Some(Open)
    }
}
