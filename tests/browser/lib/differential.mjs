// The differential harness: each case runs in a page straight from the origin and in pages behind Peerage, and what the
// page can observe must be equal.
//
// A case is `{name, files, headers, server, run | page, needs, differs, requests}`:
//   files     what lies in the case's own folder: as in `writeFiles`. Nothing is shared between cases, so that each finds
//             the cache empty the first time. A function gets the folder's path.
//   headers   `{file: {name: value}}`, put into the site's `_headers`.
//   server    `{path: handler}`: what the origin itself answers below the folder (`Front.when`).
//   run       a function for the page: `run(lab, base, extra)` with `window.lab` (lab.mjs), the folder's URL path and
//             `{other}`, the address of another origin. What it returns is compared.
//   page      a path below the folder that is opened instead as the tab's document; `run` then runs in that document, and
//             without one `lab.inside` does. `drive(visitor, extra)` goes on from outside of the page.
//   needs     'network': the case is about what isn't listed, so it is not run offline or from peers.
//   differs   `{field: reason}`: a difference that no worker can hide. It must be there, so that the note goes with it;
//             `{field: {reason, states, kinds}}` for some states or browsers only; `sometimes` where it's a matter of time;
//             `absent`, or `becomes` a value, where it is no other difference.
//   requests  `{file, cold, warm}`: how many requests for the file reach the origin behind Peerage. Of a warm cache none at
//             all reach it for what lies in the folder of a listed case, but of one that says with `asks` why they do.
//   injected  whether the document that `page` names has Peerage's script behind Peerage: true or false.
import { setTimeout as pause } from 'node:timers/promises';
import { defineLab } from './lab.mjs';
import { PATIENCE, within } from './wait.mjs';

/**
 * The states behind Peerage, in the order in which they are reached: nothing cached; what isn't listed once more; all
 * cached; the same with a worker that was stopped before the case; bytes from a neighbour; the origin gone.
 */
export const STATES = ['cold', 'again', 'warm', 'woken', 'peer', 'offline'];

const NO_CONNECTION = 'a header of the connection; an answer of a worker has none';
const NOT_SIGNED = 'bytes from peers come without the origin\'s headers: those that are signed stand, the others are not known yet';

/** What no service worker can hide, in every case (docs/differences.md). */
export const EVERYWHERE = {
  'headers.server-timing': 'the number of the request, by which peerage.explain() speaks of it',
  ...Object.fromEntries(['connection', 'keep-alive', 'transfer-encoding'].map(name => [`headers.${name}`, NO_CONNECTION])),
  ...Object.fromEntries(['cache-control', 'content-encoding', 'etag', 'last-modified']
    .map(name => [`headers.${name}`, { reason: NOT_SIGNED, states: ['peer'], absent: true }])),
  // Peerage knows the first two itself, also where an origin that compresses has none, which adds to a `Vary` that was signed.
  ...Object.fromEntries(['accept-ranges', 'content-length', 'vary'].map(name => [`headers.${name}`, { reason: NOT_SIGNED, states: ['peer'] }])),
  lastModified: { reason: NOT_SIGNED, states: ['peer'], becomes: 'now' },
  'progress.lengthComputable': { reason: NOT_SIGNED, states: ['peer'] },
  'progress.total': { reason: NOT_SIGNED, states: ['peer'] },
  transferSize: { reason: 'what a worker answers counts as coming from a cache' },
  nextHopProtocol: { reason: 'what a worker answers came by no protocol' },
  workerStart: { reason: 'there is a worker', kinds: ['chromium'] },
  decodedBodySize: { reason: 'Firefox counts no bytes of an answer of a worker', kinds: ['firefox'] },
  resources: { reason: 'Firefox calls the initiator of a frame\'s document "other" when a worker answers it', kinds: ['firefox'], becomes: 'other' },
};

/**
 * Lines of the console that no worker can hide: that Firefox calls a request intercepted which failed, was given up, or was
 * refused by the page; and what both say of a tracker that can't be reached.
 */
const LINES_OF_WORKERS = [/A ServiceWorker /, /\/peerage\/tracker/];
/** Chromium's names for an error of the network, which a worker can't pass on. */
const NAME_OF_ERROR = /net::ERR_\w+/;

/** A case's folder in the site. */
export function folderOf({ theme, name }) {
  return `${theme}/${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '')}`;
}

