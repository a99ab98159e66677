// A worker that wakes answers small files that it answered before without waiting for its wasm: right, verified, and in the
// books; and it leaves to the network what it knows not to be listed.
import assert from 'node:assert/strict';
import { html, many } from './lib/site.mjs';
import { EACH, story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const files = { 'index.html': html('Awakened'), ...many('part', 30, 9_000) };

/** A visitor to whom all parts have been answered out of the store, and whose worker has written that down. */
async function scene(stage, kind) {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const urls = Object.keys(files).filter(name => name.startsWith('part')).map(name => site.url(origin.url, name));
  const rightly = async when => assert.deepEqual(site.differences(await visitor.take(urls), origin.url), [], when);
  await rightly('from the origin');
  await visitor.wait('all to be stored', async count => {
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise(resolve => { port1.onmessage = event => resolve(event.data); });
    navigator.serviceWorker.controller.postMessage({ peerage: 'inspect' }, [port2]);
    return (await answer).store.pieces >= count;
  }, urls.length);
  // What was still on its way to the store is written down with the next answer.
  await until('the answers to be written down', async () => {
    await rightly('from the store');
    return (await table(visitor))?.files.length >= urls.length;
  }, { every: 1000 });
  return { origin, visitor, urls, rightly };
}

/** A visitor who has a part, behind a front that has a document which isn't listed: `/item`. */
async function beside(stage, kind) {
  const site = await stage.site(files);
  const front = await stage.front(await stage.serve(site));
  front.when('/item', (_, response) => response.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'no-store' }).end(html('Item')));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  const part = site.url(front.url, 'part-1.bin');
  await visitor.take([part]);
  return { site, front, visitor, part };
}

/** What the shim has written down. */
function table(visitor) {
  return visitor.page.evaluate(async () => (await caches.match(new URL('peerage/store/hot', location)))?.json());
}

/** Takes the wasm out of the cache, into which a worker that needs it puts it again; returns whether it was there. */
function loseWasm(visitor) {
  return visitor.page.evaluate(async () => {
    let was = false;
    for (const name of await caches.keys()) {
      const cache = await caches.open(name);
      for (const request of await cache.keys()) if (request.url.endsWith('.wasm')) was = await cache.delete(request);
    }
    return was;
  });
}

story('a worker that wakes answers small files without its wasm', async (stage, kind) => {
  const { origin, visitor, rightly } = await scene(stage, kind);
  await origin.stop();
  assert.ok(await loseWasm(visitor), 'the wasm was in the cache');
  await visitor.stopWorker();
  // Neither the network nor the wasm can answer now.
  await rightly('without wasm and origin');
});

story('what a worker reads back when it wakes is verified', async (stage, kind) => {
  const { visitor, rightly } = await scene(stage, kind);
  const damaged = await visitor.page.evaluate(async () => {
    let count = 0;
    for (const name of await caches.keys()) {
      const cache = await caches.open(name);
      for (const request of await cache.keys()) {
        if (!/\/store\/[0-9a-f]{16}$/.test(request.url)) continue;
        const stored = await cache.match(request);
        const bytes = new Uint8Array(await stored.arrayBuffer()).map(byte => byte ^ 1);
        await cache.put(request, new Response(bytes, { headers: stored.headers }));
        count++;
      }
    }
    return count;
  });
  assert.ok(damaged > 0 && damaged < 20, `30 small files lie in ${damaged} segments`);
  await visitor.stopWorker();
  await rightly('with every segment damaged');
});

story('a forged table is found out and thrown away', async (stage, kind) => {
  const { visitor, urls } = await scene(stage, kind);
  const planted = await visitor.page.evaluate(async victim => {
    const [name] = (await caches.keys()).filter(key => key.startsWith('peerage:'));
    const cache = await caches.open(name);
    const at = new URL('peerage/store/hot', location).href;
    const table = await (await cache.match(at)).json();
    const bytes = new TextEncoder().encode('planted');
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    table.files = table.files.map(file => (file[0] === victim
      ? [victim, file[1].filter(([header]) => header !== 'content-length'), 0xffff, 0, bytes.length, `sha256-${btoa(String.fromCharCode(...digest))}`] : file));
    await cache.put(new URL('peerage/store/000000000000ffff', location).href, new Response(bytes));
    await cache.put(at, new Response(JSON.stringify(table)));
    return table.files.length;
  }, urls[0]);
  assert.ok(planted > 0);
  await visitor.stopWorker();
  const [before] = await visitor.take([urls[0]]);
  assert.equal(before.size, 7, 'it was planted where the shim looks');
  await until('the forgery to be found', async () => (await visitor.inspect()).errors.some(({ text }) => /not what the manifest says/.test(text)));
  const [after] = await visitor.take([urls[0]]);
  assert.equal(after.size, 9_000);
  await visitor.stopWorker();
  assert.equal((await visitor.take([urls[0]]))[0].size, 9_000, 'nor after another wake');
});

