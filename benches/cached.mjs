// A site that is cached whole in three ways: by Peerage, by Workbox's precache, by a ten-line cache-first worker; and as the
// HTTP cache has it.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { serve } from './server.mjs';
import { launch } from '../tests/browser/lib/browsers.mjs';
import { publish } from '../tests/browser/lib/peerage.mjs';
import { temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { filesBelow, randomBytes, writeFiles } from '../tests/browser/lib/site.mjs';
import { within } from '../tests/browser/lib/wait.mjs';
import { library, precache } from '../tests/browser/lib/workbox.mjs';

const SMALL = 10_240, BIG = 5 << 20;
export const HUGE = 64 << 20;
/** The small files. */
export const names = Array.from({ length: 200 }, (_, i) => `a/${String(i).padStart(3, '0')}.js`);

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

/**
 * The cases `[{name, folder, worker}]`, or those of them that `only` names: each is a folder of its own, with a worker in it or
 * without. `more(list, peerage)` returns further workers, `{name: script}`; `list` has the files as JSON, `peerage` is the
 * published folder.
 */
export async function cases(only, more = () => ({})) {
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
  const others = Object.entries(more(JSON.stringify(list), peerage)).map(([name, script]) => ({ name, folder: folder(name, script), worker: true }));
  return [...all.filter(({ name }) => only.length === 0 || only.includes(name)), ...others];
}

/** What a page does. */
export const inPage = {
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

/** A browser in which each of the cases is served and cached: a case gets its `server`. */
export async function opened(kind, all) {
  const running = await launch(kind, { prefs: { 'privacy.reduceTimerPrecision': false } });
  await running.browser.newPage();
  for (const one of all) {
    one.server = await serve(one.folder);
    await within(120_000, `${one.name} to be cached`, prepare(running.browser, one));
  }
  return running;
}
