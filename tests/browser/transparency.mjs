// A listed file is answered as the origin answers it: status, type, ranges, headers, and the elements that use them. The
// answers through the worker are compared with the origin's own.
import assert from 'node:assert/strict';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = {
  'index.html': html('Transparent'),
  '_headers': '/data/*\n  X-Mark: signed\n  Cache-Control: max-age=60\n',
  'data/table.json': JSON.stringify({ rows: Array.from({ length: 2000 }, (_, i) => i) }),
  'data/large.bin': 2_500_000,
  'folder/index.html': html('Folder', '', ''),
  'text.txt': 'déjà vu\n',
  'module.mjs': 'export default 1;\n',
  'empty.css': '',
};

/** What a page sees of an answer, as far as it must be the same. (Encoded answers of the origin differ in more.) */
const SEEN = ['content-type', 'x-mark', 'content-range'];

story('listed files are answered as the origin answers them', async (stage, kind) => {
  const site = await stage.site(files);
  const front = await stage.front(await stage.serve(site));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  const cases = [
    ...['data/table.json', 'data/large.bin', 'folder/', 'folder/index.html', 'text.txt', 'module.mjs', 'empty.css', '', 'missing.txt'].map(path => [path, {}]),
    ['text.txt?v=2', {}],
    ...['bytes=0-0', 'bytes=100-199', 'bytes=2000000-', 'bytes=-1000', 'bytes=2499999-9999999', 'bytes=9999999-', 'bytes=5-1', 'nonsense=1-2']
      .map(range => ['data/large.bin', { range }]),
  ];
  const look = async (path, headers) => {
    const response = await fetch(new URL(path, front.url), { headers });
    const body = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: Object.fromEntries(SEEN.map(name => [name, response.headers.get(name)])), body: body.toString('base64').slice(0, 400), size: body.length };
  };
  const inPage = (path, headers) => visitor.page.evaluate(async (asked, given, names) => {
    const response = await fetch(asked, { headers: given });
    const bytes = new Uint8Array(await response.arrayBuffer());
    return {
      status: response.status, headers: Object.fromEntries(names.map(name => [name, response.headers.get(name)])),
      body: btoa(String.fromCharCode(...bytes.subarray(0, 300))).slice(0, 400), size: bytes.length,
    };
  }, new URL(path, front.url).href, headers, SEEN);
  // The second round is answered from the cache.
  for (const round of ['from the origin', 'from the cache']) {
    for (const [path, headers] of cases) {
      const expected = await look(path, headers);
      const actual = await inPage(path, headers);
      // An error's headers are the worker's own.
      if (expected.status === 416) expected.headers['x-mark'] = null;
      assert.deepEqual({ ...actual, body: actual.body.slice(0, 390) }, { ...expected, body: expected.body.slice(0, 390) }, `${path} ${JSON.stringify(headers)}, ${round}`);
    }
  }
});

story('an answer says which request it was, and what it consisted of can be asked for', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const url = site.url(origin.url, 'data/large.bin');
  const [first] = await visitor.take([url]);
  assert.match(first.headers['server-timing'] ?? '', /peerage;desc=/);
  await visitor.wait('the account of the first answer', async asked => (await window.peerage.explain(asked))?.bytes.origin === 2_500_000, url);
  await visitor.take([url]);
  await visitor.wait('the account of the second answer', async asked => (await window.peerage.explain(asked))?.bytes.cache === 2_500_000, url);
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
