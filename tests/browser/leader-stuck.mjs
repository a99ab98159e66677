// A tab that hangs, or that the browser froze, keeps its Web Lock. Its heart is listened to as well, and another tab takes
// the lead from it.
import assert from 'node:assert/strict';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const leads = page => page.evaluate(() => window.peerage.leader);

story('a leading tab that hangs loses the lead, and steps back when it wakes', async (stage, kind) => {
  const site = await stage.site({});
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  await visitor.consent();
  const first = visitor.page;
  await until('the first tab to lead', () => leads(first));
  await visitor.newTab(origin.url);
  await visitor.ready();
  assert.equal(await leads(visitor.page), false, 'one tab leads');

  const from = performance.now();
  const hung = first.evaluate(() => { for (const end = performance.now() + 8000; performance.now() < end;); });
  await until('the second tab to lead', () => leads(visitor.page), { every: 20 });
  const took = performance.now() - from;
  stage.report(`another tab leads ${Math.round(took)} ms after the leader hung`);
  assert.ok(took < 7000, `it led only after ${Math.round(took)} ms, when the first tab had woken`);
  await hung;
  await until('the first tab to step back', async () => !await leads(first));
  assert.equal(await leads(visitor.page), true);
  assert.deepEqual(visitor.complaints(), []);
});

story('a tab that does not lead is kept by the back/forward cache, and leads when it is alone', async (stage, kind) => {
  const site = await stage.site({ 'index.html': html('One', '<a href="two.html">two</a>'), 'two.html': html('Two') });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind, { prefs: { 'fission.bfcacheInParent': true } });
  await visitor.enter(origin.url);
  await visitor.consent();
  const first = visitor.page;
  await until('the first tab to lead', () => leads(first));
  await visitor.newTab(origin.url);
  await visitor.ready();
  await visitor.page.evaluate(() => { window.kept = true; });
  await Promise.all([visitor.page.waitForNavigation(), visitor.page.click('a')]);
  await visitor.ready();
  await visitor.back('One');
  assert.equal(await visitor.page.evaluate(() => window.kept), true, 'kept');
  assert.equal(await leads(visitor.page), false);
  await first.close();
  await until('the tab that is left to lead', () => leads(visitor.page));
});
