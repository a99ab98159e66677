// The tracker of `peerage serve` against bittorrent-tracker's server: announces for each second of processor time that
// the tracker uses, without offers and with five offers each that are all answered, and memory for each 1,000 peers.
// usage: node benches/tracker.mjs [--runs=5] [--seconds=5] [--peers=1000] [--active=200]
// Linux only: processor time and memory are read from /proc. The load comes from this process and shares the machine,
// which is why figures are for each second that the tracker itself ran.
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import { option, RUNS, Table } from './measure.mjs';
import { PEERAGE } from '../tests/browser/lib/peerage.mjs';
import { start, stop, temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { until } from '../tests/browser/lib/wait.mjs';

const require = createRequire(new URL('../tests/package.json', import.meta.url));
const WebSocket = require('ws');
const SECONDS = Number(option('seconds', '5'));
const PEERS = Number(option('peers', '1000'));
const ACTIVE = Number(option('active', '200'));
const SWARM = 20;
const SDP = 'a=candidate:1 1 udp 2122260223 127.0.0.1 50000 typ host '.repeat(12);

const REFERENCE = `import(${JSON.stringify(new URL('../tests/node_modules/bittorrent-tracker/server.js', import.meta.url).href)})
  .then(({ default: Server }) => new Server({ udp: false, http: false, ws: true, stats: false }).listen(+process.argv[1], '127.0.0.1'))`;
const TRACKERS = {
  peerage: port => [PEERAGE, ['serve', temporaryFolder('tracker'), '--listen', `127.0.0.1:${port}`, '--tracker-rate', '0']],
  'bittorrent-tracker': port => [process.execPath, ['-e', REFERENCE, String(port)]],
};

const fields = pid => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
const processorSeconds = pid => (Number(fields(pid)[11]) + Number(fields(pid)[12])) / 100;
const residentMiB = pid => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

const freePort = () => new Promise(resolve => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

/** One connection with one peer. While it runs it announces again as soon as it is answered, and answers every offer. */
class Peer {
  announces = 0;
  running = false;
  ready = false;

  constructor(url, n, offers) {
    this.offers = offers;
    this.said = { action: 'announce', info_hash: `swarm-${String(Math.floor(n / SWARM)).padStart(14, '0')}`, peer_id: `-BN0001-${String(n).padStart(12, '0')}`, left: 1000 };
    this.socket = new WebSocket(url, { perMessageDeflate: false });
    this.socket.on('open', () => this.announce(0));
    this.socket.on('message', data => this.hear(JSON.parse(data)));
    this.socket.on('error', error => { this.error = error; });
  }

  announce(offers) {
    const list = Array.from({ length: offers }, (_, k) => ({ offer_id: `${this.said.peer_id.slice(-6)}${String(this.announces).padStart(8, '0')}${String(k).padStart(6, '0')}`, offer: { type: 'offer', sdp: SDP } }));
    this.socket.send(JSON.stringify({ ...this.said, numwant: offers, offers: list }));
  }

  go() {
    this.running = true;
    this.announce(this.offers);
  }

  hear(message) {
    if (message['failure reason']) throw new Error(message['failure reason']);
    if (message.offer) {
      const answer = { type: 'answer', sdp: SDP };
      if (counting) this.socket.send(JSON.stringify({ ...this.said, to_peer_id: message.peer_id, offer_id: message.offer_id, answer }));
    } else if (message.interval) {
      this.ready = true;
      if (!this.running || !counting) return;
      this.announces += 1;
      this.announce(this.offers);
    }
  }
}

let counting = false;

async function load(table, name, child, url, offers, first) {
  const before = residentMiB(child.pid);
  const peers = [];
  for (let n = 0; n < PEERS; n++) {
    peers.push(new Peer(url, first + n, offers));
    if (n % 50 === 49) await until('the connections', () => peers.every(peer => peer.ready || peer.error), { every: 5 });
  }
  const lost = peers.find(peer => peer.error);
  if (lost) throw lost.error;
  await pause(1000);
  if (offers === 0) table.add(`memory for each 1,000 peers, ${name}`, (residentMiB(child.pid) - before) * 1000 / PEERS, 'MiB');
  const used = processorSeconds(child.pid);
  counting = true;
  for (let n = 0; n < PEERS; n += Math.max(1, Math.floor(PEERS / ACTIVE))) peers[n].go();
  await pause(SECONDS * 1000);
  counting = false;
  const announces = peers.reduce((sum, peer) => sum + peer.announces, 0);
  const figure = `announces per processor second, ${offers === 0 ? 'no offers' : `${offers} offers each, answered`}`;
  table.add(`${figure}, ${name}`, announces / (processorSeconds(child.pid) - used), '1/s');
  for (const peer of peers) peer.socket.terminate();
  await pause(500);
  return figure;
}

const table = new Table(), figures = new Set();
for (let run = 0; run < RUNS; run++) {
  for (const [name, command] of Object.entries(TRACKERS)) {
    const port = await freePort();
    const child = start(...command(port));
    child.stdout.resume();
    child.stderr.pipe(process.stderr);
    const url = `ws://127.0.0.1:${port}/`;
    await until(`${name} to listen`, () => new Promise(resolve => {
      const probe = net.connect(port, '127.0.0.1', () => { probe.destroy(); resolve(true); }).on('error', () => resolve(false));
    }));
    for (const [n, offers] of [0, 5].entries()) figures.add(await load(table, name, child, url, offers, n * PEERS));
    await stop(child);
  }
}
for (const figure of figures) table.addRatio(`${figure}: ratio`, `${figure}, peerage`, `${figure}, bittorrent-tracker`);
table.print();
process.exit();
