// A deploy while a tab is open: the old tab still gets its old files, the next navigation gets the new version whole, and
// no document ever mixes two.
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { filesBelow, html, randomBytes } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const PARTS = 6;

/** A version of a site whose every file says which version it is of. */
function release(number) {
  return {
    'index.html': html(`Release ${number}`, '<p id="seen"></p>').replace('</body>', `<script>window.release = ${number}</script><script src="app.js"></script></body>`),
    'app.js': `window.application = ${number};\n`,
    ...Object.fromEntries(Array.from({ length: PARTS }, (_, i) => [`part-${i}.json`, JSON.stringify({ release: number, filler: `${i}`.repeat(200_000) })])),
  };
}

/** Which releases the open document consists of, its own HTML and script included. */
function releases(visitor, parts) {
  return visitor.page.evaluate(async names => {
    const found = new Set([window.release, window.application]);
    await Promise.all(names.map(async name => found.add((await (await fetch(name)).json()).release)));
    return [...found];
  }, parts);
}

/** What the worker has written down of the site and its documents, in both copies. */
function remembered(visitor) {
  return visitor.page.evaluate(async () => {
    const copies = ['state', 'state-2'].map(async name => (await caches.match(new URL(`peerage/store/${name}`, location)))?.text());
    return JSON.stringify(await Promise.all(copies));
  });
}

const parts = (from, to) => Array.from({ length: to - from }, (_, i) => `part-${from + i}.json`);

story('a tab that was open across a deploy keeps its version and the next navigation has the new one', async (stage, kind) => {
  const site = await stage.site(release(1));
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  assert.deepEqual(await releases(visitor, parts(0, 2)), [1]);
  const { version } = await visitor.stats();

  site.write(release(2));
  await site.publish();
  const old = visitor.page;
  assert.deepEqual(await releases(visitor, parts(0, 4)), [1], 'the old tab, with files that it had not asked for before');

  await visitor.newTab(origin.url);
  await visitor.ready();
  await until('a new tab to show the new release', async () => {
    const found = await releases(visitor, parts(0, PARTS));
    assert.equal(found.length, 1, `a document mixes the releases ${found}`);
    if (found[0] === 2) return true;
    await visitor.page.reload();
    await visitor.ready();
    return false;
  });
  assert.ok((await visitor.stats()).version > version);

  visitor.page = old;
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [1], 'the old tab, after a new one has the new release');
  await visitor.page.reload();
  await visitor.ready();
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [2], 'the old tab, reloaded');
});

story('a document that answers a form which was sent has the release that the origin has', async (stage, kind) => {
  const site = await stage.site(release(1));
  const front = await stage.front(await stage.serve(site));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [1]);

  const second = release(2);
  site.write(second);
  await site.publish();
  // The application's own answer; the worker never sees what is sent.
  front.when('/sent', (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    response.end(second['index.html']);
  });
  await visitor.page.evaluate(() => {
    const form = Object.assign(document.createElement('form'), { method: 'POST', action: 'sent' });
    document.body.append(form);
    setTimeout(() => form.submit());
  });
  await visitor.wait('the answer', () => document.title === 'Release 2' && document.readyState === 'complete');
  assert.deepEqual(front.seen.get('/sent').methods, ['POST']);
  assert.deepEqual(await releases(visitor, parts(0, 2)), [2], 'what the answer loads');
  await until('the new version to be whole', async () => {
    assert.deepEqual(await releases(visitor, parts(0, PARTS)), [2]);
    return (await visitor.ask('stats')).version === site.report.version;
  });

  // That is remembered, a moment later: the origin isn't asked about a document each time that the worker wakes.
  await until('a life in which the origin is not asked', async () => {
    await visitor.stopWorker();
    const [asked, written] = [front.requests('/peerage/root.jws'), await remembered(visitor)];
    assert.deepEqual(await releases(visitor, parts(0, PARTS)), [2], 'after the worker was stopped');
    if (front.requests('/peerage/root.jws') === asked) return true;
    await until('that to be written', async () => await remembered(visitor) !== written);
    return false;
  });
  await front.stop();
  await visitor.stopWorker();
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [2], 'offline');
});

