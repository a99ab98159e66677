// Peerage beside others: in a worker of the site's own that imports it, with Workbox in it, and beside another site with
// Peerage on the same host.
import assert from 'node:assert/strict';
import { served } from './lib/peerage.mjs';
import { html, many } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';
import { library, precache } from './lib/workbox.mjs';

const levels = many('level', 4, 600_000);
const SHELL = ['index.html', 'shell.js', 'shell.css'];
/** The sites lie in folders, the tracker does not. */
// A busy machine takes longer over a new version than a page is made to wait for it.
const config = '[trackers]\nurls = ["/peerage/tracker"]\n[policy]\nfresh_ms = 30000\n';

/** A site below `at` with a worker of its own that imports `scripts` and has handlers of each kind. */
async function siteWithWorker(stage, scripts, options) {
  const site = await stage.site({
    'index.html': html('Its own', '<link rel="stylesheet" href="shell.css"><script src="shell.js"></script>',
      '<script>navigator.serviceWorker.register("sw.js")</script><script src="peerage/page.js" async></script>'),
    'shell.js': 'document.body.dataset.shell = "loaded";\n', 'shell.css': 'h1 { color: rgb(1, 2, 3) }\n', ...levels,
    'workbox.js': library(),
  }, { config, ...options });
  site.write({
    'sw.js': `${scripts.map(script => `importScripts('${script}');`).join('\n')}
const heard = [];
self.addEventListener('install', () => { heard.push('install'); self.skipWaiting(); });
self.addEventListener('activate', event => { heard.push('activate'); event.waitUntil(clients.claim()); });
self.addEventListener('message', event => { if (event.data === 'heard?') event.ports[0].postMessage(heard); });
self.addEventListener('fetch', event => {
  if (!event.request.url.endsWith('/own/answer')) return;
  event.respondWith(event.request.text().then(text => new Response(\`its own answer to \${event.request.method} \${text}\`)));
});
${precache(site.folder, SHELL)}`,
  });
  await site.publish({ config });
  return site;
}

/** Opens the site until its own worker controls the page and our script has found it. */
async function enterOwn(visitor, base) {
  await visitor.enter(base);
  assert.equal(await visitor.page.evaluate(() => navigator.serviceWorker.controller.scriptURL), `${base}sw.js`);
}

async function ownHandlersRun(visitor, when) {
  const answers = await visitor.page.evaluate(async () => {
    const text = async init => (await fetch('own/answer', init)).text();
    return [await text(), await text({ method: 'POST', body: 'this' })];
  });
  assert.deepEqual(answers, ['its own answer to GET ', 'its own answer to POST this'], when);
}

function heard(visitor) {
  return visitor.page.evaluate(() => new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    navigator.serviceWorker.controller.postMessage('heard?', [port2]);
  }));
}

story('a worker of the site\'s own imports Peerage and Workbox in either order: each answers what is its', async (stage, kind) => {
  const early = await siteWithWorker(stage, ['peerage-sw.js', 'workbox.js'], { at: 'early' });
  const late = await siteWithWorker(stage, ['workbox.js', 'peerage-sw.js'], { at: 'late', beside: early });
  const front = await stage.front(await stage.serve(early));
  const visitor = await stage.visitor(kind);
  const names = Object.keys(levels);
  const at = site => {
    const base = new URL(`${site.at}/`, front.url).href;
    return { base, urls: names.map(name => site.url(base, name)), isLevel: path => path.startsWith(`/${site.at}/level`) };
  };
  for (const site of [early, late]) {
    const { base, urls, isLevel } = at(site);
    await enterOwn(visitor, base);
    assert.deepEqual(await heard(visitor), ['install', 'activate']);
    await ownHandlersRun(visitor, 'at first');
    assert.deepEqual(site.differences(await visitor.take(urls), base), []);
    const taken = front.total(isLevel);
    assert.deepEqual(site.differences(await visitor.take(urls), base), []);
    assert.equal(front.total(isLevel), taken, 'the second time they come from the store');
    assert.equal((await visitor.explain(urls[0])).verified, true);
    await visitor.goto(base);
    await visitor.ready();
    for (const name of SHELL) assert.equal(await visitor.explain(site.url(base, name)), null, `${name} is Workbox's`);
  }

  // Workbox opens the document, whatever is new: what it loads is the origin's version of now all the same.
  const { base, urls } = at(late);
  late.write({ 'level-0.bin': 500_000 });
  const { version } = await late.publish({ config });
  await visitor.goto(base);
  assert.deepEqual(late.differences(await visitor.take(urls.slice(0, 1)), base), [], 'after a deploy');
  await visitor.ready();
  await until('the new version to be taken up', async () => (await visitor.stats()).version === version);
  assert.deepEqual(late.differences(await visitor.take(urls), base), [], 'of the new version');

  // Nobody opens a document that isn't listed but the network: what it loads is the origin's version of now, too.
  front.when('/late/item', (_, response) => response.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'no-store' }).end(html('Item', '', '')));
  for (const size of [400_000, 300_000]) {
    late.write({ 'level-0.bin': size });
    await late.publish({ config });
    await visitor.stopWorker();
    await visitor.goto(new URL('item', base).href);
    const taken = await visitor.take(urls.slice(0, 1));
    assert.deepEqual(late.differences(taken, base), [], 'beside a document that is not listed, after a deploy');
    assert.match(taken[0].headers['server-timing'] ?? '', /peerage/, 'it is answered by Peerage');
  }
  await visitor.goto(base);
  await visitor.ready();
  assert.deepEqual(late.differences(await visitor.take(urls), base), [], 'all of the newest version');

  // A site that is retired takes the worker with it only where it is Peerage's.
  await early.publish({ config, args: ['--retire'] });
  await visitor.newTab(at(early).base);
  await visitor.wait('our script', () => 'peerage' in window);
  await visitor.ask('refresh');
  await until('what was stored to be gone', () => visitor.page.evaluate(async () => !(await caches.keys()).some(name => name.startsWith('peerage:/early/'))));
  await visitor.goto(at(early).base);
  await ownHandlersRun(visitor, 'after the retirement');
  const [passed] = await visitor.take(at(early).urls.slice(0, 1));
  assert.deepEqual([passed.sha256, passed.headers['server-timing']], [early.sha256('level-0.bin'), undefined], 'after the retirement');

  await front.stop();
  await visitor.goto(base);
  await visitor.wait('the shell, offline', () => document.body.dataset.shell === 'loaded');
  assert.deepEqual(late.differences(await visitor.take(urls), base), [], 'offline');
  await visitor.stopWorker();
  await ownHandlersRun(visitor, 'offline');
  assert.deepEqual(late.differences(await visitor.take(urls.slice(1)), base), [], 'offline, after the worker was stopped');
});

