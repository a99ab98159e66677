// A file that a release drops is given to peers for as long as a tab of the older version is there, and to nobody after that.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { withClock } from './lib/front.mjs';
import { html, many } from './lib/site.mjs';
import { EACH, PAIRS, story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

story('what a release drops is given to nobody once no tab needs it, and what it keeps still is', async (stage, from, to) => {
  const config = '[policy]\nmode = "offload"\n';
  // Small files lie together in a segment.
  const files = many('level', 6, 30_000);
  const site = await stage.site({ 'index.html': html('A game'), ...files }, { config });
  const origin = await stage.serve(site);
  const front = await stage.front(origin);
  withClock(front);
  const here = await stage.visitor(from), there = await stage.visitor(to);
  const urls = base => Object.keys(files).map(name => site.url(base, name));
  await here.enter(front.url);
  await here.consent();
  assert.deepEqual(site.differences(await here.take(urls(front.url)), front.url), []);
  const old = await here.manifestParts();
  await there.enter(origin.url);
  await there.consent();
  await there.neighbours(1);
  await until('the other one to be told of all files', async () => (await there.inspect()).neighbours.some(({ have }) => have >= 6));

  // The tab over there stays what it is: a tab of the first version.
  const hashes = Object.keys(files).map(name => site.sha256(name));
  // A root may come beside the file, from either.
  const isFromPeer = async at => {
    const before = (await there.stats()).bytes;
    const [{ sha256 }] = await there.take([urls(origin.url)[at]]);
    assert.equal(sha256, hashes[at]);
    const after = (await there.stats()).bytes;
    const all = after.peer - before.peer + after.origin - before.origin;
    assert.ok(all >= 30_000 && all < 31_000, `the file, and at most a root: ${all} bytes`);
    return after.peer - before.peer >= 30_000;
  };
  for (const at of [0, 1, 2]) rmSync(path.join(site.folder, `level-${at}.bin`));
  const release = await site.publish({ config });
  await here.page.reload();
  await here.ready();
  await until('the release to be here', async () => (await here.stats()).version === release.version);
  const moment = performance.now();
  await here.page.reload();
  await here.ready();
  await there.newNeighbour(moment);
  await there.neighbours(1);
  assert.equal(await isFromPeer(0), true, 'a tab of the older version may come back');

  // The tab of the older version went with the reload. Two hours later:
  await here.page.evaluate(() => navigator.serviceWorker.controller.postMessage({ hours: 2 }));
  site.write({ 'another.bin': 1000 });
  await site.publish({ config });
  await here.ask('refresh');
  await until('the older version to be forgotten', async () => {
    const left = await here.manifestParts();
    return !old.every(part => left.includes(part));
  });
  // What went is written down before the part of the manifest that it could be told by.
  await here.stopWorker();
  assert.equal(await isFromPeer(1), false, 'dropped');
  assert.equal(await isFromPeer(2), false, 'dropped');
  assert.equal(await isFromPeer(3), true, 'still listed, in the same segment');
}, { over: EACH.length > 1 ? PAIRS.filter(([from, to]) => from !== to) : PAIRS });