/** Copies a published folder to where it is served from, as a careful deploy does: what is new first, the root last. */
function upload(site, live) {
  const copy = name => cpSync(path.join(site.folder, name), path.join(live, name), { recursive: true, force: true });
  const first = ['peerage/old', 'peerage/index', 'peerage/shard', 'peerage/keys'];
  for (const name of first) copy(name);
  for (const name of site.files()) copy(name);
  for (const name of filesBelow(site.folder)) if (!name.endsWith('root.jws')) copy(name);
  // Replaced in one step: half a root is not what this is about.
  copyFileSync(path.join(site.folder, 'peerage/root.jws'), path.join(live, 'peerage/root.part'));
  renameSync(path.join(live, 'peerage/root.part'), path.join(live, 'peerage/root.jws'));
}

story('no document mixes two versions while releases follow each other', async (stage, kind) => {
  const site = await stage.site(release(1));
  const live = stage.folder('live');
  upload(site, live);
  const origin = await stage.serve(live);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const seen = new Set();
  for (let number = 2; number <= 6; number++) {
    site.write(release(number));
    await site.publish();
    for (const half of ['before', 'after']) {
      const reloading = visitor.page.reload();
      if (half === 'before') upload(site, live);
      await reloading;
      const found = await releases(visitor, parts(0, PARTS));
      assert.equal(found.length, 1, `a document mixes the releases ${found}`);
      seen.add(found[0]);
    }
  }
  stage.report(`releases seen: ${[...seen]}`);
  assert.ok(seen.size > 1);
});

story('after a rollback and behind half an upload a document is of one release, behind a late cache as without a worker', async (stage, kind) => {
  const site = await stage.site(release(1));
  const [live, first] = [stage.folder('live'), stage.folder('first')];
  upload(site, live);
  cpSync(live, first, { recursive: true });
  const front = await stage.front(await stage.serve(live));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  assert.deepEqual(await releases(visitor, parts(0, 3)), [1]);

  // An edge that has the old script still, under the new root. What the page would get without a worker it gets, and no
  // more than for as long as the edge is late.
  site.write(release(2));
  await site.publish();
  const stale = front.when('/app.js', (_, __, pass) => pass(({ headers: { 'content-encoding': _encoding, ...headers }, ...answer }) => ({ ...answer, headers, body: Buffer.from(release(1)['app.js']) })));
  upload(site, live);
  await until('the second release behind a late cache', async () => {
    await visitor.page.reload();
    const found = await releases(visitor, parts(0, 3));
    assert.ok(['1', '2,1'].includes(found.join()), `behind a late cache: ${found}`);
    return found.join() === '2,1';
  });
  assert.ok((await visitor.stats()).rejected > 0, 'the old script must be noticed');
  stale();
  await visitor.page.reload();
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [2], 'when the cache is no longer late');
  const lateAgain = front.when('/app.js', (_, __, pass) => pass(answer => ({ ...answer, body: Buffer.from(release(1)['app.js']) })));
  await visitor.page.reload();
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [2], 'behind a late cache, with the script here');
  lateAgain();

  // An upload that broke off after the root: what the root leads to isn't there.
  site.write(release(3));
  await site.publish();
  copyFileSync(path.join(site.folder, 'peerage/root.jws'), path.join(live, 'peerage/root.jws'));
  await visitor.page.reload();
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [2], 'behind half an upload');
  await visitor.newTab(front.url);
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [2], 'behind half an upload, in a new tab');
  upload(site, live);
  await until('the third release, when all of it is there', async () => {
    await visitor.page.reload();
    const found = await releases(visitor, parts(0, PARTS));
    assert.equal(found.length, 1, `a document mixes the releases ${found}`);
    return found[0] === 3;
  });

  // One that broke off before the root: some files are new already, and nobody has said so.
  site.write(release(4));
  await site.publish();
  for (const name of ['index.html', 'app.js', ...parts(0, 2)]) copyFileSync(path.join(site.folder, name), path.join(live, name));
  await visitor.page.reload();
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [3], 'before the root of an upload');
  await visitor.newTab(front.url);
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [3], 'before the root of an upload, in a new tab');
  upload(site, live);
  await until('the fourth release, when its root is there', async () => {
    await visitor.page.reload();
    const found = await releases(visitor, parts(0, PARTS));
    assert.equal(found.length, 1, `a document mixes the releases ${found}`);
    return found[0] === 4;
  });

  // The whole folder is put back as it was, its root too: what the visitor has seen since is nothing to go by.
  for (const name of readdirSync(live)) rmSync(`${live}/${name}`, { recursive: true });
  cpSync(first, live, { recursive: true });
  await until('the first release again, as without a worker', async () => {
    await visitor.page.reload();
    const found = await releases(visitor, parts(0, PARTS));
    assert.equal(found.length, 1, `a document mixes the releases ${found}`);
    return found[0] === 1;
  });
});