/** The files of all cases for `stage.site`, their `_headers` among them. */
export function siteOf(cases) {
  const files = {};
  const rules = [];
  for (const one of cases) {
    const folder = folderOf(one);
    const own = typeof one.files === 'function' ? one.files(`/${folder}/`) : one.files ?? {};
    for (const [name, content] of Object.entries(own)) files[`${folder}/${name}`] = content;
    for (const [name, headers] of Object.entries(one.headers ?? {})) {
      rules.push(`/${folder}/${name}`, ...Object.entries(headers).map(([header, value]) => `  ${header}: ${value}`));
    }
  }
  return { ...files, _headers: `${rules.join('\n')}\n` };
}

/** Has a front answer what the cases' origins answer themselves. */
export function addServers(front, cases) {
  for (const one of cases) {
    for (const [path, handler] of Object.entries(one.server ?? {})) {
      const at = `/${folderOf(one)}/${path}`;
      front.when(path.endsWith('*') ? new RegExp(`^${at.slice(0, -1).replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&')}`) : at, handler);
    }
  }
}

/** Has the visitor come to the site at `base`, until its worker answers for the lab. */
export async function enterLab(visitor, base, lab = 'lab.html') {
  const { href } = new URL(lab, base);
  await visitor.goto(href);
  await visitor.page.evaluate(async () => { await navigator.serviceWorker.register('/peerage-sw.js'); });
  await visitor.enter(href);
}

/**
 * Runs cases in the visitor's tab, which shows a page of the site; returns `Map(case → observation)`. `extra` is for the
 * cases; its `lab` names the page in which they run. `before` is waited for ahead of each.
 */
export async function observe(visitor, base, cases, extra = {}, before = () => {}) {
  const seen = new Map();
  const lab = new URL(extra.lab ?? 'lab.html', base).href;
  // A document remembers modules and images that it had: each round begins with one of its own.
  await visitor.goto(lab);
  await visitor.page.evaluate(defineLab);
  for (const one of inOrder(cases)) {
    if (one.page !== undefined) await lateResources(visitor, seen);
    await before();
    const run = one.page === undefined ? runOne : openOne;
    let observed = await run(visitor, base, one, extra);
    // In Firefox a nested worker now and then never starts, straight from the origin too. What hangs twice, hangs.
    if (visitor.kind === 'firefox' && /nested/.test(one.name) && observed.value?.timedOut !== undefined) observed = await run(visitor, base, one, extra);
    seen.set(one, observed);
  }
  await lateResources(visitor, seen);
  return new Map(cases.map(one => [one, normal(seen.get(one), base)]));
}

/**
 * Looks once more, before the lab's document goes, at which files it has a `PerformanceResourceTiming` of: an entry of a
 * case may come after the case has ended, from the origin as from the worker.
 */
async function lateResources(visitor, seen) {
  const open = [...seen].filter(([, { from }]) => from !== undefined);
  if (open.length === 0) return;
  const folders = JSON.stringify(open.map(([one, { from }]) => [`/${folderOf(one)}/`, from]));
  const late = await visitor.page.evaluate(`(async () => {
    await window.lab.pause(250);
    return Promise.all(${folders}.map(([folder, from]) => window.lab.resources(folder, { from })));
  })()`);
  for (const [at, [, observed]] of open.entries()) {
    observed.resources = late[at];
    delete observed.from;
  }
}

/** As they are run: first those of the lab's page, then those with a document of their own. */
function inOrder(cases) {
  return [...cases.filter(({ page }) => page === undefined), ...cases.filter(({ page }) => page !== undefined)];
}

