// A release travels from visitor to visitor: whoever has it passes its root on, the others have the origin confirm it,
// take what has changed from their neighbours, and open the new version at their next navigation.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { served } from './lib/peerage.mjs';
import { many } from './lib/site.mjs';
import { EACH, story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const VISITORS = 5;
const files = { 'game.bin': 6_000_000, ...many('level', 12, 100_000) };

story('a release reaches visitors through each other, and the origin sends its changes about once', async (stage, ...kinds) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const urls = Object.keys(files).map(name => site.url(origin.url, name));
  const visitors = [];
  for (let i = 0; i < VISITORS; i++) {
    const visitor = await stage.visitor(kinds[i % kinds.length], { name: `visitor ${i + 1}, ${kinds[i % kinds.length]}` });
    await visitor.enter(origin.url);
    await visitor.consent();
    if (i > 0) await visitor.neighbours(1);
    assert.deepEqual(site.differences(await visitor.take(urls), origin.url), [], visitor.name);
    visitors.push(visitor);
  }
  const { version } = await visitors[0].stats();
  const taken = await Promise.all(visitors.map(async visitor => (await visitor.stats()).bytes.peer));

  const game = readFileSync(path.join(site.folder, 'game.bin'));
  game.fill(7, 3_000_000, 3_050_000);
  site.write({ 'game.bin': game, 'level-3.bin': 'another level\n'.repeat(5000) });
  const release = await site.publish();
  assert.ok(release.version > version && release.new_bytes > 50_000 && release.new_bytes < 3_000_000, JSON.stringify(release));

  const before = await origin.counters();
  const [first, ...others] = visitors;
  await first.page.reload();
  await first.ready();
  await until('the first visitor to have the release', async () => (await first.stats()).version === release.version);
  await first.page.reload();
  await first.ready();
  const from = performance.now();
  assert.deepEqual(site.differences(await first.take(urls), origin.url), []);

  // They do nothing, and have it.
  for (const visitor of others) {
    await until(`${visitor.name} to have the release`, async () => (await visitor.stats()).version === release.version);
  }
  const heard = performance.now() - from;
  for (const [at, visitor] of others.entries()) {
    const changes = async () => (await visitor.stats()).bytes.peer - taken[at + 1] >= release.new_bytes;
    await until(`${visitor.name} to have taken what has changed`, changes);
  }
  const followed = performance.now() - from;
  const sent = served(before, await origin.counters(), path => /\/(game|level)/.test(path));
  const manifest = served(before, await origin.counters(), path => /\/peerage\/(shard|index|delta)\//.test(path));
  const roots = served(before, await origin.counters(), path => path.endsWith('/root.jws'));
  stage.report(`${release.new_bytes} changed bytes: ${sent.bytes} from the origin for ${VISITORS} visitors; manifest ${manifest.bytes} bytes in ${manifest.requests} requests, roots ${roots.bytes} bytes in ${roots.requests}`);
  stage.report(`${Math.round(heard)} ms after the first had taken it everybody knew the release, ${Math.round(followed)} ms after it everybody held what had changed`);
  assert.ok(sent.bytes <= 1.5 * release.new_bytes, `${sent.bytes} of ${release.new_bytes} changed bytes came from the origin`);

  assert.ok(manifest.requests <= 2 * VISITORS - 2, `the manifest was asked of the origin ${manifest.requests} times`);

  // Without the origin everybody opens the new version.
  await origin.stop();
  for (const visitor of others) {
    await visitor.page.reload();
    await visitor.ready();
    assert.deepEqual(site.differences(await visitor.take(urls), origin.url), [], `${visitor.name}, without the origin`);
  }
}, { over: EACH.length > 1 ? [EACH.flat()] : EACH });

story('who wants neighbours and has none asks the origin for news', async (stage, kind) => {
  const site = await stage.site({ 'level.bin': 1000 });
  const origin = await stage.serve(site);
  const roots = async () => (await origin.counters())['/peerage/root.jws'].requests;
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const before = await roots();
  await visitor.ask('news');
  assert.equal(await roots(), before, 'without consent there is nobody to hear of it from anyway');
  await visitor.consent();
  site.write({ 'level.bin': 2000 });
  const { version } = await site.publish();
  await visitor.ask('news');
  assert.equal((await visitor.stats()).version, version);
  const other = await stage.visitor(kind, { name: 'other' });
  await other.enter(origin.url);
  await other.consent();
  await visitor.neighbours(1);
  const asked = await roots();
  await visitor.ask('news');
  assert.equal(await roots(), asked, 'neighbours tell');
});