story('what the origin has otherwise than it signed comes as the origin has it', async (stage, kind) => {
  // Two pieces and more are the same.
  const large = number => Buffer.concat([randomBytes(2_200_000, 'the same'), randomBytes(1_500_000, number)]);
  const names = ['older', 'cut', 'longer'].flatMap(how => [`${how}.txt`, `${how}.bin`]);
  const release = number => Object.fromEntries(names.map(name => [name, name.endsWith('.txt') ? Buffer.from(`${name} of ${number}\n`.repeat(40)) : large(`${name} ${number}`)]));
  const [first, second] = [release(1), release(2)];
  const has = {
    older: name => first[name],
    cut: name => second[name].subarray(0, Math.floor(second[name].length * 0.8)),
    longer: name => Buffer.concat([second[name], Buffer.from('and more')]),
  };
  const site = await stage.site({ 'index.html': html('Half'), ...second });
  const origin = await stage.serve(site);
  const [direct, behind] = [await stage.front(origin), await stage.front(origin)];
  const serveWhatItHas = () => [direct, behind].flatMap(front => names.map(name => front.when(`/${name}`, (request, response) => {
    const body = has[name.split('.')[0]](name);
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const part = from === undefined ? body : body.subarray(Number(from), to === '' ? undefined : Number(to) + 1);
    if (from !== undefined && part.length === 0) {
      response.writeHead(416, { 'content-range': `bytes */${body.length}` });
      response.end();
      return;
    }
    const more = from === undefined ? {} : { 'content-range': `bytes ${from}-${Number(from) + part.length - 1}/${body.length}` };
    response.writeHead(from === undefined ? 200 : 206, { 'content-type': 'application/octet-stream', 'content-length': part.length, 'cache-control': 'no-cache', ...more });
    response.end(part);
  })));
  let stops = serveWhatItHas();
  const visitor = await stage.visitor(kind);
  const seen = front => visitor.page.evaluate(async (base, files) => Object.fromEntries(await Promise.all(files.map(async name => (
    [name, await fetch(base + name).then(async response => {
      const body = await response.arrayBuffer();
      return [response.status, body.byteLength, [...new Uint8Array(await crypto.subtle.digest('SHA-256', body))].slice(0, 4).join('.')];
    }).catch(error => error.name)])))), front.url, names);
  await visitor.goto(direct.url);
  const wanted = await seen(direct);
  for (const stop of stops) stop();
  const signed = await seen(direct);
  stops = serveWhatItHas();
  await visitor.enter(behind.url);
  for (const time of ['the first time', 'again']) {
    const found = await seen(behind);
    if (kind === 'chromium' && time === 'the first time') {
      // Its first pieces are given when it turns out that the rest is another's.
      const { bytes, verified } = await visitor.explain(site.url(behind.url, 'older.bin'));
      assert.deepEqual([bytes.origin, verified], [first['older.bin'].length, false]);
    }
    // What only goes on where it should end is the signed file, for all that anybody asks of it.
    for (const name of names) assert.deepEqual(found[name], (name.startsWith('longer') ? signed : wanted)[name], `${name} ${time}`);
  }
  assert.ok((await visitor.stats()).rejected >= 4, 'that must be noticed');
  for (const stop of stops) stop();
  assert.deepEqual(await seen(behind), signed, 'when the origin has all of it');
  assert.deepEqual(site.differences(await visitor.take(names.map(name => behind.url + name)), behind.url), []);
});