async function runOne(visitor, base, one, extra, run = one.run) {
  const from = visitor.log.length;
  const started = performance.now();
  // Of each browser, whose stories are of one process.
  one.expected ??= {};
  const first = one.expected[visitor.kind] === undefined;
  // Text for the debugger's door, not for `eval`: a document's own policy has no say in it.
  const folder = JSON.stringify(`/${folderOf(one)}/`);
  const seen = await within(30_000, folderOf(one), visitor.page.evaluate(`(async () => {
    const from = ${one.page === undefined} ? performance.now() : 0;
    const seen = ${one.page === undefined} ? { from } : {};
    try {
      seen.value = await window.lab.within(20_000, (${run})(window.lab, ${folder}, ${JSON.stringify(extra)}));
    } catch (error) {
      seen.value = { threw: String(error?.stack ?? error) };
    }
    // Where a case hung that is about media: nothing else tells.
    if (seen.value?.timedOut !== undefined) {
      seen.value.media = [...document.querySelectorAll('audio, video')].map(({ readyState, networkState, seeking, paused, ended, currentTime, buffered }) => (
        { readyState, networkState, seeking, paused, ended, currentTime, buffered: Array.from(buffered, (_, at) => [buffered.start(at), buffered.end(at)]) }));
    }
    // The first time nobody knows how many there will be; the lab's own document is asked again at the end of the round.
    await new Promise(resolve => { setTimeout(resolve, ${first && one.page !== undefined ? 150 : 0}); });
    seen.resources = await window.lab.resources(${folder}, { from, count: ${one.expected[visitor.kind]?.entries ?? 0} });
    window.lab.clear();
    // What the case leaves for the console comes before what the next one does.
    await new Promise(resolve => { setTimeout(resolve); });
    return seen;
  })()`)).catch(error => ({ value: { threw: error.message }, resources: {} }));
  if (first) one.expected[visitor.kind] = { entries: Object.keys(seen.resources).length };
  if (process.env.PEERAGE_VERBOSE) console.error(`${Math.round(performance.now() - started)} ms ${folderOf(one)}`);
  return { ...seen, console: await settled(visitor, from, one) };
}

/** Lines of the console come when they come: as many as the first observation of a case had are waited for, a quarter of a second at most. */
async function settled(visitor, from, one) {
  const expected = one.expected[visitor.kind];
  expected.lines ??= consoleSince(visitor, from).length;
  for (let tries = 0; tries < 5; tries++) {
    const lines = consoleSince(visitor, from);
    if (lines.length >= expected.lines) return lines;
    await pause(50);
  }
  return consoleSince(visitor, from);
}

async function openOne(visitor, base, one, extra) {
  const from = visitor.log.length;
  const response = await visitor.page.goto(new URL(`${folderOf(one)}/${one.page}`, base).href, { waitUntil: 'load', timeout: PATIENCE })
    .catch(error => ({ error: error.message.split(' at ')[0] }));
  if (response?.error !== undefined) return { value: response, console: consoleSince(visitor, from) };
  await visitor.page.evaluate(defineLab);
  const ours = await visitor.page.evaluate(() => document.querySelectorAll('script[src$="/peerage/page.js"]').length);
  const { value, resources } = await runOne(visitor, base, one, extra, one.run ?? (lab => lab.inside(window)));
  if (one.drive) value.driven = await one.drive(visitor, extra).catch(error => ({ threw: error.message }));
  return { value, resources, ours, console: consoleSince(visitor, from) };
}

/** The console's lines, in an order of their own: those of several processes come as they come. */
function consoleSince(visitor, from) {
  return visitor.log.slice(from)
    .filter(({ type, text }) => type !== 'worker' && !LINES_OF_WORKERS.some(line => line.test(text)))
    .map(({ type, text }) => `${type}: ${text.split('\n')[0].replace(NAME_OF_ERROR, 'a network error')}`).sort();
}

/** Without what differs between two loads of any server: its port, the date. */
function normal(observation, base) {
  const { host } = new URL(base);
  const text = JSON.stringify(observation ?? null).replaceAll(host, 'ORIGIN').replaceAll(encodeURIComponent(host), 'ORIGIN');
  return flat(JSON.parse(text, (key, value) => (key === 'date' ? 'a date' : value)));
}

/** `{'a.b.0': value}` of `{a: {b: [value]}}`. */
function flat(value, at = '', out = {}) {
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value);
    if (entries.length === 0) out[at] = Array.isArray(value) ? '[]' : '{}';
    for (const [key, inner] of entries) flat(inner, at === '' ? key : `${at}.${key}`, out);
  } else out[at] = value;
  return out;
}

/**
 * Differences `[{case, state, field, direct, behind}]`, less those that the list names, for the case or `everywhere`; and
 * notes of the case that no longer apply. Those for everywhere that did are added to `used`.
 */
