// What it costs that a service worker looks at the bytes of an answer: `caches.match()` handed on as it is, beside streams
// that the worker fills itself, in chunks of several sizes, without and with a SHA-256 of every 256 KiB.
// usage: node benches/stream.mjs [--runs=7] [--mib=64]
import http from 'node:http';
import { BROWSERS, option, RUNS, Table } from './measure.mjs';
import { launch } from '../tests/browser/lib/browsers.mjs';

const SEGMENT = 4 << 20, PIECE = 256 << 10;
const SIZE = Number(option('mib', '64')) << 20;
const WAYS = {
  'handed on': '/whole',
  'stream, 64 KiB chunks': `/stream?chunk=${64 << 10}`,
  'stream, 256 KiB chunks': `/stream?chunk=${PIECE}`,
  'stream, 4 MiB chunks': `/stream?chunk=${SEGMENT}`,
  'stream, 16 chunks of 256 KiB a turn': `/stream?chunk=${PIECE}&all`,
  'stream, 256 KiB chunks, hashed': `/stream?chunk=${PIECE}&hash`,
};

const WORKER = `
const SIZE = ${SIZE}, SEGMENT = ${SEGMENT}, PIECE = ${PIECE}, COUNT = Math.ceil(SIZE / SEGMENT);
self.addEventListener('install', event => { self.skipWaiting(); event.waitUntil((async () => {
  const cache = await caches.open('v');
  const whole = new Uint8Array(SIZE);
  for (let at = 0; at < SIZE; at += 65536) crypto.getRandomValues(whole.subarray(at, at + 65536));
  await cache.put('/whole', new Response(new Blob([whole])));
  for (let n = 0; n < COUNT; n++) await cache.put('/' + n, new Response(new Blob([whole.subarray(n * SEGMENT, (n + 1) * SEGMENT)])));
})()); });
self.addEventListener('activate', event => event.waitUntil(clients.claim()));
async function load(number, hash) {
  const bytes = new Uint8Array(await (await caches.match('/' + number)).arrayBuffer());
  const pieces = Array.from({ length: Math.ceil(bytes.length / PIECE) }, (_, i) => bytes.subarray(i * PIECE, (i + 1) * PIECE));
  if (hash) await Promise.all(pieces.map(piece => crypto.subtle.digest('SHA-256', piece)));
  return bytes;
}
self.addEventListener('fetch', event => {
  const { pathname, searchParams } = new URL(event.request.url);
  if (pathname === '/whole') event.respondWith(caches.match('/whole'));
  if (pathname !== '/stream') return;
  const chunk = Number(searchParams.get('chunk'));
  const ahead = [];
  let number = 0, current = null, at = 0;
  const fill = () => { while (ahead.length < 2 && number < COUNT) ahead.push(load(number++, searchParams.has('hash'))); };
  event.respondWith(new Response(new ReadableStream({ async pull(controller) {
    if (current === null || at >= current.length) {
      fill();
      if (ahead.length === 0) return controller.close();
      [current, at] = [await ahead.shift(), 0];
      fill();
    }
    do {
      controller.enqueue(current.subarray(at, at + chunk));
      at += chunk;
    } while (searchParams.has('all') && at < current.length);
  } }, { highWaterMark: 1 })));
});
`;

const inPage = async url => {
  const from = performance.now();
  const reader = (await fetch(url)).body.getReader();
  let first = null, size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { first, last: performance.now() - from, size };
    first ??= performance.now() - from;
    size += value.length;
  }
};

const server = http.createServer((request, response) => {
  const isWorker = request.url === '/sw.js';
  response.setHeader('content-type', isWorker ? 'text/javascript' : 'text/html');
  response.end(isWorker ? WORKER : '<!doctype html><title>x</title><link rel="icon" href="data:,"><script>navigator.serviceWorker.register("/sw.js")</script>');
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const table = new Table();
for (const kind of BROWSERS) {
  const { browser, close } = await launch(kind);
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise(resolve => { navigator.serviceWorker.oncontrollerchange = resolve; });
  });
  for (let run = 0; run < RUNS; run++) {
    let handedOn;
    for (const [way, url] of Object.entries(WAYS)) {
      const { first, last, size } = await page.evaluate(inPage, url);
      if (size !== SIZE) throw new Error(`${way}: ${size} bytes`);
      handedOn ??= last;
      table.add(`${kind}: ${way}, first byte`, first, 'ms');
      table.add(`${kind}: ${way}, last byte`, last, 'ms');
      table.add(`${kind}: ${way}, last byte, to handed on`, last / handedOn, '');
    }
  }
  await close();
}
server.close();
table.print();
process.exit();
