// A peer that is not Peerage: it speaks the tracker's and the wire's protocol (docs/protocol.md) by hand, says that it
// holds every piece it is told of, and misbehaves when it is asked for one.
//
// `hostilePeer` runs in a page. It leaves `window.hostile`: what it was asked for, what it sent, and whether it was dropped.

/** The ways to misbehave. All but the last are told apart from bad luck, and end the connection. */
export const WAYS = ['corrupt', 'empty', 'oversize', 'unasked', 'out of order', 'malformed', 'flood', 'silent'];

/** Ways that a peer could fall into without any ill will: it is not held against it at once. */
export const ONLY_LATE = new Set(['silent']);

export async function hostilePeer({ way, tracker, infoHash, site, digests }) {
  const state = { open: 0, hellos: 0, wants: 0, sent: 0, closed: 0, errors: [] };
  window.hostile = state;
  const hexToText = hex => hex.match(/../g).map(byte => String.fromCharCode(parseInt(byte, 16))).join('');
  const hexToBytes = hex => Uint8Array.from(hex.match(/../g), byte => parseInt(byte, 16));
  const node = crypto.getRandomValues(new Uint8Array(20));
  const peerId = String.fromCharCode(...node);
  const siteBytes = Uint8Array.from(atob(site.replaceAll('-', '+').replaceAll('_', '/')), c => c.charCodeAt(0));

  const message = (type, ...parts) => {
    const bytes = [Uint8Array.of(type), ...parts];
    const whole = new Uint8Array(bytes.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of bytes) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  };
  const u32 = (...values) => new Uint8Array(Uint32Array.from(values).buffer);
  const garbage = size => new Uint8Array(size).map((_, i) => (i * 7 + 3) & 255);
  const piece = (request, total, offset, payload) => message(5, u32(request, total, offset), payload);

  const misbehave = (channel, request, length) => {
    state.sent += 1;
    const send = bytes => channel.readyState === 'open' && channel.send(bytes);
    switch (way) {
      case 'corrupt': {
        const bytes = garbage(length);
        for (let at = 0; at < length; at += 60_000) send(piece(request, length, at, bytes.subarray(at, Math.min(at + 60_000, length))));
        break;
      }
      case 'empty': send(piece(request, length, 0, new Uint8Array(0))); break;
      case 'oversize': send(piece(request, length + 1000, 0, garbage(Math.min(length + 1000, 60_000)))); break;
      case 'unasked': send(piece(request + 1_000_000, length, 0, garbage(Math.min(length, 60_000)))); break;
      case 'out of order': send(piece(request, length, Math.min(1000, length - 1), garbage(1))); break;
      case 'malformed': send(Uint8Array.of(4, 1, 2, 3)); break;
      case 'flood': for (let i = 0; i < 2000; i++) send(message(11, u32(i, 0))); break;
      case 'silent': break;
    }
  };

  // The side that answered greets first.
  const serve = (channel, answered) => {
    channel.binaryType = 'arraybuffer';
    const greet = () => {
      channel.send(message(1, new TextEncoder().encode('PEER'), Uint8Array.of(1, 0), siteBytes, node, u32(65_536, 0)));
      channel.send(message(2, ...digests.map(digest => hexToBytes(digest).subarray(0, 8))));
    };
    channel.onopen = () => {
      state.open += 1;
      if (answered) greet();
    };
    channel.onmessage = ({ data }) => {
      const view = new DataView(data);
      switch (view.getUint8(0)) {
        case 1:
          state.hellos += 1;
          if (!answered) greet();
          break;
        case 4:
          state.wants += 1;
          misbehave(channel, view.getUint32(1, true), view.getUint32(37, true));
          break;
        case 11: {
          const pong = new Uint8Array(data.slice(0));
          pong[0] = 12;
          if (channel.readyState === 'open') channel.send(pong);
          break;
        }
      }
    };
    channel.onclose = () => { state.closed += 1; };
  };
  const gathered = connection => new Promise(resolve => {
    const look = () => { if (connection.iceGatheringState === 'complete') resolve(); };
    connection.addEventListener('icegatheringstatechange', look);
    look();
  });

  const socket = new WebSocket(tracker);
  const connections = new Map();
  const say = fields => socket.send(JSON.stringify({ action: 'announce', info_hash: hexToText(infoHash), peer_id: peerId, ...fields }));
  const announce = async event => {
    const connection = new RTCPeerConnection();
    const offerId = String.fromCharCode(...crypto.getRandomValues(new Uint8Array(20)));
    connections.set(offerId, connection);
    serve(connection.createDataChannel('peerage', { ordered: true }), false);
    await connection.setLocalDescription();
    await gathered(connection);
    const { type, sdp } = connection.localDescription;
    say({ ...event, uploaded: 0, downloaded: 0, left: 1, numwant: 1, offers: [{ offer: { type, sdp }, offer_id: offerId }] });
  };
  socket.onmessage = async ({ data }) => {
    try {
      const { offer, answer, offer_id: offerId, peer_id: from } = JSON.parse(data);
      if (answer) await connections.get(offerId)?.setRemoteDescription(answer);
      if (offer) {
        const connection = new RTCPeerConnection();
        connections.set(offerId, connection);
        connection.ondatachannel = event => serve(event.channel, true);
        await connection.setRemoteDescription(offer);
        await connection.setLocalDescription();
        await gathered(connection);
        const { type, sdp } = connection.localDescription;
        say({ answer: { type, sdp }, offer_id: offerId, to_peer_id: from });
      }
    } catch (error) {
      state.errors.push(String(error));
    }
  };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`no tracker at ${tracker}`));
  });
  await announce({ event: 'started' });
}
