// The tracker against the reference implementation's own client (npm bittorrent-tracker), with real WebRTC in node.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { register } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { Origin } from '../browser/lib/peerage.mjs';
import { PATIENCE, until } from '../browser/lib/wait.mjs';

const webrtc = new URL('webrtc.mjs', import.meta.url);
register(`data:text/javascript,${encodeURIComponent(`export const resolve = (name, context, next) =>
  name === 'webrtc-polyfill' ? { url: '${webrtc}', shortCircuit: true } : next(name, context);`)}`);
const { default: Client } = await import('bittorrent-tracker/client');

const folder = mkdtempSync(path.join(tmpdir(), 'peerage-tracker-'));
let origin, sockets = 0;
const clients = [];

before(async () => { origin = await Origin.start(folder); });
after(async () => {
  for (const client of clients) client.destroy();
  await origin?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const bytes = (letter, end = '') => Buffer.from((letter.repeat(20) + end).slice(-20), 'latin1');
const trackerUrl = () => `${origin.url.replace(/^http/, 'ws')}peerage/tracker`;

/** A client that announces itself. Clients of one process share a socket for each URL, hence the query. */
function client(infoHash, peerId, options = {}) {
  const says = { numwant: 4, left: 1, uploaded: 0, downloaded: 0, ...options };
  const made = new Client({
    infoHash, peerId, announce: [`${trackerUrl()}?${++sockets}`], port: 6881,
    rtcConfig: { iceServers: [] }, getAnnounceOpts: () => says,
  });
  made.says = says;
  made.warnings = [];
  made.on('warning', warning => made.warnings.push(warning.message));
  made.on('error', error => made.warnings.push(error.message));
  clients.push(made);
  return made;
}

const next = (emitter, event) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no '${event}' event; warnings: ${emitter.warnings}`)), PATIENCE);
  emitter.once(event, value => { clearTimeout(timer); resolve(value); });
});

/** A socket that speaks the protocol by hand. */
async function socket() {
  const made = new WebSocket(trackerUrl());
  const heard = [];
  made.on('message', data => heard.push(JSON.parse(data)));
  await new Promise((resolve, reject) => made.once('open', resolve).once('error', reject));
  return { heard, say: message => made.send(JSON.stringify(message)), close: () => made.close() };
}

test('two clients connect: offers and answers are relayed, a data channel opens', async () => {
  const infoHash = bytes('\xe9', 'connects');
  const first = client(infoHash, bytes('\x01', 'first'));
  first.start();
  const update = await next(first, 'update');
  assert.equal(update.infoHash, infoHash.toString('hex'));
  assert.deepEqual([update.complete, update.incomplete], [0, 1]);

  const second = client(infoHash, bytes('\xff', 'second'));
  const found = [next(first, 'peer'), next(second, 'peer')];
  second.start();
  const [toSecond, toFirst] = await Promise.all(found);
  assert.equal(toSecond.id, bytes('\xff', 'second').toString('hex'));
  assert.equal(toFirst.id, bytes('\x01', 'first').toString('hex'));
  await Promise.all([toSecond, toFirst].map(peer => peer.connected || next(peer, 'connect')));
  const heard = next(toFirst, 'data');
  toSecond.send('over WebRTC');
  assert.equal(Buffer.from(await heard).toString(), 'over WebRTC');
  assert.deepEqual([...first.warnings, ...second.warnings], []);
  toSecond.destroy();
  toFirst.destroy();
});

test('counts follow who starts, completes, stops and vanishes', async () => {
  const infoHash = bytes('c', 'counts');
  const counts = async (of, event, left = of.says.left) => {
    of.says.left = left;
    of[event]();
    const { complete, incomplete } = await next(of, 'update');
    return [complete, incomplete];
  };
  const [a, b, c] = ['a', 'b', 'c'].map(name => client(infoHash, bytes(name), { numwant: 0 }));
  assert.deepEqual(await counts(a, 'start'), [0, 1]);
  assert.deepEqual(await counts(b, 'start', 0), [1, 1]);
  assert.deepEqual(await counts(a, 'complete', 0), [2, 0]);
  assert.deepEqual(await counts(c, 'start'), [2, 1]);
  const scraped = next(c, 'scrape');
  c.scrape();
  const { complete, incomplete, infoHash: of } = await scraped;
  assert.deepEqual([of, complete, incomplete], [infoHash.toString('hex'), 2, 1]);
  assert.deepEqual(await counts(a, 'stop'), [1, 1]);
  b.destroy();
  await until('the tracker to notice that one is gone', async () => {
    const [complete] = await counts(c, 'update');
    return complete === 0;
  });
  assert.deepEqual([a, b, c].flatMap(client => client.warnings), []);
});

test('several info hashes are scraped at once', async () => {
  const [one, two] = [bytes('s', 'one'), bytes('s', 'two')];
  const a = client(one, bytes('p', 'one'), { numwant: 0 });
  a.start();
  await next(a, 'update');
  const got = {};
  a.on('scrape', ({ infoHash, incomplete }) => { got[infoHash] = incomplete; });
  a.scrape({ infoHash: [one.toString('hex'), two.toString('hex')] });
  await until('both', () => Object.keys(got).length === 2);
  assert.deepEqual(got, { [one.toString('hex')]: 1, [two.toString('hex')]: 0 });
});

test('an answer that nobody asked for never reaches a client', async () => {
  const infoHash = bytes('w', 'wrong');
  const victim = client(infoHash, bytes('v', 'victim'), { numwant: 1 });
  const peers = [];
  victim.on('peer', peer => peers.push(peer));
  const liar = await socket(), honest = await socket();
  const speak = (name, more) => ({ action: 'announce', info_hash: infoHash.toString('latin1'), peer_id: bytes(name).toString('latin1'), left: 1, ...more });
  honest.say(speak('h', {}));
  await until('the honest one to be there', () => honest.heard.length === 1);
  victim.start();
  const offer = (await until('the offer', () => honest.heard.find(message => message.offer)));
  liar.say(speak('l', {}));
  await until('the liar to be there', () => liar.heard.length === 1);
  const answer = { to_peer_id: offer.peer_id, offer_id: offer.offer_id, answer: { type: 'answer', sdp: 'v=0\r\n' } };
  // The liar knows the offer, but it was not relayed to it; nor may it speak as the honest one.
  liar.say(speak('l', answer));
  liar.say(speak('h', answer));
  await until('the refusal', () => liar.heard.some(message => message['failure reason']?.includes('another connection')));
  // Messages of one connection keep their order: what the victim hears now, it hears after anything that was relayed.
  const update = next(victim, 'update');
  victim.update();
  await update;
  assert.deepEqual(peers, []);
  assert.deepEqual(victim.warnings, []);
  liar.close();
  honest.close();
});
