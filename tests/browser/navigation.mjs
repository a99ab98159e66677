// The mesh lives and dies with a document: after a reload, a link to another page and a return by the back button it is
// there again, uploads go on, and the back/forward cache still works.
import assert from 'node:assert/strict';
import { html, many } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { PATIENCE, until } from './lib/wait.mjs';

const files = {
  'index.html': html('One', '<a href="two.html">two</a>'),
  'two.html': html('Two', '<a href="./">one</a>'),
  ...many('a', 2, 400_000), ...many('b', 2, 400_000), ...many('c', 2, 400_000), ...many('d', 2, 400_000),
};

story('the mesh is there again after a reload, a link and the back button', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const giver = await stage.visitor(kind, { name: 'giver' });
  await giver.enter(origin.url);
  await giver.consent();
  const urls = letter => [0, 1].map(i => site.url(origin.url, `${letter}-${i}.bin`));
  for (const letter of 'abcd') assert.deepEqual(site.differences(await giver.take(urls(letter)), origin.url), []);

  const taker = await stage.visitor(kind, { name: 'taker' });
  await taker.enter(origin.url);
  await taker.consent();
  await taker.neighbours(1);
  const takes = (letter, when) => stage.takesFromPeers(taker, origin, site, [0, 1].map(i => `${letter}-${i}.bin`), { when });
  await takes('a', 'at first');

  // The giver's document changes, and uploads must go on: both sides are asked.
  const again = async (what, change) => {
    const before = (await giver.stats()).bytes.uploaded;
    const from = performance.now();
    await change();
    await giver.ready();
    await giver.neighbours(1);
    stage.report(`${what}: the mesh is there again after ${Math.round(performance.now() - from)} ms`);
    await taker.newNeighbour(from);
    return () => until(`uploads to go on after ${what}`, async () => (await giver.stats()).bytes.uploaded > before);
  };
  const click = async () => {
    await Promise.all([giver.page.waitForNavigation({ timeout: PATIENCE }), giver.page.click('a')]);
  };
  let uploaded = await again('a reload', () => giver.page.reload());
  await takes('b', 'after a reload');
  await uploaded();
  uploaded = await again('a link', click);
  await takes('c', 'after a link');
  await uploaded();
  uploaded = await again('the back button', () => giver.back('One'));
  await takes('d', 'after the back button');
  await uploaded();
});

// Firefox decides when a navigation starts, and an open connection counts until some time after it is closed: there the
// tab that leads is loaded anew, out of the service worker's cache, and the other tabs are kept.
for (const leads of [true, false]) {
  story(`the back/forward cache keeps ${leads ? 'the tab that leads' : 'a tab that does not lead'}`, async (stage, kind) => {
    const site = await stage.site(files);
    const origin = await stage.serve(site);
    const other = await stage.visitor(kind, { name: 'other' });
    await other.enter(origin.url);
    await other.consent();
    const visitor = await stage.visitor(kind, { name: 'visitor' });
    await visitor.enter(origin.url);
    await visitor.consent();
    await visitor.neighbours(1);
    if (!leads) {
      await visitor.newTab(origin.url);
      await visitor.ready();
    }
    await visitor.page.evaluate(() => {
      window.kept = 'still here';
      addEventListener('pageshow', event => { window.persisted = event.persisted; });
    });
    await Promise.all([visitor.page.waitForNavigation({ timeout: PATIENCE }), visitor.page.click('a')]);
    await visitor.ready();
    const from = performance.now();
    await visitor.back('One');
    const { kept, persisted, reasons } = await visitor.page.evaluate(() => ({
      kept: window.kept, persisted: window.persisted,
      reasons: JSON.stringify(performance.getEntriesByType('navigation')[0]?.notRestoredReasons ?? null),
    }));
    if (kind === 'chromium' || !leads) {
      assert.equal(kept, 'still here', `not kept: ${reasons}`);
      assert.equal(persisted, true);
    }
    await visitor.ready();
    await visitor.neighbours(1);
    stage.report(`a neighbour ${Math.round(performance.now() - from)} ms after the return`);
  });
}

story('a document that comes out of the back/forward cache is of its own version after a release', async (stage, kind) => {
  const pages = number => ({
    'index.html': html('One', `<p>${number}</p><a href="two.html">two</a>`), 'two.html': html('Two', `<p>${number}</p>`),
    'lazy.txt': `lazy ${number}`,
  });
  const site = await stage.site(pages(1));
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  await visitor.page.evaluate(() => { window.kept = 'still here'; });
  const lazy = () => visitor.page.evaluate(async () => (await fetch('lazy.txt')).text());
  site.write(pages(2));
  const { version } = await site.publish();
  await Promise.all([visitor.page.waitForNavigation({ timeout: PATIENCE }), visitor.page.click('a')]);
  await visitor.ready();
  await until('the release', async () => (await visitor.stats()).version === version);
  assert.equal(await lazy(), 'lazy 2');
  await visitor.stopWorker();
  await visitor.back('One');
  const kept = await visitor.page.evaluate(() => window.kept ?? 'loaded anew');
  const shown = await visitor.page.evaluate(() => document.querySelector('p').textContent);
  stage.report(`back: ${kept}, a document of release ${shown}`);
  assert.equal(await lazy(), `lazy ${shown}`);
});