story('what was answered without wasm is in the books', async (stage, kind) => {
  const { visitor, urls, rightly } = await scene(stage, kind);
  await visitor.stopWorker();
  const before = (await visitor.stats()).bytes.cache;
  await visitor.stopWorker();
  await rightly('by the worker that woke');
  const { bytes } = await visitor.stats();
  assert.equal(bytes.cache - before, urls.length * 9_000);
  const told = await visitor.explain(urls[3]);
  assert.deepEqual([told.verified, told.bytes.cache], [true, 9_000]);
});

story('what is known not to be listed goes to the network without the wasm', async (stage, kind) => {
  const site = await stage.site(files);
  const front = await stage.front(await stage.serve(site));
  let asked = 0;
  front.when('/item.bin', (_, response) => response.writeHead(200, { 'cache-control': 'no-store' }).end(`${asked += 1}`));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  const item = () => visitor.page.evaluate(async () => (await fetch('item.bin')).text());
  assert.equal(await item(), '1');
  await until('that to be written down', async () => (await table(visitor))?.unlisted.includes(new URL('item.bin', front.url).href));
  assert.ok(await loseWasm(visitor), 'the wasm was in the cache');
  await visitor.stopWorker();
  assert.deepEqual([await item(), await item()], ['2', '3']);
  assert.ok(!await loseWasm(visitor), 'the wasm was not needed');
  assert.equal((await visitor.take([site.url(front.url, 'part-1.bin')]))[0].sha256, site.sha256('part-1.bin'));
  assert.ok(await loseWasm(visitor), 'for another file it was');

  // A release that lists it: the next document gets it from the worker.
  site.write({ 'item.bin': 'listed' });
  await site.publish();
  await until('it to be listed', async () => {
    await visitor.page.reload();
    await visitor.ready();
    await item();
    return (await visitor.explain(new URL('item.bin', front.url).href)) !== null;
  });
});

story('what ends as no listed file does goes to the network without the wasm, the first time as well', async (stage, kind) => {
  const site = await stage.site({ ...files, 'inner/part.bin': 1000, 'notes/LICENSE': 2000 });
  const front = await stage.front(await stage.serve(site));
  for (const path of ['/item', '/inner/item', '/inner/deep/item.js', '/other/item.bin']) front.when(path, (_, response) => response.writeHead(200, { 'cache-control': 'no-store' }).end(path));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  assert.ok(await loseWasm(visitor), 'the wasm was in the cache');
  await visitor.stopWorker();
  const answers = await visitor.page.evaluate(async () => {
    const paths = ['item', 'inner/item', 'inner/deep/item.js', 'other/item.bin'];
    return Promise.all(paths.map(async path => (await fetch(path)).text()));
  });
  assert.deepEqual(answers, ['/item', '/inner/item', '/inner/deep/item.js', '/other/item.bin']);
  assert.ok(!await loseWasm(visitor), 'the wasm was not needed');
  // A file without an ending is listed in this folder: here any name may be.
  assert.equal((await visitor.take([site.url(front.url, 'notes/LICENSE')]))[0].sha256, site.sha256('notes/LICENSE'));
  assert.ok((await visitor.explain(site.url(front.url, 'notes/LICENSE')))?.verified);
});

