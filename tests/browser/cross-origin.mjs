// Assets on a host of their own, as sites with a CDN have them: listed by the origin, fetched from there, verified, kept
// and shared like the rest. What that host changes is refused, as Subresource Integrity would.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { addServers, compare, enterLab, EVERYWHERE, folderOf, observe, readable, siteOf, unused } from './lib/differential.mjs';
import { png } from './lib/media.mjs';
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
  // What a busy machine keeps waiting is asked for there, too.
  assert.ok(asked.bytes < 2_800_000, `${asked.bytes} bytes came from the CDN`);

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

const small = name => base => ({ [name]: `${name} in ${base}\n` });
const at = (name, file, more = {}) => ({ name, files: small(file), run: `(lab, base, { cdn }) => lab.look(cdn + base.slice(1) + '${file}')`, ...more });
const READABLE = { reason: 'a file that the origin signed is one that the page may read' };
/** As a host answers that lets no other site read its files. */
const CLOSED = (_, __, pass) => pass(({ headers: { 'access-control-allow-origin': allowed, ...headers }, ...answer }) => ({ ...answer, headers }));
const NO_NAME = { reason: 'Chromium has one line for what a worker could not fetch, Firefox other words' };
/** What no worker can hide of an answer from elsewhere, besides that of any. */
const OF_ANOTHER_HOST = {
  type: 'a response that a worker made is of its own page',
  ...Object.fromEntries(['accept-ranges', 'content-range'].map(name => [`headers.${name}`, 'a header that another host need not let the page read, and Peerage knows'])),
  ordered: { reason: 'the moments of another host\'s answer are not told of what a worker made', kinds: ['firefox'] },
};
const ELSEWHERE = { ...EVERYWHERE, ...OF_ANOTHER_HOST };

const cases = [
  at('a file', 'data.txt'),
  at('a file of several pieces', 'data.bin', { files: { 'data.bin': 700_000 } }),
  at('a file without CORS', 'data.txt', { run: (lab, base, { cdn }) => lab.look(`${cdn}${base.slice(1)}data.txt`, { mode: 'no-cors' }), differs: { value: READABLE } }),
  at('a range', 'data.bin', { files: { 'data.bin': 400_000 }, run: (lab, base, { cdn }) => lab.look(`${cdn}${base.slice(1)}data.bin`, { headers: { range: 'bytes=1000-300999' } }) }),
  at('HEAD', 'data.txt', { needs: 'network', run: (lab, base, { cdn }) => lab.look(`${cdn}${base.slice(1)}data.txt`, { method: 'HEAD' }) }),
  at('POST', 'data.txt', { needs: 'network', run: (lab, base, { cdn }) => lab.look(`${cdn}${base.slice(1)}data.txt`, { method: 'POST', body: 'x' }) }),
  at('a query', 'data.txt', { needs: 'network', run: (lab, base, { cdn }) => lab.look(`${cdn}${base.slice(1)}data.txt?v=1`) }),
  at('a file that is not there', 'data.txt', { needs: 'network', differs: { console: NO_NAME }, run: (lab, base, { cdn }) => lab.look(`${cdn}${base.slice(1)}missing.txt`) }),
  at('credentials', 'data.txt', { needs: 'network', differs: { console: NO_NAME }, run: (lab, base, { cdn }) => lab.look(`${cdn}${base.slice(1)}data.txt`, { credentials: 'include' }) }),
  {
    name: 'a script, with CORS and without', files: base => ({ 'script.js': `window.seen = ${JSON.stringify(base)};` }),
    run: async (lab, base, { cdn }) => {
      const src = `${cdn}${base.slice(1)}script.js`;
      const seen = [await lab.element('script', { src, crossorigin: '' }, () => ({ seen: window.seen }))];
      delete window.seen;
      return [...seen, await lab.element('script', { src }, () => ({ seen: window.seen }))];
    },
  },
  {
    name: 'integrity, right and wrong', files: base => ({ 'script.js': `window.seen = 1; // ${base}` }),
    run: async (lab, base, { cdn }) => {
      const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`window.seen = 1; // ${base}`));
      const integrity = `sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}`;
      const src = `${cdn}${base.slice(1)}script.js`;
      return [await lab.element('script', { src, integrity, crossorigin: '' }), await lab.element('script', { src, integrity: integrity.replace('sha256-', 'sha256-A'), crossorigin: '' })];
    },
  },
  {
    name: 'a module and what it imports', files: base => ({ 'main.mjs': `import value from './part/value.mjs'; export default [value, import.meta.url];`, 'part/value.mjs': `export default ${JSON.stringify(base)};` }),
    run: async (lab, base, { cdn }) => (await import(`${cdn}${base.slice(1)}main.mjs`)).default,
  },
  {
    name: 'a style sheet with an image of its own', files: base => ({ 'style.css': `.lab-style { width: 77px; background-image: url(image.png) } /* ${base} */`, 'image.png': png(3, 3, [0, 0, 200], base) }),
    run: (lab, base, { cdn }) => lab.element('link', { rel: 'stylesheet', href: `${cdn}${base.slice(1)}style.css`, crossorigin: '' }, async link => {
      const box = Object.assign(document.createElement('div'), { className: 'lab-style' });
      document.body.append(box);
      const { width, backgroundImage } = getComputedStyle(box);
      box.remove();
      return { width, backgroundImage, rules: link.sheet.cssRules.length, href: link.sheet.href };
    }, { into: document.head }),
  },
  {
    name: 'an image, with CORS and without', files: base => ({ 'image.png': png(40, 30, [200, 10, 20], base) }), differs: { 'value.1.read': { ...READABLE, kinds: ['chromium'] } },
    run: async (lab, base, { cdn }) => {
      const look = image => {
        const context = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
        context.drawImage(image, 0, 0);
        const read = (() => { try { return [...context.getImageData(0, 0, 1, 1).data].join(); } catch (error) { return error.name; } })();
        return { size: [image.naturalWidth, image.naturalHeight], currentSrc: image.currentSrc, read };
      };
      const src = `${cdn}${base.slice(1)}image.png`;
      return [await lab.element('img', { src, crossorigin: '' }, look), await lab.element('img', { src }, look)];
    },
  },
  {
    name: 'a file of a host that lets no other site read it', needs: 'network', again: true, server: { 'script.js': CLOSED, 'data.txt': CLOSED },
    files: base => ({ 'script.js': `window.seen = ${JSON.stringify(base)};`, 'data.txt': base }), differs: { console: NO_NAME },
    run: async (lab, base, { cdn }) => {
      const at = `${cdn}${base.slice(1)}`;
      delete window.seen;
      return [await lab.look(`${at}data.txt`), await lab.look(`${at}data.txt`, { mode: 'no-cors' }), await lab.element('script', { src: `${at}script.js` }, () => ({ seen: window.seen }))];
    },
  },
  at('a worker', 'worker.js', { run: (lab, base, { cdn }) => lab.worker(`${cdn}${base.slice(1)}worker.js`) }),
].map(one => ({ ...one, theme: 'assets' }));

