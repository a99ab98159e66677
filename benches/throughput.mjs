// One file from one browser to others: through the whole of Peerage (fetch in the page, service worker, mesh, channel,
// mesh, verification, Cache Storage), by p2p-media-loader-core (which verifies nothing and keeps all in memory), by
// WebTorrent, and over a bare RTCDataChannel between workers. Same browsers, same pass; each visitor is a browser of its own.
// usage: node benches/throughput.mjs [--runs=7] [--mib=64] [--takers=1] [--pairs=chromium:chromium,firefox:firefox] (taker:giver)
//        [--cases=Peerage,bare,p2p-media-loader,WebTorrent] [--mbit=16]
// The two packages are fetched with npm. With --mbit, as root on Linux and for Chromium: each visitor in a network namespace
// whose uplink is a token bucket (tc-tbf) of so many Mbit/s, and without the origin; the bare channel, which has one giver, stays
// out of that.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Hosts } from './hosts.mjs';
import { BROWSERS, option, rotated, RUNS, Table } from './measure.mjs';
import { serve } from './server.mjs';
import { Origin, publish, served } from '../tests/browser/lib/peerage.mjs';
import { start, temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { sha256File, writeSite } from '../tests/browser/lib/site.mjs';
import { Visitor } from '../tests/browser/lib/visitor.mjs';
import { until, within } from '../tests/browser/lib/wait.mjs';

const PACKAGES = { webtorrent: '2.8.5', 'p2p-media-loader-core': '2.3.1' };
const MIB = Number(option('mib', '64')), TAKERS = Number(option('takers', '1')), MBIT = Number(option('mbit', '0'));
const SIZE = MIB << 20;
const PAIRS = option('pairs', BROWSERS.map(kind => `${kind}:${kind}`).join(',')).split(',').map(names => names.split(':'));
const CASES = option('cases', MBIT ? 'Peerage,WebTorrent' : 'Peerage,bare,p2p-media-loader,WebTorrent').split(',');
const PATIENCE = 600_000;

const packages = process.env.BENCH_PACKAGES ?? fetched();
if (MBIT && process.env.BENCH_PACKAGES === undefined) {
  // Everything that follows is in a network of its own.
  const again = ['-n', '--', process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  process.exit(spawnSync('unshare', again, { stdio: 'inherit', env: { ...process.env, BENCH_PACKAGES: packages } }).status ?? 1);
}

const site = temporaryFolder('site'), other = temporaryFolder('others');
writeSite(site, { 'file.bin': SIZE });
copyFileSync(path.join(site, 'file.bin'), path.join(other, 'file.bin'));
for (const name of ['page.js', 'worker.js']) copyFileSync(fileURLToPath(new URL(`others/${name}`, import.meta.url)), path.join(other, name));
writeSite(other, { 'index.html': '<!doctype html><title>Others</title><link rel="icon" href="data:,"><script type="module" src="page.js"></script>' });
cpSync(packages, other, { recursive: true });
const sha256 = sha256File(other, 'file.bin');

const hosts = MBIT ? await Hosts.start(MBIT, 1 + TAKERS) : null;
const pages = await serve(other);
const tracker = await startTracker();
const table = new Table();
if (MBIT === 0) {
  await publish(site, temporaryFolder('beside'));
} else {
  // A tracker that outlives the origin.
  const { url } = await Origin.start(temporaryFolder('tracker'));
  await publish(site, temporaryFolder('beside'), { config: `[policy]\nmode = "offload"\n[trackers]\nurls = ["${url.replace('http', 'ws')}"]\n` });
  await hosts.reach([url]);
}

for (let run = 0; run < RUNS; run++) {
  for (const kinds of PAIRS) {
    for (const name of rotated(CASES, run)) {
      const visitors = [];
      try {
        const told = await within(PATIENCE, `${name}, ${kinds}`, (name === 'Peerage' ? throughPeerage : throughOther)(name, kinds, visitors));
        note(`${kinds.join(' <- ')}: ${name}`, told);
      } finally {
        await Promise.all(visitors.map(visitor => visitor.close()));
      }
    }
  }
}
for (const kinds of PAIRS) {
  const of = name => `${kinds.join(' <- ')}: ${name}`;
  const ratio = (what, under, aim) => {
    if (CASES.includes('Peerage') && CASES.includes(under)) table.addRatio(`${of('Peerage')} / ${under}, ${what}`, `${of('Peerage')}, ${what}`, `${of(under)}, ${what}`, aim);
  };
  if (TAKERS === 1) {
    // Time for the rest after the first byte: as aims for a rate they are 0.95, 1.0 and 2.2.
    for (const [under, rate] of [['bare', 0.95], ['p2p-media-loader', 1], ['WebTorrent', 2.2]]) ratio('rest after the first byte', under, Number((1 / rate).toFixed(3)));
    ratio('connected', 'p2p-media-loader', 1);
    ratio('first verified piece', 'p2p-media-loader', 1);
    ratio('first verified piece', 'WebTorrent', 0.2);
  } else if (MBIT === 0) {
    for (const [under, aim] of [['p2p-media-loader', 1.05], ['WebTorrent', 0.45]]) ratio('last complete', under, aim);
  }
}
table.print();
for (const name of CASES) {
  const copies = SIZE * 8 / (MBIT * 1e6);
  if (MBIT) console.log(`${name}: the last was complete after ${(median(table.values(`${PAIRS[0].join(' <- ')}: ${name}, last complete`)) / 1000 / copies).toFixed(2)} times what one copy takes the giver's uplink (${copies.toFixed(1)} s); aim 1.15`);
}
process.exit(0);

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

function note(name, told) {
  for (const { size, sha256: found } of told) if (found !== undefined ? found !== sha256 && !name.endsWith('bare') : size !== SIZE) throw new Error(`${name}: not the file`);
  if (TAKERS === 1) {
    const [{ connected, first, verified, done }] = told;
    table.add(`${name}, connected`, connected, 'ms');
    table.add(`${name}, first verified piece`, verified, 'ms');
    table.add(`${name}, rest after the first byte`, done - first, 'ms');
    table.add(`${name}, rate after the first byte`, MIB / ((done - first) / 1000), 'MiB/s');
  }
  table.add(`${name}, last complete`, Math.max(...told.map(({ done }) => done)), 'ms');
  if (told[0].copies !== undefined) table.add(`${name}, from the origin`, told[0].copies, 'copies');
}

/** A visitor on the page at `url`, which is on loopback wherever it is. */
async function visit(kind, at, url, visitors) {
  const options = hosts?.options(at) ?? {};
  const visitor = await Visitor.start(kind, { name: `${kind} ${at}`, allow: [url], ...options });
  visitors.push(visitor);
  return visitor;
}

async function throughPeerage(_name, [takerKind, giverKind], visitors) {
  const origin = await Origin.start(site);
  try {
    await hosts?.reach([origin.url]);
    const file = `${origin.url}file.bin`;
    const giver = await visit(giverKind, 0, origin.url, visitors);
    await giver.enter(origin.url);
    await giver.consent();
    for (const { status, error } of await giver.take([file])) if (status !== 200) throw new Error(`giver: ${status} ${error}`);
    const takers = [];
    for (let at = 1; at <= TAKERS; at++) takers.push(await visit(takerKind, at, origin.url, visitors));
    for (const taker of takers) await taker.enter(origin.url);
    await giver.wait('the file to be stored', async (name, size) => (await window.peerage.explain(name)) !== null && size > 0, file, SIZE);
    const before = await origin.counters();
    // The others have no origin to help out either.
    if (MBIT) await origin.stop();
    const told = await Promise.all(takers.map(({ page }) => page.evaluate(async (asked, alone) => {
      const isHeld = async () => {
        if (alone) return (await window.peerage.stats()).peers > 0;
        // The first neighbour may be another taker, who has nothing yet. (What they hold is told once a second.)
        const { port1, port2 } = new MessageChannel();
        const inspected = new Promise(resolve => { port1.onmessage = ({ data }) => resolve(data); });
        navigator.serviceWorker.controller.postMessage({ peerage: 'inspect' }, [port2]);
        return (await inspected).neighbours.some(({ have }) => have > 3);
      };
      const from = performance.now();
      await window.peerage.consent(true);
      while (!await isHeld()) await new Promise(resolve => { setTimeout(resolve, 10); });
      const connected = performance.now() - from;
      const reader = (await fetch(asked)).body.getReader();
      let size = 0, first;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return { connected, first, verified: first, done: performance.now() - from, size };
        first ??= performance.now() - from;
        size += value.length;
      }
    }, file, TAKERS === 1)));
    if (MBIT === 0) told[0].copies = served(before, await origin.counters(), name => name === '/file.bin').bytes / SIZE;
    return told;
  } finally {
    await origin.stop();
  }
}

async function throughOther(name, [takerKind, giverKind], visitors) {
  await hosts?.reach([pages.url, tracker.url]);
  const config = { tracker: tracker.url };
  for (let at = 0; at <= TAKERS; at++) {
    const visitor = await visit(at === 0 ? giverKind : takerKind, at, pages.url, visitors);
    await visitor.goto(pages.url);
    await visitor.wait('the page', () => 'take' in window);
  }
  const [giver, ...takers] = visitors;
  const id = await giver.page.evaluate((...args) => window.give(...args), name, config, 'file.bin');
  // What it announces is known to the tracker by then.
  await pause(1000);
  return Promise.all(takers.map(async ({ page }) => {
    let known = id;
    if (name === 'bare') {
      const offer = await page.evaluate(size => window.offer(size), SIZE);
      known = await giver.page.evaluate((...args) => window.answer(...args), offer, SIZE);
    }
    return page.evaluate((...args) => window.take(...args), name, config, known, SIZE);
  }));
}

/** A WebSocket tracker for the others: bittorrent-tracker's own. */
async function startTracker() {
  const server = new URL('../tests/node_modules/bittorrent-tracker/server.js', import.meta.url).href;
  const program = `import(${JSON.stringify(server)}).then(({ default: Server }) => new Server({ udp: false, http: false, ws: true, stats: false }).listen(+process.argv[1], '127.0.0.1'))`;
  const port = await new Promise(resolve => {
    const free = net.createServer().listen(0, '127.0.0.1', () => { const { port: found } = free.address(); free.close(() => resolve(found)); });
  });
  start(process.execPath, ['-e', program, String(port)], { stdio: ['ignore', 'ignore', 'inherit'] });
  await until('the tracker to listen', () => new Promise(resolve => {
    const probe = net.connect(port, '127.0.0.1', () => { probe.destroy(); resolve(true); }).on('error', () => resolve(false));
  }));
  return { url: `ws://127.0.0.1:${port}` };
}

/** The packages of the others, each in a folder of its name. */
function fetched() {
  const folder = temporaryFolder('packages');
  for (const [name, version] of Object.entries(PACKAGES)) {
    if (!CASES.some(wanted => wanted.toLowerCase() === name.replace('-core', ''))) continue;
    const packed = temporaryFolder('npm');
    const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', `${name}@${version}`], { cwd: packed, stdio: ['ignore', 'pipe', 'ignore'] }));
    mkdirSync(path.join(folder, name));
    execFileSync('tar', ['-xzf', path.join(packed, filename), '-C', path.join(folder, name), '--strip-components=1']);
  }
  return folder;
}
