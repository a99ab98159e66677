// A site of more shards than a visit loads: a visit loads the parts of the manifest that it needs, an edit of one page costs a
// visitor a few of them.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { served } from './lib/peerage.mjs';
import { html } from './lib/site.mjs';
import { EACH, story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const FOLDERS = 100, PAGES = 125;
const config = '[share]\ninclude = ["**", "**/*.html"]\n';
const name = (folder, page) => `wiki/${String(folder).padStart(3, '0')}/Article ${page}.html`;
const article = (folder, page, text = '') => html(`Article ${folder}-${page}`, `<p>${folder * PAGES + page} ${text}</p>`);

function files() {
  const all = { 'index.html': html('A large site'), 'style.css': 'p { margin: 1em }' };
  for (let folder = 0; folder < FOLDERS; folder++) {
    for (let page = 0; page < PAGES; page++) all[name(folder, page)] = article(folder, page);
  }
  return all;
}

story('a visit to a large site loads the parts of the manifest that it needs, and an edit costs few', async (stage, ...kinds) => {
  const site = await stage.site(files(), { config });
  assert.ok(site.report.files > FOLDERS * PAGES && site.report.shards > 64, JSON.stringify(site.report));
  const origin = await stage.serve(site);
  const manifest = async before => served(before, await origin.counters(), path => /\/peerage\/(root|index|shard|delta)/.test(path));
  const held = [[3, 7], [3, 8], [77, 100]].map(place => name(...place));
  const urls = held.map(path => site.url(origin.url, path));

  const visitors = [];
  for (const kind of kinds) {
    const start = await origin.counters();
    const visitor = await stage.visitor(kind);
    await visitor.enter(origin.url);
    assert.deepEqual(site.differences(await visitor.take(urls), origin.url), []);
    const visit = await manifest(start);
    stage.report(`${kind}: of ${site.report.files} files in ${site.report.shards} shards a visit loads ${visit.bytes} bytes of manifest in ${visit.requests} requests`);
    assert.ok(visit.bytes < 200 * 1024, `${visit.bytes} bytes of manifest`);
    visitors.push(visitor);
  }

  const update = async (visitor, release) => {
    const before = await origin.counters();
    await visitor.page.reload();
    await until('the visitor to have the new version', async () => (await visitor.stats()).version === release.version);
    await visitor.page.reload();
    await visitor.ready();
    assert.deepEqual(site.differences(await visitor.take(urls), origin.url), []);
    const edit = await manifest(before);
    const pages = served(before, await origin.counters(), path => path.startsWith('/wiki/'));
    stage.report(`${visitor.name}: ${edit.bytes} bytes of manifest in ${edit.requests} requests, ${pages.requests} page`);
    return { edit, pages };
  };
  site.write({ [held[0]]: article(3, 7, 'edited') });
  const release = await site.publish({ config });
  assert.equal(release.new_pieces, 1);
  for (const visitor of visitors) {
    const { edit, pages } = await update(visitor, release);
    assert.equal(pages.requests, 1, 'only the page that was edited is fetched');
    assert.ok(edit.bytes < 4096, `${edit.bytes} bytes of manifest for one edit`);
  }

  // Who missed versions follows their deltas, too.
  let last;
  for (const folder of [50, 3]) {
    site.write({ [name(folder, 9)]: article(folder, 9, 'edited later') });
    last = await site.publish({ config });
  }
  const { edit, pages } = await update(visitors[0], last);
  assert.equal(pages.requests, 0, 'none of its pages was edited');
  assert.ok(edit.bytes < 4096, `${edit.bytes} bytes of manifest for two edits`);

  // Deltas that did not get to the host are done without.
  site.write({ [held[1]]: article(3, 8, 'edited') });
  last = await site.publish({ config });
  rmSync(path.join(site.folder, 'peerage/delta'), { recursive: true });
  const without = await update(visitors[1], last);
  assert.ok(without.edit.bytes < 64 * 1024, `${without.edit.bytes} bytes of manifest`);
}, { over: [EACH.flat()] });

story('what is held of a large site is taken ahead, by a worker that was stopped meanwhile, too', async (stage, ...kinds) => {
  const site = await stage.site(files(), { config });
  const origin = await stage.serve(site);
  const page = name(3, 7), size = 40_000;
  const url = site.url(origin.url, page);
  const others = Array.from({ length: 90 }, (_, i) => site.url(origin.url, name(3, 20 + i)));
  const [first, second, third] = await Promise.all([kinds.at(-1), ...kinds, ...kinds].slice(0, 3).map(kind => stage.visitor(kind)));
  for (const visitor of [first, second, third]) {
    await visitor.enter(origin.url);
    await visitor.consent();
    if (visitor !== first) await visitor.neighbours(1);
    if (visitor !== third) assert.deepEqual(site.differences(await visitor.take([url]), origin.url), []);
  }
  assert.deepEqual(site.differences(await second.take(others), origin.url), []);
  const taken = await Promise.all([second, third].map(async visitor => (await visitor.stats()).bytes.peer));
  site.write({ [page]: article(3, 7, 'edited '.repeat(size / 7)) });
  const release = await site.publish({ config });
  for (const visitor of [second, third]) await visitor.stopWorker();

  const before = await origin.counters();
  await first.page.reload();
  await first.ready();
  await until('the first visitor to have the edit', async () => (await first.stats()).version === release.version);
  await first.page.reload();
  await first.ready();
  assert.deepEqual(site.differences(await first.take([url]), origin.url), []);
  for (const visitor of [second, third]) {
    await until(`${visitor.name} to know of the edit`, async () => (await visitor.stats()).version === release.version);
  }
  await until('who holds the page to have taken it', async () => (await second.stats()).bytes.peer - taken[0] > size);
  await second.page.reload();
  await second.ready();
  assert.deepEqual(site.differences(await second.take([url]), origin.url), []);
  const { requests } = served(before, await origin.counters(), path => path === `/${page}`);
  assert.equal(requests, 1, 'one visitor has taken the page from the origin');
  assert.ok((await third.stats()).bytes.peer - taken[1] < size, 'who does not hold it has not taken it');

  // What the owner no longer shares a neighbour gives to nobody, not even to a tab of the version that shared it.
  const comesFromPeer = async () => {
    const asked = others.pop();
    assert.deepEqual(site.differences(await third.take([asked]), origin.url), []);
    return (await third.explain(asked)).bytes.peer > 0;
  };
  await until('a page to come from a neighbour', comesFromPeer);
  const last = await site.publish({ config: `${config}exclude = ["wiki/003/**"]\n[cache]\ninclude = ["wiki/003/**"]\n` });
  await first.page.reload();
  await first.ready();
  await until('who holds the pages to know', async () => (await second.stats()).version === last.version);
  // On a busy machine the origin may be asked for one or another that a neighbour has.
  let inARow = 0;
  await until('no page to come from a neighbour any more', async () => {
    inARow = await comesFromPeer() ? 0 : inARow + 1;
    return inARow === 8;
  }, { every: 200 });
}, { over: [EACH.flat()] });
