//! What a neighbour says, from its hello on, and what the service worker does: who in the mesh is told.

use super::*;

impl Mesh {
    /// Says hello.
    pub(super) fn greet(&mut self, conn: u32) {
        let hello =
            Hello { version: VERSION, site: self.site, node: self.node, max_message: MAX_MESSAGE as u32, features: 0 };
        self.outbox.push_back(Output::Send { conn, bytes: Message::Hello(hello).encode() });
    }

    pub(super) fn greeted(&mut self, conn: u32, back: bool, hello: &Hello, now: Millis) {
        if hello.version != VERSION || hello.site != self.site {
            self.ban(hello.node, Reason::Foreign);
            self.outbox.push_back(Output::Close { conn });
            return;
        }
        if hello.node == self.node || self.is_banned(hello.node) || self.neighbours.len() >= ACCEPT {
            return self.part(conn);
        }
        let older = self.neighbours.iter().find(|(_, n)| n.node == hello.node).map(|(&c, n)| (c, n.heard));
        let double = match older {
            Some((older, heard)) if now.since(heard) > PING_MS => {
                self.part(older);
                self.lose(older);
                false
            }
            Some(_) if self.node < hello.node => return self.part(conn),
            Some(_) => true,
            None => false,
        };
        if back {
            self.greet(conn);
        }
        let mut neighbour = Neighbour::new(hello, double, 0, now);
        let bytes = neighbour.write(&Message::Ping(now.0));
        self.outbox.push_back(Output::Send { conn, bytes });
        self.uploads.introduce(conn, &mut neighbour, &mut self.outbox);
        self.gossip.introduce(conn, &mut neighbour, &mut self.outbox);
        self.neighbours.insert(conn, neighbour);
        self.membership.gained(hello.node);
        self.recount();
    }

    pub(super) fn message(&mut self, conn: u32, message: Message, now: Millis) {
        let Some(neighbour) = self.neighbours.get_mut(&conn) else {
            let Some(back) = self.links.greeted(conn) else { return };
            return if let Message::Hello(hello) = message {
                self.greeted(conn, back, &hello, now);
            } else if matches!(message, Message::Goodbye) {
                self.outbox.push_back(Output::Close { conn });
            } else {
                self.drop_unknown(conn, Reason::Malformed);
            };
        };
        neighbour.heard = now;
        if let Err(reason) = self.say(conn, message, now) {
            self.drop_peer(conn, reason);
        }
    }

    /// What a neighbour said; why it is to be dropped, if it is.
    pub(super) fn say(&mut self, conn: u32, message: Message, now: Millis) -> Result<(), Reason> {
        let Some(neighbour) = self.neighbours.get_mut(&conn) else { return Ok(()) };
        let out = &mut self.outbox;
        let mut cost = 1;
        match message {
            Message::Piece { frame, payload } => {
                let payload = payload.len() as u32;
                return self.downloads.frame(conn, frame, payload, &mut self.neighbours, now, out);
            }
            Message::Want { request, digest, len } => {
                let wanted = Wanted { request, digest, len };
                return self.uploads.want(conn, neighbour, wanted, now, out);
            }
            Message::Cancel { request } => return self.uploads.cancel(conn, neighbour, request, now, out),
            Message::Refuse { request, why } => {
                if self.downloads.refused(conn, request, why, &mut self.neighbours, out) {
                    return Ok(());
                }
            }
            Message::Hello(_) => return Err(Reason::Malformed),
            Message::Have(mut prefixes) => {
                let room = MAX_HAVE.saturating_sub(neighbour.have.len());
                prefixes.truncate(room);
                let first = !std::mem::replace(&mut neighbour.introduced, true);
                if !first && prefixes.len() <= FEW && self.downloads.wants_any(&prefixes) {
                    neighbour.fellow = now + crowd::FELLOW_MS;
                }
                neighbour.have.extend(prefixes);
                self.downloads.touch();
                if first {
                    self.recount();
                    self.membership.moved(now, &mut self.rng);
                }
            }
            Message::Unhave(prefixes) => {
                neighbour.have.remove_all(prefixes);
                self.downloads.touch();
            }
            Message::Choke | Message::Unchoke => {
                neighbour.choking = matches!(message, Message::Choke);
                self.downloads.touch();
            }
            Message::Root(text) => self.gossip.heard(conn, neighbour, text, &self.site, now, out)?,
            Message::Ping(number) => {
                let bytes = neighbour.write(&Message::Pong(number));
                out.push_back(Output::Send { conn, bytes });
            }
            // The number is the time the ping was sent; another one only makes the neighbour look far away.
            Message::Pong(sent) => neighbour.path.answered(now.since(Millis(sent)).min(DEAD_MS)),
            Message::Goodbye => {
                out.push_back(Output::Close { conn });
                self.lose(conn);
                self.recount();
                return Ok(());
            }
            Message::Shuffle(shuffle) => {
                cost = GOSSIP_COST;
                self.shuffled(conn, &shuffle, now);
            }
            Message::Signal(signal) => {
                cost = GOSSIP_COST;
                self.signal(conn, signal, now);
            }
            Message::Unknown(_) => {}
        }
        let allowed = self.neighbours.get_mut(&conn).is_none_or(|n| n.allow(cost, now));
        if allowed { Ok(()) } else { Err(Reason::Flood) }
    }

    pub(super) fn worker(&mut self, message: ToMesh, now: Millis) {
        match message {
            ToMesh::Holdings { full, pieces } => self.uploads.hold(full, &pieces, now),
            ToMesh::Dropped(digests) => {
                for digest in &digests {
                    self.uploads.drop_piece(digest, now);
                }
            }
            ToMesh::Want { id, priority, deadline_ms, pieces } => {
                let terms = download::Terms { id, priority, patience: u64::from(deadline_ms) };
                self.downloads.want(terms, &pieces, &self.neighbours, now, &mut self.outbox);
            }
            ToMesh::Cancel { id, digests } => {
                self.downloads.cancel(id, &digests, &mut self.neighbours, &mut self.outbox);
            }
            ToMesh::Bad { peer, .. } => {
                self.gossip.forget(peer);
                if self.neighbours.contains_key(&peer) {
                    self.drop_peer(peer, Reason::Corrupt);
                } else if let Some(&(_, node)) = self.former.iter().find(|(conn, _)| *conn == peer)
                    && !self.is_banned(node)
                {
                    self.ban(node, Reason::Corrupt);
                    self.changed = true;
                }
            }
            ToMesh::Limits(limits) => self.uploads.limit(limits, now),
            ToMesh::Root(text) => self.gossip.hold(text, now),
        }
    }
}