story('two sites on one host keep apart, and one of them has a worker of its own', async (stage, kind) => {
  const one = await siteWithWorker(stage, ['peerage-sw.js', 'workbox.js'], { at: 'one' });
  const two = await stage.site({ ...levels, 'level-3.bin': 700_000, 'index.html': html('Two') }, { at: 'two', beside: one, config });
  const origin = await stage.serve(one);
  const base = { one: new URL('one/', origin.url).href, two: new URL('two/', origin.url).href };
  const names = Object.keys(levels);
  const urls = { one: names.map(name => one.url(base.one, name)), two: names.map(name => two.url(base.two, name)) };

  const giver = await stage.visitor(kind, { name: 'giver' });
  await enterOwn(giver, base.one);
  await giver.consent();
  assert.deepEqual(one.differences(await giver.take(urls.one), base.one), []);
  const tabOne = giver.page;
  await giver.newTab();
  await giver.enter(base.two);
  const tabTwo = giver.page;
  const { consent, bytes } = await giver.stats();
  assert.deepEqual([consent, bytes.cache + bytes.peer + bytes.origin < 100_000], ['unasked', true], 'two knows nothing of one');
  assert.deepEqual(await giver.connections(), [], 'consent to one is none to two');
  await tabTwo.evaluate(() => {
    window.heard = [];
    navigator.serviceWorker.addEventListener('message', ({ source }) => window.heard.push(new URL(source.scriptURL).pathname));
  });
  assert.deepEqual(two.differences(await giver.take(urls.two), base.two), []);
  const seen = (await giver.inspect()).recent.map(({ url }) => url);
  assert.deepEqual(seen.filter(url => !url.startsWith(base.two)), [], 'the inspector of two');
  const named = await giver.page.evaluate(async () => (await caches.keys()).filter(name => name.startsWith('peerage:')).map(name => name.split(':')[1]).sort());
  assert.deepEqual(named, ['/one/', '/two/']);

  // A file of one is none of two's: the network has it.
  const before = await origin.counters();
  const [foreign] = await giver.take(urls.one.slice(0, 1));
  assert.deepEqual([foreign.sha256, foreign.headers['server-timing']], [one.sha256(names[0]), undefined]);
  assert.equal(served(before, await origin.counters(), path => path === `/one/${names[0]}`).requests, 1);

  // One tracker, two swarms.
  await giver.consent();
  const taker = await stage.visitor(kind, { name: 'taker' });
  await enterOwn(taker, base.one);
  await taker.consent();
  await taker.neighbours(1);
  await stage.takesFromPeers(taker, origin, one, names.slice(0, 2), { base: base.one });
  // The new life of the worker asks the page for the mesh.
  await taker.stopWorker();
  await taker.neighbours(1);
  await stage.takesFromPeers(taker, origin, one, names.slice(2), { base: base.one, when: 'after the worker was stopped' });
  assert.equal((await taker.stats()).peers, 1);
  const { peers, leader } = await giver.stats();
  assert.deepEqual([peers, leader], [0, true], 'two has nobody to share with');

  // A new version of one is none of two, nor is what one's worker tells its pages.
  giver.page = tabOne;
  one.write({ 'level-0.bin': 650_000 });
  const { version } = await one.publish({ config });
  await giver.goto(base.one);
  await giver.ready();
  await giver.take(urls.one.slice(0, 1));
  await until('the new version of one', async () => (await giver.stats()).version === version);
  giver.page = tabTwo;
  assert.equal((await giver.stats()).version, two.report.version);
  assert.deepEqual(await tabTwo.evaluate(() => window.heard.filter(path => !path.startsWith('/two/'))), [], 'whom two hears');

  // What is forgotten of one is kept of two.
  giver.page = tabOne;
  assert.equal(await tabOne.evaluate(() => window.peerage.forget()), true);
  assert.equal((await giver.stats()).consent, 'unasked');
  giver.page = tabTwo;
  assert.equal((await giver.stats()).consent, 'granted');
  await origin.stop();
  await giver.goto(base.two);
  assert.deepEqual(two.differences(await giver.take(urls.two), base.two), [], 'two, offline');
  giver.page = tabOne;
  const [gone] = await giver.take(urls.one.slice(1, 2), { init: { cache: 'no-cache' } });
  assert.ok(gone.error !== undefined, 'one, offline');
});
