// The promise that everything else stands on: a second browser that has consent, control and one neighbour takes the
// shared files it lacks from the first browser, verified, and the origin's own counters say so.
import assert from 'node:assert/strict';
import { served } from './lib/peerage.mjs';
import { html, many } from './lib/site.mjs';
import { PAIRS, story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const lazy = {
  ...many('level', 6, 1_500_000),
  'level-huge.bin': 9_000_000,
  'level-one-byte.bin': 1,
  'level-empty.bin': 0,
  'level with spaces.txt': 'a text\n'.repeat(9000),
  'level-größer € 100%?#.txt': 'signs that mean something in URLs\n'.repeat(4000),
};

story('a second browser takes at least 95 % from the first', async (stage, taker, giver) => {
  const site = await stage.site({ 'index.html': html('Levels'), ...lazy });
  const origin = await stage.serve(site);
  const urls = Object.keys(lazy).map(name => site.url(origin.url, name));
  const isLazy = path => path.startsWith('/level');
  const size = Object.keys(lazy).reduce((sum, name) => sum + site.size(name), 0);

  const first = await stage.visitor(giver, { name: `giver, ${giver}` });
  await first.enter(origin.url);
  await first.consent();
  assert.deepEqual(site.differences(await first.take(urls), origin.url), []);

  const beforeVisit = await origin.counters();
  const second = await stage.visitor(taker, { name: `taker, ${taker}` });
  await second.enter(origin.url);
  await second.consent();
  const connected = await second.neighbours(1);

  const before = await origin.counters();
  const bytesBefore = (await second.stats()).bytes;
  const from = performance.now();
  const answers = await second.take(urls);
  const took = performance.now() - from;
  const after = await origin.counters();

  assert.deepEqual(site.differences(answers, origin.url), []);
  const load = served(beforeVisit, before);
  const asked = served(before, after, isLazy);
  stage.report(`first load, before the mesh: ${load.bytes} bytes in ${load.requests} requests from the origin; neighbour after ${Math.round(connected)} ms`);
  stage.report(`then ${size} bytes asked for: ${asked.bytes} from the origin, in ${Math.round(took)} ms`);
  assert.ok(size > 18_000_000);
  assert.ok(asked.bytes <= size * 0.05, `${asked.bytes} of ${size} bytes came from the origin`);

  const { bytes, rejected } = await second.stats();
  assert.ok(bytes.peer - bytesBefore.peer >= size * 0.95, `the taker counts ${bytes.peer - bytesBefore.peer} bytes from peers`);
  assert.equal(rejected, 0);
  const told = await second.explain(site.url(origin.url, 'level-huge.bin'));
  assert.equal(told.verified, true);
  assert.ok(told.bytes.peer >= 0.95 * site.size('level-huge.bin'), JSON.stringify(told));
  await until('the uploads to be counted', async () => (await first.stats()).bytes.uploaded >= size * 0.95);

  // Asked again, the files come from the taker's own cache.
  assert.deepEqual(site.differences(await second.take(urls), origin.url), []);
  assert.equal(served(after, await origin.counters(), isLazy).bytes, 0);
  assert.deepEqual([...first.complaints(), ...second.complaints()], []);
}, { over: PAIRS });
