// The site's keys: a visitor follows from one to the next, however many were missed, and takes nothing by one that was left
// behind; a first key that was stolen or lost is replaced through the worker script.
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { publish, served } from './lib/peerage.mjs';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const PARTS = ['part-0.json', 'part-1.json'];

/** A version of a site whose every file says which version it is of. */
function release(number) {
  return {
    'index.html': html(`Release ${number}`),
    ...Object.fromEntries(PARTS.map(name => [name, JSON.stringify({ release: number, filler: name.repeat(5000) })])),
  };
}

/** Which releases the open document consists of: one, in a page that is whole. */
function releases(visitor) {
  return visitor.page.evaluate(async names => {
    const found = new Set([Number(document.title.replace('Release ', ''))]);
    await Promise.all(names.map(async name => found.add((await (await fetch(name)).json()).release)));
    return [...found];
  }, PARTS);
}

const beside = (site, name) => path.join(site.beside, name);
const links = (before, after) => served(before, after, url => /\/peerage\/keys\//.test(url)).requests;

story('a visitor who missed two changes of keys follows them, and takes nothing by the first key any more', async (stage, kind) => {
  const site = await stage.site(release(1));
  const origin = await stage.serve(site);
  const front = await stage.front(origin);
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  const first = await visitor.ask('hello');
  const version = async () => (await visitor.stats()).version;
  await visitor.goto('about:blank');

  // Whoever has the first key, and the site as it was.
  const thief = stage.folder('thief');
  cpSync(site.folder, thief, { recursive: true });
  site.write(release(2));
  await site.publish({ args: ['--new-key', beside(site, '2.pem')] });
  site.write(release(3));
  const third = await site.publish({ key: '2.pem', args: ['--new-key', beside(site, '3.pem')] });
  assert.equal(third.key_number, 3);

  const before = await origin.counters();
  await visitor.goto(front.url);
  await visitor.ready();
  await until('the release by the third key', async () => await version() === third.version);
  assert.equal(links(before, await origin.counters()), 2, 'each link that was missed is fetched once');
  await visitor.page.reload();
  await visitor.ready();
  assert.deepEqual(await releases(visitor), [3]);
  const { site: id, infoHash } = await visitor.ask('hello');
  assert.deepEqual([id, infoHash], [first.site, first.infoHash], 'the same site, and the same swarm');

  // A worker that starts anew has the way from the first key here.
  await visitor.wait('the headers of the page to be written down', async file => {
    const kept = await caches.match('peerage/store/headers');
    const bytes = new Uint8Array(await kept?.arrayBuffer() ?? 0);
    return [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('').includes(file);
  }, site.sha256('index.html'));
  await visitor.stopWorker();
  await visitor.page.reload();
  await visitor.ready();
  assert.deepEqual(await releases(visitor), [3]);
  assert.equal(links(before, await origin.counters()), 2, 'links that are known are not fetched again');

  // What a neighbour says of a newer key leads to a question to the origin, and to nothing else.
  await visitor.consent();
  site.write(release(4));
  const fourth = await site.publish({ key: '3.pem', args: ['--new-key', beside(site, '4.pem')] });
  const root = 'peerage/root.jws';
  const good = readFileSync(path.join(site.folder, root));
  await visitor.page.evaluate(text => {
    navigator.serviceWorker.controller.postMessage({ peerage: 'root', text, peer: 1 });
  }, good.toString());
  await until('the release by the fourth key', async () => await version() === fourth.version);
  assert.equal(links(before, await origin.counters()), 3);
  await visitor.page.reload();
  await visitor.ready();
  assert.deepEqual(await releases(visitor), [4]);

  // What the thief signs, however new, is not taken, even from the origin: everything is as without us.
  writeFileSync(path.join(thief, 'index.html'), html('Release 666'));
  await publish(thief, site.beside);
  for (const part of ['index', 'shard']) cpSync(path.join(thief, 'peerage', part), path.join(site.folder, 'peerage', part), { recursive: true });
  copyFileSync(path.join(thief, root), path.join(site.folder, root));
  await until('the worker to refuse a root by the first key', async () => {
    await visitor.page.reload();
    assert.deepEqual(await releases(visitor), [4]);
    return /key 1, which key 4 has replaced/.test((await visitor.inspect()).passing ?? '');
  });
  assert.equal((await visitor.inspect()).stats.version, fourth.version);
  writeFileSync(path.join(site.folder, root), good);

  // Nor is one read that never ends.
  let cut = 0;
  const well = front.when(`/${root}`, (_, response) => {
    response.writeHead(200, { 'content-type': 'application/jose' });
    const timer = setInterval(() => response.write('a'.repeat(1000)), 2);
    response.on('close', () => { clearInterval(timer); cut += 1; });
  });
  await until('the worker to refuse a root without an end', async () => {
    await visitor.page.reload();
    return /larger than 4096 bytes/.test((await visitor.inspect()).passing ?? '');
  });
  await until('the endless answers to be cut', () => cut > 0);
  well();
  await until('the site to be served again', async () => {
    await visitor.page.reload();
    return (await visitor.inspect()).passing === null;
  });
  await visitor.enter(front.url);
  assert.deepEqual(await releases(visitor), [4]);

  // A visitor who comes for the first time walks the whole way.
  await visitor.page.evaluate(async () => {
    for (const registration of await navigator.serviceWorker.getRegistrations()) await registration.unregister();
    for (const name of await caches.keys()) await caches.delete(name);
  });
  const anew = await origin.counters();
  await visitor.enter(front.url);
  assert.equal(await version(), fourth.version);
  assert.equal(links(anew, await origin.counters()), 3);
});

story('a site whose first key is replaced goes on, and leaves nothing of the old one behind', async (stage, kind) => {
  const site = await stage.site(release(1));
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const old = await visitor.ask('hello');
  const open = visitor.page;

  site.write(release(2));
  const report = await site.publish({ key: 'another.pem', args: ['--replace-key'] });
  assert.deepEqual([report.replaced_site, report.site === old.site], [old.site, false]);

  // The worker that is there lets everything pass; the browser, which looks for another with the navigation, finds one.
  await visitor.newTab(origin.url);
  assert.deepEqual(await releases(visitor), [2]);
  await visitor.wait('the worker with the new key', async wanted => {
    const names = await caches.keys();
    return names.length === 1 && names[0].endsWith(wanted);
  }, report.site);
  assert.deepEqual(await releases(visitor), [2]);
  await visitor.enter(origin.url);
  assert.deepEqual(await releases(visitor), [2]);
  const hello = await visitor.ask('hello');
  assert.deepEqual([hello.version, hello.site], [report.version, report.site]);
  assert.notEqual(hello.infoHash, old.infoHash, 'another swarm');
  assert.ok((await visitor.explain(site.url(origin.url, PARTS[0]))).verified);
  visitor.page = open;
  assert.ok((await visitor.take(PARTS)).every(({ status }) => status === 200));
  assert.deepEqual(visitor.complaints(), []);
});
