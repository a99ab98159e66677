// What the first visit, on which the worker installs, and a later one cost the page: time to `load`, and in Chromium the
// main thread: what its tasks take in all, and what of them blocks (of each task longer than 50 ms what exceeds that); in both,
// by how much more than 50 ms its frames came after one another.
// Each pass is a visitor who was never here; all is served by the same plain server, without compression.
// usage: node benches/first-visit.mjs [--runs=7]
import { setTimeout as pause } from 'node:timers/promises';
import { BROWSERS, rotated, RUNS, Table } from './measure.mjs';
import { serve } from './server.mjs';
import { CASES, visitedSites } from './visited.mjs';
import { launch } from '../tests/browser/lib/browsers.mjs';
import { within } from '../tests/browser/lib/wait.mjs';

/** How long after `load` the page is watched, in ms: the worker installs, the mesh has no consent. */
const WATCHED = 2500;

/** Opens the page in a new tab: `{load, late, tasks, blocked}` in ms, the last two in Chromium. */
async function visit(context, kind, url, worker) {
  const tab = await context.newPage();
  await tab.goto(url, { waitUntil: 'load' });
  await pause(WATCHED);
  const seen = await tab.evaluate(() => new Promise(resolve => {
    const [{ loadEventEnd: load }] = performance.getEntriesByType('navigation');
    const { late } = window;
    if (!PerformanceObserver.supportedEntryTypes.includes('longtask')) return resolve({ load, late });
    let blocked = 0;
    const add = entries => { for (const { duration } of entries) blocked += duration - 50; };
    const observer = new PerformanceObserver(list => add(list.getEntries()));
    observer.observe({ type: 'longtask', buffered: true });
    setTimeout(() => { add(observer.takeRecords()); resolve({ load, late, blocked }); }, 50);
  }));
  if (kind === 'chromium') seen.tasks = (await tab.metrics()).TaskDuration * 1000;
  seen.controlled = await tab.evaluate(() => navigator.serviceWorker.controller !== null);
  if (worker) await tab.evaluate(async () => { await navigator.serviceWorker.ready; });
  await tab.close();
  return seen;
}

const folders = await visitedSites();

const table = new Table();
for (const kind of BROWSERS) {
  const running = await launch(kind, { prefs: { 'privacy.reduceTimerPrecision': false } });
  const servers = {};
  for (const name of Object.keys(CASES)) servers[name] = await serve(folders[name]);
  for (let run = -1; run < RUNS; run++) {
    // Round by round another begins, and the first round only warms up.
    for (const name of rotated(Object.keys(CASES), run + 1)) {
      const context = await running.browser.createBrowserContext();
      for (const when of ['first visit', 'later visit']) {
        const { load, late, tasks, blocked, controlled } = await within(60_000, name, visit(context, kind, servers[name].url, name !== 'no worker'));
        if (when === 'later visit' && controlled !== (name !== 'no worker')) throw new Error(`${name}: ${controlled ? 'a' : 'no'} worker controls the page`);
        if (run < 0) continue;
        table.add(`${kind}: ${when}, load: ${name}`, load, 'ms');
        table.add(`${kind}: ${when}, frames late: ${name}`, late, 'ms');
        if (tasks === undefined) continue;
        table.add(`${kind}: ${when}, tasks: ${name}`, tasks, 'ms');
        table.add(`${kind}: ${when}, blocked: ${name}`, blocked, 'ms');
      }
      await context.close();
    }
  }
  await running.close();
  for (const server of Object.values(servers)) server.stop();
  for (const what of table.names(`${kind}: `, ': no worker').filter(what => !/blocked|late/.test(what))) {
    for (const name of Object.keys(CASES).slice(1)) table.addRatio(`${kind}: ${what}: ${name} / no worker`, `${kind}: ${what}: ${name}`, `${kind}: ${what}: no worker`, what === 'first visit, load' ? 1.05 : undefined);
  }
}
table.print();
process.exit();
