// A peer that sends corrupted, empty, oversize or unasked pieces, or breaks the protocol otherwise, is dropped; the page
// gets the right bytes all the same, and nothing wrong gets into its cache.
import assert from 'node:assert/strict';
import http from 'node:http';
import { ONLY_LATE, WAYS, hostilePeer } from './lib/hostile-peer.mjs';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

/** Each file is below the smallest piece, so that its digest is its only piece's. */
const SIZE = 50_000;
const PER_WAY = 6;

/** A page of nobody's, for the hostile peer to live in. */
async function elsewhere(stage) {
  const server = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Elsewhere</title><link rel="icon" href="data:,">'));
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  const origin = {
    url: `http://127.0.0.1:${server.address().port}/`,
    stop: () => { server.closeAllConnections(); return new Promise(resolve => server.close(resolve)); },
  };
  stage.origins.push(origin);
  return origin;
}

story('a peer that misbehaves is dropped and the page gets the right bytes', async (stage, kind) => {
  const files = Object.assign({}, ...WAYS.map(way => many(way.replaceAll(' ', '-'), PER_WAY, SIZE)));
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const nowhere = await elsewhere(stage);
  const visitor = await stage.visitor(kind, { name: 'visitor' });
  await visitor.enter(origin.url);
  await visitor.consent();
  const { infoHash, site: id, policy: { trackers } } = await visitor.ask('hello');

  const enemy = await stage.visitor(kind, { name: 'enemy' });
  for (const way of WAYS) {
    const names = Object.keys(files).filter(name => name.startsWith(way.replaceAll(' ', '-')));
    await enemy.newTab(nowhere.url);
    await enemy.page.evaluate(hostilePeer, { way, tracker: trackers[0], infoHash, site: id, digests: names.map(name => site.sha256(name)) });
    await enemy.wait(`a connection for "${way}"`, () => window.hostile.hellos > 0);
    await visitor.neighbours(1);
    const before = await visitor.stats();
    const answers = await visitor.take(names.map(name => site.url(origin.url, name)));
    assert.deepEqual(site.differences(answers, origin.url), [], way);
    assert.ok((await enemy.page.evaluate(() => window.hostile.wants)) > 0, `${way}: it was never asked, so nothing was shown`);
    const slowest = Math.max(...answers.map(({ ms }) => ms));
    if (ONLY_LATE.has(way)) {
      stage.report(`${way}: right bytes, the slowest file after ${Math.round(slowest)} ms`);
    } else {
      // The visitor's word on it: a browser that is being flooded may hear of the end much later.
      await visitor.wait(`to drop the peer for "${way}"`, async () => (await window.peerage.stats()).peers === 0);
      stage.report(`${way}: dropped, right bytes, the slowest file after ${Math.round(slowest)} ms`);
    }
    if (way === 'corrupt') assert.ok((await visitor.stats()).rejected > before.rejected, 'what was rejected is counted');
    assert.equal((await visitor.stats()).bytes.peer, before.bytes.peer, `${way}: nothing of it counts as received`);
    await enemy.page.close();
    await visitor.wait(`the peer to be gone after "${way}"`, async () => (await window.peerage.stats()).peers === 0);
    // What was taken is in the cache, and right.
    assert.deepEqual(site.differences(await visitor.take(names.map(name => site.url(origin.url, name))), origin.url), [], `${way}, again`);
  }
}, { timeout: 400_000 });
