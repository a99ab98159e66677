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
  const site = await stage.site({ ...files, 'own.html': html('Own', '', '<script src="peerage/page.js" async></script>'), 'strict.html': html('Strict', '', `<meta http-equiv="Content-Security-Policy" content="script-src 'nonce-abc'">`) });
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
  await visitor.goto(site.url(origin.url, 'strict.html'));
  assert.equal(await scripts(), 0, 'where a policy would block it, it is not added');
  await visitor.goto(site.url(origin.url, 'peerage/inspector'));
  await visitor.wait('the owner to be told', () => document.getElementById('errors').textContent.includes('page.js is not added to strict.html: blocked by a Content-Security-Policy in a meta element'));

  const without = await stage.site(files, { config: '[policy]\ninject = false\n' });
  const other = await stage.serve(without);
  await visitor.goto(other.url);
  await visitor.installed();
  await visitor.goto(other.url);
  await visitor.wait('control', () => navigator.serviceWorker.controller !== null);
  assert.equal(await scripts(), 0, 'inject = false');
});

/** What a page sees of the answer's status, whole and in part. */
function statuses(visitor, url, cache = 'default') {
  return visitor.page.evaluate(async (asked, mode) => {
    const seen = [];
    for (const headers of [{}, { range: 'bytes=1-9' }]) {
      const response = await fetch(asked, { headers, cache: mode });
      await response.arrayBuffer();
      seen.push([response.status, response.statusText]);
    }
    return seen;
  }, url, cache);
}

story('a status has a reason phrase where the origin sends one', async (stage, kind) => {
  const site = await stage.site({ ...files, 'small.txt': 'small', 'plain.html': html('Plain', '', '') });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  for (const phrases of [true, false]) {
    const [direct, behind] = [await stage.front(origin), await stage.front(origin)];
    for (const front of phrases ? [] : [direct, behind]) {
      // As with HTTP/2, whose answers have none.
      front.when(/./, (_, response, pass) => {
        const { writeHead } = response;
        response.writeHead = (status, headers) => writeHead.call(response, status, '', headers);
        pass();
      });
    }
    await visitor.goto(new URL('plain.html', direct.url).href);
    // Chromium's HTTP cache makes up a phrase for the parts that it cuts.
    const wanted = await statuses(visitor, 'small.txt', 'no-store');
    assert.deepEqual(wanted.map(([status, text]) => [status, text !== '']), [[200, phrases], [206, phrases]]);
    const seesIt = async when => {
      for (const name of ['small.txt', 'data/large.bin']) assert.deepEqual(await statuses(visitor, site.url(behind.url, name)), wanted, `${name} ${when}`);
    };
    await visitor.enter(behind.url);
    await seesIt('from the origin');
    await until('an answer out of the store', async () => {
      await seesIt('on the way to the store');
      return (await visitor.explain(site.url(behind.url, 'small.txt')))?.bytes.cache > 0;
    });
    await until('a whole answer to be written down', async () => {
      // What came out of the store so far may have been the part alone.
      await seesIt('out of the store');
      return visitor.page.evaluate(async () => (
        (await (await caches.match(new URL('peerage/store/hot', location)))?.json())?.files.some(([url]) => url.endsWith('small.txt'))));
    });
    await behind.stop();
    await visitor.stopWorker();
    await seesIt('offline, by a worker that woke');
  }
});
