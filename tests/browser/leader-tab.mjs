// One tab of a browser holds the mesh. When it closes or navigates away, another takes over, and all of them use it.
import assert from 'node:assert/strict';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const files = { ...many('a', 3, 400_000), ...many('b', 3, 400_000) };

story('when the leading tab closes another one leads', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const urls = letter => [0, 1, 2].map(i => site.url(origin.url, `${letter}-${i}.bin`));
  const giver = await stage.visitor(kind, { name: 'giver' });
  await giver.enter(origin.url);
  await giver.consent();
  assert.deepEqual(site.differences(await giver.take([...urls('a'), ...urls('b')]), origin.url), []);
  const first = giver.page;
  await giver.newTab(origin.url);
  await giver.ready();

  const taker = await stage.visitor(kind, { name: 'taker' });
  await taker.enter(origin.url);
  await taker.consent();
  await taker.neighbours(1);
  const leads = page => page.evaluate(() => window.storyMade.connections.length > 0);
  assert.deepEqual([await leads(first), await leads(giver.page)], [true, false], 'one tab alone makes connections');
  const takes = letter => stage.takesFromPeers(taker, origin, site, [0, 1, 2].map(i => `${letter}-${i}.bin`));
  await takes('a');

  const from = performance.now();
  await first.close();
  await until('the other tab to lead', () => leads(giver.page));
  await giver.neighbours(1);
  stage.report(`another tab leads, with a neighbour, ${Math.round(performance.now() - from)} ms after the leader closed`);
  await taker.newNeighbour(from);
  await takes('b');
});

story('a tab that does not lead takes its files through the one that does', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const urls = Object.keys(files).map(name => site.url(origin.url, name));
  const giver = await stage.visitor(kind, { name: 'giver' });
  await giver.enter(origin.url);
  await giver.consent();
  assert.deepEqual(site.differences(await giver.take(urls), origin.url), []);
  const taker = await stage.visitor(kind, { name: 'taker' });
  await taker.enter(origin.url);
  await taker.consent();
  await taker.neighbours(1);
  await taker.newTab(origin.url);
  await taker.ready();
  await stage.takesFromPeers(taker, origin, site, Object.keys(files));
  assert.deepEqual(await taker.connections(), []);
});
