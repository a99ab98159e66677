// A first visit works before, during and after the worker's installation, and the worker takes over without a reload
// of anything that the page needs.
import assert from 'node:assert/strict';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const files = {
  'index.html': html('First visit', '<img src="picture.svg" alt="" width="8" height="8">'),
  'picture.svg': '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4"/></svg>\n',
  'small.bin': 1000,
  'large.bin': 3_000_000,
  'empty.bin': 0,
  'notes/a file with spaces.txt': 'spaces\n',
  'notes/größer € 100%?#.txt': 'signs that mean something in URLs\n',
};

story('a first visit works before, during and after the installation', async (stage, kind) => {
  const site = await stage.site(files);
  const front = await stage.front(await stage.serve(site));
  const visitor = await stage.visitor(kind);
  const all = site.files().map(name => site.url(front.url, name));
  const whole = async when => {
    assert.deepEqual(site.differences(await visitor.take(all), front.url), [], when);
    assert.equal(await visitor.page.evaluate(() => document.querySelector('img').naturalWidth > 0), true, `${when}: the picture`);
  };

  // The installation cannot end before the root is there, and the root does not come yet.
  let release;
  const gate = new Promise(resolve => { release = resolve; });
  front.when('/peerage/root.jws', async (_, __, pass) => { await gate; pass(); });

  await visitor.goto(front.url);
  await whole('before or during the installation');
  await until('the worker script to be asked for', () => front.requests('/peerage-sw.js') > 0);
  await whole('during the installation');
  release();
  await visitor.installed();
  await whole('just after the installation');
  await visitor.enter(front.url);
  await whole('under control');
  await visitor.newTab(front.url);
  await visitor.ready();
  await whole('in another tab');
  assert.deepEqual(visitor.complaints(), []);
});

story('a visit works when the installation never ends', async (stage, kind) => {
  const site = await stage.site(files);
  const front = await stage.front(await stage.serve(site));
  front.when(/^\/peerage\/.*\.wasm$/, () => new Promise(() => {}));
  const visitor = await stage.visitor(kind);
  await visitor.goto(front.url);
  await until('the worker script to be asked for', () => front.requests('/peerage-sw.js') > 0);
  const all = site.files().map(name => site.url(front.url, name));
  for (const round of ['first', 'after a reload']) {
    assert.deepEqual(site.differences(await visitor.take(all), front.url), [], round);
    await visitor.goto(front.url);
  }
});

story('a visit works when the wasm is not the one that the worker script names', async (stage, kind) => {
  const site = await stage.site(files);
  const front = await stage.front(await stage.serve(site));
  front.when(/^\/peerage\/.*\.wasm$/, (_, __, pass) => pass(answer => {
    answer.body[answer.body.length >> 1] ^= 1;
    delete answer.headers['content-encoding'];
    return answer;
  }));
  const visitor = await stage.visitor(kind);
  await visitor.goto(front.url);
  await until('the wasm to be asked for', () => [...front.seen.keys()].some(path => path.endsWith('.wasm')));
  const all = site.files().map(name => site.url(front.url, name));
  for (const round of ['first', 'after a reload', 'after another']) {
    assert.deepEqual(site.differences(await visitor.take(all), front.url), [], round);
    await visitor.goto(front.url);
  }
});
