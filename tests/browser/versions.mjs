// A release travels from visitor to visitor: whoever has it passes its root on, the others have the origin confirm it,
// take what has changed from their neighbours, and open the new version at their next navigation.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { withClock } from './lib/front.mjs';
import { served } from './lib/peerage.mjs';
import { html, many, randomBytes } from './lib/site.mjs';
import { EACH, PAIRS, story } from './lib/story.mjs';
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
  for (const visitor of visitors) {
    await visitor.page.evaluate(() => {
      window.updates = [];
      window.peerage.addEventListener('update', event => window.updates.push(event.detail.version));
    });
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
  for (const visitor of others) {
    await visitor.wait('its page to be told', () => window.updates.length > 0);
    assert.deepEqual(await visitor.page.evaluate(() => window.updates), [release.version], visitor.name);
  }
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

for (const offline of [true, false]) {
  const what = offline ? 'becomes current by its signature' : 'waits for the origin to confirm it';
  story(`a version that a neighbour has ${what}${offline ? ', where the owner says so' : ''}`, async (stage, from, to) => {
    const config = `[policy]\nmode = "offload"\noffline_updates = ${offline}\n`;
    const site = await stage.site({ 'index.html': html('A game'), 'level.bin': 300_000 }, { config });
    const origin = await stage.serve(site);
    // The same site and swarm under another name, whose web server is about to break.
    const front = await stage.front(origin);
    const here = await stage.visitor(from), there = await stage.visitor(to);
    for (const [visitor, url] of [[here, origin.url], [there, front.url]]) {
      await visitor.enter(url);
      await visitor.consent();
      assert.deepEqual(site.differences(await visitor.take(['level.bin'].map(name => site.url(url, name))), url), []);
    }
    await there.neighbours(1);
    const { version } = await there.stats();
    let asked = 0;
    front.when(/./, (request, response) => {
      if (request.url.endsWith('/root.jws')) asked += 1;
      response.destroy();
    });

    const level = site.sha256('level.bin');
    site.write({ 'level.bin': randomBytes(300_000, 'another level') });
    const release = await site.publish({ config });
    await here.page.reload();
    await here.ready();
    await until('the first visitor to have the release', async () => (await here.stats()).version === release.version);
    await here.page.reload();
    await here.ready();
    assert.deepEqual(site.differences(await here.take([site.url(origin.url, 'level.bin')]), origin.url), []);
    if (!offline) {
      await until('the other one to ask its origin', () => asked > 0);
      assert.equal((await there.stats()).version, version);
      await there.page.reload();
      await there.ready();
      const [{ sha256 }] = await there.take([site.url(front.url, 'level.bin')]);
      assert.equal(sha256, level);
      return;
    }
    await until('the other one to have the release', async () => (await there.stats()).version === release.version);
    const [{ sha256 }] = await there.take([site.url(front.url, 'level.bin')]);
    assert.equal(sha256, level, 'a tab keeps the version that it was opened with');
    await until('the other one to hold what has changed', async () => (await there.stats()).bytes.peer >= 300_000);
    await there.page.reload();
    await there.ready();
    const said = 'the new version, without a word of the web server';
    assert.deepEqual(site.differences(await there.take([site.url(front.url, 'level.bin')]), front.url), [], said);
  }, { over: EACH.length > 1 ? PAIRS.filter(([from, to]) => from !== to) : PAIRS });
}

story('who comes back takes what has changed in the shell from neighbours; alone, from the origin', async (stage, from, to) => {
  const config = '[precache]\ninclude = ["shell-*.bin"]\n';
  const shell = many('shell', 4, 200_000);
  const site = await stage.site({ ...shell, 'level.bin': 1000 }, { config });
  const origin = await stage.serve(site);
  const urls = Object.keys(shell).map(name => site.url(origin.url, name));
  const here = await stage.visitor(from), there = await stage.visitor(to);
  for (const visitor of [here, there]) {
    await visitor.enter(origin.url);
    await visitor.consent();
  }
  await there.neighbours(1);
  const release = async seed => {
    await there.goto('about:blank');
    site.write({ 'shell-1.bin': randomBytes(200_000, `${seed} 1`), 'shell-2.bin': randomBytes(200_000, `${seed} 2`) });
    return site.publish({ config });
  };
  const comesBack = async version => {
    const before = await origin.counters();
    await there.goto(origin.url);
    await there.ready();
    await until('who comes back to have the release', async () => (await there.stats()).version === version);
    const sent = served(before, await origin.counters(), path => path.startsWith('/shell-'));
    await there.page.reload();
    await there.ready();
    assert.deepEqual(site.differences(await there.take(urls), origin.url), []);
    return sent;
  };

  const first = await release('a release');
  await here.ask('refresh');
  assert.equal((await here.stats()).version, first.version);
  assert.deepEqual(await comesBack(first.version), { requests: 0, bytes: 0 }, 'the shell was asked of the origin');
  assert.ok((await there.stats()).bytes.peer >= 400_000, JSON.stringify(await there.stats()));

  // Nobody is there.
  const second = await release('another release');
  await here.close();
  const { bytes } = await comesBack(second.version);
  assert.ok(bytes >= 400_000, `${bytes} bytes`);
}, { over: EACH.length > 1 ? PAIRS.filter(([from, to]) => from !== to) : PAIRS });

story('a renamed file, and a release that is taken back, cost no bytes of files; what no tab needs of them goes', async (stage, kind) => {
  // A new folder at the top of a site is the network's until the browser has the script that knows it.
  const old = Object.fromEntries(Object.entries({ 'level.bin': 2_000_000, ...many('sound', 20, 20_000) }).map(([name, size]) => [`files/${name}`, size]));
  const site = await stage.site(old);
  const origin = await stage.serve(site);
  const front = await stage.front(origin);
  withClock(front);
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  const first = { page: visitor.page, level: site.sha256('files/level.bin') };
  await visitor.newTab(front.url);
  const take = async names => {
    await visitor.page.reload();
    await visitor.ready();
    const before = await origin.counters();
    assert.deepEqual(site.differences(await visitor.take(names.map(name => site.url(front.url, name))), front.url), []);
    return served(before, await origin.counters(), path => /\.bin$/.test(path)).bytes;
  };
  const update = async () => {
    const { version } = await site.publish();
    await until('the visitor to have the release', async () => {
      await visitor.page.reload();
      await visitor.ready();
      return (await visitor.stats()).version === version;
    });
  };
  assert.ok(await take(Object.keys(old)) > 2_000_000);

  const names = site.files().filter(name => name.endsWith('.bin'));
  const moved = names.map(name => name.replace('files/', 'files/moved/'));
  mkdirSync(path.join(site.folder, 'files/moved'));
  for (const [at, name] of names.entries()) renameSync(path.join(site.folder, name), path.join(site.folder, moved[at]));
  await update();
  assert.equal(await take(moved), 0, 'moved to another folder');
  const good = await visitor.manifestParts();

  const before = readFileSync(path.join(site.folder, 'files/moved/level.bin'));
  site.write({ 'files/moved/level.bin': randomBytes(2_000_000, 'a bad level') });
  await update();
  const bad = await take(moved);
  assert.ok(bad >= 2_000_000, `the bad release: ${bad} bytes`);
  const useless = (await visitor.manifestParts()).filter(part => !good.includes(part));
  assert.equal(useless.length, 2, `an index and a shard of the bad release: ${useless}`);
  site.write({ 'files/moved/level.bin': before });
  await update();
  assert.equal(await take(moved), 0, 'the old tree as a new version');

  // Two hours later: of the tabs only those of the first version and of the newest are still there.
  const kept = await visitor.manifestParts();
  assert.ok(useless.every(part => kept.includes(part)), 'a tab of the bad release may come back');
  await visitor.page.evaluate(() => navigator.serviceWorker.controller.postMessage({ hours: 2 }));
  site.write({ 'files/another.bin': 1000 });
  const { version } = await site.publish();
  await visitor.ask('refresh');
  assert.equal((await visitor.stats()).version, version);
  await until('what nobody needs to be deleted', async () => !(await visitor.manifestParts()).some(part => useless.includes(part)));
  const left = await visitor.manifestParts();
  assert.deepEqual(kept.filter(part => !left.includes(part)), useless, 'and nothing else');
  await origin.stop();
  await visitor.stopWorker();
  visitor.page = first.page;
  const [{ sha256 }] = await visitor.take([site.url(front.url, 'files/level.bin')]);
  assert.equal(sha256, first.level, 'a tab of the first version, without the origin');
});
