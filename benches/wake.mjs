// What a worker's first answer after it was stopped is made of: a ten-line cache-first worker, and the same with one thing
// after the other that Peerage's does: a script as long as Peerage's, what is remembered read first, a segment read and
// hashed in the place of the file's own entry. Then Peerage itself.
// usage: node benches/wake.mjs [--runs=7] [--cold=10]
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cases, inPage, names, opened } from './cached.mjs';
import { BROWSERS, option, rotated, RUNS, Table } from './measure.mjs';
import { stopServiceWorkers } from '../tests/browser/lib/browsers.mjs';

const COLD = Number(option('cold', '10'));

/** What is kept beside the files: what a worker remembers, as long as Peerage's for as many files; a segment. */
const KEEP = `
const remembered = JSON.stringify({ files: Array.from({ length: 200 }, (_, i) => ['/a/' + i + '.js', 'x'.repeat(120)]) });
self.addEventListener('install', e => e.waitUntil(caches.open('v1').then(c => Promise.all([
  c.put('/remembered', new Response(remembered)), c.put('/segment', new Response(new Uint8Array(256 << 10)))]))));`;
const REMEMBER = 'await (await (await caches.open(\'v1\')).match(\'/remembered\')).json();';
const SEGMENT = `
const segment = new Uint8Array(await (await (await caches.open('v1')).match('/segment')).arrayBuffer());
const file = segment.slice(0, 10240);
await crypto.subtle.digest('SHA-256', file);
return new Response(file);`;

/** A worker that keeps `list`, and answers a small file with what `steps` return. */
const worker = (list, steps, more = '') => `${KEEP}
self.addEventListener('install', e => { self.skipWaiting(); e.waitUntil(caches.open('v1').then(c => c.addAll(${list}))); });
self.addEventListener('activate', e => e.waitUntil(clients.claim()));
async function answer(request) { ${steps} }
self.addEventListener('fetch', e => { if (e.request.method === 'GET') e.respondWith(e.request.url.includes('/a/') ? answer(e.request) : caches.match(e.request).then(r => r || fetch(e.request))); });
${more}`;

const MATCH = 'return caches.match(request).then(r => r || fetch(request));';
const table = new Table();
const all = await cases(['Peerage', 'ten-line worker'], (list, peerage) => {
  const script = readFileSync(path.join(peerage, 'peerage-sw.js'), 'utf8');
  const long = `function never() { ${script} }`;
  return {
    'as long a script': worker(list, MATCH, long),
    'and what is remembered': worker(list, `${REMEMBER} ${MATCH}`, long),
    'and a segment, hashed': worker(list, `${REMEMBER} ${SEGMENT}`, long),
  };
});
for (const kind of BROWSERS) {
  const running = await opened(kind, all);
  for (let run = -1; run < RUNS; run++) {
    for (const { name, server } of rotated(all, run + 1)) {
      const tab = await running.browser.newPage();
      await tab.goto(`${server.url}empty.html`);
      // For as long as a worker lives that a page has woken: what it remembers is written down meanwhile.
      for (let i = 0; i < 2; i++) await tab.evaluate(inPage.sequence, names.slice(0, 2 * COLD));
      await pause(2500);
      const first = [];
      for (let i = 0; i < COLD; i++) {
        await stopServiceWorkers(running, tab);
        first.push((await tab.evaluate(inPage.sequence, [names[i]]))[0]);
      }
      await tab.close();
      first.sort((a, b) => a - b);
      // The first round only warms up.
      if (run >= 0) table.add(`${kind}: ${name}`, first[first.length >> 1], 'ms');
    }
  }
  await running.close();
  for (const { name, server } of all) {
    server.stop();
    if (name !== 'ten-line worker') table.addRatio(`${kind}: ${name} / ten-line worker`, `${kind}: ${name}`, `${kind}: ten-line worker`);
  }
}
table.print();
process.exit();
