// Everything works under a sub-path, and nothing outside it notices.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { served } from './lib/peerage.mjs';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = many('level', 4, 800_000);

story('a site under a sub-path is shared like any other, and its neighbours are left alone', async (stage, kind) => {
  const site = await stage.site(files, { at: 'some folder/größer' });
  writeFileSync(`${site.root}/index.html`, '<!doctype html><title>Outside</title><link rel="icon" href="data:,">');
  const origin = await stage.serve(site);
  const base = new URL('some%20folder/gr%C3%B6%C3%9Fer/', origin.url).href;
  const urls = Object.keys(files).map(name => site.url(base, name));
  const giver = await stage.visitor(kind, { name: 'giver' });
  await giver.enter(base);
  await giver.consent();
  assert.deepEqual(site.differences(await giver.take(urls), base), []);
  const taker = await stage.visitor(kind, { name: 'taker' });
  await taker.enter(base);
  await taker.consent();
  await taker.neighbours(1);
  const before = await origin.counters();
  assert.deepEqual(site.differences(await taker.take(urls), base), []);
  assert.equal(served(before, await origin.counters(), path => path.includes('level-')).bytes, 0);

  await taker.goto(origin.url);
  assert.equal(await taker.page.evaluate(() => navigator.serviceWorker.controller), null);
  assert.equal(await taker.page.evaluate(() => 'peerage' in window), false);
});
