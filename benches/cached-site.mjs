// A site that is cached whole: Peerage beside Workbox's precache, a ten-line cache-first worker, and the HTTP cache alone.
// All are served by the same plain server, from the same files, to the same browser.
// usage: node benches/cached-site.mjs [--runs=7] [--cold=10] [--only=NAME,NAME]
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BROWSERS, option, rotated, RUNS, Table } from './measure.mjs';
import { serve } from './server.mjs';
import { launch, stopServiceWorkers } from '../tests/browser/lib/browsers.mjs';
import { publish } from '../tests/browser/lib/peerage.mjs';
import { temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { filesBelow, randomBytes, sha256File, writeFiles } from '../tests/browser/lib/site.mjs';
import { within } from '../tests/browser/lib/wait.mjs';
import { library, precache } from '../tests/browser/lib/workbox.mjs';

const SMALL = 10_240, BIG = 5 << 20, HUGE = 64 << 20, REPEAT = 3;
const COLD = Number(option('cold', '10'));
const names = Array.from({ length: 200 }, (_, i) => `a/${String(i).padStart(3, '0')}.js`);

function page(title, scripts) {
  const head = '<script>if (!new URL(location).searchParams.has("plain")) navigator.serviceWorker.register(document.currentScript.dataset.worker ?? "peerage-sw.js")</script>';
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><link rel="icon" href="data:,">${head}${scripts}`;
}

function makeSite() {
  const folder = temporaryFolder('site');
  writeFiles(folder, {
    'index.html': page('200 scripts', names.map(name => `<script async src="${name}"></script>`).join('\n')),
    'empty.html': page('empty', ''), 'big.bin': BIG, 'huge.bin': HUGE,
  });
  for (const name of names) {
    const start = 'window.ran = (window.ran ?? 0) + 1; //';
    writeFiles(folder, { [name]: start + randomBytes(SMALL, name).toString('base64').slice(0, SMALL - start.length) });
  }
  return folder;
}

const TEN_LINES = list => `
self.addEventListener('install', e => { self.skipWaiting(); e.waitUntil(caches.open('v1').then(c => c.addAll(${list}))); });
self.addEventListener('activate', e => e.waitUntil(clients.claim()));
self.addEventListener('fetch', e => { if (e.request.method === 'GET') e.respondWith(caches.match(e.request).then(r => r || fetch(e.request))); });
`;

/** Workbox's precache as its packages ship it, in one file, as a production build has it. */
function workbox(folder, list) {
  return `${library()}
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', e => e.waitUntil(clients.claim()));
${precache(folder, list)}`;
}

/** The cases: each is a folder of its own, and the worker in it, if any. */
async function cases() {
  const site = makeSite();
  const list = filesBelow(site);
  const folder = (name, worker) => {
    const copy = temporaryFolder(name.replaceAll(' ', '-'));
    cpSync(site, copy, { recursive: true });
    if (worker !== undefined) writeFileSync(path.join(copy, 'peerage-sw.js'), worker);
    return copy;
  };
  const peerage = folder('peerage');
  const beside = temporaryFolder('beside');
  mkdirSync(beside, { recursive: true });
  await publish(peerage, beside, { config: '[precache]\ninclude = ["**"]\n' });
  const all = [
    { name: 'HTTP cache', folder: folder('plain'), worker: false },
    { name: 'ten-line worker', folder: folder('ten-lines', TEN_LINES(JSON.stringify(list))), worker: true },
    { name: 'Workbox', folder: folder('workbox', workbox(site, list)), worker: true },
    { name: 'Peerage', folder: peerage, worker: true },
  ];
  const only = option('only', '').split(',').filter(name => name !== '');
  return all.filter(({ name }) => only.length === 0 || only.includes(name));
}

const inPage = {
  async all(urls) {
    const from = performance.now();
    await Promise.all(urls.map(async url => (await fetch(url)).arrayBuffer()));
    return performance.now() - from;
  },
  async sequence(urls) {
    const times = [];
    for (const url of urls) {
      const from = performance.now();
      await (await fetch(url)).arrayBuffer();
      times.push(performance.now() - from);
    }
    return times;
  },
  async stream(url, size) {
    const from = performance.now();
    const reader = (await fetch(url)).body.getReader();
    let first = null, read = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      first ??= performance.now() - from;
      read += value.length;
    }
    if (read !== size) throw new Error(`${read} of ${size} bytes`);
    return { first, last: performance.now() - from };
  },
  loaded: () => new Promise(resolve => {
    const look = () => {
      const [{ loadEventEnd: ms }] = performance.getEntriesByType('navigation');
      if (ms > 0) resolve({ ms, ran: window.ran, by: performance.getEntriesByType('resource').filter(entry => entry.workerStart > 0).length });
      else setTimeout(look, 2);
    };
    look();
  }),
};

const median = values => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Opens the site once, so that everything is cached. */
async function prepare(browser, { server, worker }) {
  const tab = await browser.newPage();
  await tab.goto(`${server.url}empty.html${worker ? '' : '?plain'}`);
  if (worker) {
    await tab.evaluate(async () => {
      await navigator.serviceWorker.ready;
      if (!navigator.serviceWorker.controller) await new Promise(resolve => { navigator.serviceWorker.oncontrollerchange = resolve; });
    });
    await tab.goto(`${server.url}empty.html`);
  }
  await tab.evaluate(inPage.sequence, names);
  for (const name of ['big.bin', 'huge.bin']) await tab.evaluate(inPage.sequence, [name]);
  await tab.goto(`${server.url}index.html${worker ? '' : '?plain'}`);
  await tab.evaluate(inPage.loaded);
  await tab.close();
}

async function pass(running, table, { name, server, worker }) {
  const { browser, kind } = running;
  const add = (what, value) => table.add(`${kind}: ${what}: ${name}`, value, 'ms');
  const query = worker ? '' : '?plain';
  const tab = await browser.newPage();
  await tab.goto(`${server.url}empty.html${query}`);
  await tab.evaluate(inPage.sequence, names.slice(0, 20));
  const figures = { all: [], one: [], big: [], load: [] };
  for (let i = 0; i < REPEAT; i++) {
    figures.all.push(await tab.evaluate(inPage.all, names));
    figures.one.push(median(await tab.evaluate(inPage.sequence, names)));
    figures.big.push(median(await tab.evaluate(inPage.sequence, ['big.bin'])));
  }
  add('200 x 10 KiB at once', median(figures.all));
  add('one 10 KiB fetch after another', median(figures.one));
  add('5 MiB', median(figures.big));
  const huge = await tab.evaluate(inPage.stream, 'huge.bin', HUGE);
  add('64 MiB, first byte', huge.first);
  add('64 MiB, last byte', huge.last);
  // Each load in a new tab: a renderer's memory cache would keep the scripts from the worker.
  const load = async cold => {
    const other = await browser.newPage();
    if (cold) await stopServiceWorkers(running, tab);
    else await tab.evaluate(inPage.sequence, names.slice(0, 3));
    await other.goto(`${server.url}index.html${query}`);
    const { ms, ran, by } = await other.evaluate(inPage.loaded);
    await other.close();
    // Firefox gives scripts of a page no `workerStart`.
    if (ran !== names.length || (worker && kind === 'chromium' && by < names.length)) throw new Error(`${name}: ${ran} scripts ran, ${by} came from the worker`);
    return ms;
  };
  await load(false);
  for (let i = 0; i < REPEAT; i++) figures.load.push(await load(false));
  add('page with 200 scripts', median(figures.load));
  if (worker) {
    const first = [], loads = [];
    for (let i = 0; i < COLD; i++) {
      await stopServiceWorkers(running, tab);
      first.push((await tab.evaluate(inPage.sequence, [names[i]]))[0]);
    }
    add('first fetch after the worker was stopped', median(first));
    const opened = [];
    for (let i = 0; i < COLD; i++) {
      const other = await browser.newPage();
      await stopServiceWorkers(running, tab);
      await other.goto(`${server.url}empty.html`);
      opened.push(await other.evaluate(() => performance.getEntriesByType('navigation')[0].responseEnd));
      await other.close();
    }
    add('document of a navigation after the worker was stopped', median(opened));
    for (let i = 0; i < REPEAT; i++) loads.push(await load(true));
    add('page with 200 scripts after the worker was stopped', median(loads));
  }
  await tab.close();
}

/** What is aimed at, by what was measured, in times the other's. */
function aimOf(what, other) {
  if (what.startsWith('64 MiB, last')) return other === 'ten-line worker' ? 1.2 : undefined;
  if (what.startsWith('document')) return undefined;
  const isCold = what.includes('stopped');
  return { 'HTTP cache': 1.05, 'ten-line worker': isCold ? 1.25 : 0.95, Workbox: isCold ? 1 : 0.85 }[other];
}

function compare(kind) {
  for (const what of table.names(`${kind}: `, ': Peerage')) {
    for (const { name } of all) {
      if (name === 'Peerage' || !table.has(`${kind}: ${what}: ${name}`)) continue;
      const [ours, theirs] = [`${kind}: ${what}: Peerage`, `${kind}: ${what}: ${name}`];
      if (what === '64 MiB, first byte') table.addDifference(`${kind}: ${what}: Peerage - ${name}`, ours, theirs, name === 'ten-line worker' ? 5 : undefined);
      else table.addRatio(`${kind}: ${what}: Peerage / ${name}`, ours, theirs, aimOf(what, name), { spread: !/stopped|64 MiB/.test(what) });
    }
  }
}

const table = new Table();
const all = await cases();
for (const kind of BROWSERS) {
  const running = await launch(kind, { prefs: { 'privacy.reduceTimerPrecision': false } });
  await running.browser.newPage();
  for (const one of all) {
    one.server = await serve(one.folder);
    await within(120_000, `${one.name} to be cached`, prepare(running.browser, one));
  }
  for (let run = 0; run < RUNS; run++) {
    for (const one of rotated(all, run)) await within(240_000, `a pass of ${one.name}`, pass(running, table, one));
  }
  await running.close();
  for (const { server } of all) server.stop();
  if (all.some(({ name }) => name === 'Peerage')) compare(kind);
}
table.print();
process.exit();