story('a page cannot tell a verified file of another host from that host\'s own', async (stage, kind) => {
  const own = siteOf(cases);
  const hosted = stage.folder('cdn');
  const { _headers: _, ...files } = own;
  writeFiles(hosted, { ...files, _headers: '/*\n  Access-Control-Allow-Origin: *\n  Timing-Allow-Origin: *\n' });
  const cdn = await stage.serve(hosted);
  const cdnFront = await stage.front(cdn);
  const site = await stage.site({ 'index.html': html('Home'), 'lab.html': html('Lab', '', ''), 'favicon.ico': '', ...files }, { config: `[cross_origin]\n"${cdnFront.url}assets/" = "assets"\n` });
  const origin = await stage.serve(site);
  addServers(cdnFront, cases);
  const [plain, front, takers] = [await stage.front(origin), await stage.front(origin), await stage.front(origin)];
  const visitor = await stage.visitor(kind);
  const extra = { cdn: cdnFront.url };
  const direct = await observe(visitor, plain.url, cases, extra);
  await enterLab(visitor, front.url);
  const found = [];
  const used = new Set();
  const asked = {};
  const taker = await stage.visitor(kind, { name: 'taker' });
  for (const state of ['cold', 'warm', 'woken', 'peer', 'offline']) {
    if (state === 'offline') {
      // It ends when its sockets to the tracker do.
      front.stop();
      await cdnFront.stop();
    }
    if (state === 'peer') {
      await enterLab(taker, takers.url);
      await visitor.goto(new URL('lab.html', front.url).href);
      await visitor.ready();
      for (const who of [visitor, taker]) await who.consent();
      await taker.neighbours(1);
      // The mesh ends with its document: this tab stays, another one shows the cases.
      await taker.newTab();
    }
    const before = cdnFront.requests(`/${folderOf(cases[0])}/data.txt`);
    const list = state === 'cold' ? cases : cases.filter(({ needs, again }) => needs !== 'network' || (again && state === 'warm'));
    const [who, at] = state === 'peer' ? [taker, takers] : [visitor, front];
    found.push(...compare({ state, kind, direct, behind: await observe(who, at.url, list, extra, state === 'woken' ? () => visitor.stopWorker() : undefined), everywhere: ELSEWHERE, used }));
    asked[state] = cdnFront.requests(`/${folderOf(cases[0])}/data.txt`) - before;
  }
  found.push(...unused(OF_ANOTHER_HOST, used, kind));
  assert.ok(found.length === 0, readable(found));
  assert.deepEqual(asked, { cold: 1, warm: 0, woken: 0, peer: 0, offline: 0 }, 'a file is asked for once');
});
