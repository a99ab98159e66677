// The tracker is stopped: the site is as fast as without peers, and neighbours that are there stay there.
import assert from 'node:assert/strict';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = { ...many('x', 40, 100_000), ...many('y', 40, 100_000), ...many('z', 4, 500_000) };

/** A site whose only tracker is a server of its own, so that it can be stopped alone. */
async function withTracker(stage) {
  const empty = stage.folder('tracker');
  const tracker = await stage.serve(empty);
  const url = tracker.url.replace('http', 'ws');
  const site = await stage.site(files, { config: `[trackers]\nurls = ["${url}peerage/tracker"]\n` });
  return { tracker, site, origin: await stage.serve(site) };
}

story('without its tracker the site is as fast as without peers', async (stage, kind) => {
  const { tracker, site, origin } = await withTracker(stage);
  await tracker.stop();
  const urls = letter => Object.keys(files).filter(name => name.startsWith(letter)).map(name => site.url(origin.url, name));
  const median = times => [...times].sort((a, b) => a - b)[times.length >> 1];
  const figures = { with: [], without: [] };
  const visitors = {};
  for (const way of ['with', 'without']) {
    visitors[way] = await stage.visitor(kind, { name: `${way} consent` });
    await visitors[way].enter(origin.url);
    await visitors[way].consent(way === 'with');
  }
  for (const letter of ['x', 'y']) {
    for (const way of ['with', 'without']) {
      const answers = await visitors[way].take(urls(letter), { parallel: 1 });
      assert.deepEqual(site.differences(answers, origin.url), []);
      figures[way].push(...answers.map(({ ms }) => ms));
    }
  }
  const [withPeers, withoutPeers] = [median(figures.with), median(figures.without)];
  stage.report(`100 KB from the origin, median: ${withPeers.toFixed(1)} ms with consent and a dead tracker, ${withoutPeers.toFixed(1)} ms without consent`);
  assert.ok(withPeers <= withoutPeers * 2 + 10, `${withPeers} ms against ${withoutPeers} ms`);
});

story('neighbours that are connected outlive their tracker', async (stage, kind) => {
  const { tracker, site, origin } = await withTracker(stage);
  const names = Object.keys(files).filter(name => name.startsWith('z'));
  const urls = names.map(name => site.url(origin.url, name));
  const giver = await stage.visitor(kind, { name: 'giver' });
  await giver.enter(origin.url);
  await giver.consent();
  assert.deepEqual(site.differences(await giver.take(urls), origin.url), []);
  const taker = await stage.visitor(kind, { name: 'taker' });
  await taker.enter(origin.url);
  await taker.consent();
  await taker.neighbours(1);
  await tracker.stop();
  await stage.takesFromPeers(taker, origin, site, names);
});
