// A request that isn't listed: what Peerage's worker costs it, beside no worker and beside the least that a worker with a
// fetch handler can do. All are served by the same plain server to the same browser.
// usage: node benches/unlisted.mjs [--runs=7] [--cold=10]
import { cpSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BROWSERS, option, rotated, RUNS, Table } from './measure.mjs';
import { serve } from './server.mjs';
import { launch, stopServiceWorkers } from '../tests/browser/lib/browsers.mjs';
import { publish } from '../tests/browser/lib/peerage.mjs';
import { temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { randomBytes, writeFiles } from '../tests/browser/lib/site.mjs';
import { within } from '../tests/browser/lib/wait.mjs';

const REPEAT = 60, AT_ONCE = 50;
const COLD = Number(option('cold', '10'));
const BODY = randomBytes(10_240, 'answer');
const PASSES = "self.oninstall = () => self.skipWaiting(); self.onactivate = e => e.waitUntil(clients.claim()); self.onfetch = e => e.respondWith(fetch(e.request));";

/** Dynamic answers: in a folder that has no listed file, in one that has, and there with the ending of one. */
const answer = (request, response) => request.resume().on('end', () => {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': BODY.length, 'cache-control': 'no-store' }).end(BODY);
});
const PAGE = '<!doctype html><title>dynamic</title><link rel="icon" href="data:,">';
const page = (_, response) => response.writeHead(200, { 'content-type': 'text/html', 'content-length': PAGE.length, 'cache-control': 'no-store' }).end(PAGE);
const DYNAMIC = { '/api/item': answer, '/files/item': answer, '/files/item.bin': answer, '/api/page': page, '/files/page': page };
const GETS = [['in a folder without listed files', '/api/item'], ['in a folder with listed files', '/files/item'], ['ending as listed files beside it do', '/files/item.bin']];

const folders = { 'no worker': temporaryFolder('plain'), 'a worker that passes all': temporaryFolder('passes'), Peerage: temporaryFolder('peerage') };
writeFiles(folders['no worker'], { 'index.html': '<!doctype html><title>unlisted</title><link rel="icon" href="data:,">', 'files/listed.bin': 20_000, 'files/index.html': '<!doctype html><title>listed</title>' });
for (const name of ['a worker that passes all', 'Peerage']) cpSync(folders['no worker'], folders[name], { recursive: true });
writeFileSync(path.join(folders['a worker that passes all'], 'peerage-sw.js'), PASSES);
await publish(folders.Peerage, temporaryFolder('beside'));

const inPage = {
  async sequence(url, count, init) {
    const times = [];
    for (let i = 0; i < count; i++) {
      const from = performance.now();
      await (await fetch(url, init)).arrayBuffer();
      times.push(performance.now() - from);
    }
    return times;
  },
  async all(url, count) {
    const from = performance.now();
    await Promise.all(Array.from({ length: count }, async (_, i) => (await fetch(`${url}?${i}`)).arrayBuffer()));
    return performance.now() - from;
  },
};
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1];

/** A tab that the worker controls, where there is one. */
async function prepare(browser, { name, server }) {
  const tab = await browser.newPage();
  await tab.goto(server.url);
  if (name === 'no worker') return tab;
  await tab.evaluate(async () => {
    await navigator.serviceWorker.register('/peerage-sw.js');
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise(resolve => { navigator.serviceWorker.oncontrollerchange = resolve; });
  });
  await tab.goto(server.url);
  return tab;
}

async function pass(running, table, { name, tab, server }) {
  const add = (what, value) => table.add(`${running.kind}: ${what}: ${name}`, value, 'ms');
  await tab.bringToFront();
  await tab.evaluate(inPage.sequence, '/api/item', 20);
  for (const [where, url] of GETS) add(`GET, ${where}`, median(await tab.evaluate(inPage.sequence, url, REPEAT)));
  add('POST', median(await tab.evaluate(inPage.sequence, '/api/item', REPEAT, { method: 'POST', body: 'x' })));
  add(`${AT_ONCE} GET at once`, median([await tab.evaluate(inPage.all, '/api/item', AT_ONCE), await tab.evaluate(inPage.all, '/api/item', AT_ONCE), await tab.evaluate(inPage.all, '/api/item', AT_ONCE)]));
  for (const [what, url, init] of [...GETS.map(([where, url]) => [`GET, ${where}`, url]), ['POST', '/api/item', { method: 'POST', body: 'x' }]]) {
    const times = [];
    for (let i = 0; i < COLD; i++) {
      if (name !== 'no worker') await stopServiceWorkers(running, tab);
      times.push((await tab.evaluate(inPage.sequence, url, 1, init))[0]);
    }
    add(`${what}, after the worker was stopped`, median(times));
  }
  for (const [where, at] of [['in a folder without listed ones', '/api/page'], ['in a folder with listed ones', '/files/page']]) {
    const times = [];
    for (let i = 0; i < COLD; i++) {
      if (name !== 'no worker') await stopServiceWorkers(running, tab);
      await tab.goto(new URL(at, server.url).href);
      times.push(await tab.evaluate(() => performance.getEntriesByType('navigation')[0].responseEnd));
    }
    add(`document, ${where}, after the worker was stopped`, median(times));
  }
  await tab.goto(server.url);
}

const table = new Table();
for (const kind of BROWSERS) {
  const running = await launch(kind, { prefs: { 'privacy.reduceTimerPrecision': false } });
  const all = [];
  for (const [name, folder] of Object.entries(folders)) {
    const one = { name, server: await serve(folder, DYNAMIC) };
    one.tab = await within(60_000, name, prepare(running.browser, one));
    all.push(one);
  }
  for (let run = 0; run < RUNS; run++) {
    for (const one of rotated(all, run)) await within(120_000, `a pass of ${one.name}`, pass(running, table, one));
  }
  await running.close();
  for (const { server } of all) server.stop();
  for (const what of table.names(`${kind}: `, ': Peerage')) {
    for (const other of ['no worker', 'a worker that passes all']) {
      table.addRatio(`${kind}: ${what}: Peerage / ${other}`, `${kind}: ${what}: Peerage`, `${kind}: ${what}: ${other}`, other === 'no worker' ? 1.05 : undefined);
    }
  }
}
table.print();
process.exit();