story('a document that is not listed does not wait for the wasm, and what it loads is of the release that the origin has', async (stage, kind) => {
  const { site, front, visitor, part } = await beside(stage, kind);
  assert.ok(await loseWasm(visitor), 'the wasm was in the cache');
  let release;
  const released = new Promise(resolve => { release = resolve; });
  const held = front.when(/\.wasm$/, async (_, __, pass) => { await released; pass(); });
  await visitor.stopWorker();
  await visitor.goto(`${front.url}item`);
  assert.equal(await visitor.page.title(), 'Item');
  const taken = visitor.take([part]);
  release();
  assert.deepEqual(site.differences(await taken, front.url), []);
  held();
  const named = await visitor.page.evaluate(url => performance.getEntriesByName(url).at(-1).serverTiming.map(({ name }) => name), part);
  assert.deepEqual(named, ['peerage'], 'the worker answered');

  site.write({ 'part-1.bin': 8000 });
  await site.publish();
  await visitor.goto(`${front.url}item`);
  assert.deepEqual(site.differences(await visitor.take([part]), front.url), []);
});

story('what such a document loads is the network\'s where the origin does not say which version is the newest', async (stage, kind) => {
  const { site, front, visitor, part } = await beside(stage, kind);
  site.write({ 'part-1.bin': 8000 });
  await site.publish();
  front.when('/peerage/root.jws', (_, response) => response.writeHead(503).end());
  for (const stopped of [false, true]) {
    if (stopped) await visitor.stopWorker();
    await visitor.goto(`${front.url}item`);
    assert.deepEqual(site.differences(await visitor.take([part]), front.url), [], 'of the release that the document is of');
  }
});

story('a listed document to which one that is not listed redirects keeps its version', async (stage, kind) => {
  const { site, front, visitor, part } = await beside(stage, kind);
  front.when('/away', (_, response) => response.writeHead(302, { location: './', 'cache-control': 'no-store' }).end());
  const old = site.sha256('part-1.bin');
  site.write({ 'part-1.bin': 8000 });
  await site.publish();
  let release;
  const released = new Promise(resolve => { release = resolve; });
  front.when('/peerage/root.jws', async (_, __, pass) => { await released; pass(); });
  await visitor.goto(`${front.url}away`);
  await visitor.ready();
  await visitor.page.evaluate(() => { window.updated = new Promise(resolve => window.peerage.addEventListener('update', resolve, { once: true })); });
  release();
  await visitor.wait('the update', async () => window.updated.then(() => true));
  assert.equal((await visitor.take([part]))[0].sha256, old);
  await visitor.goto(front.url);
  assert.deepEqual(site.differences(await visitor.take([part]), front.url), []);
});

// Firefox has no static routes yet.
story('what cannot be ours does not wake the worker', async (stage, kind) => {
  const site = await stage.site({ ...files, 'inner/part.bin': 1000, 'pages/index.html': '<!doctype html><title>Pages</title>', 'pages/a/index.html': '<!doctype html><title>A</title>' }, { at: 'game' });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  const base = new URL('game/', origin.url).href;
  await visitor.enter(base);
  const passed = await visitor.page.evaluate(async urls => {
    const source = async (url, init) => {
      await (await fetch(url, init)).arrayBuffer();
      return performance.getEntriesByName(new URL(url, location).href).at(-1).workerFinalSourceType;
    };
    const seen = { post: await source(urls.own, { method: 'POST', body: 'x' }) };
    for (const name of Object.keys(urls)) seen[name] = await source(urls[name]);
    return seen;
  }, { own: `${base}part-1.bin`, below: `${base}inner/part.bin`, query: `${base}part-1.bin?v=2`, outside: `${origin.url}part-1.bin`, other: `${base}other/part.bin`, index: base, unlisted: `${base}unlisted.bin`, ending: `${base}item`, inner: `${base}inner/item.json`, pages: `${base}pages/`, page: `${base}pages/a/`, bare: `${base}pages/a` });
  assert.deepEqual(passed, {
    post: 'network', own: '', below: '', query: 'network', outside: 'network', other: 'network',
    index: '', unlisted: '', ending: 'network', inner: 'network', pages: '', page: '', bare: 'network',
  });

  // For what may be a listed document the browser asks nobody else while it starts the worker.
  const matched = async url => {
    await visitor.goto(url);
    return visitor.page.evaluate(() => performance.getEntriesByType('navigation')[0].workerMatchedSourceType);
  };
  const documents = [base, `${base}pages/a/`, `${base}pages/item`, `${base}inner/missing.html`];
  const routed = [];
  for (const url of documents) routed.push(await matched(url));
  assert.deepEqual(routed, ['fetch-event', 'fetch-event', '', '']);
}, { over: EACH.filter(([kind]) => kind === 'chromium') });
