// A root that has expired ends nothing: what is stored is served, the visitor is told, the origin is asked, and its next root
// is good again.
import assert from 'node:assert/strict';
import { withClock } from './lib/front.mjs';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

/** How long a root is good, in hours (`peerage publish`). */
const LIFETIME_H = 365 * 24;
/** The worker's clock is set to so many seconds before the first root's end: after them that has expired, and one that is made then has not. */
const LEFT_S = 25;

story('an expired root serves what is stored, says so and asks the origin, whose next one heals it', async (stage, kind) => {
  const site = await stage.site({ 'index.html': html('A shop'), 'goods.bin': 100_000 });
  const origin = await stage.serve(site);
  const front = await stage.front(origin);
  withClock(front);
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  const all = site.files().map(name => site.url(front.url, name));
  assert.deepEqual(site.differences(await visitor.take(all), front.url), []);
  const root = async () => (await visitor.inspect()).root;
  const { issued, expired } = await root();
  assert.equal(expired, false);
  const ahead = LIFETIME_H * 3600 - LEFT_S;
  await visitor.page.evaluate(hours => navigator.serviceWorker.controller.postMessage({ hours }), ahead / 3600);
  await until('the root to expire', async () => (await root()).expired);

  // The web server breaks.
  let asked = 0;
  const repair = front.when(/./, (request, response) => {
    asked += request.url === '/peerage/root.jws' ? 1 : 0;
    response.destroy();
  });
  await visitor.page.reload();
  await visitor.ready();
  assert.equal(await visitor.page.title(), 'A shop');
  assert.deepEqual(site.differences(await visitor.take(all), front.url), [], 'what is stored');
  assert.ok(asked > 0, 'the origin is asked');
  const { errors, passing } = await visitor.inspect();
  assert.equal(passing, null);
  assert.ok(errors.some(({ text }) => /the root has expired/.test(text)), JSON.stringify(errors));
  const shop = visitor.page;
  await visitor.newTab(new URL('peerage/inspector', front.url).href);
  await visitor.wait('the inspector to say so', () => /expired on/.test(document.body.textContent));
  visitor.page = shop;

  repair();
  site.write({ 'news.bin': 1000 });
  const release = await site.publish();
  await until('the fresh root to be taken up', async () => {
    await visitor.page.reload();
    await visitor.ready();
    return (await visitor.stats()).version === release.version;
  });
  const fresh = await root();
  assert.ok(fresh.issued > issued);
  assert.equal(fresh.expired, false, JSON.stringify(fresh));
  assert.deepEqual(site.differences(await visitor.take([...all, site.url(front.url, 'news.bin')]), front.url), []);
});
