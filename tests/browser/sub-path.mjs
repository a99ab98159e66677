// Everything works under a sub-path, and nothing outside it notices.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = many('level', 4, 800_000);

/** Shares `files` between two visitors of the site at `base`. */
async function shares(stage, kind, site, origin, base) {
  const urls = Object.keys(files).map(name => site.url(base, name));
  const giver = await stage.visitor(kind, { name: 'giver' });
  await giver.enter(base);
  await giver.consent();
  assert.deepEqual(site.differences(await giver.take(urls), base), []);
  const taker = await stage.visitor(kind, { name: 'taker' });
  await taker.enter(base);
  await taker.consent();
  await taker.neighbours(1);
  await stage.takesFromPeers(taker, origin, site, Object.keys(files), { base });
  return taker;
}

story('a site that lies in a folder of a larger server is shared, and its neighbours are left alone', async (stage, kind) => {
  const site = await stage.site(files, { at: 'some folder/größer', config: '[trackers]\nurls = ["/peerage/tracker"]\n' });
  writeFileSync(`${site.root}/index.html`, '<!doctype html><title>Outside</title><link rel="icon" href="data:,">');
  const origin = await stage.serve(site);
  const taker = await shares(stage, kind, site, origin, new URL('some%20folder/gr%C3%B6%C3%9Fer/', origin.url).href);
  await taker.goto(origin.url);
  assert.equal(await taker.page.evaluate(() => navigator.serviceWorker.controller), null);
  assert.equal(await taker.page.evaluate(() => 'peerage' in window), false);
});

story('a site that is served under a prefix is shared', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site, { args: ['--prefix', '/game/'] });
  await shares(stage, kind, site, origin, new URL('game/', origin.url).href);
});

story('a site that registers the worker for one of its folders has no other', async (stage, kind) => {
  const page = title => `<!doctype html><title>${title}</title><link rel="icon" href="data:,">`;
  const narrow = '<script>navigator.serviceWorker.register("/peerage-sw.js", { scope: "/app/" })</script>';
  const site = await stage.site({ 'app/index.html': page('App') + narrow, 'app/part.bin': 90_000, 'other/index.html': page('Other') });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(new URL('app/', origin.url).href);
  const registered = () => visitor.page.evaluate(async () => (
    [window.peerage?.reason, ...(await navigator.serviceWorker.getRegistrations()).map(({ scope }) => new URL(scope).pathname)]));
  assert.deepEqual(await registered(), [null, '/app/']);
  const part = site.url(origin.url, 'app/part.bin');
  assert.deepEqual(site.differences(await visitor.take([part]), origin.url), []);
  assert.equal((await visitor.explain(part)).verified, true);
  await visitor.goto(new URL('other/', origin.url).href);
  assert.equal(await visitor.page.evaluate(() => navigator.serviceWorker.controller), null);
  assert.deepEqual((await registered()).slice(1), ['/app/']);
});
