// A large site that is edited again and again while visitors are there: what publishing it takes, and what each edit costs the
// origin, counted by path in front of it. All pages are shared. After each edit one visitor, in turn, loads a page: through
// them the others hear of it. Every other edit is of a page that half of the visitors hold: the one who loads opens it, the
// other holders must then have it before they do, and open it, too.
// usage: node benches/edits.mjs [--pages=1000000] [--edits=60] [--every=60] [--visitors=4]
//        (--every: seconds from edit to edit; 0: the next follows when everybody has the last)
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { BROWSERS, measured, option, round, Table } from './measure.mjs';
import { Front } from '../tests/browser/lib/front.mjs';
import { Origin, PEERAGE, served } from '../tests/browser/lib/peerage.mjs';
import { removeFolder, temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { html, sha256, urlPath, writeFiles } from '../tests/browser/lib/site.mjs';
import { Visitor } from '../tests/browser/lib/visitor.mjs';
import { until } from '../tests/browser/lib/wait.mjs';

const [PAGES, EDITS, EVERY, VISITORS] = ['pages:1000000', 'edits:60', 'every:60', 'visitors:4'].map(o => o.split(':')).map(([name, other]) => Number(option(name, other)));
const FOLDER = 1000;
const WORDS = 'amber basin cedar delta ember fjord grove heath islet jetty knoll larch marsh north orchard prairie quarry ridge summit tundra upland valley willow yarrow zenith'.split(' ');

/** A page of about 500 bytes, unlike any other. */
function article(page, edit = 0) {
  let state = (page * 2654435761 + edit * 40503 + 1) >>> 0;
  let text = '';
  while (text.length < 250) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += `${WORDS[(state >>> 8) % WORDS.length]} `;
  }
  return html(`Article ${page}`, `<p>${text}${edit === 0 ? '' : `Edited: ${edit}.`}</p>`);
}
const name = page => `wiki/${String(Math.floor(page / FOLDER)).padStart(4, '0')}/Article ${page}.html`;
/** Pages all over the site, each another. */
const somewhere = n => Math.floor(((n * 0.6180339887) % 1) * PAGES);

const table = new Table();
const folder = temporaryFolder('edits'), beside = temporaryFolder('beside');
const config = path.join(beside, 'peerage.toml');
// On one machine the origin is faster than any peer.
writeFileSync(config, '[share]\ninclude = ["**", "**/*.html"]\n[policy]\nmode = "offload"\n');
writeFiles(folder, { 'index.html': html('A large site') });
for (let page = 0; page < PAGES; page++) {
  const file = path.join(folder, name(page));
  if (page % FOLDER === 0) mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, article(page));
}

/** Publishes, with what it took. */
async function publish(what) {
  const { seconds, processor, mib, stdout } = await measured(PEERAGE, ['publish', folder, '--key', path.join(beside, 'site.key.pem'), '--config', config, '--json']);
  table.add(`publish, ${what}`, seconds, 's');
  table.add(`publish, ${what}: processor time`, processor, 's');
  table.add(`publish, ${what}: peak memory`, mib, 'MiB');
  const report = JSON.parse(stdout);
  for (const warning of report.warnings) console.error(`  warning: ${warning}`);
  return report;
}
// What was written less than two seconds before is read again.
await pause(2500);
const first = await publish('first');
console.error(`  ${first.files} files, ${first.bytes} bytes, ${first.shards} shards`);

const origin = await Origin.start(folder);
const front = await Front.start(origin.url);
const sockets = new Set();
front.server.on('connection', socket => sockets.add(socket));
const counters = () => Object.fromEntries([...front.seen].map(([at, { requests, bytes }]) => [at, { requests, bytes }]));
/** All bytes that went to browsers, with the heads of answers and the tracker's messages. */
const wire = () => [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, 0);
const about = async visitor => (await visitor.stats()).bytes;
const received = (now, then) => now.peer + now.origin - then.peer - then.origin;
const url = page => new URL(urlPath(name(page)), front.url).href;
const isRoot = at => at === '/peerage/root.jws';
const isPart = at => /^\/peerage\/(index|shard|delta)\//.test(at);

/** The visitor opens pages, which must be what they are now. */
async function open(visitor, pages) {
  const answers = await visitor.take(pages.map(({ page }) => url(page)));
  for (const [at, { page, edit = 0 }] of pages.entries()) {
    if (answers[at].sha256 !== sha256(article(page, edit))) throw new Error(`${visitor.name}: ${JSON.stringify(answers[at])}`);
  }
}

/** Loads a page until the visitor is on `version`: what is loaded first may still be of the version before. */
async function load(visitor, version) {
  await visitor.page.reload();
  await visitor.ready();
  await until(`${visitor.name} to know version ${version}`, async () => (await visitor.stats()).version >= version);
  await visitor.page.reload();
  await visitor.ready();
}

/** The visitor comes, without neighbours, and opens three pages of their own. */
async function firstVisit(visitor, when, number) {
  const before = counters();
  await visitor.enter(front.url);
  await open(visitor, [1, 2, 3].map(n => ({ page: somewhere(1000 + 10 * number + n) })));
  const manifest = served(before, counters(), at => isRoot(at) || isPart(at));
  table.add(`first visit, ${when}: manifest`, manifest.bytes, 'B');
  table.add(`first visit, ${when}: requests for it`, manifest.requests, '');
}