export function compare({ state, kind, direct, behind, everywhere, used = new Set() }) {
  const found = [];
  const consoles = differingConsoles(direct, behind);
  for (const [one, wanted] of direct) {
    const actual = behind.get(one);
    if (actual === undefined) continue;
    const known = [...Object.entries(one.differs ?? {}), ...Object.entries(everywhere)].filter(([, note]) => (
      (note.states ?? STATES).includes(state) && (note.kinds ?? [kind]).includes(kind)));
    const hit = new Set();
    if (one.injected !== undefined && actual.ours !== Number(one.injected)) found.push({ case: folderOf(one), state, field: 'ours', direct: Number(one.injected), behind: actual.ours });
    const differing = [...new Set([...Object.keys(wanted), ...Object.keys(actual)])]
      .filter(field => field !== 'ours' && !isConsole(field) && !Object.is(wanted[field], actual[field]))
      .map(field => ({ field, direct: wanted[field], behind: actual[field] }));
    const { missing, added } = consoles.get(one);
    if (missing.length + added.length > 0) differing.push({ field: 'console', direct: missing, behind: added });
    for (const { field, ...difference } of differing) {
      const note = known.find(([name, { absent, becomes = actual[field] }]) => (
        `.${field}.`.includes(`.${name}.`) && !(absent && field in actual) && Object.is(actual[field], becomes)));
      if (note !== undefined) {
        hit.add(note[0]);
        used.add(note[0]);
      } else found.push({ case: folderOf(one), state, field, ...difference });
    }
    for (const [name, note] of Object.entries(one.differs ?? {})) {
      if (!hit.has(name) && !note.sometimes && known.some(([, other]) => other === note)) {
        found.push({ case: folderOf(one), state, field: name, direct: 'equal', behind: `equal, though the list says: ${note.reason ?? note}` });
      }
    }
  }
  return found;
}

const isConsole = field => field === 'console' || field.startsWith('console.');

/**
 * `Map(case → {missing, added})`: lines of the console that only one of the two has. A line that came late is in the next
 * case, or the one after: what one case lacks and one of those two has too many is no difference.
 */
function differingConsoles(direct, behind) {
  const linesOf = seen => Object.entries(seen).filter(([field]) => field.startsWith('console.')).map(([, line]) => line);
  const less = (lines, others) => {
    const left = [...others];
    return lines.filter(line => {
      const at = left.indexOf(line);
      if (at >= 0) left.splice(at, 1);
      return at < 0;
    });
  };
  const all = inOrder([...direct.keys()].filter(one => behind.has(one))).map(one => {
    const [had, has] = [linesOf(direct.get(one)), linesOf(behind.get(one))];
    return { one, missing: less(had, has), added: less(has, had) };
  });
  for (const at of all.keys()) {
    for (const [early, late] of [['missing', 'added'], ['added', 'missing']]) {
      for (const next of all.slice(at + 1, at + 3)) {
        const left = less(all[at][early], next[late]);
        next[late] = less(next[late], all[at][early]);
        all[at][early] = left;
      }
    }
  }
  return new Map(all.map(({ one, missing, added }) => [one, { missing, added }]));
}

/** Notes for everywhere that never applied, as differences: those of `used` did. */
export function unused(everywhere, used, kind) {
  return Object.entries(everywhere).filter(([field, { kinds = [kind] }]) => kinds.includes(kind) && !used.has(field))
    .map(([field]) => ({ case: 'all', state: 'any', field, direct: 'equal', behind: 'equal, though the list says otherwise' }));
}

/** The differences as a person reads them: each once, with the cases and states that have it. */
export function readable(found) {
  const cut = value => {
    const text = value === undefined ? '(absent)' : JSON.stringify(value);
    return text.length > 300 ? `${text.slice(0, 300)}…` : text;
  };
  // Where one answered and the other failed, no other field tells more.
  const failed = new Set(found.filter(one => /^value\.(error|threw|timedOut|status|media\..*)$/.test(one.field)).map(one => `${one.case} ${one.state}`));
  const worth = found.filter(one => !failed.has(`${one.case} ${one.state}`) || /^value\.(error|threw|timedOut|status|media\..*)$|^console/.test(one.field));
  const states = new Map();
  for (const { case: name, state, field, direct, behind } of worth) {
    const what = `${name}\n${field}\n  direct ${cut(direct)}\n  behind ${cut(behind)}`;
    states.set(what, [...states.get(what) ?? [], state]);
  }
  const groups = new Map();
  for (const [what, where] of states) {
    const at = what.indexOf('\n');
    const difference = `${where.join(', ')}: ${what.slice(at + 1)}`;
    groups.set(difference, [...groups.get(difference) ?? [], what.slice(0, at)]);
  }
  return [...groups].map(([difference, names]) => `${difference}\n${names.map(name => `    in ${name}`).join('\n')}`).join('\n');
}