story('what does not go on as it was signed breaks off with an error where it begins otherwise, or the owner says so', async (stage, kind) => {
  const visitor = await stage.visitor(kind);
  for (const integrity of ['report', 'strict']) {
    const site = await stage.site({ 'index.html': html('Half'), 'large.bin': 2_000_000 }, { config: `[policy]\nintegrity = "${integrity}"\n` });
    const front = await stage.front(await stage.serve(site));
    await visitor.enter(front.url);
    // Where it is the owner's word, the end is always another's; else the first half comes once as it was signed.
    const half = body => Buffer.concat([body.subarray(0, 1_000_000), randomBytes(1_000_000, 'other')]);
    const allButTheEnd = body => Buffer.concat([body.subarray(0, -1), Buffer.from([body.at(-1) ^ 1])]);
    let asked = 0;
    front.when('/large.bin', (_, __, pass) => {
      asked += 1;
      const other = integrity === 'strict' ? allButTheEnd : asked === 1 ? half : body => randomBytes(body.length, 'other');
      return pass(({ body, ...answer }) => ({ ...answer, body: other(body) }));
    });
    const look = headers => visitor.page.evaluate(init => fetch('large.bin', init).then(async response => (await response.arrayBuffer()).byteLength).catch(error => error.name), { headers });
    // Firefox is handed whole bodies: nothing of the file was given yet.
    assert.equal(await look({}), kind === 'firefox' && integrity === 'report' ? 2_000_000 : 'TypeError', integrity);
    assert.equal(await look({}), integrity === 'report' ? 2_000_000 : 'TypeError', `${integrity}, again`);
    assert.equal(await look({ range: 'bytes=1500000-' }), integrity === 'report' ? 500_000 : 'TypeError', `${integrity}, a part`);
    assert.ok((await visitor.stats()).rejected > 0);
  }
});

story('a retired site makes the visitor who returns unregister', async (stage, kind) => {
  const site = await stage.site(release(1));
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  await site.publish({ args: ['--retire'] });
  await until('the worker to be gone', async () => {
    await visitor.page.goto(origin.url);
    // The page's own line registers the worker again as long as there is one at its address; it must not take control.
    return visitor.page.evaluate(async () => navigator.serviceWorker.controller === null && (await caches.keys()).length === 0);
  });
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [1]);
});

story('a root that is gone from the origin ends it, one that cannot be had does not', async (stage, kind) => {
  const site = await stage.site(release(1));
  const front = await stage.front(await stage.serve(site));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  const answer = status => front.when('/peerage/root.jws', (_, response) => { response.writeHead(status); response.end(); });
  const asked = async () => {
    const before = front.requests('/peerage/root.jws');
    await visitor.goto(front.url);
    await until('the root to be asked for', () => front.requests('/peerage/root.jws') > before);
  };
  const broken = answer(503);
  await asked();
  await visitor.ready();
  assert.deepEqual(await releases(visitor, parts(0, PARTS)), [1], 'behind an origin that is broken');
  broken();
  // One answer of some server in between is no word of the owner's.
  const once = front.when('/peerage/root.jws', (_, response) => { once(); response.writeHead(404); response.end(); });
  const roots = front.requests('/peerage/root.jws');
  await visitor.goto(front.url);
  await until('the root to be asked for again', () => front.requests('/peerage/root.jws') >= roots + 2);
  await visitor.ready();
  assert.ok(await visitor.page.evaluate(async () => (await navigator.serviceWorker.getRegistration()) !== undefined && (await caches.keys()).length > 0), 'after one 404');
  answer(410);
  await until('the worker to be gone', async () => {
    await visitor.goto(front.url);
    return visitor.page.evaluate(async () => navigator.serviceWorker.controller === null && (await caches.keys()).length === 0);
  });
});

story('folders and endings come and go with releases, also for tabs that are open', async (stage, kind) => {
  const site = await stage.site({ 'index.html': html('Release 1'), 'first/part.bin': 90_000, 'second/old.js': '// old' });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const [first, second, third] = ['first', 'second', 'third'].map(folder => site.url(origin.url, `${folder}/part.bin`));
  const part = site.sha256('first/part.bin');
  const open = visitor.page;

  rmSync(`${site.folder}/first`, { recursive: true });
  site.write({ 'index.html': html('Release 2'), 'second/part.bin': 80_000, 'third/part.bin': 70_000 });
  await site.publish();
  await visitor.newTab();
  await visitor.enter(origin.url);
  // By the worker that was there it is the network's, by the next one, which browsers look for in their own time, it is listed.
  assert.deepEqual(site.differences(await visitor.take([second, third]), origin.url), []);
  await visitor.page.evaluate(async () => { await (await navigator.serviceWorker.getRegistration()).update(); });
  await visitor.wait('the next worker', async () => {
    const { installing, waiting, active } = await navigator.serviceWorker.getRegistration();
    return installing === null && waiting === null && active.state === 'activated';
  });
  await visitor.enter(origin.url);
  await until('the new folder and the new ending to be known', async () => {
    assert.deepEqual(site.differences(await visitor.take([second, third]), origin.url), []);
    return (await visitor.explain(second))?.verified && (await visitor.explain(third))?.verified;
  });
  visitor.page = open;
  assert.equal((await visitor.take([first]))[0].sha256, part, 'the kept file of the folder that went');
});