const held = Array.from({ length: Math.ceil(EDITS / 2) }, (_, n) => somewhere(2 * n + 1));
const visitors = [];
for (let n = 0; n < VISITORS; n++) {
  const kind = BROWSERS[n % BROWSERS.length];
  const visitor = await Visitor.start(kind, { name: `visitor ${n + 1}, ${kind}`, allow: [front.url] });
  await firstVisit(visitor, 'before', n);
  await visitor.consent();
  if (n > 0) await visitor.neighbours(1);
  if (n < VISITORS / 2) await open(visitor, held.map(page => ({ page })));
  visitors.push(visitor);
}
const holders = visitors.slice(0, Math.ceil(VISITORS / 2));

/** A condition that must come to be; where it doesn't in time, the bench goes on and says so. */
const missed = {};
async function expect(what, who, condition) {
  await until(`${who.name}: ${what}`, condition, { deadline: 30_000 }).catch(error => {
    missed[what] = (missed[what] ?? 0) + 1;
    console.error(`  ${error.message}`);
  });
}

for (let edit = 1; edit <= EDITS; edit++) {
  const due = performance.now() + EVERY * 1000;
  const isHeld = edit % 2 === 1;
  const page = isHeld ? held[(edit - 1) / 2] : somewhere(2 * edit + 500);
  const file = path.join(folder, name(page));
  // As editors and build tools do: what is remembered of the old bytes by a link stays.
  const content = article(page, edit);
  writeFileSync(`${file}.new`, content);
  renameSync(`${file}.new`, file);
  const { version, delta_bytes: delta } = await publish('after an edit');

  const [before, sent] = [counters(), wire()];
  const had = new Map(await Promise.all(visitors.map(async visitor => [visitor, await about(visitor)])));
  const reader = isHeld ? holders[((edit - 1) / 2) % holders.length] : visitors[(edit / 2) % visitors.length];
  await load(reader, version);
  const from = performance.now();
  if (isHeld) await open(reader, [{ page, edit }]);
  for (const visitor of visitors) await expect('knows the version', visitor, async () => (await visitor.stats()).version >= version);
  table.add('from the first visitor on it until all know it', performance.now() - from, 'ms');
  const others = holders.filter(visitor => isHeld && visitor !== reader);
  for (const visitor of others) {
    await expect('has the page ahead', visitor, async () => received(await about(visitor), had.get(visitor)) >= (delta ?? 0) + content.length);
  }
  if (isHeld) table.add('from the first visitor on it until all who hold the page have it', performance.now() - from, 'ms');
  for (const visitor of others) {
    await load(visitor, version);
    await open(visitor, [{ page, edit }]);
  }
  const after = counters();
  for (const visitor of visitors.filter(one => one !== reader && !others.includes(one))) {
    const bytes = received(await about(visitor), had.get(visitor));
    table.add('who does not open the page received, but for the delta', Math.max(0, bytes - (delta ?? 0)), 'B');
  }
  const [all, roots, parts, pages] = [() => true, isRoot, isPart, at => at === `/${name(page)}`].map(which => served(before, after, which));
  const rest = all.bytes - roots.bytes - parts.bytes - pages.bytes;
  const of = isHeld ? 'an edit of a page that half hold' : 'an edit of a page that nobody holds';
  table.add('delta', delta ?? 0, 'B');
  table.add(`${of}: sent for each visitor, but for the page`, (all.bytes - pages.bytes) / VISITORS, 'B');
  table.add(`${of}: of it roots`, roots.bytes / VISITORS, 'B');
  table.add(`${of}: of it deltas, index and shards`, parts.bytes / VISITORS, 'B');
  table.add(`${of}: of it anything else`, rest / VISITORS, 'B');
  table.add(`${of}: requests of each visitor`, all.requests / VISITORS, '');
  table.add(`${of}: on the wire for each visitor, with heads, the page and what the tracker says`, (wire() - sent) / VISITORS, 'B');
  table.add(`${of}: copies of the page`, pages.requests, '');
  if (edit < EDITS) await pause(Math.max(0, due - performance.now()));
}

const last = await Visitor.start(BROWSERS[0], { name: 'after all edits', allow: [front.url] });
await firstVisit(last, 'after all edits', VISITORS);
table.print();

console.log(`\n${PAGES} pages, ${EDITS} edits, ${VISITORS} visitors\n\n| aim | worst | |\n| --- | --- | --- |`);
const verdict = (aim, names, limit, unit) => {
  const worst = Math.max(...names.flatMap(start => table.values(start)));
  console.log(`| ${aim} | ${round(worst)} ${unit} | ${worst <= limit ? 'met' : 'missed'} |`);
};
verdict('the first publication: 600 s', ['publish, first'], 600, 's');
verdict('one after an edit: 20 s', ['publish, after an edit'], 20, 's');
verdict('memory: 2 GiB', ['publish, first: peak memory', 'publish, after an edit: peak memory'], 2048, 'MiB');
const edits = ['an edit of a page that half hold', 'an edit of a page that nobody holds'];
verdict('an edit, for each visitor, but for the page: 4 KiB', edits.map(of => `${of}: sent for each visitor, but for the page`), 4096, 'B');
verdict('copies of the page: 2', edits.map(of => `${of}: copies of the page`), 2, '');
verdict('who neither holds nor opens it receives nothing of it', ['who does not open the page received, but for the delta'], 0, 'B');
verdict('a visit: 200 KiB of manifest', ['first visit, before: manifest', 'first visit, after all edits: manifest'], 200 * 1024, 'B');
for (const what of ['knows the version', 'has the page ahead']) console.log(`| everybody ${what} within 30 s | ${missed[what] ?? 0} did not | ${missed[what] ? 'missed' : 'met'} |`);

for (const visitor of [...visitors, last]) await visitor.close();
await front.stop();
await origin.stop();
removeFolder(folder);
removeFolder(beside);
process.exit(0);
