// Assets on a host of their own, as sites with a CDN have them: listed by the origin, fetched from there, verified, kept
// and shared like the rest. What that host changes is refused, as Subresource Integrity would.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { served } from './lib/peerage.mjs';
import { html, many, randomBytes, writeFiles } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const assets = Object.fromEntries(Object.entries(many('level', 4, 700_000)).map(([name, size]) => [`assets/${name}`, size]));
assets['assets/engine.js'] = 'window.engine = "runs";\n';
assets['assets/größe & co.txt'] = 'a name that must be escaped\n';

story('files on the site\'s CDN are verified, kept and shared, and refused where they differ', async (stage, kind) => {
  const hosted = stage.folder('cdn');
  writeFiles(hosted, { ...assets, 'other/unlisted.bin': 1000, _headers: '/*\n  Access-Control-Allow-Origin: *\n  Cross-Origin-Resource-Policy: cross-origin\n' });
  const cdn = await stage.serve(hosted);
  const site = await stage.site({ 'index.html': html('Levels'), ...assets }, { config: `[cross_origin]\n"${cdn.url}assets/" = "assets"\n` });
  const origin = await stage.serve(site);
  const names = Object.keys(assets);
  const urls = names.map(name => site.url(cdn.url, name));
  const fromCdn = async before => served(before, await cdn.counters(), name => name.startsWith('/assets/'));

  const first = await stage.visitor(kind, { name: 'first' });
  await first.enter(origin.url);
  await first.consent();
  const start = await cdn.counters();
  assert.deepEqual(site.differences(await first.take(urls), cdn.url), []);
  assert.equal((await fromCdn(start)).requests, names.length, 'each was fetched from the CDN once');
  assert.deepEqual(site.differences(await first.take(urls), cdn.url), []);
  const script = url => new Promise((resolve, reject) => {
    document.head.append(Object.assign(document.createElement('script'), { src: url, onload: () => resolve(window.engine), onerror: reject }));
  });
  assert.equal(await first.page.evaluate(script, site.url(cdn.url, 'assets/engine.js')), 'runs');
  assert.equal((await fromCdn(start)).requests, names.length, 'and then from the cache');
  assert.equal((await first.explain(urls[0])).verified, true);
  const elsewhere = await cdn.counters();
  await first.take([`${cdn.url}other/unlisted.bin`]);
  await first.take([`${cdn.url}other/unlisted.bin?again`]);
  assert.equal(served(elsewhere, await cdn.counters(), name => name.startsWith('/other/')).requests, 2, 'what is not named is left alone');

  const second = await stage.visitor(kind, { name: 'second' });
  await second.enter(origin.url);
  await second.consent();
  await second.neighbours(1);
  const before = await cdn.counters();
  assert.deepEqual(site.differences(await second.take(urls), cdn.url), []);
  const asked = await fromCdn(before);
  stage.report(`the second visitor took ${asked.bytes} bytes from the CDN, ${(await second.stats()).bytes.peer} from the first`);
  assert.ok(asked.bytes < 2_800_000 / 2, `${asked.bytes} bytes came from the CDN`);

  // The CDN serves other bytes than the origin listed.
  writeFileSync(path.join(hosted, 'assets/level-0.bin'), randomBytes(700_000, 'another'));
  const third = await stage.visitor(kind, { name: 'third' });
  await third.enter(origin.url);
  await third.consent(false);
  const [refused, right] = await third.take(urls.slice(0, 2));
  assert.ok(refused.error, `bytes that the origin did not list reached the page: ${JSON.stringify(refused)}`);
  assert.equal(right.sha256, site.sha256('assets/level-1.bin'));
  assert.ok((await third.stats()).rejected > 0);

  await cdn.stop();
  await origin.stop();
  assert.deepEqual(site.differences(await first.take(urls), cdn.url), [], 'offline');
});
