// What Peerage adds to answers and documents, and nothing else. (That they are otherwise the origin's is the matter of
// same-as-origin.mjs.)
import assert from 'node:assert/strict';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const files = {
  'index.html': html('Transparent'),
  'data/large.bin': 2_500_000,
  'folder/index.html': html('Folder', '', ''),
};

story('an answer says which request it was, and what it consisted of can be asked for', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const url = site.url(origin.url, 'data/large.bin');
  const [first] = await visitor.take([url]);
  assert.match(first.headers['server-timing'] ?? '', /peerage;desc=/);
  await visitor.wait('the account of the first answer', async asked => (await window.peerage.explain(asked))?.bytes.origin === 2_500_000, url);
  // Until it is stored it is answered out of memory, and counted where it came from.
  await until('an answer out of the cache', async () => {
    await visitor.take([url]);
    return (await visitor.explain(url))?.bytes.cache === 2_500_000;
  });
  assert.equal(await visitor.explain(site.url(origin.url, 'never-asked-for.bin')), null);
});

story('with only the one line in the page the worker adds its script, and nothing else, to a document', async (stage, kind) => {
  const site = await stage.site({ ...files, 'own.html': html('Own', '', '<script src="peerage/page.js" async></script>') });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const scripts = () => visitor.page.evaluate(() => [...document.scripts].filter(({ src }) => src.endsWith('/peerage/page.js')).length);
  assert.equal(await scripts(), 1);
  await visitor.goto(site.url(origin.url, 'own.html'));
  await visitor.ready();
  assert.equal(await scripts(), 1, 'a document that loads it itself gets no second one');
  await visitor.goto(site.url(origin.url, 'folder/'));
  await visitor.ready();
  assert.equal(await visitor.page.evaluate(() => document.title), 'Folder');

  const without = await stage.site(files, { config: '[policy]\ninject = false\n' });
  const other = await stage.serve(without);
  await visitor.goto(other.url);
  await visitor.installed();
  await visitor.goto(other.url);
  await visitor.wait('control', () => navigator.serviceWorker.controller !== null);
  assert.equal(await scripts(), 0, 'inject = false');
});
