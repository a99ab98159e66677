//! The tracker's sockets: one task for each WebSocket around the one store in the core.
//!
//! A task hands each message to the store under a lock and goes on; what the store wants sent lies in bounded queues,
//! one for each connection, from which its task writes as many as there are at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures::{SinkExt as _, StreamExt as _};
use peerage::Millis;
use peerage::tracker::{CloseReason, ConnectionId, Input, Limits, Output, Stats, Tracker};
use tokio::sync::{Notify, mpsc};

/// Messages that may wait for a connection to take them. A connection that is so far behind is closed.
const QUEUE: usize = 256;
/// How often a connection is pinged: proxies cut silent ones after 30 to 60 seconds.
const PING: Duration = Duration::from_secs(25);
/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The tracker and its connections.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    started: Instant,
    /// Wakes the task that keeps the store's time.
    opened: Notify,
    message_bytes: usize,
    /// Held by each connection's task; the other end learns when the last is gone.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    all_gone: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

#[derive(Debug)]
struct State {
    tracker: Tracker,
    last: u64,
    queues: BTreeMap<ConnectionId, mpsc::Sender<Outgoing>>,
}

#[derive(Debug)]
enum Outgoing {
    Text(Utf8Bytes),
    Close(CloseReason),
}

impl Hub {
    pub(super) fn new(limits: Limits, seed: u64) -> Arc<Self> {
        let (alive, all_gone) = mpsc::channel(1);
        Arc::new(Self {
            message_bytes: limits.message_bytes,
            state: Mutex::new(State { tracker: Tracker::new(limits, seed), last: 0, queues: BTreeMap::new() }),
            started: Instant::now(),
            opened: Notify::new(),
            alive: Mutex::new(Some(alive)),
            all_gone: tokio::sync::Mutex::new(all_gone),
        })
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().tracker.stats()
    }

    /// Answers a WebSocket's opening handshake and serves the connection.
    pub(super) fn accept(self: Arc<Self>, upgrade: WebSocketUpgrade) -> Response {
        upgrade
            .max_message_size(self.message_bytes)
            .max_frame_size(self.message_bytes)
            .on_upgrade(move |socket| self.serve(socket))
    }

    /// Calls the store whenever its deadline passes.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let deadline = self.lock().tracker.deadline();
            match deadline {
                Some(at) => tokio::time::sleep(Duration::from_millis(at.since(self.now()).max(1))).await,
                None => self.opened.notified().await,
            }
            self.handle(Input::Tick);
        }
    }

    /// Closes all connections and waits until they are gone.
    pub(super) async fn close(&self) {
        drop(self.alive.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.lock().queues.clear();
        self.all_gone.lock().await.recv().await;
    }

    async fn serve(self: Arc<Self>, mut socket: WebSocket) {
        let Some(_alive) = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        let (id, mut queue) = self.open();
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.handle(Input::Message(id, &text)),
                    // Some clients send their text as bytes.
                    Some(Ok(Message::Binary(bytes))) => {
                        self.handle(Input::Message(id, &String::from_utf8_lossy(&bytes)));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                },
                received = queue.recv_many(&mut batch, QUEUE) => {
                    let goodbye = (received == 0).then_some((close_code::AWAY, "the tracker ends".to_owned()));
                    let sent = tokio::time::timeout(PATIENCE, send(&mut socket, &mut batch, goodbye)).await;
                    if !matches!(sent, Ok(Some(Open))) {
                        break;
                    }
                }
                _ = ping.tick() => {
                    let sent = tokio::time::timeout(PATIENCE, socket.send(Message::Ping(axum::body::Bytes::new()))).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        break;
                    }
                }
            }
        }
        self.lock().queues.remove(&id);
        self.handle(Input::Closed(id));
    }

    fn open(&self) -> (ConnectionId, mpsc::Receiver<Outgoing>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let id = {
            let mut state = self.lock();
            state.last += 1;
            let id = ConnectionId(state.last);
            state.queues.insert(id, sender);
            id
        };
        self.handle(Input::Opened(id));
        self.opened.notify_one();
        (id, receiver)
    }

    /// Lets the store take in what happened and puts what it wants sent into the queues.
    fn handle(&self, input: Input<'_>) {
        let mut state = self.lock();
        let State { tracker, queues, .. } = &mut *state;
        let now = self.now();
        tracker.handle(input, now);
        while let Some(output) = tracker.poll() {
            let (to, outgoing) = match output {
                Output::Send(to, text) => (to, Outgoing::Text(text.into())),
                Output::Close(to, reason) => (to, Outgoing::Close(reason)),
            };
            if queues.get(&to).is_some_and(|queue| queue.try_send(outgoing).is_err()) {
                queues.remove(&to);
                tracker.handle(Input::Closed(to), now);
            }
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection goes on.
struct Open;

/// Writes a batch. `None` where the connection ends with it.
async fn send(socket: &mut WebSocket, batch: &mut Vec<Outgoing>, mut goodbye: Option<(u16, String)>) -> Option<Open> {
    for outgoing in batch.drain(..) {
        match outgoing {
            Outgoing::Text(text) => socket.feed(Message::Text(text)).await.ok()?,
            Outgoing::Close(reason) => {
                goodbye = Some((close_code::POLICY, reason.to_string()));
                break;
            }
        }
    }
    if let Some((code, reason)) = goodbye {
        socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.ok()?;
        return None;
    }
    socket.flush().await.ok()?;
    Some(Open)
}
