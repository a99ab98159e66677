// A site that is cached whole: Peerage beside Workbox's precache, a ten-line cache-first worker, and the HTTP cache alone.
// All are served by the same plain server, from the same files, to the same browser.
// usage: node benches/cached-site.mjs [--runs=7] [--cold=10] [--only=NAME,NAME]
import { cases, HUGE, inPage, names, opened } from './cached.mjs';
import { BROWSERS, option, rotated, RUNS, Table } from './measure.mjs';
import { stopServiceWorkers } from '../tests/browser/lib/browsers.mjs';
import { within } from '../tests/browser/lib/wait.mjs';

const REPEAT = 3;
const COLD = Number(option('cold', '10'));

const median = values => [...values].sort((a, b) => a - b)[values.length >> 1];

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
const all = await cases(option('only', '').split(',').filter(name => name !== ''));
for (const kind of BROWSERS) {
  const running = await opened(kind, all);
  for (let run = 0; run < RUNS; run++) {
    for (const one of rotated(all, run)) await within(240_000, `a pass of ${one.name}`, pass(running, table, one));
  }
  await running.close();
  for (const { server } of all) server.stop();
  if (all.some(({ name }) => name === 'Peerage')) compare(kind);
}
table.print();
process.exit();
