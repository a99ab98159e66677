// One file of 64 MiB from one browser to another: through the whole of Peerage (fetch in the page, service worker, mesh,
// channel, mesh, Cache Storage, and verification), and over a bare RTCDataChannel between two workers that checks each
// 64 KiB with WebCrypto and keeps them in memory. Same browsers, same pass.
// usage: node benches/throughput.mjs [--runs=5] [--mib=64] [--pairs=chromium:chromium,firefox:firefox] (taker:giver)
import http from 'node:http';
import { BROWSERS, option, pair, RUNS, Table } from './measure.mjs';
import { Origin, publish } from '../tests/browser/lib/peerage.mjs';
import { temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { writeSite } from '../tests/browser/lib/site.mjs';

const MIB = Number(option('mib', '64'));
const PAIRS = option('pairs', BROWSERS.map(kind => `${kind}:${kind}`).join(',')).split(',').map(names => names.split(':'));

const folder = temporaryFolder('site');
const names = Array.from({ length: RUNS }, (_, i) => `film-${i}.bin`);
writeSite(folder, Object.fromEntries(names.map(name => [name, MIB << 20])));
await publish(folder, temporaryFolder('beside'));
const origin = await Origin.start(folder);
const bare = await serveBare();
const table = new Table();

for (let run = 0; run < RUNS; run++) {
  for (const kinds of PAIRS) {
    const label = kinds.join(' <- ');
    const url = `${origin.url}${names[run]}`;
    const { giver, taker, close } = await pair(kinds, origin.url, [url], [origin.url, bare.url]);
    await taker.consent();
    await taker.neighbours(1);
    const { first, whole, size, told } = await taker.page.evaluate(async asked => {
      const from = performance.now();
      const reader = (await fetch(asked)).body.getReader();
      let size = 0;
      let first;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        first ??= performance.now() - from;
        size += value.length;
      }
      return { first, whole: performance.now() - from, size, told: await window.peerage.explain(asked) };
    }, url);
    if (size !== MIB << 20) throw new Error(`${size} bytes`);
    table.add(`${label}: Peerage, whole file`, MIB / (whole / 1000), 'MiB/s');
    table.add(`${label}: Peerage, first byte`, first, 'ms');
    table.add(`${label}: Peerage, bytes from the peer`, 100 * told.bytes.peer / size, '%');

    await giver.newTab(bare.url);
    await taker.newTab(bare.url);
    const offer = await taker.page.evaluate(mib => window.take(mib), MIB);
    const answer = await giver.page.evaluate((given, mib) => window.give(given, mib), offer, MIB);
    const ms = await taker.page.evaluate(given => window.connect(given), answer);
    table.add(`${label}: bare channel, whole file`, MIB / (ms / 1000), 'MiB/s');
    await close();
  }
}
for (const kinds of PAIRS) {
  const label = kinds.join(' <- ');
  table.addRatio(`${label}: Peerage / bare channel`, `${label}: Peerage, whole file`, `${label}: bare channel, whole file`);
}
await origin.stop();
bare.close();
table.print();

/** A page with the two ends of a bare channel, whose descriptions the bench itself carries. */
async function serveBare() {
  const page = `<!doctype html><title>Bare channel</title><link rel="icon" href="data:,"><script>(${bareEnds})()</script>`;
  const server = http.createServer((request, response) => {
    const script = request.url === '/worker.js';
    response.writeHead(200, { 'content-type': script ? 'text/javascript' : 'text/html' });
    response.end(script ? `(${bareWorker})()` : page);
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => { server.closeAllConnections(); server.close(); } };
}

function bareEnds() {
  let connection, done;
  const described = async () => {
    await connection.setLocalDescription();
    await new Promise(resolve => {
      const look = () => connection.iceGatheringState === 'complete' && resolve();
      connection.onicegatheringstatechange = look;
      look();
    });
    return connection.localDescription.toJSON();
  };
  const hand = (channel, role, mib) => {
    const worker = new Worker('/worker.js');
    worker.postMessage({ role, channel, mib }, [channel]);
    return new Promise((resolve, reject) => { worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.ms)); });
  };
  window.take = mib => {
    connection = new RTCPeerConnection();
    done = hand(connection.createDataChannel('bare'), 'take', mib);
    return described();
  };
  window.give = async (offer, mib) => {
    connection = new RTCPeerConnection();
    connection.ondatachannel = ({ channel }) => hand(channel, 'give', mib);
    await connection.setRemoteDescription(offer);
    return described();
  };
  window.connect = async answer => {
    await connection.setRemoteDescription(answer);
    return done;
  };
}

function bareWorker() {
  const PART = 65_536;
  const fill = part => part.map((_, i) => (i * 31) & 255);
  onmessage = async ({ data: { role, channel, mib } }) => {
    const parts = mib * 16;
    channel.binaryType = 'arraybuffer';
    if (role === 'give') {
      const part = fill(new Uint8Array(PART));
      channel.bufferedAmountLowThreshold = PART / 2;
      channel.onmessage = () => {
        let sent = 0;
        const pump = () => { while (sent < parts && channel.bufferedAmount < PART) { channel.send(part); sent += 1; } };
        channel.onbufferedamountlow = pump;
        pump();
      };
      // This side answered: what comes before its channel is handed on is lost in Chromium, so it speaks first.
      const ready = () => channel.send('ready');
      if (channel.readyState === 'open') ready();
      else channel.onopen = ready;
      return;
    }
    const expected = new Uint8Array(await crypto.subtle.digest('SHA-256', fill(new Uint8Array(PART))));
    const kept = new Uint8Array(mib << 20);
    let from, at = 0, checked = 0;
    channel.onmessage = async ({ data }) => {
      if (data === 'ready') {
        from = performance.now();
        channel.send('go');
        return;
      }
      const here = at;
      at += data.byteLength;
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
      if (hash.some((byte, i) => byte !== expected[i])) return postMessage({ error: 'a part does not match' });
      kept.set(new Uint8Array(data), here);
      checked += 1;
      if (checked === parts) postMessage({ ms: performance.now() - from });
    };
  };
}
