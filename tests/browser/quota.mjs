// A full disk or a small quota: nothing can be kept, and the site works all the same.
import assert from 'node:assert/strict';
import { html, many, randomBytes } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const QUOTA = 3_000_000;

story('a site works when the browser has no room for it', async (stage, kind) => {
  const files = many('level', 12, 1_000_000);
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  // Firefox takes its limit (in KiB) from its preferences, Chromium from the driver.
  const visitor = await stage.visitor(kind, { prefs: { 'dom.quotaManager.temporaryStorage.fixedLimit': QUOTA >> 10 } });
  if (kind === 'chromium') {
    const session = await visitor.page.createCDPSession();
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(origin.url).origin, quotaSize: QUOTA });
  }
  await visitor.enter(origin.url);
  await visitor.consent();
  const urls = Object.keys(files).map(name => site.url(origin.url, name));
  // What the game itself has saved, which an eviction by the browser would take along.
  await visitor.page.evaluate(async () => {
    localStorage.setItem('save', 'level 7');
    await (await caches.open('the game')).put('replay', new Response('x'.repeat(100_000)));
  });
  // What comes makes room for itself, and may then have none all the same.
  const kept = [];
  for (const round of ['first', 'second']) {
    assert.deepEqual(site.differences(await visitor.take(urls), origin.url), [], round);
    kept.push((await visitor.inspect()).store.bytes);
  }
  assert.ok(Math.max(...kept) > 0 && Math.max(...kept) <= QUOTA, `what fits is kept: ${kept} bytes`);
  await visitor.goto(origin.url);
  await visitor.ready();
  const saved = await visitor.page.evaluate(async () => [localStorage.getItem('save'), (await (await caches.match('replay')).text()).length]);
  assert.deepEqual(saved, ['level 7', 100_000], 'what the site itself keeps is still there');
  assert.deepEqual(site.differences(await visitor.take(urls.slice(0, 4)), origin.url), [], 'after another navigation');
});

const ROOM = 20_000_000, SHELL = 4_000_000;
const CONFIG = '[policy]\nmode = "offload"\n[precache]\ninclude = ["index.html", "shell-*"]\n';

/** A version of a game: a shell that is to be whole, and levels that come and go. */
function release(number) {
  const shell = Array.from({ length: 4 }, (_, i) => [`shell-${i}.bin`, randomBytes(SHELL / 4, `shell ${i} of ${number}`)]);
  return { 'index.html': html(`Release ${number}`), ...Object.fromEntries(shell) };
}

story('what makes a version whole stays, whatever else comes, and an update that has no room waits for it', async (stage, kind) => {
  const site = await stage.site({ ...release(1), ...many('level', 20, 1_000_000) }, { config: CONFIG });
  let origin = await stage.serve(site);
  // Firefox gives a site a fifth of its limit.
  const visitor = await stage.visitor(kind, { prefs: { 'dom.quotaManager.temporaryStorage.fixedLimit': 5 * ROOM >> 10 } });
  if (kind === 'chromium') {
    const session = await visitor.page.createCDPSession();
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(origin.url).origin, quotaSize: ROOM });
  }
  const shell = Object.keys(release(1)).filter(name => name.startsWith('shell'));
  const levels = site.files().filter(name => name.startsWith('level'));
  const urls = names => names.map(name => site.url(origin.url, name));
  const again = async () => {
    await visitor.page.reload();
    await visitor.ready();
  };
  await visitor.enter(origin.url);
  const { version } = await visitor.stats();
  // The game itself takes what is left but for 1.5 MB: the next shell has no room beside this one.
  await visitor.page.evaluate(async room => {
    const cache = await caches.open('the game');
    const replay = new Uint8Array(500_000);
    for (let i = 0; i < room / replay.length; i++) {
      // Zeros would be compressed.
      for (let at = 0; at < replay.length; at += 50_000) crypto.getRandomValues(replay.subarray(at, at + 50_000));
      await cache.put(`replay-${i}`, new Response(replay));
    }
  }, ROOM - SHELL - 1_500_000);
  for (const names of [levels, levels]) assert.deepEqual(site.differences(await visitor.take(urls(names)), origin.url), []);
  const { store } = await visitor.inspect();
  stage.report(`${store.bytes} bytes are kept, of ${store.budget}`);
  assert.ok(store.bytes <= Math.min(store.budget, ROOM) && store.bytes >= SHELL);
  await origin.stop();
  await again();
  assert.deepEqual(site.differences(await visitor.take(urls(shell)), origin.url), [], 'without the origin, after all levels');

  const old = Object.fromEntries(shell.map(name => [name, site.sha256(name)]));
  site.write(release(2));
  const second = await site.publish({ config: CONFIG });
  origin = await stage.serve(site, { port: origin.port });
  await until('the update to find no room', async () => {
    await again();
    return (await visitor.inspect()).errors.some(({ text }) => /no room/.test(text));
  });
  assert.equal((await visitor.stats()).version, version, 'the older version stays');
  assert.equal(await visitor.page.title(), 'Release 1');
  // By the worker's own count: the browser may have the files in its HTTP cache.
  const fetched = async () => (await visitor.stats()).bytes.origin;
  const before = await fetched();
  await again();
  assert.equal(await fetched(), before, 'it is not tried again at once');
  await visitor.stopWorker();
  await until('the next worker to find out', async () => {
    await again();
    return (await visitor.inspect()).errors.some(({ text }) => /no room/.test(text));
  });
  assert.ok(await fetched() <= before, 'nor by the next worker');
  await origin.stop();
  await again();
  const kept = await visitor.take(urls(shell));
  assert.deepEqual(kept.map(({ sha256 }) => sha256), Object.values(old), 'and is whole');

  // Firefox may have no room to delete either, for a while.
  await visitor.wait('the game to be deleted', () => caches.delete('the game').catch(() => false));
  origin = await stage.serve(site, { port: origin.port });
  await until('the update, now that there is room', async () => {
    // Firefox may take a while to have it.
    await again();
    return (await visitor.stats()).version === second.version;
  });
  await again();
  await origin.stop();
  await again();
  assert.equal(await visitor.page.title(), 'Release 2');
  assert.deepEqual(site.differences(await visitor.take(urls(shell)), origin.url), [], 'the new version, whole, without the origin');

  // Other files push out what made the older version whole, and nothing that makes this one whole.
  origin = await stage.serve(site, { port: origin.port });
  assert.deepEqual(site.differences(await visitor.take(urls(levels)), origin.url), []);
  const keeps = number => visitor.page.evaluate(async starts => {
    const text = bytes => new TextDecoder('latin1').decode(bytes);
    const cache = await caches.open((await caches.keys()).find(name => name.startsWith('peerage:')));
    const kept = starts.map(() => false);
    for (const { url } of await cache.keys()) {
      if (!/\/store\/[0-9a-f]{16}$/.test(url)) continue;
      const stored = await cache.match(url);
      // It may be deleted just now.
      if (!stored) continue;
      const segment = text(await stored.arrayBuffer());
      for (const [at, start] of starts.entries()) kept[at] ||= segment.includes(text(new Uint8Array(start)));
    }
    return kept;
  }, shell.map(name => [...release(number)[name].subarray(0, 16)]));
  assert.deepEqual([await keeps(1), await keeps(2)], [shell.map(() => false), shell.map(() => true)]);
});
