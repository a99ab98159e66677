// The differential harness (lib/differential.mjs): a page behind Peerage observes what a page straight from the origin
// does, from a cold and a warm cache, after its worker was stopped, from a peer and offline. The cases are lists in cases/.
import assert from 'node:assert/strict';
import destinations from './cases/destinations.mjs';
import headers from './cases/headers.mjs';
import paths from './cases/paths.mjs';
import requests from './cases/requests.mjs';
import unlisted from './cases/unlisted.mjs';
import { addServers, compare, enterLab, EVERYWHERE, folderOf, observe, readable, siteOf, unused } from './lib/differential.mjs';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const THEMES = { requests, destinations, paths, headers, unlisted };
const only = process.env.PEERAGE_CASES;
const cases = Object.entries(THEMES).flatMap(([theme, list]) => list.map(one => ({ ...one, theme })))
  .filter(one => only === undefined || folderOf(one).includes(only));

/** How many requests for what lies in a case's folder have reached the origin. */
function inFolder(front, one) {
  return [...front.seen].reduce((sum, [path, { requests }]) => sum + (path.startsWith(`/${folderOf(one)}/`) ? requests : 0), 0);
}

story(`a page cannot tell Peerage from the origin in ${cases.length} cases`, async (stage, kind) => {
  const site = await stage.site({ 'lab.html': html('Lab', '', ''), 'favicon.ico': '', '404.html': html('Not here', '', ''), ...siteOf(cases) }, {
    config: "[share]\ninclude = ['**', '**/*.html', '**/*.htm']\nexclude = ['**/members/**']\n[ignore_query]\ninclude = ['**/ignored/**']\n",
  });
  const origin = await stage.serve(site);
  const fronts = {};
  for (const name of ['direct', 'behind', 'taker', 'other']) {
    fronts[name] = await stage.front(origin);
    fronts[name].addApplication();
    addServers(fronts[name], cases);
  }
  const extra = { other: fronts.other.url };
  const found = [];
  const used = new Set();
  const clock = [];
  const time = async (what, work) => {
    const from = performance.now();
    const result = await work();
    clock.push(`${what} ${((performance.now() - from) / 1000).toFixed(1)} s`);
    return result;
  };

  const visitor = await stage.visitor(kind);
  const direct = await time('direct', () => observe(visitor, fronts.direct.url, cases, extra));
  const requests = {};
  // What isn't listed has no warm cache; of what failed the first time, and of redirects, the worker knows more the second.
  const listed = cases.filter(({ needs }) => needs !== 'network');
  const twice = cases.filter(one => !listed.includes(one));
  const directAgain = await time('direct again', () => observe(visitor, fronts.direct.url, twice, extra));
  const compareIn = async (state, who, front, list, prepare) => {
    const before = new Map(list.filter(one => one.requests).map(one => [one, front.requests(`/${folderOf(one)}/${one.requests.file}`)]));
    const requested = new Map(list.map(one => [one, inFolder(front, one)]));
    const behind = await time(state, () => observe(who, front.url, list, extra, prepare));
    found.push(...compare({ state, kind, direct: state === 'again' ? directAgain : direct, behind, everywhere: EVERYWHERE, used }));
    const traps = who.log.filter(({ type, text }) => type === 'worker' && /panicked|wasm failed/.test(text));
    if (traps.length > 0) found.push({ case: 'all', state, field: 'the worker', direct: null, behind: traps[0].text.slice(0, 200) });
    if (state === 'warm' || state === 'woken') {
      for (const one of list.filter(({ asks }) => asks === undefined)) {
        const asked = inFolder(front, one) - (requested.get(one) ?? 0);
        if (asked > 0) found.push({ case: folderOf(one), state, field: 'requests', direct: 0, behind: asked });
      }
    }
    for (const [one, count] of before) {
      const wanted = one.requests[state];
      const asked = front.requests(`/${folderOf(one)}/${one.requests.file}`) - count;
      if (wanted !== undefined && asked !== wanted) found.push({ case: folderOf(one), state, field: 'requests', direct: wanted, behind: asked });
    }
  };

  await enterLab(visitor, fronts.behind.url);
  await compareIn('cold', visitor, fronts.behind, cases);
  await compareIn('again', visitor, fronts.behind, twice);
  const inLab = listed.filter(({ page }) => page === undefined);
  await compareIn('warm', visitor, fronts.behind, inLab);
  await compareIn('woken', visitor, fronts.behind, listed, () => visitor.stopWorker());
  const taker = await stage.visitor(kind, { name: 'taker' });
  await enterLab(taker, fronts.taker.url);
  await visitor.goto(new URL('lab.html', fronts.behind.url).href);
  await visitor.ready();
  for (const who of [visitor, taker]) await who.consent();
  await taker.neighbours(1);
  // The mesh ends with its document: this tab stays, another one shows the documents.
  const { page: mesh } = taker;
  await taker.newTab();
  await compareIn('peer', taker, fronts.taker, listed);
  taker.page = mesh;
  const { bytes } = await taker.stats();
  assert.ok(only !== undefined || bytes.peer > bytes.origin, `the taker took ${JSON.stringify(bytes)}`);
  // A document or a worker without headers that were signed is the origin's; what a neighbour is late with may be, too.
  const shared = listed.filter(({ asks, files }) => asks === undefined && files !== undefined);
  const untouched = shared.filter(one => inFolder(fronts.taker, one) === 0).length;
  stage.report(`of ${shared.length} cases ${untouched} took nothing from the origin, but from a neighbour`);
  assert.ok(only !== undefined || untouched > shared.length / 2, `${untouched} of ${shared.length}`);
  await taker.close();

  fronts.behind.stop();
  await compareIn('offline', visitor, fronts.behind, listed);

  stage.report(`${cases.length} cases: ${clock.join(', ')}`);
  if (only === undefined) found.push(...unused(EVERYWHERE, used, kind));
  assert.ok(found.length === 0, `${new Set(found.map(one => one.case)).size} cases differ:\n${readable(found)}`);
}, { timeout: 480_000 });
