// Where the time of one thing goes: the browser's own trace of it, for each of the cases that a bench compares. Of Chromium
// are printed each thread's tasks in the time between beginning and end, what their events take without those inside of
// them, and, with `--events`, what the worker's thread did, in its order; of Firefox each thread's processor time, by samples
// of its profiler. The last pass's traces are left in a folder, for Perfetto, profiler.firefox.com or the browser's own tools.
// usage: node benches/trace.mjs --what=all|page|big|unlisted|large|wake|fetch|first-visit [--browser=chromium|firefox]
//        [--only=NAME,NAME] [--runs=5] [--events] [--to=FOLDER]
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cases, HUGE, inPage, names, opened } from './cached.mjs';
import { eventsOfProfile, startProfiler, stopProfiler } from './gecko.mjs';
import { option, rotated, round, RUNS } from './measure.mjs';
import { serve } from './server.mjs';
import { visitedSites } from './visited.mjs';
import { launch, stopServiceWorkers } from '../tests/browser/lib/browsers.mjs';
import { within } from '../tests/browser/lib/wait.mjs';

const WHAT = option('what', 'wake'), TO = option('to', 'trace'), KIND = option('browser', 'chromium');
const CATEGORIES = ['toplevel', 'blink.user_timing', 'devtools.timeline', 'v8', 'v8.wasm', 'disabled-by-default-v8.compile', 'ServiceWorker', 'CacheStorage', 'loading', 'disk_cache', 'disabled-by-default-devtools.timeline'];

/** Runs one of `inPage`: `{from, ms, value}`, `from` being the epoch's time in ms. */
const timed = (tab, name, ...args) => tab.evaluate(`(async () => {
  const run = ({ ${inPage[name]} }).${name};
  const from = performance.timeOrigin + performance.now();
  const value = await run(...${JSON.stringify(args)});
  return { from, ms: performance.timeOrigin + performance.now() - from, value };
})()`);
const navigation = (tab, end) => tab.evaluate(end => ({ from: performance.timeOrigin, ms: performance.getEntriesByType('navigation')[0][end] }), end);

/**
 * What is traced: `run(tab, url)`, which returns its length in ms and the epoch's time of its beginning: the request for
 * `begins`, or the navigation. Where `cold` the worker is stopped before, and in Chromium a thread that ran before is not in
 * the trace.
 */
const SCENARIOS = {
  all: { about: '200 files of 10 KiB at once', start: 'empty.html', begins: names[0], run: tab => timed(tab, 'all', names) },
  page: {
    about: 'a page with 200 scripts, to load', start: 'empty.html',
    run: async (tab, url, query) => {
      await tab.goto(`${url}index.html${query}`);
      await tab.evaluate(inPage.loaded);
      return navigation(tab, 'loadEventEnd');
    },
  },
  big: { about: 'a file of 5 MiB', start: 'empty.html', begins: 'big.bin', run: tab => timed(tab, 'sequence', ['big.bin']) },
  unlisted: {
    about: '20 unlisted GETs, one after the other', start: 'empty.html', begins: 'api/0',
    run: tab => timed(tab, 'sequence', Array.from({ length: 20 }, (_, i) => `api/${i}`)),
  },
  large: {
    about: 'the first byte of 64 MiB', start: 'empty.html', begins: 'huge.bin', cold: true,
    run: async tab => {
      await tab.evaluate(inPage.sequence, names.slice(0, 20));
      await pause(2000);
      const { from, value } = await timed(tab, 'stream', 'huge.bin', HUGE);
      return { from, ms: value.first };
    },
  },
  fetch: {
    about: 'the first fetch after the worker was stopped', start: 'empty.html', begins: names[0], cold: true,
    run: tab => timed(tab, 'sequence', names.slice(0, 1)),
  },
  wake: {
    about: 'the document of a navigation after the worker was stopped', start: 'empty.html', cold: true,
    run: async (tab, url) => {
      await tab.goto(`${url}empty.html`);
      return navigation(tab, 'responseEnd');
    },
  },
  'first-visit': {
    about: 'a first visit, to load', start: null,
    run: async (tab, url) => {
      await tab.goto(url, { waitUntil: 'load' });
      return navigation(tab, 'loadEventEnd');
    },
  },
};
const scenario = SCENARIOS[WHAT];
if (scenario === undefined) throw new Error(`--what is one of ${Object.keys(SCENARIOS).join(', ')}`);

/** The trace's complete events `{process, thread, name, at, ms}` from `from` on for `ms`, each without what lies inside of it (`self`). */
function eventsOf(trace) {
  const names = new Map();
  for (const { ph, name, pid, tid, args } of trace) {
    if (ph === 'M' && name === 'process_name') names.set(`${pid}`, args.name);
    if (ph === 'M' && name === 'thread_name') names.set(`${pid} ${tid}`, args.name.replace(/\/?\d+$/, ''));
  }
  const threads = new Map();
  for (const event of trace) {
    if (event.ph !== 'X' || event.dur === undefined) continue;
    const key = `${event.pid} ${event.tid}`;
    if (threads.has(key)) threads.get(key).push(event);
    else threads.set(key, [event]);
  }
  return [...threads].flatMap(([key, events]) => {
    const open = [];
    const thread = `${names.get(key.split(' ')[0]) ?? '?'}: ${names.get(key) ?? '?'}`;
    return events.sort((a, b) => a.ts - b.ts || b.dur - a.dur).map(({ ts, dur, name, args }) => {
      while (open.length > 0 && open.at(-1).end <= ts) open.pop();
      const event = { thread, pid: key.split(' ')[0], name: label(name, args), at: ts / 1000, ms: dur / 1000, self: dur / 1000, depth: open.length, end: ts + dur };
      if (open.length > 0) open.at(-1).self -= event.ms;
      open.push(event);
      return event;
    });
  });
}

