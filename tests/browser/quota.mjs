// A full disk or a small quota: nothing can be kept, and the site works all the same.
import assert from 'node:assert/strict';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

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
  for (const round of ['first', 'second']) {
    assert.deepEqual(site.differences(await visitor.take(urls), origin.url), [], round);
  }
  const { store } = await visitor.inspect();
  assert.ok(store.bytes > 0 && store.bytes <= QUOTA, `what fits is kept: ${store.bytes} bytes`);
  await visitor.goto(origin.url);
  await visitor.ready();
  const saved = await visitor.page.evaluate(async () => [localStorage.getItem('save'), (await (await caches.match('replay')).text()).length]);
  assert.deepEqual(saved, ['level 7', 100_000], 'what the site itself keeps is still there');
  assert.deepEqual(site.differences(await visitor.take(urls.slice(0, 4)), origin.url), [], 'after another navigation');
});