/** What an event is about: which function ran, which file was compiled, which task. */
function label(name, args = {}) {
  const { data = {}, src_func: task } = args;
  const file = (data.url ?? data.fileName ?? '').replace(/^.*\/(?=[^/])/, '');
  return [name, data.functionName ?? task, file].filter(Boolean).join(' ');
}

/** Records one pass: how long it took, and its events within that time. */
async function record(tab, url, running, query) {
  if (scenario.start !== null && WHAT !== 'large') {
    // What a worker remembers of a page is written down a second later.
    for (let i = 0; i < 2; i++) await tab.evaluate(inPage.sequence, names.slice(0, 20));
    await pause(2500);
  }
  if (scenario.cold) await stopServiceWorkers(running, tab);
  else if (scenario.start !== null) await tab.evaluate(inPage.sequence, names);
  if (KIND === 'firefox') {
    await startProfiler(running);
    const { from, ms } = await within(60_000, 'a pass', scenario.run(tab, url, query));
    const raw = await stopProfiler(running);
    return { ms, raw, events: eventsOfProfile(raw, from, ms) };
  }
  await tab.tracing.start({ categories: CATEGORIES });
  const { ms } = await within(60_000, 'a pass', scenario.run(tab, url, query));
  const raw = Buffer.from(await tab.tracing.stop());
  const { traceEvents: trace } = JSON.parse(raw);
  // It begins with the page's own fetch, or with the navigation.
  const begin = trace.filter(({ name, args }) => (scenario.begins === undefined
    ? name === 'navigationStart' && args?.data?.documentLoaderURL?.startsWith(url)
    : name === 'ResourceSendRequest' && args?.data?.url === `${url}${scenario.begins}`)).at(-1);
  if (begin === undefined) throw new Error('the trace lacks the beginning: it was full, or the page did not get there');
  const from = begin.ts / 1000;
  return { ms, raw, events: eventsOf(trace).filter(({ at, end }) => end / 1000 >= from && at <= from + ms).map(event => ({ ...event, at: event.at - from })) };
}

const median = values => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/** Sums of the passes by `key(event)`: `[[key, median ms]]`, the longest first. Passes without it count as 0. */
function sums(passes, key, ms) {
  const all = new Map();
  passes.forEach(({ events }, i) => {
    for (const event of events) {
      const name = key(event);
      if (name === null) continue;
      const series = all.get(name) ?? passes.map(() => 0);
      series[i] += ms(event);
      all.set(name, series);
    }
  });
  return [...all].map(([name, series]) => [name, median(series)]).sort((a, b) => b[1] - a[1]);
}

function print(name, passes) {
  const times = passes.map(({ ms }) => ms).sort((a, b) => a - b);
  console.log(`\n## ${name}: ${scenario.about}: ${round(median(times))} [${round(times[0])} .. ${round(times.at(-1))}] ms\n`);
  console.log('| thread | busy, ms | of it (without what lies inside) |\n| --- | --- | --- |');
  for (const [thread, busy] of sums(passes, event => (event.depth === 0 ? event.thread : null), event => event.ms).slice(0, 8)) {
    const inside = sums(passes, event => (event.thread === thread ? event.name : null), event => event.self).filter(([, ms]) => ms >= 0.3).slice(0, 7);
    console.log(`| ${thread} | ${round(busy)} | ${inside.map(([what, ms]) => `${what} ${round(ms)}`).join('; ')} |`);
  }
  if (!process.argv.includes('--events')) return;
  console.log('\nThe worker\'s thread in the last pass, what took 0.3 ms or more:\n');
  for (const { at, ms, depth, name: what, thread } of passes.at(-1).events) {
    if (thread.includes('ServiceWorker') && ms >= 0.3) console.log(`${'  '.repeat(depth)}${at.toFixed(1)} ms: ${what} ${ms.toFixed(1)} ms`);
  }
}

const wanted = option('only', '').split(',').filter(name => name !== '');
const all = scenario.start === null
  ? Object.entries(await visitedSites()).map(([name, folder]) => ({ name, folder })).filter(({ name }) => wanted.length === 0 || wanted.includes(name))
  : (await cases(wanted)).filter(({ worker }) => worker || !scenario.cold || WHAT === 'large');
const running = await (scenario.start === null ? launch(KIND, { prefs: { 'privacy.reduceTimerPrecision': false } }) : opened(KIND, all));
for (const one of all) {
  one.server ??= await serve(one.folder);
  one.passes = [];
}
for (let run = -1; run < RUNS; run++) {
  for (const { name, server, passes, worker } of rotated(all, run + 1)) {
    const context = scenario.start === null ? await running.browser.createBrowserContext() : running.context;
    const tab = await context.newPage();
    const query = worker ? '' : '?plain';
    if (scenario.start !== null) await tab.goto(`${server.url}${scenario.start}${query}`);
    const pass = await record(tab, server.url, running, query);
    // The first round only warms up.
    if (run >= 0) passes.push(pass);
    if (run === RUNS - 1) {
      mkdirSync(TO, { recursive: true });
      writeFileSync(path.join(TO, `${KIND}-${WHAT}-${name.replaceAll(/[^\w]+/g, '-')}.json`), pass.raw);
    }
    await tab.close();
    if (scenario.start === null) await context.close();
  }
}
await running.close();
for (const { server } of all) server.stop();
for (const { name, passes } of all) print(name, passes);
console.log(`\nTraces: ${path.resolve(TO)}`);
process.exit();
